"""Running means that neither hide a non-finite value nor put one into a checkpoint."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Tally:
    """A weighted mean, fed one value at a time.

    Non-finite values are counted apart: the mean is NaN (or the infinity, when only one sign occurred) as soon as
    there is one, while the sums kept in checkpoints stay finite.
    """

    total: float = 0.0
    weight: float = 0.0
    nans: int = 0
    plus: int = 0
    minus: int = 0

    def add(self, value: float, weight: float = 1.0) -> None:
        if math.isfinite(value):
            self.total += value * weight
            self.weight += weight
        elif math.isnan(value):
            self.nans += 1
        elif value > 0:
            self.plus += 1
        else:
            self.minus += 1

    def mean(self) -> float:
        """The mean; NaN when nothing was added."""
        if self.nans or (self.plus and self.minus):
            return math.nan
        if self.plus or self.minus:
            return math.inf if self.plus else -math.inf
        return self.total / self.weight if self.weight else math.nan

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in self.__slots__:
            setattr(self, name, state[name])
