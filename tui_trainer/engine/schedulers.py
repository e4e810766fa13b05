"""Learning rate schedules: PyTorch's, some with warm-up of our own, and any of the user's.

A schedule advances after each epoch or after each optimizer step. Its state holds only plain values; the learning
rates themselves live in the optimizer's.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor
from torch.optim import Optimizer, lr_scheduler

from tui_trainer.config.errors import ModelError
from tui_trainer.config.targets import call_target, resolve_target
from tui_trainer.config.wording import class_name, shown
from tui_trainer.engine.warmup import constant_with_warmup, cosine_with_warmup, linear

if TYPE_CHECKING:
    from pathlib import Path

    from tui_trainer.config.schema import SchedulerConfig

BUILTIN_SCHEDULERS: Mapping[str, Callable[..., Any] | str] = {
    "constant_with_warmup": constant_with_warmup,
    "cosine": lr_scheduler.CosineAnnealingLR,
    "cosine_with_warmup": cosine_with_warmup,
    "exponential": lr_scheduler.ExponentialLR,
    "linear": linear,
    "multistep": lr_scheduler.MultiStepLR,
    "none": "builtins:object",
    "one_cycle": lr_scheduler.OneCycleLR,
    "reduce_on_plateau": lr_scheduler.ReduceLROnPlateau,
    "step": lr_scheduler.StepLR,
}
"""What `scheduler.target` can name without an import path."""

_ALWAYS_PER_STEP = ("one_cycle", "linear", "cosine_with_warmup", "constant_with_warmup")
_LENGTHS = ("total_steps", "T_max", "num_training_steps")
_NOT_LENGTHS = {"mode", "cycle_momentum", "max_lr"}
_WORDS = {math.inf: "Infinity", -math.inf: "-Infinity"}
_NUMBERS = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}


@dataclass(frozen=True)
class _Run:
    """Length of the run in the schedule's own units."""

    length: int
    epochs: int
    steps_per_epoch: int
    monitor_mode: Literal["min", "max"]


class Schedule:
    """A schedule as the trainer drives it.

    `per_step`: it advances with `after_step`, else with `after_epoch`. `fixed_length`: it is laid out for the run's
    number of epochs, which then cannot be extended. `description`: facts for the log.
    """

    def __init__(
        self,
        scheduler: Any,
        optimizer: Optimizer,
        *,
        per_step: bool,
        fixed_length: bool,
        description: list[str],
    ) -> None:
        self.per_step, self.fixed_length, self.description = per_step, fixed_length, description
        self._scheduler, self._optimizer = scheduler, optimizer
        self._plateau = isinstance(scheduler, lr_scheduler.ReduceLROnPlateau)
        self._last = (
            scheduler.total_steps - 1 if isinstance(scheduler, lr_scheduler.OneCycleLR) else None
        )  # stepping further raises
        if isinstance(scheduler, (lr_scheduler.LRScheduler, lr_scheduler.ReduceLROnPlateau)):
            _forget_order(scheduler, optimizer)

    def after_step(self) -> None:
        """Advance by one optimizer step; does nothing where the schedule goes by epochs."""
        if self.per_step and self._scheduler is not None:
            self._advance()

    def after_epoch(self, monitored: float | None) -> None:
        """Advance by one epoch; does nothing where the schedule goes by steps.

        `monitored` is the value that reduce_on_plateau watches; a non-finite one counts as no improvement, None as
        no epoch at all.
        """
        if self.per_step or self._scheduler is None:
            return
        if not self._plateau:
            self._advance()
        elif monitored is not None:
            worst = math.inf if self._scheduler.mode == "min" else -math.inf
            self._scheduler.step(monitored if math.isfinite(monitored) else worst)

    def scale(self, factor: float) -> None:
        """Multiply the learning rate, now and for all that the schedule has yet to do, by `factor` (an
        intervention: setting the optimizer's alone would be undone at the next step of many schedules)."""
        for group in self._optimizer.param_groups:
            for name in ("lr", "initial_lr", "max_lr", "min_lr", "swa_lr"):
                if isinstance(group.get(name), Tensor):
                    group[name].mul_(factor)
                elif name in group:
                    group[name] *= factor
        for scheduler in _all_inside(self._scheduler):
            for name in ("base_lrs", "max_lrs"):  # CyclicLR keeps its upper bounds to itself
                if hasattr(scheduler, name):
                    setattr(scheduler, name, [value * factor for value in getattr(scheduler, name)])
            if hasattr(scheduler, "eta_min"):
                scheduler.eta_min *= factor

    @property
    def why_not_scaled(self) -> str | None:
        """Why `scale` would not hold for the rest of the run; None where it does."""
        known = (lr_scheduler.LRScheduler, lr_scheduler.ReduceLROnPlateau)
        for scheduler in _all_inside(self._scheduler):
            if not isinstance(scheduler, known) and not hasattr(scheduler, "base_lrs"):
                name = class_name(type(scheduler))
                return f"the schedule {name} sets the learning rate in a way of its own, and would undo it"
        return None

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors only: functions inside a schedule are left out, infinities are words."""
        if self._scheduler is None or not hasattr(self._scheduler, "state_dict"):
            return {}
        plain: dict[str, Any] = _plain(self._scheduler.state_dict())
        return plain

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Stand where `state` was taken; the optimizer's learning rates stay as they are.

        Raises `ValueError` when it is the state of another kind of schedule.
        """
        if self._scheduler is None:
            if state:
                raise ValueError("the state is of a learning rate schedule, but there is none")
            return
        own = self._scheduler.state_dict()
        missing = [name for name in _plain(own) if name not in state]
        unknown = [name for name in state if name not in own]
        if missing or unknown:
            raise ValueError(
                f"the state is of another schedule (it {'lacks ' + missing[0] if missing else 'has ' + unknown[0]})"
            )
        self._scheduler.load_state_dict(_merged(own, state))

    def _advance(self) -> None:
        if self._last is None or self._scheduler.last_epoch < self._last:
            self._scheduler.step()


