"""Opening and closing screens all day costs no memory, and no time of the garbage collector."""

from __future__ import annotations

import gc

import pytest
import sample_run as sample
from fake_run import FakeRun, InlinePainter
from textual._styles_cache import StylesCache
from textual.widget import Widget

from tui_trainer.screens.app import MLTrainerApp

TIMES = 10  # one screen may linger until a timer of its own is due


def alive() -> tuple[int, int]:
    """Widgets, and memories of what widgets looked like."""
    gc.collect()
    items = gc.get_objects()
    return sum(isinstance(item, Widget) for item in items), sum(
        isinstance(item, StylesCache) for item in items
    )


@pytest.mark.parametrize("key", ["question_mark", "m", "g", "l"])
async def test_a_screen_that_was_opened_and_closed_leaves_nothing_behind(key):
    run = FakeRun(sample.events(20, until_step=200))
    async with MLTrainerApp(lambda: run, painter=InlinePainter()).run_test(size=(120, 34)) as pilot:

        async def look() -> None:
            await pilot.press(key)
            await pilot.pause()
            await pilot.press("escape")
            await pilot.pause()

        await look()
        await look()
        widgets, pictures = alive()
        for _ in range(TIMES):
            await look()
        later = alive()
        assert later[0] < widgets + TIMES
        assert later[1] < pictures + TIMES
