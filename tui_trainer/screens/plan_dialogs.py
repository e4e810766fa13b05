"""The dialogs of the Plan screen: a note or reason to type, a template to choose, a file name, one item in full.

Each only asks: it closes with what was chosen, None for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from tui_trainer.screens.choices import Choice
from tui_trainer.screens.page import Page
from tui_trainer.screens.plan_gate import entry_rows
from tui_trainer.screens.plan_view import FILE
from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from textual.app import ComposeResult

    from tui_trainer.phases.gate import Entry


class LineDialog(ModalScreen[str | None]):
    """Asks for a line of text; `problem` says what is wrong with one, None for nothing."""

    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]  # Textual types it wider
        Binding("escape", "leave", "Leave it", id="line.leave"),
    ]

    def __init__(
        self,
        title: str,
        text: str,
        *,
        hint: str = "",
        value: str = "",
        yes: str,
        problem: Callable[[str], str | None],
    ) -> None:
        super().__init__()
        self._texts, self._hint, self._value, self._problem = (title, text, yes), hint, value, problem

    def compose(self) -> ComposeResult:
        """The question, the field, what is wrong with what stands in it."""
        title, text, yes = self._texts
        with Vertical(id="dialog"):
            yield Static(Content.styled(title, "bold"), id="question")
            yield Static(Content(text))
            yield Input(self._value, placeholder=self._hint, id="line", compact=True, select_on_focus=False)
            yield Static(id="said")
            with Horizontal(id="answers"):
                yield Choice("Enter", yes)
                yield Choice("Esc", "leave it")

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(Input).focus()

    @on(Choice.Picked)
    def _picked(self, message: Choice.Picked) -> None:
        if message.key == "Enter":
            self._take(self.query_one(Input).value)
        else:
            self.action_leave()

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        problem = self._problem(message.value.strip()) if message.value.strip() else None
        self.query_one("#said", Static).update(Content(problem or ""))

    @on(Input.Submitted)
    def _submitted(self, message: Input.Submitted) -> None:
        self._take(message.value)

    def _take(self, text: str) -> None:
        problem = self._problem(text.strip())
        if problem is None:
            self.dismiss(text.strip())
        else:
            self.query_one("#said", Static).update(Content(problem))
            self.app.bell()

    def action_leave(self) -> None:
        """Change nothing."""
        self.dismiss(None)


def sign_dialog(entry: Entry) -> LineDialog:
    """Asks for the note that an item is signed with."""
    return LineDialog(
        f"Sign: {entry.item.title}",
        "What you write here stands in every report of this project, with your name and the time.",
        hint="in a sentence or two",
        value=entry.reason,
        yes="sign",
        problem=_said_something,
    )


def waive_dialog(entry: Entry) -> LineDialog:
    """Asks for the reason that an item is waived with."""
    found = clean_text(entry.finding.evidence or "It was not checked.", limit=400)
    return LineDialog(
        f"Waive: {entry.item.title}",
        f"{found}\n\nWaived, it no longer keeps the gate shut. The reason stands in every later report.",
        hint="why this is acceptable here",
        yes="waive",
        problem=_said_something,
    )


def _said_something(text: str) -> str | None:
    return None if text else "Say it in a few words."


def file_dialog(folder: Path) -> LineDialog:
    """Asks for the file that a config is saved as, in `folder`."""

    def problem(text: str) -> str | None:
        if not text:
            return "A file name, such as config.yaml."
        path = folder / text
        if path.suffix not in (".yaml", ".yml"):
            return "A config ends in .yaml."
        if path.exists():
            return f"{text} is there already and is not overwritten: another name."
        if not path.parent.is_dir():
            return f"There is no folder {path.parent}."
        return None

    value = "config.yaml" if not (folder / "config.yaml").exists() else ""
    text = f"In {clean_text(folder, limit=200)}. From then on: mltrainer-tui --config FILE"
    return LineDialog(
        "Save the config as", text, hint="config.yaml", value=value, yes="save", problem=problem
    )


class TemplateDialog(ModalScreen[str | None]):
    """Asks which settings to begin with."""

    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]  # Textual types it wider
        Binding("b", "pick('b')", "Baseline", id="template.baseline"),
        Binding("t", "pick('t')", "Tuning", id="template.tuning"),
        Binding("p", "pick('p')", "Production", id="template.production"),
        Binding("f", "pick('f')", "The file", id="template.file"),
        Binding("escape,q", "pick('Esc')", "Leave it", id="template.leave"),
    ]
    NAMES: ClassVar[dict[str, str]] = {"b": "baseline", "t": "tuning", "p": "production", "f": FILE}

    def compose(self) -> ComposeResult:
        """The templates, and what each is for."""
        with Vertical(id="dialog"):
            yield Static(Content.styled("Begin with which settings?", "bold"), id="question")
            yield Static(
                Content(
                    "Name, data, model, loss, metrics, targets and gates stay yours. Nothing is saved by this."
                )
            )
            with Vertical(id="choices"):
                yield Choice("b", "baseline: a first honest number from settings that rarely go wrong")
                yield Choice("t", "tuning: the baseline's settings and a search")
                yield Choice("p", "production: the final, long training")
                yield Choice("f", "the file as it is on disk: takes all edits back")
                yield Choice("Esc", "leave it as it is")

    @on(Choice.Picked)
    def _picked(self, message: Choice.Picked) -> None:
        self.action_pick(message.key)

    def action_pick(self, key: str) -> None:
        """Close with the template of `key`."""
        self.dismiss(self.NAMES.get(key))


class EntryDialog(ModalScreen[str | None]):
    """An item of the gate with everything that is known of it; closes with "sign" or "waive" where that was chosen."""

    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]  # Textual types it wider
        Binding("s", "choose('sign')", "Sign", id="entry.sign"),
        Binding("w", "choose('waive')", "Waive", id="entry.waive"),
        Binding("escape,q,enter", "choose('')", "Close", id="entry.close"),
    ]

    def __init__(self, entry: Entry, *, read_only: bool) -> None:
        super().__init__()
        self._entry, self._read_only = entry, read_only

    def compose(self) -> ComposeResult:
        """The item's title, a page that scrolls, the keys."""
        with Vertical(id="dialog"):
            yield Static(Content.styled(self._entry.item.title, "bold"), id="question")
            yield Page(id="entry")
            with Horizontal(id="answers"):
                if self._may("sign"):
                    yield Choice("s", "sign")
                if self._may("waive"):
                    yield Choice("w", "waive")
                yield Choice("Esc", "close")

    def _may(self, what: str) -> bool:
        if self._read_only:
            return False
        return (
            self._entry.item.signed
            if what == "sign"
            else not (self._entry.granted or self._entry.item.signed)
        )

    @on(Page.Resized)
    def _lay_out(self) -> None:
        page = self.query_one(Page)
        page.set_rows(entry_rows(self._entry, page.text_width))
        page.focus()

    @on(Choice.Picked)
    def _picked(self, message: Choice.Picked) -> None:
        self.action_choose({"s": "sign", "w": "waive"}.get(message.key, ""))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """An item can be signed, or waived, or neither."""
        if action == "choose" and parameters[0]:
            return self._may(str(parameters[0]))
        return super().check_action(action, parameters)

    def action_choose(self, what: str) -> None:
        """Close."""
        self.dismiss(what or None)
