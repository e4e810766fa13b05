"""`--mode all`: which phase follows which, and when it ends; trainings are stood in for."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.phases.after_baseline import Verdict
from tui_trainer.phases.baseline_checks import GATE, ITEMS, TITLE
from tui_trainer.phases.gate import Checklist, Entry, Finding
from tui_trainer.phases.headless import Result
from tui_trainer.phases.pipeline import Pipeline
from tui_trainer.reports.decision import Decision, Route
from tui_trainer.session.launching import Options


def checklist(**states: Any) -> Checklist:
    granted = {item.name: "signed" if item.signed else "passed" for item in ITEMS} | states
    return Checklist(GATE, TITLE, tuple(Entry(item, Finding(granted[item.name], "seen")) for item in ITEMS))


class World:
    """Baselines that end as `routes` say, one after the other."""

    decision = "optimize"

    def __init__(self, folder: Path, *routes: Route, gate: Checklist | None = None) -> None:
        self.folder, self.routes, self.gate = folder, list(routes), gate or checklist()
        self.trained: list[Options] = []
        self.said: list[str] = []

    def train(self, options: Options, project: Path) -> tuple[Result, Verdict | None]:
        assert project == self.folder
        self.trained.append(options)
        route = self.routes[len(self.trained) - 1]
        return Result(0, {"status": "completed"}), Verdict(self.gate, Decision("", "", ("why",), route))

    def diagnose(self, run: Path, _project: Path) -> dict[str, Any]:
        change = {"title": "lower", "changes": {"optimizer.learning_rate": {"from": 1.0, "to": 0.1}}}
        return {
            "decision": self.decision,
            "issue": {"code": "nan_loss"},
            "recommendations": [change],
            "run": run,
        }

    def run(self, **changes: Any) -> tuple[int, dict[str, Any]]:
        options = dataclasses.replace(Options(output_dir=self.folder, overrides=("seed=1",)), **changes)
        return Pipeline(options, train=self.train, diagnose=self.diagnose, say=self.said.append).run()


def test_a_baseline_that_meets_its_target_is_diagnosed_and_goes_on_to_phase_5(tmp_path: Path) -> None:
    world = World(tmp_path, "finalize")
    code, summary = world.run()
    assert code == 0
    assert [item["phase"] for item in summary["phases"]] == ["baseline", "diagnose"]
    assert world.trained[0].output_dir == tmp_path / "01-baseline"
    assert any("5 Finalize: not part of this version yet" in line for line in world.said)


def test_one_that_misses_it_goes_on_to_phase_4(tmp_path: Path) -> None:
    world = World(tmp_path, "diagnose")
    assert world.run()[0] == 0
    assert any("4 Optimize: not part of this version yet" in line for line in world.said)


def test_one_that_broke_is_repeated_with_the_first_recommendation_at_most_twice(tmp_path: Path) -> None:
    world = World(tmp_path, *["diagnose_and_repeat"] * 9)
    code, summary = world.run()
    assert code == 3
    assert [item.output_dir.name for item in world.trained if item.output_dir] == [
        "01-baseline",
        "02-baseline",
        "03-baseline",
    ]
    assert world.trained[1].overrides == ("seed=1", "optimizer.learning_rate=0.1")
    assert summary["exit_code"] == 3


def test_a_checkpoint_to_go_on_from_is_for_the_first_baseline(tmp_path: Path) -> None:
    world = World(tmp_path, "diagnose_and_repeat", "finalize")
    world.run(resume="some.pt")
    assert [item.resume for item in world.trained] == ["some.pt", None]


def test_auto_goes_on_with_the_newest_project_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for project, created in (("a", "2026-01-02"), ("b", "2026-01-01")):
        run = Path("checkpoints", project, "01-baseline")
        run.mkdir(parents=True)
        (run / "run.json").write_text(
            json.dumps({"id": project, "attempts": [], "name": "digits-baseline", "created": created})
        )
    world = World(Path("checkpoints/a"), "finalize")
    assert world.run(output_dir=None, resume="auto")[1]["project"] == "checkpoints/a"


def test_one_that_learned_nothing_is_repeated_whatever_its_route(tmp_path: Path) -> None:
    world = World(tmp_path, "diagnose", "diagnose", "diagnose")
    world.decision = "debug"
    assert world.run()[0] == 3
    assert len(world.trained) == 3


def test_one_that_was_mended_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path, "diagnose_and_repeat", "finalize")
    assert world.run()[0] == 0
    assert len(world.trained) == 2


@pytest.mark.parametrize("route", ["finalize", "diagnose"])
def test_phases_4_and_5_stay_shut_while_the_gate_is_not_passed(tmp_path: Path, route: Route) -> None:
    world = World(tmp_path, route, gate=checklist(checkpoints="failed"))
    code, _ = world.run()
    assert code == 3
    assert any("checkpoints" in line for line in world.said)


def test_a_missing_signature_ends_it_with_what_is_missing(tmp_path: Path) -> None:
    world = World(tmp_path, "finalize", gate=checklist(decision="open"))
    assert world.run()[0] == 3
    assert any("--sign decision=" in line for line in world.said)
