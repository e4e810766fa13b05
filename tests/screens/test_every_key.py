"""Every key of the app does something where the help says that it does; a key without an entry here fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sample_diagnostics as samples
import sample_run as sample
from fake_run import FakeRun, InlinePainter, saved_run, settle, until, workers_done
from run_folders import finished
from textual.command import CommandList

from tui_trainer.screens.app import MLTrainerApp
from tui_trainer.screens.control_dialogs import (
    ExtendDialog,
    LearningRateDialog,
    RollBackDialog,
    StopDialog,
)
from tui_trainer.screens.dialogs import Ask, Confirm, Help, Saving
from tui_trainer.screens.keys import (
    ALL_BINDINGS,
    BACK,
    DIAGNOSE_BINDINGS,
    DIAGNOSIS_BINDINGS,
    GATE_BINDINGS,
    GATE_KEY,
    MARK_BINDINGS,
    MORE_CARRY_KEYS,
    MORE_FIX_KEYS,
    PLAN_BINDINGS,
    PLAN_LIST_BINDINGS,
)
from tui_trainer.screens.metric_picker import MetricPicker

if TYPE_CHECKING:
    from textual.binding import Binding

DIALOGS = (
    Ask, Confirm, Saving, Help, MetricPicker, StopDialog, LearningRateDialog, ExtendDialog, RollBackDialog,
)  # fmt: skip
BINDINGS: dict[str, Binding] = {
    item.id: item for item in [*ALL_BINDINGS, *(binding for dialog in DIALOGS for binding in dialog.BINDINGS)]
}

# The bindings, by their ids, for which these keys are pressed before.
AFTER: list[tuple[list[str], str]] = [
    (
        [],
        "run.pause run.checkpoint run.learning_rate run.epochs run.roll_back run.stop run.copy app.quit app.help",
    ),
    ([], "app.leave app.runs view.machine charts.metrics charts.full log.filter log.level log.pause"),
    ([], "phase.plan phase.diagnose phase.optimize phase.finalize"),
    (["g"], "phase.baseline machine.back"),
    (["space"], "log.follow"),
    (
        ["f"],
        "chart.axis chart.smoothing chart.zoom_in chart.left chart.right chart.next chart.previous chart.back",
    ),
    (["f", "b"], "chart.scale"),  # from automatic to logarithmic may look the same
    (["f", "f"], "chart.full"),
    (["f", "plus"], "chart.zoom_out chart.earlier chart.follow"),
    (["f", "plus", "plus", "[", "["], "chart.later"),
    (["o"], "runs.open runs.last runs.mark runs.compare runs.overlay runs.sort runs.sort_left runs.reverse"),
    (["o"], "runs.delete page.back"),
    (["o", "end"], "runs.first"),
    (["o", "space", "space", "c"], "compare.metric compare.metric_before"),
    (["q"], "ask.yes ask.no"),
    (["o", "x"], "confirm.yes confirm.no"),
    (["q", "y"], "saving.abandon"),
    (["question_mark"], "help.close"),
    (["m"], "picker.close picker.down"),
    (["m", "down"], "picker.up"),
    (["s"], "stop.epoch stop.now stop.no"),
    (["l"], "rate.tenth rate.half rate.double rate.leave"),
    (["e"], "extend.five extend.ten extend.double extend.leave"),
    (["r"], "rollback.2 rollback.half rollback.tenth rollback.leave"),
    (["r", "down"], "rollback.1"),
    (["r", "h"], "rollback.keep"),
    ([], "diagnostics.open"),
    ([], " ".join(item.id for item in [*DIAGNOSIS_BINDINGS, *MORE_FIX_KEYS])),  # with the panel open
]
BEFORE = {name: keys for keys, names in AFTER for name in names.split()}
ON_THE_PLAN = {item.id for item in [*PLAN_BINDINGS, *PLAN_LIST_BINDINGS]}  # test_plan_keys.py
AFTER_THE_RUN = {  # test_diagnose_keys.py, test_gate_panel.py
    item.id for item in [*MARK_BINDINGS, *DIAGNOSE_BINDINGS, *MORE_CARRY_KEYS, *GATE_BINDINGS, GATE_KEY]
}
WITHOUT = {f"rollback.{number}" for number in range(3, 10)}  # the run here has two checkpoints


def test_no_key_lacks_an_entry():
    assert set(BEFORE) | WITHOUT | ON_THE_PLAN | AFTER_THE_RUN == set(BINDINGS)


class Place:
    """The app on a training run, with two finished ones beside it."""

    def __init__(self, folder, *, diagnosed=False):
        for name in ("one", "two"):
            finished(folder / name, name=name)
        self.run = FakeRun(sample.events(20, until_step=700), saved_run(folder / "own"), obeys_stop=False)
        self.diagnosed = diagnosed
        self.now = 0.0
        if diagnosed:
            self.run.emit(*self.troubles())
        self.app = MLTrainerApp(
            lambda: self.run, painter=InlinePainter(), run_roots=(folder,), clock=lambda: self.now
        )

    @staticmethod
    def troubles():
        """A fix in force, and two problems with nine fixes each that wait for an answer."""
        mended = samples.nan_loss()
        yield mended
        yield from samples.applied(mended, "lower_lr_10_clip", to_step=700)
        fixes = tuple(samples.LOWER | {"id": f"fix-{number}"} for number in range(1, 10))
        for number in (1, 2):
            yield samples.overfitting(id=f"overfitting-{number}", fixes=fixes)
        yield sample.step(705)

    async def stands(self, pilot):
        """Until the first picture is there, and the panel takes keys where it has come up."""
        await until(pilot, lambda: self.app.view.step is not None and self.app.handle is not None)
        if not self.diagnosed:
            await settle(pilot)
            return
        await until(pilot, lambda: self.app.screen.diagnosis.mode == "one")
        await pilot.pause()
        self.now += 10.0

    def seen(self):
        """All that a key may change: what is on the screen, what was asked of the run, the clipboard, the end."""
        app = self.app
        result = app.return_value and app.return_value.reason
        shown = [strip.text for strip in app.screen._compositor.render_strips()] if result is None else []
        looks = [] if result else [list(strip) for strip in app.screen._compositor.render_strips()]
        return list(self.run.commands), app.clipboard, len(app._notifications), result, shown, looks

    async def press(self, pilot, *keys):
        for key in keys:
            await pilot.press(key)
            await workers_done(pilot)
            await pilot.pause()


@pytest.mark.parametrize(
    ("name", "key"), [(name, key) for name in BEFORE for key in BINDINGS[name].key.split(",")]
)
async def test_a_key_does_something(name, key, tmp_path):
    place = Place(tmp_path, diagnosed=name.startswith("diagnosis."))
    async with place.app.run_test(size=(100, 30)) as pilot:
        await place.stands(pilot)
        await place.press(pilot, *BEFORE[name])
        before = place.seen()
        await place.press(pilot, key)
        assert place.seen() != before


@pytest.mark.parametrize("before", [[], ["f"], ["g"], ["o"]], ids=str)
async def test_a_key_that_is_nobody_s_does_nothing(before, tmp_path):
    place = Place(tmp_path)
    async with place.app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: place.app.view.step is not None and place.app.handle is not None)
        await settle(pilot)
        await place.press(pilot, *before)
        seen = place.seen()
        await place.press(pilot, "z", "f12")
        assert place.seen() == seen


@pytest.mark.parametrize("before", [[], ["g"], ["o"], ["o", "enter"], ["o", "space", "space", "c"]], ids=str)
async def test_the_help_names_no_key_twice(before, tmp_path):
    place = Place(tmp_path)
    async with place.app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: place.app.view.step is not None and place.app.handle is not None)
        await place.press(pilot, *before)
        back = place.app.screen
        await pilot.press("question_mark")
        assert isinstance(place.app.screen, Help)
        named = [item for group in place.app.screen._groups.values() for item in group]
        keys = [key for item in named for key in item.key.split(",")]
        twice = {key for key in keys if keys.count(key) > 1}
        assert twice <= {"escape"}  # leaves the chart first, then the page
        assert (BACK in named) == (before not in ([], ["g"]))
        await pilot.press("escape")
        assert place.app.screen is back


@pytest.mark.parametrize(
    ("before", "there", "elsewhere"),
    [
        ([], {"Pause", "Filter log", "Chart: Axis", "Machine"}, {"Mark", "Compare"}),
        (["g"], {"Pause", "Back", "Runs"}, {"Filter log", "Chart: Axis"}),
        (["o"], {"Mark", "Open", "Compare", "Back"}, {"Pause", "Filter log", "Chart: Axis"}),
        (["o", "enter"], {"Back", "Filter log", "Chart: Axis"}, {"Pause", "Mark"}),
    ],
    ids=["run", "machine", "runs", "replay"],
)
async def test_the_palette_offers_what_works_on_the_page_in_front(before, there, elsewhere, tmp_path):
    place = Place(tmp_path)
    async with place.app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: place.app.view.step is not None and place.app.handle is not None)
        await place.press(pilot, *before)
        titles = {command.title for command in place.app.get_system_commands(place.app.screen)}
        assert there <= titles
        assert not elsewhere & titles


async def test_the_palette_marks_a_run(tmp_path):
    place = Place(tmp_path)
    async with place.app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: place.app.handle is not None)
        await place.press(pilot, "o", "ctrl+p", *"mark")
        await until(pilot, lambda: place.app.screen.query_one(CommandList).option_count)
        await place.press(pilot, "enter")
        await until(pilot, lambda: len(getattr(place.app.screen, "_marked", ())) == 1)
