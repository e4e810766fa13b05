"""Who answers for what: signatures and waivers as entries of a checklist."""

from __future__ import annotations

import getpass
import os
import time
from typing import TYPE_CHECKING

from tui_trainer.config.gate_items import ALL
from tui_trainer.engine.events import iso_time
from tui_trainer.phases.gate import Entry, Finding, Item

if TYPE_CHECKING:
    from tui_trainer.config.schema import GatesConfig


def signer() -> str:
    """The name of whoever runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def signed(item: Item, note: str) -> Entry:
    """`item` with a person's note."""
    return Entry(item, Finding("signed", note), at=iso_time(time.time()), by=signer(), reason=note)


def answered(item: Item, known: Entry | None, gates: GatesConfig) -> Entry | None:
    """What is `known` of `item` and what the config answers for it; None where it is still to be looked at.

    What failed is looked at again. A new note or reason takes the place of an old one; what was checked and found good
    needs no waiver.
    """
    if known is not None and known.finding.state == "failed":
        known = None
    note = gates.sign.get(item.name) if item.signed else None
    if note is not None:
        return known if known is not None and known.reason == note else signed(item, note)
    if known is None:
        reason = gates.waive.get(item.name, gates.waive.get(ALL))
        return waived(item, reason) if reason is not None else None
    reason = gates.waive.get(item.name, known.reason)
    if known.finding.state != "waived" or reason == known.reason:
        return known
    return waived(item, reason, known.finding)


def waived(item: Item, reason: str, found: Finding | None = None) -> Entry:
    """`item` let be, with what was `found` before."""
    evidence = found.evidence if found is not None else ""
    return Entry(item, Finding("waived", evidence), at=iso_time(time.time()), by=signer(), reason=reason)
