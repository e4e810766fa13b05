"""Answers that a dialog offers: picked by key or by mouse."""

from __future__ import annotations

from textual.content import Content
from textual.message import Message
from textual.widgets import Static


class Choice(Static):
    """One answer, with the key that picks it; a click does the same. The dialog binds the key."""

    class Picked(Message):
        """The answer of `key` was clicked."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, key: str, text: str, *, chosen: bool = False) -> None:
        super().__init__(id=f"choice-{key}", classes="choice")
        self.key, self.text = key, text
        self.mark(chosen=chosen)

    def mark(self, *, chosen: bool) -> None:
        """Show it as the one that holds, or not."""
        sign = "● " if chosen else ""
        self.update(
            Content.assemble((f" {self.key} ", "reverse"), (f" {sign}{self.text}", "bold" if chosen else ""))
        )

    def on_click(self) -> None:
        """Picked by mouse."""
        self.post_message(self.Picked(self.key))
