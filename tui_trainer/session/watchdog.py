"""The watchdog: a thread of its own that notices when training takes no more steps."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from tui_trainer.diagnostics.hang import Standstill
from tui_trainer.engine.checkpoints import LAST
from tui_trainer.engine.events import DiagnosticRaised, LogLine
from tui_trainer.engine.manifest import read_manifest
from tui_trainer.session.thread_stack import stack_of
from tui_trainer.session.wording import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tui_trainer.config.schema import Config
    from tui_trainer.diagnostics.hang import Hang
    from tui_trainer.diagnostics.rule import Problem
    from tui_trainer.engine.events import Event

_INTERVAL_S = 5.0
_MISSED = 4  # intervals between two looks: the whole process stood still, not its training
_KNOWN = 1_000  # newest step times
_ENOUGH = 3  # of them, before they say what is usual


class Watched(Protocol):
    """What the watchdog reads of a trainer.

    `heartbeat`: when the present step began, by the watchdog's clock; None where training does something that may take
    its time (validation, a checkpoint, a pause, compiling).
    """

    epoch: int
    step: int
    heartbeat: float | None
    awaiting: bool


class Watchdog:
    """Looks at `trainer` every few seconds until closed. A standstill is told once; so is its end.

    `report` gets the diagnostic, `note` the line that training goes on; both are called by the watchdog's thread.
    """

    def __init__(
        self,
        trainer: Watched,
        rule: Hang,
        *,
        config: Config,
        thread: int,
        checkpoints: Path,
        report: Callable[[DiagnosticRaised, Problem], object],
        note: Callable[[Event], object],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._trainer, self._rule, self._config = trainer, rule, config
        self._training_thread, self._checkpoints = thread, checkpoints
        self._report, self._note, self._clock = report, note, clock
        self._times: deque[float] = deque(maxlen=_KNOWN)
        self._beat: float | None = None
        self._step = trainer.step
        self._looked = clock()
        self._not_before = self._looked
        self._hangs: float | None = None
        self._compiled_epoch = trainer.epoch if config.training.compile else None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def follow(self, trainer: Watched) -> None:
        """Look after the trainer that has taken the other's place."""
        self._trainer, self._step = trainer, trainer.step

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)
        if self._hangs is not None:
            self.look()

    def look(self) -> None:
        """See whether training goes on."""
        now, beat = self._clock(), self._trainer.heartbeat
        if now - self._looked > _MISSED * _INTERVAL_S:  # stopped by a signal, or the machine slept
            self._not_before, self._beat = now, beat
        self._looked = now
        if beat != self._beat:
            self._step_was_taken(beat)
        if beat is None or self._hangs is not None or self._is_compiling():
            return
        still_for = now - max(beat, self._not_before)
        if still_for < self._rule.limit.seconds:
            return
        usual = self._usual()
        if still_for >= self._rule.limit_for(usual):
            self._hangs = beat
            self._tell(still_for, usual)

    def _step_was_taken(self, beat: float | None) -> None:
        trainer, before = self._trainer, self._beat
        steps, self._step = trainer.step - self._step, trainer.step
        self._beat = beat
        if self._hangs is not None:
            seconds = (self._clock() if beat is None else beat) - self._hangs
            self._hangs = None
            if steps > 0:  # else a command, or an error, has ended the wait
                text = f"Training goes on: step {trainer.step} took {format_duration(seconds)}."
                self._note(LogLine(time=time.time(), level="warning", text=text))
        elif before is not None and beat is not None and steps > 0:
            self._times.append((beat - before) / steps)

    def _is_compiling(self) -> bool:
        """In the first epoch, and at the first step of the next: batches of another size are compiled anew."""
        if self._compiled_epoch is not None and self._trainer.epoch > self._compiled_epoch:
            self._compiled_epoch = None
        return self._compiled_epoch is not None

    def _usual(self) -> float | None:
        if len(self._times) < _ENOUGH:
            return None
        ordered = sorted(self._times)
        return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]

    def _tell(self, seconds: float, usual: float | None) -> None:
        trainer, rule = self._trainer, self._rule
        still = Standstill(
            seconds=seconds,
            limit=rule.limit_for(usual),
            usual=usual,
            epoch=trainer.epoch,
            step=trainer.step,
            waits_for_data=trainer.awaiting,
            stack=tuple(stack_of(self._training_thread)),
            checkpoint=newest_checkpoint(self._checkpoints),
        )
        problem = rule.problem(still)
        self._report(
            DiagnosticRaised(
                time=time.time(),
                id=f"{rule.code}-{trainer.step + 1}",  # the step that does not end; a second try at it is no other
                code=rule.code,
                severity=problem.severity,
                epoch=trainer.epoch,
                step=trainer.step,
                message=problem.message,
                evidence=problem.evidence,
                fixes=tuple(fix.to_json(self._config) for fix in problem.fixes),
                playbook=f"diagnostics/{rule.code}.md",
            ),
            problem,
        )

    def _run(self) -> None:
        while not self._stop.wait(_INTERVAL_S):
            self.look()


def newest_checkpoint(folder: Path) -> str | None:
    """The file that holds the latest state, and which: "last_model.pt (epoch 3, step 135)"; None without one."""
    files = read_manifest(folder)["files"]
    if not files:
        return None
    name = max(files, key=lambda name: (files[name].get("step", -1), name == LAST))
    return f"{name} (epoch {files[name].get('epoch')}, step {files[name].get('step')})"
