"""What a rule is: it reads the history of a run and says what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from tui_trainer.config.errors import ConfigError
from tui_trainer.config.wording import shown

if TYPE_CHECKING:
    from tui_trainer.diagnostics.facts import RunFacts
    from tui_trainer.diagnostics.fix import Fix
    from tui_trainer.diagnostics.history import History
    from tui_trainer.engine.events import Severity


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong, with the numbers of this run that show it.

    `message`: one or two sentences for people, with value and threshold. `evidence`: JSON values; `since_epoch` and
    `threshold` where they apply. `subject`: what it is about where a run can have several of a kind (a layer, a
    column). `fixes`: the best first. `since`: the optimizer step before which all was well. `again`: to be told once
    more each time it is seen, as one diagnostic that grows. `acts`: False where an automatic fix would be too early.
    """

    severity: Severity
    message: str
    evidence: dict[str, Any] = field(default_factory=dict)
    fixes: tuple[Fix, ...] = ()
    subject: str = ""
    since: int | None = None
    again: bool = False
    acts: bool = True


Seen = Problem | Sequence[Problem] | None


class Rule:
    """Base of all rules: override the moments at which there is something to see.

    A rule keeps nothing of its own: what it needs of the past is in the history, so that a resumed run, and a finished
    one that is read from its folder, are judged alike. It must be cheap, and never raises on odd numbers. `Rule` is
    also the contract for a user's own rule (`diagnostics.rules` in the config).

    `thresholds` are the defaults; `self.limit.<name>` holds what the config makes of them. `fix_ids`: every id that
    its fixes can have; the playbook explains each.
    """

    code: ClassVar[str] = ""
    thresholds: ClassVar[Mapping[str, float]] = {}
    fix_ids: ClassVar[tuple[str, ...]] = ()

    def __init__(self, facts: RunFacts, thresholds: Mapping[str, float] | None = None) -> None:
        """Raises `ConfigError` for a threshold that the rule does not have."""
        given = dict(thresholds or {})
        for name in given:
            if name not in self.thresholds:
                there = ", ".join(self.thresholds) or "none"
                raise ConfigError(
                    f"diagnostics.thresholds.{self.code}: there is no threshold {shown(name)}; there are: {there}."
                )
        self.facts = facts
        self.limit = SimpleNamespace(**{**self.thresholds, **given})

    def before_training(self) -> Seen:
        """What the facts alone tell, before the first step."""
        return None

    def on_step(self, history: History) -> Seen:  # noqa: ARG002 (for rules to use)
        """After each logged step: `history.steps[-1]` is the newest."""
        return None

    def on_skip(self, history: History) -> Seen:  # noqa: ARG002 (for rules to use)
        """After a batch that was left out: `history.skip` is the event."""
        return None

    def on_shortage(self, history: History) -> Seen:  # noqa: ARG002 (for rules to use)
        """After memory ran out and the step was taken in smaller pieces: `history.shortage` is the event."""
        return None

    def on_epoch(self, history: History) -> Seen:  # noqa: ARG002 (for rules to use)
        """After each epoch: `history.epochs[-1]` is the newest, `history.rows` holds what was measured beside it."""
        return None
