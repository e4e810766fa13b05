"""The last row: the keys that work now. One widget, where a widget a key makes every screen slow to open."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from tui_trainer.session.wording import cell_width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.events import Leave, MouseDown, MouseMove
    from textual.screen import Screen


class KeyHint(NamedTuple):
    """One key: how it is written, what it does in a word and in a sentence, and how it is pressed."""

    key: str
    label: str
    tooltip: str
    pressed: str
    enabled: bool


class Place(NamedTuple):
    """The columns that a hint has, `end` not among them."""

    start: int
    end: int
    hint: KeyHint


def places(hints: Sequence[KeyHint], last: KeyHint | None, width: int, pad: int) -> tuple[Place, ...]:
    """Where each hint stands; `pad` cells before and behind it. The `last` stands at the right, behind a line; of the
    others those are left out that have no room before it."""
    found: list[Place] = []
    end = width
    if last is not None:
        start = max(0, width - _width(last, pad) - 1)
        found.append(Place(start, width, last))
        end = start - 1
    at = 0
    for hint in hints:
        after = at + _width(hint, pad)
        if after > end:
            break
        found.append(Place(at, after, hint))
        at = after + (0 if pad else 1)
    return tuple(found)


def _width(hint: KeyHint, pad: int) -> int:
    return cell_width(hint.key) + 1 + cell_width(hint.label) + 2 * pad


class KeyBar(Widget):
    """Shows the bindings of its screen that are meant to be shown. A click presses the key."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "key-bar--key",
        "key-bar--label",
        "key-bar--line",
        "key-bar--hover-key",
        "key-bar--hover-label",
    }
    ALLOW_SELECT = False

    def __init__(self, *, compact: bool = False) -> None:
        super().__init__()
        self._pad = 0 if compact else 1
        self._hints: tuple[KeyHint, ...] = ()
        self._last: KeyHint | None = None
        self._hovered: KeyHint | None = None

    @property
    def hints(self) -> tuple[KeyHint, ...]:
        """What is shown where there is room."""
        return self._hints
