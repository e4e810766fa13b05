"""Per-epoch statistics beyond loss and metrics: of the features, and whatever the user's own functions return."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tui_trainer.config.errors import ModelError, TrainingError
from tui_trainer.config.section import TargetConfig, target_of
from tui_trainer.config.targets import resolve_target, user_frame
from tui_trainer.config.wording import class_name
from tui_trainer.data.dataset import ArrayDataset, DataSplits
from tui_trainer.engine.watching import left_as_found

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from tui_trainer.data.batches import BatchSource

Row = dict[str, float | int | str]


@dataclass(frozen=True)
class StatisticsContext:
    """What a user's statistic gets: the model in eval mode, and the batches of both splits by phase name."""

    epoch: int
    model: nn.Module
    batches: dict[str, BatchSource]
    device: torch.device


Statistic = Callable[[StatisticsContext], Row | Sequence[Row]]


def resolve_statistics(references: Sequence[str | TargetConfig], folder: Path) -> list[tuple[str, Statistic]]:
    """The functions of `monitoring.statistics`, each with the name of the CSV file it fills. Raises `ModelError`."""
    found = []
    for reference in references:
        config = target_of(reference)
        function = resolve_target(
            config.target, builtins={}, folder=folder, what="statistic", error=ModelError
        )
        name = str(getattr(function, "__name__", config.target.rpartition(":")[2]))
        found.append((name, functools.partial(function, **config.args) if config.args else function))
    return found


def feature_rows(data: DataSplits) -> Iterator[Row]:
    """Mean, std, min, max and median of each feature, for splits held in memory as float[n, features]."""
    for phase, split in (("train", data.train), ("val", data.val)):
        if not isinstance(split, ArrayDataset) or not split.inputs.is_floating_point():
            continue
        values = (
            split.inputs.flatten(1).double() if split.inputs.dim() > 1 else split.inputs.double()[:, None]
        )
        names = data.feature_names
        for column in range(values.shape[1]):
            feature = values[:, column]
            yield {
                "phase": phase,
                "feature_name": names[column]
                if names and len(names) == values.shape[1]
                else f"feature_{column}",
                "mean": float(feature.mean()),
                "std": float(feature.std(unbiased=False)),
                "min": float(feature.min()),
                "max": float(feature.max()),
                "median": float(feature.median()),
            }


def user_rows(
    statistics: Sequence[tuple[str, Statistic]], context: StatisticsContext, loss_module: nn.Module | None
) -> Iterator[tuple[str, Row]]:
    """Run each statistic so that watching changes nothing: RNGs, buffers and modes are put back afterwards.

    Raises `TrainingError` naming the user's line when one raises.
    """
    if not statistics:
        return
    results: list[tuple[str, Row]] = []
    with left_as_found(context.model, loss_module), torch.no_grad():
        context.model.eval()
        for name, function in statistics:
            try:
                rows = function(context)
                results += [(name, dict(row)) for row in ([rows] if isinstance(rows, dict) else rows)]
            except Exception as error:
                raise TrainingError(
                    f"The statistic {name} raised {class_name(type(error))} in epoch {context.epoch}"
                    f" ({user_frame(error) or 'no line known'}): {error}. A statistic returns a dict or a list of "
                    "dicts: mend it, or take it out of monitoring.statistics."
                ) from error
    yield from results
