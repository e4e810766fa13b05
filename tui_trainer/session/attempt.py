"""The attempt under way: where it goes on from, its records on disk, and the way back to a checkpoint."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import RunFolderError, UserError
from tui_trainer.config.hashing import config_hash
from tui_trainer.config.loading import dump_config
from tui_trainer.engine import events
from tui_trainer.engine.commands import Command, CommandQueue
from tui_trainer.engine.manifest import write_atomically
from tui_trainer.session import starting
from tui_trainer.session.recorder import Recorder
from tui_trainer.session.run_folder import CONFIG_YAML, begin_attempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui_trainer.config.schema import Config
    from tui_trainer.engine.rollback import Rollback
    from tui_trainer.engine.trainer import Trainer
    from tui_trainer.session.judge import Judge
    from tui_trainer.session.repair import Left, Rebuild
    from tui_trainer.session.resume import ResumePoint
    from tui_trainer.session.run_session import RunRequest
    from tui_trainer.session.stream import EventStream


class Attempt:
    """Begun by `find` and `begin`; `go_back` ends it and begins the next one.

    `point`: the checkpoint it goes on from, None at the start. `recorder`: None until the folder is this attempt's.
    """

    def __init__(
        self, request: RunRequest, stream: EventStream, commands: CommandQueue, judge: Judge
    ) -> None:
        self.point: ResumePoint | None = None
        self.recorder: Recorder | None = None
        self._request, self._folder, self._config = request, request.folder, request.loaded.config
        self._stream, self._commands, self._judge = stream, commands, judge
        self._found = False

    def find(self) -> None:
        """Find where to go on from. Changes nothing in the folder of an earlier run. Raises `RunFolderError`."""
        from tui_trainer.session.resume import check_same_config, find_resume_point

        folder, wanted = self._folder, self._request.resume_from
        if not folder.is_new or wanted is not None:
            self.point = find_resume_point(folder.checkpoints, wanted)
        self._take_over_fixes()
        if self.point is not None:
            check_same_config(self.point, self._config)
        if folder.is_new:
            self._write_config()
        self._found = True

    def _take_over_fixes(self) -> None:
        """Go on under the fixes that were applied before the checkpoint, whatever the config file says."""
        from tui_trainer.session.repair import changes_in_force, with_changes

        changes = changes_in_force(self.point, self._folder.record)
        if changes:
            self._config = with_changes(self._config, changes)
            self._request.loaded = replace(self._request.loaded, config=self._config)

    def begin(self, trainer: Trainer) -> None:
        """Put the trainer where the attempt goes on from, and make the folder this attempt's.

        Called once everything is built, so that an attempt that cannot begin leaves an earlier run as it was. Raises
        `RunFolderError`.
        """
        from tui_trainer.session.repair import forget_lost_fixes, fresh_fixes
        from tui_trainer.session.resume import check_fits

        if self.point is not None:
            check_fits(self.point, trainer)
            trainer.load(self.point.state)
        else:
            trainer.interventions = fresh_fixes(self._folder.record)
        forget_lost_fixes(self._folder, trainer)
        self._open()
        self._find_best(trainer)

    def open_if_possible(self) -> None:
        """Records for what there is to say of an attempt that never came to its first step."""
        if self._found or self._folder.is_new:
            with contextlib.suppress(UserError):
                self._open()

    def catch_up(self) -> None:
        """Return when the rows that a checkpoint counts on are on the disk itself."""
        if self.recorder is not None:
            self.recorder.catch_up(durable=True)

    def go_back(self, trainer: Trainer, rollback: Rollback, rebuild: Rebuild) -> Trainer:
        """Take folder and trainer back to a checkpoint, or to the start, and begin the next attempt there; answers
        the command. Returns the trainer that goes on: a new one where the config is another.

        Where that cannot be, the command is refused, and the trainer stays where it is.
        """
        from tui_trainer.data.seeds import restore_rng_state, rng_state
        from tui_trainer.session import repair
        from tui_trainer.session.resume import ResumePoint
        from tui_trainer.session.rollback import roll_back

        command, recorder = rollback.command, self.recorder
        assert recorder is not None
        random, point = rng_state(), None
        if rollback.path is not None and rollback.state is not None:
            point = ResumePoint(rollback.path, rollback.state)
        other = trainer
        try:
            config = repair.target_config(self._config, command, point, self._folder)
            if point is None or config != self._config or command.details.get("range_test"):
                config, other = repair.build(config, command, point, rebuild)
            recorder.rewind(
                lambda: roll_back(self._folder, point, same_process=True), point.history if point else []
            )
        except (UserError, OSError) as error:
            if other is not trainer:
                other.parts.close()
            restore_rng_state(random)
            return self._stay(trainer, rollback, error)
        left = repair.Left(trainer.epoch, trainer.step, stopping=trainer.stop is not None)
        self._put(trainer, other, point, config)
        self._begin_next(other, rollback, left, another=other is not trainer)
        return other

    def _stay(self, trainer: Trainer, rollback: Rollback, error: Exception) -> Trainer:
        from tui_trainer.engine.controls import answer

        if rollback.paused:
            self._commands.put_first(Command("pause"))
        trainer.stay()
        why = (
            f"the run folder cannot be written ({error.strerror})"
            if isinstance(error, OSError)
            else str(error)
        )
        answer(trainer, rollback.command, why, accepted=False)
        return trainer

    def _put(self, trainer: Trainer, other: Trainer, point: ResumePoint | None, config: Config) -> None:
        """Let `other` stand at `point`; from here on there is no way back to where `trainer` stood."""
        from tui_trainer.engine.state import go_back
        from tui_trainer.session import repair

        self.point = point
        trainer.checkpointer.failed.clear()
        if other is trainer:
            assert point is not None
            go_back(trainer, point.state)
            return
        trainer.parts.close()
        repair.put(other, point)
        self._request.loaded = replace(self._request.loaded, config=config)
        self._config = config
        self._folder.record["config_hash"] = config_hash(config)
        self._write_config()
        self._judge.config_changed(other, self._request.loaded.folder)

    def _begin_next(self, trainer: Trainer, rollback: Rollback, left: Left, *, another: bool) -> None:
        """Write down and say that another attempt begins where `trainer` stands now."""
        from tui_trainer.engine.controls import answer
        from tui_trainer.session import repair

        folder, point, command = self._folder, self.point, rollback.command
        fixing = command.name != "roll_back"
        if rollback.paused and not fixing:
            self._commands.put_first(Command("pause"))
        to_step = point.step if point else 0
        place = {"epoch": left.epoch, "step": left.step, "command": command.name, "to_step": to_step}
        folder.attempt["interventions"].append(command.details | place)
        folder.attempt.update(ended=events.iso_time(time.time()), status="rolled_back")
        applied = repair.note_fix(folder, trainer, rollback, left)
        self._take_stock(list(trainer.interventions))
        self._write(lambda: begin_attempt(folder, resumed_from=point.path.name if point else None))
        if another:
            self._stream.emit(repair.started_anew(self._request, trainer, self._judge.context))
        self._stream.emit(starting.resumed(self._request, trainer, point))
        if point is not None:
            self._find_best(trainer)
        if applied is not None:
            self._judge.fix_applied(applied)
        if point is not None and trainer.interventions != point.interventions:  # no crash may forget them
            trainer.save_last(in_any_case=True)
            trainer.checkpointer.flush()
        if point is not None and (rate := rollback.learning_rate(trainer.learning_rate)) is not None:
            self._commands.put_first(Command("set_learning_rate", {"learning_rate": rate}))
        lost = left.step - to_step
        dropped = "; it no longer stops after the epoch" if left.stopping else ""
        where = f"back at {point.place}" if point else "back at the start"
        said = f"{where}; {lost:,} step{'' if lost == 1 else 's'} thrown away{dropped}"
        if fixing:
            said = f"{repair.done(command)}; {'goes on from here' if not lost else said}"
        answer(trainer, command, said)

    def _open(self) -> None:
        from tui_trainer.session.repair import fresh_fixes
        from tui_trainer.session.rollback import roll_back

        folder, point = self._folder, self.point
        if self.recorder is not None:
            return
        if point is not None or not folder.is_new:
            self._write(lambda: roll_back(folder, point))
            self._take_stock(point.interventions if point else fresh_fixes(folder.record))
            resumed_from = point.path.name if point else None
            folder.record["config_hash"] = config_hash(self._config)
            if folder.is_new:
                folder.attempt["resumed_from"] = resumed_from
                self._write(folder.update)
            else:
                self._write(lambda: begin_attempt(folder, resumed_from=resumed_from))
            self._write_config()
        self.recorder = Recorder(
            folder.path, self._stream, point.history if point else [], self._tell_trouble
        )
        for note in point.notes if point else ():
            self._log("warning", note)

    def _take_stock(self, interventions: list[dict[str, Any]]) -> None:
        """Take up what still holds in a folder that was rolled back; say which interventions do not."""
        from tui_trainer.session.rollback import kept_diagnostics

        self._judge.begin_attempt(kept_diagnostics(self._folder))
        for item in self._folder.record.get("interventions", []):
            if item not in interventions:
                what = str(item.get("command")).replace("_", " ")
                text = f"Undone, for it came after the checkpoint: {what} at step {item.get('step')}."
                self._log("warning", text)
        self._folder.record["interventions"] = interventions

    def _find_best(self, trainer: Trainer) -> None:
        from tui_trainer.session.resume import find_best

        with contextlib.suppress(OSError):
            if warning := find_best(trainer):
                self._log("warning", warning)

    def _write_config(self) -> None:
        self._write(lambda: write_atomically(self._folder.path / CONFIG_YAML, dump_config(self._config)))

    def _write(self, change: Callable[[], object]) -> None:
        try:
            change()
        except OSError as error:
            raise RunFolderError(
                f"The run folder {self._folder.path} cannot be written ({error.strerror}). Free some space, or check its "
                "permissions."
            ) from error

    def _tell_trouble(self, text: str) -> None:
        self._log("error", f"The run folder refuses data: {text}. Training goes on; free some space.")

    def _log(self, level: Any, text: str) -> None:
        self._stream.emit(events.LogLine(time=time.time(), level=level, text=text))