def build_schedule(
    config: SchedulerConfig,
    optimizer: Optimizer,
    *,
    epochs: int,
    steps_per_epoch: int,
    monitor_mode: Literal["min", "max"],
    folder: Path,
) -> Schedule:
    """The schedule that `config` describes, over `optimizer`, with lengths filled in from the run.

    Lengths count in the schedule's own interval: epochs, or optimizer steps. Raises `ModelError`.
    """
    if config.target == "none":
        return Schedule(None, optimizer, per_step=False, fixed_length=False, description=["Type: none"])
    what = f"scheduler {config.target}"
    target = resolve_target(
        config.target, builtins=BUILTIN_SCHEDULERS, folder=folder, what="scheduler", error=ModelError
    )
    if not callable(target):
        raise ModelError(
            f"Scheduler {shown(config.target)} is a {class_name(type(target))}; expected a class."
        )
    one_cycle = target is lr_scheduler.OneCycleLR
    per_step = config.interval == "step" or one_cycle or config.target in _ALWAYS_PER_STEP
    if per_step and target is lr_scheduler.ReduceLROnPlateau:
        raise ModelError(
            "Scheduler reduce_on_plateau looks at the monitored value, which there is one of an epoch; set "
            "scheduler.interval: epoch."
        )
    run = _Run(epochs * (steps_per_epoch if per_step else 1), epochs, steps_per_epoch, monitor_mode)
    filled = _filled(target, config, run, optimizer)
    # By position: a factory may call its first parameter as it likes.
    made = call_target(
        functools.partial(target, optimizer), {**config.args, **filled}, what=what, error=ModelError
    )
    missing = [
        name for name in ("step", "state_dict", "load_state_dict") if not callable(getattr(made, name, None))
    ]
    if missing:
        raise ModelError(
            f"Scheduler {shown(config.target)} gave a {class_name(type(made))} without {missing[0]}(); expected a "
            "torch.optim.lr_scheduler.LRScheduler."
        )
    if per_step and isinstance(made, lr_scheduler.ReduceLROnPlateau):
        raise ModelError(
            f"Scheduler {shown(config.target)} follows a monitored value: set scheduler.interval: epoch."
        )
    open_ended = config.target == "constant_with_warmup"
    laid_out = bool(filled.keys() - _NOT_LENGTHS) or any(name in config.args for name in _LENGTHS)
    return Schedule(
        made,
        optimizer,
        per_step=per_step,
        fixed_length=laid_out and not open_ended,
        description=_description(made, config, filled, per_step=per_step),
    )


# --- what the run tells a schedule --------------------------------------------------------------------------


