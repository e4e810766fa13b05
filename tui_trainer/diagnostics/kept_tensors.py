"""Which tensors are alive that belong to nobody we know: the likely content of a memory leak."""

from __future__ import annotations

import gc
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tui_trainer.engine.events import DiagnosticRaised
    from tui_trainer.engine.parts import Parts

_FEWEST = 20  # alike, from which on they are no accident
_NAMED = 3  # kinds that are told of


@dataclass(frozen=True, slots=True)
class Kind:
    """`count` tensors alike. `bytes`: what they hold by themselves; `graphs`: how many of them still hold the graph
    that they were computed by, which can be far more than they are."""

    dtype: str
    shape: tuple[int, ...]
    count: int
    bytes: int
    graphs: int

    def in_words(self) -> str:
        """`1,200 of float32[32, 10] (1.5 MB), all with their graph`."""
        size = f" ({self.bytes / 1e6:.1f} MB)" if self.bytes >= 1e5 else ""
        with_graph = "all" if self.graphs == self.count else f"{self.graphs:,}"
        graph = f", {with_graph} with their graph" if self.graphs else ""
        return f"{self.count:,} of {self.dtype}{list(self.shape)}{size}{graph}"


def naming_what_is_kept(diagnostic: DiagnosticRaised, parts: Parts) -> DiagnosticRaised:
    """A memory leak's diagnostic, with the tensors that are alive by the thousand where there are such; any other as it
    is. Looks through all of Python's objects once: some hundredths of a second, spent where memory leaks only."""
    place = {"process": "cpu", "device": parts.device.type}.get(str(diagnostic.evidence.get("where")))
    if diagnostic.code != "memory_leak" or place is None:
        return diagnostic
    kinds = alive(place, set(map(id, _ours(parts))))[:_NAMED]
    if not kinds:
        return diagnostic
    evidence = diagnostic.evidence | {
        "kept": [
            {"dtype": item.dtype, "shape": list(item.shape), "count": item.count, "bytes": item.bytes}
            | {"graphs": item.graphs}
            for item in kinds
        ]
    }
    words = "; ".join(item.in_words() for item in kinds)
    return replace(
        diagnostic, message=f"{diagnostic.message} Tensors that are alive: {words}.", evidence=evidence
    )


def alive(device: str, known: set[int]) -> list[Kind]:
    """Kinds of tensors on a device of that type that Python holds many of, but for those whose `id` is `known`: those
    with graphs first, then by size. What was there before training began is set aside (`gc.freeze`) and not counted."""
    counted: dict[tuple[str, tuple[int, ...]], list[int]] = defaultdict(lambda: [0, 0, 0])
    for item in gc.get_objects():
        if issubclass(type(item), Tensor) and id(item) not in known and item.device.type == device:
            entry = counted[str(item.dtype).removeprefix("torch."), tuple(item.shape)]
            entry[0] += 1
            entry[1] += item.numel() * item.element_size()
            entry[2] += item.grad_fn is not None
    kinds = [Kind(*kind, *figures) for kind, figures in counted.items() if figures[0] >= _FEWEST]
    return sorted(kinds, key=lambda item: (-min(item.graphs, 1), -item.bytes))


def _ours(parts: Parts) -> Iterator[Any]:
    """The tensors of model, loss and optimizer."""
    modules = [item for item in (parts.model, parts.loss.module) if item is not None]
    for module in modules:
        for parameter in module.parameters():
            yield parameter
            yield parameter.grad
        yield from module.buffers()
    for state in parts.optimizer.state.values():
        yield from (value for value in state.values() if torch.is_tensor(value))
