"""`balanced` weights of classes in the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tui_trainer.config.errors import ModelError
from tui_trainer.engine.class_weights import class_weights, positive_weights

RARE = "tests.diagnostics.test_context:lopsided"


def test_classes_weigh_as_they_are_rare() -> None:
    targets = torch.tensor([0] * 6 + [1] * 2 + [2] * 4 + [-100] * 5)
    assert class_weights(targets, 4) == pytest.approx([12 / 24, 12 / 8, 12 / 16, 0.0])


def test_positives_weigh_as_they_are_rare() -> None:
    targets = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    assert positive_weights(targets) == [3.0, 1.0, 1.0]


def test_the_loss_of_a_run_is_weighed_by_its_train_set(make_run: Callable[..., Any]) -> None:
    run = make_run({"data": {"target": RARE}, "loss": {"args": {"weight": "balanced"}}})
    weight = run.trainer.parts.loss.module.weight
    counts = torch.bincount(run.trainer.parts.data.train.targets, minlength=2)
    assert torch.allclose(weight, counts.sum() / (2.0 * counts))
    assert run.trainer.config_content["loss"]["args"] == {"weight": "balanced"}
    run.train()


def test_binary_targets_take_pos_weight(make_run: Callable[..., Any]) -> None:
    run = make_run({"data": {"target": "breast_cancer"}, "loss": {"args": {"pos_weight": "balanced"}}})
    targets = run.trainer.parts.data.train.targets
    expected = float((targets == 0).sum() / (targets == 1).sum())
    assert float(run.trainer.parts.loss.module.pos_weight) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("data", "argument", "instead"),
    [("breast_cancer", "weight", "pos_weight"), ("digits", "pos_weight", "loss.args.weight: balanced")],
)
def test_the_wrong_one_is_refused(
    data: str, argument: str, instead: str, make_run: Callable[..., Any]
) -> None:
    with pytest.raises(ModelError, match=instead):
        make_run({"data": {"target": data}, "loss": {"args": {argument: "balanced"}}})
