"""slow_convergence fires on a steady fall that leads nowhere in time, not on runs that slow down or have yet to start."""

from __future__ import annotations

import pytest

from tests.diagnostics.synthetic import NUMBERS, epoch, epochs, facts_of, raised, told

CODE = "slow_convergence"
CLASSES = facts_of(epochs=20)
CRAWLING = [2.30 - 0.005 * n for n in range(12)]


def test_a_steady_fall_that_is_far_too_slow() -> None:
    (found,) = told(CODE, CLASSES, epochs(CRAWLING, 0.15))
    assert found.epoch == 6, "after 30 % of the run"
    assert found.evidence["value"] == pytest.approx(0.005)
    assert found.evidence["value"] < found.evidence["threshold"]
    assert found.evidence["foreseen"] == pytest.approx(2.275 - 14 * 0.005)
    assert found.evidence["since_epoch"] == 1
    assert found.fixes[0]["id"] == "find_lr"
    assert found.fixes[0]["range_test"]


def test_the_same_pace_is_fine_where_there_are_epochs_enough() -> None:
    assert told(CODE, facts_of(epochs=1000), epochs(CRAWLING, 0.15)) == []


@pytest.mark.parametrize(
    "losses",
    [
        [2.3 * 0.8**n for n in range(12)],
        [2.3, 1.6, 1.5, 1.48, 1.475, 1.473, 1.472, 1.471, 1.471, 1.47],
        [1.62, 1.6, 1.61, 1.59, 1.6, 1.61, 1.6, 1.59, 1.6, 1.61],
        [2.30, 2.29, 2.28, 2.26, 2.22, 2.12, 1.9, 1.6, 1.2, 0.8],
    ],
    ids=["fast", "slowing down", "flat with noise", "gathering speed"],
)
def test_healthy_curves(losses: list) -> None:
    assert told(CODE, CLASSES, epochs(losses, 0.3)) == []


def test_the_pace_of_a_warm_up_is_yet_to_come() -> None:
    rising = [
        epoch(n + 1, loss, rate=1e-4 * (n + 1), train_accuracy=0.15) for n, loss in enumerate(CRAWLING[:8])
    ]
    assert told(CODE, CLASSES, rising) == []


def test_late_in_training_nothing_is_slow() -> None:
    assert told(CODE, CLASSES, epochs([0.5 - 0.002 * n for n in range(15)], 0.85)) == []


def test_where_little_can_be_learned_little_is_asked() -> None:
    weak = NUMBERS | {"trivial": {"val_mse": 1.0}, "zero": {"val_mse": 1.0}, "linear": {"val_r2": 0.1}}
    events = [epoch(n + 1, 0.99 - 0.004 * n, train_r2=0.01 + 0.004 * n) for n in range(12)]
    assert told(CODE, facts_of(context=weak), events) == []
    assert told(CODE, facts_of(context=weak | {"linear": {"val_r2": 0.9}}), events)


def test_a_regression_that_starts_far_off_and_crawls() -> None:
    events = [epoch(n + 1, 29000.0 - 150 * n, train_r2=-3.8) for n in range(10)]
    assert told(CODE, facts_of(context=NUMBERS), events)


def test_a_loss_without_a_scale_is_not_judged() -> None:
    theirs = facts_of(context={"task": "custom", "loss": "my.module:likelihood"}, metrics=())
    assert told(CODE, theirs, epochs([-1 - 0.001 * n for n in range(15)])) == []


def test_a_loss_of_the_user_s_own_proves_nothing_without_a_metric() -> None:
    own, theirs = (
        {"loss": {"target": "my_losses:two_players"}},
        {"task": "custom", "loss": "my_losses:two_players"},
    )
    (alone,) = told(CODE, facts_of(own, context=theirs, metrics=()), epochs(CRAWLING))
    (beside,) = told(CODE, facts_of(own, context=theirs, metrics=("f1",)), epochs(CRAWLING))
    (ours,) = told(CODE, facts_of(context=theirs | {"loss": "huber"}, metrics=()), epochs(CRAWLING))
    assert (alone.severity, beside.severity, ours.severity) == ("info", "warning", "warning")
    assert "no metric beside it" in alone.message
    assert "no metric beside it" not in beside.message


def test_a_schedule_that_took_the_rate_away_comes_first() -> None:
    decayed = facts_of({"scheduler": {"target": "exponential", "args": {"gamma": 0.1}}})
    events = [epoch(n + 1, loss, rate=10.0 ** (-n)) for n, loss in enumerate(CRAWLING)]
    (found,) = told(CODE, decayed, events)
    assert found.fixes[0]["id"] == "constant_lr"


def test_thresholds_can_be_set() -> None:
    assert told(CODE, CLASSES, epochs(CRAWLING, 0.15), {"learned": 0.01}) == []
    (found,) = told(CODE, CLASSES, epochs(CRAWLING, 0.15), {"part": 0.5})
    assert found.epoch == 10


def test_a_tiny_rate_is_seen_in_training(tmp_path) -> None:
    found = raised(
        tmp_path,
        {
            "data": {"target": "wine"},
            "model": {"target": "mlp", "args": {"hidden": [16]}},
            "optimizer": {"target": "adam", "learning_rate": 1e-5},
            "training": {"epochs": 8},
        },
    )
    assert CODE in found
