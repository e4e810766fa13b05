"""Activation functions by the names that configs use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from tui_trainer.config.errors import ModelError
from tui_trainer.config.wording import did_you_mean, listed

if TYPE_CHECKING:
    from collections.abc import Callable

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def activation_named(name: str) -> Callable[[], nn.Module]:
    """The activation's constructor. Raises `ModelError` for a name that is not in `ACTIVATIONS`."""
    if name not in ACTIVATIONS:
        guess = did_you_mean(str(name), ACTIVATIONS)
        raise ModelError(
            f"There is no activation {name!r}{guess or '.'} Expected one of {listed(ACTIVATIONS, 'or')}."
        )
    return ACTIVATIONS[name]
