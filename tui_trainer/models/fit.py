"""Whether model, data and loss fit each other, found out with one batch before training."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tui_trainer.config.errors import ModelError, UserError
from tui_trainer.config.targets import exception_text, user_frame
from tui_trainer.config.wording import class_name, printable
from tui_trainer.data.seeds import untouched_rng
from tui_trainer.models.outputs import call_model, described, main_output

if TYPE_CHECKING:
    from types import TracebackType

    from tui_trainer.data.batches import Batch
    from tui_trainer.data.dataset import Task

LossFunction = Callable[[Any, Any, Any], Any]
"""Called with (outputs, targets, inputs)."""


def check_fits(model: nn.Module, loss_fn: LossFunction, batch: Batch, task: Task) -> None:
    """One forward pass of `batch` (already on the model's device) through model and loss.

    Leaves random generators, buffers, gradients and train/eval mode as they were; lazy modules get their sizes.
    Raises `ModelError` saying what the model, its first failing layer, or the loss got and what it expected.
    """
    with _unchanged(model, loss_fn), torch.enable_grad():
        model.eval()
        try:
            outputs = call_model(model, batch.inputs)
        except UserError:
            raise
        except torch.OutOfMemoryError:
            raise
        except Exception as problem:  # the user's code
            raise _model_error(model, batch, problem) from problem
        _check_outputs(outputs, batch, task)
        try:
            with warnings.catch_warnings():
                # torch computes a loss over broadcast shapes with no more than a warning
                warnings.filterwarnings("error", message="Using a target size")
                loss_fn(outputs, batch.targets, batch.inputs)
        except (UserError, torch.OutOfMemoryError):
            raise
        except Exception as problem:  # the user's code
            raise _loss_error(loss_fn, outputs, batch, problem) from problem


@contextmanager
def _unchanged(model: nn.Module, loss_fn: LossFunction) -> Iterator[None]:
    loss_module = getattr(loss_fn, "module", None)
    roots = [model, *([loss_module] if isinstance(loss_module, nn.Module) else [])]
    modules = [module for root in roots for module in root.modules()]
    modes = [module.training for module in modules]
    buffers = [
        (module._buffers, name, buffer, buffer.clone())  # noqa: SLF001 (forward may replace a buffer by assignment)
        for module in modules
        for name, buffer in module._buffers.items()  # noqa: SLF001
        if buffer is not None and not is_lazy(buffer)
    ]
    try:
        with untouched_rng(cuda=True):
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
        with torch.no_grad():
            for slot, name, buffer, content in buffers:
                slot[name] = buffer
                buffer.copy_(content)


def _check_outputs(outputs: Any, batch: Batch, task: Task) -> None:
    """What the built-in tasks need of the predictions, where the loss might not notice."""
    found = main_output(outputs)
    if task.kind == "custom" or not isinstance(found, Tensor):
        return
    if found.ndim == 0 or len(found) != batch.size:
        raise ModelError(
            f"The model gave {described(found)} for a batch of {batch.size}; expected one prediction for each "
            "sample, in the first dimension. Look for a reshape, squeeze or mean over the batch in its forward."
        )
    classes = task.num_outputs or 0
    if task.kind == "classification" and found.ndim == 2 and 1 < found.shape[1] < classes:
        raise ModelError(
            f"The model gave {described(found)}: {found.shape[1]} logits, but the data has {classes} classes. Set "
            f"its number of outputs (model.args.num_classes or the like) to {classes}, or leave it out."
        )


def _model_error(model: nn.Module, batch: Batch, problem: Exception) -> ModelError:
    name, layer, got = _failing_layer(model, problem.__traceback__)
    inside = (
        f"layer {printable(name, 200)} ({_in_short(layer)})" if name else f"{class_name(type(model))} itself"
    )
    expected = _expectation(layer)
    wanted = f"; it expects {expected}" if expected else ""
    where = user_frame(problem)
    return ModelError(
        f"The model does not fit the data. It got {described(batch.inputs)} (a batch of {batch.size}); {inside} "
        f"failed{f' on {described(got)}' if got is not None else ''}{wanted}. "
        f"{exception_text(problem).rstrip('.')}{f' ({where})' if where else ''}. Change the model's sizes "
        "(model.args) or the data's shape to match."
    )


def _loss_error(loss_fn: LossFunction, outputs: Any, batch: Batch, problem: Exception) -> ModelError:
    name = getattr(loss_fn, "name", getattr(loss_fn, "__name__", class_name(type(loss_fn))))
    where = user_frame(problem)
    return ModelError(
        f"The loss {printable(str(name), 80)} does not fit model and data. It got outputs {described(outputs)} and targets "
        f"{described(batch.targets)}, and failed: {exception_text(problem).rstrip('.')}"
        f"{f' ({where})' if where else ''}. Change the loss (loss.target), the model's outputs, or the targets."
    )


def _failing_layer(model: nn.Module, trace: TracebackType | None) -> tuple[str, nn.Module, Any]:
    """The innermost module that was running: its name ("" for the model), itself, and its first tensor argument."""
    names = {id(module): name for name, module in model.named_modules()}
    found: tuple[str, nn.Module, Any] = ("", model, None)
    while trace is not None:
        frame = trace.tb_frame
        local = frame.f_locals
        module = local.get("self")
        if isinstance(module, nn.Module) and id(module) in names:
            code = frame.f_code
            values = [local.get(item) for item in code.co_varnames[1 : code.co_argcount]]
            given = [*values, *(local.get("args") or ())] if isinstance(local.get("args"), tuple) else values
            tensor = next(
                (v for v in given if isinstance(v, Tensor) and not isinstance(v, nn.Parameter)), None
            )
            same = module is found[1]
            found = names[id(module)], module, tensor if tensor is not None or not same else found[2]
        trace = trace.tb_next
    return found


def _in_short(layer: nn.Module) -> str:
    """Class and sizes of a layer, without what it contains."""
    inside = printable(layer.extra_repr())
    return f"{class_name(type(layer))}: {inside}" if inside else class_name(type(layer))


def _expectation(layer: nn.Module) -> str | None:
    """What a layer of PyTorch's takes, in words."""
    weight = getattr(layer, "weight", None)
    dtype = str(weight.dtype).removeprefix("torch.") if isinstance(weight, Tensor) else "float32"
    expected = None
    if isinstance(layer, nn.Linear):
        expected = f"{dtype}[…, {layer.in_features}]"
    elif isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        sizes = {1: "length", 2: "height, width", 3: "depth, height, width"}[len(layer.kernel_size)]
        expected = f"{dtype}[n, {layer.in_channels}, {sizes}]"
    elif isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
        expected = f"{layer.num_features} channels in the second dimension"
    elif isinstance(layer, nn.LayerNorm):
        expected = f"[…, {', '.join(map(str, layer.normalized_shape))}]"
    elif isinstance(layer, nn.Embedding):
        expected = f"whole numbers from 0 to {layer.num_embeddings - 1}"
    elif isinstance(layer, nn.RNNBase):
        expected = f"{layer.input_size} features a step in the last dimension"
    return expected
