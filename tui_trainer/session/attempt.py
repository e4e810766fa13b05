"""The attempt under way: where it goes on from, its records on disk, and the way back to a checkpoint."""

from __future__ import annotations

import contextlib
import time
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

    from tui_trainer.engine.rollback import Rollback
    from tui_trainer.engine.trainer import Trainer
    from tui_trainer.session.judge import Judge
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
        if self.point is not None:
            check_same_config(self.point, self._config)
        if folder.is_new:
            self._write_config()
        self._found = True

    def begin(self, trainer: Trainer) -> None:
        """Put the trainer where the attempt goes on from, and make the folder this attempt's.

        Called once everything is built, so that an attempt that cannot begin leaves an earlier run as it was. Raises
        `RunFolderError`.
        """
        from tui_trainer.session.resume import check_fits

        if self.point is not None:
            check_fits(self.point, trainer)
            trainer.load(self.point.state)
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

    def go_back(self, trainer: Trainer, rollback: Rollback) -> None:
        """Take folder and trainer back to a checkpoint and begin the next attempt there; answers the command.

        Where the folder cannot be written the command is refused, and the trainer stays where it is.
        """
        from tui_trainer.engine.controls import answer
        from tui_trainer.engine.state import go_back
        from tui_trainer.session.resume import ResumePoint
        from tui_trainer.session.rollback import roll_back

        folder, command, recorder = self._folder, rollback.command, self.recorder
        assert recorder is not None
        point = ResumePoint(rollback.path, rollback.state)
        epoch, step, stopping = trainer.epoch, trainer.step, trainer.stop is not None
        if rollback.paused:
            self._commands.put_first(Command("pause"))
        try:
            recorder.rewind(lambda: roll_back(folder, point, same_process=True), point.history)
        except OSError as error:
            trainer.stay()
            answer(trainer, command, f"the run folder cannot be written ({error.strerror})", accepted=False)
            return
        self.point = point
        go_back(trainer, point.state)
        trainer.checkpointer.failed.clear()
        place = {"epoch": epoch, "step": step, "command": command.name, "to_step": point.step}
        folder.attempt["interventions"].append(command.details | place)
        folder.attempt.update(ended=events.iso_time(time.time()), status="rolled_back")
        self._take_stock(list(trainer.interventions))
        self._write(lambda: begin_attempt(folder, resumed_from=point.path.name))
        self._stream.emit(starting.resumed(self._request, trainer, point))
        self._find_best(trainer)
        if trainer.interventions != point.interventions:  # more epochs stay: no crash may forget them
            trainer.save_last(in_any_case=True)
            trainer.checkpointer.flush()
        rate = rollback.learning_rate(trainer.learning_rate)
        if rate is not None:
            self._commands.put_first(Command("set_learning_rate", {"learning_rate": rate}))
        lost = step - point.step
        dropped = "; it no longer stops after the epoch" if stopping else ""
        said = f"back at {point.place}; {lost:,} step{'' if lost == 1 else 's'} thrown away{dropped}"
        answer(trainer, command, said)

    def _open(self) -> None:
        from tui_trainer.session.rollback import roll_back

        folder, point = self._folder, self.point
        if self.recorder is not None:
            return
        if point is not None or not folder.is_new:
            self._write(lambda: roll_back(folder, point))
            self._take_stock(point.interventions if point else [])
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
