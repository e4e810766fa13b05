"""Random state: deriving seeds, and leaving the global generators as they were found.

Sample order and augmentation draw from seeds derived from (seed, epoch, batch), never from where the global
generators happen to stand: that is what lets a resumed run fetch the very next batch without replaying any.
"""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MASK = (1 << 64) - 1


def derive_seed(seed: int, *keys: int) -> int:
    """A 63-bit seed from `seed` and `keys`; neighbouring keys give unrelated seeds (SplitMix64, Steele 2014)."""
    state = seed & _MASK
    for key in keys:
        state = (state ^ (key & _MASK)) & _MASK
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


def seed_cpu_generators(seed: int) -> None:
    """Seed python's, numpy's and torch's global CPU generators; CUDA's are left alone."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed)


def _cuda_started() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]  # torch's


class _Words:
    """Turns a generator's words into a tensor, and remembers the last: training seldom draws from all generators."""

    def __init__(self) -> None:
        self._words: tuple[int, ...] = ()
        self._tensor = torch.empty(0, dtype=torch.int64)

    def tensor_of(self, words: tuple[int, ...]) -> torch.Tensor:
        """`words` as int64[n]; never to be changed in place."""
        if words != self._words:
            self._words, self._tensor = words, torch.tensor(words, dtype=torch.int64)
        return self._tensor


_python_words, _numpy_words = _Words(), _Words()


def rng_state() -> dict[str, Any]:
    """The state of every global generator, in types that `torch.load(weights_only=True)` reads."""
    devices = torch.cuda.get_rng_state_all() if _cuda_started() else []
    return _in_plain_types(random.getstate(), np.random.get_state(), torch.get_rng_state(), devices)


def _in_plain_types(
    python: Any, numpy: Any, cpu: torch.Tensor, devices: list[torch.Tensor]
) -> dict[str, Any]:
    version, words, gauss = python
    name, keys, position, has_gauss, cached = numpy
    return {
        "python": {"version": version, "words": _python_words.tensor_of(words), "gauss": gauss},
        "numpy": {
            "name": str(name),
            "keys": _numpy_words.tensor_of(tuple(keys.tolist())),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
        "torch": cpu,
        "cuda": devices,
    }


def restore_rng_state(state: dict[str, Any]) -> None:
    """Put back what `rng_state` returned."""
    python, numpy = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    keys = numpy["keys"].numpy().astype(np.uint32)
    np.random.set_state((numpy["name"], keys, numpy["position"], numpy["has_gauss"], numpy["cached"]))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([item.cpu() for item in state["cuda"]])


@contextmanager
def untouched_rng(*, cuda: bool = False) -> Iterator[Callable[[], dict[str, Any]]]:
    """Run a block and leave the global generators where they stood before it.

    Gives a function that returns that state, as `rng_state` would have before the block.
    """
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if cuda and _cuda_started() else []
    try:
        yield lambda: _in_plain_types(python, numpy, cpu, devices)
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if devices:
            torch.cuda.set_rng_state_all(devices)
