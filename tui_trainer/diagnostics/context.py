"""What is measured on data and model before the first step, for rules to judge by (`RunFacts.context`)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tui_trainer.data.dataset import ArrayDataset

if TYPE_CHECKING:
    from tui_trainer.engine.parts import Parts

_CLASSES_COUNTED = 1_000


def measure(parts: Parts) -> dict[str, Any]:
    """The keys that `RunFacts` lists, as JSON values; milliseconds for data in memory, else what is known anyway."""
    task = parts.data.task
    found: dict[str, Any] = {
        "task": task.kind,
        "train_samples": parts.train.samples,
        "val_samples": parts.val.samples,
        "loss": parts.loss.name,
        "batch_norm": any(isinstance(item, nn.modules.batchnorm._NormBase) for item in parts.model.modules()),  # noqa: SLF001 (no public base class)
    }
    if task.kind == "classification" and task.num_outputs:
        found["classes"] = task.num_outputs
    train, val = parts.data.train, parts.data.val
    if isinstance(train, ArrayDataset) and isinstance(val, ArrayDataset):
        found |= _of_targets(task.kind, train.targets, val.targets, task.num_outputs)
    return found


def _of_targets(kind: str, train: Tensor, val: Tensor, outputs: int | None) -> dict[str, Any]:
    """Class counts, and what the best predictor that sees no inputs reaches on the validation set."""
    if not len(train) or not len(val):
        return {}
    if kind == "classification" and train.ndim == 1 and outputs and outputs <= _CLASSES_COUNTED:
        return _of_classes(train, val, outputs)
    if kind == "binary":
        return _of_classes(train.flatten().round().long(), val.flatten().round().long(), 2)
    if kind == "regression":
        asked = val.double().flatten(1) if val.ndim > 1 else val.double()[:, None]
        known = train.double().flatten(1) if train.ndim > 1 else train.double()[:, None]
        trivial, zero = _errors(asked - known.mean(0)), _errors(asked)
        return {"trivial": trivial, "zero": zero} if math.isfinite(trivial["val_mse"]) else {}
    return {}


def _of_classes(train: Tensor, val: Tensor, classes: int) -> dict[str, Any]:
    known, asked = train[(train >= 0) & (train < classes)], val[(val >= 0) & (val < classes)]
    if not len(known) or not len(asked):
        return {}
    counts = torch.bincount(known, minlength=classes)
    logs = torch.log(counts.double().clamp(min=0.5) / counts.sum())
    majority = int(counts.argmax())
    return {
        "class_counts": counts.tolist(),
        "trivial": {
            "val_accuracy": float((asked == majority).double().mean()),
            "val_loss": float(-logs[asked].mean()),
        },
    }


def _errors(difference: Tensor) -> dict[str, float]:
    return {"val_mse": float(difference.square().mean()), "val_mae": float(difference.abs().mean())}
