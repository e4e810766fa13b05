"""One optimizer step: forward, loss, backward, guard, clip, update, with nothing kept alive afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tui_trainer.engine.guard import BufferKeeper, FiniteCheck, first_non_finite
from tui_trainer.engine.lean_torch import backward, bare_step
from tui_trainer.engine.losses import Loss, combine
from tui_trainer.engine.optimizers import supports_found_inf

if TYPE_CHECKING:
    from tui_trainer.data.batches import Batch
    from tui_trainer.engine.precision import Precision
from tui_trainer.models.outputs import call_model

_MINIMUM_SCALE = 1.0  # fp16 gradients that overflow even unscaled are the model's, not the scaler's


_NO_ROWS: Tensor = torch.empty(0, dtype=torch.int64)


@dataclass(slots=True)
class StepResult:
    """What one optimizer step came to.

    `losses` are those of its micro-batches, `skipped` says that the update was not applied because something was
    not finite. Both are Python values where the host knows them, else scalars on the device.
    `overflowed`: an fp16 loss-scale back-off, which is routine and counted apart. `grad_norm`: global L2 norm
    before clipping, where measured; `layer_norms`: one value a parameter, in order. `components`: the named parts of
    each micro-batch's loss, empty where it has none. `rows`: positions in the training split.
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
        self._reads_loss = device.type == "cpu"
        self._updated = False

    def begin_anew(self) -> None:
        """The optimizer was put back, perhaps to before its first update."""
        self._updated = False

    def undo(self) -> None:
        """Put the buffers back to where they stood before a step that an exception broke off."""
        self._buffers.restore()

    def run(self, batches: list[Batch], *, measure: bool, on_outputs: Any) -> StepResult:
        """One step over `batches`; `measure` asks for gradient norms. `on_outputs(outputs, targets)` sees each
        micro-batch's outputs once the step is done (training metrics)."""
        for parameter in self._parameters:
            parameter.grad = None
        if self._buffers:
            self._buffers.keep()
        passes = [self._backward(batch, len(batches)) for batch in batches]
        losses = [loss for loss, _, _ in passes]
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        if self._precision.scaler is not None:
            result = self._update_scaled(losses, gradients, measure=measure)
        elif self._host_decides or not self._updated:  # an optimizer's first update makes its state
            result = self._update(losses, gradients, measure=measure)
            self._updated = self._updated or not result.skipped
        else:
            result = self._update_on_device(losses, gradients, measure=measure)
        for batch, (_, components, outputs) in zip(batches, passes, strict=True):
            result.sizes.append(batch.size)
            if components:
                result.components.append(components)
            on_outputs(outputs, batch.targets)
        result.rows = batches[0].rows if len(batches) == 1 else torch.cat([batch.rows for batch in batches])
        return result

    def _backward(self, batch: Batch, micro_batches: int) -> tuple[Tensor, dict[str, Tensor], Any]:
        if self._precision.plain:
            outputs = call_model(self._forward, batch.inputs)
            loss, components = combine(self._loss(outputs, batch.targets, batch.inputs))
        else:
            with self._precision.autocast():
                outputs = call_model(self._forward, batch.inputs)
                loss, components = combine(self._loss(outputs, batch.targets, batch.inputs))
        scaled = loss if micro_batches == 1 else loss / micro_batches
        scaler = self._precision.scaler
        backward(scaled if scaler is None else scaler.scale(scaled))
        return loss.detach(), {name: value.detach() for name, value in components.items()}, outputs

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
            self._apply()
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
            self._apply()
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
            scaler.step(self._optimizer)
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
