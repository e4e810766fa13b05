"""The learning-rate range test: up to 100 trial steps at a growing rate, on the run's own model, put back afterwards.

Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3.3: let the rate grow from far too small to
far too large; where the loss falls fastest is a good rate, and a tenth of the one at which it diverges is a safe one.
"""

from __future__ import annotations

import copy
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tui_trainer.data.seeds import untouched_rng
from tui_trainer.engine.guard import BufferKeeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tui_trainer.data.batches import Batch
    from tui_trainer.engine.trainer import Trainer

LOWEST, HIGHEST, MOST_STEPS, SECONDS = 1e-6, 10.0, 100, 60.0
_FEWEST_STEPS = 30  # fewer leave jumps of more than a third of a power of ten
_WARM_UP = 3  # steps at the lowest rate: they tell how long a step takes
_DIVERGED = 4.0  # times the best smoothed loss; as in fastai's learning-rate finder
_MEMORY = 0.9  # weight of the past in the running mean that is looked at meanwhile
_CLEAR = 3.0  # times the noise of a batch, or so many hundredths of the loss: less tells little about where it fell
_WIDTH = 2.5  # steps, of the Gaussian that smooths the finished curve (a running mean would lag behind)


@dataclass(frozen=True, slots=True)
class RangeTest:
    """What came of it: rates and losses step by step, the losses `smoothed`, and the rate to train with.

    `steepest`: the rate at which the loss fell fastest, where it fell clearly; `diverged`: the one from which on it rose
    for good; `proposed`: the smaller of the first and a tenth of the second, or, where the loss hardly fell, a quarter
    of the rate from which on it rose. None where there was no such thing; `reason` says why.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    steepest: float | None
    diverged: float | None
    proposed: float | None
    reason: str
    seconds: float


def learning_rate_range_test(
    trainer: Trainer,
    *,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    steps: int = MOST_STEPS,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> RangeTest:
    """Try learning rates from `lowest` to `highest` in at most `steps` steps and about `seconds`.

    To be called where no epoch is under way (before `train`, or when it has returned). Weights, optimizer, buffers,
    generators and modes are afterwards what they were; a command that arrives ends the test early. Raises what a step
    raises.
    """
    began = clock()
    steps = max(2, min(steps, MOST_STEPS))
    rates: list[float] = []
    losses: list[float] = []
    diverged: float | None = None
    reason = ""
    with everything_put_back(trainer):
        groups = _groups(trainer)
        _set_rate(trainer, lowest)
        for _ in range(_WARM_UP):
            _step(trainer, next(groups))
        steps = _affordable(steps, each=(clock() - began) / _WARM_UP, seconds=seconds)
        running = best = math.nan
        for number in range(steps):
            if trainer.commands:
                reason = "it was broken off by a command"
                break
            rate = lowest * (highest / lowest) ** (number / (steps - 1))
            _set_rate(trainer, rate)
            loss = _step(trainer, next(groups))
            if not math.isfinite(loss):
                diverged = rate
                break
            rates.append(rate)
            losses.append(loss)
            running = loss if number == 0 else _MEMORY * running + (1 - _MEMORY) * loss
            best = running if number == 0 else min(best, running)
            if running - best > (_DIVERGED - 1) * max(abs(best), 1e-8):
                diverged = rate
                break
    return judged(rates, losses, diverged=diverged, reason=reason, seconds=clock() - began)


def judged(
    rates: Sequence[float],
    losses: Sequence[float],
    *,
    diverged: float | None,
    reason: str = "",
    seconds: float = 0.0,
) -> RangeTest:
    """The verdict on a finished curve of losses over growing rates."""
    smoothed = _smoothed(losses)
    steepest = proposed = None
    if not reason and len(losses) < _FEWEST_STEPS // 3:
        reason = "the loss was not finite from the lowest rates on"
    if not reason:
        third = max(3, len(losses) // 3)
        noise = float(np.std(np.asarray(losses[:third]) - smoothed[:third]))
        risen = _first_rise(rates, smoothed, noise)
        steepest = _steepest(rates, smoothed, noise, falls_only=diverged is None and risen is None)
        if steepest is None:
            proposed, reason = _below_rise(rates[0], risen, diverged)
        else:
            proposed, reason = _below_divergence(steepest, risen if diverged is None else diverged)
        diverged = risen if diverged is None else diverged
    return RangeTest(
        tuple(rates),
        tuple(losses),
        tuple(map(float, smoothed)),
        steepest,
        diverged,
        proposed,
        reason,
        seconds,
    )


def _steepest(rates: Sequence[float], smoothed: Any, noise: float, *, falls_only: bool) -> float | None:
    """The rate at which the loss fell fastest; None where it fell by so little that this is a matter of chance (where
    it only falls, and never rises, there is nothing better to go by)."""
    lowest_at = int(np.argmin(smoothed))
    least = max(noise, 0.01 * abs(smoothed[0])) * (1.0 if falls_only else _CLEAR)
    if lowest_at < 2 or smoothed[0] - smoothed[lowest_at] <= least:
        return None
    slope = np.gradient(smoothed[: lowest_at + 1], np.log10(rates[: lowest_at + 1]))
    return float(rates[int(np.argmin(slope))])


def _below_divergence(steepest: float, diverged: float | None) -> tuple[float, str]:
    """The rate to train with after a clear fall, and why it is that one."""
    if diverged is None or steepest <= diverged / 10:
        return _two_digits(steepest), "the loss fell fastest"
    return _two_digits(diverged / 10), "a tenth of where the loss diverges"


def _below_rise(lowest: float, risen: float | None, diverged: float | None) -> tuple[float | None, str]:
    """The same where the loss hardly fell: some models need more steps than there are here to leave their first
    plateau, but at which rate it breaks out upwards is plain. `risen` is the first sign of that, so less of a margin
    is needed."""
    limits = [share * rate for share, rate in ((0.25, risen), (0.1, diverged)) if rate is not None]
    if not limits or min(limits) < lowest:
        return None, "at no rate did the loss fall by more than it differs from batch to batch"
    return _two_digits(min(limits)), "well below where the loss rises; it hardly fell at any rate"


def _first_rise(rates: Sequence[float], smoothed: Any, noise: float) -> float | None:
    """Where, behind its lowest point, the loss rises clearly above what it began with, for good; None where it does
    not."""
    bound = smoothed[0] + max(2 * noise, 0.02 * abs(smoothed[0]))
    if not smoothed[-1] > bound:
        return None
    lowest_at = int(np.argmin(smoothed))
    below = np.flatnonzero(smoothed[lowest_at:] <= bound)
    return float(rates[lowest_at + int(below[-1]) + 1])


def _smoothed(losses: Sequence[float]) -> Any:
    """Losses smoothed by a Gaussian over their neighbours; near the ends over the neighbours that there are."""
    values = np.asarray(losses, dtype=float)
    if not len(values):
        return values
    distance = np.arange(len(values))[:, None] - np.arange(len(values))[None, :]
    weights = np.exp(-0.5 * (distance / _WIDTH) ** 2)
    return weights @ values / weights.sum(1)


def _two_digits(value: float) -> float:
    return float(f"{value:.1e}")


def _affordable(steps: int, *, each: float, seconds: float) -> int:
    """As many steps as time allows, but enough to tell something."""
    possible = int(seconds / each) - _WARM_UP if each > 0 else steps
    return min(steps, max(possible, _FEWEST_STEPS))


def _step(trainer: Trainer, group: list[Batch]) -> float:
    """Mean loss of one optimizer step; NaN where it was left out for something that was not finite."""
    result = trainer.step_runner.run(group, measure=False, on_outputs=None)
    losses = [float(loss) for loss in result.losses]
    return math.nan if bool(result.skipped) else sum(losses) / len(losses)


def _set_rate(trainer: Trainer, rate: float) -> None:
    """The first group's rate; the others keep their ratio to it."""
    groups = trainer.parts.optimizer.param_groups
    first = float(groups[0]["lr"])
    for group in groups:
        factor = float(group["lr"]) / first if first > 0 else 1.0
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate * factor)
        else:
            group["lr"] = rate * factor


