"""torchmetrics' metrics as accumulators; the only module that imports torchmetrics, when first needed."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tui_trainer.config.errors import ModelError
from tui_trainer.config.targets import exception_text, user_frame
from tui_trainer.config.wording import class_name
from tui_trainer.data.seeds import untouched_rng
from tui_trainer.data.task import IGNORED_LABEL
from tui_trainer.models.outputs import described

if TYPE_CHECKING:
    from tui_trainer.data.dataset import Task

_TASKS = {"classification": "multiclass", "binary": "binary", "multilabel": "multilabel"}
_PER_OUTPUT = ("PearsonCorrCoef", "SpearmanCorrCoef", "ConcordanceCorrCoef", "KendallRankCorrCoef")


def is_torchmetric(found: type) -> bool:
    """Whether `found` is a torchmetrics class, or one of its wrappers that choose a class by task."""
    from torchmetrics import Metric

    return issubclass(found, Metric)


def home_of(name: str) -> str:
    """The import path of a torchmetrics class given by its bare name."""
    import torchmetrics
    import torchmetrics.classification
    import torchmetrics.regression

    for module in (torchmetrics, torchmetrics.classification, torchmetrics.regression):
        if hasattr(module, name):
            return f"{module.__name__}:{name}"
    return f"torchmetrics:{name}"


def fill_in(found: type, args: Mapping[str, Any], task: Task, *, what: str) -> dict[str, Any]:
    """`args` with what the class needs to know of the task: its kind, and the number of classes or labels.

    Raises `ModelError` where the class does not suit the task.
    """
    if found.__module__.startswith("torchmetrics.regression") and task.kind not in ("regression", "custom"):
        raise ModelError(
            f"{what[:1].upper()}{what[1:]} compares numbers, but the task is {task.kind}. Choose accuracy, f1, auroc or "
            "another metric of torchmetrics.classification."
        )
    parameters = _parameters(found)
    given = dict(args)
    by_task = "task" in parameters
    if by_task and "task" not in given:
        if task.kind not in _TASKS:
            raise ModelError(
                f"{what[:1].upper()}{what[1:]} is for classes, but the task is {task.kind}. Choose mae, mse, rmse, "
                "r2 or another metric of torchmetrics.regression."
            )
        given["task"] = _TASKS[task.kind]
    if task.num_outputs is not None:
        sizes = {"num_classes": task.kind == "classification", "num_labels": task.kind == "multilabel"}
        for name, suits in sizes.items():
            if name in parameters and name not in given and suits:
                given[name] = task.num_outputs
        if found.__name__ in _PER_OUTPUT and "num_outputs" not in given and task.num_outputs > 1:
            given["num_outputs"] = task.num_outputs
    if "ignore_index" in parameters and task.kind == "classification":
        given.setdefault("ignore_index", IGNORED_LABEL)
    return given


def _parameters(found: type) -> Mapping[str, inspect.Parameter]:
    maker = found.__dict__.get("__new__", found.__init__)  # type: ignore[misc]  # read, not called
    return inspect.signature(maker).parameters


class FromTorchmetrics:
    """A torchmetrics metric over a pass.

    Classification metrics get probabilities (sigmoid or softmax of the logits): torchmetrics' own guess, made
    batch by batch from the range of values, fails for logits that happen to lie between 0 and 1. Others get what
    the model returned. Non-finite outputs count as 0 and make the result NaN, so that states stay finite.
    """

    def __init__(
        self, name: str, metric: Any, names: tuple[str, ...], task: Task, device: torch.device
    ) -> None:
        self.name, self.names = name, names
        self._task, self._device = task, device
        self._metric = metric.to(device)
        self._metric.persistent(True)
        self._probabilities = _takes_probabilities(metric) and task.kind in _TASKS
        self._bad = torch.zeros((), dtype=torch.int64, device=device)
        self._seen = 0

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        with torch.no_grad():
            outputs = outputs.detach()
            finite = torch.isfinite(outputs)
            self._bad += (~finite).any()
            outputs = torch.where(finite, outputs, torch.zeros_like(outputs))
            predicted, true = self._prepared(outputs, targets)
            try:
                self._metric.update(predicted, true)
            except Exception as problem:  # the user's class, perhaps
                raise ModelError(
                    f"The metric {self.name} ({class_name(type(self._metric))}) failed on outputs {described(outputs)} and "
                    f"targets {described(targets)}: {_said(problem)}."
                ) from problem
        if not self._seen and getattr(self._metric, "validate_args", False):
            self._metric.validate_args = False  # it looks at all values, which waits for the device each time
        self._seen += 1

    def compute(self) -> dict[str, float]:
        if not self._seen or bool(self._bad):
            return dict.fromkeys(self.names, math.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return flattened(self.name, self._metric.compute())

    def reset(self) -> None:
        self._metric.reset()
        self._bad = torch.zeros((), dtype=torch.int64, device=self._device)
        self._seen = 0

    def state_dict(self) -> dict[str, Any]:
        return {"metric": dict(self._metric.state_dict()), "bad": self._bad, "seen": self._seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._metric.reset()
        copied = {name: _copy(value) for name, value in state["metric"].items()}
        self._metric.load_state_dict(copied)
        self._metric.to(self._device)
        self._metric._update_count = state["seen"]  # noqa: SLF001 (what its own state_dict leaves out)
        self._metric._computed = None  # noqa: SLF001
        self._bad = state["bad"].to(self._device, copy=True)
        self._seen = state["seen"]

    def _prepared(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if not type(self._metric).__module__.startswith("torchmetrics."):
            return outputs, targets  # the user's own class: what the model gave
        if self._task.kind in ("binary", "multilabel"):
            return self._labels(outputs, targets)
        if self._task.kind == "classification":
            return self._classes(outputs, targets)
        if self._task.kind == "regression" and outputs.numel() == targets.numel():
            outputs = outputs.flatten() if self._task.num_outputs == 1 else outputs
            return outputs, targets.reshape(outputs.shape).to(outputs.dtype)
        return outputs, targets

    def _labels(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities and 0/1 labels of one shape; flat where there is one label."""
        binary = self._task.kind == "binary"
        if binary and outputs.ndim == 2 and outputs.shape[1] == 2 and targets.numel() == len(outputs):
            outputs = outputs[:, 1] - outputs[:, 0]  # the softmax of two logits is the sigmoid of this
        predicted = outputs.float().sigmoid() if self._probabilities else outputs
        if predicted.numel() == targets.numel():
            targets = targets.reshape(predicted.shape)
        if binary:
            predicted, targets = predicted.flatten(), targets.flatten()
        return predicted, targets.long()

    def _classes(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Class probabilities `[n, classes, …]` and class numbers `[n, …]`."""
        if targets.shape == outputs.shape[:-1] and targets.shape[1:] != outputs.shape[2:]:
            outputs = outputs.movedim(-1, 1)
        if targets.is_floating_point() and targets.shape == outputs.shape:
            targets = targets.argmax(1)
        wanted = outputs.shape[:1] + outputs.shape[2:]
        if targets.numel() == math.prod(wanted):
            targets = targets.reshape(wanted)
        predicted = outputs.float().softmax(1) if self._probabilities and outputs.ndim > 1 else outputs
        return predicted, targets.long()


def _takes_probabilities(metric: Any) -> bool:
    return any(base.__module__.startswith("torchmetrics.classification") for base in type(metric).__mro__)


def try_out(metric: Any, name: str, task: Task, *, what: str) -> tuple[str, ...]:
    """The names that the metric gives, found out with a few made-up samples.

    Where it cannot be tried (a custom task, or a class that wants other inputs) it is taken to give one value.
    Raises `ModelError` for a torchmetrics metric that refuses what its task gives.
    """
    samples = _made_up(task)
    if samples is None:
        return (name,)
    trial = FromTorchmetrics(name, metric, (name,), task, torch.device("cpu"))
    try:
        with untouched_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial.update(*samples)
            result = trial._metric.compute()  # noqa: SLF001
    except Exception as problem:
        if not type(metric).__module__.startswith("torchmetrics."):
            return (name,)
        cause = problem.__cause__ or problem
        raise ModelError(
            f"{what[:1].upper()}{what[1:]} ({class_name(type(metric))}) does not suit the task {task.kind}: {_said(cause)}."
        ) from problem
    return tuple(flattened(name, result))


def _made_up(task: Task) -> tuple[Tensor, Tensor] | None:
    outputs = task.num_outputs or 0
    if task.kind == "classification" and outputs > 1:
        labels = torch.arange(4 * outputs) % outputs
        return torch.nn.functional.one_hot(labels, outputs).float(), labels
    if task.kind == "binary":
        return torch.linspace(-1, 1, 16).unsqueeze(1), torch.arange(16).remainder(2).float().unsqueeze(1)
    if task.kind == "multilabel" and outputs:
        labels = torch.arange(16 * outputs).reshape(16, outputs).remainder(2).float()
        return torch.linspace(-1, 1, 16 * outputs).reshape(16, outputs), labels
    if task.kind == "regression" and outputs:
        values = torch.linspace(1, 2, 16 * outputs).reshape(16, outputs)
        return values.square(), values
    return None


def flattened(name: str, result: Any) -> dict[str, float]:
    """A result by column: a number as `name`, a tensor as `name_0`, `name_1` … (`name_0_1` …), a dict by its keys.

    Raises `ModelError` for anything else.
    """
    if isinstance(result, Mapping):
        merged: dict[str, float] = {}
        for key, value in result.items():
            merged |= flattened(f"{name}_{key}", value)
        return merged
    if isinstance(result, (int, float)):
        return {name: float(result)}
    if not isinstance(result, Tensor):
        raise ModelError(f"The metric {name} gave {described(result)}; expected numbers.")
    if result.numel() == 1:
        return {name: float(result)}
    values = result.detach().double().cpu()
    positions = _positions(tuple(values.shape))
    return {f"{name}_{'_'.join(map(str, position))}": float(values[position]) for position in positions}


def _positions(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    positions: list[tuple[int, ...]] = [()]
    for size in shape:
        positions = [(*position, k) for position in positions for k in range(size)]
    return positions


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    return [_copy(item) for item in value] if isinstance(value, (list, tuple)) else value


def _said(problem: BaseException) -> str:
    where = user_frame(problem)
    return f"{exception_text(problem).rstrip('.')}{f' ({where})' if where else ''}"
