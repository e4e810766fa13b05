"""A terminal that changes its size in quick succession."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textual.events import Resize
    from textual.screen import Screen


def outdated(screen: Screen[Any], event: Resize) -> bool:
    """Whether the terminal has another size by now; the event then goes no further.

    Textual lays a screen out for every size in its queue, and each layout puts that size into the queue again: with two
    sizes and another message between them this never ends.
    """
    if event.size == screen.app.size:
        return False
    event.prevent_default()
    event.stop()
    return True
