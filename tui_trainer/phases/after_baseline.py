"""What comes after a baseline's last step: the gate `post_baseline`, the route, and the report that tells both."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tui_trainer.config.errors import UserError
from tui_trainer.phases import baseline_checks
from tui_trainer.phases.baseline_checks import FROM_FILES, GATE, ITEMS, TITLE
from tui_trainer.phases.gate import Checklist, Finding
from tui_trainer.phases.run_gate import RunGate
from tui_trainer.reports.baseline import write_baseline_results
from tui_trainer.reports.decision import Decision, decide
from tui_trainer.reports.run_files import read_run
from tui_trainer.session.launching import Options, load_options
from tui_trainer.session.run_folder import CONFIG_YAML

if TYPE_CHECKING:
    from pathlib import Path

    from tui_trainer.config.loading import LoadedConfig


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate of a finished baseline, and where it leads. `news`: the run's record did not say so yet."""

    checklist: Checklist
    decision: Decision
    news: bool = True


def config_of(run: Path, options: Options | None = None) -> LoadedConfig:
    """The config of a run, with the signatures and waivers that `options` add; imports and relative paths start where
    its first config lay. Raises `UserError`."""
    loaded = load_options(Options(config=run / CONFIG_YAML))
    if options is None:
        return loaded
    given = load_options(
        dataclasses.replace(options, config=options.config or run / CONFIG_YAML)
    ).config.gates
    own = loaded.config.gates
    gates = own.model_copy(update={"sign": own.sign | given.sign, "waive": own.waive | given.waive})
    return dataclasses.replace(loaded, config=loaded.config.model_copy(update={"gates": gates}))


def judge_baseline(run: Path, project: Path | None = None, options: Options | None = None) -> Verdict:
    """Look at everything that a finished baseline left, keep the gate, and tell it in the report.

    Loads data and model for its checkpoints: seconds, not beside a training of the same process. `options` may sign and
    waive what the run's own config does not. Raises `UserError` where a config cannot be read.
    """
    loaded = config_of(run, options)
    files = read_run(run)

    def check(name: str) -> Finding:
        if name in FROM_FILES:
            return FROM_FILES[name](files)
        return _checkpoints(run)

    gate = RunGate(GATE, TITLE, ITEMS, loaded, run, project or loaded.folder)
    checklist, decision = gate.settle(check), decide(files)
    news = gate.keep(checklist, route=decision.route)
    if news:
        with contextlib.suppress(OSError):  # the report without the gate stays
            write_baseline_results(run, redraw=False)
    return Verdict(checklist, decision, news)


def _checkpoints(run: Path) -> Finding:
    from tui_trainer.phases.examination import recheck_checkpoints

    try:
        return baseline_checks.checkpoints(read_run(run), recheck_checkpoints(run))
    except UserError as error:
        return Finding("failed", str(error))
