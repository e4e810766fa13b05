"""A single linear layer: logistic, softmax or linear regression, the baseline to beat."""

from __future__ import annotations

from torch import Tensor, nn


class Linear(nn.Module):
    """`[n, …]` flattened to `[n, in_features]`, then one affine map to `[n, num_classes]`."""

    def __init__(self, in_features: int, num_classes: int, *, bias: bool = True) -> None:
        super().__init__()
        self.layer = nn.Linear(in_features, num_classes, bias=bias)

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.layer(inputs.flatten(1))
        return output


def linear(in_features: int, num_classes: int, *, bias: bool = True) -> Linear:
    """The model `linear`: `num_classes` logits or values from `in_features` numbers."""
    return Linear(in_features, num_classes, bias=bias)
