"""From the end of a run to the next one: it is judged, diagnosed, and what was found goes into the next plan."""

from __future__ import annotations

import threading
from dataclasses import replace

import sample_diagnoses
import sample_gates
import sample_run as sample
from fake_run import FakeRun, InlinePainter, settle, until
from run_folders import finished
from sample_plan import FakeGates

from tui_trainer.config.loading import load_config
from tui_trainer.screens.app import MLTrainerApp
from tui_trainer.screens.baseline import BaselineScreen
from tui_trainer.screens.diagnose import DiagnoseScreen
from tui_trainer.screens.dialogs import Ask
from tui_trainer.screens.plan import PlanScreen
from tui_trainer.screens.planner import Planner

SIZE = (120, 34)
CHANGES = {"optimizer.weight_decay": {"from": 0.0, "to": 0.0001}, "training.epochs": {"from": 20, "to": 5}}


class Place:
    """The app with a planned run that is over as soon as it has begun; judge and diagnosis find what is given."""

    def __init__(self, folder):
        self.file = folder / "config.yaml"
        self.file.write_text(load_config(None).text)
        self.folder = folder
        self.begun = []
        self.runs = []
        self.go = threading.Event()
        self.go.set()
        self.planner = Planner(lambda: load_config(self.file), self.begin, gate=FakeGates())
        self.app = MLTrainerApp(None, painter=InlinePainter(), planner=self.planner)
        after = self.app.phases.after
        after.judge._judge, after.diagnoser._diagnose = self.judge, self.diagnose

    def begin(self, loaded):
        self.begun.append(loaded.config)
        folder = finished(self.folder / f"run-{len(self.begun)}")
        self.runs.append(FakeRun(sample.events(20), folder))
        return self.runs[-1]

    def judge(self, run):
        self.go.wait(60)
        return sample_gates.checklist(), sample_gates.SHORT

    def diagnose(self, run):
        found = replace(sample_diagnoses.OVERFITTING, run=run.name, name=run.name)
        return found, sample_diagnoses.checklist(found)

    @property
    def after(self):
        return self.app.phases.after

    async def planned(self, pilot):
        view = self.planner.view
        await until(pilot, lambda: self.planner.view.passed and not self.planner.view.checking)
        await pilot.pause()
        return view

    async def trained(self, pilot, number=1):
        """Begin the run, and wait until all that follows is done."""
        await self.planned(pilot)
        await pilot.press("f2")
        await until(pilot, lambda: len(self.begun) == number and self.app.view.is_over)
        await until(pilot, lambda: self.after.diagnoser.view.diagnosis is not None and not self.after.busy)
        await pilot.pause()


async def test_a_run_that_is_over_is_judged_and_diagnosed(tmp_path):
    place = Place(tmp_path)
    async with place.app.run_test(size=SIZE) as pilot:
        await place.trained(pilot)
        await until(pilot, lambda: place.app.screen.gate.display)
        await settle(pilot)
        shown = "\n".join(strip.text for strip in place.app.screen._compositor.render_strips())
        assert "1 item keeps the gate shut" in shown
        assert "INSUFFICIENT" in shown
        assert "F3 Diagnose ✓" in shown
        await pilot.press("f3")
        await pilot.pause()
        assert isinstance(place.app.screen, DiagnoseScreen)
        assert place.app.screen._view.diagnosis.run == "run-1"


async def test_a_folder_without_a_run_is_not_judged(tmp_path):
    run = FakeRun(sample.events(20), tmp_path)
    app = MLTrainerApp(lambda: run, painter=InlinePainter())
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.view.is_over)
        await settle(pilot)
        assert app.phases.after.judge.run is None
        assert not app.screen.gate.begun


