"""Dividing samples into train, val and test: seeded, stratified by class, whole groups on one side.

The order comes from numpy's `RandomState`, whose streams are frozen across numpy versions, so a seed names
the same split on every box. Global generators are never touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tui_trainer.config.errors import DataError

if TYPE_CHECKING:
    from tui_trainer.data.dataset import SplitName

Rows = NDArray[np.int64]
Counts = NDArray[np.int64]


def split_rows(
    samples: int,
    *,
    val_fraction: float,
    test_fraction: float = 0.0,
    seed: int,
    labels: NDArray[Any] | None = None,
    groups: NDArray[Any] | None = None,
) -> dict[SplitName, Rows]:
    """The rows of each split, sorted; the keys are train, val and, where asked for, test.

    Without `groups` the sizes are the fractions of `samples`, rounded. With integer `labels` each class takes
    its share of every split, and a class of two or more samples is in val as well as in train wherever val is
    large enough. With `groups` (any values, one a sample) each group is in one split only, and sizes and
    classes come as near as whole groups allow. Raises `DataError` where a split would be empty.
    """
    sizes = _sizes(samples, val_fraction, test_fraction)
    random = np.random.RandomState(seed % 2**32)
    classes = None if labels is None else np.unique(labels, return_inverse=True)[1].reshape(-1)
    if groups is not None:
        assignment = _whole_groups(_codes(groups), classes, sizes, random)
    elif classes is not None:
        assignment = _stratified(classes, sizes, random)
    else:
        assignment = np.zeros(samples, dtype=np.int8)
        order = random.permutation(samples)
        assignment[order[: sizes["test"]]] = _TEST
        assignment[order[sizes["test"] : sizes["test"] + sizes["val"]]] = _VAL
    rows: dict[SplitName, Rows] = {
        "train": np.flatnonzero(assignment == _TRAIN),
        "val": np.flatnonzero(assignment == _VAL),
    }
    if sizes["test"]:
        rows["test"] = np.flatnonzero(assignment == _TEST)
    return rows


_TRAIN, _VAL, _TEST = 0, 1, 2


def _sizes(samples: int, val_fraction: float, test_fraction: float) -> dict[SplitName, int]:
    val, test = (int(samples * fraction + 0.5) for fraction in (val_fraction, test_fraction))
    train = samples - val - test
    asked = f"data.val_fraction {val_fraction:g}" + (
        f" and data.test_fraction {test_fraction:g}" if test_fraction else ""
    )
    if train < 1 or val < 1 or (test_fraction > 0 and test < 1):
        counts = f"{max(train, 0)} for training and {val} for validation" + (
            f" and {test} for the test" if test_fraction else ""
        )
        raise DataError(
            f"The data has {samples} sample{'' if samples == 1 else 's'}; {asked} would leave {counts}. "
            "Each split needs at least one sample: change the fractions, or give more data."
        )
    return {"train": train, "val": val, "test": test}


def _stratified(
    classes: NDArray[np.int64], sizes: dict[SplitName, int], random: np.random.RandomState
) -> NDArray[np.int8]:
    counts = np.bincount(classes)
    shuffled = random.permutation(len(classes))
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    tie_order = random.permutation(len(counts))
    # A class keeps one sample for train, then one for val, before the test gets any.
    test = _allocate(
        counts, sizes["test"], tie_order, at_least=(counts >= 3).astype(np.int64), at_most=counts - 2
    )
    left = counts - test
    val = _allocate(left, sizes["val"], tie_order, at_least=(left >= 2).astype(np.int64), at_most=left - 1)
    rank = np.arange(len(classes)) - np.repeat(np.cumsum(counts) - counts, counts)
    of_class = classes[by_class]
    assignment = np.zeros(len(classes), dtype=np.int8)
    assignment[by_class[rank < test[of_class]]] = _TEST
    assignment[by_class[(rank >= test[of_class]) & (rank < (test + val)[of_class])]] = _VAL
    return assignment


def _allocate(
    counts: Counts, size: int, tie_order: NDArray[np.int64], *, at_least: Counts, at_most: Counts
) -> Counts:
    """How many of each class to take so that `size` are taken: proportional, by largest remainder.

    The bounds hold as far as `size` allows: `at_least` yields where it asks for more, `at_most` where it
    leaves less.
    """
    ideal = counts * (size / max(int(counts.sum()), 1))
    at_most = np.clip(at_most, 0, counts)
    if int(at_most.sum()) < size:
        at_most = counts
    at_least = np.minimum(at_least, at_most)
    if int(at_least.sum()) > size:
        at_least = np.zeros_like(counts)
    taken: Counts = np.clip(np.floor(ideal).astype(np.int64), at_least, at_most)
    while (missing := size - int(taken.sum())) != 0:
        step = 1 if missing > 0 else -1
        movable = taken < at_most if step > 0 else taken > at_least
        order = tie_order[np.argsort(-step * (ideal - taken)[tie_order], kind="stable")]
        taken[order[movable[order]][: abs(missing)]] += step
    return taken


def _codes(groups: NDArray[Any]) -> NDArray[np.int64]:
    """Groups as numbers 0, 1, …; all samples without a group (NaN, None) count as one group."""
    if groups.dtype.kind in "biufSU":
        return np.unique(groups, return_inverse=True)[1].reshape(-1).astype(np.int64)
    numbers: dict[Any, int] = {}
    return np.fromiter(
        (numbers.setdefault(None if value != value else value, len(numbers)) for value in groups.tolist()),  # noqa: PLR0124 (NaN is what differs from itself)
        dtype=np.int64,
        count=len(groups),
    )


def _whole_groups(
    groups: NDArray[np.int64],
    classes: NDArray[np.int64] | None,
    sizes: dict[SplitName, int],
    random: np.random.RandomState,
) -> NDArray[np.int8]:
    """Each group, the largest first, goes where most is missing: of its majority class, and altogether."""
    asked = [code for code, name in ((_TRAIN, "train"), (_VAL, "val"), (_TEST, "test")) if sizes[name]]  # type: ignore[index]  # the names are the keys
    group_sizes = np.bincount(groups)
    number = len(group_sizes)
    if number < len(asked):
        raise DataError(
            f"data.group_by divides the {len(groups)} samples into {number} "
            f"group{'' if number == 1 else 's'}, but {len(asked)} splits need at least one group each. "
            "Group by something finer, or leave data.group_by out."
        )
    majority = np.zeros(number, dtype=np.int64) if classes is None else _majority(groups, classes, number)
    share = np.array([sizes["train"], sizes["val"], sizes["test"]]) / len(groups)
    class_sizes = np.bincount(majority, weights=group_sizes)
    class_need = np.outer(class_sizes, share)
    need = share * len(groups)
    side = np.zeros(number, dtype=np.int8)
    order = random.permutation(number)
    order = order[np.argsort(-group_sizes[order], kind="stable")]
    class_need_list, need_list = class_need.tolist(), need.tolist()
    for group in order.tolist():
        size, of_class = int(group_sizes[group]), int(majority[group])
        wanted = class_need_list[of_class]
        best = max(
            asked, key=lambda code: wanted[code] / class_sizes[of_class] + need_list[code] / len(groups)
        )
        wanted[best] -= size
        need_list[best] -= size
        side[group] = best
    for code in asked:  # few groups: a split that got none takes the group that fits it best
        if not (side == code).any():
            spare = [other for other in asked if (side == other).sum() > 1]
            candidates = np.flatnonzero(np.isin(side, spare))
            side[candidates[np.argmin(np.abs(group_sizes[candidates] - need[code]))]] = code
    return side[groups]


def _majority(groups: NDArray[np.int64], classes: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    """The most frequent class of each group."""
    width = int(classes.max()) + 1
    pairs, counts = np.unique(groups * width + classes, return_counts=True)
    order = np.argsort(counts, kind="stable")  # the last one written is the most frequent
    result = np.zeros(number, dtype=np.int64)
    result[pairs[order] // width] = pairs[order] % width
    return result
