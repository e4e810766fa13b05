"""A gate: the checklist at the end of a phase. What its items are, and what was found about each.

An item is *checked* (the program verifies it and keeps the evidence) or *signed* (a person's judgement). A checked item
that fails can be *waived* with a written reason, which every later report carries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

State = Literal["open", "passed", "failed", "not_applicable", "signed", "waived"]
"""`open`: not looked at yet, or a signature that is missing."""

GRANTED = ("passed", "not_applicable", "signed", "waived")


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a checklist. `help`: what to do where it fails. `rests_on`: the aspects (`phases.standing`) that
    re-open it when they change."""

    name: str
    title: str
    help: str
    signed: bool = False
    rests_on: tuple[str, ...] = ("config",)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. `evidence` is one line for people, `details` numbers for machines; both are kept."""

    state: State
    evidence: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """An item with what is known of it: what was found, when (UTC, ISO 8601), by whom it was signed or waived and why.

    `rested_on`: the digest of each aspect when it was found.
    """

    item: Item
    finding: Finding
    at: str = ""
    by: str = ""
    reason: str = ""
    rested_on: Mapping[str, str] = field(default_factory=dict)

    @property
    def granted(self) -> bool:
        """Whether the gate may open as far as this item is concerned."""
        return self.finding.state in GRANTED


@dataclass(frozen=True, slots=True)
class Checklist:
    """A gate and the state of its items. `run`: the run folder that it was earned with, for gates after a run."""

    gate: str
    title: str
    entries: tuple[Entry, ...]
    run: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the next phase may begin."""
        return all(entry.granted for entry in self.entries)

    @property
    def missing(self) -> tuple[Entry, ...]:
        """What keeps the gate shut."""
        return tuple(entry for entry in self.entries if not entry.granted)

    @property
    def waived(self) -> tuple[Entry, ...]:
        """What was waved through, for the reports."""
        return tuple(entry for entry in self.entries if entry.finding.state == "waived")