async def test_the_diagnose_screen_opened_early_shows_what_comes(tmp_path):
    place = Place(tmp_path)
    place.go.clear()
    async with place.app.run_test(size=SIZE) as pilot:
        await place.planned(pilot)
        await pilot.press("f3")
        await pilot.pause()
        shown = "\n".join(strip.text for strip in place.app.screen._compositor.render_strips())
        assert "No run has been analysed yet." in shown
        await pilot.press("f1")
        await pilot.press("f2")
        await until(pilot, lambda: place.after.judge.view.busy)
        place.go.set()
        await until(pilot, lambda: place.after.diagnoser.view.diagnosis is not None)
        await pilot.press("f3")
        await pilot.pause()
        shown = "\n".join(strip.text for strip in place.app.screen._compositor.render_strips())
        assert "Overfitting" in shown


async def test_what_is_carried_stands_in_the_plan_of_the_next_run(tmp_path):
    place = Place(tmp_path)
    async with place.app.run_test(size=SIZE) as pilot:
        await place.trained(pilot)
        await pilot.press("f3")
        await pilot.pause()
        await pilot.press("1", "4")
        config = place.planner.view.loaded.config
        assert (config.optimizer.weight_decay, config.early_stopping.patience) == (0.0001, 5)
        assert place.planner.view.run == "none"
        assert place.planner.view.unsaved
        await pilot.press("f2")  # from here it still shows the run that was
        await pilot.pause()
        assert isinstance(place.app.screen, BaselineScreen)
        assert len(place.begun) == 1
        await pilot.press("f1")
        await pilot.pause()
        assert isinstance(place.app.screen, PlanScreen)


async def test_the_next_run_begins_from_the_plan_and_has_screens_of_its_own(tmp_path):
    place = Place(tmp_path)
    async with place.app.run_test(size=SIZE) as pilot:
        await place.trained(pilot)
        first = place.app.screen
        await pilot.press("f3")
        await pilot.pause()
        await pilot.press("1")
        await pilot.press("f1")
        await place.trained(pilot, 2)
        assert [config.optimizer.weight_decay for config in place.begun] == [0.0, 0.0001]
        assert place.app.screen is not first
        assert place.app.handle is place.runs[1]
        await until(pilot, lambda: place.after.judge.run.name == "run-2")
        await pilot.press("f3")
        await pilot.pause()
        assert place.app.screen._view.diagnosis.run == "run-2"
        assert not place.app.screen._view.holds(sample_diagnoses.WEIGHT_DECAY)  # it was for the run before


async def test_no_run_begins_while_the_last_one_is_looked_at(tmp_path):
    place = Place(tmp_path)
    async with place.app.run_test(size=SIZE) as pilot:
        await place.trained(pilot)
        assert place.app.phases.carry(CHANGES) is None
        await pilot.press("f1")
        await place.planned(pilot)
        place.go.clear()
        place.after.judge.again()
        await pilot.press("f2")
        await pilot.pause()
        assert len(place.begun) == 1
        assert isinstance(place.app.screen, PlanScreen)
        place.go.set()
        await until(pilot, lambda: not place.after.busy)
        await pilot.press("f2")
        await until(pilot, lambda: len(place.begun) == 2)


async def test_edits_that_were_carried_are_asked_for_before_leaving(tmp_path):
    place = Place(tmp_path)
    async with place.app.run_test(size=SIZE) as pilot:
        await place.trained(pilot)
        assert place.app.phases.carry(CHANGES) is None
        await pilot.press("q")
        await pilot.pause()
        assert isinstance(place.app.screen, Ask)
        await pilot.press("y")
        await pilot.pause()
        assert place.app.return_value.reason == "quit"


async def test_changes_are_carried_together_or_not_at_all(tmp_path):
    place = Place(tmp_path)
    async with place.app.run_test(size=SIZE) as pilot:
        await place.trained(pilot)
        before = place.planner.view.loaded.config
        problem = place.app.phases.carry(CHANGES | {"optimizer.learning_rat": {"from": 1, "to": 2}})
        assert "learning_rate" in problem
        assert place.planner.view.loaded.config == before
        assert place.planner.view.run == "over"


async def test_without_a_plan_there_is_nothing_to_carry_into(tmp_path):
    app = MLTrainerApp(None, painter=InlinePainter())
    assert "optimization_config.yaml" in app.phases.carry(CHANGES)
