"""oscillating_loss fires on swings that bring nothing, not on noise, progress or swings of a loss near 0."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.diagnostics.synthetic import TEN_CLASSES, epoch, epochs, facts_of, raised, told
from tui_trainer.engine.events import Event

CODE = "oscillating_loss"
CLASSES = facts_of()
SWINGS = [1.2, 1.6, 1.1, 1.7, 1.15, 1.65, 1.2, 1.7, 1.1, 1.6]


def test_swings_without_a_trend() -> None:
    (found,) = told(CODE, CLASSES, epochs(SWINGS, 0.55))
    assert (found.severity, found.epoch) == ("warning", 7)
    assert found.evidence["value"] > found.evidence["threshold"] == 0.05
    assert found.evidence["since_epoch"] == 1
    assert [fix["id"] for fix in found.fixes][:2] == ["lower_lr_3", "lower_lr_10"]
    assert found.fixes[0]["checkpoint"] == "best"


@pytest.mark.parametrize(
    ("losses", "accuracy"),
    [
        ([2.2, 1.9, 2.0, 1.6, 1.7, 1.3, 1.4, 1.0, 1.1, 0.7, 0.8], 0.6),
        ([1.30, 1.31, 1.29, 1.32, 1.30, 1.31, 1.29, 1.30, 1.31], 0.6),
        ([0.010, 0.030, 0.012, 0.028, 0.011, 0.033, 0.012, 0.03], 0.9),
        ([0.2, 0.35, 0.2, 0.33, 0.21, 0.36, 0.2, 0.34], 0.99),
        ([2.0, 1.5, 1.2, 1.0, 0.9, 0.85, 0.82, 0.8, 0.79], 0.7),
    ],
    ids=["falling with bumps", "batch noise", "near zero", "nearly all right", "smooth"],
)
def test_healthy_curves(losses: list, accuracy: float) -> None:
    assert told(CODE, CLASSES, epochs(losses, accuracy)) == []


def test_a_run_as_good_as_simple_predictors_may_scatter_more() -> None:
    noisy = facts_of(context=TEN_CLASSES | {"linear": {"val_accuracy": 0.57}})
    losses = [1.20, 1.30, 1.19, 1.31, 1.2, 1.3, 1.19, 1.3, 1.21]
    assert told(CODE, CLASSES, epochs(losses, 0.55))
    assert told(CODE, noisy, epochs(losses, 0.55)) == []


def test_a_loss_whose_parts_pull_against_each_other_may_too() -> None:
    theirs = facts_of(context=TEN_CLASSES | {"loss": "my.module:adversarial"})
    assert told(CODE, theirs, epochs([1.20, 1.30, 1.19, 1.31, 1.2, 1.3, 1.19, 1.3, 1.21], 0.55)) == []
    assert told(CODE, theirs, epochs(SWINGS, 0.55))


def test_a_loss_of_the_user_s_own_proves_nothing_without_a_metric() -> None:
    own, theirs = (
        {"loss": {"target": "my_losses:two_players"}},
        {"task": "custom", "loss": "my_losses:two_players"},
    )
    (alone,) = told(CODE, facts_of(own, context=theirs, metrics=()), epochs(SWINGS))
    (beside,) = told(CODE, facts_of(own, context=theirs, metrics=("f1",)), epochs(SWINGS))
    assert (alone.severity, beside.severity) == ("info", "warning")


def test_losses_below_zero_are_measured_by_their_swings() -> None:
    theirs = facts_of(context={"task": "custom", "loss": "my.module:likelihood"}, metrics=())
    assert told(CODE, theirs, epochs([-1.0, -1.4, -1.6, -1.7, -1.75, -1.77, -1.78, -1.785, -1.786])) == []
    assert told(CODE, theirs, epochs([-1.0, -1.9, -0.8, -1.8, -0.9, -2.0, -0.7, -1.9]))


VAL_SWINGS = [0.4, 0.7, 0.35, 0.75, 0.4, 0.7, 0.36, 0.72, 0.41]


def validated(
    losses: list[float], accuracy: float, *, train: float = 0.4, fall: float = 0.001, rate: float = 1.0
) -> list[Event]:
    """A calm train loss, falling by `fall`, beside a validation loss; the learning rate times `rate` each epoch."""
    made = [
        epoch(n + 1, train - fall * n, rate=1e-3 * rate**n, train_accuracy=0.88) for n in range(len(losses))
    ]
    return [
        replace(event, metrics=event.metrics | {"val_loss": loss, "val_accuracy": accuracy})
        for event, loss in zip(made, losses, strict=True)
    ]


def test_validation_alone_may_swing() -> None:
    (found,) = told(CODE, CLASSES, validated(VAL_SWINGS, 0.8))
    assert (found.severity, found.epoch, found.evidence["column"]) == ("warning", 7, "val_loss")
    assert found.message.startswith("The validation loss swings by ")
    assert found.fixes[0]["checkpoint"] == "best"


@pytest.mark.parametrize(
    "events",
    [
        validated(VAL_SWINGS, 0.93),
        validated([loss - 0.02 * n for n, loss in enumerate(VAL_SWINGS)], 0.8),
        validated([0.4, 0.44, 0.39, 0.45, 0.4, 0.44, 0.39, 0.45], 0.8),
        validated(VAL_SWINGS, 0.8, train=0.1),
        validated(VAL_SWINGS, 0.8, rate=1.1),
        validated(VAL_SWINGS, 0.8, train=0.6, fall=0.03),
    ],
    ids=[
        "as good as a linear model",
        "still falling",
        "scatter",
        "overfitting",
        "a rate that rises",
        "the train loss falls",
    ],
)
def test_validation_that_swings_and_hurts_nobody(events: list[Event]) -> None:
    assert told(CODE, CLASSES, events) == []


def test_swings_of_before_a_fix_do_not_count() -> None:
    from tests.diagnostics.synthetic import watch

    watching = watch(CODE, CLASSES)
    for event in epochs(SWINGS[:6], 0.5):
        assert watching.observe(event) == []
    watching.history.course_changed()
    assert [item for event in epochs(SWINGS, 0.5)[6:] for item in watching.observe(event)] == []


def test_where_nothing_was_ever_learned_training_starts_anew() -> None:
    (found,) = told(CODE, CLASSES, epochs([3.0, 2.4, 3.1, 2.5, 3.2, 2.4, 3.0, 2.5], 0.11))
    assert [(fix["id"], fix["action"]) for fix in found.fixes[:2]] == [
        ("lower_lr_10", "restart_fresh"),
        ("lower_lr_100", "restart_fresh"),
    ]


def test_thresholds_can_be_set() -> None:
    assert told(CODE, CLASSES, epochs(SWINGS, 0.55), {"amplitude": 0.9, "val_amplitude": 0.9}) == []
    assert told(CODE, CLASSES, epochs(SWINGS, 0.55), {"epochs": 11}) == []


def test_a_rate_that_is_too_high_is_seen_in_training(tmp_path) -> None:
    found = raised(
        tmp_path,
        {
            "data": {"target": "digits"},
            "model": {"target": "mlp", "args": {"hidden": [64]}},
            "optimizer": {"target": "sgd", "learning_rate": 2.0},
            "training": {"epochs": 10},
        },
    )
    assert CODE in found
