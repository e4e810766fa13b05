"""What follows from an event: diagnostics, a stop where the policy asks for one, a note in the run's record."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from tui_trainer.engine import events
from tui_trainer.engine.commands import Command, CommandQueue

if TYPE_CHECKING:
    from tui_trainer.diagnostics.nan_loss import NanLossRule
    from tui_trainer.engine.trainer import Trainer
    from tui_trainer.session.run_session import RunRequest
    from tui_trainer.session.stream import EventStream


class Judge:
    """Passes the trainer's events on, and acts on them. `stopped_by`: the diagnostic that ended the run."""

    def __init__(self, request: RunRequest, stream: EventStream, commands: CommandQueue) -> None:
        self.trainer: Trainer | None = None
        self.stopped_by: events.DiagnosticRaised | None = None
        self._request, self._stream, self._commands = request, stream, commands
        self._nan_loss: NanLossRule | None = None
        self._diagnostics: dict[str, events.DiagnosticRaised] = {}
        self._earlier: set[str] = set()

    @property
    def codes(self) -> set[str]:
        """Codes of the run's diagnostics, those of earlier attempts that still hold included."""
        found = {item.code for item in self._diagnostics.values() if item.severity != "info"}
        return found | self._earlier

    def emit(self, event: events.Event) -> None:
        """Pass `event` on, and see what follows from it."""
        self._stream.emit(event)
        if isinstance(event, events.CommandHandled):
            self._note_command(event)
        elif isinstance(event, events.NonFiniteSkipped):
            self.raise_diagnostic(self._nan_rule().observe(event))
        elif isinstance(event, events.DiagnosticRaised):
            self._diagnostics[event.id] = event
            policy = self._request.on_trigger or self._request.loaded.config.diagnostics.on_trigger
            if policy == "stop" and event.severity == "critical" and self.stopped_by is None:
                self.stopped_by = event
                self._commands.put(Command("stop", {"status": "stopped", "reason": event.code}))

    def raise_diagnostic(self, diagnostic: events.DiagnosticRaised) -> None:
        """Emit a diagnostic, unless the config does not want it."""
        if diagnostic.code not in self._request.loaded.config.diagnostics.disabled:
            self.emit(diagnostic)

    def begin_attempt(self, kept: list[dict[str, Any]]) -> None:
        """Go on in a folder that was rolled back and holds the diagnostics `kept`."""
        self._earlier = {str(item.get("code")) for item in kept if item.get("severity") != "info"}
        self._diagnostics = {name: item for name, item in self._diagnostics.items() if item.step == 0}
        self._nan_loss = None

    def _note_command(self, event: events.CommandHandled) -> None:
        """What changed the course of training goes into run.json, by step, so that it can be replayed."""
        folder = self._request.folder
        if not event.accepted or self.trainer is None:
            return
        if event.command in ("set_learning_rate", "extend"):
            folder.attempt["interventions"].append(self.trainer.interventions[-1])
            folder.record["interventions"] = list(self.trainer.interventions)
        elif event.command in ("pause", "resume"):
            folder.record["status"] = "paused" if event.command == "pause" else "running"
        else:
            return
        with contextlib.suppress(OSError):
            folder.update()

    def _nan_rule(self) -> NanLossRule:
        from tui_trainer.diagnostics.nan_loss import NanLossRule

        if self._nan_loss is None:  # the counts go on where an earlier attempt left them
            trainer = self.trainer
            earlier = trainer.skipped - 1 if trainer else 0
            self._nan_loss = NanLossRule(earlier, trainer.first_anomaly if trainer else None)
        return self._nan_loss