def _filled(target: Any, config: SchedulerConfig, run: _Run, optimizer: Optimizer) -> dict[str, Any]:
    """Arguments that the config leaves open and the run determines."""
    args = config.args
    if target is lr_scheduler.ReduceLROnPlateau:
        return {} if "mode" in args else {"mode": run.monitor_mode}
    if target is lr_scheduler.OneCycleLR:
        return _one_cycle(args, run, optimizer)
    if target is lr_scheduler.StepLR:
        return {} if "step_size" in args else {"step_size": max(1, run.length // 3)}
    if target is lr_scheduler.MultiStepLR and "milestones" not in args:
        return {"milestones": sorted({max(1, run.length // 2), max(1, run.length * 3 // 4)})}
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return {}
    lengths = dict.fromkeys(_LENGTHS, run.length) | {
        "epochs": run.epochs,
        "steps_per_epoch": run.steps_per_epoch,
    }
    return {
        name: length
        for name, length in lengths.items()
        if name in parameters and name not in args and parameters[name].default is inspect.Parameter.empty
    }


def _one_cycle(args: Mapping[str, Any], run: _Run, optimizer: Optimizer) -> dict[str, Any]:
    """Peak and length of one cycle; momentum is cycled only where the optimizer has some."""
    filled: dict[str, Any] = {}
    if "max_lr" not in args:
        filled["max_lr"] = [group["lr"] for group in optimizer.param_groups]
    if "total_steps" not in args and not ("epochs" in args and "steps_per_epoch" in args):
        filled["total_steps"] = run.length
    if "cycle_momentum" not in args:
        defaults = optimizer.defaults
        if not defaults.get("momentum") and "betas" not in defaults:
            filled["cycle_momentum"] = False
    return filled


def _description(
    made: Any, config: SchedulerConfig, filled: Mapping[str, Any], *, per_step: bool
) -> list[str]:
    settings = {name: value for name, value in {**config.args, **filled}.items() if name != "max_lr"}
    facts = [
        f"Type: {getattr(made, 'title', class_name(type(made)))}",
        f"Advances: each {'step' if per_step else 'epoch'}",
    ]
    for name, value in settings.items():
        label = name.replace("_", " ")
        facts.append(f"{label[:1].upper()}{label[1:]}: {value if isinstance(value, str) else shown(value)}")
    return facts


# --- state --------------------------------------------------------------------------------------------------


def _forget_order(scheduler: Any, optimizer: Optimizer) -> None:
    """Undo PyTorch's watch over the order of `optimizer.step` and `scheduler.step`.

    The order is the trainer's business, and steps that the non-finite guard leaves out would look like a mistake.
    The watch also wraps `optimizer.step` in two more calls.
    """
    if getattr(optimizer.__dict__.get("step"), "_wrapped_by_lr_sched", False):
        del optimizer.__dict__["step"]
    for inside in _all_inside(scheduler):
        if getattr(inside, "_step_count", None) == 1:
            inside._step_count = 2  # noqa: SLF001 (at exactly 1 the order is checked)


def _all_inside(scheduler: Any) -> list[Any]:
    """A scheduler and those it is made of."""
    inner = getattr(scheduler, "_schedulers", ())
    return (
        [scheduler, *(item for part in inner for item in _all_inside(part))] if scheduler is not None else []
    )


_LEFT_OUT = object()


def _plain(value: Any) -> Any:
    """`value` without anything that is not a plain value or a tensor; infinities and NaN as words."""
    if isinstance(value, float) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else _WORDS.get(value, "NaN")
    if isinstance(value, (bool, int, str, Tensor)) or value is None:
        return value
    if isinstance(value, Mapping):
        pairs = ((key, _plain(item)) for key, item in value.items() if isinstance(key, (str, int, float)))
        return {key: item for key, item in pairs if item is not _LEFT_OUT}
    if isinstance(value, (list, tuple)):
        items = [_plain(item) for item in value]
        return [None if item is _LEFT_OUT else item for item in items]
    return _LEFT_OUT


def _merged(own: Any, saved: Any) -> Any:
    """What was saved, in the types of `own`, with what `_plain` left out taken from there."""
    if isinstance(own, Mapping) and isinstance(saved, Mapping):
        if isinstance(own, Counter):
            return Counter(saved)
        return {**own, **{key: _merged(own.get(key), value) for key, value in saved.items()}}
    if isinstance(own, (list, tuple)) and isinstance(saved, (list, tuple)):
        if len(own) == len(saved):
            items = [_merged(before, now) for before, now in zip(own, saved, strict=True)]
        else:
            items = [_merged(None, now) for now in saved]
        return tuple(items) if isinstance(own, tuple) else items
    if saved is None and callable(own):
        return own
    if isinstance(saved, str) and not isinstance(own, str) and saved in _NUMBERS:
        return _NUMBERS[saved]
    return saved
