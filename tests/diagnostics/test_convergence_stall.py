"""convergence_stall fires on runs that learned little and stand still, never on the ordinary end of a good one."""

from __future__ import annotations

import pytest

from tests.diagnostics.synthetic import (
    NUMBERS,
    TEN_CLASSES,
    epoch,
    epochs,
    facts_of,
    raised,
    steps,
    told,
    watch,
)

CODE = "convergence_stall"
OWN = "tests.diagnostics.test_convergence_stall"
CLASSES = facts_of(epochs=40)
NOTHING = [2.32, 2.304, 2.303, 2.304, 2.303] + [2.304] * 20
LITTLE = [2.2, 1.9, 1.8, 1.76, 1.75] + [1.75, 1.751] * 12


def unlearnable():
    """Inputs that tell nothing of the labels."""
    import torch
    from torch.utils.data import TensorDataset

    generator = torch.Generator().manual_seed(0)
    return TensorDataset(
        torch.randn(400, 5, generator=generator), torch.randint(0, 4, (400,), generator=generator)
    )


def test_a_run_that_never_began() -> None:
    first, later = told(CODE, CLASSES, epochs(NOTHING, 0.11))
    assert (first.severity, first.epoch) == ("warning", 5)
    assert (first.evidence["value"], first.evidence["threshold"]) == (5, 5)
    assert first.evidence["since_epoch"] == 1
    assert (later.severity, later.epoch) == ("critical", 15)
    assert first.fixes[0]["id"] == "find_lr"


def test_a_plateau_far_below_what_simple_predictors_reach() -> None:
    first, later = told(CODE, CLASSES, epochs(LITTLE, 0.3))
    assert (first.severity, first.epoch) == ("warning", 15)
    assert first.evidence["value"] == 10
    assert first.evidence["since_epoch"] == 6
    assert (later.severity, later.epoch) == ("critical", 20)


@pytest.mark.parametrize(
    ("losses", "accuracy"),
    [
        ([2.0, 1.0, 0.5, 0.3] + [0.25] * 25, 0.92),
        ([2.0, 1.0, 0.3, 0.05] + [0.01] * 25, 0.999),
        ([2.3 - 0.02 * n for n in range(30)], 0.3),
    ],
    ids=["an ordinary plateau", "perfect", "still falling"],
)
def test_healthy_runs(losses: list, accuracy: float) -> None:
    assert told(CODE, CLASSES, epochs(losses, accuracy)) == []


def test_a_noise_floor_that_simple_predictors_stand_on_too() -> None:
    weak = NUMBERS | {"trivial": {"val_mse": 1.0}, "zero": {"val_mse": 1.0}, "linear": {"val_r2": 0.08}}
    events = [epoch(n + 1, 0.94, train_r2=0.06) for n in range(25)]
    assert told(CODE, facts_of(context=weak), events) == []


def test_two_players_in_balance_are_worth_knowing_of_and_no_more() -> None:
    own, theirs = (
        {"loss": {"target": "my_losses:two_players"}},
        {"task": "custom", "loss": "my_losses:two_players"},
    )
    alone = told(CODE, facts_of(own, context=theirs, metrics=(), epochs=40), epochs(NOTHING))
    beside = told(CODE, facts_of(own, context=theirs, metrics=("f1",), epochs=40), epochs(NOTHING))
    assert {found.severity for found in alone} == {"info"}
    assert {found.severity for found in beside} == {"warning", "critical"}


def test_validation_that_no_longer_follows_is_another_problem() -> None:
    events = [
        epoch(n + 1, 2.0 * 0.97**n, val_loss=2.2 + 0.01 * n, train_accuracy=0.3, val_accuracy=0.2)
        for n in range(25)
    ]
    assert told(CODE, CLASSES, events) == []


def test_a_target_that_is_met_is_the_end_and_one_that_is_not_is_none() -> None:
    losses, asked = [2.0, 1.0] + [0.9] * 25, {"metric": "val_accuracy", "at_least": 0.6}
    assert told(CODE, facts_of({"targets": asked}), epochs(losses, 0.62)) == []
    assert told(CODE, facts_of({"targets": asked | {"at_least": 0.9}}), epochs(losses, 0.62))


def test_a_run_that_was_on_its_way_a_moment_ago_is_left_alone() -> None:
    falling = [29000 - 1200 * n for n in range(18)]
    events = [
        epoch(n + 1, loss, train_r2=-0.2) for n, loss in enumerate([*falling, 7400, 7350, 7420, 7380, 7400])
    ]
    assert told(CODE, facts_of(context=NUMBERS, epochs=60), events) == []


