"""What is known of a run before its first step, for rules to judge by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.config.schema import Config


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The run as planned. `context` is `RunStarted.context`: JSON values measured on data and model.

    Its keys, each absent where it could not be measured: `task` (classification, binary, multilabel, regression,
    custom), `classes` (how many), `class_names`, `class_counts` (train samples of each class), `train_samples`,
    `val_samples`, `trivial` (validation values of always predicting the most frequent class, or the mean:
    {"val_accuracy": 0.1, "val_loss": 2.3}), `zero` (those of always predicting 0, for regression), `linear` (of a
    linear model fitted in closed form), `neighbours` (of the five nearest train samples), `copies` (see
    `copies.exact_copies`, `copies.near_copies`), `unreached` (see `dummy_pass.unreached`), `loss` (name of the loss),
    `batch_norm` (whether the model has any).
    """

    config: Config
    epochs: int
    steps_per_epoch: int
    metrics: tuple[str, ...]
    monitor: str
    monitor_mode: str
    device: str = "cpu"
    context: Mapping[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """The kind of prediction, `custom` where that is not known."""
        return str(self.context.get("task", "custom"))

    @property
    def is_classification(self) -> bool:
        """Whether targets are classes."""
        return self.task in ("classification", "binary", "multilabel")

    @property
    def train_samples(self) -> int:
        """0 where not known."""
        return int(self.context.get("train_samples", 0))

    @property
    def val_samples(self) -> int:
        """0 where not known."""
        return int(self.context.get("val_samples", 0))

    def trivial(self, name: str) -> float | None:
        """What a predictor without inputs reaches in a column of the metric log; None where not known."""
        value = self.context.get("trivial", {}).get(name)
        return None if value is None else float(value)

    def reached(self, name: str, value: float) -> bool:
        """Whether `value` of a metric is as good as the config's target asks for; False without a target for it."""
        target = self.config.targets
        if target is None or target.metric != name:
            return False
        if target.at_least is not None:
            return value >= target.at_least
        return target.at_most is not None and value <= target.at_most
