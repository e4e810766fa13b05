"""A small convolutional network for images of about 8×8 to 64×64 pixels."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from torch import Tensor, nn

from tui_trainer.models.arguments import positives, share

if TYPE_CHECKING:
    from collections.abc import Sequence


class CNN(nn.Module):
    """Images `[n, in_channels, height, width]` of any size to `[n, num_classes]`."""

    def __init__(self, features: nn.Sequential, classifier: nn.Sequential) -> None:
        super().__init__()
        self.features = features
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.classifier(self.features(images))
        return output


def cnn(
    in_channels: int,
    num_classes: int,
    channels: Sequence[int] | int = (32, 64),
    dropout: float = 0.0,
    *,
    batch_norm: bool = True,
) -> CNN:
    """The model `cnn`: for each entry of `channels` a 3×3 convolution, batch normalisation (where
    `batch_norm`), ReLU and 2×2 max-pooling (odd sizes are rounded up, so that even 8×8 goes through three); then
    global average pooling, dropout and one linear layer."""
    widths = [in_channels, *positives("cnn", "channels", channels, at_least=1)]
    dropout = share("cnn", "dropout", dropout)
    layers: list[nn.Module] = []
    for width, following in itertools.pairwise(widths):
        layers.append(nn.Conv2d(width, following, kernel_size=3, padding=1, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(following))
        layers += [nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
    head: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if dropout:
        head.append(nn.Dropout(dropout))
    return CNN(nn.Sequential(*layers), nn.Sequential(*head, nn.Linear(widths[-1], num_classes)))
