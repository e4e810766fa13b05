"""The fault suite itself works: faults are found, healthy runs are quiet, figures are right. The whole runs as a benchmark."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch

from benchmarks.diagnostics import command, detection, faults, healthy, injections, repair
from benchmarks.diagnostics.case import Case
from tui_trainer.config.loading import parse_config
from tui_trainer.diagnostics.registry import CODES

CASES = {case.name: case for case in [*faults.cases(), *healthy.cases()]}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_every_code_is_injected_and_half_of_the_cases_are_held_out():
    faulty, good = faults.cases(), healthy.cases()
    assert len({case.name for case in [*faulty, *good]}) == len(faulty) + len(good)
    assert {case.code for case in faulty} == set(CODES)
    assert len(faulty) >= 150
    assert len(good) >= 150
    for some in (faulty, good):
        assert abs(sum(case.held_out for case in some) / len(some) - 0.5) < 0.05
    for code, held in Counter(case.code for case in faulty if case.held_out).items():
        assert held >= 2, code
    assert all(case.code in case.expected for case in faulty)


def test_every_config_is_valid():
    for case in CASES.values():
        parse_config(case.config)


@pytest.mark.parametrize(
    "name", ["nan_in_loss/blobs-1003", "nan_in_rows/wine-1702", "user_code_raises/blobs-1942"]
)
def test_a_fault_is_found(name):
    record = detection.measure(CASES[name])
    assert not record["invalid"]
    assert record["found"] == record["code"]
    assert not record["troubles"]


def test_a_healthy_run_is_quiet_and_learned(tmp_path):
    assert command.main(["--only", "adam/wine-1", "--record", str(tmp_path / "runs.jsonl")]) == 0
    record = json.loads((tmp_path / "runs.jsonl").read_text())
    assert not record["invalid"]
    assert record["best"] > 0.9
    assert record["false"] == []


def test_a_healthy_case_that_does_not_learn_and_a_fault_that_does_no_harm_do_not_count():
    case = CASES["adam/wine-1"]
    lazy = Case(
        **{**vars(case), "config": case.config | {"optimizer": {"target": "sgd", "learning_rate": 1e-9}}}
    )
    harmless = Case(**{**vars(case), "code": "overfitting", "check": CASES["wrong_labels/wine-1623"].check})
    for broken in (lazy, harmless):
        assert detection.measure(broken)["invalid"]


def test_a_repair_costs_what_was_thrown_away_and_the_steps_of_its_range_test():
    case = CASES["rate_next_to_nothing/cancer-1525"]
    record = repair.measure(case)
    assert record["fixes"] == ["find_lr"]
    assert record["repaired"]
    told, epochs, steps = (
        4,
        12,
        15,
    )  # in epoch 4; then a whole run of 12 epochs of 15 steps; the test takes up to 103
    assert (told + epochs + 30 / steps) / epochs < record["cost"] <= (told + epochs + 103 / steps) / epochs


def test_no_injected_value_reaches_weights_or_checkpoints():
    result = injections.inject(30, seed=1)
    assert result["injected"] == 30
    assert injections.faults_of(result) == []


def test_an_injection_that_came_through_is_seen():
    """The comparison itself: a model whose weights change at a bad step is told."""
    weight = torch.zeros(2)
    plan = injections.Plan({1: ("loss", float("nan"))})
    plan.begin([weight])
    weight += 1
    plan.check([weight])
    assert plan.touched == [1]


def test_intervals_are_wilsons():
    assert detection.wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-3)
    assert detection.wilson(19, 20) == pytest.approx((0.7639, 0.9911), abs=1e-3)
    assert detection.wilson(0, 0) == (0, 1)


def test_what_random_search_may_spend_is_what_the_repair_spent(monkeypatch):
    spent = []

    def train(config):
        spent.append(config["training"]["epochs"])
        return detection.run(CASES["nan_in_rows/wine-1702"])  # trains nothing, reaches nothing

    monkeypatch.setattr(repair, "run_config", train)
    reached, trials = repair._search(CASES["rate_far_too_high/blobs-1104"], 0.9, 5)
    assert not reached
    assert trials == len(spent) == 5, "each try costs an epoch at least"
    assert spent == [5, 4, 3, 2, 1]
