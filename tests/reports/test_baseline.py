"""The baseline report: its numbers are the files' numbers, and it is written whatever the files hold."""

from __future__ import annotations

import csv
import json
import math
import re

import pytest
import run_folder
import sample_run as sample

from tui_trainer.reports.baseline import write_baseline_results
from tui_trainer.reports.decision import decide
from tui_trainer.reports.run_files import read_run
from tui_trainer.session.wording import format_metric


def test_the_numbers_are_those_of_the_files(tmp_path):
    folder = run_folder.write_run(tmp_path / "run")
    text = write_baseline_results(folder).read_text(encoding="utf-8")
    with (folder / "epoch_metrics.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    for name in ("train_loss", "val_loss", "train_accuracy", "val_accuracy"):
        assert format_metric(name, float(last[name])) in text
    manifest = json.loads((folder / "checkpoints" / "manifest.json").read_text())["files"]
    for name, entry in manifest.items():
        row = next(line for line in text.splitlines() if f"checkpoints/{name}" in line)
        assert entry["sha256"] in row
        assert "121.3 kB" in row
    assert "**Final epoch**: 20/20 (completed)" in text
    assert "down by 96.7%" in text
    assert "**Performance: ACCEPTABLE**" in text


def test_it_has_the_picture_and_the_text_plot(tmp_path):
    folder = run_folder.write_run(tmp_path / "run")
    text = write_baseline_results(folder).read_text(encoding="utf-8")
    assert (folder / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
    assert "![Learning curves](learning_curves.png)" in text
    assert len(re.findall("```text\n", text)) == 2


def test_early_stopping_is_said(tmp_path):
    folder = run_folder.write_run(
        tmp_path / "run", epochs=15, summary={"status": "early_stopped", "best_epoch": 5}
    )
    text = write_baseline_results(folder).read_text(encoding="utf-8")
    assert "**Final epoch**: 15/20 (early stopped)" in text
    assert "(epoch 5)" in text


def test_a_missed_target_leads_to_diagnosis(tmp_path):
    target = {"targets": {"metric": "val_accuracy", "at_least": 0.99}}
    decision = decide(read_run(run_folder.write_run(tmp_path / "run", config=target)))
    assert decision.verdict == "INSUFFICIENT"
    assert decision.reasons[0] == "Target missed: best val_accuracy 97.5%, asked for at least 99.0%."


def test_without_a_target_it_does_not_judge(tmp_path):
    files = read_run(run_folder.write_run(tmp_path / "run", config={"targets": None}))
    assert decide(files).verdict == "NOT JUDGED"


def test_a_non_finite_loss_is_a_failure_and_is_shown(tmp_path):
    folder = run_folder.write_run(
        tmp_path / "run", rows={4: {"train_loss": math.nan}, 5: {"val_loss": math.inf}}
    )
    text = write_baseline_results(folder).read_text(encoding="utf-8")
    assert "2 non-finite" in text
    assert "**Performance: FAILED**" in text
    assert "The training loss was not finite in epoch 4." in text


def test_diagnostics_and_applied_fixes_are_listed_once(tmp_path):
    event = sample.diagnostic(applied="lower_lr", message="loss | became <b>NaN</b>")
    item = {
        name: getattr(event, name) for name in ("id", "code", "severity", "epoch", "step", "message", "fixes")
    }
    later = item | {"applied": "lower_lr", "playbook": "diagnostics/nan_loss.md"}
    folder = run_folder.write_run(tmp_path / "run", diagnostics=[item, later])
    text = write_baseline_results(folder).read_text(encoding="utf-8")
    assert text.count("**nan_loss**") == 1
    assert "fix applied: Learning rate ÷ 10" in text
    assert "loss \\| became &lt;b>" in text


def test_an_empty_folder_still_gets_a_report(tmp_path):
    text = write_baseline_results(tmp_path).read_text(encoding="utf-8")
    assert "Missing or damaged, and therefore not reported: run.json" in text
    assert "None was saved." in text


@pytest.mark.parametrize("name", ["summary.json", "epoch_metrics.csv", "training_config.yaml", "run.json"])
def test_a_damaged_file_costs_only_itself(tmp_path, name):
    folder = run_folder.write_run(tmp_path / "run")
    (folder / name).write_bytes(b"\xff\xfe{: [torn")
    write_baseline_results(folder)
