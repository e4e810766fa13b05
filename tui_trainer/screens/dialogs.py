"""The questions the app asks, the wait while it saves, and the help page."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui_trainer.screens.choices import Choice
from tui_trainer.screens.page import Page
from tui_trainer.screens.wrapping import wrap_runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from textual.app import ComposeResult

    from tui_trainer.screens.canvas import Row


class Ask(ModalScreen[bool]):
    """A question with two answers: Enter or y, Escape or n."""

    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]  # Textual types it wider
        Binding("y,enter", "answer(True)", "Yes", id="ask.yes"),
        Binding("n,escape,q", "answer(False)", "No", id="ask.no"),
    ]

    def __init__(self, question: str, explanation: str, yes: str, no: str) -> None:
        super().__init__()
        self._texts = (question, explanation, yes, no)

    def compose(self) -> ComposeResult:
        """The question, what it means, and the two keys."""
        question, explanation, yes, no = self._texts
        with Vertical(id="dialog"):
            yield Static(Content.styled(question, "bold"), id="question")
            yield Static(Content(explanation))
            with Horizontal(id="answers"):
                yield Choice("y", yes)
                yield Choice("n", no)

    @on(Choice.Picked)
    def _picked(self, message: Choice.Picked) -> None:
        self.action_answer(message.key == "y")

    def action_answer(self, answer: bool) -> None:
        """Close with the answer."""
        self.dismiss(answer)


class Confirm(Ask, inherit_bindings=False):
    """A question whose yes cannot be taken back: `y` alone says yes."""

    BINDINGS: ClassVar[list[Binding]] = [
        Binding("y", "answer(True)", "Yes", id="confirm.yes"),
        Binding("n,escape,q,enter", "answer(False)", "No", id="confirm.no"),
    ]


class Saving(ModalScreen[None]):
    """Shown while the run stops and its last checkpoint is written. `x` does not wait for it."""

    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]  # Textual types it wider
        Binding("x", "app.abandon", "Quit without waiting", id="saving.abandon"),
    ]

    def compose(self) -> ComposeResult:
        """What is going on, and the way out."""
        with Vertical(id="dialog"):
            yield Static(Content.styled("Saving…", "bold"), id="question")
            yield Static(Content("The run stops after its current step and writes a checkpoint."))
            keys = Content.assemble(
                (" x ", "reverse"), " quit at once: what came after the last checkpoint is lost"
            )
            yield Static(keys, id="answers")


class Help(ModalScreen[None]):
    """What the screen shows, and every key."""

    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]  # Textual types it wider
        Binding("escape,q,question_mark,enter", "app.pop_screen", "Close", id="help.close"),
    ]

    def __init__(self, groups: Mapping[str, Sequence[Binding]]) -> None:
        """`groups`: keys under the titles that say where they hold."""
        super().__init__()
        self._groups = groups

    def compose(self) -> ComposeResult:
        """Keys first, then how to read the screen: rows laid out here open faster than a text that Textual wraps."""
        yield _HelpPage(self._groups)


class _HelpPage(Page):
    """The help's text in rows of the width there is."""

    def __init__(self, groups: Mapping[str, Sequence[Binding]]) -> None:
        super().__init__(id="dialog")
        self._groups = groups

    def on_resize(self) -> None:
        """Lay the text out for another width, at once."""
        self.set_rows(help_rows(self._groups, self.text_width))


def help_rows(groups: Mapping[str, Sequence[Binding]], width: int) -> list[Row]:
    """Every key under the title that says where it holds, and how to read the screen."""
    rows: list[Row] = []
    for title, bindings in groups.items():
        rows.append(((title, "strong"),))
        for binding in bindings:
            key = binding.key_display or binding.key.split(",")[0]
            words = [(str(binding.tooltip), "text"), (f"  {binding.id or ''}", "dim")]
            rows += wrap_runs(words, width, indent=10, first=((f" {key:<8} ", "strong"),))
        rows.append(())
    rows += wrap_runs([(KEYS_OF_YOUR_OWN, "text")], width)
    for title, text in (("Reading the screen", READING), ("Copying text", COPYING)):
        rows += [(), ((title, "strong"),)]
        for line in text:
            rows += wrap_runs([(line, "text")], width)
    return [*rows, (), (("Esc closes this page", "dim"),)]


KEYS_OF_YOUR_OWN = """\
 Other keys: a line such as "run.pause: f8" in ~/.config/mltrainer-tui/keys.yaml"""

COPYING = (
    "Hold Shift (Option on a Mac) and drag: the terminal itself then selects, over SSH too. In tmux: prefix, then [.",
    "y copies the run folder's path, where the terminal allows programs to set the clipboard (OSC 52).",
)

READING = (
    (
        'Loss: grey is each batch, the "train" line is the same smoothed, dots are the validation after each epoch. Both '
        "should fall."
    ),
    (
        '× marks a value that was not finite, ▲ the best epoch, ↑ ↓ values outside the chart ("off scale": a few far ones '
        "that would flatten the rest; b shows all)."
    ),
    (
        "Runs compared with are numbered at their curves' ends. ┊ stands where a fix was applied, with its number in the "
        "list of diagnostics (d)."
    ),
    (
        "Training runs on its own: losing the connection does not stop it. All of it is in the run folder too: "
        "training.log, epoch_metrics.csv, events.jsonl, checkpoints/"
    ),
)
