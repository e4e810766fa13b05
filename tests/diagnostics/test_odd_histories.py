"""No rule raises, or cries wolf, on a history that is short, empty of numbers, or odd."""

from __future__ import annotations

import math
from itertools import chain

import pytest

from tests.diagnostics.synthetic import (
    NUMBERS,
    PER_EPOCH,
    TEN_CLASSES,
    epoch,
    epochs,
    facts_of,
    layers,
    skip,
    step,
    steps,
    watch,
)
from tui_trainer.config.errors import ConfigError
from tui_trainer.diagnostics.registry import own_rules

CODES = sorted(own_rules())
NAN, INF = math.nan, math.inf
ODD = {
    "one epoch": epochs([2.0]),
    "one step": steps([2.0]),
    "only NaN": [*epochs([NAN] * 12, NAN, norm=NAN), *steps([NAN] * 20, NAN)],
    "infinite": [*steps([INF] * 20, INF), *epochs([INF] * 12, INF, norm=INF)],
    "no gradient norms": [*steps([2.0, 1.9, 1.8], None), *epochs([2.0, 1.9, 1.8], norm=None)],
    "zero": [*steps([0.0] * 20, 0.0), *epochs([0.0] * 20, 0.0, norm=0.0)],
    "below zero": [*steps([-1.0 - n for n in range(20)]), *epochs([-1.0 - n for n in range(20)])],
    "constant": epochs([2.5] * 4, 0.5),
    "no metrics": [epoch(n + 1, 1.0 / (n + 1)) for n in range(12)],
    "odd layers": [layers(1, [NAN, 0.0]), epoch(1, 2.0), layers(2, [0.0, 0.0]), epoch(2, 2.0)],
    "a skip at once": [skip(1)],
    "NaN between": epochs([2.0, NAN, 1.5, 1.2, NAN, 0.9, 0.7, 0.5, 0.4, 0.3], [0.5] * 10),
}
FACTS = {
    "classes": facts_of(),
    "numbers": facts_of(context=NUMBERS),
    "nothing known": facts_of(context={}, metrics=()),
    "bare": facts_of(context={"task": "classification", "loss": "cross_entropy"}),
    "zero yardsticks": facts_of(
        context=TEN_CLASSES
        | {"trivial": {"val_accuracy": 1.0, "val_loss": 0.0}, "linear": {"val_accuracy": NAN}}
    ),
}


@pytest.mark.parametrize("facts", FACTS)
@pytest.mark.parametrize("code", CODES)
def test_no_rule_raises(code: str, facts: str) -> None:
    for name, events in ODD.items():
        watching = watch(code, FACTS[facts])
        watching.before_training(0.0)
        for event in events:
            watching.observe(event)
        assert watching.troubles == [], name


@pytest.mark.parametrize("code", CODES)
def test_a_good_run_is_left_alone(code: str) -> None:
    """Falls fast, then slowly; the accuracy rises; gradients grow small; validation follows at a small distance."""
    watching = watch(code, facts_of(epochs=40))
    for number in range(1, 41):
        loss = 2.2 * 0.8**number + 0.05
        right = 0.97 - 0.85 * 0.75**number
        logged = (
            step((number - 1) * PER_EPOCH + 10 * k, loss * (1 + 0.1 * (k % 3 - 1)), 0.6 * 0.95**number)
            for k in range(1, 6)
        )
        finished = epoch(
            number,
            loss,
            norm=0.6 * 0.95**number,
            val_loss=loss * 1.1,
            train_accuracy=right,
            val_accuracy=right - 0.02,
        )
        for event in chain(logged, [layers(number, [0.3 * 0.95**number, 0.4 * 0.95**number])], [finished]):
            found = [item for item in watching.observe(event) if item.severity != "info"]
            assert found == [], found


@pytest.mark.parametrize("code", CODES)
def test_thresholds_that_there_are_not_are_refused(code: str) -> None:
    with pytest.raises(ConfigError, match="no threshold"):
        own_rules()[code](facts_of(), {"patience_of_a_saint": 1.0})
