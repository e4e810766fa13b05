"""Every key does what the footer and the help say."""

from __future__ import annotations

import signal

import pytest
import sample_run as sample
from fake_run import FakeRun, InlinePainter, until
from textual.events import Resize
from textual.geometry import Size
from wording import words_of

from tui_trainer.engine.events import LogLine
from tui_trainer.screens.app import MLTrainerApp
from tui_trainer.screens.control_dialogs import StopDialog
from tui_trainer.screens.dialogs import Ask, Help, Saving
from tui_trainer.screens.keys import BINDINGS
from tui_trainer.screens.log_pane import LogPane
from tui_trainer.screens.page import Page
from tui_trainer.screens.rows import Rows
from tui_trainer.screens.wrapping import row_width

SIZE = (120, 34)


def app_for(run, **options):
    return MLTrainerApp(lambda: run, painter=InlinePainter(), **options)


def running():
    return FakeRun(sample.events(20, until_step=200))


async def ready(pilot):
    await until(pilot, lambda: pilot.app.view.step is not None and pilot.app.handle is not None)
    await pilot.pause()


def names(run):
    return [command for command, _ in run.commands]


def text_of(app, selector):
    rows = app.screen_stack[0].query_one(selector, Rows).rows
    return "\n".join("".join(part for part, _ in row) for row in rows)


def test_no_key_is_bound_twice_and_every_binding_explains_itself():
    keys = [key for binding in BINDINGS for key in binding.key.split(",")]
    assert len(keys) == len(set(keys))
    assert all(binding.id and binding.tooltip for binding in BINDINGS)
    assert len({binding.id for binding in BINDINGS}) == len(BINDINGS)


async def test_the_header_names_the_run_before_it_says_its_own():
    run = FakeRun([LogLine(time=sample.START, level="info", text="reading the data")])
    async with app_for(run, name="my-config").run_test(size=SIZE) as pilot:
        await until(pilot, lambda: pilot.app.view.log)
        await until(pilot, lambda: "my-config" in text_of(pilot.app, "#header"))


async def test_p_pauses_and_resumes():
    run = running()
    async with app_for(run).run_test(size=SIZE) as pilot:
        await ready(pilot)
        await pilot.press("p")
        await until(pilot, lambda: "paused" in text_of(pilot.app, "#header"))
        await pilot.press("p")
        await until(pilot, lambda: "training" in text_of(pilot.app, "#header"))
        assert names(run) == ["pause", "resume"]


async def test_c_asks_for_a_checkpoint():
    run = running()
    async with app_for(run).run_test(size=SIZE) as pilot:
        await ready(pilot)
        await pilot.press("c")
        assert names(run) == ["checkpoint"]


async def test_s_asks_then_stops_and_stays():
    run = running()
    async with app_for(run).run_test(size=SIZE) as pilot:
        await ready(pilot)
        await pilot.press("s")
        assert isinstance(pilot.app.screen, StopDialog)
        await pilot.press("n")
        assert names(run) == []
        await pilot.press("s", "y")
        assert names(run) == ["stop"]
        await until(pilot, lambda: "stopped" in text_of(pilot.app, "#header"))
        assert pilot.app.is_running


async def test_q_asks_then_saves_and_leaves():
    run = FakeRun(sample.events(20, until_step=200), obeys_stop=False)
    app = app_for(run)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await pilot.press("q")
        assert isinstance(app.screen, Ask)
        await pilot.press("escape")
        assert not isinstance(app.screen, Ask)
        await pilot.press("q", "enter")
        await until(pilot, lambda: isinstance(app.screen, Saving))
        assert names(run) == ["stop"]
        assert app.is_running
        run.emit(sample.finished(status="stopped"))
        await until(pilot, lambda: app.return_value is not None)
    assert app.return_value.reason == "quit"
    assert app.return_value.view.status == "stopped"


async def test_x_does_not_wait_for_a_run_that_hangs():
    run = FakeRun(sample.events(20, until_step=200), obeys_stop=False)
    app = app_for(run)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await pilot.press("q", "y")
        await until(pilot, lambda: isinstance(app.screen, Saving))
        await pilot.press("x")
        await until(pilot, lambda: app.return_value is not None)
    assert app.return_value.reason == "abandoned"


async def test_q_leaves_at_once_when_the_run_is_over():
    app = app_for(FakeRun(sample.events(3)))
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.view.is_over)
        await pilot.press("q")
        await until(pilot, lambda: app.return_value is not None)
    assert app.return_value.reason == "quit"


@pytest.mark.parametrize("key", ["ctrl+q", "ctrl+c"])
async def test_control_keys_ask_as_q_does(key):
    app = app_for(running())
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await pilot.press(key)
        assert isinstance(app.screen, Ask)


async def test_question_mark_lists_every_key():
    app = app_for(running())
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await pilot.press("question_mark")
        assert isinstance(app.screen, Help)
        shown = words_of(app.screen.query_one(Page))
        assert all(binding.tooltip in shown for binding in BINDINGS)
        await pilot.press("escape")
        assert not isinstance(app.screen, Help)


