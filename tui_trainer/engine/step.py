"""One optimizer step: forward, loss, backward, guard, clip, update, with nothing kept alive afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from tui_trainer.config.errors import TrainingError
from tui_trainer.engine.bad_data import BadData, look_at
from tui_trainer.engine.guard import BufferKeeper, FiniteCheck, first_non_finite
from tui_trainer.engine.lean_torch import backward, bare_step
from tui_trainer.engine.losses import Loss, combine
from tui_trainer.engine.memory_recovery import (
    Generators,
    MemoryRecovery,
    UpdateFailed,
    first_update,
    is_memory_shortage,
    smallest_pass,
)
from tui_trainer.engine.optimizers import supports_found_inf
from tui_trainer.engine.pieces import (
    NOT_ADDITIVE,
    LossShares,
    Pass,
    detached,
    obstacle_to_pieces,
    pieces_of,
    rows_of,
    version_of,
    whole_pass,
)
from tui_trainer.models.outputs import call_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui_trainer.data.batches import Batch
    from tui_trainer.engine.precision import Precision

_MINIMUM_SCALE = 1.0  # fp16 gradients that overflow even unscaled are the model's, not the scaler's


_NO_ROWS: Tensor = torch.empty(0, dtype=torch.int64)


@dataclass(slots=True)
class StepResult:
    """What one optimizer step came to.

    `losses` are those of its micro-batches, `skipped` says that the update was not applied because something was
    not finite. Both are Python values where the host knows them, else scalars on the device.
    `overflowed`: an fp16 loss-scale back-off, which is routine and counted apart. `grad_norm`: global L2 norm
    before clipping, where measured; `layer_norms`: one value a parameter, in order. `components`: the named parts of
    each micro-batch's loss, empty where it has none. `rows`: positions in the training split. `bad_data`: what is
    non-finite in the batches of a step that the host knows to be skipped.
    """

    losses: list[float | Tensor]
    skipped: bool | Tensor
    culprit: str | None = None
    grad_norm: float | Tensor | None = None
    layer_norms: Tensor | None = None
    overflowed: bool = False
    sizes: list[int] = field(default_factory=list)
    components: list[dict[str, Tensor]] = field(default_factory=list)
    rows: Tensor = _NO_ROWS
    bad_data: BadData | None = None


class TrainingStep:
    """Runs optimizer steps of `accumulation` micro-batches each.

    On the CPU, and with optimizers that cannot be told on the device to leave a step out, the host looks at the
    answer of the finite check at once. With fused Adam, AdamW and SGD on a GPU the answer stays there.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        forward: nn.Module,
        loss: Loss,
        optimizer: torch.optim.Optimizer,
        precision: Precision,
        device: torch.device,
        clip_norm: float | None,
        trust_device: bool | None = None,
    ) -> None:
        self._forward, self._loss, self._optimizer, self._precision = forward, loss, optimizer, precision
        self._clip_norm = clip_norm
        self._apply = bare_step(optimizer)
        self._named = [(name, item) for name, item in model.named_parameters() if item.requires_grad]
        if loss.module is not None:
            self._named += [
                (f"loss.{name}", item) for name, item in loss.module.named_parameters() if item.requires_grad
            ]
        self.parameter_names = [name for name, _ in self._named]
        self._parameters = [item for _, item in self._named]
        modules = [model] if loss.module is None else [model, loss.module]
        self._buffers = BufferKeeper(modules)
        self._finite = FiniteCheck(device)
        self._host_decides = device.type == "cpu" or not supports_found_inf(optimizer)
        if trust_device is not None:
            self._host_decides = not trust_device
        self.memory = MemoryRecovery(device, "training", smallest=max(map(smallest_pass, modules)))
        self.shares = LossShares(loss)
        self._generators = Generators(device)
        self._updated = False
        self._amid: Literal["", "passes", "update"] = ""
        self._in_hand: list[Batch] = []

    def begin_anew(self) -> None:
        """The optimizer was put back, perhaps to before its first update."""
        self._updated = False

    @property
    def rows_in_hand(self) -> list[int]:
        """The training samples of a step that an exception broke off; empty where none was."""
        return [int(row) for batch in self._in_hand for row in batch.rows]

    def undo(self) -> None:
        """Put buffers and generators back to where they stood before a step, where an exception has broken one off.

        Raises `TrainingError` when it was broken off amid the update: the weights are then neither old nor new.
        """
        if self._amid == "update":
            raise TrainingError("the optimizer's update was broken off; the weights are neither old nor new")
        if self._amid:
            self._drop_gradients()
            self._buffers.restore()
            self._generators.restore()
            self._amid = ""

    def run(
        self, batches: list[Batch], *, measure: bool, on_outputs: Callable[[Any, Any], object] | None
    ) -> StepResult:
        """One step over `batches`; `measure` asks for gradient norms. `on_outputs(outputs, targets)` sees the
        outputs, those of one batch perhaps in pieces, before the update (training metrics)."""
        self._drop_gradients()
        if self._buffers:
            self._buffers.keep()
        self._generators.keep()
        self._amid, self._in_hand = "passes", batches
        passes = self._passes(batches, keep_outputs=on_outputs is not None)
        losses = [item.loss for item in passes]
        components = [item.components for item in passes if item.components]
        if on_outputs is not None:
            for item in passes:
                for outputs, targets in item.seen:
                    on_outputs(outputs, targets)
        del passes  # what the model returned may be large
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        if self._precision.scaler is not None:
            result = self._update_scaled(losses, gradients, measure=measure)
        elif self._host_decides or not self._updated:  # an optimizer's first update makes its state
            result = self._update(losses, gradients, measure=measure)
        else:
            result = self._update_on_device(losses, gradients, measure=measure)
        self._amid, self._in_hand = "", []
        result.sizes, result.components = [batch.size for batch in batches], components
        if result.skipped is True:
            result.bad_data = look_at(batches)
        result.rows = batches[0].rows if len(batches) == 1 else torch.cat([batch.rows for batch in batches])
        return result

    def _drop_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def _passes(self, batches: list[Batch], *, keep_outputs: bool) -> list[Pass]:
        """Forward and backward of each batch; when memory runs out, all of it again with fewer samples at once."""
        memory, number = self.memory, len(batches)
        marks = [version_of(batch.inputs) for batch in batches]
        while True:
            try:
                if memory.rows is None:
                    return [self._backward(batch, number, keep_outputs=keep_outputs) for batch in batches]
                return [self._in_pieces(batch, number, keep_outputs=keep_outputs) for batch in batches]
            except Exception as error:
                if not is_memory_shortage(error):
                    raise
                obstacle = obstacle_to_pieces(batches)
                if memory.rows is None and marks != [version_of(batch.inputs) for batch in batches]:
                    obstacle = "the model changes its inputs in place, so that the batch is not what it was"
                rows = max(map(rows_of, batches))
                memory.shrink(error, min(rows, memory.rows or rows), obstacle)
            self._drop_gradients()
            memory.make_room()  # here, where the error's frames are gone
            self._buffers.restore()
            self._generators.restore()

    def _backward(self, batch: Batch, micro_batches: int, *, keep_outputs: bool) -> Pass:
        outputs, loss, components = self._forward_and_loss(batch)
        scaled = loss if micro_batches == 1 else loss / micro_batches
        scaler = self._precision.scaler
        backward(scaled if scaler is None else scaler.scale(scaled))
        seen = [(outputs, batch.targets)] if keep_outputs else []
        return Pass(loss.detach(), {name: value.detach() for name, value in components.items()}, seen)

    def _in_pieces(self, batch: Batch, micro_batches: int, *, keep_outputs: bool) -> Pass:
        """`_backward` of a batch that is too large, its loss and gradient being the whole batch's."""
        pieces = pieces_of(batch, self.memory.rows or batch.size, self.memory.smallest)
        if len(pieces) == 1:
            return self._backward(batch, micro_batches, keep_outputs=keep_outputs)
        shares, scaler = self.shares.of(pieces), self._precision.scaler
        seen: list[tuple[Any, Any]] = []
        parts: list[tuple[Tensor, dict[str, Tensor]]] = []
        for number, piece in enumerate(pieces):
            outputs, loss, components = self._forward_and_loss(piece)
            if self.shares.unknown:
                self._find_out_about_loss(outputs, piece)
                shares = self.shares.of(pieces)
            if keep_outputs:
                seen.append((detached(outputs), piece.targets))
            if shares[number]:  # else its mean is over nothing, and NaN
                part = loss * shares[number]
                scaled = part / micro_batches
                backward(scaled if scaler is None else scaler.scale(scaled))
                named = {name: value.detach() * shares[number] for name, value in components.items()}
                parts.append((part.detach(), named))
        return whole_pass(parts, seen)

    def _find_out_about_loss(self, outputs: Any, piece: Batch) -> None:
        with self._precision.autocast():
            self.shares.try_out(outputs, piece)
        if self.shares.adds_up is False:
            self.memory.warn(NOT_ADDITIVE.format(name=self._loss.name))

    def _forward_and_loss(self, batch: Batch) -> tuple[Any, Tensor, dict[str, Tensor]]:
        if self._precision.plain:
            outputs = call_model(self._forward, batch.inputs)
            loss, components = combine(self._loss(outputs, batch.targets, batch.inputs))
            return outputs, loss, components
        with self._precision.autocast():
            outputs = call_model(self._forward, batch.inputs)
            loss, components = combine(self._loss(outputs, batch.targets, batch.inputs))
        return outputs, loss, components

    def _take(self, update: Callable[[], object]) -> None:
        """The optimizer's update; broken off, it leaves `undo` nothing to go back to."""
        self._amid = "update"
        if self._updated:
            update()
        else:
            try:
                first_update(self._optimizer, update, self.memory)
            except UpdateFailed as error:
                self._amid = "passes"
                raise TrainingError(str(error)) from error
            self._updated = True

    def _update(self, losses: list[Tensor], gradients: list[Tensor], *, measure: bool) -> StepResult:
        norm, layers = self._norms(gradients, measure=measure)
        values: list[float | Tensor] = [loss.item() for loss in losses]
        finite = all(math.isfinite(value) for value in values)
        bad = not finite or self._finite.any_bad(gradients)
        culprit = None
        if bad:
            culprit = first_non_finite(self._named)
            self._buffers.restore()
        else:
            self._clip(gradients, norm)
            self._take(self._apply)
        measured = None if norm is None or not measure else norm.item()
        return StepResult(values, bad, culprit, measured, layers)

    def _update_on_device(
        self, losses: list[Tensor], gradients: list[Tensor], *, measure: bool
    ) -> StepResult:
        norm, layers = self._norms(gradients, measure=measure)
        found = self._finite.look([*(loss.clone() for loss in losses), *gradients])
        self._clip(gradients, norm)
        optimizer: Any = self._optimizer
        optimizer.grad_scale, optimizer.found_inf = None, found
        try:
            self._take(self._apply)
        finally:
            del optimizer.grad_scale, optimizer.found_inf
        if self._buffers:
            self._buffers.restore_where(found)
        measured = None if norm is None or not measure else norm
        return StepResult(list(losses), found.clone(), None, measured, layers)

    def _update_scaled(self, losses: list[Tensor], gradients: list[Tensor], *, measure: bool) -> StepResult:
        scaler = self._precision.scaler
        assert scaler is not None
        scale = scaler.get_scale()
        scaler.unscale_(self._optimizer)
        norm, layers = self._norms(gradients, measure=measure)
        values: list[float | Tensor] = [loss.item() for loss in losses]
        finite_loss = all(math.isfinite(value) for value in values)
        bad_gradients = self._finite.any_bad(gradients)
        anomaly = not finite_loss or (bad_gradients and scale <= _MINIMUM_SCALE)
        culprit = first_non_finite(self._named) if anomaly else None
        if anomaly or bad_gradients:
            self._buffers.restore()
        else:
            self._clip(gradients, norm)
        if anomaly:
            scaler.update(scale)  # as if the batch had not been: neither back-off nor growth
        else:
            self._take(lambda: scaler.step(self._optimizer))
            scaler.update()
        measured = None if norm is None or not measure else norm.item()
        overflowed = bad_gradients and not anomaly
        return StepResult(values, anomaly, culprit, measured, layers, overflowed)

    def _norms(self, gradients: list[Tensor], *, measure: bool) -> tuple[Tensor | None, Tensor | None]:
        if not gradients or not (measure or self._clip_norm is not None):
            return None, None
        dense = [item.coalesce()._values() if item.is_sparse else item for item in gradients]  # noqa: SLF001
        norms = torch.stack([item.float() for item in torch._foreach_norm(dense)])  # noqa: SLF001
        total = torch.linalg.vector_norm(norms)
        if not measure:
            return total, None
        if len(gradients) == len(self._parameters):
            return total, norms
        present = [k for k, item in enumerate(self._parameters) if item.grad is not None]
        return total, norms.new_zeros(len(self._parameters)).index_copy_(
            0, torch.tensor(present, device=norms.device), norms
        )

    def _clip(self, gradients: list[Tensor], norm: Tensor | None) -> None:
        """Scale gradients down to the norm limit (Pascanu et al. 2013), as `clip_grad_norm_` does."""
        if self._clip_norm is None or norm is None:
            return
        factor = (self._clip_norm / (norm + 1e-6)).clamp_(max=1.0)
        torch._foreach_mul_(gradients, factor)
