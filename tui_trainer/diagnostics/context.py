"""What is measured on data and model before the first step, for rules to judge by (`RunFacts.context`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from tui_trainer.data.dataset import ArrayDataset
from tui_trainer.data.items import known_targets
from tui_trainer.diagnostics import copies, dummy_pass, yardsticks
from tui_trainer.engine.probes import MOST_CLASSES

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from tui_trainer.engine.parts import Parts


def measure(parts: Parts) -> dict[str, Any]:
    """The keys that `RunFacts` lists, as JSON values; milliseconds for data in memory, else what is known anyway.

    Changes nothing, and never raises: what cannot be measured is left out.
    """
    task = parts.data.task
    found: dict[str, Any] = {
        "task": task.kind,
        "train_samples": parts.train.samples,
        "val_samples": parts.val.samples,
        "loss": parts.loss.name,
        "batch_norm": any(isinstance(item, nn.modules.batchnorm._NormBase) for item in parts.model.modules()),  # noqa: SLF001 (no public base class)
    }
    if task.kind == "classification" and task.num_outputs:
        found["classes"] = task.num_outputs
        if task.class_names and task.num_outputs <= MOST_CLASSES:
            found["class_names"] = list(task.class_names)
    disabled = parts.config.diagnostics.disabled
    found |= _tried(lambda: _of_data(parts, leakage="data_leakage" not in disabled))
    if "dead_parameters" not in disabled and (missed := _tried(lambda: dummy_pass.unreached(parts))):
        found["unreached"] = missed
    return found


def _of_data(parts: Parts, *, leakage: bool) -> dict[str, Any]:
    """Class counts, yardsticks and copies."""
    train, val, task = parts.data.train, parts.data.val, parts.data.task
    targets, asked = known_targets(train), known_targets(val)
    if targets is None or asked is None or not len(targets) or not len(asked):
        return {}
    found: dict[str, Any] = {}
    classes = 2 if task.kind == "binary" else task.num_outputs or 0
    if task.kind == "regression":
        targets, asked = _as_columns(targets), _as_columns(asked)
        found["trivial"] = yardsticks.trivial_of_numbers(targets, asked)
        found["zero"] = yardsticks.errors(asked.new_zeros(()).expand_as(asked), asked)
    elif task.kind == "binary":
        targets, asked = targets.flatten().round().long(), asked.flatten().round().long()
    if task.kind == "binary" or (task.kind == "classification" and targets.ndim == 1):
        counts, trivial = yardsticks.trivial_of_classes(targets, asked, classes)
        found |= {"class_counts": counts, "trivial": trivial} if counts else {}
    if not isinstance(train, ArrayDataset) or not isinstance(val, ArrayDataset) or "trivial" not in found:
        return found
    space = yardsticks.Space(train, val)
    if task.kind == "regression":
        found |= _tried(lambda: yardsticks.of_numbers(space, targets, asked))
    else:
        found |= _tried(lambda: yardsticks.of_classes(space, targets, asked, classes))
    _of_squared_loss(found, parts)
    if leakage and (seen := _tried(lambda: copies.exact_copies(train, val))):
        found["copies"] = seen | _tried(lambda: copies.near_copies(space))
    return found


def _of_squared_loss(found: dict[str, Any], parts: Parts) -> None:
    """Where the loss is the squared or absolute error itself, the yardsticks hold for it too."""
    same = {"mse": "val_mse", "l1": "val_mae"}.get(parts.loss.name)
    if same is None or parts.config.loss.args:
        return
    for name in ("trivial", "zero", "linear", "neighbours"):
        if same in found.get(name, {}):
            found[name]["val_loss"] = found[name][same]


def _as_columns(targets: Tensor) -> Tensor:
    return targets.flatten(1).float() if targets.ndim > 1 else targets.float()[:, None]


def _tried(measured: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What can be measured; odd data or models must not end a run before it begins."""
    try:
        return measured()
    except Exception:
        return {}
