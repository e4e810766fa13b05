"""Looking at a model while it is trained, so that nothing of it changes by that."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tui_trainer.data.seeds import untouched_rng
from tui_trainer.engine.guard import BufferKeeper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn


@contextmanager
def left_as_found(*roots: nn.Module | None) -> Iterator[None]:
    """Run a block; global generators, buffers and train/eval modes of `roots` are then as they were before it."""
    models = [root for root in roots if root is not None]
    modes = [(module, module.training) for root in models for module in root.modules()]
    keeper = BufferKeeper(models)
    keeper.keep()
    try:
        with untouched_rng(cuda=True):
            yield
    finally:
        keeper.restore()
        for module, mode in modes:
            module.training = mode
