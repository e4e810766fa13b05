"""What the panel of the gate after a baseline shows, one immutable value, and whom it turns to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui_trainer.phases.gate import Checklist
    from tui_trainer.reports.decision import Decision


@dataclass(frozen=True, slots=True)
class GateView:
    """The gate `post_baseline` as it stands: `busy`, or an `error` that says why it cannot be judged, or both parts.

    `trouble`: why an answer could not be kept.
    """

    busy: bool = False
    error: str | None = None
    checklist: Checklist | None = None
    decision: Decision | None = None
    trouble: str | None = None

    @property
    def begun(self) -> bool:
        """Whether there is anything to show: the run is over."""
        return self.busy or self.error is not None or self.checklist is not None


@dataclass(frozen=True, slots=True)
class GateDesk:
    """Whom the panel turns to: `sign` and `waive` an item with its words, `again` checks what failed."""

    sign: Callable[[str, str], None] = lambda _item, _note: None
    waive: Callable[[str, str], None] = lambda _item, _reason: None
    again: Callable[[], None] = lambda: None
