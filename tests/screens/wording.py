"""What widgets of rows say."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui_trainer.screens.page import Page


def words_of(page: Page) -> str:
    """The words of a page, as if its rows were never broken."""
    return " ".join(" ".join("".join(text for text, _ in row) for row in page.rows).split())