def _groups(trainer: Trainer) -> Iterator[list[Batch]]:
    """Micro-batches of one step after the other, from as many epochs as it takes."""
    number = trainer.epoch
    while True:
        yield from trainer.parts.groups(number)
        number += 1


@contextmanager
def everything_put_back(trainer: Trainer) -> Iterator[None]:
    """Take steps of any kind in the block; the trainer is then, bit for bit, what it was before."""
    parts, runner = trainer.parts, trainer.step_runner
    roots = [root for root in (parts.model, parts.loss.module) if root is not None]
    modes = [(module, module.training) for root in roots for module in root.modules()]
    parameters = [item for root in roots for item in root.parameters()]
    weights = [_apart(item.detach()) for item in parameters]
    buffers = BufferKeeper(roots)
    buffers.keep()
    optimizer = _OptimizerCopy(parts.optimizer)
    scaler = copy.deepcopy(parts.precision.state_dict())
    memory, told, warn = runner.memory.state_dict(), runner.memory.told, runner.memory.warn
    shares = runner.shares.state_dict()
    runner.memory.told = lambda _: None
    runner.memory.warn = lambda _: None
    try:
        with untouched_rng(cuda=True):
            for root in roots:
                root.train()
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for item, weight in zip(parameters, weights, strict=True):
                item.copy_(weight)
                item.grad = None
        buffers.restore()
        optimizer.put_back()
        parts.precision.load_state_dict(scaler)
        runner.memory.load_state_dict(memory)
        runner.shares.load_state_dict(shares)
        runner.memory.told, runner.memory.warn = told, warn
        runner.begin_anew()


class _OptimizerCopy:
    """An optimizer's state and settings, to be put back into the very tensors that held them."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._states = [(item, state, _copied(state)) for item, state in optimizer.state.items()]
        self._groups = [_settings(group) for group in optimizer.param_groups]
        self._kept = [(settings, _copied(settings)) for settings in self._groups]

    def put_back(self) -> None:
        known = [item for item, _, _ in self._states]
        for item in [item for item in self._optimizer.state if not any(item is other for other in known)]:
            del self._optimizer.state[item]
        for item, state, kept in self._states:
            self._optimizer.state[item] = _filled(state, kept)
        for group, (settings, kept) in zip(self._optimizer.param_groups, self._kept, strict=True):
            group.update(_filled(settings, kept))


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}


def _apart(tensor: Tensor) -> Tensor:
    """A copy in the host's memory: the device has its hands full."""
    return tensor.detach().to("cpu", copy=True)


def _copied(values: Any) -> dict[str, Any]:
    return {
        name: (value, _apart(value) if isinstance(value, Tensor) else copy.deepcopy(value))
        for name, value in values.items()
    }


def _filled(values: Any, kept: dict[str, Any]) -> Any:
    """`values` with what was `kept`: tensors keep their identity and get their content back."""
    for name in [name for name in values if name not in kept]:
        del values[name]
    with torch.no_grad():
        for name, (value, content) in kept.items():
            values[name] = value.copy_(content) if isinstance(value, Tensor) else copy.deepcopy(content)
    return values
