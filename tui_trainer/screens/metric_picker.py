"""The list of everything recorded, from which the charts are chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from tui_trainer.screens.chart_scene import USUAL
from tui_trainer.screens.quantities import group_order, quantity, value_text
from tui_trainer.screens.resizing import outdated
from tui_trainer.session.wording import cell_width, clean_text, crop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.app import ComposeResult
    from textual.events import Resize

    from tui_trainer.screens.recorded import Recorded
    from tui_trainer.screens.view import RunView

LISTED = 200  # entries in the list; more are found by typing
VALUE_WIDTH = 22


@dataclass(frozen=True, slots=True)
class Entry:
    """One quantity of the list, with its latest values as text."""

    chart: str
    title: str
    group: str
    latest: str


def entries_of(recorded: Recorded, metrics: Sequence[str]) -> tuple[Entry, ...]:
    """Everything that can be charted, by group."""
    names = dict.fromkeys(["loss", *metrics, "grad_norm", *USUAL, *recorded.charts])
    entries = []
    for name in names:
        words = quantity(name)
        traces = recorded.of(name)
        sides = ("train", "val") if "train" in traces or "val" in traces else ("batch", "")
        values = [traces[side].latest for side in sides if side in traces]
        latest = " / ".join(value_text(name, value) for value in values if value is not None)
        entries.append(Entry(name, words.title, words.group, latest))
    order = {name: place for place, name in enumerate(names)}
    return tuple(sorted(entries, key=lambda entry: (group_order(entry.group), order[entry.chart])))


def matching(entries: Sequence[Entry], text: str) -> tuple[Entry, ...]:
    """The entries in whose name, title or group every word of `text` occurs."""
    words = text.lower().split()
    return tuple(
        entry
        for entry in entries
        if all(word in f"{entry.chart} {entry.title} {entry.group}".lower() for word in words)
    )


class MetricPicker(ModalScreen[None]):
    """Type to narrow the list, Enter shows a quantity or takes it away: the charts behind change at once.

    `toggle(name)` answers the charts then shown, and why not where it was refused.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.pop_screen", "Done", id="picker.close"),
        Binding("up", "move(-1)", "Up", show=False, priority=True, id="picker.up"),
        Binding("down", "move(1)", "Down", show=False, priority=True, id="picker.down"),
    ]

    def __init__(
        self, view: RunView, chosen: Sequence[str], toggle: Callable[[str], tuple[tuple[str, ...], str]]
    ) -> None:
        super().__init__()
        self._entries = entries_of(view.recorded, view.metrics)
        self._left_out = view.recorded.left_out
        self._chosen = tuple(chosen)
        self._toggle = toggle

    def compose(self) -> ComposeResult:
        """A line to type in, the list, what the keys do."""
        with Vertical(id="dialog"):
            yield Input(placeholder="type to search", id="filter")
            yield OptionList(id="entries", markup=False)
            yield Static(id="said")

    def on_mount(self) -> None:
        """Fill the list at once, so that the first key finds it; fit it when its width is known."""
        self.query_one("#entries", OptionList).can_focus = False
        self.query_one("#dialog").border_title = "Charts: choose one to four"
        self._fill()
        self.call_after_refresh(self._fit)
        self._say("")

    def on_resize(self, event: Resize) -> None:
        """Fit the entries to the new width."""
        if not outdated(self, event):
            self.call_after_refresh(self._fit)

    def on_input_changed(self) -> None:
        """Narrow the list."""
        self._fill()

    def on_input_submitted(self) -> None:
        """Enter: the entry that is marked."""
        marked = self.query_one("#entries", OptionList).highlighted_option
        if marked is not None and marked.id is not None:
            self._choose(marked.id)

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """A click on an entry."""
        if message.option.id is not None:
            self._choose(message.option.id)

    def action_move(self, by: int) -> None:
        """Mark the next or previous entry."""
        entries = self.query_one("#entries", OptionList)
        if by > 0:
            entries.action_cursor_down()
        else:
            entries.action_cursor_up()

    def _choose(self, name: str) -> None:
        self._chosen, refusal = self._toggle(name)
        self._say(refusal)
        entries = self.query_one("#entries", OptionList)
        for entry in self._entries:
            if entry.chart == name and entries.highlighted is not None:
                entries.replace_option_prompt(name, self._prompt(entry))

    def _fit(self) -> None:
        entries = self.query_one("#entries", OptionList)
        marked = entries.highlighted
        self._fill()
        entries.highlighted = marked

    def _fill(self) -> None:
        text = self.query_one("#filter", Input).value
        found = matching(self._entries, text)
        entries = self.query_one("#entries", OptionList)
        options: list[Option] = []
        group = ""
        for entry in found[:LISTED]:
            if entry.group != group:
                group = entry.group
                heading = crop(group, max(1, entries.scrollable_content_region.width))
                options.append(Option(Content.styled(heading, "bold"), disabled=True))
            options.append(Option(self._prompt(entry), id=entry.chart))
        rest = len(found) - LISTED
        if rest > 0:
            options.append(Option(Content(f"and {rest} more: type to narrow the list"), disabled=True))
        if not found:
            options.append(Option(Content("nothing recorded has that name"), disabled=True))
        if self._left_out and not text:
            note = f"and {self._left_out} values of curves beyond the limit: see the run folder's CSV files"
            options.append(Option(Content(note), disabled=True))
        entries.clear_options()
        entries.add_options(options)
        if found:
            entries.highlighted = 1

    def _prompt(self, entry: Entry) -> Content:
        width = max(20, self.query_one("#entries", OptionList).scrollable_content_region.width - 2)
        value = crop(entry.latest, VALUE_WIDTH)
        sign = "[x] " if entry.chart in self._chosen else "[ ] "
        room = width - len(sign) - cell_width(value) - 1
        title = crop(clean_text(entry.title), room)
        gap = " " * max(1, width - len(sign) - cell_width(title) - cell_width(value))
        return Content(f"{sign}{title}{gap}{value}")

    def _say(self, refusal: str) -> None:
        keys = Content.assemble((" Enter ", "reverse"), " show or hide    ", (" Esc ", "reverse"), " done")
        self.query_one("#said", Static).update(Content.styled(refusal, "bold") if refusal else keys)
