"""Repairing without asking (`on_trigger: fix`): which fix is tried next, whether the last one helped, when to give up."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tui_trainer.diagnostics.fix import Fix
    from tui_trainer.diagnostics.rule import Problem
    from tui_trainer.engine.events import DiagnosticRaised

MOST_FIXES = 5
_SETTLED_AFTER = 3  # epochs without the problem, after which a fix counts as having helped
_OF_THE_RATE = ("optimizer.learning_rate", "training.gradient_clip_norm", "seed")
_BETTER = 0.05  # of what there is to learn: so much more tells that a fix was right, if not enough


@dataclass(frozen=True, slots=True)
class Move:
    """What to do: apply `fix` of `diagnostic`, after taking the last fix back where `undo` says so; or `give_up`."""

    what: Literal["apply", "give_up"]
    diagnostic: str = ""
    fix: Fix | None = None
    undo: bool = False


@dataclass(slots=True)
class _Trial:
    """The fix whose effect is being waited for. `fixes`: all that the problem offered when it was first seen.
    `learned`: the share of what there is to learn that was learned without it. `fresh`: it began with new weights, so
    that the two can be compared."""

    diagnostic: str
    code: str
    fix: str
    fixes: tuple[Fix, ...]
    learned: float
    fresh: bool
    epochs: int = 0


class AutomaticRepair:
    """Tries the fixes of a problem one by one, each at most once, at most `MOST_FIXES` in a run.

    The first that is offered comes first. When the problem comes back before three epochs are over, the fix has not
    cured it. Where more is learned from new weights on than was without it, it was a step the right way: it stays, and
    the problem's next first fix is built on it. Else it is taken back and the next one tried. None left: the run is
    given up where the problem is critical or its last fix was in vain; a warning that comes back later is reported
    only.
    """

    def __init__(self) -> None:
        self._tried: set[tuple[str, str, str]] = set()
        self._fixes = 0
        self._trial: _Trial | None = None
        self._pending = False

    def raised(
        self, event: DiagnosticRaised, problem: Problem, *, learned: float | None = None
    ) -> Move | None:
        """What to do about a diagnostic that was raised just now, with `learned` of what there is to learn since the
        last change."""
        if self._pending or event.severity == "info" or not problem.acts:
            return None
        trial, now = self._trial, max(0.0, learned or 0.0)
        if trial is None or trial.code != event.code or (trial.fresh and now > trial.learned + _BETTER):
            return self._next(event.id, event.code, problem.fixes, event.severity, now)
        return self._next(trial.diagnostic, trial.code, trial.fixes, event.severity, trial.learned, undo=True)

    def refused(self) -> Move | None:
        """What to do when a fix could not be applied."""
        self._pending = False
        trial = self._trial
        if trial is None:
            return None
        return self._next(trial.diagnostic, trial.code, trial.fixes, "critical", trial.learned)

    def applied(self) -> None:
        """A fix is in force: whether it helps is to be seen."""
        self._pending = False

    def epoch_finished(self) -> str | None:
        """Another epoch without the problem; the fix that has just proved to help, if one has."""
        trial = self._trial
        if trial is None or self._pending:
            return None
        trial.epochs += 1
        if trial.epochs < _SETTLED_AFTER:
            return None
        self._trial = None
        return trial.fix

    def _next(
        self,
        diagnostic: str,
        code: str,
        offered: tuple[Fix, ...],
        severity: str,
        learned: float,
        *,
        undo: bool = False,
    ) -> Move | None:
        left = [fix for fix in offered if fix.by_itself and _name(code, fix) not in self._tried]
        if not left or self._fixes >= MOST_FIXES:
            return Move("give_up", diagnostic) if severity == "critical" or undo else None
        fix = left[0]
        self._tried.add(_name(code, fix))
        self._fixes += 1
        if any(
            not key.startswith(_OF_THE_RATE) for key in fix.changes
        ):  # another model: another rate suits it
            self._tried = {name for name in self._tried if name[0] or name == _name(code, fix)}
        self._trial = _Trial(diagnostic, code, fix.id, offered, learned, fix.action == "restart_fresh")
        self._pending = fix.action != "stop"
        return Move("apply", diagnostic, fix, undo=undo)


def _name(code: str, fix: Fix) -> tuple[str, str, str]:
    """What may be tried once. Under another config the same id may mean another rate; a range test finds the same one,
    whatever it is asked for."""
    if fix.range_test:
        return "", fix.id, ""
    return code, fix.id, json.dumps(dict(fix.changes), sort_keys=True)
