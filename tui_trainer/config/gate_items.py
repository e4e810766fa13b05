"""The names of the items that stand at the gates between phases: what `gates.sign` and `gates.waive` may speak of.

What each one is about says its phase (`phases.plan_checks` and so on).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_trainer.config.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNED = ("intended_use", "target_metric", "decision", "approvals")
"""What a person answers for."""

CHECKED = (
    "seeds", "deterministic", "environment", "repository", "data", "splits", "dummy_pass", "disk", "two_runs",
    "completed", "loss_fell", "finite", "utilization", "steady", "checkpoints", "records",
    "primary_issue", "evidence", "causes", "recommendations", "preview", "next_step",
)  # fmt: skip
"""What the program checks."""

ALL = "all"


def signatures(notes: Mapping[str, str]) -> dict[str, str]:
    """`notes` themselves. Raises ValueError for items that nobody signs, and for notes that say nothing."""
    for name in notes:
        if name in CHECKED:
            raise ValueError(
                f"names {name}, which the program checks and nobody signs; where it fails, give gates.waive.{name} a reason"
            )
    return _answers(notes, SIGNED)


def waivers(reasons: Mapping[str, str]) -> dict[str, str]:
    """`reasons` themselves. Raises ValueError for items that there are not, and for reasons that say nothing."""
    return _answers(reasons, (*CHECKED, *SIGNED, ALL))


def _answers(given: Mapping[str, str], known: tuple[str, ...]) -> dict[str, str]:
    for name, text in given.items():
        if name not in known:
            hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
            raise ValueError(f"names {name[:80]!r}, which is no such item of a gate{hint}")
        if not text.strip():
            raise ValueError(f"says nothing of {name}: write the reason")
    return dict(given)
