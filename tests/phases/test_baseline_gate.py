"""The gate after a baseline: each item's verdict from a run's files, and the real thing on a tiny run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.runs import train
from tui_trainer.phases import baseline_checks as checks
from tui_trainer.phases.after_baseline import judge_baseline
from tui_trainer.phases.examination import Recheck
from tui_trainer.reports.run_files import RunFiles

CONFIG = {
    "name": "gated",
    "data": {"target": "digits", "batch_size": 64},
    "model": {"target": "mlp", "args": {"hidden": [8]}},
    "training": {"epochs": 2},
    "targets": {"metric": "val_accuracy", "at_least": 0.01},
    "gates": {"sign": {"intended_use": "a test", "target_metric": "0.2", "decision": "as routed"}},
}


def files(
    rows: list[dict[str, float | None]] | None = None, config: dict[str, Any] | None = None, **summary: Any
) -> RunFiles:
    return RunFiles(
        folder=Path("nowhere"),
        run={},
        summary=summary,
        config=config or {},
        epochs=[{"epoch": float(number), **row} for number, row in enumerate(rows or [], 1)],
        checkpoints={},
        diagnostics=[],
        missing=(),
    )


@pytest.mark.parametrize(
    ("status", "state"),
    [("completed", "passed"), ("early_stopped", "passed"), ("failed", "failed"), ("interrupted", "failed")],
)
def test_how_it_ended(status: str, state: str) -> None:
    assert checks.completed(files(status=status)).state == state


@pytest.mark.parametrize(
    ("losses", "state", "said"),
    [
        ([2.0, 1.0, 0.5], "passed", "by 75%"),
        ([2.0, 1.9], "passed", "by 5%; less than 20% is little"),
        ([2.0, 2.1, 2.0], "failed", "never fell"),
        ([-1.0, -2.0], "passed", "from -1"),
        ([2.0], "failed", "not two epochs"),
        ([2.0, math.nan, 1.0], "passed", "by 50%"),
    ],
)
def test_whether_the_loss_fell(losses: list[float], state: str, said: str) -> None:
    finding = checks.loss_fell(files([{"train_loss": value} for value in losses]))
    assert finding.state == state
    assert said in finding.evidence


def test_a_loss_that_was_not_finite_is_named() -> None:
    finding = checks.finite(
        files([{"train_loss": 1.0, "val_loss": 1.0}, {"train_loss": 0.5, "val_loss": math.inf}])
    )
    assert finding.state == "failed"
    assert "val_loss in epoch 2" in finding.evidence
    assert checks.finite(files([{"train_loss": 1.0, "val_loss": 1.0}])).state == "passed"
    assert checks.finite(files()).state == "failed"


@pytest.mark.parametrize(
    ("seconds", "summary", "state"),
    [
        (2.0, {"gpu_util": 5.0}, "not_applicable"),
        (20.0, {"gpu_util": 75.0}, "passed"),
        (20.0, {"gpu_util": 57.0}, "failed"),
        (20.0, {"gpu_util": 45.0}, "failed"),
        (20.0, {"data_wait": 0.1}, "passed"),
        (20.0, {"data_wait": 0.6}, "failed"),
        (20.0, {}, "not_applicable"),
    ],
)
def test_whether_the_device_was_busy(seconds: float, summary: dict[str, float], state: str) -> None:
    assert checks.utilization(files([{"epoch_time": seconds}] * 3, **summary)).state == state


def test_epochs_that_take_the_same_time_the_first_left_out() -> None:
    assert (
        checks.steady(files([{"epoch_time": value} for value in (90.0, 20.0, 21.0, 19.0)])).state == "passed"
    )
    assert (
        checks.steady(files([{"epoch_time": value} for value in (20.0, 20.0, 20.0, 30.0)])).state == "failed"
    )
    assert (
        checks.steady(files([{"epoch_time": value} for value in (1.0, 9.0, 1.0)])).state == "not_applicable"
    )


def test_checkpoints_that_do_not_hold_what_they_say() -> None:
    good = Recheck("best_model.pt", 1, True, "", {"val_loss": 1.0}, {"val_loss": 1.0})
    last = Recheck("last_model.pt", 2, True, "", {}, {})
    bad = Recheck("last_model.pt", 2, False, "val_loss 1.0 recorded, 2.0 measured", {}, {})
    assert checks.checkpoints(files(), [good, last]).state == "passed"
    assert "2.0 measured" in checks.checkpoints(files(), [good, bad]).evidence
    assert "last_model.pt is not there" in checks.checkpoints(files(), [good]).evidence
    alone = files(config={"checkpoint": {"save_last": False}})
    assert checks.checkpoints(alone, [good]).state == "passed"


def test_a_run_is_judged_by_its_files_and_its_report_tells(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(CONFIG))
    arguments = ("--config", "c.yaml", "--output-dir", "run", "--waive", "two_runs=slow", "--json")
    done = train(*arguments, cwd=tmp_path, gate=True)
    assert json.loads(done.stdout) == json.loads((tmp_path / "run" / "summary.json").read_text())
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    items = record["gates"][checks.GATE]
    assert items["checkpoints"]["state"] == "passed"
    assert items["utilization"]["state"] == "not_applicable"
    assert record["route"] == "finalize"
    assert "[ROUTE] Phase 5 (Finalize)" in done.stderr
    report = (tmp_path / "run" / "baseline_results.md").read_text()
    assert "| Every checkpoint loads and reproduces its metrics | passed |" in report
    assert "- **two_runs** (reproducibility): slow" in report
    stored = yaml.safe_load((tmp_path / "gates.yaml").read_text())["gates"][checks.GATE]
    assert stored["passed"]
    assert stored["run"].endswith("run")
    assert stored["items"]["decision"]["reason"] == "as routed"


def test_a_periodic_checkpoint_that_was_deleted_shuts_the_gate(tmp_path: Path) -> None:
    config = CONFIG | {"checkpoint": {"checkpoint_every_n_epochs": 1}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    train("--config", "c.yaml", "--output-dir", "run", "--waive", "two_runs=slow", cwd=tmp_path, gate=True)
    run = tmp_path / "run"
    assert judge_baseline(run).checklist.passed
    (run / "checkpoints" / "checkpoint_epoch_1.pt").unlink()
    checklist = judge_baseline(run).checklist
    assert [entry.item.name for entry in checklist.missing] == ["checkpoints"]
    assert "checkpoint_epoch_1.pt" in checklist.missing[0].finding.evidence
