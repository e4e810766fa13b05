"""A batch in pieces that together mean what the whole means: rows cut out of whatever holds them, and each piece's
share in the mean loss."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tui_trainer.data.seeds import untouched_rng
from tui_trainer.data.task import IGNORED_LABEL
from tui_trainer.engine.losses import combine
from tui_trainer.engine.memory_recovery import even_parts
from tui_trainer.models.outputs import described, main_output, own_loss

if TYPE_CHECKING:
    from tui_trainer.data.batches import Batch
    from tui_trainer.engine.losses import Loss

_PROBED, _PROBED_AT_LEAST = 8, 3  # rows that tell a mean from a sum
_TOLERANCE = 0.02  # bf16 has 8 bits; a sum is a third more than a mean
_PLAIN = (str, bytes, int, float, complex, bool)


NOT_ADDITIVE = (
    "Memory allows for pieces of a batch only, and the loss {name} is neither a mean nor a sum over samples: from the "
    "pieces' losses, weighted by their samples, the batch's own does not result. A loss that compares the samples of a "
    "batch (contrastive, ranking) sees fewer of them. Lower data.batch_size to know what is trained with."
)


class Indivisible(Exception):
    """The batch holds something that cannot be cut by samples; says what."""


def rows_of(batch: Batch) -> int:
    """Samples along the first dimension of the batch's tensors; 0 where it has none."""
    for content in (batch.targets, batch.inputs):
        for tensor in _tensors(content):
            if tensor.ndim:
                return len(tensor)
    return 0


def pieces_of(batch: Batch, at_most: int, smallest: int = 1) -> list[Batch]:
    """The batch as pieces of equal size, or nearly so. Tensors are copied: what is done to a piece in place is nothing
    to another try. Raises `Indivisible`."""
    rows = rows_of(batch)
    if rows <= at_most:
        return [batch]
    return [piece_of(batch, start, stop, rows) for start, stop in even_parts(rows, at_most, smallest)]


def piece_of(batch: Batch, start: int, stop: int, rows: int) -> Batch:
    """Rows `start` … `stop` of the `rows` of a batch. Raises `Indivisible`."""
    return replace(
        batch,
        inputs=take_rows(batch.inputs, start, stop, rows),
        targets=take_rows(batch.targets, start, stop, rows),
        size=stop - start,
    )


def take_rows(content: Any, start: int, stop: int, rows: int) -> Any:
    """Rows `start` … `stop` of `rows` of everything in `content`: tensors, and lists, tuples and dicts of them.

    Scalars, and tensors whose first dimension is 1, belong to all rows. Raises `Indivisible`.
    """
    if isinstance(content, Tensor):
        return _tensor_rows(content, start, stop, rows)
    if content is None or isinstance(content, _PLAIN):
        return content
    cut = functools.partial(take_rows, start=start, stop=stop, rows=rows)
    if isinstance(content, Mapping):
        return {key: cut(item) for key, item in content.items()}
    if type(content) in (list, tuple) or hasattr(content, "_fields"):
        if len(content) == rows and not any(item.ndim and len(item) == rows for item in _tensors(content)):
            return content[start:stop]  # one entry a sample, such as their names
        parts = [cut(item) for item in content]
        return type(content)(*parts) if hasattr(content, "_fields") else type(content)(parts)
    raise Indivisible(described(content))


def _tensor_rows(tensor: Tensor, start: int, stop: int, rows: int) -> Tensor:
    if tensor.ndim == 0 or (len(tensor) == 1 and rows > 1):
        return tensor
    if tensor.layout is not torch.strided or tensor.is_nested or len(tensor) != rows:
        raise Indivisible(f"{described(tensor)} beside {rows} samples")
    return tensor[start:stop].clone()


def _tensors(content: Any) -> Iterator[Tensor]:
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, Mapping):
        for item in content.values():
            yield from _tensors(item)
    elif isinstance(content, (list, tuple)):
        for item in content:
            yield from _tensors(item)


class Pass(NamedTuple):
    """What forward and backward of a batch came to. `seen`: (outputs, targets) as metrics take them."""

    loss: Tensor
    components: dict[str, Tensor]
    seen: list[tuple[Any, Any]]


def whole_pass(parts: list[tuple[Tensor, dict[str, Tensor]]], seen: list[tuple[Any, Any]]) -> Pass:
    """The pass over a batch of the losses and named components of its pieces, each times its share."""
    named = [components for _, components in parts]
    names = dict.fromkeys(name for components in named for name in components)
    return Pass(
        functools.reduce(torch.add, [loss for loss, _ in parts]),
        {name: functools.reduce(torch.add, [item[name] for item in named if name in item]) for name in names},
        seen,
    )


def detached(outputs: Any) -> Any:
    """What metrics need of a model's outputs, without what else it returned."""
    found = main_output(outputs)
    return found.detach() if isinstance(found, Tensor) else found


