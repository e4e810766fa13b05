"""Rules on fit, data and activations fire where training suffers, and keep quiet on runs that do well."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.diagnostics.synthetic import NUMBERS, TEN_CLASSES, epoch, facts_of, raised, told, watch
from tui_trainer.config.loading import change_config, parse_config
from tui_trainer.data import quality
from tui_trainer.diagnostics import data_quality
from tui_trainer.diagnostics.facts import RunFacts
from tui_trainer.engine.events import DiagnosticRaised, EpochFinished, Event, SeriesRow

OWN = "tests.diagnostics.test_context"
DIGITS = facts_of()


def curves(
    train_loss: Iterable[float],
    val_loss: Iterable[float],
    train: Sequence[float] | None = None,
    val: Sequence[float] | None = None,
    *,
    metric: str = "accuracy",
) -> list[Event]:
    """Finished epochs with these columns."""
    losses, checks = list(train_loss), list(val_loss)
    found: list[Event] = []
    for place, (loss, check) in enumerate(zip(losses, checks, strict=True)):
        values = {"train_loss": loss, "val_loss": check}
        if train is not None and val is not None:
            values |= {f"train_{metric}": train[place], f"val_{metric}": val[place]}
        found.append(replace(epoch(place + 1, loss), metrics=values))
    return found


def row(series: str, number: int, **values: Any) -> SeriesRow:
    return SeriesRow(time=0.0, series=series, epoch=number, step=number * 50, row={"epoch": number} | values)


def layer(number: int, name: str = "layers.1", **values: Any) -> SeriesRow:
    full = {"layer": name, "kind": "ReLU", "units": 64, "samples": 128, "dead": 0.0, "saturated": 0.0}
    return row("activation_stats", number, **(full | values))


def with_rows(events: Iterable[Event], rows: Iterable[SeriesRow]) -> list[Event]:
    """Each row in front of its epoch."""
    waiting, found = list(rows), []
    for event in events:
        if isinstance(event, EpochFinished):
            found += [item for item in waiting if item.epoch == event.epoch]
        found.append(event)
    return found


def problems(found: list[DiagnosticRaised]) -> list[DiagnosticRaised]:
    return [item for item in found if item.severity != "info"]


def assert_fixes_validate(facts: RunFacts, found: DiagnosticRaised) -> None:
    assert found.fixes
    for fix in found.fixes:
        changes = {key: change["to"] for key, change in fix["config_diff"].items()}
        change_config(facts.config, [f"{key}={json.dumps(value)}" for key, value in changes.items()])


# --- overfitting --------------------------------------------------------------------------------------------

FALLING = [2.0 * 0.75**k for k in range(20)]
TURNING = [1.0 + 0.02 * (k - 4) ** 2 for k in range(20)]


def test_a_validation_loss_that_climbs_while_training_goes_on() -> None:
    (found,) = problems(told("overfitting", DIGITS, curves(FALLING, TURNING)))
    assert found.evidence["kind"] == "rise"
    assert (found.evidence["since_epoch"], found.evidence["threshold"]) == (5, 0.15)
    assert [fix["id"] for fix in found.fixes][:3] == ["stop", "weight_decay", "dropout"]
    assert_fixes_validate(DIGITS, found)


def test_a_gap_between_train_and_validation() -> None:
    wide = curves(FALLING, [1.0] * 20, [min(1.0, 0.5 + 0.05 * k) for k in range(20)], [0.7] * 20)
    (found,) = problems(told("overfitting", DIGITS, wide))
    assert found.evidence["kind"] == "gap"
    assert found.evidence["since_epoch"] == found.epoch - 2


def test_a_gap_that_chance_explains_in_a_tiny_validation_set() -> None:
    tiny = facts_of(context=TEN_CLASSES | {"val_samples": 20})
    same = curves(FALLING, [1.0] * 20, [0.98] * 20, [0.8] * 20)
    assert told("overfitting", tiny, same) == []
    assert problems(told("overfitting", DIGITS, same))


@pytest.mark.parametrize(
    "events",
    [
        curves(FALLING, [2.1 * 0.8**k + 0.1 for k in range(20)], [0.9] * 20, [0.88] * 20),
        curves(FALLING, [0.30 + 0.004 * abs(k - 9) for k in range(20)], [0.99] * 20, [0.95] * 20),
        curves(FALLING[:4], TURNING[:4]),
        curves([2.0] * 20, TURNING),
        curves(FALLING, [0.02 + 0.001 * k for k in range(20)]),
        curves(FALLING, [1.0 if k % 2 else 1.3 for k in range(20)]),
        curves([math.nan] * 20, [math.nan] * 20, [math.nan] * 20, [math.nan] * 20),
        curves([-k for k in range(20)], [-0.5 * k for k in range(20)]),
        [],
    ],
    ids=["well", "slow rise", "early", "train stands", "tiny loss", "noise", "nan", "below zero", "empty"],
)
def test_no_overfitting(events: list[Event]) -> None:
    assert told("overfitting", DIGITS, events) == []


def test_the_gap_is_a_threshold_of_the_config() -> None:
    events = curves(FALLING, [1.0] * 20, [0.95] * 20, [0.75] * 20)
    assert problems(told("overfitting", DIGITS, events))
    assert told("overfitting", DIGITS, events, {"gap": 0.3}) == []


# --- underfitting -------------------------------------------------------------------------------------------

FLAT = [2.31, 2.304, 2.303, 2.303, 2.303, 2.303, 2.303, 2.303]
POOR = [1.9, 1.7, 1.65, 1.64, 1.635, 1.63, 1.628, 1.625]


@pytest.mark.parametrize(("losses", "accuracy"), [(FLAT, 0.11), (POOR, 0.4)], ids=["nothing", "little"])
def test_poor_and_flat_on_both_sets(losses: list[float], accuracy: float) -> None:
    events = curves(losses, losses, [accuracy] * 8, [accuracy] * 8)
    (found,) = problems(told("underfitting", DIGITS, events))
    assert found.epoch == 6
    assert found.evidence["simple"] == "linear"
    assert "a linear model reaches 0.93" in found.message
    assert_fixes_validate(DIGITS, found)


def test_regularisation_is_the_first_to_go() -> None:
    facts = facts_of({"optimizer": {"weight_decay": 0.3}, "model": {"args": {"dropout": 0.8}}})
    (found,) = problems(told("underfitting", facts, curves(FLAT, FLAT, [0.1] * 8, [0.1] * 8)))
    assert found.fixes[0]["id"] == "less_regularisation"
    assert_fixes_validate(facts, found)


def test_regularisation_that_lets_nothing_through_is_told_early() -> None:
    facts = facts_of({"optimizer": {"weight_decay": 0.3}})
    (found,) = problems(told("underfitting", facts, curves(FLAT[1:4], FLAT[1:4], [0.1] * 3, [0.1] * 3)))
    assert found.epoch == 3
    assert told("underfitting", DIGITS, curves(FLAT[1:4], FLAT[1:4], [0.1] * 3, [0.1] * 3)) == []


def test_what_still_improves_is_only_noted() -> None:
    losses = [2.3 * 0.9**k for k in range(8)]
    (found,) = told("underfitting", DIGITS, curves(losses, losses, [0.5] * 8, [0.5] * 8))
    assert found.severity == "info"


@pytest.mark.parametrize(
    ("facts", "train", "val"),
    [
        (DIGITS, 0.94, 0.92),
        (DIGITS, 0.99, 0.5),
        (facts_of(context=TEN_CLASSES | {"val_samples": 10}), 0.7, 0.7),
        (facts_of({"targets": {"metric": "val_accuracy", "at_least": 0.5}}), 0.6, 0.6),
        (facts_of(context={"task": "custom"}), 0.1, 0.1),
    ],
    ids=["good", "overfitting", "too few to tell", "target met", "no yardstick"],
)
def test_no_underfitting(facts: RunFacts, train: float, val: float) -> None:
    assert told("underfitting", facts, curves(POOR, POOR, [train] * 8, [val] * 8)) == []


def test_numbers_are_judged_by_their_variance() -> None:
    facts = facts_of(context=NUMBERS)
    flat = curves([5900.0] * 8, [6000.0] * 8, [0.01] * 8, [0.0] * 8, metric="r2")
    assert problems(told("underfitting", facts, flat))
    good = curves([3000.0] * 8, [3100.0] * 8, [0.5] * 8, [0.48] * 8, metric="r2")
    assert told("underfitting", facts, good) == []


# --- activations --------------------------------------------------------------------------------------------


def stuck(accuracy: float, epochs: int = 6) -> list[Event]:
    return curves([2.303] * epochs, [2.303] * epochs, [accuracy] * epochs, [accuracy] * epochs)


@pytest.mark.parametrize(
    ("code", "values", "fix"),
    [
        ("dying_relu", {"dead": 0.98}, "swap_relu_leakyrelu"),
        ("saturated_activation", {"kind": "Tanh", "saturated": 0.98}, "swap_tanh_relu"),
    ],
)
def test_units_out_of_reach_in_a_run_that_learns_nothing(code: str, values: dict[str, Any], fix: str) -> None:
    rows = [layer(number, **values) for number in (1, 2, 3)]
    rows += [layer(number, "layers.3", **values) for number in (1, 2, 3)]
    (found,) = problems(told(code, DIGITS, with_rows(stuck(0.1), rows)))
    assert (found.severity, found.epoch) == ("critical", 2)
    assert found.evidence["layer"] == "layers.1"
    assert found.evidence["since_epoch"] == 1
    assert found.evidence["count"] == 2
    assert found.fixes[0]["id"] == fix
    assert_fixes_validate(DIGITS, found)


@pytest.mark.parametrize("code", ["dying_relu", "saturated_activation"])
@pytest.mark.parametrize(("rate", "fix"), [(0.02, "lower_lr_10"), (0.3, "lower_lr_100")])
def test_a_high_rate_is_lowered_first(code: str, rate: float, fix: str) -> None:
    facts = facts_of({"optimizer": {"learning_rate": rate}})
    kind = "ReLU" if code == "dying_relu" else "Sigmoid"
    rows = [layer(number, kind=kind, dead=0.7, saturated=0.7) for number in (1, 2)]
    (found,) = problems(told(code, facts, with_rows(stuck(0.1), rows)))
    assert found.severity == "warning"
    assert found.fixes[0]["id"] == fix


@pytest.mark.parametrize("code", ["dying_relu", "saturated_activation"])
@pytest.mark.parametrize(
    ("accuracy", "values", "seen"),
    [
        (0.95, {"dead": 0.9, "saturated": 0.9}, (1, 2, 3, 5)),
        (0.1, {"dead": 0.4, "saturated": 0.4}, (1, 2, 3, 5)),
        (0.1, {"dead": 0.9, "saturated": 0.9, "samples": 10}, (1, 2, 3, 5)),
        (0.1, {"dead": 0.9, "saturated": 0.9}, (2,)),
        (0.6, {"dead": 0.9, "saturated": 0.9}, (1, 2)),
    ],
    ids=["learns", "few", "too few samples", "once", "early"],
)
def test_activations_are_left_alone(
    code: str, accuracy: float, values: dict[str, Any], seen: tuple[int, ...]
) -> None:
    kind = "ReLU" if code == "dying_relu" else "Tanh"
    rows = [layer(number, kind=kind, **values) for number in seen]
    assert problems(told(code, DIGITS, with_rows(stuck(accuracy), rows))) == []


def test_without_yardsticks_the_loss_tells() -> None:
    facts = facts_of(context={"task": "custom"})
    rows = [layer(number, dead=0.9) for number in (1, 2)]
    flat = [epoch(number, 4.0) for number in (1, 2)]
    watching = watch("dying_relu", facts)
    watching.history.start_loss = 4.1
    assert [item for event in with_rows(flat, rows) for item in watching.observe(event)]


# --- data and model before training -------------------------------------------------------------------------

CLEAN = {
    "compared": 400, "copies": 0, "contents": 0, "distinct": 1.0, "disagree": 0, "train_share": 1.0, "rows": [],
    "of": [], "near": 0, "near_usual": 0.0, "near_compared": 400, "near_share": 1.0,
}  # fmt: skip


def before(code: str, context: dict[str, Any], **limits: float) -> list[DiagnosticRaised]:
    facts = facts_of({"model": {"freeze": ["layers.0"]}}, context=TEN_CLASSES | context)
    watching = watch(code, facts, limits)
    found = watching.before_training(0.0)
    assert watching.troubles == []
    for item in problems(found):
        assert_fixes_validate(facts, item)
    return found


@pytest.mark.parametrize(
    ("found", "severity"),
    [
        ({"copies": 20, "contents": 20, "rows": [1, 2]}, "warning"),
        ({"copies": 90, "contents": 80, "rows": [1, 2]}, "critical"),
        ({"near": 60}, "critical"),
        ({"copies": 40, "contents": 40, "rows": [1], "train_share": 0.25}, "critical"),
        ({"copies": 390, "contents": 100, "rows": [1], "distinct": 0.1, "disagree": 0}, "critical"),
        ({"copies": 2, "contents": 2, "rows": [1, 2]}, "info"),
        ({"copies": 390, "contents": 16, "rows": [1], "distinct": 0.02, "disagree": 80}, "info"),
        ({"copies": 390, "contents": 16, "rows": [1], "distinct": 0.02, "possible": 16}, "info"),
    ],
    ids=["some", "many", "near", "sampled", "oversampled", "a few", "targets differ", "few inputs"],
)
def test_copies_of_train_samples_in_validation(found: dict[str, Any], severity: str) -> None:
    (told_,) = before("data_leakage", {"copies": CLEAN | found})
    assert told_.severity == severity


def test_clean_data_is_no_leak() -> None:
    assert before("data_leakage", {"copies": CLEAN}) == []
    assert before("data_leakage", {}) == []
    assert problems(before("data_leakage", {"copies": CLEAN | {"near": 4, "near_usual": 0.008}})) == []


def test_an_easy_task_is_only_noted() -> None:
    (found,) = told("data_leakage", DIGITS, curves([0.1] * 4, [0.1] * 4, [0.996] * 4, [1.0] * 4))
    assert (found.severity, found.epoch) == ("info", 3)
    assert told("data_leakage", DIGITS, curves([0.1] * 4, [0.1] * 4, [0.9, 1, 1, 1], [1.0] * 4)) == []


@pytest.mark.parametrize("kind", ["no_gradient", "not_registered", "not_optimized", "frozen"])
def test_parameters_out_of_reach(kind: str) -> None:
    found = {kind: ["layers.2.weight"], f"{kind}_count": 1, f"{kind}_numbers": 100, "parameters": 10_000}
    (told_,) = before("dead_parameters", {"unreached": found})
    assert told_.severity == "warning"
    assert "layers.2.weight" in told_.message
    assert told_.evidence["problem"] == kind
    assert before("dead_parameters", {"unreached": found | {"parameters": 90}})[0].severity == "critical"
    assert before("dead_parameters", {"unreached": found}, numbers=1000) == []


def test_a_sound_model_has_no_dead_parameters() -> None:
    assert before("dead_parameters", {}) == []


# --- class imbalance ----------------------------------------------------------------------------------------

RARE = facts_of(
    context=TEN_CLASSES | {"classes": 2, "class_counts": [900, 30], "class_names": ["fine", "broken"]}
)


def predictions(number: int, *, correct: int, samples: int = 12) -> list[SeriesRow]:
    return [
        row("prediction_stats", number, **{"class": "0"}, samples=300, predicted=312 - correct, correct=300),
        row(
            "prediction_stats", number, **{"class": "1"}, samples=samples, predicted=correct, correct=correct
        ),
    ]


def looks(correct: int, *, samples: int = 12) -> list[Event]:
    rows = [item for number in (1, 2, 3, 5) for item in predictions(number, correct=correct, samples=samples)]
    return with_rows(stuck(0.96), rows)


def test_a_rare_class_that_is_given_up() -> None:
    (found,) = told("class_imbalance", RARE, looks(0))
    assert (found.severity, found.epoch) == ("warning", 5)
    assert "1 (broken)" in found.message
    assert found.evidence["value"] == 30
    assert [fix["id"] for fix in found.fixes] == ["balanced_loss", "macro_f1", "oversample"]
    assert_fixes_validate(RARE, found)


@pytest.mark.parametrize(
    ("facts", "events"),
    [
        (RARE, looks(6)),
        (RARE, looks(0, samples=2)),
        (facts_of(context=TEN_CLASSES | {"class_counts": [900, 200]}), looks(0)),
        (RARE, looks(0)[:9]),
        (facts_of(context={"task": "custom"}), looks(0)),
    ],
    ids=["recognised", "too few samples", "not rare", "early", "unknown"],
)
def test_no_imbalance(facts: RunFacts, events: list[Event]) -> None:
    assert told("class_imbalance", facts, events) == []


def test_the_ratio_is_a_threshold_of_the_config() -> None:
    assert told("class_imbalance", RARE, looks(0), {"ratio": 40}) == []


# --- real trainings -----------------------------------------------------------------------------------------

REAL: dict[str, tuple[dict[str, Any], str]] = {
    "overfitting": (
        {
            "data": {"target": f"{OWN}:mislabelled", "batch_size": 16},
            "optimizer": {"learning_rate": 0.01},
            "training": {"epochs": 12},
        },
        "train_",
    ),
    "underfitting": ({"optimizer": {"learning_rate": 1e-7}, "training": {"epochs": 7}}, "val_accuracy"),
    "dying_relu": (
        {
            "model": {"args": {"hidden": [64, 64]}},
            "optimizer": {"learning_rate": 0.3},
            "training": {"epochs": 3},
        },
        "layers.",
    ),
    "saturated_activation": (
        {
            "model": {"args": {"hidden": [64, 64], "activation": "tanh"}},
            "optimizer": {"learning_rate": 1.0},
            "training": {"epochs": 3},
        },
        "Tanh",
    ),
    "data_leakage": (
        {"data": {"target": f"{OWN}:repeated"}, "training": {"epochs": 1}},
        "validation samples",
    ),
    "class_imbalance": ({"data": {"target": f"{OWN}:lopsided"}, "training": {"epochs": 5}}, "of its"),
    "dead_parameters": ({"model": {"target": f"{OWN}:Listed"}, "training": {"epochs": 1}}, "blocks"),
}


@pytest.mark.parametrize("code", REAL)
def test_a_real_training_is_told_of(code: str, tmp_path: Any) -> None:
    changes, words = REAL[code]
    found = raised(tmp_path, changes)
    assert code in found, found
    assert words in f"{found[code].message} {found[code].evidence}"


def test_a_real_training_that_does_well_is_not(tmp_path: Any) -> None:
    assert raised(tmp_path, {"training": {"epochs": 6}}) == {}


# --- data quality -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", get_args(quality.Problem))
def test_each_finding_has_fixes_that_the_playbook_explains(problem: Any) -> None:
    config = DIGITS.config
    found = data_quality.problems([quality.Finding(problem, "warning", False, "!")], config)
    (told_,) = data_quality.diagnose(found, config, time=0.0)
    assert_fixes_validate(DIGITS, told_)
    playbook = (Path(data_quality.__file__).parent / "data_quality.md").read_text()
    fixes = playbook[playbook.index("## Fixes") : playbook.index("## Decision tree")]
    assert [fix["id"] for fix in told_.fixes if f"`{fix['id']}`" not in fixes] == []
    assert {fix["id"] for fix in told_.fixes} <= set(data_quality.FIX_IDS)


@pytest.mark.parametrize(
    ("data", "change"),
    [
        ({"target": "wine", "args": {"standardize": False}}, {"data.args.standardize": True}),
        ({"target": "npz", "args": {"path": "x.npz"}}, {"data.args.standardize": True}),
        ({"target": "table", "args": {"path": "x.csv", "normalize": False}}, {"data.args.normalize": True}),
        ({"target": "table", "args": {"path": "x.csv"}}, {}),
        ({"target": "own:data"}, {}),
    ],
)
def test_scales_are_mended_by_the_data_target_where_it_can(
    data: dict[str, Any], change: dict[str, Any]
) -> None:
    config = parse_config({"name": "x", "data": data})
    (fix,) = data_quality.fixes(quality.Finding("unnormalised", "warning", False, "!"), config)
    assert dict(fix.changes) == change
    assert fix.by_itself is bool(change)
