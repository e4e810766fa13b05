"""Data sets of the suite, as a user's own code gives them; the faulty ones too. All are made from `seed`."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from tui_trainer.data import builtin

Pair = tuple[TensorDataset, TensorDataset]


def blobs(
    seed: int, samples: int = 480, classes: int = 4, features: int = 6, spread: float = 1.0
) -> TensorDataset:
    """Gaussian clouds, one a class."""
    return TensorDataset(*_blobs(seed, [samples // classes] * classes, features, spread))


def circles(seed: int, samples: int = 480, noise: float = 0.08) -> TensorDataset:
    """A ring within a ring."""
    return TensorDataset(*_circles(seed, samples, noise))


def tokens(seed: int, samples: int = 480, length: int = 10) -> TensorDataset:
    """Sequences of ids below 12; the class is which of three marks stands in it."""
    return TensorDataset(*_tokens(seed, samples, length))


def xor(seed: int, samples: int = 320) -> TensorDataset:
    """Four distinct inputs, each many times: train and validation cannot but share them."""
    bits = np.random.default_rng(seed).integers(0, 2, (samples, 2))
    return TensorDataset(
        torch.from_numpy(bits * 2.0 - 1).float(), torch.from_numpy(bits[:, 0] ^ bits[:, 1]).long()
    )


def line(seed: int, samples: int = 400, scale: float = 1.0, noise: float = 0.1) -> TensorDataset:
    """A linear function of five inputs, times `scale`."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(samples, 5))
    y = (x @ np.array([1.0, -2.0, 0.5, 1.5, -1.0]) + noise * draw.normal(size=samples)) * scale
    return TensorDataset(_floats(x), _floats(y[:, None]))


def imbalanced(
    seed: int, major: int = 600, minor: int = 12, spread: float = 1.0, distance: float = 1.0
) -> Pair:
    """Two clouds, of which one is rare; both splits have the same shares."""
    draw = np.random.default_rng(seed)
    x = np.concatenate(
        [draw.normal(size=(major, 4)) * spread, draw.normal(size=(minor, 4)) * spread + distance]
    )
    y = np.concatenate([np.zeros(major), np.ones(minor)]).astype(np.int64)
    val = np.arange(len(y)) % 4 == 0
    return (
        TensorDataset(_floats(x[~val]), torch.from_numpy(y[~val])),
        TensorDataset(_floats(x[val]), torch.from_numpy(y[val])),
    )


