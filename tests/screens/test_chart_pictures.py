"""Pictures of the charts, in three sizes: in trouble, with long names, four of them, one alone, compared, in ASCII."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sample_charts
from fake_run import InlinePainter, settle, until

from tui_trainer.screens.app import MLTrainerApp
from tui_trainer.screens.chart_memory import ChartMemory
from tui_trainer.screens.chart_options import ChartOptions
from tui_trainer.screens.view import RunView

SIZES = [(80, 24), (120, 34), (200, 50)]
FULL = sample_charts.view_of(sample_charts.everything())
TROUBLED = sample_charts.view_of(sample_charts.troubled())

pytestmark = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")


def app_for(view: RunView, tmp_path, *charts: str, **options):
    memory = ChartMemory(tmp_path / "charts.json")
    memory.save(replace(ChartOptions(), charts=charts))
    return MLTrainerApp(None, painter=InlinePainter(), view=view, chart_memory=memory, **options)


def pressing(*keys: str):
    async def run(pilot) -> None:
        await settle(pilot)
        await pilot.press(*keys)
        await pilot.pause()

    return run


def test_not_a_number_on_the_charts(snap_compare, tmp_path, size):
    assert snap_compare(app_for(TROUBLED, tmp_path), terminal_size=size, run_before=settle)


def test_names_of_thirty_characters(snap_compare, tmp_path, size):
    app = app_for(FULL, tmp_path, "loss", sample_charts.LONG, f"gradient_stats/{sample_charts.LAYER}")
    assert snap_compare(app, terminal_size=size, run_before=settle)


def test_four_charts(snap_compare, tmp_path, size):
    app = app_for(FULL, tmp_path, "loss", "accuracy", "learning_rate", "gpu0.util")
    assert snap_compare(app, terminal_size=size, run_before=settle)


def test_one_chart_alone_with_a_cursor(snap_compare, tmp_path, size):
    keys = pressing("f", *["left"] * 9, "plus")
    assert snap_compare(app_for(FULL, tmp_path), terminal_size=size, run_before=keys)


def test_compared_with_earlier_runs(snap_compare, tmp_path, size):
    folders = [
        sample_charts.write_run(tmp_path / name, factor, epochs=epochs)
        for name, factor, epochs in (("adam-1e-2", 1.7, 20), ("sgd-momentum-0.9", 3.0, 12), ("tiny", 0.6, 18))
    ]

    async def compare(pilot) -> None:
        await settle(pilot)
        pilot.app.set_overlays(folders)
        await pilot.press("f")
        await until(pilot, lambda: len(pilot.app._painter.pictures["chart-0"].curves) == 6)
        await pilot.pause()

    assert snap_compare(app_for(FULL, tmp_path), terminal_size=size, run_before=compare)


def test_ascii(snap_compare, tmp_path, size):
    folder = sample_charts.write_run(tmp_path / "slow", 2)

    async def compare(pilot) -> None:
        await settle(pilot)
        pilot.app.set_overlays([folder])
        await pilot.press("f", "left", "left")
        await until(pilot, lambda: pilot.app._painter.pictures["chart-0"].curves[0].role == "over1")
        await pilot.pause()

    assert snap_compare(app_for(TROUBLED, tmp_path, ascii=True), terminal_size=size, run_before=compare)


def test_the_list_of_everything_recorded(snap_compare, tmp_path, size):
    keys = pressing("m", *["down"] * 4)
    assert snap_compare(app_for(FULL, tmp_path), terminal_size=size, run_before=keys)
