"""The recorder: everything that happens, appended to the run folder by a thread of its own.

It takes events in bursts, so that the training thread is not made to share the interpreter for every one; before a
checkpoint is written it is made to catch up, so that no checkpoint is ever ahead of the records.
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

from tui_trainer.engine import events
from tui_trainer.engine.manifest import write_atomically
from tui_trainer.session.files import AppendFile, CsvFile, epoch_row
from tui_trainer.session.log_lines import lines_for
from tui_trainer.session.machine_record import MachineRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tui_trainer.session.stream import EventStream

_PAUSE_S = 0.1  # between bursts
_METRICS_EVERY_S = 10.0  # metrics.json is written whole, so not every epoch


class Recorder:
    """Writes events.jsonl, training.log, the CSV files, diagnostics.jsonl and metrics.json of one run."""

    def __init__(
        self,
        folder: Path,
        stream: EventStream,
        history: list[dict[str, Any]],
        on_trouble: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._events = AppendFile(folder / "events.jsonl")
        self._log = AppendFile(folder / "training.log")
        self._diagnostics = AppendFile(folder / "diagnostics.jsonl")
        self._diagnostics.write("")
        self._epochs = CsvFile(folder / "epoch_metrics.csv")
        self._series: dict[str, CsvFile] = {}
        self._machine = MachineRecord()
        self._history = history
        self._on_trouble = on_trouble
        self._reported: set[str] = set()
        self._told: set[str] = set()
        self._total_epochs: int | None = None
        self._metrics_due = False
        self._metrics_error: str | None = None
        self._metrics_at = 0.0
        self._subscription = stream.subscribe("recorder")
        self._busy = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def catch_up(self, *, durable: bool = False) -> None:
        """Return when everything emitted so far was handed to the operating system (or the disk refuses it).

        With `durable` the CSV files are on the disk itself: before a checkpoint that counts on their rows.
        """
        with self._busy:
            self._take(self._subscription.poll(0))
            if durable:
                for item in (self._epochs.file, *(series.file for series in self._series.values())):
                    item.flush(durable=True)

    def rewind(self, cut: Callable[[], object], history: list[dict[str, Any]]) -> None:
        """Let `cut` take the files back to where `history` ends, while nothing is written to them.

        Raises `OSError`, also where something could not be written before: what the disk refuses cannot be cut.
        """
        self.catch_up()
        with self._busy:
            if missing := self._missing():
                raise OSError(0, "; ".join(f"{name}: {why}" for name, why in missing.items()))
            cut()
            for csv in (self._epochs, *self._series.values()):
                csv.file.close()
            self._epochs, self._series = CsvFile(self._folder / "epoch_metrics.csv"), {}
            self._history = history

    def complete(self) -> dict[str, str]:
        """Catch up, `metrics.json` included; the files that miss something, with the reason."""
        self.catch_up()
        with self._busy:
            self._write_metrics()
            return self._missing()

    def close(self) -> dict[str, str]:
        """Write what is left and stop; the files that miss something, with the reason."""
        self._closing = True
        self._wake.set()
        self._thread.join()
        missing = self.complete()
        with self._busy:
            for item in self._files():
                item.close()
        self._subscription.close()
        return missing

    def _files(self) -> list[AppendFile]:
        files = [self._events, self._log, self._diagnostics, self._epochs.file]
        return files + [item.file for item in self._series.values()]

    def _missing(self) -> dict[str, str]:
        found = {item.path.name: item.error for item in self._files() if item.error}
        if self._metrics_error:
            found["metrics.json"] = self._metrics_error
        return found

    def write_log(self, text: str) -> None:
        """Append text that is no event (a traceback) to training.log."""
        with self._busy:
            self._log.write(text if text.endswith("\n") else text + "\n")

    def _run(self) -> None:
        while not self._closing:
            with self._busy:
                self._take(self._subscription.poll(0.0))
                if self._metrics_due and time.monotonic() - self._metrics_at > _METRICS_EVERY_S:
                    self._write_metrics()
                for item in self._files():
                    if item.waiting:
                        item.flush()
            self._wake.wait(_PAUSE_S)

    def _take(self, burst: list[events.Event]) -> None:
        if not burst:
            return
        lines: list[str] = []
        log: list[str] = []
        for event in burst:
            try:
                lines += map(events.encode, self._machine.take(event))
                self._take_rows(event)
                stamp = events.iso_time(event.time)
                log += [f"{stamp} {line}" for line in self._log_lines(event)]
            except Exception as error:  # one strange value of the user's must not end the recording
                text = f"a {event.kind} event could not be recorded in full: {type(error).__name__}"
                log.append(f"{events.iso_time(event.time)} [ERROR] {text}")
        self._events.write("".join(f"{line}\n" for line in lines))
        if log:
            self._log.write("\n".join(log) + "\n")
        trouble = self._missing()
        if trouble.keys() - self._reported:
            self._on_trouble(
                "; ".join(f"{name} could not be written: {why}" for name, why in trouble.items())
            )
        self._reported = set(trouble)

    def _log_lines(self, event: events.Event) -> list[str]:
        """What the log says of `event`; a diagnostic that comes again is told in one line."""
        repeated = isinstance(event, events.DiagnosticRaised) and event.id in self._told
        if isinstance(event, events.DiagnosticRaised):
            self._told.add(event.id)
        return lines_for(event, epochs=self._total_epochs, repeated=repeated)

    def _take_rows(self, event: events.Event) -> None:
        if isinstance(event, events.RunStarted):
            self._total_epochs = event.epochs
        elif isinstance(event, events.CommandHandled) and event.command == "extend" and event.accepted:
            self._total_epochs = event.details["epochs"]
        elif isinstance(event, events.EpochFinished):
            row = event.metrics | {
                "epoch": event.epoch,
                "learning_rate": event.learning_rate,
                "grad_norm": event.grad_norm,
                "epoch_time": event.epoch_time,
                "samples_per_second": event.samples_per_second,
                "gpu_util": event.gpu_util,
                "data_wait": event.data_wait,
            }
            self._epochs.add(epoch_row(row))
            self._history.append(events.json_safe(row))
            self._metrics_due = True
        elif isinstance(event, events.SeriesRow):
            if event.series not in self._series:
                self._series[event.series] = CsvFile(self._folder / f"{event.series}.csv")
            self._series[event.series].add(event.row)
        elif isinstance(event, events.DiagnosticRaised):
            self._diagnostics.write(
                json.dumps(diagnostic_object(event), ensure_ascii=False, default=str) + "\n"
            )

    def _write_metrics(self) -> None:
        self._metrics_due, self._metrics_at = False, time.monotonic()
        content = {"epochs": [epoch_row(row) for row in self._history]}
        try:
            text = json.dumps(content, indent=1, allow_nan=False, default=str) + "\n"
            write_atomically(self._folder / "metrics.json", text)
            self._metrics_error = None
        except OSError as error:
            self._metrics_error = str(error.strerror)
            self._metrics_due = True


def diagnostic_object(event: events.DiagnosticRaised) -> dict[str, Any]:
    """A diagnostic as a line of `diagnostics.jsonl`."""
    names = ("id", "code", "severity", "epoch", "step", "message", "evidence", "fixes", "applied", "playbook")
    content: dict[str, Any] = events.json_safe({name: getattr(event, name) for name in names})
    return content
