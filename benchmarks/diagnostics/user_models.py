"""Models of the suite, as a user's own code gives them; most have something wrong with them."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn


class Net(nn.Module):
    """Two hidden layers; what the others are made of."""

    def __init__(self, in_features: int, num_classes: int, width: int = 16, activation: str = "ReLU") -> None:
        super().__init__()
        self.first, self.second = nn.Linear(in_features, width), nn.Linear(width, width)
        self.head = nn.Linear(width, num_classes)
        self.act1, self.act2 = getattr(nn, activation)(), getattr(nn, activation)()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        hidden: Tensor = self.act2(self.second(self.act1(self.first(x.flatten(1)))))
        return self.head(hidden)  # type: ignore[no-any-return]  # a module gives Any


class DeadByBias(Net):
    """ReLUs whose bias starts so low that they never open."""

    def __init__(self, in_features: int, num_classes: int, bias: float = -8.0, share: float = 1.0) -> None:
        super().__init__(in_features, num_classes, 32)
        with torch.no_grad():
            self.second.bias[: round(share * 32)] = bias


class Saturated(Net):
    """Tanh or sigmoid with initial weights far too large."""

    def __init__(
        self, in_features: int, num_classes: int, scale: float = 30.0, activation: str = "Tanh"
    ) -> None:
        super().__init__(in_features, num_classes, 16, activation)
        with torch.no_grad():
            self.first.weight *= scale
            self.second.weight *= scale


class SmallInit(nn.Module):
    """A deep stack whose initial weights are so small that nothing comes through."""

    def __init__(self, in_features: int, num_classes: int, depth: int = 6, scale: float = 0.1) -> None:
        super().__init__()
        widths = [in_features] + [16] * depth
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += [nn.Linear(widths[i], widths[i + 1]), nn.Tanh()]
        self.layers = nn.Sequential(*layers, nn.Linear(16, num_classes))
        with torch.no_grad():
            for layer in self.layers:
                if isinstance(layer, nn.Linear):
                    layer.weight *= scale
                    layer.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.flatten(1))  # type: ignore[no-any-return]  # a module gives Any


class ZeroInit(Net):
    """All weights start at zero: every unit learns the same, hidden layers nothing."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)


class Listed(nn.Module):
    """Hidden layers in a plain list, so that no optimizer ever sees them."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.hidden = [nn.Linear(in_features, 16), nn.Linear(16, 16)]
        self.head = nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.head(x)  # type: ignore[no-any-return]  # a module gives Any


class InDict(Net):
    """A branch in a plain dict."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        self.branches = {"skip": nn.Linear(in_features, num_classes)}

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.branches["skip"](x.flatten(1))  # type: ignore[no-any-return]  # a module gives Any


class Unused(Net):
    """A layer that forward forgot."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        self.extra = nn.Linear(16, 16)


class Detached(Net):
    """A detach() left over from debugging: the first layer gets no gradient."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.act1(self.first(x.flatten(1))).detach()
        return self.head(self.act2(self.second(hidden)))  # type: ignore[no-any-return]  # a module gives Any


class FrozenByAccident(Net):
    """requires_grad switched off in the model's own code, and never on again."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        for parameter in (*self.first.parameters(), *self.second.parameters()):
            parameter.requires_grad_(requires_grad=False)


class Hungry(Net):
    """Memory runs out for more than `most` samples at once."""

    def __init__(self, in_features: int, num_classes: int, most: int = 8, after: int = 0) -> None:
        super().__init__(in_features, num_classes)
        self.most, self.after = most, after

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) > self.most and self.calls >= self.after:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().forward(x)


class Hoarder(Net):
    """Keeps a tensor of every step: memory grows."""

    def __init__(
        self, in_features: int, num_classes: int, megabytes: float = 2.0, seconds: float = 0.0
    ) -> None:
        super().__init__(in_features, num_classes)
        self.megabytes, self.seconds = megabytes, seconds
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.kept.append(torch.ones(round(self.megabytes * 2**18)))
            time.sleep(self.seconds)
        return super().forward(x)


class Cache(Net):
    """Keeps tensors up to a bound: memory grows at first, then no more."""

    def __init__(self, in_features: int, num_classes: int, megabytes: float = 2.0, most: int = 20) -> None:
        super().__init__(in_features, num_classes)
        self.megabytes, self.most = megabytes, most
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(self.kept) < self.most:
            self.kept.append(torch.ones(round(self.megabytes * 2**18)))
        return super().forward(x)


class Stubborn(Net):
    """Stands still for some seconds at its training pass number `at`."""

    def __init__(self, in_features: int, num_classes: int, at: int = 25, seconds: float = 2.5) -> None:
        super().__init__(in_features, num_classes)
        self.at, self.seconds = at, seconds

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.calls == self.at:
            time.sleep(self.seconds)
        return super().forward(x)


class Crashing(Net):
    """Raises at its training pass number `at`."""

    def __init__(self, in_features: int, num_classes: int, at: int = 20, kind: str = "index") -> None:
        super().__init__(in_features, num_classes)
        self.at, self.kind = at, kind

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.calls == self.at:
            if self.kind == "index":
                return torch.zeros(3)[torch.tensor([7])]
            if self.kind == "shape":
                return super().forward(x) @ torch.zeros(3, 5)
            raise KeyError("attention_mask")
        return super().forward(x)


class Grouped(Net):
    """Sparse by design: the head reads few of many ReLU units, all of which live."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes, 64)


class MeanAndSpread(nn.Module):
    """Regression that predicts a mean and the logarithm of a spread; for a likelihood as loss."""

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(in_features, 16), nn.ReLU(), nn.Linear(16, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)  # type: ignore[no-any-return]  # a module gives Any


class _Reversed(torch.autograd.Function):
    """The identity, whose gradient is turned round: one loss, two players."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004 (torch's signature)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> Tensor:  # noqa: ARG004 (torch's signature)
        return -grad[0]


class Gan(nn.Module):
    """Generator and discriminator in one: the logits of real points and of made ones, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Linear(2, 2)
        self.discriminator = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))

    def forward(self, x: Tensor) -> Tensor:
        made = _Reversed.apply(self.generator(torch.randn_like(x)))
        return torch.cat([self.discriminator(x), self.discriminator(made)], 1)
