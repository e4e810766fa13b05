"""Which epochs keep a checkpoint of their own: every Nth, and the best few."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass
class Retention:
    """Decides after each epoch. `every` None: no periodic ones; `keep_last_n` None: all of them stay.

    `keep_best_n` counts `best_model.pt`, so 1 keeps no epoch beyond it.
    """

    every: int | None
    keep_last_n: int | None
    keep_best_n: int
    mode: Literal["min", "max"]
    periodic: list[int] = field(default_factory=list)
    best: list[tuple[float, int]] = field(default_factory=list)

    def after_epoch(self, epoch: int, monitored: float) -> tuple[bool, list[int]]:
        """Whether this epoch's state is kept under its own name, and the epochs whose files go."""
        before = self._kept()
        if self.every and epoch % self.every == 0 and epoch not in self.periodic:
            self.periodic.append(epoch)
            if self.keep_last_n is not None:
                self.periodic = self.periodic[-self.keep_last_n :] if self.keep_last_n else []
        if self.keep_best_n > 1 and math.isfinite(monitored):
            sign = 1.0 if self.mode == "min" else -1.0
            self.best = sorted([*self.best, (sign * monitored, epoch)])[: self.keep_best_n]
        kept = self._kept()
        return epoch in kept, sorted(before - kept)

    def _kept(self) -> set[int]:
        return {*self.periodic, *(epoch for _, epoch in self.best)}

    def state_dict(self) -> dict[str, Any]:
        return {"periodic": list(self.periodic), "best": [list(item) for item in self.best]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.periodic = list(state["periodic"])
        self.best = [(float(value), int(epoch)) for value, epoch in state["best"]]
