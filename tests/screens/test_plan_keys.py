"""The Plan screen's keys: each does what the footer says, and edits, answers and checks reach the planner."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import MappingProxyType

import pytest
import sample_plan as plans
import sample_run as sample
from fake_run import FakeRun, InlinePainter, until
from sample_plan import FakeGates
from textual.widgets import TextArea

from tui_trainer.config.errors import DataError, RunFolderError
from tui_trainer.config.loading import load_config
from tui_trainer.phases.plan import GateNotPassed
from tui_trainer.screens import plan as plan_module
from tui_trainer.screens.app import MLTrainerApp
from tui_trainer.screens.dialogs import Ask, Help
from tui_trainer.screens.keys import PLAN_BINDINGS, PLAN_LIST_BINDINGS
from tui_trainer.screens.phases import PhasePage
from tui_trainer.screens.plan import PlanScreen
from tui_trainer.screens.plan_dialogs import EntryDialog, LineDialog, TemplateDialog
from tui_trainer.screens.plan_pages import ValueInput
from tui_trainer.screens.planner import Planner
from tui_trainer.screens.rows import Rows

SIZE = (120, 34)


class Place:
    """The app on a plan in `folder`, with a gate that is told what it finds and a run that does not train."""

    def __init__(self, folder, gates=None, text=None, refuses=None):
        self.gates = gates or FakeGates()
        self.file = folder / "config.yaml"
        self.file.write_text(text or load_config(None).text)
        self.begun = []
        self.refuses = refuses
        self.run = FakeRun(sample.events(20, until_step=200), folder)
        self.planner = Planner(lambda: load_config(self.file), self.begin, gate=self.gates)
        self.app = MLTrainerApp(None, painter=InlinePainter(), planner=self.planner)

    def begin(self, loaded):
        self.begun.append(loaded)
        if self.refuses is not None:
            raise self.refuses
        return self.run

    @property
    def view(self):
        return self.planner.view

    @property
    def screen(self):
        return self.app.screen

    def value(self, key):
        found = self.view.loaded.config.model_dump(by_alias=True)
        for part in key.split("."):
            found = found[part]
        return found

    def text(self, selector):
        rows = self.screen.query_one(selector, Rows).rows
        return "\n".join("".join(part for part, _ in row) for row in rows)

    async def checked(self, pilot):
        await until(pilot, lambda: self.view.checklist is not None and not self.view.checking)
        await self.shown(pilot)

    async def shown(self, pilot):
        """What the planner knows stands on the screen."""
        await until(pilot, lambda: self.screen._view is self.view)
        await pilot.pause()

    async def to(self, pilot, key):
        """Mark a setting, by keys."""
        await pilot.press("home")
        for _ in range(150):
            if self.screen._editor.marked.key == key:
                return
            await pilot.press("down")
        raise AssertionError(key)

    async def set(self, pilot, key, text):
        await self.to(pilot, key)
        await pilot.press("enter", "end", *["backspace"] * 20, *text, "enter")
        await pilot.pause()


@pytest.fixture(autouse=True)
def checks_wait_for_r(monkeypatch):
    """Edits are checked when a test says so."""
    monkeypatch.setattr(plan_module, "SETTLED_SECONDS", 3600)


@pytest.mark.parametrize(
    ("name", "before"),
    [
        *((item.id, []) for item in PLAN_BINDINGS),
        ("plan.edit", []),
        ("plan.edit", ["tab", "tab"]),
        ("plan.choice", ["down", "down"]),
        ("plan.put_back", ["down", "down", "space"]),
    ],
)
async def test_a_key_does_something(tmp_path, name, before):
    keys = next(item for item in [*PLAN_BINDINGS, *PLAN_LIST_BINDINGS] if item.id == name).key
    for key in keys.split(","):
        await _does_something(Place(tmp_path, FakeGates(two_runs="failed", intended_use="open")), before, key)


async def _does_something(place, before, key):
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        await pilot.press(*before)
        await pilot.pause()
        seen = await _seen(place, pilot)
        await pilot.press(key)
        await until(pilot, lambda: not place.view.checking)
        if isinstance(place.screen, PlanScreen):
            await place.shown(pilot)
        assert await _seen(place, pilot) != seen, key


async def _seen(place, pilot):
    await pilot.pause()
    looks = [list(strip) for strip in place.screen._compositor.render_strips()]
    return place.gates.runs, len(place.app._notifications), looks


async def test_the_gate_is_checked_behind_the_first_paint_and_f2_begins_the_baseline(tmp_path):
    place = Place(tmp_path)
    async with place.app.run_test(size=SIZE) as pilot:
        assert isinstance(place.screen, PlanScreen)
        await place.checked(pilot)
        assert place.gates.runs == 1
        assert "F2 begins the baseline" in place.text("#verdict")
        assert "F1 Plan ✓" in place.text("#header")
        await pilot.press("f2")
        await until(pilot, lambda: place.app.view.step is not None)
        assert place.begun[0].config == load_config(place.file).config
        assert place.screen is place.app.phases.baseline
        assert "F2 Baseline ●" in place.text("#header")


async def test_f2_before_the_gate_is_passed_says_what_is_missing(tmp_path):
    place = Place(tmp_path, FakeGates(two_runs="failed", intended_use="open"))
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        await pilot.press("f2")
        assert place.begun == []
        said = " ".join(note.message for note in place.app._notifications)
        assert "two_runs" in said
        assert "intended_use" in said
        assert isinstance(place.screen, PlanScreen)
        assert "F1 Plan !" in place.text("#header")


async def test_s_signs_and_w_waives_with_what_is_typed(tmp_path):
    place = Place(tmp_path, FakeGates(two_runs="failed", intended_use="open"))
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        await pilot.press("s")
        assert isinstance(place.screen, LineDialog)
        await pilot.press("enter")  # without a word it is not signed
        assert isinstance(place.screen, LineDialog)
        await pilot.press(*"for tests", "enter")
        await until(pilot, lambda: place.view.entry("intended_use").granted)
        await pilot.press("w", *"known", "enter")
        await until(pilot, lambda: place.view.passed)
        await place.shown(pilot)
        assert "1 waived" in place.text("#verdict")


async def test_enter_on_an_item_shows_all_that_is_known_of_it(tmp_path):
    place = Place(tmp_path, FakeGates(seeds="failed"))
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        await pilot.press("tab", "tab", "enter")
        assert isinstance(place.screen, EntryDialog)
        await until(pilot, lambda: place.screen.query_one("#entry").rows)
        shown = " ".join(part for row in place.screen.query_one("#entry").rows for part, _ in row)
        assert plans.LONG.split("[")[0].split()[-1] in shown
        assert "What to do" in shown
        await pilot.press("w")
        assert isinstance(place.screen, LineDialog)


async def test_a_value_is_checked_while_it_is_typed_and_taken_by_enter(tmp_path):
    place = Place(tmp_path)
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        await place.to(pilot, "training.epochs")
        await pilot.press("enter", "end", "x")
        await pilot.pause()
        assert "must be a whole number" in place.text("#about")
        await pilot.press("enter")
        assert place.screen.query(ValueInput)  # not taken
        await pilot.press("escape")
        assert place.value("training.epochs") == 20
        await place.set(pilot, "training.epochs", "3")
        assert place.value("training.epochs") == 3
        assert place.view.unsaved
        assert not place.screen.query(ValueInput)


async def test_an_edit_makes_a_new_gate_and_ends_the_old_one(tmp_path):
    place = Place(tmp_path)
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        old = place.gates.made[-1]
        await place.set(pilot, "seed", "7")
        assert old.cancelled
        assert place.gates.made[-1].config.config.seed == 7
        old._on_change(plans.checklist(seeds="failed"), frozenset())  # late news of what is no more
        assert place.view.passed


async def test_edits_are_checked_again_once_they_have_settled(tmp_path, monkeypatch):
    monkeypatch.setattr(plan_module, "SETTLED_SECONDS", 0.01)
    place = Place(tmp_path)
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        await place.set(pilot, "seed", "7")
        await until(pilot, lambda: place.gates.runs == 2)


async def test_ctrl_s_keeps_the_comments_and_changes_the_one_line(tmp_path):
    place = Place(tmp_path)
    before = place.file.read_text()
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        await place.set(pilot, "data.batch_size", "64")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: not place.view.unsaved)
    assert place.file.read_text() == before.replace("batch_size: 8 ", "batch_size: 64 ")


async def test_the_bundled_config_is_saved_under_a_name_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = Place(tmp_path)
    place.planner._load = lambda: load_config(None)
    place.file.unlink()
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        await pilot.press("ctrl+s")
        assert isinstance(place.screen, LineDialog)
        await pilot.press("enter")
        await until(pilot, (tmp_path / "config.yaml").exists)
        assert place.planner.default_file == tmp_path / "config.yaml"


async def test_a_file_that_somebody_else_changed_is_not_overwritten_unasked(tmp_path):
    place = Place(tmp_path)
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        await place.set(pilot, "seed", "7")
        place.file.write_text("seed: 1\n")
        await pilot.press("ctrl+s")
        assert isinstance(place.screen, Ask)
        await pilot.press("n")
        assert place.file.read_text() == "seed: 1\n"
        await pilot.press("ctrl+s", "y")
        await until(pilot, lambda: not place.view.unsaved)
        assert load_config(place.file).config.seed == 7


async def test_an_app_that_was_opened_on_a_run_shows_its_plan_and_checks_nothing_beside_it(tmp_path):
    place = Place(tmp_path)
    app = place.app = MLTrainerApp(lambda: place.run, painter=InlinePainter(), planner=place.planner)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.view.step is not None)
        assert "F1 Plan ✓  F2 Baseline ●" in place.text("#header")
        await pilot.press("f1")
        await until(pilot, lambda: place.view.checklist is not None)
        await place.shown(pilot)
        assert place.screen._editor.marked.key == "name"
        assert not place.view.checking
        assert place.gates.runs == 0
        await pilot.press("f2")
        assert app.screen is app.phases.baseline


async def test_an_app_whose_gate_is_shut_after_all_opens_on_the_plan(tmp_path):
    place = Place(tmp_path, FakeGates(two_runs="failed"))

    def start():
        raise GateNotPassed("two_runs is open")

    app = place.app = MLTrainerApp(start, painter=InlinePainter(), planner=place.planner)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: isinstance(app.screen, PlanScreen))
        await place.checked(pilot)
        assert place.gates.runs == 1
        assert place.view.error is None
        assert "two_runs" in place.text("#verdict")


async def test_yaml_is_the_same_config_and_is_refused_where_it_is_none(tmp_path):
    place = Place(tmp_path)
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        await pilot.press("y")
        area = place.screen.query_one(TextArea)
        assert area.text == place.file.read_text()
        area.text = area.text.replace("epochs: 20", "epohcs: 20")
        await pilot.press("escape")
        await pilot.pause()
        assert "did you mean training.epochs?" in " ".join(place.text("#about").split())
        assert place.screen.query(TextArea)
        area.text = area.text.replace("epohcs: 20", "epochs: 4")
        await pilot.press("escape")
        await until(pilot, lambda: not place.screen.query(TextArea))
        assert place.value("training.epochs") == 4


async def test_escape_twice_drops_yaml_that_is_no_config(tmp_path):
    place = Place(tmp_path)
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        await pilot.press("y")
        place.screen.query_one(TextArea).text = "{"
        await pilot.press("escape", "escape")
        await until(pilot, lambda: not place.screen.query(TextArea))
        assert not place.view.unsaved


async def test_a_template_changes_how_and_not_what_is_trained(tmp_path):
    place = Place(tmp_path, text="name: mine\ndata: {target: wine}\nmodel: {target: linear}\n")
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        await pilot.press("t")
        assert isinstance(place.screen, TemplateDialog)
        await pilot.press("p")
        assert place.value("training.epochs") == 150
        assert place.value("data.target") == "wine"
        assert place.value("model.target") == "linear"
        assert place.value("name") == "mine"
        assert place.view.template_name == "the production template"
        assert "# twice the baseline's" in place.view.loaded.text
        await pilot.press("t", "f")
        assert place.value("training.epochs") == 20
        assert not place.view.unsaved


async def test_data_that_cannot_be_read_is_a_paragraph_beside_the_form(tmp_path):
    place = Place(tmp_path, FakeGates(DataError("train.csv does not exist."), data="open"))
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        assert place.view.error == "train.csv does not exist."
        await pilot.press("f2")
        assert place.begun == []
        place.gates.error = None
        place.gates.states.clear()
        await pilot.press("r")
        await until(pilot, lambda: place.view.passed and place.view.error is None)


async def test_a_machine_that_has_no_room_for_a_process_is_no_crash(tmp_path):
    place = Place(tmp_path, FakeGates(OSError(12, "Cannot allocate memory"), data="open"))
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        assert "Cannot allocate memory" in place.view.error


async def test_a_run_that_is_refused_comes_back_to_the_plan(tmp_path):
    place = Place(tmp_path, refuses=RunFolderError("The folder is taken."))
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        await pilot.press("f2")
        await until(pilot, lambda: place.view.error == "The folder is taken.")
        assert isinstance(place.screen, PlanScreen)
        place.refuses = None
        await pilot.press("r")
        await place.checked(pilot)
        await pilot.press("r", "f2")
        await until(pilot, lambda: place.app.view.step is not None)


async def test_while_a_run_is_live_the_plan_is_read_only_and_pages_leave_the_run_alone(tmp_path):
    place = Place(tmp_path)
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        await pilot.press("f2")
        await until(pilot, lambda: place.app.view.step is not None)
        runs = place.gates.runs
        await pilot.press("f1")
        assert isinstance(place.screen, PlanScreen)
        await pilot.pause()
        assert "read only" in place.text("#header")
        await place.to(pilot, "seed")
        await pilot.press("enter")
        assert not place.screen.query(ValueInput)
        await pilot.press("s", "w", "r", "t", "space", "delete")
        assert isinstance(place.screen, PlanScreen)
        for key in ("f4", "f5"):
            await pilot.press(key)
            assert isinstance(place.screen, PhasePage)
        await pilot.press("f6")
        await pilot.press("f1", "f2")
        assert place.screen is place.app.phases.baseline
        assert place.gates.runs == runs
        assert place.run.commands == []
        place.run.emit(sample.finished())
        await until(pilot, lambda: place.app.view.is_over)
        await pilot.press("f1")
        await until(pilot, lambda: place.view.run == "over")
        assert "F2 Baseline ✓" in place.text("#header")


async def test_q_leaves_a_plan_at_once_and_asks_where_edits_would_be_lost(tmp_path):
    place = Place(tmp_path)
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        await place.set(pilot, "seed", "7")
        await pilot.press("q")
        assert isinstance(place.screen, Ask)
        await pilot.press("n")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: not place.view.unsaved)
        await pilot.press("q")
        await until(pilot, lambda: place.app.return_value is not None)
    assert place.app.return_value.reason == "quit"
    assert place.gates.made[-1].cancelled


async def test_a_config_that_cannot_be_read_ends_the_app_with_its_error(tmp_path):
    place = Place(tmp_path, text="epohcs: 3\n")
    async with place.app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: place.app.return_value is not None)
    assert "epohcs" in str(place.app.return_value.error)


async def test_what_keeps_the_gate_shut_is_marked_and_explained(tmp_path):
    place = Place(tmp_path, FakeGates(two_runs="failed"))
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        assert "5 steps in two fresh processes" in place.text("#item")
        assert "(Enter: all of it)" in place.text("#item")
        await pilot.press("tab", "tab", "enter")
        assert place.screen._entry.item.name == "two_runs"


async def test_a_slow_check_holds_up_no_key(tmp_path):
    place = Place(tmp_path)
    waiting, go_on = threading.Event(), threading.Event()

    class Slow(FakeGates):
        def __call__(self, *given, **listeners):
            gate = super().__call__(*given, **listeners)
            run = gate.run
            gate.run = lambda: (waiting.set(), go_on.wait(60), run())[-1]
            gate.now = {"two_runs": "open"}
            return gate

    place.planner._make_gate = Slow()
    async with place.app.run_test(size=SIZE) as pilot:
        await until(pilot, waiting.is_set)
        await place.set(pilot, "seed", "7")
        assert place.value("seed") == 7
        go_on.set()


async def test_groups_open_and_shut(tmp_path):
    place = Place(tmp_path)
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        await place.to(pilot, "monitoring")
        count = len(place.screen._editor._fields)
        await pilot.press("enter")
        assert len(place.screen._editor._fields) == count + 5
        await pilot.press("enter")
        assert len(place.screen._editor._fields) == count


@pytest.mark.parametrize("pane", ["form", "views", "gate"])
async def test_a_narrow_terminal_shows_the_panel_that_has_the_focus(tmp_path, pane):
    place = Place(tmp_path)
    async with place.app.run_test(size=(80, 24)) as pilot:
        await place.checked(pilot)
        while not place.screen.has_class(f"-show-{pane}"):
            await pilot.press("tab")
            await pilot.pause()
        shown = [name for name in ("form", "views", "gate") if place.screen.query_one(f"#{name}").size.width]
        assert shown == [pane]


async def test_the_help_of_the_plan_names_no_key_twice(tmp_path):
    place = Place(tmp_path)
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        await pilot.press("question_mark")
        assert isinstance(place.screen, Help)
        keys = [
            key for group in place.screen._groups.values() for item in group for key in item.key.split(",")
        ]
        assert len(keys) == len(set(keys))
        assert "p" not in keys  # there is no run to pause


async def test_answers_go_with_the_run_where_no_file_can_keep_them(tmp_path):
    place = Place(tmp_path)
    async with place.app.run_test(size=SIZE) as pilot:
        await place.checked(pilot)
        place.planner.view = replace(
            place.view, trouble="gates.yaml cannot be written", checklist=plans.checklist(splits="waived")
        )
        await pilot.press("f2")
        await until(pilot, lambda: place.begun)
    gates = place.begun[0].config.gates
    assert gates.waive == {"splits": "it is a test"}
    assert gates.sign["target_metric"] == plans.EVIDENCE["target_metric"]


def test_messages_are_kept_apart_from_what_is_told_later(tmp_path):
    place = Place(tmp_path)
    place.planner._heard(0, MappingProxyType({"kind": "steps", "steps": 5}))
    assert dict(place.view.messages) == {}
