"""`--mode plan | diagnose | all` as scripts use them: exit codes, artifacts, what is said."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.runs import train
from tests.session.processes import LiveRun
from tui_trainer.config.loading import load_config

CONFIG: dict[str, Any] = {
    "name": "moded",
    "data": {"target": "digits", "batch_size": 16},
    "model": {"target": "mlp", "args": {"hidden": [32]}},
    "training": {"epochs": 3},
    "targets": {"metric": "val_accuracy", "at_least": 0.5},
    "gates": {"sign": {"intended_use": "a test", "target_metric": "0.5", "decision": "as routed"}},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """`--mode all` from an empty folder, once: its folder, its JSON, what it said."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "c.yaml").write_text(yaml.safe_dump(CONFIG))
    done = train(
        "--config", "c.yaml", "--mode", "all", "--output-dir", "project", "--json", cwd=folder, gate=True
    )
    return folder, json.loads(done.stdout), done.stderr


def test_all_goes_from_plan_to_the_last_phase_there_is(whole: tuple[Path, dict[str, Any], str]) -> None:
    folder, summary, said = whole
    project = folder / "project"
    assert [item["phase"] for item in summary["phases"]] == ["baseline", "diagnose"]
    assert summary["phases"][0]["route"] == "finalize"
    assert summary["phases"][1]["decision"] == "deploy"
    gates = yaml.safe_load((project / "gates.yaml").read_text())["gates"]
    assert {name: gate["passed"] for name, gate in gates.items()} == {
        "reproducibility": True,
        "post_baseline": True,
        "diagnostics_complete": True,
    }
    for name in ("training_config.yaml", "reproducibility_manifest.md", "01-baseline/baseline_results.md",
                 "01-baseline/diagnostic_report.md", "reproducibility/requirements.txt"):  # fmt: skip
        assert (project / name).is_file(), name
    assert not (folder / "gates.yaml").exists()
    order = ["[GATE] Reproducibility: passed", "Training complete", "[GATE] After the baseline: passed",
             "[ROUTE] Phase 5", "[PHASE] 3 Diagnose", "[DECISION] deploy", "5 Finalize: not part of"]  # fmt: skip
    places = [said.index(words) for words in order]
    assert places == sorted(places)


def test_a_second_call_goes_on_where_the_first_ended(whole: tuple[Path, dict[str, Any], str]) -> None:
    folder, _, _ = whole
    arguments = ("--config", "c.yaml", "--mode", "all", "--output-dir", "project", "--resume", "auto")
    done = train(*arguments, cwd=folder, gate=True)
    assert "is finished (completed): nothing to do" in done.stderr
    assert "[DECISION] deploy" in done.stderr


def test_diagnose_builds_on_a_run(whole: tuple[Path, dict[str, Any], str]) -> None:
    folder, _, _ = whole
    done = train("--mode", "diagnose", "--run", "project/01-baseline", "--json", cwd=folder, gate=True)
    diagnosis = json.loads(done.stdout)
    assert diagnosis["decision"] == "deploy"
    assert 3 <= len(diagnosis["recommendations"]) <= 5
    assert load_config(folder / "project" / "01-baseline" / "optimization_config.yaml").config.name == "moded"


def test_a_finished_baseline_is_signed_later(whole: tuple[Path, dict[str, Any], str]) -> None:
    folder, _, _ = whole
    again = ("--config", "c.yaml", "--output-dir", "project/01-baseline", "--resume", "auto", "--json")
    done = train(*again, "--sign", "decision=on second thoughts", cwd=folder, gate=True)
    record = json.loads((folder / "project" / "01-baseline" / "run.json").read_text())
    assert record["gates"]["post_baseline"]["decision"]["state"] == "signed"
    assert "[GATE] signed decision: on second thoughts" in done.stderr


def test_diagnose_without_a_run_says_what_to_do(tmp_path: Path) -> None:
    done = train("--mode", "diagnose", cwd=tmp_path, expect=2, gate=True)
    assert "Name one with --run" in done.stderr


def test_plan_earns_the_gate_and_trains_nothing(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(CONFIG | {"gates": {}}))
    done = train("--config", "c.yaml", "--mode", "plan", "--json", cwd=tmp_path, expect=3, gate=True)
    items = json.loads(done.stdout)["gates"]["reproducibility"]["items"]
    assert items.pop("intended_use") == items.pop("target_metric") == "open"
    assert set(items.values()) <= {"passed", "not_applicable"}
    signed = ("--sign", "intended_use=a test", "--sign", "target_metric=0.5")
    done = train("--config", "c.yaml", "--mode", "plan", *signed, cwd=tmp_path, gate=True)
    assert (tmp_path / "reproducibility_manifest.md").is_file()
    assert not (tmp_path / "checkpoints").exists()


HANGING = """
import time
from pathlib import Path

def make():
    Path("here").touch()
    time.sleep(600)
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_signal_during_the_checks_leaves_nothing_behind(tmp_path: Path, number: int, code: int) -> None:
    (tmp_path / "hanging.py").write_text(HANGING)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(CONFIG | {"data": {"target": "hanging:make"}}))
    run = LiveRun(tmp_path / "run", "--config", "c.yaml", "--json", cwd=tmp_path, gate=True)
    run.until((tmp_path / "here").exists)
    run.process.send_signal(number)
    printed = run.end(code)
    if code > 0:
        assert json.loads(printed)["exit_code"] == code
        assert not (tmp_path / "run").exists()
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(CONFIG | {"training": {"epochs": 1}}))
    train("--config", "c.yaml", "--output-dir", "run", cwd=tmp_path)


@pytest.mark.parametrize("mode", ["optimize", "finalize"])
def test_phases_to_come_say_so(tmp_path: Path, mode: str) -> None:
    done = train("--mode", mode, cwd=tmp_path, expect=1, gate=True)
    assert "is not part of this version yet" in done.stderr
