"""Running sums behind our own metrics: few operations a batch, none of which waits for the device.

What they give does not depend on where a run was interrupted: counts are int64, and sums of floats are exact.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from tui_trainer.config.errors import ModelError
from tui_trainer.config.targets import exception_text, user_frame
from tui_trainer.data.task import IGNORED_LABEL
from tui_trainer.models.outputs import described, same_but_for_ones

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui_trainer.data.dataset import TaskKind

_PENDING = 64  # batches noted before they are compared
_MANY = 1024  # batches whose vectors are put into one tensor
_PENDING_VALUES = 1 << 16  # or predictions in them
_FEW_LOGITS = 1 << 13  # a batch with no more is kept as it came, and its largest logits are found later


class Accumulator(Protocol):
    """One metric over a pass. `names`: what `compute` gives."""

    name: str
    names: tuple[str, ...]

    def update(self, outputs: Tensor, targets: Tensor) -> None: ...
    def compute(self) -> dict[str, float]: ...
    def reset(self) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Accuracy:
    """The share of right predictions, 0 to 1.

    classification: the largest logit, `[n, classes, …]` against `[n, …]`, labels of -100 left out. binary: a
    logit above 0 (a probability above ½), or the larger of two. multilabel: each label counts by itself.

    Predictions are noted as they come and compared every so often, which spares two thirds of the cost of many tiny
    operations.
    """

    def __init__(self, name: str, kind: TaskKind, device: torch.device) -> None:
        self.name = name
        self.names: tuple[str, ...] = (name,)
        self._kind, self._device = kind, device
        self._by_sign = kind in ("binary", "multilabel")
        self.reset()

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        if targets.ndim == 1 and outputs.ndim == 2 and not self._by_sign and outputs.shape[1] > 1:
            if len(outputs) != len(targets):
                raise self._mismatch(outputs, targets)
            # Only where nothing can write the next batch's logits into the same memory, as a graph captured on a GPU
            # does, or a model that keeps its output when no gradient is asked for.
            later = outputs.numel() <= _FEW_LOGITS and outputs.requires_grad and outputs.is_cpu
            predictions = outputs.detach() if later else outputs.argmax(1)
        else:
            predictions, targets = self._predictions(outputs, targets)
        self._predicted.append(predictions)
        self._targets.append(targets)
        self._values += targets.numel()
        if len(self._targets) >= _PENDING or self._values >= _PENDING_VALUES:
            self._sum_up()

    def compute(self) -> dict[str, float]:
        self._sum_up()
        correct, seen = torch.stack([self._correct, self._seen]).tolist()
        return {self.name: correct / seen if seen else math.nan}

    def reset(self) -> None:
        self._correct = torch.zeros((), dtype=torch.int64, device=self._device)
        self._seen = torch.zeros((), dtype=torch.int64, device=self._device)
        self._forget_pending()

    def state_dict(self) -> dict[str, Any]:
        self._sum_up()
        return {"correct": self._correct, "seen": self._seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._correct = state["correct"].to(self._device, copy=True)
        self._seen = state["seen"].to(self._device, copy=True)
        self._forget_pending()

    def _forget_pending(self) -> None:
        self._predicted: list[Tensor] = []
        self._targets: list[Tensor] = []
        self._values = 0

    def _sum_up(self) -> None:
        if not self._targets:
            return
        with torch.no_grad():
            predicted = torch.cat(_classes(self._predicted))
            targets = torch.cat([item.flatten() for item in self._targets])
            self._correct += (predicted == targets).sum()
            self._seen += (targets != IGNORED_LABEL).sum()
        self._forget_pending()

    def _predictions(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Predicted and true classes (or 0/1 labels), of one shape."""
        two_logits = outputs.ndim == 2 and outputs.shape[1] == 2 and targets.numel() == len(outputs)
        one_logit = outputs.ndim == 1 or (outputs.ndim == 2 and outputs.shape[1] == 1)
        probabilities = targets.is_floating_point() and targets.shape == outputs.shape and outputs.ndim > 1
        if (self._by_sign and not (self._kind == "binary" and two_logits)) or (
            not self._by_sign and one_logit
        ):
            predictions = outputs > 0
        elif probabilities and not self._by_sign:
            predictions, targets = outputs.argmax(1), targets.argmax(1)
        elif outputs.ndim == 0:
            raise self._mismatch(outputs, targets)
        else:
            last = targets.shape == outputs.shape[:-1] and targets.shape[1:] != outputs.shape[2:]
            predictions = outputs.argmax(-1 if last else 1)
        if predictions.numel() != targets.numel() or predictions.shape[:1] != targets.shape[:1]:
            raise self._mismatch(outputs, targets)
        return predictions, targets.reshape(predictions.shape)

    def _mismatch(self, outputs: Tensor, targets: Tensor) -> ModelError:
        return ModelError(
            f"The metric {self.name} cannot compare outputs {described(outputs)} with targets {described(targets)} "
            f"({self._kind}). Change the model's outputs or the targets, or name another metric."
        )


def _classes(noted: list[Tensor]) -> list[Tensor]:
    """Predictions as they were noted, flat; runs of logits `[n, classes]` turned into classes by one argmax."""
    flat: list[Tensor] = []
    for kind, run in itertools.groupby(noted, key=lambda item: item.is_floating_point() and item.shape[1]):
        some = list(run)
        flat += [torch.cat(some).argmax(1)] if kind else [item.flatten() for item in some]
    return flat


