"""A user's own keys and theme are used, remembered, and never keep the app from opening."""

from __future__ import annotations

import pytest
import sample_run as sample
from fake_run import FakeRun, InlinePainter, settle, until, workers_done
from rich.segment import Segment

from tui_trainer.screens.app import MLTrainerApp
from tui_trainer.screens.keys import ALL_BINDINGS, BINDINGS
from tui_trainer.screens.preferences import Preferences, load_preferences, preferences_folder, with_keys
from tui_trainer.screens.view import RunView, advance_all

VIEW = advance_all(RunView(), sample.events(20, until_step=700))


def loaded(tmp_path, keys=None, state=None):
    if keys is not None:
        (tmp_path / "keys.yaml").write_text(keys)
    if state is not None:
        (tmp_path / "state.json").write_text(state)
    return load_preferences(tmp_path, ALL_BINDINGS)


def app_for(preferences):
    run = FakeRun(sample.events(20, until_step=100))
    return MLTrainerApp(lambda: run, painter=InlinePainter(), preferences=preferences), run


async def ready(pilot):
    await until(pilot, lambda: pilot.app.view.step is not None and pilot.app.handle is not None)
    await pilot.pause()


def test_the_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert preferences_folder({"XDG_CONFIG_HOME": "/etc/xdg"}).as_posix() == "/etc/xdg/mltrainer-tui"
    for unusable in ({}, {"XDG_CONFIG_HOME": ""}, {"XDG_CONFIG_HOME": "relative"}):
        assert preferences_folder(unusable) == tmp_path / ".config" / "mltrainer-tui"


def test_no_files_is_the_first_time(tmp_path):
    assert loaded(tmp_path / "none") == Preferences(tmp_path / "none", {}, None, welcomed=False)


async def test_a_key_of_the_user_s_own_takes_the_place_of_ours(tmp_path):
    app, run = app_for(loaded(tmp_path, "run.checkpoint: f8\nrun.pause: y\nrun.copy: ctrl+y\n"))
    async with app.run_test() as pilot:
        await ready(pilot)
        await pilot.press("c")
        assert run.commands == []
        await pilot.press("f8")
        assert [name for name, _ in run.commands] == ["checkpoint"]
        await pilot.press("y")
        assert [name for name, _ in run.commands] == ["checkpoint", "pause"]


def test_the_help_page_shows_the_user_s_keys():
    changed = with_keys(BINDINGS, {"run.pause": "f8"})
    assert next(item.key for item in changed if item.id == "run.pause") == "f8"
    assert [item.tooltip for item in changed] == [item.tooltip for item in BINDINGS]


def test_two_keys_may_be_swapped(tmp_path):
    preferences = loaded(tmp_path, "run.pause: c\nrun.checkpoint: p\n")
    assert preferences.keys == {"run.pause": "c", "run.checkpoint": "p"}
    assert preferences.notes == ()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("run.pausse: f8", "did you mean run.pause"),
        ("run.pause: c", "cannot have c, which is the key of run.checkpoint"),
        ("run.pause: [f8]", "needs a key"),
        ("- run.pause", "no mapping"),
        ("a: b: c", "no YAML"),
        ("\x00", "no YAML"),
    ],
)
async def test_unusable_keys_are_told_and_left_out(tmp_path, keys, said):
    preferences = loaded(tmp_path, keys)
    assert preferences.keys == {}
    assert len(preferences.notes) == 1
    assert said in preferences.notes[0]
    app, run = app_for(preferences)
    async with app.run_test() as pilot:
        await ready(pilot)
        await pilot.press("p")
        assert [name for name, _ in run.commands] == ["pause"]


@pytest.mark.parametrize("state", ["", "{", "[]", '{"theme": 3, "welcomed": "yes"}', '{"theme": "gone"}'])
async def test_a_broken_state_is_no_state(tmp_path, state):
    app, _ = app_for(loaded(tmp_path, state=state))
    async with app.run_test() as pilot:
        await ready(pilot)
        assert pilot.app.theme == "textual-dark"


async def test_the_theme_is_remembered(tmp_path):
    app, _ = app_for(loaded(tmp_path))
    async with app.run_test() as pilot:
        await ready(pilot)
        app.theme = "high-contrast"
        await pilot.pause()
    app, _ = app_for(load_preferences(tmp_path, ALL_BINDINGS))
    async with app.run_test() as pilot:
        await ready(pilot)
        assert app.theme == "high-contrast"


@pytest.mark.parametrize("front", ["", "question_mark", "g", "f6"])
async def test_a_new_theme_is_everywhere_at_once(front, tmp_path):
    """Also on the screen behind the one in front, and on that one."""

    async def pictures(first: str, then: str) -> list[list[list[Segment]]]:
        options = {"view": VIEW, "preferences": Preferences(theme=first), "run_roots": (tmp_path,)}
        app = MLTrainerApp(None, painter=InlinePainter(), **options)
        found = []
        async with app.run_test(size=(120, 34)) as pilot:
            await settle(pilot)
            if front:
                await pilot.press(front)
                await workers_done(pilot)
                await pilot.pause()
            app.theme = then
            await pilot.pause()
            found.append(app.screen._compositor.render_strips())
            if front:
                await pilot.press("escape")
                await settle(pilot)
                found.append(app.screen._compositor.render_strips())
        return [[list(strip) for strip in strips] for strips in found]

    assert await pictures("textual-dark", "high-contrast") == await pictures("high-contrast", "high-contrast")


async def test_a_newcomer_is_welcomed_once(tmp_path):
    for welcomes in (1, 0):
        app, _ = app_for(load_preferences(tmp_path, ALL_BINDINGS))
        async with app.run_test() as pilot:
            await ready(pilot)
            assert len(app._notifications) == welcomes


async def test_a_folder_that_cannot_be_written_keeps_nobody_out(tmp_path):
    (tmp_path / "file").write_text("")
    app, _ = app_for(load_preferences(tmp_path / "file", BINDINGS))
    async with app.run_test() as pilot:
        await ready(pilot)
        assert pilot.app.is_running


async def test_y_copies_the_run_folder(tmp_path):
    app, run = app_for(Preferences())
    async with app.run_test() as pilot:
        await ready(pilot)
        await pilot.press("y")
        assert app.clipboard == str(run.folder)


async def test_the_palette_offers_every_action():
    app, _ = app_for(Preferences())
    async with app.run_test() as pilot:
        await ready(pilot)
        offered = {command.title for command in app.get_system_commands(app.screen)}
        assert {binding.description for binding in BINDINGS} <= offered
        assert "Theme" in offered