def test_a_rate_that_was_too_large_is_not_raised_further() -> None:
    (first, *_) = told(CODE, CLASSES, epochs([12.0, *[2.37] * 8], 0.1))
    assert [fix["id"] for fix in first.fixes[:2]] == ["lower_lr_10", "lower_lr_100"]
    assert all(not fix["id"].startswith("raise") for fix in first.fixes)


def test_a_loss_that_stands_where_it_began_was_not_thrown_off() -> None:
    """New weights are often a little worse than no inputs at all."""
    events = [*steps([2.39, 2.4, 2.38]), *epochs([2.39] * 8, 0.1)]
    (first,) = told(CODE, CLASSES, events)
    assert first.fixes[0]["id"] == "find_lr"


def test_new_weights_that_happen_to_be_good_and_never_move() -> None:
    still = facts_of({"optimizer": {"target": "adam", "learning_rate": 1e-8}})
    (found,) = told(CODE, still, epochs([1.9, 1.9001, 1.8999, 1.9, 1.9, 1.9], 0.5))
    assert (found.epoch, found.evidence["value"]) == (5, 5)
    assert found.fixes[0]["id"] == "find_lr"
    assert found.fixes[0]["config_diff"]["optimizer.learning_rate"]["to"] == 1e-3
    assert "where it began" in found.message


@pytest.mark.parametrize(
    ("rate", "losses", "accuracy"),
    [
        (1e-8, [1.9 - 0.01 * n for n in range(8)], 0.5),
        (1e-8, [0.3] * 8, 0.92),
        (1e-3, [1.9] * 8, 0.5),
    ],
    ids=["it moves", "as good as simple predictors", "a usual rate"],
)
def test_what_stands_still_for_other_reasons(rate: float, losses: list, accuracy: float) -> None:
    facts = facts_of({"optimizer": {"target": "adam", "learning_rate": rate}})
    assert told(CODE, facts, epochs(losses, accuracy)) == []


def test_a_schedule_that_took_the_rate_away_comes_first() -> None:
    decayed = facts_of({"scheduler": {"target": "step"}})
    events = [
        epoch(n + 1, loss, rate=10.0 ** (-n), train_accuracy=0.11) for n, loss in enumerate(NOTHING[:6])
    ]
    (found,) = told(CODE, decayed, events)
    assert found.fixes[0]["config_diff"]["scheduler.target"]["to"] == "none"


def test_after_a_fix_the_count_begins_anew() -> None:
    watching = watch(CODE, CLASSES)
    for event in epochs(LITTLE[:12], 0.3):
        assert watching.observe(event) == []
    watching.history.course_changed()
    later = [item for event in epochs(LITTLE[:21], 0.3)[12:] for item in watching.observe(event)]
    assert later == []


def test_a_resumed_run_is_judged_as_if_it_had_never_stopped() -> None:
    watching = watch(CODE, CLASSES)
    rows = [
        {
            "epoch": n + 1,
            "step": 50 * (n + 1),
            "train_loss": 2.304,
            "val_loss": 2.304,
            "train_accuracy": 0.1,
            "val_accuracy": 0.1,
        }
        for n in range(4)
    ]
    watching.history.resume(rows, skips=0, first_skip=None, step=200)
    (found,) = watching.observe(epoch(5, 2.304, train_accuracy=0.1))
    assert found.evidence["value"] == 5


def test_thresholds_can_be_set() -> None:
    (found, _) = told(CODE, CLASSES, epochs(NOTHING, 0.11), {"flat_epochs": 8})
    assert found.epoch == 8
    assert told(CODE, CLASSES, epochs(LITTLE, 0.3), {"epochs": 50}) == []
    unknown = facts_of(context={key: value for key, value in TEN_CLASSES.items() if key != "linear"})
    assert told(CODE, unknown, epochs(LITTLE, 0.3), {"learned": 0.5})
    assert told(CODE, unknown, epochs(LITTLE, 0.35)) == []


def test_labels_that_cannot_be_learned_are_seen_in_training(tmp_path) -> None:
    found = raised(
        tmp_path,
        {
            "data": {"target": f"{OWN}:unlearnable"},
            "model": {"target": "linear"},
            "training": {"epochs": 8},
        },
    )
    assert CODE in found
    assert "check_labels" in [fix["id"] for fix in found[CODE].fixes]


def test_a_long_run_that_forgets_everything_is_told_as_well() -> None:
    events = epochs([2.3 * 0.95**n + 0.2 for n in range(60)] + [2.31] * 20, [0.5] * 60 + [0.1] * 20)
    (found,) = told(CODE, facts_of(epochs=100), events)
    assert (found.severity, found.epoch) == ("critical", 75)
