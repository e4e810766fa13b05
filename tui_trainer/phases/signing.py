"""Who answers for what: signatures and waivers as entries of a checklist."""

from __future__ import annotations

import getpass
import os
import time

from tui_trainer.engine.events import iso_time
from tui_trainer.phases.gate import Entry, Finding, Item


def signer() -> str:
    """The name of whoever runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def signed(item: Item, note: str) -> Entry:
    """`item` with a person's note."""
    return Entry(item, Finding("signed", note), at=iso_time(time.time()), by=signer(), reason=note)


def waived(item: Item, reason: str, found: Finding | None = None) -> Entry:
    """`item` let be, with what was `found` before."""
    evidence = found.evidence if found is not None else ""
    return Entry(item, Finding("waived", evidence), at=iso_time(time.time()), by=signer(), reason=reason)
