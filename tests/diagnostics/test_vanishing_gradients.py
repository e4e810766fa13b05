"""vanishing_gradients fires where gradients die out and nothing is learned, not where a run has done its work."""

from __future__ import annotations

import pytest

from tests.diagnostics.synthetic import NUMBERS, epochs, facts_of, layers, raised, told, with_layers
from tui_trainer.engine.events import EpochFinished

CODE = "vanishing_gradients"
CLASSES = facts_of()
STEEP = [1e-9, 1e-7, 1e-5, 1e-3, 0.1, 0.4]
EVEN = [0.3, 0.4, 0.3, 0.5, 0.4, 0.4]
STUCK = [2.32, 2.305, 2.304, 2.304, 2.303, 2.304]


def test_tiny_gradients_in_the_first_layers_of_a_run_that_learns_nothing() -> None:
    (found,) = told(CODE, CLASSES, with_layers(epochs(STUCK, 0.11), STEEP))
    assert (found.severity, found.epoch) == ("critical", 3)
    assert found.evidence["layer"] == "layers.0.weight"
    assert found.evidence["ratio"] == pytest.approx(1e-7 / 0.4)
    assert found.evidence["threshold"] == 1e-3
    assert found.evidence["since_epoch"] == 1


def test_a_tiny_norm_in_all_layers_is_enough_where_nothing_is_learned() -> None:
    (found,) = told(CODE, CLASSES, epochs(STUCK, 0.11, norm=2e-5))
    assert found.severity == "warning"
    assert found.evidence["value"] == 2e-5


@pytest.mark.parametrize(
    ("losses", "accuracy", "norm"),
    [
        ([2.0, 1.0, 0.4, 0.1, 0.02, 0.004, 0.004, 0.004], 0.99, 1e-5),
        ([2.2, 1.8, 1.4, 1.0, 0.7, 0.5, 0.4, 0.3], 0.7, 1e-5),
    ],
    ids=["converged", "learning"],
)
def test_a_tiny_norm_is_fine_otherwise(losses: list, accuracy: float, norm: float) -> None:
    assert told(CODE, CLASSES, epochs(losses, accuracy, norm=norm)) == []


def test_a_noise_floor_with_no_gradient_left_is_fine() -> None:
    weak = NUMBERS | {"trivial": {"val_mse": 1.0}, "zero": {"val_mse": 1.0}, "linear": {"val_r2": 0.1}}
    events = [
        event
        for event in epochs([0.98, 0.95] + [0.94] * 20, norm=1e-6, train_r2=0.06)
        if isinstance(event, EpochFinished)
    ]
    assert told(CODE, facts_of(context=weak, epochs=40), events) == []


def test_even_gradients_of_a_run_that_stands_still_have_another_cause() -> None:
    assert told(CODE, CLASSES, with_layers(epochs(STUCK, 0.11), EVEN)) == []


def test_a_plateau_on_the_way_needs_the_evidence_of_the_layers() -> None:
    losses = [2.2, 1.6] + [1.5] * 8
    (found,) = told(CODE, CLASSES, with_layers(epochs(losses, 0.4), STEEP))
    assert found.epoch >= 7
    assert told(CODE, CLASSES, epochs(losses, 0.4, norm=1e-6)) == []


def test_units_that_are_all_dead_are_not_called_vanishing() -> None:
    assert told(CODE, CLASSES, with_layers(epochs(STUCK, 0.11), [0.0, 0.0, 0.0, 0.0, 0.0, 0.3])) == []


def test_gradients_that_underflow_to_nothing_on_the_way_are() -> None:
    assert told(CODE, CLASSES, with_layers(epochs(STUCK, 0.11), [0.0, 0.0, 1e-20, 1e-9, 1e-3, 0.3]))


def test_thresholds_can_be_set() -> None:
    events = list(with_layers(epochs(STUCK, 0.11), [2e-3, 0.1, 0.1, 0.2, 0.3, 0.4]))
    assert told(CODE, CLASSES, events) == []
    assert told(CODE, CLASSES, events, {"ratio": 0.5})
    assert told(CODE, CLASSES, with_layers(epochs(STUCK, 0.11), STEEP), {"epochs": 7}) == []


def test_one_layer_has_no_ratio() -> None:
    assert told(CODE, CLASSES, [layers(1, [1e-9]), *epochs(STUCK, 0.11)]) == []


def test_our_own_model_is_mended_by_config_and_anybody_elses_by_advice() -> None:
    deep = facts_of({"model": {"target": "mlp", "args": {"hidden": [32] * 4, "activation": "sigmoid"}}})
    (found,) = told(CODE, deep, with_layers(epochs(STUCK, 0.11), STEEP))
    assert found.fixes[0]["config_diff"] == {"model.args.activation": {"from": "sigmoid", "to": "selu"}}
    assert found.fixes[0]["action"] == "restart_fresh"
    theirs = facts_of({"model": {"target": "my.module:Net"}})
    (found,) = told(CODE, theirs, with_layers(epochs(STUCK, 0.11), STEEP))
    assert found.fixes[0]["id"] == "skip_connections"
    assert not found.fixes[0]["by_itself"]


def test_fewer_layers_come_first_where_a_stack_without_skip_connections_is_deep() -> None:
    deep = facts_of({"model": {"target": "mlp", "args": {"hidden": [16] * 5}}})
    (found,) = told(CODE, deep, with_layers(epochs(STUCK, 0.11), STEEP))
    assert found.fixes[0]["id"] == "shallower"


def test_a_deep_sigmoid_network_is_seen_in_training(tmp_path) -> None:
    deep = {"target": "mlp", "args": {"hidden": [24] * 8, "activation": "sigmoid"}}
    found = raised(tmp_path, {"data": {"target": "wine"}, "model": deep, "training": {"epochs": 5}})
    assert found[CODE].evidence["ratio"] < 1e-3
    assert found[CODE].evidence["layer"] == "layers.0.weight"