def version_of(inputs: Any) -> int:
    """A number that grows when inputs are changed in place."""
    if type(inputs) is Tensor:
        return int(inputs._version)  # noqa: SLF001 (the only way to know)
    return sum(tensor._version for tensor in _tensors(inputs))  # noqa: SLF001


def obstacle_to_pieces(batches: Sequence[Batch]) -> str:
    """Why the batches cannot be cut by samples; empty where they can."""
    for batch in batches:
        rows = rows_of(batch)
        try:
            for content in (batch.inputs, batch.targets):
                take_rows(content, 0, min(1, rows), rows)
        except Indivisible as error:
            return f"the batch cannot be cut by samples: it holds {error}"
    return ""


class LossShares:
    """How much each piece's loss counts in the loss of the whole batch.

    A mean is weighted by what it is taken over: samples, or the targets that are not ignored, by their class weights;
    the pieces of a sum are summed. A user's loss is tried on a few rows to see which it is.
    """

    def __init__(self, loss: Loss) -> None:
        self._loss = loss
        self._sums: bool | None = None
        self.adds_up: bool | None = None
        """Whether pieces give the whole's loss; None: not known."""

    @property
    def unknown(self) -> bool:
        """Whether a trial on outputs can tell more than is known."""
        return self.adds_up is None and not _is_torch_loss(self._function)

    def of(self, pieces: Sequence[Batch]) -> list[float]:
        """One factor a piece; 0 for one without a target that counts."""
        if self._sums or (self._sums is None and self._setting("reduction") == "sum"):
            return [1.0] * len(pieces)
        masses = [self._mass(piece) for piece in pieces]
        total = math.fsum(masses)
        if total <= 0:  # the whole's loss is NaN then, and so shall its pieces' be
            masses = [float(piece.size) for piece in pieces]
            total = math.fsum(masses)
        return [mass / total for mass in masses]

    def try_out(self, outputs: Any, piece: Batch) -> None:
        """Find out, on a piece's `outputs`, whether the loss is a mean or a sum over samples, or neither.

        Too few rows leave it open, and a model's own loss is taken for a mean.
        """
        rows = min(piece.size, _PROBED)
        if self._loss.prefers_own and own_loss(outputs) is not None:
            self.adds_up = True
        if self.adds_up is not None or rows < _PROBED_AT_LEAST:
            return
        cut = rows // 3 + 1  # not the middle, where a mean of two parts is their sum's half
        with torch.no_grad(), untouched_rng(cuda=True):
            try:
                whole, first, second = (
                    self._trial(outputs, piece, start, stop)
                    for start, stop in ((0, rows), (0, cut), (cut, rows))
                )
            except Indivisible:
                return
        mass = first[1] + second[1]
        is_mean = mass > 0 and _close(whole[0], (first[0] * first[1] + second[0] * second[1]) / mass)
        self._sums = not is_mean and _close(whole[0], first[0] + second[0])
        self.adds_up = is_mean or self._sums

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self._sums, "adds_up": self.adds_up}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._sums, self.adds_up = state["sums"], state["adds_up"]

    def _trial(self, outputs: Any, piece: Batch, start: int, stop: int) -> tuple[float, float]:
        """Loss and mass of some of a piece's rows."""
        cut: Callable[[Any], Any] = functools.partial(take_rows, start=start, stop=stop, rows=piece.size)
        some = replace(piece, inputs=cut(piece.inputs), targets=cut(piece.targets), size=stop - start)
        total, _ = combine(self._loss(cut(outputs), some.targets, some.inputs))
        return float(total), self._mass(some)

    def _mass(self, piece: Batch) -> float:
        targets = piece.targets
        if not isinstance(targets, Tensor) or targets.is_floating_point() or targets.is_complex():
            return float(piece.size)
        if _is_torch_loss(self._function) and not self._by_class():
            return float(piece.size)
        ignored = self._setting("ignore_index")
        counted = targets != (IGNORED_LABEL if ignored is None else ignored)
        weight = self._setting("weight")
        if isinstance(weight, Tensor) and self._by_class():
            return float(weight[targets[counted].long()].sum())
        return float(counted.sum()) / max(1, targets[:1].numel())

    def _by_class(self) -> bool:
        return isinstance(self._function, (nn.CrossEntropyLoss, nn.NLLLoss)) or self._function in (
            functional.cross_entropy,
            functional.nll_loss,
        )

    @property
    def _function(self) -> Any:
        criterion = self._loss.criterion
        return criterion.func if isinstance(criterion, functools.partial) else criterion

    def _setting(self, name: str) -> Any:
        criterion = self._loss.criterion
        if isinstance(criterion, functools.partial):
            return criterion.keywords.get(name)
        return getattr(criterion, name, None)


def _is_torch_loss(function: Any) -> bool:
    home = (
        type(function).__module__
        if isinstance(function, nn.Module)
        else getattr(function, "__module__", "") or ""
    )
    return home.startswith("torch.nn.")


def _close(first: float, second: float) -> bool:
    return abs(first - second) <= _TOLERANCE * max(abs(first), abs(second), 1e-6)
