"""Best epoch and early stopping: two counters over the monitored metric."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

Mode = Literal["min", "max"]


@dataclass
class Best:
    """The best value of a metric so far and where it was. A non-finite value is never best."""

    mode: Mode
    min_delta: float = 0.0
    value: float | None = None
    epoch: int = 0
    step: int = 0
    epochs_since: int = 0

    def update(self, value: float, *, epoch: int, step: int) -> bool:
        """Take note of `value`; True when it improves on the best by more than `min_delta`."""
        if not math.isfinite(value) or not self._improves(value):
            return False
        self.value, self.epoch, self.step = value, epoch, step
        return True

    def end_epoch(self, *, improved: bool) -> None:
        """Count epochs without improvement."""
        self.epochs_since = 0 if improved else self.epochs_since + 1

    def _improves(self, value: float) -> bool:
        if self.value is None:
            return True
        return (
            value < self.value - self.min_delta if self.mode == "min" else value > self.value + self.min_delta
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "epoch": self.epoch,
            "step": self.step,
            "epochs_since": self.epochs_since,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value, self.epoch = state["value"], state["epoch"]
        self.step, self.epochs_since = state["step"], state["epochs_since"]
