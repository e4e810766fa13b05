"""`mltrainer-tui diagnose RUN`: the rules over a folder say what they said while it trained."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs import ENVIRONMENT
from tests.session.test_fixes import applied
from tests.session.test_roll_back import Watched, _one_thread  # noqa: F401 (a fixture)
from tui_trainer.config.errors import RunFolderError
from tui_trainer.engine.events import DiagnosticRaised
from tui_trainer.session.diagnosing import diagnose_run, diagnosis_lines

HOT = {
    "data": {"target": "diabetes"},
    "model": {"target": "mlp"},
    "optimizer": {"target": "sgd", "learning_rate": 1.0},
    "training": {"epochs": 4},
}


def test_a_folder_is_judged_as_the_run_was(tmp_path: Path) -> None:
    session = Watched(tmp_path / "run", {}, **HOT)
    session.train(exit_code=1)
    live = [item for item in session.seen if isinstance(item, DiagnosticRaised) and item.code == "nan_loss"]
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "run").iterdir())
    found = [item for item in diagnose_run(tmp_path / "run").found if item.code == "nan_loss"]
    assert [(item.message, item.evidence) for item in found] == [(live[-1].message, live[-1].evidence)]
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "run").iterdir()) == before


def test_what_a_fix_took_back_counts_no_more_and_stays_on_record(tmp_path: Path) -> None:
    alone = {"on_trigger": "fix", "disabled": ["exploding_gradients"]}
    session = Watched(tmp_path / "run", {}, **HOT, diagnostics=alone)
    session.train()
    assert applied(session)
    diagnosis = diagnose_run(tmp_path / "run")
    assert "nan_loss" not in {item.code for item in diagnosis.found}
    (kept,) = [item for item in diagnosis.recorded if item.code == "nan_loss"]
    assert kept.applied == "lower_lr_10_clip"
    assert diagnosis.epochs == 4
    assert any("[applied]" in line and "1.0 → 0.1" in line for line in diagnosis_lines(diagnosis))
    done = subprocess.run(
        [sys.executable, "-m", "tui_trainer", "diagnose", str(tmp_path / "run"), "--json"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    assert {item["code"] for item in told["diagnostics"]} == {
        item.code for item in (*diagnosis.found, *diagnosis.recorded)
    }


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="holds no run"):
        diagnose_run(tmp_path)


def test_rules_of_ones_own_are_found_where_the_config_lay(tmp_path: Path) -> None:
    rule = (
        "from tui_trainer.diagnostics.rule import Problem, Rule\n"
        "class Mine(Rule):\n"
        "    code = 'mine'\n"
        "    def on_epoch(self, history):\n"
        "        return Problem('warning', 'It is mine.')\n"
    )
    (tmp_path / "rule_of_mine.py").write_text(rule)
    Watched(
        tmp_path / "run", {}, diagnostics={"rules": ["rule_of_mine:Mine"]}, training={"epochs": 1}
    ).train()
    ask = (
        "import sys; from pathlib import Path; from tui_trainer.session.diagnosing import diagnose_run\n"
        "print([item.code for item in diagnose_run(Path(sys.argv[1])).found])"
    )
    done = subprocess.run(  # a process that has not imported the rule yet
        [sys.executable, "-c", ask, str(tmp_path / "run")],
        env=ENVIRONMENT,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "mine" in done.stdout, done.stderr
