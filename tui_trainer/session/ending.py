"""How a run ended: its status, its summary, and the files that say so."""

from __future__ import annotations

import contextlib
import json
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tui_trainer.engine.events import Status, iso_time
from tui_trainer.engine.manifest import write_atomically
from tui_trainer.session.summary import summarize

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tui_trainer.engine.events import DiagnosticRaised
    from tui_trainer.engine.parts import Parts
    from tui_trainer.engine.trainer import Outcome, Trainer
    from tui_trainer.session.resume import ResumePoint
    from tui_trainer.session.run_session import RunRequest

EXIT_OF_SIGNAL = {"SIGINT": 130, "SIGTERM": 143}
STOPPED_BY_DIAGNOSTIC = 4


@dataclass
class Ending:
    """Status and exit code of a run (DESIGN §4), what ended it, and the files that could not be saved."""

    status: Status = "failed"
    message: str = ""
    exit_code: int = 1
    error: BaseException | None = None
    not_saved: dict[str, str] = field(default_factory=dict)


def ending_of(outcome: Outcome, *, stopped_by: DiagnosticRaised | None, signal: str | None) -> Ending:
    """The end of a run that was not broken off by an error."""
    if stopped_by is not None:
        message = f"Stopped by {stopped_by.code}: {stopped_by.message}"
        return Ending("stopped", message, STOPPED_BY_DIAGNOSTIC)
    if outcome.status == "interrupted":
        return Ending(outcome.status, outcome.message, EXIT_OF_SIGNAL.get(signal or "", 130))
    return Ending(outcome.status, outcome.message, 0)


def summary_of(
    request: RunRequest,
    ending: Ending,
    *,
    trainer: Trainer | None,
    parts: Parts | None,
    point: ResumePoint | None,
    diagnostics: Iterable[str],
    seconds: float,
) -> dict[str, Any]:
    """The content of `summary.json` (DESIGN §3). `diagnostics`: codes."""
    config, folder = request.loaded.config, request.folder
    summary: dict[str, Any] = {"run_id": folder.record["id"], "name": config.name}
    summary |= {"mode": request.mode, "status": ending.status, "message": ending.message}
    history = point.state["history"] if point else []
    if trainer is not None and trainer.history:
        history = trainer.history
    summary |= summarize(
        history,
        monitor=config.checkpoint.monitor,
        monitor_mode=config.checkpoint.monitor_mode,
        metric_names=parts.metric_names if parts else (),
    )
    best = trainer.best if trainer else None
    if best is not None and best.value is not None:  # validations inside an epoch count as well
        summary |= {"best_epoch": best.epoch, f"best_{config.checkpoint.monitor}": best.value}
    return summary | {
        "steps": trainer.step if trainer else 0,
        "skipped_batches": trainer.skipped if trainer else 0,
        "duration_seconds": seconds,
        "device": str(parts.device) if parts else None,
        "parameters": sum(item.numel() for item in parts.model.parameters()) if parts else None,
        "diagnostics": sorted(set(diagnostics)),
        "not_saved": ending.not_saved,
        "attempt": len(folder.record["attempts"]),
        "run_dir": str(folder.path),
        "exit_code": ending.exit_code,
    }


class FinalRecords:
    """The last files of a run. What cannot be written is noted in `summary`, and in the exit code."""

    def __init__(self, request: RunRequest, ending: Ending, summary: dict[str, Any]) -> None:
        self.summary = summary
        self._request, self._folder, self._ending = request, request.folder, ending

    def note_unsaved(self, missing: dict[str, str]) -> None:
        """What could not be saved after the summary was made."""
        if missing.keys() - self.summary["not_saved"].keys():
            self._ending.exit_code = self._ending.exit_code or 1
            self.summary = self.summary | {  # a new one: the old one has been told to all readers
                "not_saved": self.summary["not_saved"] | missing,
                "exit_code": self._ending.exit_code,
            }

    def write(self) -> None:
        """`summary.json`, and the end in `run.json`."""
        status, attempts = self._ending.status, self._folder.record["attempts"]
        if attempts:
            attempts[-1] |= {"ended": iso_time(time.time()), "status": status}
        for name, write in (
            ("summary.json", self._write_summary),
            ("run.json", lambda: self._folder.update(status=status, attempts=attempts)),
        ):
            try:
                write()
            except OSError as error:
                self.note_unsaved({name: str(error.strerror)})

    def write_reports(self) -> None:
        """Call what the request wants done with the folder; a failure ends nothing."""
        for write in self._request.after:
            try:
                write(self._folder.path)
            except Exception as error:  # a report that fails fails no run
                with contextlib.suppress(OSError), (self._folder.path / "training.log").open("a") as log:
                    log.write("".join(traceback.format_exception(error)))
                reason = str(getattr(error, "strerror", None) or error)
                name = str(getattr(write, "__name__", "report")).removeprefix("_").removeprefix("write_")
                self.note_unsaved({name: reason})
                with contextlib.suppress(OSError):
                    self._write_summary()

    def _write_summary(self) -> None:
        text = json.dumps(self.summary, indent=1, allow_nan=False, default=str) + "\n"
        write_atomically(self._folder.path / "summary.json", text)
