"""What simple predictors reach on the validation set: the figures that a model has to beat."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from tui_trainer.data.dataset import ArrayDataset

Figures = dict[str, float]

_CLASSES = 1_000
_ROWS, _COLUMNS, _NUMBERS = 20_000, 2_000, 4_000_000  # that a linear model is fitted to
_RIDGE = 1e-2  # of a standardised feature's sum of squares
_NEIGHBOURS = 5
_PRODUCTS = 2**29  # multiplications that distances may take
_COMPARED = 500  # samples whose neighbours are looked for


def trivial_of_classes(train: Tensor, val: Tensor, classes: int) -> tuple[list[int], Figures]:
    """Train samples of each class, and the figures of always predicting the most frequent one."""
    if not 0 < classes <= _CLASSES:
        return [], {}
    known, asked = train[(train >= 0) & (train < classes)], val[(val >= 0) & (val < classes)]
    if not len(known) or not len(asked):
        return [], {}
    counts = torch.bincount(known, minlength=classes)
    logs = torch.log(counts.double().clamp(min=0.5) / counts.sum())
    majority = int(counts.argmax())
    return counts.tolist(), {
        "val_accuracy": float((asked == majority).double().mean()),
        "val_loss": float(-logs[asked].mean()),
    }


def trivial_of_numbers(train: Tensor, val: Tensor) -> Figures:
    """The figures of always predicting the mean."""
    return errors(train.double().mean(0).expand_as(val), val)


class Space:
    """Standardised inputs of data in memory, `float32[n, features]`, and what they tell of the targets.

    `train` and `val` may be samples of the data, spread evenly: those at `train_rows` and `val_rows`. `near`: the
    places in `train` that neighbours are looked for in, fewer where there would be too much to compare. `weights`: of
    the features in distances, below 1 for those that hardly vary (a picture's border), so that noise is not blown up.
    """

    def __init__(self, train: ArrayDataset, val: ArrayDataset) -> None:
        columns = max(1, train.inputs[:1].numel())
        self.train_samples = len(train)
        self.train_rows = spread_rows(len(train), max(1, min(_ROWS, _NUMBERS // columns)))
        self.val_rows = spread_rows(len(val), _COMPARED)
        inputs = train.inputs[self.train_rows].flatten(1).float()
        mean, deviation = inputs.mean(0), inputs.std(0)
        scale = torch.where(deviation > 1e-6 * (1 + mean.abs()), deviation, torch.inf)
        self.train = (inputs - mean) / scale
        self.val = ((val.inputs[self.val_rows].flatten(1).float() - mean) / scale).clamp(-10, 10)
        usual = deviation.square().mean().sqrt()
        self.weights = (deviation / (0.1 * usual)).clamp(max=1.0) if usual > 0 else torch.ones_like(deviation)
        self.near = spread_rows(len(self.train), max(1, _PRODUCTS // (_COMPARED * columns)))

    def linear(self, train: Tensor) -> Tensor | None:
        """Predictions `[val, outputs]` of a ridge regression; None where it is too large or has no solution.

        `train`: targets `float[n, outputs]` of all train samples.
        """
        if self.train.shape[1] > _COLUMNS:
            return None
        targets = train[self.train_rows].double()
        centre = targets.mean(0)
        inputs = self.train
        gram = (inputs.T @ inputs).double()
        gram.diagonal().add_(_RIDGE * len(inputs))
        weights, info = torch.linalg.solve_ex(gram, (inputs.T @ (targets - centre).float()).double())
        if int(info) or not bool(torch.isfinite(weights).all()):
            return None
        guessed: Tensor = self.val.double() @ weights + centre
        return guessed

    def nearest(self) -> Tensor | None:
        """`int64[val, 5]`: the places in `train` closest to each validation sample; None where there are too few."""
        if len(self.near) < 10 * _NEIGHBOURS:
            return None
        closest = (
            torch.cdist(self.val * self.weights, self.train[self.near] * self.weights)
            .topk(_NEIGHBOURS, largest=False)
            .indices
        )
        return self.near[closest]


def of_classes(space: Space, train: Tensor, val: Tensor, classes: int) -> dict[str, Figures]:
    """`linear` (least squares on one-hot targets) and `neighbours` (majority of five), as far as they can be had."""
    found: dict[str, Figures] = {}
    one_hot = torch.nn.functional.one_hot(train.clamp(0, classes - 1), classes).float()
    asked = val[space.val_rows]
    guessed = space.linear(one_hot)
    if guessed is not None:
        found["linear"] = {"val_accuracy": _share(guessed.argmax(1) == asked)}
    nearest = space.nearest()
    if nearest is not None:
        votes = one_hot[space.train_rows][nearest].sum(1)
        found["neighbours"] = {"val_accuracy": _share(votes.argmax(1) == asked)}
    return found


def of_numbers(space: Space, train: Tensor, val: Tensor) -> dict[str, Figures]:
    """As `of_classes`, for targets `[n, outputs]` that are numbers."""
    found: dict[str, Figures] = {}
    asked = val[space.val_rows]
    guessed = space.linear(train)
    if guessed is not None and (figures := errors(guessed, asked)):
        found["linear"] = figures
    nearest = space.nearest()
    if nearest is not None and (figures := errors(train[space.train_rows][nearest].mean(1), asked)):
        found["neighbours"] = figures
    return found


def errors(guessed: Tensor, true: Tensor) -> Figures:
    """The figures of predictions; {} for targets that are not finite, or all the same."""
    error = true.double() - guessed.double()
    mse, spread = float(error.square().mean()), float((true.double() - true.double().mean(0)).square().mean())
    if not math.isfinite(mse) or spread <= 0:
        return {}
    return {
        "val_mse": mse,
        "val_rmse": math.sqrt(mse),
        "val_mae": float(error.abs().mean()),
        "val_r2": 1 - mse / spread,
    }


def _share(right: Tensor) -> float:
    return float(right.double().mean())


def spread_rows(samples: int, most: int) -> Tensor:
    """At most `most` positions, evenly over `samples`."""
    if samples <= most:
        return torch.arange(samples)
    return torch.linspace(0, samples - 1, most, dtype=torch.float64).round().long()
