"""Probes: what a model does inside, and which classes it names, at the end of some epochs.

Both look at the validation pass that is made anyway: predictions are counted as they come, and a few of its samples
go once more through the model with hooks on its activation modules. Watching changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tui_trainer.engine.watching import left_as_found
from tui_trainer.models.outputs import call_model, main_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tui_trainer.data.batches import Batch
    from tui_trainer.data.dataset import Task
    from tui_trainer.engine.precision import Precision
    from tui_trainer.engine.statistics import Row

MOST_CLASSES = 100
"""With more classes than these, predictions are not counted."""
_FIRST_EPOCHS = 3
_FEW, _MANY = 64, 256  # samples that go through the hooks; many where an epoch is long
_LONG_EPOCH = 10_000  # train samples
_MOST_NUMBERS = 1 << 20  # of inputs that a probe keeps
_END = 0.99  # a tanh or sigmoid output this far towards its end passes at most 4 % of its largest slope on


def due(epoch: int, last: int, every: int) -> bool:
    """Whether to look in this epoch: the first three, each `every`-th and the last; never where `every` is 0."""
    return bool(every) and (epoch <= _FIRST_EPOCHS or epoch % every == 0 or epoch >= last)


class Probe:
    """Sees one validation pass: each batch, and what the model makes of it (without gradients)."""

    def __init__(self, task: Task, batches: int, train_samples: int) -> None:
        self._kind, self._classes = task.kind, _classes_of(task)
        self._predicted: list[Tensor] = []
        self._targets: list[Tensor] = []
        wanted = _MANY if train_samples >= _LONG_EPOCH else _FEW
        self._of_each = -(-wanted // max(1, batches))
        self._every = max(1, batches // wanted)
        self._left = wanted
        self._samples: list[Any] = []

    def take(self, batch: Batch) -> None:
        """Keep some of a batch's samples, spread over the pass."""
        if self._left > 0 and batch.position % self._every == 0:
            self._keep_some(batch)

    def beside(self, on_outputs: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        """What calls `on_outputs` (outputs, targets), and counts the predictions of these outputs."""
        if not self._classes:
            return on_outputs

        def both(outputs: Any, targets: Any) -> None:
            on_outputs(outputs, targets)
            found = main_output(outputs)
            if isinstance(found, Tensor) and isinstance(targets, Tensor):
                self._count(found, targets)

        return both

    def prediction_rows(self) -> Iterator[Row]:
        """Of each class: its validation samples, how often it was predicted, and how often rightly."""
        if not self._predicted:
            return
        predicted = torch.cat(self._predicted).cpu()
        targets = torch.cat(self._targets).cpu()
        known = (targets >= 0) & (targets < self._classes) & (predicted < self._classes)
        predicted, targets = predicted[known], targets[known]
        of = [
            torch.bincount(item, minlength=self._classes).tolist()
            for item in (targets, predicted, targets[predicted == targets])
        ]
        for number, (samples, named, right) in enumerate(zip(*of, strict=True)):
            yield {"class": str(number), "samples": samples, "predicted": named, "correct": right}

    def activation_rows(self, model: nn.Module, precision: Precision) -> list[Row]:
        """One row a call of a ReLU, tanh or sigmoid module inside the model (see `_Look`); [] where that fails."""
        look = _Look(model)
        if not look or not self._samples:
            return []
        try:
            with left_as_found(model), look, torch.no_grad(), precision.autocast():
                model.eval()
                look.end(call_model(model, _joined(self._samples)))
        except Exception:  # a probe ends no training; what is wrong shows where it matters
            return []
        return look.rows()

    def _keep_some(self, batch: Batch) -> None:
        kept = _first(batch.inputs, min(self._of_each, self._left, batch.size), batch.size)
        if kept is None or (self._samples and not _alike(self._samples[0], kept)):
            return
        if not self._samples:
            self._left = min(self._left, _MOST_NUMBERS // max(1, _numbers_of_one(kept)))
        self._samples.append(kept)
        self._left -= min(self._of_each, batch.size)

    def _count(self, outputs: Tensor, targets: Tensor) -> None:
        if self._kind == "binary":
            if outputs.numel() != targets.numel():
                return
            self._predicted.append((outputs.flatten() > 0).long())
            self._targets.append((targets.flatten() > 0.5).long())
        elif (
            outputs.ndim == 2 and outputs.shape[1] > 1 and targets.ndim == 1 and len(outputs) == len(targets)
        ):
            self._predicted.append(outputs.argmax(1))
            self._targets.append(targets.long())


def _classes_of(task: Task) -> int:
    if task.kind == "binary":
        return 2
    classes = task.num_outputs or 0
    return classes if task.kind == "classification" and classes <= MOST_CLASSES else 0


class _Look:
    """Hooks on the leaf modules of a model for one forward pass.

    A unit is a channel: the second dimension behind convolutions and their normalisations, else the last. It is
    `dead` where no sample would send a gradient through it: a ReLU that gave 0 for all, a tanh or sigmoid at one of
    its ends for all. `saturated`: the share of outputs at an end.
    """

    def __init__(self, model: nn.Module) -> None:
        leaves = [(name, module) for name, module in model.named_modules() if not any(module.children())]
        self._leaves = leaves if any(isinstance(module, _JUDGED) for _, module in leaves) else []
        self._handles: list[Any] = []
        self._behind: nn.Module | None = None
        self._calls: dict[str, int] = {}
        self._found: list[tuple[str, str, int, int, int]] = []
        self._shares: list[Tensor] = []
        self._after_last = 0
        self._inside = 0

    def __bool__(self) -> bool:
        return bool(self._leaves)

    def __enter__(self) -> None:
        for name, module in self._leaves:
            seen = self._hook(name) if isinstance(module, _JUDGED) else self._pass
            self._handles.append(module.register_forward_hook(seen))

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def end(self, _outputs: Any) -> None:
        """The pass is over: what no layer with weights followed belongs to the output, and is not judged."""
        self._found = [item for item in self._found if item[4] < self._after_last]
        self._shares = self._shares[: 2 * len(self._found)]

    def rows(self) -> list[Row]:
        """Layer, kind, units, samples, and the shares `dead` and `saturated`."""
        values = torch.stack(self._shares).tolist() if self._shares else []
        return [
            {
                "layer": name,
                "kind": kind,
                "units": units,
                "samples": samples,
                "dead": values[2 * place],
                "saturated": values[2 * place + 1],
            }
            for place, (name, kind, units, samples, _) in enumerate(self._found)
        ]

    def _pass(self, module: nn.Module, _: Any, __: Any) -> None:
        if isinstance(module, _WITH_CHANNELS):
            self._behind = module
        if next(module.parameters(recurse=False), None) is not None and not isinstance(module, nn.PReLU):
            self._after_last += 1

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(module: nn.Module, _: Any, output: Any) -> None:
            if not isinstance(output, Tensor) or output.ndim < 2 or not output.numel():
                return
            self._calls[name] = self._calls.get(name, 0) + 1
            shown = name or "the model"
            if self._calls[name] > 1:
                shown = f"{shown} ({self._calls[name]})"
            channel = self._channel(output)
            at_end = _at_end(module, output)
            dead = at_end.transpose(0, channel).flatten(1).all(1)
            saturated = torch.zeros(()) if isinstance(module, _RELUS) else at_end.float().mean()
            self._found.append(
                (shown, type(module).__name__, output.shape[channel], len(output), self._after_last)
            )
            self._shares += [dead.float().mean(), saturated.to(dead.device)]

        return look

    def _channel(self, output: Tensor) -> int:
        if output.ndim == 2:
            return 1
        if self._behind is None:
            return 1 if output.ndim > 3 else output.ndim - 1
        return output.ndim - 1 if isinstance(self._behind, (nn.Linear, nn.LayerNorm)) else 1


_RELUS = (nn.ReLU, nn.ReLU6)
_JUDGED = (*_RELUS, nn.Tanh, nn.Sigmoid)
_WITH_CHANNELS = (
    nn.Linear,
    nn.LayerNorm,
    nn.modules.conv._ConvNd,  # noqa: SLF001 (no public base class)
    nn.modules.batchnorm._NormBase,  # noqa: SLF001
    nn.GroupNorm,
)


def _at_end(module: nn.Module, output: Tensor) -> Tensor:
    """Where a change of the input would (all but) not change the output."""
    if isinstance(module, nn.ReLU6):
        return (output <= 0) | (output >= 6)
    if isinstance(module, nn.ReLU):
        return output <= 0
    if isinstance(module, nn.Tanh):
        return output.abs() > _END
    return (output > _END) | (output < 1 - _END)


# --- samples of a batch, whatever its inputs are ------------------------------------------------------------


def _first(inputs: Any, count: int, size: int) -> Any:
    """The first `count` samples; None for inputs that are neither a tensor nor a dict of them."""
    if isinstance(inputs, Tensor):
        return inputs[:count].clone()
    if isinstance(inputs, Mapping):
        return {
            key: value[:count].clone()
            if isinstance(value, Tensor) and value.ndim and len(value) == size
            else value
            for key, value in inputs.items()
        }
    return None


def _alike(first: Any, other: Any) -> bool:
    """Whether samples of two batches make one batch."""
    if isinstance(first, Tensor):
        return isinstance(other, Tensor) and first.shape[1:] == other.shape[1:]
    return False  # padded to different lengths, perhaps


def _joined(samples: list[Any]) -> Any:
    return torch.cat(samples) if isinstance(samples[0], Tensor) else samples[0]


def _numbers_of_one(inputs: Any) -> int:
    values = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
    return sum(
        value[0].numel() for value in values if isinstance(value, Tensor) and value.ndim and len(value)
    )
