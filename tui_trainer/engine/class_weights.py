"""`balanced` weights of classes in a loss: each class counts the same, however many samples it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from tui_trainer.config.errors import ModelError
from tui_trainer.data.items import known_targets

if TYPE_CHECKING:
    from torch import Tensor

    from tui_trainer.config.schema import LossConfig
    from tui_trainer.data.dataset import DataSplits

BALANCED = "balanced"


def with_class_weights(config: LossConfig, data: DataSplits) -> LossConfig:
    """`config` with the numbers that `weight: balanced` and `pos_weight: balanced` stand for in this train set.

    `weight`: samples / (classes · samples of the class), as scikit-learn has it, and 0 for a class without samples.
    `pos_weight`: negatives / positives of each output. Raises `ModelError` where targets cannot be counted.
    """
    asked = {name for name in ("weight", "pos_weight") if config.args.get(name) == BALANCED}
    if not asked:
        return config
    targets, task = known_targets(data.train), data.task
    if targets is None or not len(targets):
        raise ModelError(
            f"loss.args.{min(asked)} is balanced, but the data set does not tell its targets without reading every "
            "item. Give it an attribute `targets` that holds them, or write the weights as a list of numbers."
        )
    given: dict[str, Any] = dict(config.args)
    if "weight" in asked:
        if task.kind != "classification" or not task.num_outputs:
            raise ModelError(
                f"loss.args.weight is balanced, which is for classes, but the task is {task.kind}. For 0/1 targets set "
                "loss.args.pos_weight: balanced."
            )
        given["weight"] = class_weights(targets, task.num_outputs)
    if "pos_weight" in asked:
        if task.kind not in ("binary", "multilabel"):
            raise ModelError(
                f"loss.args.pos_weight is balanced, which is for 0/1 targets, but the task is {task.kind}. For classes "
                "set loss.args.weight: balanced."
            )
        given["pos_weight"] = positive_weights(targets)
    return config.model_copy(update={"args": given})


def class_weights(targets: Tensor, classes: int) -> list[float]:
    """One weight a class for targets `int64[n, …]`; their mean over the samples is 1."""
    flat = targets.flatten()
    counts = torch.bincount(flat[(flat >= 0) & (flat < classes)], minlength=classes).double()
    weights = counts.sum() / (classes * counts)
    found: list[float] = torch.where(counts > 0, weights, 0.0).tolist()
    return found


def positive_weights(targets: Tensor) -> list[float]:
    """Negatives to positives of each output of 0/1 targets `[n]` or `[n, outputs]`; 1 where one of them is missing."""
    positive = targets.reshape(len(targets), -1).double().round()
    count = positive.sum(0)
    found: list[float] = torch.where(
        (count > 0) & (count < len(positive)), (len(positive) - count) / count, 1.0
    ).tolist()
    return found
