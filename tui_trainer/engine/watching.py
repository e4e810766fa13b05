"""Looking at a model while it is trained, so that nothing of it changes by that."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tui_trainer.data.seeds import untouched_rng
from tui_trainer.engine.guard import BufferKeeper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn


@contextmanager
def left_as_found(*roots: nn.Module | None) -> Iterator[None]:
    """Run a block; global generators, the buffers of `roots`, their train/eval modes and plain attributes (a counter
    in a forward) are then as they were before it."""
    models = [root for root in roots if root is not None]
    kept = [(module, _plain(module)) for root in models for module in root.modules()]
    keeper = BufferKeeper(models)
    keeper.keep()
    try:
        with untouched_rng(cuda=True):
            yield
    finally:
        keeper.restore()
        for module, values in kept:
            vars(module).update(values)


def _plain(module: nn.Module) -> dict[str, Any]:
    """Attributes that are numbers, text or nothing, `training` among them."""
    return {name: value for name, value in vars(module).items() if value is None or type(value) in _PLAIN}


_PLAIN = (bool, int, float, str)
