"""A training of the suite: what is trained, what is wrong with it, and how one sees that it really is as it claims."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Settings = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    `raised`: code, severity and epoch of every diagnostic, in order. `history`: the columns of each finished epoch.
    `trained`: epochs trained in all, those that were thrown away included; `tried`: the steps of range tests beside
    them, in epochs. `fixes`: ids of the fixes applied.
    `skipped`: batches left out as non-finite. `troubles`: what the log says of rules that raised an exception.
    """

    raised: tuple[tuple[str, str, int], ...]
    history: tuple[Mapping[str, float], ...]
    status: str
    exit_code: int
    trained: int
    seconds: float
    tried: float = 0.0
    skipped: int = 0
    fixes: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()
    message: str = ""

    def alarms(self) -> list[tuple[str, str, int]]:
        """Diagnostics of severity warning and critical."""
        return [item for item in self.raised if item[1] != "info"]

    def column(self, name: str) -> list[float]:
        """A metric, epoch by epoch."""
        return [row[name] for row in self.history if name in row]

    def best(self, name: str, *, higher: bool = True) -> float:
        """Its best value; the worst there is without one."""
        values = [value for value in self.column(name) if not math.isnan(value)]
        if higher:
            return max(values, default=float("-inf"))
        return min(values, default=float("inf"))


Check = Callable[[Outcome], str]
"""Why a run is not what its case claims; empty where it is."""


def no_check(_: Outcome) -> str:
    """For faults that are there by construction."""
    return ""


def overfitted(outcome: Outcome) -> bool:
    """Better on the training set by 15 points of accuracy in the last epochs; or validation loss well above its best
    (by 15 % of it, and by 5 % of where it began) while the training loss still falls."""
    val, train = outcome.column("val_loss"), outcome.column("train_loss")
    if len(val) < 4:
        return False
    of_train, of_val = outcome.column("train_accuracy")[-3:], outcome.column("val_accuracy")[-3:]
    best = min(range(len(val)), key=val.__getitem__)
    rise = sum(val[-3:]) / 3 - val[best]
    rises = rise > max(0.15 * abs(val[best]), 0.05 * abs(val[0]))
    return (sum(of_train) - sum(of_val)) / 3 > 0.15 or (rises and train[-1] < train[best])


@dataclass(frozen=True)
class Case:
    """`code` None: healthy. `expected`: any of these codes counts as found; `code` is the one that names it exactly.

    `metric`: the column that tells how well it went, higher is better. `repairable`: settings can mend it.
    `watchdog_s`: how often the watchdog looks; None: as always.
    """

    name: str
    task: str
    seed: int
    config: Settings
    metric: str
    code: str | None = None
    expected: frozenset[str] = frozenset()
    held_out: bool = False
    repairable: bool = False
    check: Check = field(default=no_check, repr=False)
    watchdog_s: float | None = None

    @property
    def family(self) -> str:
        """What it has in common with its variants."""
        return self.name.split("/")[0]


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Settings:
    """`base` with `changes` taken over; a mapping with a `target` replaces the one that was there."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and "target" not in value:
            result[key] = merged(old, value)
        else:
            result[key] = value
    return result
