"""What the Diagnose screen shows, one immutable value, and whom it turns to with what a person has chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tui_trainer.phases.gate import Checklist
    from tui_trainer.reports.diagnosis_content import PhaseDiagnosis, Recommendation

Points = tuple[tuple[float, float], ...]
Changes = dict[str, dict[str, Any]]
"""Old and new value (`from`, `to`) by dotted config key."""


@dataclass(frozen=True, slots=True)
class DiagnoseView:
    """A run's diagnosis as it stands: `busy`, or an `error` that says why there is none, or the `diagnosis`.

    `folder`: the run's, where the report lies. `losses`: epoch and value of `train_loss` and `val_loss`. `carried`: the
    settings that the next run's config got from here, by key. `trouble`: why an answer to the gate could not be kept.
    """

    name: str = ""
    folder: Path | None = None
    busy: bool = False
    error: str | None = None
    diagnosis: PhaseDiagnosis | None = None
    checklist: Checklist | None = None
    losses: Mapping[str, Points] = field(default_factory=lambda: MappingProxyType({}))
    carried: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    trouble: str | None = None

    @property
    def recommendations(self) -> tuple[Recommendation, ...]:
        """What can be carried into the next run."""
        return self.diagnosis.recommendations if self.diagnosis is not None else ()

    def holds(self, item: Recommendation) -> bool:
        """Whether the next run's config has all of a recommendation's changes."""
        return bool(item.changes) and all(
            key in self.carried and self.carried[key] == change["to"] for key, change in item.changes.items()
        )


def _nobody(*_: object) -> str | None:
    return "There is no plan to carry it into."


@dataclass(frozen=True, slots=True)
class DiagnoseDesk:
    """Whom the screen turns to. `carry` takes a recommendation's changes into the next run's config and returns why
    that failed; `sign` and `waive` an item of the gate with its words; `again` analyses the run once more."""

    carry: Callable[[Changes], str | None] = _nobody
    sign: Callable[[str, str], None] = lambda _item, _note: None
    waive: Callable[[str, str], None] = lambda _item, _reason: None
    again: Callable[[], None] = lambda: None
