"""The config as YAML text to edit."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import TextArea


class YamlArea(TextArea):
    """A text area that Escape leaves; `refused` is the text that was no config when it was left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape",
            "screen.yaml",
            "Form",
            key_display="Esc",
            tooltip="Take it, back to the form",
        ),
    ]

    def __init__(self, text: str, *, read_only: bool) -> None:
        super().__init__(
            text, read_only=read_only, show_line_numbers=True, id="yaml", soft_wrap=False, compact=True
        )
        self.refused: str | None = None