class _BatchValues:
    """One float vector a batch, left on the device and added up at the end, exactly (`math.fsum`).

    So the result does not depend on when a run was interrupted, and no value is lost to rounding. Non-finite
    vectors make the result NaN; they are kept out of the state, so that it can always be saved.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.name = name
        self.names: tuple[str, ...] = (name,)
        self._device = device
        self._dtype = torch.float32 if device.type == "mps" else torch.float64  # which MPS does not have
        self.reset()

    def reset(self) -> None:
        self._values: list[Tensor] = []  # of many batches each
        self._latest: list[Tensor] = []
        self._count = 0.0
        self._bad = False

    def compute(self) -> dict[str, float]:
        values = self._all_values()
        if values is None:
            return {self.name: math.nan}
        columns = values.reshape(len(values), -1).T.tolist()
        if self._bad or not all(math.isfinite(value) for column in columns for value in column):
            return {self.name: math.nan}
        sums = [math.fsum(column) for column in columns]
        return {self.name: self._value(torch.tensor(sums, dtype=torch.float64).reshape(values.shape[1:]))}

    def state_dict(self) -> dict[str, Any]:
        values, bad = self._all_values(), self._bad
        if values is not None:
            finite = torch.isfinite(values).reshape(len(values), -1).all(1)
            bad = bad or not bool(finite.all())
            values = values[finite]
        return {"values": values, "count": self._count, "bad": bad}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        values = state["values"]
        self._values = [] if values is None else [values.to(self._device, copy=True)]
        self._latest = []
        self._count, self._bad = state["count"], state["bad"]

    def _note(self, value: Tensor, count: float) -> None:
        """Take one batch's vector; `count` is its weight in the mean."""
        self._latest.append(value)
        self._count += count
        if len(self._latest) >= _MANY:
            self._values.append(torch.stack(self._latest))
            self._latest = []

    def _all_values(self) -> Tensor | None:
        if self._latest:
            self._values.append(torch.stack(self._latest))
            self._latest = []
        if len(self._values) > 1:
            self._values = [torch.cat(self._values)]
        return self._values[0] if self._values else None

    def _value(self, sums: Tensor) -> float:
        raise NotImplementedError


class RegressionError(_BatchValues):
    """Mean absolute or squared error over all outputs, or the root of the latter."""

    def __init__(self, name: str, kind: str, device: torch.device) -> None:
        super().__init__(name, device)
        self._absolute, self._root = kind == "absolute", kind == "root squared"

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        with torch.no_grad():
            difference = outputs - _like(self.name, targets, outputs)
            errors = difference.abs() if self._absolute else difference.square()
            self._note(errors.sum(dtype=self._dtype), targets.numel())

    def _value(self, sums: Tensor) -> float:
        mean = float(sums) / self._count
        return math.sqrt(mean) if self._root else mean


class RSquared(_BatchValues):
    """The coefficient of determination, averaged over outputs: 1 is perfect, 0 is as good as the mean target.

    Targets are summed relative to the first one seen, which keeps the variance exact where the mean is large.
    NaN where targets do not vary.
    """

    def reset(self) -> None:
        super().reset()
        self._shift: Tensor | None = None

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        with torch.no_grad():
            true = _like(self.name, targets, outputs).to(self._dtype).flatten(1 if outputs.ndim > 1 else 0)
            difference = (outputs.reshape(true.shape) - true).to(self._dtype)
            if self._shift is None:
                self._shift = torch.nan_to_num(true[0], nan=0.0, posinf=0.0, neginf=0.0)
            true = true - self._shift
            self._note(torch.stack([difference.square(), true, true.square()]).sum(1), len(true))

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"shift": self._shift}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        shift = state["shift"]
        self._shift = None if shift is None else shift.to(self._device, copy=True)

    def _value(self, sums: Tensor) -> float:
        residual, total, squares = sums
        spread = squares - total.square() / self._count
        return math.nan if bool((spread <= 0).any()) else float((1 - residual / spread).mean())


class AverageOfBatches(_BatchValues):
    """A user's function (outputs, targets) → number, averaged over batches by their size."""

    def __init__(self, name: str, function: Callable[[Tensor, Tensor], Any], device: torch.device) -> None:
        super().__init__(name, device)
        self._function = function

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        with torch.no_grad():
            try:
                value = self._function(outputs.detach(), targets)
            except Exception as problem:  # the user's code
                where = user_frame(problem)
                raise ModelError(
                    f"The metric {self.name} failed on outputs {described(outputs)} and targets {described(targets)}: "
                    f"{exception_text(problem).rstrip('.')}{f' ({where})' if where else ''}."
                ) from problem
            if isinstance(value, Tensor) and value.numel() == 1:
                scalar = value.detach().reshape(()).to(self._dtype)
            elif isinstance(value, (int, float)):
                scalar = torch.tensor(float(value), dtype=self._dtype, device=self._device)
            else:
                raise ModelError(f"The metric {self.name} returned {described(value)}; expected one number.")
            self._note(scalar * len(targets), len(targets))

    def _value(self, sums: Tensor) -> float:
        return float(sums) / self._count


def _like(name: str, targets: Tensor, outputs: Tensor) -> Tensor:
    """Targets in the outputs' shape; `[n, 1]` and `[n]` are one shape, nothing else is."""
    if outputs.shape == targets.shape:
        return targets
    if not same_but_for_ones(outputs, targets):
        raise ModelError(
            f"The metric {name} cannot compare outputs {described(outputs)} with targets {described(targets)}; "
            "expected one shape. Change the model's number of outputs or the targets."
        )
    return targets.reshape(outputs.shape)
