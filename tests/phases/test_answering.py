"""What a person answers to a gate after a run is kept with the gate and told in the reports."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.phases.trained_runs import train_run
from tui_trainer.phases.after_baseline import judge_baseline
from tui_trainer.phases.after_diagnosis import complete_diagnosis
from tui_trainer.phases.answering import sign_item, waive_item, with_waivers
from tui_trainer.phases.gate import Checklist
from tui_trainer.phases.gate_book import GATES_YAML


@pytest.fixture
def short(tmp_path: Path) -> Path:
    return train_run(tmp_path / "short", training={"epochs": 1})


def state(checklist: Checklist, name: str) -> str:
    return next(entry.finding.state for entry in checklist.entries if entry.item.name == name)


def kept(run: Path, gate: str) -> dict[str, dict[str, str]]:
    content = yaml.safe_load((run.parent / GATES_YAML).read_text())
    items: dict[str, dict[str, str]] = content["gates"][gate]["items"]
    return items


def test_a_signed_decision_stands_in_the_gate_and_holds_when_it_is_judged_again(short: Path) -> None:
    checklist = judge_baseline(short).checklist
    assert state(checklist, "decision") == "open"
    signed = sign_item(short, checklist, "decision", "One epoch was the plan.")
    assert state(signed, "decision") == "signed"
    assert kept(short, "post_baseline")["decision"]["reason"] == "One epoch was the plan."
    assert state(judge_baseline(short).checklist, "decision") == "signed"


def test_a_waiver_keeps_what_was_found_and_stands_in_the_report(short: Path) -> None:
    checklist = judge_baseline(short).checklist
    found = next(entry for entry in checklist.entries if entry.item.name == "loss_fell")
    assert found.finding.state == "failed"  # one epoch: nothing to compare
    waived = waive_item(short, checklist, "loss_fell", "One epoch was the plan.")
    entry = next(entry for entry in waived.entries if entry.item.name == "loss_fell")
    assert (entry.finding.state, entry.finding.evidence) == ("waived", found.finding.evidence)
    assert "One epoch was the plan." in (short / "baseline_results.md").read_text()
    assert state(judge_baseline(short).checklist, "loss_fell") == "waived"


def test_a_waiver_of_the_diagnosis_stands_in_its_report(
    trained: Callable[[str], Path], tmp_path: Path
) -> None:
    run = shutil.copytree(trained("overfitting"), tmp_path / "overfitting")
    diagnosis, checklist = complete_diagnosis(run)
    waive_item(run, checklist, "causes", "The cause is known: it is the data.")
    told = with_waivers(run, diagnosis)
    assert [(item.gate, item.item) for item in told.waivers] == [("diagnostics_complete", "causes")]
    assert "The cause is known" in (run / "diagnostic_report.md").read_text()