async def test_the_palette_offers_every_shown_key():
    app = app_for(running())
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert {"Pause", "Checkpoint", "Stop", "Quit", "Help"} <= set(titles)


async def test_other_phases_say_that_they_are_not_there_yet():
    app = app_for(running())
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        for number, word in ((4, "Optimize"), (5, "Finalize")):
            await pilot.press(f"f{number}")
            await until(pilot, lambda: app.screen.query("#page"))
            assert word in app.screen.query_one("#page").border_title
        await pilot.press("f2")
        assert app.screen is app.phases.baseline


async def test_a_run_that_cannot_start_leaves_with_its_error():
    def start():
        raise ValueError("no such file")

    app = MLTrainerApp(start, painter=InlinePainter())
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.return_value is not None)
    assert app.return_value.reason == "not_started"
    assert str(app.return_value.error) == "no such file"


async def test_a_stop_signal_saves_and_leaves_with_its_number():
    run = running()
    app = app_for(run)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        app._on_stop_signal(signal.SIGTERM)
        await until(pilot, lambda: app.return_value is not None)
    assert run.commands == [("stop", {"signal": "SIGTERM"})]
    assert app.return_value.signal == signal.SIGTERM


async def test_a_hang_up_leaves_the_run_alone():
    run = running()
    app = app_for(run)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        app._on_hang_up()
        await until(pilot, lambda: app.return_value is not None)
    assert app.return_value.reason == "detached"
    assert run.commands == []


async def test_text_from_outside_is_never_markup():
    nasty = "[/red] [00] [bold]x[/] \x1b[31m " + "long " * 2000
    run = FakeRun([sample.started(name=nasty, metrics=("[/x]" * 10,), device="[red]"), sample.step(5)])
    run.emit(
        sample.diagnostic(code="[/red]", message=nasty), LogLine(time=sample.START, level="error", text=nasty)
    )
    run.emit(sample.epoch_finished(1, metrics={f"val_{'[/x]' * 10}": 0.5, "val_loss": float("nan")}))
    app = app_for(run)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "[/red] [00]" in text_of(app, "#header"))
        assert app.screen.query_one(LogPane).virtual_size.height > 10


async def test_the_log_stays_where_the_reader_scrolled_to():
    run = running()
    async with app_for(run).run_test(size=SIZE) as pilot:
        await ready(pilot)
        pane = pilot.app.screen.query_one(LogPane)

        def last_line():
            return pane.render_line(pane.scrollable_content_region.height - 1).text.rstrip()

        await until(pilot, lambda: 0 < pane.max_scroll_y == pane.scroll_y)
        await pilot.press("pageup")
        await until(pilot, lambda: pane.scroll_y < pane.max_scroll_y)
        before = last_line()
        run.emit(LogLine(time=sample.START, level="info", text="something new"))
        await until(
            pilot, lambda: pane.virtual_size.height > 0 and "something new" in pilot.app.view.log[-1].text
        )
        assert last_line() == before
        await pilot.press("end")
        await until(pilot, lambda: last_line().endswith("something new"))


@pytest.mark.parametrize("size", [(20, 5), (1, 1), (80, 24), (300, 90)])
async def test_any_terminal_size_is_survived(size):
    app = app_for(FakeRun(sample.events(20, broken=True)))
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.view.is_over)
        await pilot.resize_terminal(*size)
        await pilot.pause()
        await pilot.resize_terminal(*SIZE)
        await until(pilot, lambda: "complete" in text_of(app, "#header"))


async def test_only_changed_rows_are_repainted():
    app = MLTrainerApp(None, painter=InlinePainter())
    async with app.run_test(size=SIZE) as pilot:
        widget = app.screen.query_one("#run", Rows)
        regions = []
        widget.refresh = lambda *areas, **options: regions.extend(areas)
        widget.set_rows([(("a", "text"),), (("b", "text"),), (("c", "text"),)])
        regions.clear()
        widget.set_rows([(("a", "text"),), (("x", "text"),), (("c", "text"),)])
        assert [area.y for area in regions] == [1]
        await pilot.pause()


async def test_sizes_that_follow_each_other_quickly_come_to_rest(monkeypatch):
    """Textual lays out for each size in its queue, and queues each size it laid out for."""
    app = app_for(running())
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        laid_out = []
        lay_out = type(app.screen)._refresh_layout

        def counting(screen, size=None, scroll=False):
            laid_out.append(size)
            assert len(laid_out) < 100
            return lay_out(screen, size, scroll)

        monkeypatch.setattr(type(app.screen), "_refresh_layout", counting)
        for width in (119, 118, 120):
            app.screen.post_message(Resize(Size(width, 34), Size(width, 34)))
            app.screen.call_later(lambda: None)
        await pilot.pause(0.5)
        assert app.screen.size == Size(*SIZE)


async def test_a_panel_of_another_size_lays_its_rows_out_anew():
    app = app_for(running())
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        app.screen.query_one("#side").styles.width = 30  # as after a change of phase in another terminal
        await pilot.pause()
        run = app.screen.query_one("#run")
        assert {row_width(row) for row in run.rows[:2]} == {run.size.width}
