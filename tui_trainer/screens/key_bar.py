"""The last row: the keys that work now. One widget, for a widget a key makes every screen and dialog slow to open."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from tui_trainer.screens.late_styles import LateStyles
from tui_trainer.session.wording import cell_width

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from textual.binding import ActiveBinding
    from textual.events import MouseDown, MouseMove
    from textual.screen import Screen

LINE = "▏"


class KeyHint(NamedTuple):
    """One key: how it is written, what it does in a word and in a sentence, and the name it is pressed by."""

    key: str
    label: str
    tooltip: str = ""
    name: str = ""
    enabled: bool = True
    always: bool = False

    @property
    def width(self) -> int:
        """In cells."""
        return cell_width(self.key) + (1 + cell_width(self.label) if self.label else 0)


class Place(NamedTuple):
    """The columns of a hint, `end` not among them."""

    start: int
    end: int
    hint: KeyHint


def places(hints: Sequence[KeyHint], last: KeyHint | None, width: int) -> tuple[Place, ...]:
    """Where each hint stands. The `last` stands at the right end, without its word where room is short; of the others
    as many as have room before it, from the first on, and those that are `always` shown."""
    found: list[Place] = []
    end, at = width, 0
    if last is not None:
        taken = sum(hint.width + 1 for hint in hints) + len(LINE) + last.width
        last = last if taken <= width else last._replace(label="")
        end = max(0, width - 1 - last.width)  # the last column stays empty
        found.append(Place(end, end + last.width, last))
        end -= len(LINE)
    kept = sum(hint.width + 1 for hint in hints if hint.always)
    for hint in hints:
        kept -= hint.width + 1 if hint.always else 0
        if at + hint.width + kept > end:
            continue
        found.append(Place(at, at + hint.width, hint))
        at += hint.width + 1
    return tuple(sorted(found))


class KeyBar(LateStyles, Widget):
    """Shows those of its screen's bindings that are meant to be shown; a click presses the key."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"key-bar--{part}" for part in ("text", "key", "label", "line", "hovered-key", "hovered-label")
    }
    ALLOW_SELECT = False

    def __init__(self) -> None:
        super().__init__()
        self._hints: tuple[KeyHint, ...] = ()
        self._last: KeyHint | None = None
        self._hovered: Place | None = None

    def on_mount(self) -> None:
        """Listen to what becomes of the bindings."""
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_changed)

    def _bindings_changed(self, screen: Screen[object]) -> None:
        if not (screen.app.app_focus and self.is_attached and screen is self.screen):
            return
        active = screen.active_bindings
        shown = {item.binding.action: item for item in reversed(active.values()) if item.binding.show}
        order = dict.fromkeys(item.binding.action for item in active.values() if item.binding.show)
        palette = active.get(self.app.COMMAND_PALETTE_BINDING)
        wanted = tuple(self._hint(shown[action]) for action in order)
        last = self._hint(palette) if palette is not None else None
        if (wanted, last) != (self._hints, self._last):
            self._hints, self._last, self._hovered = wanted, last, None
            self.refresh()

    def _hint(self, active: ActiveBinding) -> KeyHint:
        binding = active.binding
        key = self.app.get_key_display(binding)
        tooltip = active.tooltip or binding.description
        always = binding.action == "help"
        return KeyHint(key, binding.description, tooltip, binding.key, active.enabled, always)

    # The mouse

    def _at(self, x: int) -> Place | None:
        found = places(self._hints, self._last, self.size.width)
        return next((place for place in found if place.start <= x < place.end), None)

    def on_mouse_move(self, event: MouseMove) -> None:
        """Show what a click would press."""
        self._hover(self._at(event.x))

    def on_leave(self) -> None:
        """As before."""
        self._hover(None)

    def _hover(self, place: Place | None) -> None:
        if place != self._hovered:
            self._hovered = place
            self.tooltip = place.hint.tooltip if place is not None else None
            self.refresh()

    def on_mouse_down(self, event: MouseDown) -> None:
        """Press the key."""
        place = self._at(event.x)
        if place is None:
            return
        if place.hint.enabled:
            self.app.simulate_key(place.hint.name)
        else:
            self.app.bell()

    # Painting

    def render_line(self, y: int) -> Strip:
        """The row."""
        text, width = self.get_component_rich_style("key-bar--text"), self.size.width
        return Strip(self._segments() if not y else []).adjust_cell_length(width, text)

    def _segments(self) -> Iterator[Segment]:
        at = 0
        for place in places(self._hints, self._last, self.size.width):
            hint, (start, end, _) = place.hint, place
            line = LINE if self._last is not None and hint.name == self._last.name else ""
            yield Segment(" " * (start - len(line) - at), self.get_component_rich_style("key-bar--text"))
            yield Segment(line, self.get_component_rich_style("key-bar--line"))
            state = "hovered-" if place == self._hovered else ""
            key, label = (
                self.get_component_rich_style(f"key-bar--{state}{part}") for part in ("key", "label")
            )
            yield Segment(hint.key, key)
            yield Segment(f" {hint.label}" if hint.label else "", label)
            at = end
