"""Loss and metrics of a model over one split, changing nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tui_trainer.data.seeds import untouched_rng
from tui_trainer.engine.losses import Loss, combine
from tui_trainer.engine.tally import Tally
from tui_trainer.models.outputs import call_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui_trainer.data.batches import BatchSource
    from tui_trainer.engine.metrics import MetricSet
    from tui_trainer.engine.precision import Precision


@dataclass
class Evaluation:
    """What a pass came to: mean loss over samples, metrics by name, mean of each named loss component."""

    loss: float
    metrics: dict[str, float]
    components: dict[str, float] = field(default_factory=dict)


class Interrupted(Exception):
    """A pass was broken off because the run has been asked to stop."""


def evaluate(
    model: nn.Module,
    loss: Loss,
    source: BatchSource,
    metrics: MetricSet,
    precision: Precision,
    *,
    epoch: int,
    between_batches: Callable[[Callable[[], dict[str, Any]]], None] = lambda _: None,
) -> Evaluation:
    """One pass over `source` in eval mode without gradients; the model's mode and all RNGs are left as they were.

    `between_batches` gets a function that tells the RNG state outside the pass; it may raise `Interrupted`. A
    non-finite batch loss makes the mean non-finite.
    """
    roots = [root for root in (model, loss.module) if root is not None]
    training = [module for root in roots for module in root.modules() if module.training]
    tally, parts = Tally(), dict[str, Tally]()
    values: list[Tensor] = []
    sizes: list[int] = []
    components: list[dict[str, Tensor]] = []
    metrics.reset()
    try:
        for root in roots:
            root.eval()
        with torch.no_grad(), untouched_rng(cuda=True) as outside, precision.autocast():
            for batch in source.epoch(epoch):
                between_batches(outside)
                outputs = call_model(model, batch.inputs)
                value, named = combine(loss(outputs, batch.targets, batch.inputs))
                metrics.update(outputs, batch.targets)
                values.append(value)
                sizes.append(batch.size)
                if named:
                    components.append(named)
    finally:
        for module in training:
            module.training = True
    for number, size in zip(_to_host(values), sizes, strict=True):
        tally.add(number, size)
    for named, size in zip(components, sizes, strict=False):
        for name, value in named.items():
            parts.setdefault(name, Tally()).add(float(value), size)
    return Evaluation(tally.mean(), metrics.compute(), {name: item.mean() for name, item in parts.items()})


def _to_host(values: list[Tensor]) -> list[float]:
    """All values with one synchronisation."""
    return torch.stack([value.float() for value in values]).tolist() if values else []
