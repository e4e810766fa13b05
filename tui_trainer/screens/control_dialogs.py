"""The dialogs of the run's controls: learning rate, more epochs, rolling back, stopping.

Each only asks: it closes with what was chosen, None for nothing, and the app sends the command.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, TypeVar

from textual import on
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from tui_trainer.screens.choices import Choice
from tui_trainer.session.wording import clean_text, format_rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from tui_trainer.screens.saved import SavedState
    from tui_trainer.screens.view import RunView

Value = TypeVar("Value", float, int)
StopWhen = Literal["epoch", "now"]
RISKY = 3.0  # times the present learning rate, from which on a warning is due


def present_step(view: RunView) -> int:
    """The step the run is known to have reached."""
    known = [view.step.step if view.step else 0, *(answer.step for answer in view.answers[-1:])]
    return max(known)


def current_rate(view: RunView) -> float | None:
    """The learning rate as of the latest event; None before the first step is logged."""
    step = view.step.step if view.step else -1
    for answer in reversed(view.answers):
        if answer.command == "set_learning_rate" and answer.accepted and answer.step >= step:
            return float(answer.details["learning_rate"])
    if view.step is not None:
        return view.step.learning_rate
    return view.epochs[-1].learning_rate if view.epochs else None


class _Number(Input):
    """A field that leaves to the dialog the letters that no number has."""

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """Textual withholds from all bindings what a field would take."""
        if character is not None and character.isalpha() and character not in "eE":
            return False
        return super().check_consume_key(key, character)


class _NumberDialog(ModalScreen[Value | None], Generic[Value]):
    """A number to type, said at once what it would do; keys fill in usual ones. Enter takes it."""

    CHARACTERS = r"[0-9.eE+\- ]*"

    def __init__(
        self, title: str, facts: Sequence[str], quick: Sequence[tuple[str, str, str]], hint: str
    ) -> None:
        """`quick`: key, label and text of each usual number; `hint`: what may be typed."""
        super().__init__()
        self._title, self._facts, self._quick, self._hint = title, facts, quick, hint

    def compose(self) -> ComposeResult:
        """Where the run stands, usual numbers, the field, what it would do."""
        with Vertical(id="dialog"):
            yield Static(Content.styled(self._title, "bold"), id="question")
            for fact in self._facts:
                yield Static(Content(fact))
            with Horizontal(id="quick"):
                for key, label, text in self._quick:
                    yield Choice(key, f"{label} {text}")
            yield _Number(placeholder=self._hint, id="number", compact=True, restrict=self.CHARACTERS)
            yield Static(id="said")
            with Horizontal(id="answers"):
                yield Choice("Enter", "set it")
                yield Choice("Esc", "leave it as it is")

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(Input).focus()
        self._say("")

    def action_pick(self, key: str) -> None:
        """Fill in one of the usual numbers, or do what a key does."""
        if key == "Enter":
            self._take(self.query_one(Input).value)
        elif key == "Esc":
            self.action_leave()
        for known, _, text in self._quick:
            if known == key:
                field = self.query_one(Input)
                field.value = text
                field.cursor_position = len(text)

    @on(Choice.Picked)
    def _picked(self, message: Choice.Picked) -> None:
        self.action_pick(message.key)

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        self._say(message.value)

    @on(Input.Submitted)
    def _submitted(self, message: Input.Submitted) -> None:
        self._take(message.value)

    def _take(self, text: str) -> None:
        value = self.read(text)
        if isinstance(value, str):
            self.app.bell()
        else:
            self.dismiss(value)

    def action_leave(self) -> None:
        """Change nothing."""
        self.dismiss(None)

    def _say(self, text: str) -> None:
        value = self.read(text)
        said = self.query_one("#said", Static)
        wrong = isinstance(value, str)
        said.set_class(wrong and bool(text), "-wrong")
        said.update(Content(value if isinstance(value, str) else self.effect(value)))

    def read(self, text: str) -> Value | str:
        """The number that `text` is, or what is wrong with it."""
        raise NotImplementedError

    def effect(self, value: Value) -> str:
        """What `value` would do."""
        raise NotImplementedError


class LearningRateDialog(_NumberDialog[float]):
    """Asks for a learning rate."""

    # Letters that no number has; "e" stays free for 3e-4.
    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]  # Textual types it wider
        Binding("t", "pick('t')", "A tenth", id="rate.tenth", priority=True),
        Binding("h", "pick('h')", "Half", id="rate.half", priority=True),
        Binding("d", "pick('d')", "Double", id="rate.double", priority=True),
        Binding("escape", "leave", "Leave it", id="rate.leave"),
    ]

    def __init__(self, view: RunView) -> None:
        self._now = current_rate(view)
        now = "not known before the first step" if self._now is None else format_rate(self._now)
        quick = []
        if self._now:
            for key, label, factor in (("t", "÷10", 0.1), ("h", "÷2", 0.5), ("d", "×2", 2.0)):
                quick.append((key, label, f"{self._now * factor:.4g}"))
        facts = [f"Now: {now}", f"{_what_the_schedule_does(view.schedule)} It takes effect at the next step."]
        super().__init__("Learning rate", facts, quick, "a number such as 3e-4")

    def read(self, text: str) -> float | str:
        """A positive finite number."""
        if not text.strip():
            return "Type a number such as 3e-4 or 0.0003."
        try:
            value = float(text)
        except ValueError:
            return "Not a number yet: write it like 3e-4 or 0.0003."
        if not math.isfinite(value) or value <= 0:
            return "A learning rate is a positive number."
        return value

    def effect(self, value: float) -> str:
        """Old, new, and the ratio."""
        if not self._now:
            return f"Learning rate {format_rate(value)}"
        ratio = value / self._now
        text = f"{format_rate(self._now)} → {format_rate(value)} (×{ratio:.3g})"
        return f"{text}: that much at once can make the loss diverge" if ratio >= RISKY else text


def _what_the_schedule_does(schedule: str) -> str:
    if not schedule or schedule == "none":
        return "There is no schedule: it stays where you set it."
    if schedule == "ReduceLROnPlateau":
        return "ReduceLROnPlateau goes on from there, and still lowers it on a plateau."
    return f"The schedule ({clean_text(schedule, limit=40)}) keeps its shape: all that it has yet to do is scaled alike."


class ExtendDialog(_NumberDialog[int]):
    """Asks for a new number of epochs."""

    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]  # Textual types it wider
        Binding("f", "pick('f')", "Five more", id="extend.five", priority=True),
        Binding("t", "pick('t')", "Ten more", id="extend.ten", priority=True),
        Binding("d", "pick('d')", "Twice as many", id="extend.double", priority=True),
        Binding("escape", "leave", "Leave it", id="extend.leave"),
    ]

    def __init__(self, view: RunView) -> None:
        self._planned, self._epoch = view.progress.epochs, max(1, view.progress.epoch)
        planned = self._planned
        quick = [
            ("f", "+5:", str(planned + 5)),
            ("t", "+10:", str(planned + 10)),
            ("d", "×2:", str(planned * 2)),
        ]
        facts = [f"Planned: {planned} epochs. Epoch {self._epoch} is under way."]
        super().__init__("How many epochs in all?", facts, quick, "a whole number")

    def read(self, text: str) -> int | str:
        """A whole number beyond the present epoch."""
        if not text.strip():
            return "Type the new total; early stopping may still end the run before."
        if not text.strip().isdecimal():
            return "A whole number, please."
        value = int(text)
        if value <= self._epoch:
            return (
                f"Above {self._epoch}, please: that epoch has begun. To end the run, close this and press s."
            )
        return value

    def effect(self, value: int) -> str:
        """Old, new, and the difference."""
        difference = value - self._planned
        if difference == 0:
            return f"{value} epochs, as planned"
        word = "more" if difference > 0 else "fewer"
        return f"{self._planned} → {value} epochs: {abs(difference)} {word}"


class StopDialog(ModalScreen[StopWhen | None]):
    """Asks when to stop."""

    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]  # Textual types it wider
        Binding("e", "pick('e')", "After this epoch", id="stop.epoch"),
        Binding("y,enter", "pick('y')", "Now", id="stop.now"),
        Binding("n,escape,q", "pick('n')", "Keep training", id="stop.no"),
    ]

    def __init__(self, view: RunView) -> None:
        super().__init__()
        progress = view.progress
        self._left = max(0, progress.steps_per_epoch - progress.step_in_epoch)
        self._epoch = max(1, progress.epoch)

    def compose(self) -> ComposeResult:
        """The question and the three answers."""
        with Vertical(id="dialog"):
            yield Static(Content.styled("Stop the training?", "bold"), id="question")
            yield Static(
                Content("A checkpoint is written, the run can be resumed later, and the app stays open.")
            )
            left = (
                f"{self._left:,} steps and a validation from here"
                if self._left
                else "its validation is under way"
            )
            with Vertical(id="choices"):
                yield Choice("e", f"after epoch {self._epoch}: {left}")
                yield Choice("y", "now, after the current step")
                yield Choice("n", "no, keep training")

    @on(Choice.Picked)
    def _picked(self, message: Choice.Picked) -> None:
        self.action_pick(message.key)

    def action_pick(self, key: str) -> None:
        """Close with the answer of `key`."""
        answers: dict[str, StopWhen] = {"e": "epoch", "y": "now"}
        self.dismiss(answers.get(key))


@dataclass(frozen=True, slots=True)
class Wish:
    """Where to roll back to, and what to multiply the learning rate with there (1.0: leave it)."""

    state: SavedState
    factor: float

    def question(self, view: RunView) -> tuple[str, str]:
        """What to ask before it is done: the question, and what it would mean."""
        state, lost = self.state, max(0, present_step(view) - self.state.step)
        about = "" if view.status == "paused" else "about "
        lost_text = f"{about}{lost:,} steps" if lost else "no steps, or hardly any,"
        text = (
            f"{lost_text[:1].upper()}{lost_text[1:]} since then are thrown away. Their rows, checkpoints and diagnostics "
            f"move to attempts/{max(1, view.attempt)}/."
        )
        if self.factor != 1.0:
            text += f" The learning rate is then ÷{1 / self.factor:g} of what it was there."
        return f"Roll back to epoch {state.epoch}, step {state.step:,}?", text


class RollBackDialog(ModalScreen[Wish | None]):
    """Asks which checkpoint to go back to. `states` are the run's, newest first."""

    FACTORS: ClassVar[dict[str, float]] = {"k": 1.0, "h": 0.5, "t": 0.1}
    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]  # Textual types it wider
        *(
            Binding(str(number), f"number({number})", "Choose", id=f"rollback.{number}")
            for number in range(1, 10)
        ),
        Binding("k", "pick('k')", "Keep the learning rate", id="rollback.keep"),
        Binding("h", "pick('h')", "Halve the learning rate", id="rollback.half"),
        Binding("t", "pick('t')", "A tenth of the learning rate", id="rollback.tenth"),
        Binding("escape,q,n", "leave", "Go on as it is", id="rollback.leave"),
    ]

    def __init__(self, states: Sequence[SavedState], monitor: str) -> None:
        super().__init__()
        self._states, self._monitor, self._factor = states, monitor, "k"

    def compose(self) -> ComposeResult:
        """The checkpoints as a table, then the learning rate."""
        from tui_trainer.screens.saved import heading, table_row

        with Vertical(id="dialog"):
            yield Static(Content.styled("Roll back to which checkpoint?", "bold"), id="question")
            yield Static(Content.styled(heading(self._monitor), "dim"))
            rows = [Option(Content(table_row(number, item))) for number, item in enumerate(self._states, 1)]
            yield OptionList(*rows, id="states", compact=True)
            with Horizontal(id="quick"):
                yield Static(Content("Learning rate there:"), id="label")
                yield Choice("k", "keep", chosen=True)
                yield Choice("h", "÷2")
                yield Choice("t", "÷10")
            with Horizontal(id="answers"):
                yield Choice("Enter", "choose")
                yield Choice("Esc", "go on as it is")

    def on_mount(self) -> None:
        """Arrows choose at once."""
        self.query_one(OptionList).focus()

    def action_number(self, number: int) -> None:
        """Choose a row by its number."""
        if number <= len(self._states):
            self.query_one(OptionList).highlighted = number - 1

    def action_pick(self, key: str) -> None:
        """What to do with the learning rate, or what a key does."""
        if key == "Enter":
            self.query_one(OptionList).action_select()
        elif key == "Esc":
            self.action_leave()
        else:
            self._factor = key
            for choice in self.query(Choice):
                choice.mark(chosen=choice.key == key)

    @on(Choice.Picked)
    def _picked(self, message: Choice.Picked) -> None:
        self.action_pick(message.key)

    @on(OptionList.OptionSelected)
    def _selected(self, message: OptionList.OptionSelected) -> None:
        self.dismiss(Wish(self._states[message.option_index], self.FACTORS[self._factor]))

    def action_leave(self) -> None:
        """Roll back to nothing."""
        self.dismiss(None)
