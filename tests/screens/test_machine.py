"""The machine panel and its page: what there is, what is not, and what has failed, in every size."""

from __future__ import annotations

import pytest
import sample_machine as machines
import sample_run as sample
from fake_run import FakeRun, InlinePainter, settle, until
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.screens.app import MLTrainerApp
from tui_trainer.screens.gauges import bar, spark
from tui_trainer.screens.machine import machine_rows, machine_title
from tui_trainer.screens.machine_history import KEPT, MachineHistory
from tui_trainer.screens.machine_screen import MachineScreen, page_rows
from tui_trainer.screens.panels import ASCII, UNICODE
from tui_trainer.screens.rows import Rows
from tui_trainer.screens.view import RunView, advance_all
from tui_trainer.session.wording import cell_width

SIZES = [(80, 24), (120, 34), (200, 50)]
VIEWS = {name: machines.view_with(samples) for name, samples in machines.MACHINES.items()}


def text_of(rows):
    return "\n".join("".join(text for text, _ in row) for row in rows)


def app_for(view, **options):
    return MLTrainerApp(None, painter=InlinePainter(), view=view, **options)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", VIEWS)
def test_the_panel(snap_compare, name, size):
    assert snap_compare(app_for(VIEWS[name]), terminal_size=size, run_before=settle)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", ["one", "none", "eight", "failing"])
def test_the_page(snap_compare, name, size):
    assert snap_compare(app_for(VIEWS[name]), terminal_size=size, press=["g"], run_before=settle)


def test_the_page_in_ascii(snap_compare):
    app = app_for(VIEWS["failing"], ascii=True)
    assert snap_compare(app, terminal_size=(80, 24), press=["g"], run_before=settle)


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
def test_rows_fit_whatever_the_size(name, glyphs):
    for width in (1, 10, 20, 34, 36, 48, 100):
        for height in range(12):
            rows = machine_rows(VIEWS[name], width, height, glyphs)
            assert len(rows) <= height
            if width >= 34:
                assert all(cell_width("".join(text for text, _ in row)) <= width for row in rows)
            assert glyphs is UNICODE or text_of(rows).replace("…", "").isascii()
        assert glyphs is UNICODE or text_of(page_rows(VIEWS[name], width, glyphs)).replace("…", "").isascii()


def test_one_gpu_shows_load_memory_heat_and_power():
    shown = text_of(machine_rows(VIEWS["one"], 36, 6, UNICODE))
    for word in ("GPU0", "%", "61°C", "412W", "9.1/140 GiB", "12.4/64 GiB", "41 GB free", "data wait 3%"):
        assert word in shown


def test_eight_gpus_fit_in_six_rows():
    shown = text_of(machine_rows(VIEWS["eight"], 36, 6, UNICODE))
    assert all(f" {index} " in shown for index in range(8))
    assert "disk" in shown
    assert machine_title(VIEWS["eight"]) == "Machine: 8 GPUs"


def test_in_two_rows_the_runs_own_gpu_stays():
    view = machines.view_with([machines.reading(1, [machines.gpu(k, ours=k == 5) for k in range(8)])])
    rows = machine_rows(view, 34, 2, UNICODE)
    assert len(rows) == 2
    assert "GPU5" in text_of(rows)
    assert "disk" in text_of(rows)


def test_what_fails_is_na_with_its_reason_and_the_rest_is_shown():
    shown = text_of(machine_rows(VIEWS["failing"], 48, 9, UNICODE))
    assert "GPU0 n/a: GPU is lost" in shown
    assert "GPU1" in shown
    assert "RAM" in shown
    assert "GPU is lost" in text_of(page_rows(VIEWS["failing"], 100, UNICODE))


def test_no_gpu_says_so_and_why():
    assert "none: no NVIDIA driver" in text_of(machine_rows(VIEWS["none"], 36, 6, UNICODE))
    shown = text_of(machine_rows(VIEWS["unused"], 36, 6, UNICODE))
    assert "GPU0" in shown
    assert "torch 2.13.0 is built without" in shown


def test_readings_that_stopped_are_not_shown_as_of_now():
    late = sample.step(701, time=sample.START + 100)
    view = advance_all(VIEWS["one"], [late])
    assert machine_title(view) == "Machine, 85 s ago"
    assert machine_title(advance_all(view, [sample.finished()])) == "Machine, as the run ended"


def test_the_page_lists_processes_and_whose_they_are():
    others = tuple({"pid": pid, "name": None, "memory": None, "ours": False} for pid in range(20))
    view = machines.view_with([machines.reading(1, [machines.gpu(), machines.gpu(1, processes=others)])])
    shown = text_of(page_rows(view, 100, UNICODE))
    assert "pid 4123  python  (this run)" in shown
    assert "not visible from here" in shown
    assert "and 12 more" in shown


def test_the_history_is_bounded_and_processes_are_carried_on():
    history = MachineHistory()
    for item in machines.readings(1, seconds=3):
        history = history.with_sample(item)
    silent = machines.gpu()
    del silent["processes"]
    for second in range(2 * KEPT):
        history = history.with_sample(machines.reading(second, [silent]))
    assert len(history.samples) == KEPT
    assert history.latest.gpus[0]["processes"][0]["pid"] == 4123


def test_sparklines_keep_the_newest_at_the_right():
    assert spark([0.0, 50.0, 100.0], 5, top=100.0, ascii=False) == "  ▁▅█"
    assert spark([None, 100.0], 2, top=100.0, ascii=True) == " #"
    assert spark([0.0] * 99 + [100.0], 10, top=100.0, ascii=False)[-1] == "▁"


@given(st.one_of(st.none(), st.floats()), st.integers(-3, 60), st.booleans())
def test_a_bar_is_as_wide_as_asked(share, width, ascii_only):
    drawn = "".join(text for text, _ in bar(share, width, ascii=ascii_only))
    assert len(drawn) == max(0, width)


@given(st.lists(st.one_of(st.none(), st.floats()), max_size=99), st.integers(0, 40), st.floats(0, 1e9))
def test_a_sparkline_is_as_wide_as_asked(values, width, top):
    assert len(spark(values, width, top=top, ascii=False)) == width


@pytest.mark.parametrize("key", ["escape", "g", "q"])
async def test_g_opens_the_page_which_stays_live_and_closes(key):
    run = FakeRun([*sample.events(20, until_step=200), *machines.readings(1)])
    async with MLTrainerApp(lambda: run, painter=InlinePainter()).run_test(size=(120, 34)) as pilot:
        app = pilot.app
        await until(pilot, lambda: app.view.machine.latest is not None)
        await pilot.press("g")
        assert isinstance(app.screen, MachineScreen)
        run.emit(machines.reading(130, [machines.gpu(util=77.0)]))
        await until(pilot, lambda: " 77%" in text_of(app.screen.query_one("#machine-page", Rows).rows))
        await pilot.press(key)
        assert not isinstance(app.screen, MachineScreen)


def test_before_the_first_reading():
    assert text_of(machine_rows(RunView(), 36, 6, UNICODE)) == "no reading yet"
    assert "first reading" in text_of(page_rows(RunView(), 80, UNICODE))
