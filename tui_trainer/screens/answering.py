"""Signing and waiving items of a gate: the dialogs, and to whom the answer goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import App

    from tui_trainer.phases.gate import Entry


class AnswerDesk(Protocol):
    """Takes signatures and waivers: an item's name, and the words."""

    @property
    def sign(self) -> Callable[[str, str], None]:
        """Signs an item with a note."""

    @property
    def waive(self) -> Callable[[str, str], None]:
        """Waives an item with a reason."""


def show_entry(app: App[Any], entry: Entry | None, desk: AnswerDesk) -> None:
    """Show all that is known of an item; from there it can be signed or waived."""
    from tui_trainer.screens.plan_dialogs import EntryDialog

    if entry is None:
        return

    def answered(what: str | None) -> None:
        if what == "sign":
            sign(app, entry, desk)
        elif what == "waive":
            waive(app, entry, desk)

    app.push_screen(EntryDialog(entry, read_only=False), answered)


def sign(app: App[Any], entry: Entry | None, desk: AnswerDesk) -> None:
    """Ask for a note, then sign an item that takes a signature."""
    from tui_trainer.screens.plan_dialogs import sign_dialog

    if entry is None or not entry.item.signed:
        app.notify("This item is checked by the program: nobody signs it.", markup=False)
        return

    def answered(note: str | None) -> None:
        if note:
            desk.sign(entry.item.name, note)

    app.push_screen(sign_dialog(entry), answered)


def waive(app: App[Any], entry: Entry | None, desk: AnswerDesk) -> None:
    """Ask for a reason, then waive an item that keeps the gate shut."""
    from tui_trainer.screens.plan_dialogs import waive_dialog

    if entry is None or entry.granted or entry.item.signed:
        app.notify("There is nothing to waive: only an item that failed can be waived.", markup=False)
        return

    def answered(reason: str | None) -> None:
        if reason:
            desk.waive(entry.item.name, reason)

    app.push_screen(waive_dialog(entry), answered)
