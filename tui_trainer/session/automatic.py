"""Repairing without asking (`on_trigger: fix`): which fix is tried next, whether the last one helped, when to give up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tui_trainer.diagnostics.fix import Fix
    from tui_trainer.diagnostics.rule import Problem
    from tui_trainer.engine.events import DiagnosticRaised

MOST_FIXES = 5
_SETTLED_AFTER = 3  # epochs without the problem, after which a fix counts as having helped


@dataclass(frozen=True, slots=True)
class Move:
    """What to do: apply `fix` of `diagnostic`, after taking the last fix back where `undo` says so; or `give_up`."""

    what: Literal["apply", "give_up"]
    diagnostic: str = ""
    fix: Fix | None = None
    undo: bool = False


@dataclass(slots=True)
class _Trial:
    """The fix whose effect is being waited for. `fixes`: all that the problem offered when it was first seen."""

    diagnostic: str
    code: str
    fix: str
    fixes: tuple[Fix, ...]
    epochs: int = 0


class AutomaticRepair:
    """Tries the fixes of a problem one by one, each at most once, at most `MOST_FIXES` in a run.

    The first that is offered comes first. When the problem comes back before three epochs are over, the fix has not
    helped: it is taken back and the next one tried. None left: the run is given up where the problem is critical or
    its last fix was in vain; a warning that comes back later is reported only.
    """

    def __init__(self) -> None:
        self._tried: set[tuple[str, str]] = set()
        self._trial: _Trial | None = None
        self._pending = False

    def raised(self, event: DiagnosticRaised, problem: Problem) -> Move | None:
        """What to do about a diagnostic that was raised just now."""
        if self._pending or event.severity == "info" or not problem.acts:
            return None
        trial = self._trial if self._trial is not None and self._trial.code == event.code else None
        offered = trial.fixes if trial is not None else problem.fixes
        return self._next(
            trial.diagnostic if trial else event.id, event.code, offered, event.severity, undo=bool(trial)
        )

    def refused(self) -> Move | None:
        """What to do when a fix could not be applied."""
        self._pending = False
        trial = self._trial
        if trial is None:
            return None
        return self._next(trial.diagnostic, trial.code, trial.fixes, "critical", undo=False)

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
        self, diagnostic: str, code: str, offered: tuple[Fix, ...], severity: str, *, undo: bool
    ) -> Move | None:
        left = [fix for fix in offered if fix.by_itself and (code, fix.id) not in self._tried]
        if not left or len(self._tried) >= MOST_FIXES:
            return Move("give_up", diagnostic) if severity == "critical" or undo else None
        fix = left[0]
        self._tried.add((code, fix.id))
        self._trial = _Trial(diagnostic, code, fix.id, offered)
        self._pending = fix.action != "stop"
        return Move("apply", diagnostic, fix, undo=undo)
