"""A multi-layer perceptron."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from torch import Tensor, nn

from tui_trainer.models.activations import activation_named
from tui_trainer.models.arguments import positives, share

if TYPE_CHECKING:
    from collections.abc import Sequence


class MLP(nn.Module):
    """`[n, …]` flattened to `[n, in_features]`, through the hidden layers, to `[n, num_classes]`."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.layers(inputs.flatten(1))
        return output


def mlp(
    in_features: int,
    num_classes: int,
    hidden: Sequence[int] | int = (128,),
    activation: str = "relu",
    dropout: float = 0.0,
) -> MLP:
    """The model `mlp`: linear layers of widths `hidden`, each followed by `activation` and, where `dropout` is
    above 0, dropout with that probability. Torch's default initialisation."""
    widths = [in_features, *positives("mlp", "hidden", hidden)]
    make_activation, dropout = activation_named(activation), share("mlp", "dropout", dropout)
    layers: list[nn.Module] = []
    for width, following in itertools.pairwise(widths):
        layers += [nn.Linear(width, following), make_activation()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return MLP(nn.Sequential(*layers, nn.Linear(widths[-1], num_classes)))
