"""What a model gets wrong on a data set: scores by class, confusions, residuals, the samples of the highest loss."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tui_trainer.config.wording import printable
from tui_trainer.data.dataset import ArrayDataset
from tui_trainer.data.items import MappedDataset
from tui_trainer.data.view import source_rows
from tui_trainer.engine.losses import combine
from tui_trainer.engine.pieces import take_rows
from tui_trainer.engine.probes import MOST_CLASSES
from tui_trainer.models.outputs import main_output, own_loss
from tui_trainer.reports.diagnosis_content import ClassScore, Confusion, Sample, TargetError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.utils.data import Dataset

    from tui_trainer.data.batches import Batch
    from tui_trainer.data.dataset import DataSplits, Task
    from tui_trainer.engine.losses import Loss

PAIRS = 10
TARGETS = 20
QUANTILES = {"min": 0.0, "p05": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}
_ONE_BY_ONE = 4_000  # samples for which a loss that knows batches only is asked for each by itself


@dataclass
class Mistakes:
    """See `reports.diagnosis_content.Examination`, whose fields these are."""

    classes: tuple[ClassScore, ...] = ()
    matrix: tuple[tuple[int, ...], ...] = ()
    pairs: tuple[Confusion, ...] = ()
    never_predicted: tuple[str, ...] = ()
    residuals: dict[str, float] = field(default_factory=dict)
    targets: tuple[TargetError, ...] = ()
    worst: tuple[Sample, ...] = ()
    notes: tuple[str, ...] = ()


class Witness:
    """Looks at a pass and keeps, of each sample: its row, loss, target, prediction. Small things, on the CPU.

    `predicted` and `expected` are class numbers (int64[n]), values (float[n, columns]) or 0/1 (int64[n, labels]),
    after the task; empty where outputs and targets are of another form.
    """

    def __init__(self, loss: Loss, task: Task) -> None:
        self._loss, self._task = loss, task
        self._batch: Batch | None = None
        self._start = 0
        self._left = _ONE_BY_ONE
        self.rows: list[Tensor] = []
        self.losses: list[Tensor] = []
        self.predicted: list[Tensor] = []
        self.expected: list[Tensor] = []
        self.confidence: list[Tensor] = []
        self.odd = False
        self.by_position = False
        self.unknown_losses = False

    def take(self, batch: Batch) -> None:
        """The batch that comes."""
        self._batch, self._start = batch, 0

    def beside(self, on_outputs: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        """Looks at what `on_outputs` gets."""

        def both(outputs: Any, targets: Any) -> None:
            on_outputs(outputs, targets)
            self._look(outputs, targets)

        return both

    def _look(self, outputs: Any, targets: Any) -> None:
        assert self._batch is not None
        found = main_output(outputs)
        count = self._batch.size - self._start
        if isinstance(found, Tensor) and found.ndim and self._start + len(found) <= self._batch.size:
            count = len(found)
        rows = slice(self._start, self._start + count)
        self._start += count
        self.rows.append(self._batch.rows[rows].cpu())
        self.losses.append(self._losses(outputs, targets, rows, count))
        if isinstance(found, Tensor) and isinstance(targets, Tensor) and len(found) == len(targets) == count:
            self._compare(found.float(), targets)
        else:
            self.odd = True

    def _compare(self, outputs: Tensor, targets: Tensor) -> None:
        kind = self._task.kind
        if kind == "classification" or (kind == "custom" and _are_classes(outputs, targets)):
            self._compare_classes(outputs, targets)
        elif kind == "binary" and outputs.numel() == targets.numel() == len(outputs):
            share = outputs.flatten().sigmoid()
            named = share > 0.5
            self._keep(named.long(), (targets.flatten() > 0.5).long(), torch.where(named, share, 1 - share))
        elif kind == "multilabel" and outputs.shape == targets.shape:
            self._keep((outputs > 0).long().flatten(1), (targets > 0.5).long().flatten(1), None)
        elif kind == "regression" and outputs.numel() == targets.numel():
            self._keep(outputs.reshape(len(outputs), -1), targets.reshape(len(targets), -1).float(), None)
        else:
            self.odd = True

    def _compare_classes(self, outputs: Tensor, targets: Tensor) -> None:
        """Logits `[n, classes]` with labels of n, or `[n, classes, …]` with labels `[n, …]`, then by position."""
        labels = targets.flatten() if targets.numel() == len(targets) else targets
        if outputs.ndim < 2 or outputs.shape[1] < 2 or labels.shape != outputs[:, 0].shape:
            self.odd = True
            return
        self.by_position = self.by_position or labels.ndim > 1
        shares = outputs.softmax(1).amax(1).flatten()
        self._keep(outputs.argmax(1).flatten(), labels.flatten().long(), shares)

    def _keep(self, predicted: Tensor, expected: Tensor, confidence: Tensor | None) -> None:
        self.predicted.append(predicted.cpu())
        self.expected.append(expected.cpu())
        if confidence is not None:
            self.confidence.append(confidence.cpu())

    def _losses(self, outputs: Any, targets: Any, rows: slice, count: int) -> Tensor:
        """float[count]; NaN where the loss of a single sample cannot be had."""
        try:
            values = self._loss.by_sample(outputs, targets)
            if values is not None and values.shape == (count,):
                return values.detach().float().cpu()
            if self._loss.prefers_own and own_loss(outputs) is not None:  # one number for the whole batch
                values = functional.cross_entropy(main_output(outputs).float(), targets, reduction="none")
                if values.shape == (count,):
                    return values.cpu()
            elif self._left >= count:
                self._left -= count
                return self._one_by_one(outputs, targets, rows, count)
        except Exception:  # a user's loss may ask for whole batches
            self._left = 0
        self.unknown_losses = True
        return torch.full((count,), math.nan)

    def _one_by_one(self, outputs: Any, targets: Any, rows: slice, count: int) -> Tensor:
        assert self._batch is not None
        inputs = take_rows(self._batch.inputs, rows.start, rows.stop, self._batch.size)
        values = []
        for place in range(count):
            one = [take_rows(item, place, place + 1, count) for item in (outputs, targets, inputs)]
            values.append(combine(self._loss(*one))[0].detach().float().cpu())
        return torch.stack(values)


def mistakes(witness: Witness, data: DataSplits, worst: int) -> Mistakes:
    """What the pass that `witness` saw over `data.val` shows; `worst`: how many samples of the highest loss."""
    notes = []
    if witness.unknown_losses:
        notes.append("The loss can only be had for whole batches: the worst samples are not known.")
    if witness.odd or not witness.predicted:
        notes.append(
            "Outputs and targets are of a form that has no scores by class or target: only losses are shown."
        )
        return Mistakes(worst=_worst(witness, data, worst, lambda _: ("", "", None)), notes=tuple(notes))
    predicted, expected = torch.cat(witness.predicted), torch.cat(witness.expected)
    kind = data.task.kind
    if kind == "regression":
        found = _of_numbers(predicted, expected, witness, data)
        words = [_numbers_in_words(item) for item in (expected, predicted)]
        found.worst = _worst(witness, data, worst, lambda k: (words[0](k), words[1](k), None))
    elif witness.by_position:
        found = _of_classes(predicted, expected, data.task)
        notes.append("Classes are counted by position, several in each sample.")
        found.worst = _worst(witness, data, worst, lambda _: ("", "", None))
    elif kind == "multilabel":
        found = _of_labels(predicted, expected, data.task)
        found.worst = _worst(
            witness,
            data,
            worst,
            lambda k: (_set_labels(expected[k], data.task), _set_labels(predicted[k], data.task), None),
        )
    else:
        confidence = torch.cat(witness.confidence)
        found = _of_classes(predicted, expected, data.task)
        found.worst = _worst(
            witness,
            data,
            worst,
            lambda k: (
                class_name(data.task, int(expected[k])),
                class_name(data.task, int(predicted[k])),
                float(confidence[k]),
            ),
        )
    found.notes = (*notes, *found.notes)
    return found


def _are_classes(outputs: Tensor, targets: Tensor) -> bool:
    """Whether a task that nobody named is plainly one of classes: logits of several, and a whole number a sample."""
    whole = not targets.dtype.is_floating_point and targets.ndim == 1
    if outputs.ndim != 2 or outputs.shape[1] < 2 or not whole or len(targets) != len(outputs):
        return False
    return bool(((targets >= 0) & (targets < outputs.shape[1])).all())


def class_name(task: Task, number: int) -> str:
    """What a class is called; its number where it has no name."""
    names = task.class_names or ()
    return printable(str(names[number]), 60) if 0 <= number < len(names) else str(number)


def score(name: str, support: int, predicted: int, correct: int) -> ClassScore:
    """Precision, recall and F1 from counts."""
    precision = correct / predicted if predicted else None
    recall = correct / support if support else None
    f1 = 2 * correct / (support + predicted) if support + predicted else None
    return ClassScore(name, support, predicted, correct, precision, recall, f1)


def _of_classes(predicted: Tensor, expected: Tensor, task: Task) -> Mistakes:
    count = 2 if task.kind == "binary" else int(task.num_outputs or 0)
    count = max(count, int(predicted.max()) + 1)
    known = (expected >= 0) & (expected < count)
    predicted, expected = predicted[known], expected[known]
    notes = () if bool(known.all()) else (f"{int((~known).sum())} samples have a label that is no class.",)
    matrix = torch.bincount(expected * count + predicted, minlength=count * count).reshape(count, count)
    names = [class_name(task, number) for number in range(count)]
    support, named, right = matrix.sum(1), matrix.sum(0), matrix.diagonal()
    classes = tuple(
        score(name, int(support[k]), int(named[k]), int(right[k])) for k, name in enumerate(names)
    )
    wrong = matrix.clone().fill_diagonal_(0)
    top = wrong.flatten().topk(min(PAIRS, wrong.numel()))
    pairs = tuple(
        Confusion(names[k // count], names[k % count], int(size), int(size) / int(support[k // count]))
        for size, k in zip(top.values.tolist(), top.indices.tolist(), strict=True)
        if size
    )
    return Mistakes(
        classes=classes,
        matrix=tuple(tuple(row) for row in matrix.tolist()) if count <= MOST_CLASSES else (),
        pairs=pairs,
        never_predicted=tuple(item.name for item in classes if item.support and not item.predicted),
        notes=notes,
    )


def _of_labels(predicted: Tensor, expected: Tensor, task: Task) -> Mistakes:
    both = (predicted * expected).sum(0)
    counts = zip(expected.sum(0).tolist(), predicted.sum(0).tolist(), both.tolist(), strict=True)
    classes = tuple(score(class_name(task, k), *item) for k, item in enumerate(counts))
    never = tuple(item.name for item in classes if item.support and not item.predicted)
    return Mistakes(classes=classes, never_predicted=never)


def _of_numbers(predicted: Tensor, expected: Tensor, witness: Witness, data: DataSplits) -> Mistakes:
    errors = (predicted - expected).double()
    rows = rows_in_source(data.val, torch.cat(witness.rows))
    flat = errors.flatten()
    points = np.quantile(flat.numpy(), list(QUANTILES.values())).tolist() if len(flat) else []
    residuals = dict(zip(QUANTILES, points, strict=False))
    if len(flat):
        residuals |= {"mean": float(flat.mean()), "std": float(flat.std(unbiased=False))}
    found = []
    for column in range(errors.shape[1]):
        error = errors[:, column]
        place = int(error.abs().argmax())
        name = data.label_column if data.label_column and errors.shape[1] == 1 else f"target {column}"
        found.append(
            TargetError(
                name=printable(name, 60),
                mae=float(error.abs().mean()),
                rmse=float(error.square().mean().sqrt()),
                bias=float(error.mean()),
                largest=float(error[place]),
                worst_row=int(rows[place]),
            )
        )
    found.sort(key=lambda item: -item.rmse if math.isfinite(item.rmse) else -math.inf)
    notes = (f"{len(found) - TARGETS} more targets are left out.",) if len(found) > TARGETS else ()
    return Mistakes(residuals=residuals, targets=tuple(found[:TARGETS]), notes=notes)


def _worst(
    witness: Witness, data: DataSplits, count: int, words: Callable[[int], tuple[str, str, float | None]]
) -> tuple[Sample, ...]:
    """The samples of the highest loss; non-finite losses first."""
    if not witness.losses or witness.unknown_losses:
        return ()
    losses = torch.cat(witness.losses)
    ranked = losses.nan_to_num(nan=math.inf).argsort(descending=True, stable=True)[:count]
    rows = rows_in_source(data.val, torch.cat(witness.rows)[ranked])
    found = []
    for place, row in zip(ranked.tolist(), rows.tolist(), strict=True):
        target, predicted, confidence = words(place)
        found.append(Sample(row, target, predicted, float(losses[place]), confidence))
    return tuple(found)


def rows_in_source(data: Dataset[Any], rows: Tensor) -> Tensor:
    """The places in the source that samples of a split (by position) come from."""
    inner: Any = data
    while isinstance(inner, MappedDataset):
        inner = inner.data
    return inner.source_rows[rows] if isinstance(inner, ArrayDataset) else source_rows(inner, rows)


def _numbers_in_words(values: Tensor) -> Callable[[int], str]:
    def words(place: int) -> str:
        numbers = values[place].tolist()
        shown = ", ".join(f"{number:.6g}" for number in numbers[:4])
        return shown + (", …" if len(numbers) > 4 else "")

    return words


def _set_labels(values: Tensor, task: Task) -> str:
    names = [class_name(task, k) for k in values.nonzero().flatten().tolist()]
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "") if names else "none"
