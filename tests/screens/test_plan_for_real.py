"""From the plan to a diagnosed baseline, keys only: real checks in processes of their own, a real run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml
from fake_run import InlinePainter, until
from pty_session import Session

from tests.runs import WAIVED
from tui_trainer.phases.baseline import open_baseline
from tui_trainer.screens.app import MLTrainerApp
from tui_trainer.screens.diagnose import DiagnoseScreen
from tui_trainer.screens.dialogs import Ask
from tui_trainer.screens.planner import Planner
from tui_trainer.session.launching import Options, config_to_plan


async def test_digits_from_the_plan_to_the_diagnosis_and_the_next_plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = Options(
        output_dir=tmp_path / "run", overrides=("data.batch_size=64", "gates.sign={target_metric: x}")
    )

    def begin(loaded):
        session = open_baseline(
            Options(output_dir=options.output_dir, planned=loaded), interactive=True, ignored=frozenset()
        )
        session.start()
        return session

    planner = Planner(lambda: config_to_plan(options), begin)
    app = MLTrainerApp(None, painter=InlinePainter(), planner=planner, run_roots=(tmp_path,))
    async with app.run_test(size=(120, 34)) as pilot:
        await until(
            pilot, lambda: planner.view.checklist is not None and app.screen._editor.marked is not None
        )
        await pilot.press("home")
        while app.screen._editor.marked.key != "training.epochs":
            await pilot.press("down")
        await pilot.press("enter", "end", "backspace", "backspace", "1", "enter")
        assert planner.view.loaded.config.training.epochs == 1
        await pilot.press("s", *"a test", "enter")
        await until(pilot, lambda: planner.view.passed and not planner.view.checking, 240)
        assert planner.view.messages["model"]["parameters"] == 9610
        await pilot.press("ctrl+s", "enter")
        await until(pilot, (tmp_path / "config.yaml").exists)
        await pilot.press("f2")
        await until(pilot, lambda: app.view.is_over, 240)
        assert app.view.status == "completed"
        after = app.phases.after
        await until(pilot, lambda: after.diagnoser.view.checklist is not None, 240)
        assert after.judge.view.decision.route == "diagnose"  # one epoch falls short
        await pilot.pause()
        await pilot.press("s", *"more epochs", "enter")
        await until(pilot, lambda: not any(e.item.signed for e in after.judge.view.checklist.missing))
        await pilot.press("f3")
        await pilot.pause()
        assert isinstance(app.screen, DiagnoseScreen)
        changes = app.screen._view.recommendations[0].changes
        await pilot.press("1", "f1")
        await until(pilot, lambda: planner.view.unsaved)
        assert planner.view.run == "none"
        await pilot.press("f2", "q")
        await pilot.pause()
        assert isinstance(app.screen, Ask)  # what was carried is not saved
        await pilot.press("y")
        await until(pilot, lambda: app.return_value is not None)
    for key, change in changes.items():
        value = planner.view.loaded.config.model_dump(by_alias=True)
        for part in key.split("."):
            value = value[part]
        assert value == change["to"]
    for name in ("baseline_results.md", "diagnostic_report.md", "optimization_config.yaml"):
        assert (tmp_path / "run" / name).is_file()
    run = yaml.safe_load((tmp_path / "run" / "training_config.yaml").read_text())
    assert run["training"]["epochs"] == 1
    saved = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert saved["training"] == {"epochs": 1}
    gates = yaml.safe_load((tmp_path / "gates.yaml").read_text())["gates"]
    assert gates["post_baseline"]["items"]["decision"]["reason"] == "more epochs"
    assert gates["diagnostics_complete"]["items"]["primary_issue"]["state"] == "passed"
    gate = gates["reproducibility"]
    assert gate["passed"]
    assert gate["items"]["intended_use"]["reason"] == "a test"
    assert gate["items"]["two_runs"]["state"] == "passed"


def _app(tmp_path: Path, *words: str) -> Session:
    command = [sys.executable, "-m", "tui_trainer", *words, "--output-dir", str(tmp_path / "run")]
    command += ["--set", "training.epochs=1", "--set", "data.batch_size=64"]
    return Session(tmp_path, command=command, XDG_CONFIG_HOME=str(tmp_path), OMP_NUM_THREADS="1")


def test_the_program_opens_on_the_plan_and_leaves_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = _app(tmp_path)
    try:
        app.until(rb"Checking")
        app.type(b"q")
        app.until(rb"1049l")
        assert app.process.wait(timeout=60) == 0
    finally:
        app.close()
    assert not (tmp_path / "run").exists()


def test_mode_baseline_goes_straight_to_the_training_where_the_gate_is_passed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = _app(tmp_path, "--mode", "baseline", *WAIVED)
    try:
        app.until(rb"complete")
        app.type(b"q")  # while the run is being looked at
        app.until(rb"Training complete")
        assert app.process.wait(timeout=60) == 0
    finally:
        app.close()
    assert "post_baseline" in json.loads((tmp_path / "run" / "run.json").read_text())["gates"]


def test_mode_baseline_opens_the_plan_where_the_gate_is_not_passed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = _app(tmp_path, "--mode", "baseline")
    try:
        app.until(rb"F2 begins the baseline", 240)
        app.type(b"\x1bOQ")
        app.until(rb"complete", 240)
        app.type(b"q")
        app.until(rb"Training complete")
        assert app.process.wait(timeout=60) == 0
    finally:
        app.close()
