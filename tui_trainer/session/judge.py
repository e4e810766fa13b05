"""What follows from an event: diagnostics, a stop where the policy asks for one, a note in the run's record."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tui_trainer.engine import events
from tui_trainer.engine.commands import Command, CommandQueue
from tui_trainer.session.automatic import AutomaticRepair
from tui_trainer.session.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tui_trainer.diagnostics.facts import RunFacts
    from tui_trainer.diagnostics.fix import Fix
    from tui_trainer.diagnostics.rule import Problem
    from tui_trainer.diagnostics.watch import Watch
    from tui_trainer.engine.trainer import Trainer
    from tui_trainer.session.automatic import Move
    from tui_trainer.session.run_session import RunRequest
    from tui_trainer.session.stream import EventStream
    from tui_trainer.session.watchdog import Watchdog


class Judge:
    """Passes the trainer's events on, and acts on them. `stopped_by`: the diagnostic that ended the run.

    The policy is `diagnostics.on_trigger`: fix repairs without asking, stop ends the run at the first critical
    problem, ask waits for an answer from the app (and is report where there is none).
    """

    def __init__(
        self,
        request: RunRequest,
        stream: EventStream,
        commands: CommandQueue,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trainer: Trainer | None = None
        self.stopped_by: events.DiagnosticRaised | None = None
        self._request, self._stream, self._commands, self._clock = request, stream, commands, clock
        self.watch: Watch | None = None
        self.problems_of_data: dict[str, Problem] = {}
        self._dog: Watchdog | None = None
        self._diagnostics: dict[str, events.DiagnosticRaised] = {}
        self._earlier: set[str] = set()
        self._told: dict[str, events.DiagnosticRaised] = {}
        self._ignored = set(request.ignored)
        self._asked: set[str] = set()
        self._unanswered: dict[str, float] = {}
        self._paused_for = ""
        self._repair = AutomaticRepair()
        self._pace = Pace(request.loaded.config)

    @property
    def policy(self) -> str:
        """What happens when a problem is seen."""
        return self._request.on_trigger or self._request.loaded.config.diagnostics.on_trigger

    def watch_over(self, trainer: Trainer, folder: Path) -> dict[str, Any]:
        """Let the rules watch `trainer`; returns what was measured for them. Raises `ConfigError` for bad settings."""
        from tui_trainer.data.seeds import untouched_rng
        from tui_trainer.diagnostics.context import measure
        from tui_trainer.diagnostics.registry import build_rules
        from tui_trainer.diagnostics.watch import Watch

        with untouched_rng():
            context = measure(trainer.parts)
        facts = _facts(trainer, context)
        self.trainer, self.watch = trainer, Watch(build_rules(facts, folder), facts)
        self.watch.problems.update(self.problems_of_data)
        return context

    def config_changed(self, trainer: Trainer, folder: Path) -> None:
        """Go on watching, under another config."""
        from tui_trainer.diagnostics.registry import build_rules

        assert self.watch is not None
        facts = _facts(trainer, self.watch.facts.context)
        self.watch.change(build_rules(facts, folder), facts)
        self.trainer = trainer
        if self._dog is not None:
            self._dog.follow(trainer)

    def watchdog(self, checkpoints: Path, thread: int) -> Watchdog | None:
        """A watchdog that looks after the training `thread` from now on; None where the config does not want it."""
        from tui_trainer.diagnostics.hang import Hang
        from tui_trainer.session.watchdog import Watchdog

        config, trainer, watch = self._request.loaded.config, self.trainer, self.watch
        if trainer is None or watch is None or Hang.code in config.diagnostics.disabled:
            return None
        dog = self._dog = Watchdog(
            trainer,
            Hang(watch.facts, config.diagnostics.thresholds.get(Hang.code)),
            config=config,
            thread=thread,
            checkpoints=checkpoints,
            report=self._hang_seen,
            note=self._stream.emit,
        )
        dog.start()
        return dog

    def _hang_seen(self, diagnostic: events.DiagnosticRaised, problem: Problem) -> None:
        """Called by the watchdog's thread."""
        if self.watch is not None:
            self.watch.problems[diagnostic.id] = problem
        self.raise_diagnostic(diagnostic)

    @property
    def context(self) -> Mapping[str, Any]:
        """What was measured for the rules beforehand."""
        return self.watch.facts.context if self.watch is not None else {}

    @property
    def codes(self) -> set[str]:
        """Codes of the run's diagnostics, those of earlier attempts that still hold included."""
        found = {item.code for item in self._diagnostics.values() if item.severity != "info"}
        return found | self._earlier

    def emit(self, event: events.Event) -> None:
        """Pass `event` on, and see what follows from it."""
        self._stream.emit(event)
        if (warning := self._pace.observe(event)) is not None:
            self._log("warning", warning)
        if isinstance(event, events.CommandHandled):
            self._note_command(event)
        elif isinstance(event, events.DiagnosticRaised):
            self._diagnostics[event.id] = self._told[event.id] = event
            if event.applied is None:
                self._act(event)
        elif self.watch is not None:
            for diagnostic in self.watch.observe(event):
                self.raise_diagnostic(self._with_what_is_kept(diagnostic))
            self._tell_troubles(self.watch)
            if isinstance(event, events.EpochFinished) and (fix := self._repair.epoch_finished()) is not None:
                self._log("info", f"The fix {fix} holds: the problem has not come back.")

    def _act(self, event: events.DiagnosticRaised) -> None:
        """Do what the policy says about a diagnostic."""
        policy = self.policy
        if policy == "stop" and event.severity == "critical":
            self._stop_by(event)
        elif policy == "fix":
            problem = self.watch.problems.get(event.id) if self.watch is not None else None
            if problem is not None:
                self._move(self._repair.raised(event, problem, learned=self._learned()))
        elif policy == "ask" and self._request.interactive and event.id not in self._asked:
            self._ask_about(event)

    def _learned(self) -> float | None:
        """The share of what there is to learn that was learned since the course of training last changed."""
        from tui_trainer.diagnostics.learning import learned

        assert self.watch is not None
        history = self.watch.history
        epochs = len(history.epochs) - history.changed_epoch
        return learned(self.watch.facts, history, epochs=epochs) if epochs else None

    def _ask_about(self, event: events.DiagnosticRaised) -> None:
        """The app shows the problem; a person may answer."""
        self._asked.add(event.id)
        if event.severity == "info":
            return
        self._unanswered[event.id] = self._clock()
        if event.code == "nan_loss":
            self._paused_for = event.id
            self._commands.put(Command("pause"))

    def _move(self, move: Move | None) -> None:
        if move is None:
            return
        if move.what == "give_up":
            self._log("warning", "No fix is left to try.")
            self._stop_by(self._told[move.diagnostic])
            return
        assert move.fix is not None
        if move.undo:
            self._undo(automatic=True)
        self._apply(move.diagnostic, move.fix, automatic=True)

    def _stop_by(self, event: events.DiagnosticRaised) -> None:
        if self.stopped_by is None:
            self.stopped_by = event
            self._commands.put(Command("stop", {"status": "stopped", "reason": event.code}))

    # ── fixes ───────────────────────────────────────────────────────────────────────────────────────────────

    def ask(self, command: str, details: dict[str, Any]) -> None:
        """A person's answer to a diagnostic: `apply_fix`, `undo_fix` or `ignore`. Any thread may call it."""
        diagnostic = str(details.get("diagnostic"))
        self._unanswered.pop(diagnostic, None)
        if command == "ignore":
            told = self._told.get(diagnostic)
            code = told.code if told else diagnostic
            self._ignored.add(code)
            how = "always" if details.get("always") else "for this run"
            self._answer(command, details, f"{code} is ignored {how}", accepted=True)
            if diagnostic == self._paused_for:  # it was paused for an answer, and here it is
                self._commands.put(Command("resume"))
        elif command == "undo_fix":
            if not self._undo():
                self._answer(command, details, "no fix has been applied", accepted=False)
        else:
            fix = self.watch.fix(diagnostic, str(details.get("fix"))) if self.watch is not None else None
            if fix is None:
                self._answer(
                    command, details, f"{diagnostic} has no fix {details.get('fix')}", accepted=False
                )
            else:
                self._apply(diagnostic, fix)

    def _apply(self, diagnostic: str, fix: Fix, *, automatic: bool = False) -> None:
        if fix.action == "stop":
            self._commands.put(
                Command("stop", {"status": "early_stopped", "reason": diagnostic, "fix": fix.id})
            )
            return
        problem = self.watch.problems.get(diagnostic) if self.watch is not None else None
        self._commands.put(
            Command(
                "apply_fix",
                {
                    "diagnostic": diagnostic,
                    "fix": fix.id,
                    "title": fix.title,
                    "changes": dict(fix.changes),
                    "action": fix.action,
                    "checkpoint": fix.checkpoint,
                    "since": problem.since if problem else None,
                    "range_test": fix.range_test,
                    "automatic": automatic,
                },
            )
        )

    def _undo(self, *, automatic: bool = False) -> bool:
        from tui_trainer.session.repair import undo_details

        details = undo_details(self._request.folder)
        if details is not None:
            self._commands.put(Command("undo_fix", details | {"automatic": automatic}))
        return details is not None

    def fix_applied(self, applied: events.FixApplied) -> None:
        """Tell of a fix that is in force now, or no more, and what it is for."""
        self._stream.emit(applied)
        told = self._told.get(applied.diagnostic)
        if told is not None:
            now = replace(told, time=applied.time, applied=None if applied.undone else applied.fix)
            self._stream.emit(now)
            self._diagnostics[now.id] = self._told[now.id] = now
            if self.watch is not None:
                self.watch.forget(told.code)
        if self.watch is not None:
            self.watch.history.course_changed()
        if not applied.undone:
            self._repair.applied()

    def _answer_stop(self, event: events.CommandHandled) -> None:
        """A fix that ends the run was asked for as a fix, and is answered as one."""
        asked = {"diagnostic": event.details.get("reason"), "fix": event.details["fix"]}
        stops = event.accepted and self.trainer is not None and self.trainer.stop is not None
        self._answer("apply_fix", asked, event.message, accepted=stops)
        told = self._told.get(str(asked["diagnostic"]))
        if stops and told is not None:
            now = replace(told, time=event.time, applied=str(asked["fix"]))
            self._stream.emit(now)
            self._diagnostics[now.id] = self._told[now.id] = now

    def _answer(self, command: str, details: dict[str, Any], message: str, *, accepted: bool) -> None:
        epoch, step = (self.trainer.epoch, self.trainer.step) if self.trainer else (0, 0)
        self._stream.emit(
            events.CommandHandled(
                time=time.time(),
                command=command,
                accepted=accepted,
                epoch=epoch,
                step=step,
                message=message,
                details=details,
            )
        )

    # ── what else there is to see ───────────────────────────────────────────────────────────────────────────

    def note(self, event: events.Event) -> None:
        """Pass on what another thread has seen of the machine."""
        self._stream.emit(event)
        if self.watch is not None:
            self.watch.note(event)
        self._look_for_answers()

    def before_training(self) -> None:
        """Raise what the rules can tell before the first step."""
        self._mend_data()
        if self.watch is not None:
            for diagnostic in self.watch.before_training(time.time()):
                self.raise_diagnostic(diagnostic)
            self._tell_troubles(self.watch)

    def _mend_data(self) -> None:
        """Let automatic mode mend what was wrong with the data: that was told before there was anything to mend.

        Not where training goes on from a checkpoint: it would be thrown away.
        """
        if self.policy != "fix" or self.trainer is None or self.trainer.step:
            return
        for name, problem in self.problems_of_data.items():
            told = self._told.get(name)
            if told is not None and told.applied is None and any(fix.by_itself for fix in problem.fixes):
                self._act(told)

    def raise_diagnostic(self, diagnostic: events.DiagnosticRaised) -> None:
        """Emit a diagnostic, unless the config or the user does not want it."""
        disabled = self._request.loaded.config.diagnostics.disabled
        if diagnostic.code not in disabled and diagnostic.code not in self._ignored:
            self.emit(diagnostic)

    def _with_what_is_kept(self, diagnostic: events.DiagnosticRaised) -> events.DiagnosticRaised:
        """A leak names the tensors that pile up: only the living process knows them, no history does."""
        if diagnostic.code != "memory_leak" or self.trainer is None:
            return diagnostic
        from tui_trainer.diagnostics.kept_tensors import naming_what_is_kept

        try:
            return naming_what_is_kept(diagnostic, self.trainer.parts)
        except Exception:  # objects of the user's that cannot be looked at
            return diagnostic

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

    def _look_for_answers(self) -> None:
        """Nobody has answered for long: report, and let a critical problem pause the run behind a checkpoint."""
        minutes = self._request.loaded.config.diagnostics.answer_within_minutes
        for name, asked in list(self._unanswered.items()):
            if self._clock() - asked < 60 * minutes:
                continue
            self._unanswered.pop(name, None)
            told = self._told[name]
            critical = told.severity == "critical"
            then = "the run pauses behind a checkpoint" if critical else "training goes on"
            self._log("warning", f"{told.code}: no answer for {minutes:g} minutes; reported, and {then}.")
            if critical and self.trainer is not None and not self.trainer.paused:
                self._commands.put(Command("pause"))

    def _tell_troubles(self, watch: Watch) -> None:
        for text in watch.troubles:
            self._log("warning", text)
        watch.troubles.clear()

    def _log(self, level: Any, text: str) -> None:
        self._stream.emit(events.LogLine(time=time.time(), level=level, text=text))

    def _note_command(self, event: events.CommandHandled) -> None:
        """What changed the course of training goes into run.json, by step, so that it can be replayed."""
        folder = self._request.folder
        if event.command == "stop" and "fix" in event.details:
            self._answer_stop(event)
        if event.command == "apply_fix" and not event.accepted and event.details.get("automatic"):
            self._move(self._repair.refused())
        if not event.accepted or self.trainer is None:
            return
        if event.command == "set_learning_rate" and self.watch is not None:
            self.watch.history.course_changed()
        if event.command in ("set_learning_rate", "extend"):
            folder.attempt["interventions"].append(self.trainer.interventions[-1])
            folder.record["interventions"] = list(self.trainer.interventions)
        elif event.command in ("pause", "resume"):
            self._paused_for = self._paused_for if event.command == "pause" else ""
            folder.record["status"] = "paused" if event.command == "pause" else "running"
        else:
            return
        with contextlib.suppress(OSError):
            folder.update()


def _facts(trainer: Trainer, context: Mapping[str, Any]) -> RunFacts:
    from tui_trainer.diagnostics.facts import RunFacts

    parts = trainer.parts
    return RunFacts(
        config=parts.config,
        epochs=trainer.epochs,
        steps_per_epoch=parts.steps_per_epoch,
        metrics=parts.metric_names,
        monitor=parts.config.checkpoint.monitor,
        monitor_mode=parts.config.checkpoint.monitor_mode,
        device=str(parts.device),
        context=context,
    )
