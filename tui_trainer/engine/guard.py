"""The non-finite guard: no NaN or infinity reaches a weight, an optimizer state or a buffer.

The check is one fused pass over loss and gradients. Module buffers (BatchNorm's running statistics turn NaN in the
forward pass already) are kept from before the step and put back when the step is not taken.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

_ALWAYS_COPIED = 1 << 16  # elements


class BufferKeeper:
    """Copies of a model's buffers as they were before a step.

    Small buffers are copied each time: batch normalisation writes its running statistics in C++ without PyTorch
    counting it. Large ones (masks, tables) only when PyTorch counted a write in `_version`.
    """

    def __init__(self, modules: list[nn.Module]) -> None:
        # A buffer may be replaced by assignment: its slot in the module is what stays.
        self._slots: list[tuple[dict[str, Tensor | None], str]] = [
            (module._buffers, name)  # noqa: SLF001
            for root in modules
            for module in root.modules()
            for name, buffer in module._buffers.items()  # noqa: SLF001
            if buffer is not None
        ]
        self._copies: list[Tensor] = []
        self._seen: list[tuple[Tensor | None, int]] = []

    def __bool__(self) -> bool:
        return bool(self._slots)

    def keep(self) -> None:
        """Note what the buffers hold now."""
        if not self._copies:
            self._copies = [
                buffer.clone() for slot, name in self._slots if (buffer := slot[name]) is not None
            ]
            self._seen = [self._mark(position) for position in range(len(self._slots))]
            return
        into, out_of = [], []
        for position in self._changed():
            slot, name = self._slots[position]
            buffer = slot[name]
            if buffer is not None:
                into.append(self._copies[position])
                out_of.append(buffer)
                self._seen[position] = self._mark(position)
        if into:
            torch._foreach_copy_(into, out_of)

    def restore(self) -> None:
        """Put back what `keep` noted."""
        if not self._copies:
            return
        for position in self._changed():
            slot, name = self._slots[position]
            tensor = self._seen[position][0]
            if tensor is None:
                continue
            slot[name] = tensor
            with torch.no_grad():
                tensor.copy_(self._copies[position])
            self._seen[position] = self._mark(position)

    def restore_where(self, found: Tensor) -> None:
        """`restore` decided on the device: where `found` (a float32 scalar) is not 0, without asking the host."""
        bad = found.bool()
        for position in self._changed():
            slot, name = self._slots[position]
            buffer = slot[name]
            if buffer is not None:
                with torch.no_grad():
                    buffer.copy_(torch.where(bad, self._copies[position], buffer))

    def _changed(self) -> list[int]:
        """Positions of the buffers that may hold something else than at the last `keep`."""
        result = []
        for position, (slot, name) in enumerate(self._slots):
            buffer, (tensor, version) = slot[name], self._seen[position]
            small = buffer is not None and buffer.numel() <= _ALWAYS_COPIED
            if small or buffer is not tensor or (buffer is not None and buffer._version != version):  # noqa: SLF001
                result.append(position)
        return result

    def _mark(self, position: int) -> tuple[Tensor | None, int]:
        slot, name = self._slots[position]
        buffer = slot[name]
        return buffer, -1 if buffer is None else buffer._version  # noqa: SLF001


class FiniteCheck:
    """Are all of these tensors finite? One fused pass a device and type, the answer left on the device."""

    def __init__(self, device: torch.device) -> None:
        self.found = torch.zeros((), dtype=torch.float32, device=device)
        self._one = torch.ones((), dtype=torch.float32, device=device)
        self._is_zero = True

    def any_bad(self, tensors: list[Tensor]) -> bool:
        """`look`, read by the host at once."""
        if not self._is_zero:
            self.found.zero_()
        self._check(tensors)
        bad = bool(self.found.item())
        self._is_zero = not bad
        return bad

    def look(self, tensors: list[Tensor]) -> Tensor:
        """`found` (a float32 scalar): 1 when some value in `tensors` is NaN or infinite, else 0.

        The kernel is the one AMP unscales gradients with; at a scale of 1 it changes no value.
        """
        self.found.zero_()
        self._is_zero = False
        self._check(tensors)
        return self.found

    def _check(self, tensors: list[Tensor]) -> None:
        if tensors:
            first = tensors[0].dtype
            if all(tensor.dtype is first and not tensor.is_sparse for tensor in tensors):
                torch._amp_foreach_non_finite_check_and_unscale_(tensors, self.found, self._one)
            else:
                for group in _by_type(tensors):
                    torch._amp_foreach_non_finite_check_and_unscale_(group, self.found, self._one)


def _by_type(tensors: list[Tensor]) -> list[list[Tensor]]:
    groups: dict[Any, list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        values = tensor._values() if tensor.is_sparse else tensor  # noqa: SLF001 (the stored values suffice)
        groups[values.dtype, values.device].append(values)
    return list(groups.values())


def first_non_finite(named: list[tuple[str, nn.Parameter]]) -> str | None:
    """The name of the first parameter whose gradient holds a NaN or infinity; None when there is none."""
    for name, parameter in named:
        gradient = parameter.grad
        if gradient is None:
            continue
        values = gradient._values() if gradient.is_sparse else gradient  # noqa: SLF001 (the stored values suffice)
        if not torch.isfinite(values).all():
            return name
    return None
