"""Validation samples that are in the train set too: exact copies by content hash, and all but exact ones by distance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tui_trainer.diagnostics.yardsticks import spread_rows

if TYPE_CHECKING:
    from tui_trainer.data.dataset import ArrayDataset
    from tui_trainer.diagnostics.yardsticks import Space

_BYTES = 64 * 2**20  # of inputs that are hashed
_NAMED = 10
_VALUED_ROWS, _VALUED_COLUMNS, _MANY = 2_000, 64, 10**9
_CLOSE = 0.1  # of the usual distance between neighbours


def exact_copies(train: ArrayDataset, val: ArrayDataset) -> dict[str, Any]:
    """How much of the validation set is in the train set.

    `compared`: validation samples looked at; `copies`: of these, the ones whose input is also a train sample's;
    `contents`: different inputs among the copies; `distinct`: different inputs of all, as a share of the samples;
    `possible`: how many inputs the values that columns take could make (a billion stands for any more);
    `disagree`: copies with another target there; `rows`, `of`: the first copies' source rows, and their twins'. Where
    the train set is only sampled, `train_share` tells how much of it was looked at.
    """
    row_bytes = train.inputs[:1].nbytes
    most = max(1, _BYTES // max(1, row_bytes))
    train_rows, val_rows = spread_rows(len(train), most), spread_rows(len(val), max(1, most // 4))
    if train.inputs[:1].numel() != val.inputs[:1].numel() or train.inputs.dtype != val.inputs.dtype:
        return {}
    of_train, of_val = content_hashes(train.inputs[train_rows]), content_hashes(val.inputs[val_rows])
    ordered, order = of_train.sort(stable=True)
    place = torch.searchsorted(ordered, of_val).clamp(max=len(ordered) - 1)
    copied = ordered[place] == of_val
    here, there = val_rows[copied], train_rows[order[place[copied]]]
    disagree = (val.targets[here] != train.targets[there]).unsqueeze(-1).flatten(1).any(1)
    return {
        "compared": len(val_rows),
        "copies": len(here),
        "contents": len(torch.unique(of_val[copied])),
        "distinct": len(torch.unique(torch.cat([of_train, of_val]))) / (len(train_rows) + len(val_rows)),
        "possible": _combinations(train.inputs[train_rows]),
        "disagree": int(disagree.sum()),
        "train_share": len(train_rows) / len(train),
        "rows": val.source_rows[here[:_NAMED]].tolist(),
        "of": train.source_rows[there[:_NAMED]].tolist(),
    }


def _combinations(inputs: Tensor) -> int:
    """The product of how many values each column takes, from some rows and columns; a billion at most."""
    flat = inputs.reshape(len(inputs), -1)
    flat = flat[spread_rows(len(flat), _VALUED_ROWS)][:, spread_rows(flat.shape[1], _VALUED_COLUMNS)]
    product = 1
    for column in flat.T:
        product *= len(torch.unique(column))
        if product >= _MANY:
            return _MANY
    return product


def content_hashes(inputs: Tensor) -> Tensor:
    """`int64[n]`: equal for inputs of equal bytes, and for others hardly ever."""
    flat = inputs.reshape(len(inputs), -1).contiguous()
    if flat.is_floating_point():
        flat = flat + 0.0  # -0.0 and 0.0 are the same number
    words = flat.view(torch.uint8)
    padded = torch.nn.functional.pad(words, (0, -words.shape[1] % 8)).contiguous().view(torch.int64)
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(-(2**62), 2**62, (padded.shape[1],), generator=generator) | 1
    total = torch.zeros(len(padded), dtype=torch.int64)
    for start in range(0, padded.shape[1], 1024):  # int64 products wrap around, which is what is wanted
        part = padded[:, start : start + 1024]
        mixed = (part ^ (part >> 29)) * factors[start : start + 1024]
        total += (mixed ^ (mixed >> 32)).mul(-7046029254386353131).sum(1)
    return total


def near_copies(space: Space) -> dict[str, Any]:
    """Validation samples far closer to a train sample than train samples are to each other; {} for very little data.

    `near`: how many of `near_compared`, exact copies included, have a train sample within 10 % of the median distance
    between a train sample and its nearest; `near_usual`: the share of train samples that have one as close, which few
    features or repetition explain. Of the train set `near_share` was looked at.
    """
    train, val, some = space.train[space.near] * space.weights, space.val * space.weights, len(space.val)
    if len(train) < 50:
        return {}
    among = torch.cdist(train[:some], train)
    among.fill_diagonal_(torch.inf)
    nearest = among.amin(1)
    usual = float(nearest.median())
    closest = torch.cdist(val, train).amin(1)
    if not usual > 0:
        return {}
    return {
        "near": int((closest < _CLOSE * usual).sum()),
        "near_usual": float((nearest < _CLOSE * usual).double().mean()),
        "near_compared": len(space.val),
        "near_share": len(train) / space.train_samples,
    }
