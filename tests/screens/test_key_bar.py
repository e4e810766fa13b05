"""The row of keys: what has room is shown whole, a click presses it."""

from __future__ import annotations

import pytest
import sample_run as sample
from fake_run import FakeRun, InlinePainter

from tui_trainer.screens.app import MLTrainerApp
from tui_trainer.screens.dialogs import Help
from tui_trainer.screens.key_bar import KeyBar, KeyHint, places

HINTS = (KeyHint("p", "Pause"), KeyHint("Enter", "Open"), KeyHint("x", "Löschen"))
PALETTE = KeyHint("^p", "palette")


def written(width: int, last: KeyHint | None = PALETTE) -> str:
    """The row as the columns say that it stands."""
    row = [" "] * width
    for start, end, hint in places(HINTS, last, width):
        row[start:end] = f"{hint.key} {hint.label}"
    return "".join(row)


@pytest.mark.parametrize(
    ("width", "row"),
    [
        (40, "p Pause Enter Open x Löschen ^p palette "),
        (39, "p Pause Enter Open          ^p palette "),
        (30, "p Pause Enter Open ^p palette "),
        (29, "p Pause           ^p palette "),
        (11, "^p palette "),
    ],
)
def test_keys_stand_whole_or_not_at_all_and_the_palette_at_the_right(width, row):
    assert written(width) == row


def test_without_a_palette_the_row_is_for_the_others():
    assert written(28, None) == "p Pause Enter Open x Löschen"
    assert written(27, None) == "p Pause Enter Open         "


def column_of(bar: KeyBar, label: str) -> int:
    text = bar.render_line(0).text
    assert label in text
    return text.index(label)


def app_on_a_run():
    run = FakeRun(sample.events(20, until_step=200))
    return run, MLTrainerApp(lambda: run, painter=InlinePainter())


async def test_a_click_presses_the_key():
    _, app = app_on_a_run()
    async with app.run_test(size=(120, 34)) as pilot:
        await pilot.pause()
        bar = app.screen.query_one(KeyBar)
        await pilot.click(bar, offset=(column_of(bar, "Help"), 0))
        await pilot.pause()
        assert isinstance(app.screen, Help)


async def test_a_click_beside_the_keys_does_nothing():
    _, app = app_on_a_run()
    async with app.run_test(size=(200, 34)) as pilot:
        await pilot.pause()
        bar = app.screen.query_one(KeyBar)
        await pilot.click(bar, offset=(column_of(bar, "palette") - 10, 0))
        await pilot.pause()
        assert len(app.screen_stack) == 1


async def test_what_the_mouse_points_at_is_marked_and_explained():
    _, app = app_on_a_run()
    async with app.run_test(size=(120, 34)) as pilot:
        await pilot.pause()
        bar = app.screen.query_one(KeyBar)
        plain = bar.render_line(0)
        await pilot.hover(bar, offset=(column_of(bar, "Pause"), 0))
        assert bar.tooltip == "Pause the training, or let it go on"
        assert bar.render_line(0).text == plain.text
        assert bar.render_line(0) != plain
        await pilot.hover("#log")
        assert bar.tooltip is None
        assert bar.render_line(0) == plain


async def test_the_keys_are_those_of_what_has_the_focus():
    _, app = app_on_a_run()
    async with app.run_test(size=(120, 34)) as pilot:
        await pilot.pause()
        bar = app.screen.query_one(KeyBar)
        assert "Smooth" not in bar.render_line(0).text
        await pilot.press("f")
        await pilot.pause()
        assert "Smooth" in bar.render_line(0).text
