"""The row of keys: what has room is shown whole, a click presses it."""

from __future__ import annotations

import pytest
import sample_run as sample
from fake_run import FakeRun, InlinePainter, until, workers_done
from run_folders import finished

from tui_trainer.screens.app import MLTrainerApp
from tui_trainer.screens.dialogs import Help
from tui_trainer.screens.key_bar import KeyBar, KeyHint, places

HINTS = (KeyHint("p", "Pause"), KeyHint("Enter", "Open"), KeyHint("x", "Löschen"))
PALETTE = KeyHint("^p", "palette")


def written(width: int, last: KeyHint | None = PALETTE) -> str:
    """The row as the columns say that it stands."""
    row = [" "] * width
    for start, end, hint in places(HINTS, last, width):
        row[start:end] = f"{hint.key} {hint.label}".strip()
    return "".join(row)


@pytest.mark.parametrize(
    ("width", "row"),
    [
        (40, "p Pause Enter Open x Löschen ^p palette "),
        (39, "p Pause Enter Open x Löschen        ^p "),
        (32, "p Pause Enter Open x Löschen ^p "),
        (31, "p Pause Enter Open          ^p "),
        (11, "p Pause ^p "),
        (10, "       ^p "),
    ],
)
def test_keys_stand_whole_or_not_at_all_and_the_palette_at_the_right(width, row):
    assert written(width) == row


def test_the_key_for_help_is_never_left_out():
    hints = (*HINTS, KeyHint("?", "Help", always=True), KeyHint("f", "Full"))
    shown = {width: [place.hint.key for place in places(hints, PALETTE, width)] for width in range(10, 60)}
    assert all("?" in keys for keys in shown.values())
    assert shown[10] == ["?", "^p"]
    assert shown[31] == ["p", "Enter", "?", "^p"]
    assert shown[59] == ["p", "Enter", "x", "?", "f", "^p"]


@pytest.mark.parametrize("keys", [["f"], ["g"], ["o"], ["o", "space", "space", "c"], ["o", "enter"]])
async def test_every_page_shows_the_key_for_help_in_80_columns(keys, tmp_path):
    for name in ("one", "two"):
        finished(tmp_path / name)
    run = FakeRun(sample.events(20, until_step=200))
    app = MLTrainerApp(lambda: run, painter=InlinePainter(), run_roots=(tmp_path,))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.view.step is not None)
        for key in keys:
            await pilot.press(key)
            await workers_done(pilot)
            await pilot.pause()
        shown = app.screen.query_one(KeyBar).render_line(0).text
        assert "? Help" in shown
        assert shown.endswith(("^p ", "palette "))


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
