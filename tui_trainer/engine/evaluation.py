"""Loss and metrics of a model over one split, changing nothing else."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from tui_trainer.data.seeds import untouched_rng
from tui_trainer.engine.losses import Loss, combine
from tui_trainer.engine.memory_recovery import is_memory_shortage
from tui_trainer.engine.pieces import obstacle_to_pieces, piece_of, rows_of, whole_pass
from tui_trainer.engine.tally import Tally
from tui_trainer.models.outputs import call_model

if TYPE_CHECKING:
    from tui_trainer.data.batches import Batch, BatchSource
    from tui_trainer.engine.memory_recovery import MemoryRecovery
    from tui_trainer.engine.metrics import MetricSet
    from tui_trainer.engine.pieces import LossShares
    from tui_trainer.engine.precision import Precision


_Attempt = Callable[["Batch"], tuple[Any, tuple[Tensor, dict[str, Tensor]]]]
OnOutputs = Callable[[Any, Any], None]


class Onlooker(Protocol):
    """What sees a pass: each batch, and what the model made of it, whole or in pieces in the batch's order."""

    def take(self, batch: Batch) -> None: ...

    def beside(self, on_outputs: OnOutputs) -> OnOutputs:
        """What calls `on_outputs` (outputs, targets), and looks at them too."""


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
    memory: MemoryRecovery,
    shares: LossShares,
    between_batches: Callable[[Callable[[], dict[str, Any]]], None] = lambda _: None,
    probe: Onlooker | None = None,
) -> Evaluation:
    """One pass over `source` in eval mode without gradients; the model's mode and all RNGs are left as they were.

    Where memory runs out, batches are taken in pieces, as `memory` says.

    `between_batches` gets a function that tells the RNG state outside the pass; it may raise `Interrupted`. `probe`
    sees each batch and its outputs. A non-finite batch loss makes the mean non-finite.
    """
    roots = [root for root in (model, loss.module) if root is not None]
    training = [module for root in roots for module in root.modules() if module.training]
    tally, parts = Tally(), dict[str, Tally]()
    values: list[Tensor] = []
    sizes: list[int] = []
    components: list[dict[str, Tensor]] = []
    attempt = functools.partial(_outputs_and_loss, model, loss)
    on_outputs = metrics.update if probe is None else probe.beside(metrics.update)
    metrics.reset()
    try:
        for root in roots:
            root.eval()
        with torch.no_grad(), untouched_rng(cuda=True) as outside, precision.autocast():
            for batch in source.epoch(epoch):
                between_batches(outside)
                if probe is not None:
                    probe.take(batch)
                value, named = _batch_loss(attempt, batch, on_outputs, memory, shares)
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


def _outputs_and_loss(
    model: nn.Module, loss: Loss, batch: Batch
) -> tuple[Any, tuple[Tensor, dict[str, Tensor]]]:
    outputs = call_model(model, batch.inputs)
    return outputs, combine(loss(outputs, batch.targets, batch.inputs))


def _batch_loss(
    attempt: _Attempt, batch: Batch, on_outputs: OnOutputs, memory: MemoryRecovery, shares: LossShares
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of one batch, whose outputs `on_outputs` gets, whole or in pieces."""
    if memory.rows is None:
        try:
            outputs, result = attempt(batch)
        except Exception as error:
            _shrink(memory, error, rows_of(batch), batch)
        else:
            on_outputs(outputs, batch.targets)
            return result
        memory.make_room()
    return _loss_in_pieces(attempt, batch, on_outputs, memory, shares)


def _loss_in_pieces(
    attempt: _Attempt, batch: Batch, on_outputs: OnOutputs, memory: MemoryRecovery, shares: LossShares
) -> tuple[Tensor, dict[str, Tensor]]:
    """`_batch_loss`, some rows at a time; what was done stays done when the next rows are too many."""
    rows, start = rows_of(batch), 0
    done: list[tuple[Batch, Tensor, dict[str, Tensor]]] = []
    while start < rows:
        stop = min(rows, start + (memory.rows or rows))
        try:
            piece = piece_of(batch, start, stop, rows)
            outputs, (value, named) = attempt(piece)
        except Exception as error:
            _shrink(memory, error, stop - start, batch)
        else:
            if shares.unknown:
                shares.try_out(outputs, piece)
            on_outputs(outputs, piece.targets)
            done.append((replace(piece, inputs=None), value, named))
            start = stop
            continue
        memory.make_room()
    factors = shares.of([piece for piece, _, _ in done])
    parts = [
        (value * factor, {name: item * factor for name, item in named.items()})
        for (_, value, named), factor in zip(done, factors, strict=True)
        if factor
    ]
    whole = whole_pass(parts, [])
    return whole.loss, whole.components


def _shrink(memory: MemoryRecovery, error: Exception, rows: int, batch: Batch) -> None:
    """Take fewer rows from now on, or raise `error` where it is about something else."""
    if not is_memory_shortage(error):
        raise error
    memory.shrink(error, rows, obstacle_to_pieces([batch]))


def _to_host(values: list[Tensor]) -> list[float]:
    """All values with one synchronisation."""
    return torch.stack([value.float() for value in values]).tolist() if values else []
