"""The rows that an epoch adds to the side files: loss components, gradients, features, probes, users' own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_trainer.engine.events import ACTIVATIONS, PREDICTIONS
from tui_trainer.engine.statistics import Row, StatisticsContext, feature_rows, user_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tui_trainer.engine.evaluation import Evaluation
    from tui_trainer.engine.trainer import Trainer


def side_rows(trainer: Trainer, validation: Evaluation) -> Iterator[tuple[str, Row]]:
    """Pairs of series (the file's name without `.csv`) and row, for the epoch that `trainer` has just finished.

    Raises `TrainingError` when a user's statistic raises.
    """
    monitoring, parts, epoch = trainer.config.monitoring, trainer.parts, trainer.epoch
    yield from _loss_components(trainer, validation)
    if _due(epoch, monitoring.gradient_stats_every_n_epochs):
        norms = trainer.progress.layer_norms()
        if norms is not None:
            gradients: Row = {"epoch": epoch, "total_grad_norm": trainer.progress.grad_norm.mean()}
            gradients.update(zip(trainer.step_runner.parameter_names, norms, strict=True))
            yield "gradient_stats", gradients
    if _due(epoch, monitoring.feature_stats_every_n_epochs):
        for row in feature_rows(parts.data):
            yield "feature_stats", {"epoch": epoch} | row
    if trainer.probe is not None:
        for row in trainer.probe.prediction_rows():
            yield PREDICTIONS, {"epoch": epoch} | row
        for row in trainer.probe.activation_rows(parts.model, parts.precision):
            yield ACTIVATIONS, {"epoch": epoch} | row
    if parts.statistics:
        context = StatisticsContext(
            epoch, parts.model, {"train": parts.train, "val": parts.val}, parts.device
        )
        for series, row in user_rows(parts.statistics, context, parts.loss.module):
            yield series, {"epoch": epoch} | row


def _loss_components(trainer: Trainer, validation: Evaluation) -> Iterator[tuple[str, Row]]:
    progress = trainer.progress
    if not progress.components:
        return
    trained = {name: tally.mean() for name, tally in progress.components.items()}
    for phase, named, total in (
        ("train", trained, progress.loss.mean()),
        ("val", validation.components, validation.loss),
    ):
        row: Row = {"epoch": trainer.epoch, "phase": phase}
        row.update({_column(name): value for name, value in named.items()})
        yield "loss_components", row | {"total_loss": total}


def _column(component: str) -> str:
    return component if component.startswith("loss_") else f"loss_{component}"


def _due(epoch: int, every: int) -> bool:
    return bool(every) and epoch % every == 0
