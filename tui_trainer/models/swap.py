"""Activation modules put in the place of others, in any model, and back: a cure for dead units that touches no code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from tui_trainer.config.errors import ModelError
from tui_trainer.config.wording import did_you_mean, listed, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

SWAPPABLE: Mapping[str, type[nn.Module]] = {
    kind.__name__: kind
    for kind in (
        nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.ELU, nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.ReLU6, nn.Softplus, nn.Mish,
    )
}  # fmt: skip
"""Element-wise activations without parameters: each can stand where another stood, with the same weights around it."""


def swap_modules(model: nn.Module, swaps: Mapping[str, str]) -> list[str]:
    """Replace every module of a class named on the left by a new one of the class on the right; returns their names.

    Only exact classes of `SWAPPABLE`; a module that stands in several places stays one. Functional calls
    (`F.relu`) are no modules and stay. Raises `ModelError` for another class, and where there is nothing to replace.
    """
    replaced: list[str] = []
    for old, new in swaps.items():
        for name in (old, new):
            if name not in SWAPPABLE:
                known = f"{listed(SWAPPABLE, 'or')}{did_you_mean(name, SWAPPABLE)}"
                raise ModelError(f"model.swap: {shown(name)} cannot be swapped; expected {known}.")
        found = _swap(model, SWAPPABLE[old], SWAPPABLE[new])
        if not found:
            raise ModelError(
                f"model.swap: the model has no {old} module. Activations called as functions (F.relu) have to be changed "
                "in the model's own code; else leave the swap out."
            )
        replaced += found
    return replaced


def _swap(model: nn.Module, old: type[nn.Module], new: type[nn.Module]) -> list[str]:
    made: dict[int, nn.Module] = {}
    replaced = []
    for place, module in list(model.named_modules()):
        for name, child in list(module.named_children()):
            if type(child) is not old:
                continue
            fresh = made.setdefault(id(child), _like(child, new))
            setattr(module, name, fresh)
            replaced.append(f"{place}.{name}" if place else name)
    return replaced


def _like(module: nn.Module, new: type[nn.Module]) -> nn.Module:
    """A module of the class `new` in the mode of the old one. It works in place nowhere: the old one's neighbours may
    need what it was given."""
    fresh = new()
    fresh.train(module.training)
    return fresh
