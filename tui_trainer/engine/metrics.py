"""Metrics of a pass over data: accumulated on the device, read once at the end.

Accuracy and the regression metrics are our own (`accumulators`), so that a run needs no torchmetrics, whose import
takes 1.5 s, and no step waits for the device. Everything else comes from torchmetrics or from the user's code.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
import warnings
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from tui_trainer.config.errors import ModelError
from tui_trainer.config.schema import MetricConfig
from tui_trainer.config.targets import call_target, resolve_target
from tui_trainer.config.wording import class_name, shown
from tui_trainer.engine.accumulators import (
    Accumulator,
    Accuracy,
    AverageOfBatches,
    RegressionError,
    RSquared,
)
from tui_trainer.models.outputs import described, main_output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tui_trainer.data.dataset import Task

OWN_METRICS = ("accuracy", "mae", "mse", "rmse", "r2")
TORCHMETRICS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "auroc": ("AUROC", {}),
    "average_precision": ("AveragePrecision", {}),
    "balanced_accuracy": ("Accuracy", {"average": "macro"}),
    "calibration_error": ("CalibrationError", {}),
    "cohen_kappa": ("CohenKappa", {}),
    "concordance": ("ConcordanceCorrCoef", {}),
    "confusion_matrix": ("ConfusionMatrix", {}),
    "exact_match": ("ExactMatch", {}),
    "explained_variance": ("ExplainedVariance", {}),
    "f1": ("F1Score", {"average": "macro"}),
    "hamming_distance": ("HammingDistance", {}),
    "jaccard": ("JaccardIndex", {}),
    "mape": ("MeanAbsolutePercentageError", {}),
    "matthews": ("MatthewsCorrCoef", {}),
    "pearson": ("PearsonCorrCoef", {}),
    "precision": ("Precision", {"average": "macro"}),
    "recall": ("Recall", {"average": "macro"}),
    "smape": ("SymmetricMeanAbsolutePercentageError", {}),
    "spearman": ("SpearmanCorrCoef", {}),
    "specificity": ("Specificity", {"average": "macro"}),
    "top_5_accuracy": ("Accuracy", {"top_k": 5}),
}
"""Short names of torchmetrics classes, with the arguments that they stand for (macro averages over classes)."""

_INFERRED: Mapping[str, tuple[str, ...]] = {
    "classification": ("accuracy",),
    "binary": ("accuracy",),
    "multilabel": ("accuracy",),
    "regression": ("mae", "r2"),
}
_LOWER_IS_BETTER = re.compile(
    r"(^|_)(loss|error|mae|mse|rmse|mape|smape|wer|cer|perplexity|distance|divergence)(_|$)"
)
_CLASS_NAME = re.compile(r"[A-Z]\w*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}")
MOST_VALUES = 200
"""Columns that one metric may add to the metric log."""


class MetricFactory(Protocol):
    """Makes a fresh set of the run's metrics."""

    def __call__(self, device: torch.device) -> MetricSet: ...


