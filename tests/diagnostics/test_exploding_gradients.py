"""exploding_gradients fires on growth that hurts, and not on a norm that is merely large."""

from __future__ import annotations

import math

import pytest

from tests.diagnostics.synthetic import (
    NUMBERS,
    epoch,
    epochs,
    facts_of,
    layers,
    raised,
    skip,
    step,
    steps,
    told,
)

CODE = "exploding_gradients"
CLASSES, REGRESSION = facts_of(), facts_of(context=NUMBERS)


def growing() -> list:
    """Ten quiet logged steps, then a norm that shoots up while the loss follows."""
    return steps([2.0] * 10 + [4.0, 9.0, 20.0], [1.0] * 10 + [150.0, 400.0, 900.0])


def test_a_norm_far_above_its_median_with_a_rising_loss_is_critical() -> None:
    (first,) = told(CODE, CLASSES, growing())
    assert first.severity == "critical"
    assert first.step == 120, "two of three logged steps, no later"
    assert (first.evidence["value"], first.evidence["threshold"]) == (400.0, 100.0)
    assert first.evidence["since_step"] == 110
    assert first.evidence["running_median"] == 1.0


def test_the_layer_with_the_largest_gradient_is_named() -> None:
    events = [layers(1, [0.1, 7.0, 0.3]), epoch(1, 2.0), *growing()]
    (found,) = told(CODE, CLASSES, events)
    assert found.evidence["layer"] == "layers.2.weight"


def test_a_single_high_step_is_no_explosion() -> None:
    assert told(CODE, CLASSES, steps([2.0] * 13, [1.0] * 10 + [900.0, 1.0, 1.0])) == []


def test_a_regression_that_starts_at_a_large_norm_and_learns_is_healthy() -> None:
    losses = [29000 * 0.95**n for n in range(60)]
    assert told(CODE, REGRESSION, steps(losses, [478.0 + 30 * (n % 5) for n in range(60)])) == []


def test_a_loss_beyond_all_bounds_is_critical_whatever_the_median_says() -> None:
    (found,) = told(CODE, REGRESSION, steps([3e4, 5e9, 8e9, 9e9], [1e3, 1e7, 1e7, 1e7]))
    assert found.severity == "critical"
    assert found.evidence["threshold"] == pytest.approx(2.9e7), "1,000 times the loss of predicting zero"


def test_a_huge_first_loss_that_falls_at_once_is_a_start() -> None:
    assert told(CODE, CLASSES, steps([9000.0, 3000.0, 40.0, 3.0, 2.0], [500.0, 300.0, 50.0, 5.0, 1.0])) == []


def test_after_some_epochs_a_large_norm_with_a_useless_loss_is_no_start_any_more() -> None:
    events = epochs([60.0, 30.0, 15.0], norm=130.0)
    (found,) = told(CODE, CLASSES, events)
    assert found.epoch == 3
    assert told(CODE, CLASSES, events, {"epochs": 4}) == []
    assert told(CODE, CLASSES, epochs([60.0, 3.0, 0.9], norm=130.0)) == []


def test_different_batches_that_fail_with_the_same_weights_show_that_the_weights_are_gone() -> None:
    events = [skip(4 + n, consecutive=n + 1, loss=math.inf) for n in range(6)]
    (found,) = told(CODE, REGRESSION, events)
    assert found.evidence["since_step"] == 4
    assert told(CODE, REGRESSION, events, {"consecutive": 7}) == []


@pytest.mark.parametrize(
    "others", [{"bad_data": {"rows": [1]}}, {}], ids=["the data holds NaN", "from the first step"]
)
def test_skips_with_another_cause_are_left_to_nan_loss(others: dict) -> None:
    start = 4 if others else 1
    assert told(CODE, CLASSES, [skip(start + n, consecutive=n + 1, **others) for n in range(8)]) == []


def test_skips_out_of_calm_are_an_unsafe_operation() -> None:
    events = [*steps([2.0, 1.5, 1.2, 1.0], 0.5), *(skip(45 + n, consecutive=n + 1) for n in range(8))]
    assert told(CODE, CLASSES, events) == []


def test_fixes_start_anew_where_there_is_no_good_checkpoint() -> None:
    (first,) = told(CODE, CLASSES, [skip(4 + n, consecutive=n + 1, loss=math.inf) for n in range(6)])
    assert first.fixes[0]["action"] == "restart_fresh"
    later = [*epochs([2.0, 1.8]), *(step(110 + 10 * n, 1.8, 1.0) for n in range(10))]
    later += [step(210 + 10 * n, 9.0 * (n + 1), 500.0 * (n + 1)) for n in range(3)]
    (found,) = told(CODE, CLASSES, later)
    assert (found.fixes[0]["action"], found.fixes[0]["checkpoint"]) == ("restart_from", "last valid")


def test_a_rate_that_is_far_too_high_is_seen_in_training(tmp_path) -> None:
    found = raised(
        tmp_path,
        {
            "data": {"target": "diabetes"},
            "optimizer": {"target": "sgd", "learning_rate": 0.01},
            "training": {"epochs": 2},
        },
    )
    assert CODE in found


def test_an_enormous_loss_in_steps_that_were_not_logged_after_which_nothing_is_learned() -> None:
    (found,) = told(CODE, CLASSES, epochs([700.0, 2.31, 2.303, 2.304], 0.1))
    assert (found.epoch, found.evidence["since_epoch"]) == (2, 1)
    assert found.fixes[0]["action"] == "restart_fresh"
    assert told(CODE, CLASSES, epochs([700.0, 1.5, 0.9, 0.5], [0.2, 0.5, 0.7, 0.9])) == []


def test_gradients_of_raw_targets_are_not_clipped_to_nothing() -> None:
    events = [skip(4 + n, consecutive=n + 1, loss=math.inf) for n in range(6)]
    small = facts_of({"optimizer": {"target": "sgd", "learning_rate": 0.01}}, context=NUMBERS)
    (found,) = told(CODE, small, events)
    assert [fix["id"] for fix in found.fixes][:2] == ["lower_lr_10", "lower_lr_100"]
    large = facts_of({"optimizer": {"target": "sgd", "learning_rate": 1.0}}, context=NUMBERS)
    (found,) = told(CODE, large, events)
    assert found.fixes[0]["id"] == "lower_lr_10_clip"


def test_a_batch_that_was_off_by_far_and_did_no_harm_is_no_explosion() -> None:
    good = [epoch(n + 1, 0.5, val_loss=0.5) for n in range(4)]
    assert told(CODE, CLASSES, [*good, epoch(5, 5e3, val_loss=0.45)]) == []
    (found,) = told(CODE, CLASSES, [*good, epoch(5, 5e3, val_loss=40.0)])
    assert found.severity == "critical"
