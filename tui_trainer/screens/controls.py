"""What the keys of a run do: ask where something must be asked, send the command, tell the answer when it comes.

The dialogs are imported when the first of them is wanted: nothing else may hold up the first paint.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from tui_trainer.screens.dialogs import Ask
from tui_trainer.screens.saved import saved_states
from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from tui_trainer.engine.events import CommandHandled
    from tui_trainer.screens.app import MLTrainerApp
    from tui_trainer.screens.control_dialogs import StopWhen, Wish

TITLES = {
    "apply_fix": "Fix",
    "undo_fix": "Undo",
    "ignore": "Ignore",
    "checkpoint": "Checkpoint",
    "extend": "Epochs",
    "pause": "Pause",
    "resume": "Pause",
    "roll_back": "Roll back",
    "set_learning_rate": "Learning rate",
    "stop": "Stop",
}


def ask_learning_rate(app: MLTrainerApp) -> None:
    """Ask for a learning rate, then set it."""
    from tui_trainer.screens.control_dialogs import LearningRateDialog

    if app.run_folder is None:
        return

    def answered(rate: float | None) -> None:
        if rate is not None:
            app.send("set_learning_rate", learning_rate=rate)

    app.push_screen(LearningRateDialog(app.view), answered)


def ask_epochs(app: MLTrainerApp) -> None:
    """Ask for a number of epochs, then change it; a schedule that is laid out for the run's forbids it at once."""
    from tui_trainer.screens.control_dialogs import ExtendDialog

    if app.run_folder is None:
        return
    if app.view.fixed_length:
        name = clean_text(app.view.schedule, limit=40)
        text = f"The schedule ({name}) is laid out for {app.view.progress.epochs} epochs; another number would break it."
        app.notify(text, title="Epochs", severity="warning", markup=False)
        return

    def answered(epochs: int | None) -> None:
        if epochs is not None and epochs != app.view.progress.epochs:
            app.send("extend", epochs=epochs)

    app.push_screen(ExtendDialog(app.view), answered)


def ask_stop(app: MLTrainerApp) -> None:
    """Ask when to stop."""
    from tui_trainer.screens.control_dialogs import StopDialog

    if app.run_folder is None:
        return

    def answered(when: StopWhen | None) -> None:
        if when == "epoch":
            app.send("stop", when="epoch")
        elif when == "now":
            app.send("stop")

    app.push_screen(StopDialog(app.view), answered)


def ask_roll_back(app: MLTrainerApp) -> None:
    """Ask where to roll back to, ask again saying what that throws away, then do it."""
    from tui_trainer.screens.control_dialogs import RollBackDialog

    folder = app.run_folder
    if folder is None:
        return
    states = saved_states(folder, app.view.monitor, time.time())
    if not states:
        text = "There is no checkpoint yet to go back to: c writes one."
        app.notify(text, title="Roll back", severity="warning", markup=False)
        return

    def chosen(wish: Wish | None) -> None:
        if wish is None:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                factor = {} if wish.factor == 1.0 else {"learning_rate_factor": wish.factor}
                app.send("roll_back", file=wish.state.file, step=wish.state.step, **factor)

        question, text = wish.question(app.view)
        app.push_screen(Ask(question, text, "roll back", "go on as it is"), answered)

    app.push_screen(RollBackDialog(states, app.view.monitor), chosen)


class Answers:
    """Tells the answers to what was asked from this screen, each once; others are in the log anyway."""

    def __init__(self) -> None:
        self._asked: list[str] = []
        self._seen = 0

    def expect(self, command: str) -> None:
        """An answer to `command` is due."""
        self._asked.append(command)

    def tell(self, app: MLTrainerApp) -> None:
        """Notify of what the view has gained since the last call."""
        view = app.view
        fresh = view.answers_total - self._seen
        self._seen = view.answers_total
        for answer in view.answers[-fresh:] if fresh > 0 else ():
            if answer.command in self._asked:
                self._asked.remove(answer.command)
                _notify(app, answer)


def _notify(app: MLTrainerApp, answer: CommandHandled) -> None:
    title = TITLES.get(answer.command, answer.command)
    text = clean_text(answer.message, limit=400)
    if "step" not in text:
        text += f" (epoch {answer.epoch}, step {answer.step:,})"
    severity: Literal["information", "warning"] = "information" if answer.accepted else "warning"
    app.notify(text, title=title if answer.accepted else f"{title}: refused", severity=severity, markup=False)
