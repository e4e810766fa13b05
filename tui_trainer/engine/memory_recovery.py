"""What is done when memory runs out: fewer samples at once, and the same batch again.

A pass that failed leaves nothing behind, takes half as many samples at a time, and is tried again. The smaller number
stays for the rest of the run: memory that was short once will be short again.
"""

from __future__ import annotations

import functools
import gc
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn

from tui_trainer.config.errors import TrainingError
from tui_trainer.config.user_code import exception_text
from tui_trainer.engine.events import LogLine, MemoryShortage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tui_trainer.engine.trainer import Trainer

Phase = Literal["training", "validation"]

_SHORTAGE = re.compile(
    r"can't allocate memory|not enough memory|cannot allocate memory|out of memory|std::bad_alloc"
    r"|(CUBLAS|CUDNN|CUSPARSE|CUSOLVER)_STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)
_REQUESTED = re.compile(
    r"[Tt]ried to allocate ([\d.]+ ?[KMGT]?i?B)|allocate memory: you tried to allocate (\d+) bytes"
)


def is_memory_shortage(error: BaseException | None) -> bool:
    """Whether memory could not be had, on the host or on a device, be it said in other words by what called it."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
            return True
        if isinstance(error, RuntimeError) and _SHORTAGE.search(str(error)):
            return True
        error = error.__cause__
    return False


def requested_memory(error: BaseException) -> str:
    """How much was asked for ("2.00 GiB"), as far as the error says."""
    found = _REQUESTED.search(str(error))
    if found is None:
        return ""
    return found[1] or f"{int(found[2]) / 2**20:,.2f} MiB"


@dataclass(frozen=True)
class DeviceMemory:
    """What a CUDA device holds in bytes: in tensors (`allocated`), kept by PyTorch (`reserved`, tensors included),
    in all (`total`). None where there is no such thing."""

    allocated: int | None = None
    reserved: int | None = None
    total: int | None = None


def device_memory(device: torch.device) -> DeviceMemory:
    """The figures of the present moment."""
    if device.type != "cuda":
        return DeviceMemory()
    return DeviceMemory(
        torch.cuda.memory_allocated(device),
        torch.cuda.memory_reserved(device),
        torch.cuda.get_device_properties(device).total_memory,
    )


@dataclass(frozen=True)
class Shortage:
    """Memory ran out in a pass over `rows` samples at once; the next try takes `next_rows` (None: there is none)."""

    phase: Phase
    rows: int
    next_rows: int | None
    requested: str
    memory: DeviceMemory


def tell(trainer: Trainer, shortage: Shortage) -> None:
    """Say what happened, in the words of an event."""
    trainer.emit(
        MemoryShortage(
            time=trainer.clock(),
            epoch=trainer.epoch,
            step=trainer.step + (shortage.phase == "training"),
            phase=shortage.phase,
            micro_batch=shortage.rows,
            next_micro_batch=shortage.next_rows,
            requested=shortage.requested,
            device=str(trainer.parts.device),
            allocated=shortage.memory.allocated,
            reserved=shortage.memory.reserved,
            total=shortage.memory.total,
        )
    )


def watch(trainer: Trainer, recovery: MemoryRecovery) -> None:
    """Let a trainer's readers know of every shortage."""
    recovery.told = functools.partial(tell, trainer)
    recovery.warn = lambda text: trainer.emit(LogLine(time=trainer.clock(), level="warning", text=text))


class MemoryRecovery:
    """How many samples a pass may take at once. `rows`: None while memory has held whole batches.

    `smallest`: fewer make no pass. `told` gets every shortage, `warn` what is to be said beside it.
    """

    def __init__(
        self,
        device: torch.device,
        phase: Phase,
        *,
        smallest: int = 1,
    ) -> None:
        self.rows: int | None = None
        self.smallest = smallest
        self.told: Callable[[Shortage], object] = lambda _: None
        self.warn: Callable[[str], object] = lambda _: None
        self._device, self._phase = device, phase

    def shrink(self, error: BaseException, rows: int, obstacle: str = "") -> None:
        """Halve what is taken at once, after `rows` samples were too many. Call it while `error` is handled.

        Raises `TrainingError` where nothing is left to halve, or where there is an `obstacle`.
        """
        half = max(self.smallest, -(-rows // 2))
        following = half if half < rows and not obstacle else None
        shortage = Shortage(
            self._phase, rows, following, requested_memory(error), device_memory(self._device)
        )
        self.told(shortage)
        if following is None:
            raise TrainingError(_nothing_left(shortage, error, self._device, obstacle)) from error
        self.rows = following

    def make_room(self) -> None:
        """Give back what nobody uses. Call it once the error is out of sight: its frames hold what failed."""
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows = state.get("rows")


def smallest_pass(model: nn.Module) -> int:
    """Samples that a training pass needs at least: batch normalisation has no spread to divide by with one."""
    normed = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())  # noqa: SLF001
    return 2 if normed else 1


def even_parts(rows: int, at_most: int, smallest: int = 1) -> Iterator[tuple[int, int]]:
    """0 … `rows` as (start, stop) of parts as equal as can be, none above `at_most` or below `smallest`, the former
    first giving way."""
    count = max(1, min(-(-rows // at_most), rows // smallest))
    size, more = divmod(rows, count)
    start = 0
    for number in range(count):
        stop = start + size + (number < more)
        yield start, stop
        start = stop


class Generators:
    """The random state before a step, so that the step can be taken anew.

    Copying it takes up to 40 µs, so a generator's is kept only where steps draw from it: that is looked at over the
    first step and over one in `_LOOK_EVERY`.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._kept: dict[str, Any] = {}
        self._drawn: set[str] = set()
        self._until_look = 0

    def keep(self) -> None:
        """Note the present state of what steps draw from."""
        self._until_look -= 1
        if self._until_look < 0:
            self._look()
        elif self._drawn:
            self._kept = {name: _GET[name](self._device) for name in _GET if name in self._drawn}

    def restore(self) -> None:
        """Put back what `keep` noted."""
        for name, state in self._kept.items():
            _SET[name](self._device, state)

    def _look(self) -> None:
        """Keep all of them, and at the next call see which have moved on."""
        before = self._kept
        now = {name: get(self._device) for name, get in _GET.items()}
        if before.keys() == now.keys():
            self._drawn |= {name for name, state in now.items() if not _same(before[name], state)}
            self._kept = {name: state for name, state in now.items() if name in self._drawn}
            self._until_look = _LOOK_EVERY
        else:
            self._kept = now


def _set_device_state(device: torch.device, state: torch.Tensor | None) -> None:
    if state is not None:
        torch.cuda.set_rng_state(state, device)


_LOOK_EVERY = 256
_GET: dict[str, Callable[[torch.device], Any]] = {
    "python": lambda _: random.getstate(),
    "numpy": lambda _: np.random.get_state(),
    "torch": lambda _: torch.default_generator.get_state(),
    "device": lambda device: torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
}
_SET: dict[str, Callable[[torch.device, Any], object]] = {
    "python": lambda _, state: random.setstate(state),
    "numpy": lambda _, state: np.random.set_state(state),
    "torch": lambda _, state: torch.default_generator.set_state(state),
    "device": _set_device_state,
}


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, tuple):
        return all(map(_same, first, second))
    return bool(np.array_equal(first, second))


class UpdateFailed(Exception):
    """Memory does not hold the optimizer's state; weights and state are as before."""


def first_update(
    optimizer: torch.optim.Optimizer, update: Callable[[], object], memory: MemoryRecovery
) -> None:
    """An optimizer's first `update`, which makes its state: with what can be freed, where memory runs out.

    Raises `UpdateFailed`, or the failure itself where weights or state were changed already.
    """
    parameters = [item for group in optimizer.param_groups for item in group["params"]]
    stateless = [item for item in parameters if not optimizer.state.get(item)]
    kept = [*parameters, *_tensors_of_state(optimizer)]
    versions = [item._version for item in kept]  # noqa: SLF001 (the only way to know)
    for last in (False, True):
        try:
            update()
        except Exception as error:
            touched = versions != [item._version for item in kept]  # noqa: SLF001
            if touched or not is_memory_shortage(error):
                raise
            for item in stateless:
                optimizer.state.pop(item, None)
            if last:
                raise UpdateFailed(
                    f"Memory does not hold the state of the optimizer {type(optimizer).__name__} "
                    f"({exception_text(error, 200)}). The weights are those before this batch. Take an optimizer with "
                    "less state (sgd has none, adafactor little), a smaller model, or free the device (see "
                    "diagnostics/out_of_memory.md)."
                ) from error
        else:
            return
        memory.make_room()


def _tensors_of_state(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    states = optimizer.state.values()
    return [item for state in states for item in state.values() if isinstance(item, torch.Tensor)]


def _nothing_left(shortage: Shortage, error: BaseException, device: torch.device, obstacle: str) -> str:
    samples = "one sample" if shortage.rows == 1 else f"{shortage.rows} samples"
    memory = shortage.memory
    held = ""
    if memory.allocated is not None and memory.total is not None:
        held = f" Tensors hold {memory.allocated / 1e9:.2f} GB of the device's {memory.total / 1e9:.2f} GB."
    why = f"Fewer at a time cannot be taken: {obstacle}" if obstacle else "Fewer make no pass"
    advice = "Halve data.batch_size and double training.gradient_accumulation_steps, " if obstacle else ""
    advice += (
        "make the model or its inputs smaller, set training.precision: bf16 (half the memory of activations), take an "
        "optimizer with less state (sgd), or free the device"
    )
    return (
        f"Memory ran out on {device.type} in {shortage.phase} with {samples} at a time: {exception_text(error, 200)}. "
        f"{why}.{held} The weights are those before this batch. {advice[:1].upper()}{advice[1:]} (see "
        "diagnostics/out_of_memory.md)."
    )
