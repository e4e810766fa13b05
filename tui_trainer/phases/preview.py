"""Data and model as they would be trained, in figures and samples for people: JSON values only."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tui_trainer.config.wording import class_name
from tui_trainer.data.items import known_targets, sample_items, samples_in
from tui_trainer.engine.watching import left_as_found
from tui_trainer.models.outputs import call_model

if TYPE_CHECKING:
    from tui_trainer.data.dataset import DataSplits
    from tui_trainer.engine.parts import Parts

SAMPLES = 8
_NUMBERS, _PIXELS, _TEXT = 12, 32, 200
_MOST_CLASSES, _MOST_LAYERS = 1_000, 500


def data_preview(data: DataSplits) -> dict[str, Any]:
    """`sizes` of the splits, `task`, `outputs`, `input_shape`, `class_names`, `class_counts` of the train set where
    targets are classes, and a few `samples`: `row`, `target`, and `numbers`, `image` (rows of 0..1) or `text`."""
    task = data.task
    found: dict[str, Any] = {
        "source": data.source,
        "sizes": {
            name: samples_in(part)
            for name, part in (("train", data.train), ("val", data.val), ("test", data.test))
            if part is not None
        },
        "task": task.kind,
        "outputs": task.num_outputs,
        "input_shape": None if data.input_shape is None else list(data.input_shape),
        "class_names": list(task.class_names or ())[:_MOST_CLASSES],
    }
    targets = known_targets(data.train)
    if task.kind in ("classification", "binary") and targets is not None and targets.ndim == 1:
        classes = task.num_outputs if task.kind == "classification" else 2
        counts = torch.bincount(targets.round().long().clamp(min=0), minlength=classes or 0)
        found["class_counts"] = counts[:_MOST_CLASSES].tolist()
    elif targets is not None and targets.is_floating_point() and targets.numel():
        numbers = targets.double()
        found["targets"] = {
            "mean": float(numbers.mean()),
            "std": float(numbers.std(correction=0)),
            "min": float(numbers.min()),
            "max": float(numbers.max()),
        }
    found["samples"] = [
        {"row": index, **_sample(item)}
        for index, item in sample_items(data.train, "train", limit=SAMPLES, seconds=5.0)
    ]
    return found


def _sample(item: Any) -> dict[str, Any]:
    inputs, target = item if isinstance(item, (tuple, list)) and len(item) == 2 else (item, None)
    shown = {"target": _short(target)}
    if isinstance(inputs, Tensor) and inputs.ndim in (2, 3) and min(inputs.shape[-2:]) > 3:
        return shown | {"image": _image(inputs)}
    if isinstance(inputs, Tensor):
        flat = inputs.flatten()
        return shown | {"numbers": flat[:_NUMBERS].tolist(), "count": flat.numel()}
    return shown | {"text": str(inputs)[:_TEXT]}


def _image(pixels: Tensor) -> list[list[float]]:
    """Mean over the channels, at most 32 × 32 points from 0 to 1."""
    plane = pixels.float() if pixels.ndim == 2 else pixels.float().mean(0)
    high, wide = (min(_PIXELS, size) for size in plane.shape)
    plane = nn.functional.adaptive_avg_pool2d(plane[None], (high, wide))[0]
    low, top = float(plane.min()), float(plane.max())
    if not (math.isfinite(low) and math.isfinite(top)) or top <= low:
        return torch.zeros(high, wide).tolist()
    scaled: list[list[float]] = ((plane - low) / (top - low)).mul(100).round().div(100).tolist()
    return scaled


def _short(target: Any) -> Any:
    if isinstance(target, Tensor):
        return target.item() if target.numel() == 1 else target.flatten()[:_NUMBERS].tolist()
    return target if isinstance(target, (int, float, str, bool, type(None))) else str(target)[:_TEXT]


def model_preview(parts: Parts) -> dict[str, Any]:
    """`architecture`, `parameters`, `trainable`, `layers` (name, kind, parameters, output shape where one pass told
    it), and `memory`: bytes of weights, gradients, optimizer state and, measured on one batch, activations."""
    model = parts.model
    trained = [item for item in model.parameters() if not is_lazy(item)]
    weights = sum(item.nbytes for item in trained)
    gradients = sum(item.nbytes for item in trained if item.requires_grad)
    shapes, activations = _one_pass(parts)
    layers = [
        {
            "name": name,
            "kind": class_name(type(module)),
            "parameters": sum(item.numel() for item in module.parameters() if not is_lazy(item)),
            "output": shapes.get(name),
        }
        for name, module in model.named_modules()
        if name and not any(module.children())
    ]
    states = _states_of(parts.optimizer)
    return {
        "architecture": class_name(type(model)),
        "parameters": sum(item.numel() for item in trained),
        "trainable": sum(item.numel() for item in trained if item.requires_grad),
        "device": str(parts.device),
        "layers": layers[:_MOST_LAYERS],
        "more_layers": max(0, len(layers) - _MOST_LAYERS),
        "memory": {
            "weights": weights,
            "gradients": gradients,
            "optimizer": states * gradients,
            "activations": activations,
        },
        "steps_per_epoch": parts.steps_per_epoch,
        "batch_size": parts.config.data.batch_size,
    }


def _states_of(optimizer: torch.optim.Optimizer) -> int:
    """How many numbers an optimizer keeps for each weight, about."""
    name = type(optimizer).__name__.lower()
    if "adam" in name or "lamb" in name:
        return 3 if optimizer.defaults.get("amsgrad") else 2
    return 1 if optimizer.defaults.get("momentum") or "sgd" not in name else 0


def _one_pass(parts: Parts) -> tuple[dict[str, list[int]], int | None]:
    """Output shapes by module, and the bytes of activations that a train batch would keep; nothing of it stays."""
    shapes: dict[str, list[int]] = {}
    total = 0

    def remember(name: str, output: Any) -> None:
        nonlocal total
        if isinstance(output, (tuple, list)) and output:
            output = output[0]
        if isinstance(output, Tensor):
            shapes[name] = list(output.shape)
            total += output.nbytes

    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: remember(name, output))
        for name, module in parts.model.named_modules()
        if name and not any(module.children())
    ]
    try:
        with left_as_found(parts.model), torch.no_grad():
            batch = next(iter(parts.val.epoch(1)))
            call_model(parts.model, batch.inputs)
    except Exception:  # what the summary cannot show, training will tell
        return shapes, None
    finally:
        for handle in handles:
            handle.remove()
    return shapes, round(total / max(1, batch.size) * parts.config.data.batch_size)
