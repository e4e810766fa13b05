"""Every fix that the rules on losses and gradients offer is one that the config takes, whatever the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.diagnostics.synthetic import epoch, epochs, facts_of, skip, steps, watch, with_layers
from tui_trainer.diagnostics.fix import Fix
from tui_trainer.diagnostics.registry import own_rules
from tui_trainer.engine.events import Event
from tui_trainer.session.repair import with_changes

STEEP = [1e-9, 1e-7, 1e-5, 1e-3, 0.1, 0.4]
BAD = {"places": ["targets"], "rows": [1], "source_rows": [1], "row_name": "line", "columns": []}
RUNS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "sgd": {"optimizer": {"target": "sgd", "learning_rate": 0.1, "args": {"momentum": 0.9}}},
    "clipped": {"training": {"gradient_clip_norm": 0.5}},
    "deep": {"model": {"target": "mlp", "args": {"hidden": [32] * 12, "activation": "sigmoid"}}},
    "selu": {"model": {"target": "mlp", "args": {"hidden": 64, "activation": "selu"}}},
    "cnn": {"model": {"target": "cnn", "args": {"batch_norm": False}}},
    "lstm": {"model": {"target": "lstm", "args": {"num_features": 8}}},
    "linear": {"model": {"target": "linear"}, "data": {"target": "wine", "args": {"standardize": False}}},
    "theirs": {
        "model": {"target": "my.module:Net"},
        "scheduler": {"target": "cosine", "args": {"eta_min": 0.0}},
    },
    "fp16": {"training": {"precision": "fp16"}},
    "large batches": {"data": {"batch_size": 4096}},
    "hot": {"optimizer": {"target": "adam", "learning_rate": 0.3}},
    "cold": {"optimizer": {"target": "sgd", "learning_rate": 1e-7}},
    "held back": {"optimizer": {"target": "adamw", "learning_rate": 0.01, "weight_decay": 60.0}},
    "decayed": {"scheduler": {"target": "exponential", "args": {"gamma": 0.1}}},
}


def decaying(losses: list[float]) -> list[Event]:
    return [epoch(n + 1, loss, rate=10.0 ** (-n), train_accuracy=0.1) for n, loss in enumerate(losses)]


SICK: dict[str, list[Callable[[], list[Event]]]] = {
    "nan_loss": [
        lambda: [skip(1)],
        lambda: [skip(30)],
        lambda: [skip(30, bad_data=BAD)],
    ],
    "exploding_gradients": [
        lambda: [skip(4 + n, consecutive=n + 1) for n in range(6)],
        lambda: [
            *epochs([2.0, 1.9]),
            *steps([2.0] * 10 + [9.0, 20.0, 30.0], [1.0] * 10 + [200.0] * 3, start=110),
        ],
    ],
    "vanishing_gradients": [
        lambda: list(with_layers(epochs([2.304] * 4, 0.1), STEEP)),
        lambda: epochs([2.304] * 4, 0.1, norm=1e-6),
    ],
    "oscillating_loss": [
        lambda: epochs([1.2, 1.6, 1.1, 1.7, 1.15, 1.65, 1.2, 1.7], 0.5),
        lambda: epochs([3.0, 2.4, 3.1, 2.5, 3.2, 2.4, 3.0, 2.5], 0.1),
    ],
    "loss_spike": [lambda: epochs([2.0, 1.5, 1.0, 0.7, 0.5, 1.9, 1.8])],
    "slow_convergence": [
        lambda: epochs([2.30 - 0.005 * n for n in range(8)], 0.15),
        lambda: decaying([2.30 - 0.005 * n for n in range(8)]),
    ],
    "convergence_stall": [
        lambda: epochs([2.304] * 6, 0.1),
        lambda: epochs([12.0, *[2.4] * 8], 0.1),
        lambda: decaying([2.304] * 6),
    ],
}


def offered(code: str, changes: dict[str, Any]) -> list[tuple[Fix, Any]]:
    """The fixes of every scenario of a code, with the config that they are for."""
    found = []
    facts = facts_of(changes)
    for scenario in SICK[code]:
        watching = watch(code, facts)
        for event in scenario():
            watching.observe(event)
        assert watching.problems, f"{code} does not see its own scenario"
        found += [(fix, facts.config) for problem in watching.problems.values() for fix in problem.fixes]
    return found


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("code", SICK)
def test_every_fix_makes_a_config_that_is_valid_and_another(code: str, run: str) -> None:
    for fix, config in offered(code, RUNS[run]):
        changed = with_changes(config, fix.changes)
        if (
            set(fix.changes) != {"optimizer.learning_rate"} or not fix.range_test
        ):  # the test is yet to change it
            assert (changed != config) == bool(fix.changes), fix
        assert fix.action != "restart_from" or fix.checkpoint, fix
        assert fix.changes or not fix.by_itself or fix.action == "stop", (
            f"{fix.id} would do nothing by itself"
        )
        assert fix.title
        assert fix.effect


@pytest.mark.parametrize("code", SICK)
def test_the_fixes_that_a_rule_says_it_has_are_those_it_offers(code: str) -> None:
    seen = {fix.id for changes in RUNS.values() for fix, _ in offered(code, changes)}
    assert seen == set(own_rules()[code].fix_ids)


@pytest.mark.parametrize("code", SICK)
def test_no_fix_is_offered_twice(code: str) -> None:
    for run in RUNS.values():
        facts = facts_of(run)
        for scenario in SICK[code]:
            watching = watch(code, facts)
            for event in scenario():
                watching.observe(event)
            for problem in watching.problems.values():
                ids = [fix.id for fix in problem.fixes]
                assert len(ids) == len(set(ids))


@pytest.mark.parametrize("code", [code for code in SICK if code not in ("nan_loss", "oscillating_loss")])
def test_where_regularisation_alone_explains_it_there_is_less_of_it_first(code: str) -> None:
    firsts = []
    facts = facts_of(RUNS["held back"])
    for scenario in SICK[code]:
        watching = watch(code, facts)
        for event in scenario():
            watching.observe(event)
        firsts += [problem.fixes[0] for problem in watching.problems.values()]
    assert {fix.id for fix in firsts} == {"less_regularisation"}
    assert all(fix.changes["optimizer.weight_decay"] == 0 for fix in firsts)


@pytest.mark.parametrize("code", ["vanishing_gradients", "convergence_stall"])
def test_a_rate_is_never_lowered_where_it_is_next_to_nothing_nor_raised_where_it_is_high(code: str) -> None:
    cold = {fix.id for fix, _ in offered(code, RUNS["cold"])}
    assert not {"lower_lr_10", "lower_lr_100"} & cold
    if code == "vanishing_gradients":
        hot = [fix.id for fix, _ in offered(code, RUNS["hot"])]
        assert "raise_lr_10" not in hot
        assert hot.index("lower_lr_100") < hot.index("lower_lr_10"), "60 times what is high already"
