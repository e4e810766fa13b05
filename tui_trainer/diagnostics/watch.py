"""Watching a run: events go in, diagnostics come out."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from tui_trainer.config.user_code import raised, user_frame
from tui_trainer.diagnostics.history import History
from tui_trainer.diagnostics.rule import Problem, Rule
from tui_trainer.engine.events import DiagnosticRaised, EpochFinished, Event, NonFiniteSkipped, StepLogged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tui_trainer.diagnostics.facts import RunFacts
    from tui_trainer.diagnostics.fix import Fix

_ORDER = {"info": 0, "warning": 1, "critical": 2}


class Watch:
    """Feeds the history and asks the rules. Belongs to the thread that trains; `note` may be called by any.

    A problem is told once, and again when it grows worse. `problems`: the newest of each id. `troubles`: rules that
    raised; they are asked no more, and training goes on.
    """

    def __init__(self, rules: Sequence[Rule], facts: RunFacts) -> None:
        self.history = History()
        self.problems: dict[str, Problem] = {}
        self.troubles: list[str] = []
        self._ids: dict[tuple[str, str], str] = {}
        self._told: dict[str, DiagnosticRaised] = {}
        self._numbers: dict[str, int] = {}
        self._notes: deque[Event] = deque(maxlen=10_000)
        self._before: list[tuple[str, Callable[..., Any]]] = []
        self._asked: Mapping[str, list[tuple[str, Callable[[History], Any]]]] = {}
        self.change(rules, facts)

    def change(self, rules: Sequence[Rule], facts: RunFacts) -> None:
        """Go on with rules that know of another config; the history stays."""
        self.facts = facts
        self._before = _overriding(rules, "before_training")
        self._asked = {
            StepLogged.kind: _overriding(rules, "on_step"),
            NonFiniteSkipped.kind: _overriding(rules, "on_skip"),
            "memory_shortage": _overriding(rules, "on_shortage"),
            EpochFinished.kind: _overriding(rules, "on_epoch"),
        }

    def note(self, event: Event) -> None:
        """Something that another thread has seen (samples of the machine)."""
        self._notes.append(event)

    def before_training(self, time: float) -> list[DiagnosticRaised]:
        """What is wrong before the first step."""
        return [
            told
            for code, ask in self._before
            for told in self._raised(code, self._answer(self._before, code, ask), 0, 0, time)
        ]

    def observe(self, event: Event) -> list[DiagnosticRaised]:
        """What is new to be told after `event`."""
        history = self.history
        while self._notes:
            history.take(self._notes.popleft())
        history.take(event)
        asked = self._asked.get(event.kind)
        if not asked:
            return []
        place: Any = event
        return [
            told
            for code, ask in list(asked)
            for told in self._raised(
                code, self._answer(asked, code, ask, history), place.epoch, place.step, event.time
            )
        ]

    def fix(self, diagnostic: str, fix: str) -> Fix | None:
        """A fix of a diagnostic that was raised, by their ids."""
        problem = self.problems.get(diagnostic)
        return next((item for item in problem.fixes if item.id == fix), None) if problem else None

    def resume(self, kept: Sequence[dict[str, Any]]) -> None:
        """Take the numbering up behind the diagnostics `kept` from earlier attempts; forget what was told since."""
        names = {str(item.get("id")) for item in kept}
        self._ids = {key: name for key, name in self._ids.items() if name in names}
        self._told = {name: item for name, item in self._told.items() if name in names}
        for item in kept:
            code, _, number = str(item.get("id")).rpartition("-")
            if number.isdigit():
                self._numbers[code] = max(self._numbers.get(code, 0), int(number))

    def forget(self, code: str) -> None:
        """Let a problem of this kind be told anew (a fix was applied: does it come back?)."""
        for key in [key for key in self._ids if key[0] == code]:
            self._told.pop(self._ids.pop(key), None)

    def _answer(self, asked: list[tuple[str, Callable[..., Any]]], code: str, ask: Any, *given: Any) -> Any:
        try:
            return ask(*given)
        except Exception as error:  # a rule, perhaps the user's own, ends no training
            asked.remove((code, ask))
            where = user_frame(error) or "no line known"
            self.troubles.append(f"The rule {code} raised {raised(error)} ({where}) and is asked no more.")
            return None

    def _raised(self, code: str, seen: Any, epoch: int, step: int, time: float) -> Iterator[DiagnosticRaised]:
        if seen is None:
            return
        for problem in [seen] if isinstance(seen, Problem) else seen:
            name = self._name(code, problem.subject)
            before = self._told.get(name)
            if before is not None and not (
                problem.again or _ORDER[problem.severity] > _ORDER[before.severity]
            ):
                self.problems[name] = problem
                continue
            told = DiagnosticRaised(
                time=time,
                id=name,
                code=code,
                severity=problem.severity,
                epoch=epoch,
                step=step,
                message=problem.message,
                evidence=dict(problem.evidence),
                fixes=tuple(
                    fix.to_json(self.facts.config) | {"since": problem.since} for fix in problem.fixes
                ),
                applied=None,
                playbook=f"diagnostics/{code}.md",
            )
            self.problems[name], self._told[name] = problem, told
            yield told

    def _name(self, code: str, subject: str) -> str:
        key = (code, subject)
        if key not in self._ids:
            self._numbers[code] = self._numbers.get(code, 0) + 1
            self._ids[key] = f"{code}-{self._numbers[code]}"
        return self._ids[key]


def _overriding(rules: Sequence[Rule], moment: str) -> list[tuple[str, Callable[..., Any]]]:
    """Code and bound method of the rules that have something to say at `moment`."""
    return [
        (rule.code, getattr(rule, moment))
        for rule in rules
        if getattr(type(rule), moment) is not getattr(Rule, moment)
    ]
