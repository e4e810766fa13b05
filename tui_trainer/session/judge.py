"""What follows from an event: diagnostics, a stop where the policy asks for one, a note in the run's record."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from tui_trainer.engine import events
from tui_trainer.engine.commands import Command, CommandQueue

if TYPE_CHECKING:
    from pathlib import Path

    from tui_trainer.diagnostics.facts import RunFacts
    from tui_trainer.diagnostics.watch import Watch
    from tui_trainer.engine.trainer import Trainer
    from tui_trainer.session.run_session import RunRequest
    from tui_trainer.session.stream import EventStream
    from tui_trainer.session.watchdog import Watchdog


class Judge:
    """Passes the trainer's events on, and acts on them. `stopped_by`: the diagnostic that ended the run."""

    def __init__(self, request: RunRequest, stream: EventStream, commands: CommandQueue) -> None:
        self.trainer: Trainer | None = None
        self.stopped_by: events.DiagnosticRaised | None = None
        self._request, self._stream, self._commands = request, stream, commands
        self.watch: Watch | None = None
        self._facts: RunFacts | None = None
        self._diagnostics: dict[str, events.DiagnosticRaised] = {}
        self._earlier: set[str] = set()

    def watch_over(self, trainer: Trainer, folder: Path) -> dict[str, Any]:
        """Let the rules watch `trainer`; returns what was measured for them. Raises `ConfigError` for bad settings."""
        from tui_trainer.data.seeds import untouched_rng
        from tui_trainer.diagnostics.context import measure
        from tui_trainer.diagnostics.facts import RunFacts
        from tui_trainer.diagnostics.registry import build_rules
        from tui_trainer.diagnostics.watch import Watch

        parts = trainer.parts
        with untouched_rng():
            context = measure(parts)
        facts = RunFacts(
            config=parts.config,
            epochs=trainer.epochs,
            steps_per_epoch=parts.steps_per_epoch,
            metrics=parts.metric_names,
            monitor=parts.config.checkpoint.monitor,
            monitor_mode=parts.config.checkpoint.monitor_mode,
            device=str(parts.device),
            context=context,
        )
        self.trainer, self._facts = trainer, facts
        self.watch = Watch(build_rules(facts, folder), facts)
        return context

    def watchdog(self, checkpoints: Path, thread: int) -> Watchdog | None:
        """A watchdog that looks after the training `thread` from now on; None where the config does not want it."""
        from tui_trainer.diagnostics.hang import Hang
        from tui_trainer.session.watchdog import Watchdog

        config, trainer, facts = self._request.loaded.config, self.trainer, self._facts
        if trainer is None or facts is None or Hang.code in config.diagnostics.disabled:
            return None
        dog = Watchdog(
            trainer,
            Hang(facts, config.diagnostics.thresholds.get(Hang.code)),
            config=config,
            thread=thread,
            checkpoints=checkpoints,
            report=self.raise_diagnostic,
            note=self._stream.emit,
        )
        dog.start()
        return dog

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
        elif isinstance(event, events.DiagnosticRaised):
            self._diagnostics[event.id] = event
            policy = self._request.on_trigger or self._request.loaded.config.diagnostics.on_trigger
            if policy == "stop" and event.severity == "critical" and self.stopped_by is None:
                self.stopped_by = event
                self._commands.put(Command("stop", {"status": "stopped", "reason": event.code}))
        elif self.watch is not None:
            for diagnostic in self.watch.observe(event):
                self.emit(diagnostic)
            self._tell_troubles(self.watch)

    def note(self, event: events.Event) -> None:
        """Pass on what another thread has seen of the machine."""
        self._stream.emit(event)
        if self.watch is not None:
            self.watch.note(event)

    def before_training(self) -> None:
        """Raise what the rules can tell before the first step."""
        if self.watch is not None:
            for diagnostic in self.watch.before_training(time.time()):
                self.emit(diagnostic)
            self._tell_troubles(self.watch)

    def raise_diagnostic(self, diagnostic: events.DiagnosticRaised) -> None:
        """Emit a diagnostic, unless the config does not want it."""
        if diagnostic.code not in self._request.loaded.config.diagnostics.disabled:
            self.emit(diagnostic)

    def begin_attempt(self, kept: list[dict[str, Any]]) -> None:
        """Go on in a folder that was rolled back and holds the diagnostics `kept`."""
        self._earlier = {str(item.get("code")) for item in kept if item.get("severity") != "info"}
        self._diagnostics = {name: item for name, item in self._diagnostics.items() if item.step == 0}
        trainer, watch = self.trainer, self.watch
        if trainer is not None and watch is not None:
            watch.resume(kept)
            watch.history.resume(
                trainer.history, skips=trainer.skipped, first_skip=trainer.first_anomaly, step=trainer.step
            )

    def _tell_troubles(self, watch: Watch) -> None:
        for text in watch.troubles:
            self._stream.emit(events.LogLine(time=time.time(), level="warning", text=text))
        watch.troubles.clear()

    def _note_command(self, event: events.CommandHandled) -> None:
        """What changed the course of training goes into run.json, by step, so that it can be replayed."""
        folder = self._request.folder
        if not event.accepted or self.trainer is None:
            return
        if event.command == "set_learning_rate" and self.watch is not None:
            self.watch.history.course_changed()
        if event.command in ("set_learning_rate", "extend"):
            folder.attempt["interventions"].append(self.trainer.interventions[-1])
            folder.record["interventions"] = list(self.trainer.interventions)
        elif event.command in ("pause", "resume"):
            folder.record["status"] = "paused" if event.command == "pause" else "running"
        else:
            return
        with contextlib.suppress(OSError):
            folder.update()
