"""The diagnostics of a run as cases: open, fixed, ignored or rolled back; the worst first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_trainer.engine.events import CommandHandled, DiagnosticRaised, FixApplied, Resumed
    from tui_trainer.screens.view import RunView

State = Literal["open", "fixed", "ignored", "rolled back"]
RANKS = {"critical": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """What a run's events tell of its diagnostics; of one id, the last.

    `past` were rolled back without a fix. `fixes` are in force, in the order in which they were applied. `ignored`:
    codes that shall be passed over in this run. `retold`: id and moment of the diagnostic that a fix, taken back, has
    put behind the place where the run now stands.
    """

    told: tuple[DiagnosticRaised, ...] = ()
    past: tuple[DiagnosticRaised, ...] = ()
    fixes: tuple[FixApplied, ...] = ()
    ignored: frozenset[str] = frozenset()
    retold: tuple[str, float] = ("", 0.0)

    def with_diagnostic(self, event: DiagnosticRaised) -> Diagnosed:
        """After a diagnostic, which may be known already."""
        if (event.id, event.time) == self.retold:
            return self  # what was known of it is told once more, without its fix
        return replace(self, told=(*_without(self.told, event.id), event), past=_without(self.past, event.id))

    def with_fix(self, event: FixApplied) -> Diagnosed:
        """After a fix was applied, or taken back."""
        others = tuple(
            item for item in self.fixes if (item.diagnostic, item.fix) != (event.diagnostic, event.fix)
        )
        known = next((item for item in (*self.told, *self.past) if item.id == event.diagnostic), None)
        changed = replace(self, fixes=others if event.undone else (*others, event))
        if known is None:
            return changed
        if event.undone and known.step > event.to_step:
            known = replace(known, applied=None)
            return replace(
                changed,
                told=_without(self.told, known.id),
                past=(*_without(self.past, known.id), known),
                retold=(known.id, event.time),
            )
        return changed.with_diagnostic(replace(known, applied=None if event.undone else event.fix))

    def with_answer(self, event: CommandHandled) -> Diagnosed:
        """After the answer to a command."""
        name = event.details.get("diagnostic")
        if event.command != "ignore" or not event.accepted or not isinstance(name, str):
            return self
        return replace(self, ignored=self.ignored | {item.code for item in self.told if item.id == name})

    def resumed(self, event: Resumed) -> Diagnosed:
        """After a rollback: what came later and was not fixed has not been."""
        kept = tuple(item for item in self.told if item.step <= event.step or item.applied is not None)
        gone = tuple(item for item in self.told if item not in kept)
        return replace(self, told=kept, past=(*self.past, *gone))


@dataclass(frozen=True, slots=True)
class Case:
    """One diagnostic and what has become of it; `words` say that for people."""

    told: DiagnosticRaised
    state: State
    words: str

    @property
    def is_open(self) -> bool:
        """Whether somebody has still to answer it."""
        return self.state == "open"

    @property
    def matters(self) -> bool:
        """Whether it is more than worth knowing."""
        return self.told.severity != "info"


@dataclass(frozen=True, slots=True)
class FixMark:
    """A place on the charts: from this step on the run goes with another config."""

    step: int
    words: tuple[str, ...]


def all_cases(view: RunView) -> tuple[Case, ...]:
    """Every diagnostic of the run, the latest first."""
    found = view.diagnosed
    cases = [_case(view, item) for item in found.told]
    cases += [Case(item, "rolled back", "gone with a rollback") for item in found.past]
    cases.reverse()
    return tuple(sorted(cases, key=lambda case: -case.told.step))


def open_cases(view: RunView) -> tuple[Case, ...]:
    """The warnings and critical ones that wait for an answer: the worst first, of those the latest."""
    waiting = [case for case in all_cases(view) if case.is_open and case.matters]
    return tuple(sorted(waiting, key=lambda case: RANKS.get(case.told.severity, 1)))


def badge(view: RunView) -> tuple[str, str]:
    """What the header says of open problems, and in which role; nothing where there are none."""
    waiting = open_cases(view)
    if not waiting:
        return "", "text"
    return f"diagnostics: {len(waiting)}", "bad" if waiting[0].told.severity == "critical" else "warn"


def fix_marks(view: RunView) -> tuple[FixMark, ...]:
    """Where the fixes in force began, with words from the fullest to the shortest."""
    marks = []
    for number, event in enumerate(view.diagnosed.fixes, 1):
        short = f"fix {number}"
        marks.append(FixMark(event.to_step, (f"{short}: {_first_part(event.title)}", short, str(number))))
    return tuple(marks)


def _case(view: RunView, told: DiagnosticRaised) -> Case:
    found = view.diagnosed
    if told.applied is not None:
        return Case(told, "fixed", _fixed_by(found.fixes, told))
    if told.code in found.ignored:
        return Case(told, "ignored", "ignored in this run")
    if told.code in view.ignored_codes:
        return Case(told, "ignored", "ignored always")
    return Case(told, "open", "open" if told.severity != "info" else "for information")


def _fixed_by(fixes: Sequence[FixApplied], told: DiagnosticRaised) -> str:
    for number, event in enumerate(fixes, 1):
        if (event.diagnostic, event.fix) == (told.id, told.applied):
            return f"fix {number}: {clean_text(event.title or event.fix, limit=120)}"
    titles = [item.get("title") for item in told.fixes if item.get("id") == told.applied]
    return f"fixed: {clean_text(titles[0] if titles else told.applied, limit=120)}"


def _first_part(title: str) -> str:
    return clean_text(title, limit=120).partition(",")[0]


def _without(items: tuple[DiagnosticRaised, ...], name: str) -> tuple[DiagnosticRaised, ...]:
    return tuple(item for item in items if item.id != name)
