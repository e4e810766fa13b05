"""Snapshots: a training state copied, in milliseconds, into memory that another process can read.

A state is nested dicts, lists and tuples of primitives and tensors. `split` takes the tensors out; `Arena` keeps
copies of them in one block of shared memory that has no name (so a killed process leaves nothing behind).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

_ALIGNMENT = 64  # bytes
_SMALL_STATE = 64 << 10  # bytes of generators, counters and running metrics


@dataclass(frozen=True, slots=True)
class TensorRef:
    """Stands in a state for the tensor at `index`."""

    index: int


@dataclass(frozen=True, slots=True)
class Constant:
    """A part of a state that holds no tensor and never changes: passed on as it is."""

    content: Any


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a tensor lies in an arena."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int


def split(state: Any, tensors: list[Tensor]) -> Any:
    """`state` with every tensor replaced by a `TensorRef`, the tensors appended to `tensors`."""
    if isinstance(state, Tensor):
        tensors.append(state.detach())
        return TensorRef(len(tensors) - 1)
    if isinstance(state, dict):
        return {key: split(value, tensors) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)([split(value, tensors) for value in state])
    return state


def join(state: Any, tensors: list[Tensor]) -> Any:
    """The inverse of `split`."""
    if isinstance(state, TensorRef):
        return tensors[state.index]
    if isinstance(state, Constant):
        return state.content
    if isinstance(state, dict):
        return {key: join(value, tensors) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)([join(value, tensors) for value in state])
    return state


def lay_out(tensors: list[Tensor]) -> tuple[list[Layout], int]:
    """Offsets for dense copies of `tensors`, and the bytes they take together."""
    layouts, offset = [], 0
    for tensor in tensors:
        layouts.append(Layout(tensor.dtype, tuple(tensor.shape), offset))
        size = tensor.numel() * tensor.element_size()
        offset += -(-size // _ALIGNMENT) * _ALIGNMENT
    return layouts, offset


def views(memory: mmap.mmap, layouts: list[Layout]) -> list[Tensor]:
    """Tensors over `memory`, each with a storage of its own."""
    result = []
    for item in layouts:
        count = 1
        for length in item.shape:
            count *= length
        if count == 0:
            result.append(torch.empty(item.shape, dtype=item.dtype))
        else:
            flat = torch.frombuffer(memory, dtype=item.dtype, count=count, offset=item.offset)
            result.append(flat.view(item.shape))
    return result


class Arena:
    """A block of nameless shared memory that is filled again and again with the same kind of state.

    `fd` can be sent to another process. The memory grows when a larger state comes; `generation` then changes.
    """

    def __init__(self, number: int) -> None:
        self.number, self.generation, self.size = number, 0, 0
        self.fd = -1
        self.layouts: list[Layout] = []
        self._memory: mmap.mmap | None = None
        self._views: list[Tensor] = []

    def fill(self, tensors: list[Tensor]) -> None:
        """Copy `tensors` in; where their shapes and types are those of the last time, this is all it does."""
        same = len(tensors) == len(self.layouts) and all(
            tensor.dtype == item.dtype and tensor.shape == item.shape
            for tensor, item in zip(tensors, self.layouts, strict=True)
        )
        if not same:
            layouts, size = lay_out(tensors)
            if size > self.size:
                self._allocate(size)
            assert self._memory is not None
            self._views, self.layouts = views(self._memory, layouts), layouts
        if tensors:
            torch._foreach_copy_(self._views, tensors)

    def reserve(self, size: int) -> None:
        """Take `size` bytes and touch every page of them now: the first copy into fresh memory is a slow one."""
        if size > self.size:
            self._allocate(size)
            flat = torch.frombuffer(self._memory, dtype=torch.uint8)
            # Unlike a fill by torch this gives up the interpreter lock and starts no threads.
            ctypes.memset(flat.data_ptr(), 0, size)

    def tensors(self) -> list[Tensor]:
        """The copies, as tensors over the shared memory."""
        return self._views

    def close(self) -> None:
        """Free the memory here; a process that holds the descriptor still sees it."""
        self._views, self.layouts, self._memory, self.size = [], [], None, 0
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _allocate(self, size: int) -> None:
        self.close()
        if hasattr(os, "memfd_create"):
            # Not /dev/shm: containers limit that to 64 MB, and a crash would leave the file there.
            self.fd = os.memfd_create("mltrainer-snapshot", os.MFD_CLOEXEC)
        else:
            with tempfile.TemporaryFile() as stream:
                self.fd = os.dup(stream.fileno())
        if hasattr(os, "posix_fallocate"):
            # Memory that is not there shows here, not as a bus error later.
            os.posix_fallocate(self.fd, 0, size)
        else:
            os.ftruncate(self.fd, size)
        self._memory = mmap.mmap(self.fd, size)
        self.size, self.generation = size, self.generation + 1


def expected_bytes(modules: Sequence[nn.Module], optimizer: torch.optim.Optimizer) -> int:
    """About how large a snapshot will be, known before the optimizer has made its state."""
    tensors = [tensor for module in modules for tensor in module.state_dict().values()]
    held: int = sum(tensor.nbytes for tensor in tensors if isinstance(tensor, Tensor))
    moments: int = sum(
        parameter.nbytes * _moments(group)
        for group in optimizer.param_groups
        for parameter in group["params"]
    )
    return held + moments + 4 * _ALIGNMENT * len(tensors) + _SMALL_STATE


def _moments(group: dict[str, Any]) -> int:
    """Values that PyTorch's optimizers keep for each parameter, told by their settings."""
    if "betas" in group:
        return 2 + bool(group.get("amsgrad"))
    if "alpha" in group and "centered" in group:
        return 1 + bool(group["centered"]) + bool(group.get("momentum"))
    if "nesterov" in group:
        return int(bool(group.get("momentum")))
    return 1 if "lr_decay" in group else 2
