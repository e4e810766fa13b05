"""Residual networks of basic blocks (He et al. 2015, "Deep Residual Learning for Image Recognition")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from tui_trainer.config.errors import ModelError
from tui_trainer.config.wording import shown
from tui_trainer.models.arguments import positive, positives

if TYPE_CHECKING:
    from collections.abc import Sequence


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut: `[n, width, h, w]` to `[n, out, h/stride, w/stride]`."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = (
            None
            if stride == 1 and width == out
            else nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        )

    def forward(self, inputs: Tensor) -> Tensor:
        shortcut = inputs if self.downsample is None else self.downsample(inputs)
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(inputs)))))
        output: Tensor = self.relu(inner + shortcut)
        return output


class ResNet(nn.Module):
    """Images `[n, in_channels, height, width]` to `[n, num_classes]`.

    Parameters are named as torchvision names them, so that its `resnet18` weights load with `model.init_from`.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        stem: Literal["imagenet", "small"],
        width: int,
        layers: list[int],
    ) -> None:
        super().__init__()
        small = stem == "small"
        self.conv1 = nn.Conv2d(
            in_channels, width, 3 if small else 7, 1 if small else 2, padding=1 if small else 3, bias=False
        )
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        self.stages = [f"layer{number}" for number in range(1, len(layers) + 1)]
        before = width
        for number, (name, blocks) in enumerate(zip(self.stages, layers, strict=True)):
            after = width * 2**number
            stride = 1 if number == 0 else 2
            first = BasicBlock(before, after, stride)
            self.add_module(
                name, nn.Sequential(first, *(BasicBlock(after, after, 1) for _ in range(blocks - 1)))
            )
            before = after
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(before, num_classes)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        features = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for name in self.stages:
            features = getattr(self, name)(features)
        output: Tensor = self.fc(self.avgpool(features).flatten(1))
        return output


def resnet18(
    in_channels: int,
    num_classes: int,
    stem: str = "imagenet",
    width: int = 64,
    layers: Sequence[int] | int = (2, 2, 2, 2),
) -> ResNet:
    """The model `resnet18`: 11,689,512 parameters at 3 channels and 1000 classes.

    `stem`: imagenet (7×7 with stride 2, then max-pooling) or small (3×3 with stride 1, for images below about
    64×64). `width`: channels of the first stage, doubled from stage to stage; `layers`: blocks in each stage.
    For 1×8×8: `stem: small, width: 32, layers: [2, 1, 1]` has 0.3 million parameters.
    """
    if stem not in ("imagenet", "small"):
        raise ModelError(f"Model resnet18: args.stem is {shown(stem)}; expected imagenet or small.")
    return ResNet(
        in_channels,
        num_classes,
        stem="small" if stem == "small" else "imagenet",
        width=positive("resnet18", "width", width),
        layers=positives("resnet18", "layers", layers, at_least=1),
    )
