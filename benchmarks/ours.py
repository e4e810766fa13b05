"""Our program as its command line runs it without a screen, everything watched that is watched by default."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from benchmarks.workloads import Fit, Workload
from tui_trainer.engine.events import EpochFinished, Event
from tui_trainer.phases.baseline import open_baseline
from tui_trainer.reports.printer import HeadlessPrinter
from tui_trainer.session.launching import Options
from tui_trainer.session.run_session import RunSession


def fit(workload: Workload) -> Fit:
    """A whole run: training thread, recorder, gauges, printer and checkpoint writer, in a folder that is thrown away.

    Raises `RuntimeError` when the run fails.
    """
    with tempfile.TemporaryDirectory(prefix="mltrainer-bench-") as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(json.dumps(workload.config()))  # JSON is YAML
        # Import paths in a config start at its folder or at the working directory, which is the project's root.
        session = open_baseline(
            Options(config=config, output_dir=Path(folder) / "run", waive=("all=a benchmark",))
        )
        assert isinstance(session, RunSession)
        ended: list[EpochFinished] = []
        result = Fit(samples=0)
        _watch_epochs(session, result, ended)
        session.start()
        with Path(os.devnull).open("w") as nowhere:
            printer = HeadlessPrinter(nowhere, interactive=False, verbose=False)
            printer.run(session.subscribe("printer"), lambda: session.wait(0))
        session.wait()
        if session.exit_code != 0:
            raise RuntimeError(f"the run ended with {session.exit_code}: {session.summary}")
        last = ended[-1]
        result.samples = round(last.samples_per_second * last.epoch_time)
        result.val_loss, result.val_accuracy = last.metrics["val_loss"], last.metrics["val_accuracy"]
        return result


def _watch_epochs(session: RunSession, result: Fit, ended: list[EpochFinished]) -> None:
    """Note the time in the training thread itself, where it says that an epoch is over."""
    emit = session.stream.emit

    def emit_and_note(event: Event) -> None:
        if type(event) is EpochFinished:
            result.end_epoch()
            ended.append(event)
        emit(event)

    session.stream.emit = emit_and_note