class MetricSet:
    """The metrics of one pass. `names`: the columns it gives, without `train_` or `val_`."""

    def __init__(self, accumulators: Sequence[Accumulator], names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._accumulators = tuple(accumulators)
        self._updates = tuple(item.update for item in accumulators)

    def update(self, outputs: Any, targets: Any) -> None:
        """Take one batch: what the model returned (with or without gradients), and the targets.

        Raises `ModelError` where a metric cannot read them.
        """
        if not self._updates:
            return
        if type(outputs) is not Tensor:
            outputs = main_output(outputs)
        if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
            raise ModelError(
                f"Metrics compare two tensors, but the model gave {described(outputs)} and the targets are "
                f"{described(targets)}. Set metrics: [] , or let model and data give tensors."
            )
        for update in self._updates:
            update(outputs, targets)

    def compute(self) -> dict[str, float]:
        """The values by name; NaN where nothing was seen, or where a non-finite value was."""
        values: dict[str, float] = {}
        for item in self._accumulators:
            values |= item.compute()
        return {name: values.get(name, math.nan) for name in self.names}

    def reset(self) -> None:
        """Forget all batches."""
        for item in self._accumulators:
            item.reset()

    def state_dict(self) -> dict[str, Any]:
        """The sums so far, in types that `torch.load(weights_only=True)` reads; never a non-finite value."""
        return {item.name: item.state_dict() for item in self._accumulators}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`. Raises `KeyError` when it is of other metrics."""
        for item in self._accumulators:
            item.load_state_dict(state[item.name])


def build_metrics(
    config_metrics: Sequence[str | MetricConfig] | None, task: Task, *, folder: Path
) -> tuple[MetricFactory, list[str]]:
    """A factory of metric sets, and the names that they give; None stands for what is usual for `task`.

    Raises `ModelError` for metrics that cannot be built, do not suit the task, or share a name.
    """
    if config_metrics is None:
        config_metrics = _INFERRED.get(task.kind, ())
    makers: list[Callable[[torch.device], Accumulator]] = []
    names: list[str] = []
    taken: set[str] = set()
    for entry in config_metrics:
        config = MetricConfig(target=entry) if isinstance(entry, str) else entry
        name = config.name or default_name(config.target)
        _check_name(name)
        make = _maker(config, name, task, folder)
        given = _names_given(make)
        for column in dict.fromkeys([name, *given]):
            if column in taken:
                raise ModelError(
                    f"Two metrics would be called {column}. Give one of them a name of its own: "
                    f"{{target: {config.target}, name: …}}."
                )
        taken |= {name, *given}
        makers.append(make)
        names += given

    def factory(device: torch.device) -> MetricSet:
        return MetricSet([make(device) for make in makers], names)

    return factory, names


def default_name(target: str) -> str:
    """What a metric is called that was given no name: its built-in name, or its class or function in snake case."""
    last = re.split(r"[.:]", target)[-1]
    if not _CLASS_NAME.fullmatch(last):
        return last
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", last).lower()


def higher_is_better(name: str) -> bool:
    """Whether larger values of a metric (or of a column such as `val_f1`) are better: losses, errors and distances
    are not, everything else is."""
    return _LOWER_IS_BETTER.search(name.lower()) is None


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name == "loss":
        raise ModelError(
            f"A metric cannot be called {shown(name)}: its name becomes the columns train_<name> and val_<name>. "
            "Expected letters, digits and underscores, not starting with a digit, and not loss."
        )


def _names_given(make: Callable[[torch.device], Accumulator]) -> tuple[str, ...]:
    return make(torch.device("cpu")).names


# --- from config to accumulator -----------------------------------------------------------------------------


def _maker(
    config: MetricConfig, name: str, task: Task, folder: Path
) -> Callable[[torch.device], Accumulator]:
    target = config.target
    if target in OWN_METRICS and not config.args:
        return _own(target, name, task)
    known: dict[str, Any] = {key: f"torchmetrics:{cls}" for key, (cls, _) in TORCHMETRICS.items()}
    usual: Mapping[str, Any] = {}
    if target == "accuracy":  # with arguments, such as top_k or average
        known["accuracy"], usual = "torchmetrics:Accuracy", {"average": "micro"}
    elif target in TORCHMETRICS:
        usual = TORCHMETRICS[target][1]
    elif _CLASS_NAME.fullmatch(target):
        from tui_trainer.engine.torchmetrics_adapter import home_of

        known[target] = home_of(target)
    elif target in OWN_METRICS:
        raise ModelError(f"Metric {target} takes no arguments; metrics holds {shown(config.args)} for it.")
    for own in OWN_METRICS:
        known.setdefault(own, own)
    found = resolve_target(target, builtins=known, folder=folder, what="metric", error=ModelError)
    what = f"metric {target}"
    if not callable(found):
        raise ModelError(
            f"Metric {shown(target)} is a {class_name(type(found))}; expected a torchmetrics class, or a function "
            "(outputs, targets) that returns a number."
        )
    if inspect.isclass(found):
        return _of_class(found, {**usual, **config.args}, name, task, what)
    if isinstance(found, nn.Module) or hasattr(found, "compute"):
        raise ModelError(f"Metric {shown(target)} is already built; expected its class, or a function.")
    function = functools.partial(found, **config.args) if config.args else found
    return lambda device: AverageOfBatches(name, function, device)


def _own(target: str, name: str, task: Task) -> Callable[[torch.device], Accumulator]:
    if target == "accuracy":
        if task.kind == "regression":
            raise ModelError(
                "The metric accuracy counts classes, but the task is regression. Choose mae, mse, rmse or r2."
            )
        return lambda device: Accuracy(name, task.kind, device)
    if task.kind not in ("regression", "custom"):
        raise ModelError(
            f"The metric {target} compares numbers, but the task is {task.kind}. Choose accuracy, f1, auroc …, or "
            "state data.task: regression."
        )
    if target == "r2":
        return lambda device: RSquared(name, device)
    kind = {"mae": "absolute", "mse": "squared", "rmse": "root squared"}[target]
    return lambda device: RegressionError(name, kind, device)


def _of_class(
    found: type, args: Mapping[str, Any], name: str, task: Task, what: str
) -> Callable[[torch.device], Accumulator]:
    from tui_trainer.engine.torchmetrics_adapter import FromTorchmetrics, fill_in, is_torchmetric, try_out

    if not is_torchmetric(found):
        raise ModelError(
            f"{what[:1].upper()}{what[1:]} is the class {class_name(found)}; expected a class derived from "
            "torchmetrics.Metric, or a function (outputs, targets) that returns a number."
        )
    arguments = fill_in(found, args, task, what=what)

    def make() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the memory that some metrics need
            return call_target(found, arguments, what=what, error=ModelError)

    names = try_out(make(), name, task, what=what)
    if len(names) > MOST_VALUES:
        raise ModelError(
            f"{what[:1].upper()}{what[1:]} gives {len(names)} values; a metric may have {MOST_VALUES} at most. "
            "Average over classes (args.average: macro)."
        )
    return lambda device: FromTorchmetrics(name, make(), names, task, device)
