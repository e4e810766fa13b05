"""Schedules with a warm-up: the learning rate climbs in a line, then stays, or falls in a line or a cosine.

They count optimizer steps. Step t (from 0) of a warm-up over w steps has (t + 1) / w of the full rate, so that no
step is spent at a rate of zero (Goyal et al. 2017, "Accurate, Large Minibatch SGD", section 2.2, for the warm-up;
Loshchilov and Hutter 2017, "SGDR", for the cosine).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from torch.optim.lr_scheduler import LRScheduler

from tui_trainer.config.errors import ModelError
from tui_trainer.config.wording import shown

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

Shape = Literal["constant", "linear", "cosine"]
_USUAL_WARMUP = 0.05  # of all steps, where a schedule is called "with warm-up" and none is given


class WarmupSchedule(LRScheduler):
    """Warm-up over `warmup_steps`, then `shape` down to `end_factor` of the full rate at step `total_steps`."""

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        total_steps: int,
        warmup_steps: int,
        shape: Shape,
        end_factor: float = 0.0,
    ) -> None:
        self.total_steps, self.warmup_steps = total_steps, warmup_steps
        self.shape, self.end_factor = shape, end_factor
        super().__init__(optimizer)

    @property
    def title(self) -> str:
        """What the log calls it."""
        return f"{self.shape} with warm-up" if self.warmup_steps else self.shape

    def factor(self, step: int) -> float:
        """Share of the full learning rate at a step counted from 0."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.shape == "constant":
            return 1.0
        share = min(1.0, (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps))
        left = 1.0 - share if self.shape == "linear" else 0.5 * (1.0 + math.cos(math.pi * share))
        return self.end_factor + (1.0 - self.end_factor) * left

    def get_lr(self) -> list[float | Tensor]:
        factor = self.factor(self.last_epoch)
        return [base * factor for base in self.base_lrs]


def linear(
    optimizer: Optimizer,
    total_steps: int,
    warmup_steps: int | None = None,
    warmup_fraction: float | None = None,
    end_factor: float = 0.0,
) -> WarmupSchedule:
    """The schedule `linear`: down to `end_factor` of the learning rate, after a warm-up where one is given."""
    steps = _warmup("linear", total_steps, warmup_steps, warmup_fraction, usual=0.0)
    return WarmupSchedule(
        optimizer,
        total_steps=total_steps,
        warmup_steps=steps,
        shape="linear",
        end_factor=_share("linear", end_factor),
    )


def cosine_with_warmup(
    optimizer: Optimizer,
    total_steps: int,
    warmup_steps: int | None = None,
    warmup_fraction: float | None = None,
    end_factor: float = 0.0,
) -> WarmupSchedule:
    """The schedule `cosine_with_warmup`: half a cosine down to `end_factor` of the learning rate."""
    name = "cosine_with_warmup"
    steps = _warmup(name, total_steps, warmup_steps, warmup_fraction, usual=_USUAL_WARMUP)
    return WarmupSchedule(
        optimizer,
        total_steps=total_steps,
        warmup_steps=steps,
        shape="cosine",
        end_factor=_share(name, end_factor),
    )


def constant_with_warmup(
    optimizer: Optimizer,
    total_steps: int,
    warmup_steps: int | None = None,
    warmup_fraction: float | None = None,
) -> WarmupSchedule:
    """The schedule `constant_with_warmup`: the full learning rate after the warm-up."""
    steps = _warmup("constant_with_warmup", total_steps, warmup_steps, warmup_fraction, usual=_USUAL_WARMUP)
    return WarmupSchedule(optimizer, total_steps=total_steps, warmup_steps=steps, shape="constant")


def _warmup(name: str, total: int, steps: int | None, fraction: float | None, *, usual: float) -> int:
    """Steps of the warm-up, fewer than all."""
    if steps is not None and fraction is not None:
        raise ModelError(f"Scheduler {name}: give warmup_steps or warmup_fraction, not both.")
    if steps is None:
        return int(total * _share(name, usual if fraction is None else fraction, "warmup_fraction"))
    if isinstance(steps, bool) or not isinstance(steps, int) or not 0 <= steps < max(total, 1):
        raise ModelError(
            f"Scheduler {name}: args.warmup_steps is {shown(steps)}; expected a whole number from 0 to below the "
            f"run's {total} optimizer steps."
        )
    return steps


def _share(name: str, value: float, argument: str = "end_factor") -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ModelError(
            f"Scheduler {name}: args.{argument} is {shown(value)}; expected a number from 0 to below 1."
        )
    return float(value)
