"""Losses of the suite, as a user's own code gives them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def _usual(outputs: Tensor, targets: Tensor) -> Tensor:
    if targets.is_floating_point():
        wanted = targets.reshape_as(outputs)
        if bool(((wanted == 0) | (wanted == 1)).all()):
            return functional.binary_cross_entropy_with_logits(outputs, wanted)
        return functional.mse_loss(outputs, wanted)
    return functional.cross_entropy(outputs, targets)


class NanAt:
    """NaN (or infinity) in the training passes `at` to `until`; else the usual loss."""

    def __init__(self, at: int, until: int | None = None, *, infinite: bool = False) -> None:
        self.at, self.until, self.value = at, until or at, float("inf") if infinite else float("nan")
        self.calls = 0

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        loss = _usual(outputs, targets)
        if torch.is_grad_enabled():
            self.calls += 1
            if self.at <= self.calls <= self.until:
                return loss * self.value
        return loss


class TimesAt:
    """The usual loss, `factor` times as large in the training passes `at` to `until`: a batch gone wrong."""

    def __init__(self, at: int, factor: float, until: int | None = None) -> None:
        self.at, self.factor, self.until, self.calls = at, factor, until or at, 0

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        loss = _usual(outputs, targets)
        if torch.is_grad_enabled():
            self.calls += 1
            if self.at <= self.calls <= self.until:
                return loss * self.factor
        return loss


def log_of_sum(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy by hand, without care: exp() of what is large overflows."""
    scores = outputs * 250
    return (torch.log(torch.exp(scores).sum(1)) - scores[torch.arange(len(targets)), targets]).mean()


def root_of_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """The root of squared errors, small ones masked out: the slope of a root at zero is infinite, and times 0 NaN."""
    error = outputs - targets
    return torch.sqrt(error**2 * (error.abs() > 20.0)).mean()


def likelihood(outputs: Tensor, targets: Tensor) -> Tensor:
    """Negative log-likelihood of a normal distribution: below zero once the spread is small."""
    mean, log_spread = outputs[:, :1], outputs[:, 1:].clamp(-6, 6)
    return (log_spread + 0.5 * ((targets - mean) / log_spread.exp()) ** 2).mean()


class Parts(nn.Module):
    """Two tasks weighted by learned uncertainties (Kendall et al. 2018): the sum goes below zero."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(2))

    def forward(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        squared = functional.mse_loss(outputs, targets)
        absolute = functional.l1_loss(outputs, targets)
        return {
            "squared": squared * torch.exp(-self.weights[0]) + self.weights[0],
            "absolute": absolute * torch.exp(-self.weights[1]) + self.weights[1],
        }


def gan(outputs: Tensor, _: Tensor) -> Tensor:
    """Both players' loss: real points are 1, made ones 0."""
    real, made = outputs[:, :1], outputs[:, 1:]
    return functional.binary_cross_entropy_with_logits(
        real, torch.ones_like(real)
    ) + functional.binary_cross_entropy_with_logits(made, torch.zeros_like(made))


def summed(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy summed over the batch: norms are large, and nothing is wrong."""
    return functional.cross_entropy(outputs, targets, reduction="sum")


def wrong_sign(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy of the negated outputs' confidence: trained away from what is wanted at every step."""
    return -functional.mse_loss(
        torch.softmax(outputs, 1), functional.one_hot(targets, outputs.shape[1]).float()
    )


def constant(outputs: Tensor, targets: Tensor) -> Tensor:
    """A loss that does not depend on what was learned: argmax has no slope."""
    wrong = (outputs.argmax(1) != targets).float().mean()
    return wrong + 0.0 * outputs.sum()