def cloud(seed: int, samples: int = 480) -> TensorDataset:
    """Points around (2, -1), for a generator to learn; the targets are not used."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(samples, 2)) * 0.5 + np.array([2.0, -1.0])
    return TensorDataset(_floats(x), _floats(draw.normal(size=(samples, 2))))


def altered(
    source: str,
    seed: int,
    *,
    few: int | None = None,
    noise: float = 0.0,
    leak: float = 0.0,
    nan_rows: int = 0,
    infinite: bool = False,
    bad_labels: int = 0,
    one_class: bool = False,
    constant_columns: int = 0,
    column_scale: float = 1.0,
    target_scale: float = 1.0,
    shift: float = 0.0,
) -> Pair:
    """A task's data with something wrong in it.

    `few`: train samples that are left. `noise`: share of train labels drawn anew (1: shuffled). `leak`: share of the
    validation samples that are in train too. `nan_rows`: rows with a NaN (or infinity). `column_scale`: of the first
    column. `shift`: added to all validation inputs.
    """
    x, y = _arrays(source, seed)
    draw = np.random.default_rng(seed + 1000)
    order = draw.permutation(len(x))
    cut = len(x) // 5
    val, train = order[:cut], order[cut:]
    if few is not None:
        train = train[:few]
    xt, yt, xv, yv = x[train].copy(), y[train].copy(), x[val].copy(), y[val].copy()
    if noise:
        wrong = draw.random(len(yt)) < noise
        yt[wrong] = draw.permutation(yt)[wrong]
    if leak:
        count = round(leak * len(xv))
        xt, yt = np.concatenate([xt, xv[:count]]), np.concatenate([yt, yv[:count]])
    if nan_rows:
        xt[draw.choice(len(xt), nan_rows, replace=False), 0] = np.inf if infinite else np.nan
    if bad_labels:
        yt[draw.choice(len(yt), bad_labels, replace=False)] = 999 if bad_labels < 5 else -7
    if one_class:
        yt[:], yv[:] = yt[0], yt[0]
    if constant_columns:
        xt[:, :constant_columns] = xv[:, :constant_columns] = 0.7
    if column_scale != 1.0:
        xt[:, 0] *= column_scale
        xv[:, 0] *= column_scale
    if target_scale != 1.0:
        yt, yv = yt * target_scale, yv * target_scale
    return (
        TensorDataset(torch.from_numpy(xt), torch.from_numpy(yt)),
        TensorDataset(torch.from_numpy(xv + shift if shift else xv), torch.from_numpy(yv)),
    )


class Slow(Dataset[Any]):
    """Blobs whose samples take `seconds` each to come."""

    def __init__(self, seed: int, seconds: float, samples: int = 320) -> None:
        self._inputs, self._targets = _blobs(seed, [samples // 4] * 4, 6, 1.0)
        self._seconds = seconds

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        time.sleep(self._seconds)
        return self._inputs[index], self._targets[index]


class Raising(Dataset[Any]):
    """Blobs of which one sample cannot be read once it was read `after` times."""

    def __init__(self, seed: int, after: int = 3) -> None:
        self._inputs, self._targets = _blobs(seed, [80] * 4, 6, 1.0)
        self._left = after

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index == 17:
            self._left -= 1
            if self._left < 0:
                raise OSError(5, "Input/output error", "sample-17.png")
        return self._inputs[index], self._targets[index]


def poison(inputs: Tensor) -> Tensor:
    """A transform that breaks where the first feature is large: it divides by what can be zero."""
    return inputs / (inputs[0] < 2.2).float()


def _arrays(source: str, seed: int) -> tuple[Any, Any]:
    """Inputs and targets of a task as arrays, standardised on everything."""
    if source in ("blobs", "circles", "tokens"):
        made = {"blobs": lambda: _blobs(seed, [120] * 4, 6, 1.0), "circles": lambda: _circles(seed, 480, 0.08),
                "tokens": lambda: _tokens(seed, 480, 10)}[source]()  # fmt: skip
        return made[0].numpy(), made[1].numpy()
    raw = source.endswith("_raw")
    name = {"cancer": "breast_cancer"}.get(source.removesuffix("_raw"), source.removesuffix("_raw"))
    image = {"image": True} if name == "conv" else {}
    name = "digits" if name == "conv" else name
    standardize = {} if name == "digits" else {"standardize": not raw}
    undivided = getattr(builtin, name)(**image, **standardize)
    inputs = undivided.prepare(np.arange(len(undivided))).inputs
    return inputs.numpy().astype(np.float32), undivided.targets.numpy()


def _blobs(seed: int, counts: list[int], features: int, spread: float) -> tuple[Tensor, Tensor]:
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(len(counts), features)) * 2.5
    y = np.repeat(np.arange(len(counts)), counts)
    x = centres[y] + draw.normal(size=(len(y), features)) * spread
    order = draw.permutation(len(y))
    return _floats(x[order]), torch.from_numpy(y[order]).long()


def _circles(seed: int, samples: int, noise: float) -> tuple[Tensor, Tensor]:
    draw = np.random.default_rng(seed)
    y = draw.integers(0, 2, samples)
    angle = draw.uniform(0, 2 * np.pi, samples)
    radius = np.where(y == 1, 0.5, 1.0) + draw.normal(size=samples) * noise
    return _floats(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1) * 1.5), torch.from_numpy(
        y
    ).long()


def _tokens(seed: int, samples: int, length: int) -> tuple[Tensor, Tensor]:
    draw = np.random.default_rng(seed)
    x, y = draw.integers(3, 12, (samples, length)), draw.integers(0, 3, samples)
    x[np.arange(samples), draw.integers(0, length, samples)] = y
    return torch.from_numpy(x).long(), torch.from_numpy(y).long()


def _floats(values: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
