"""One forward and backward pass before training, to see which parameters learning would not reach."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tui_trainer.engine.losses import combine
from tui_trainer.engine.watching import left_as_found
from tui_trainer.models.build import matching_names
from tui_trainer.models.outputs import call_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tui_trainer.data.batches import Batch
    from tui_trainer.engine.parts import Parts

_PASSES = 3  # before a parameter is said to get no gradient: layers may be left out at random
_LARGE = 50_000_000  # parameters; a model with more is looked at without a pass
_DEPTH = 3  # of lists in lists
_NAMED = 20


def unreached(parts: Parts) -> dict[str, Any]:
    """What of the model training would not change, though it might be meant to; empty where nothing is so.

    `no_gradient`: trained parameters that get none. `not_registered`: attributes that hold modules or tensors which
    get a gradient, but are no part of `model.parameters()`, with how many numbers they are. `not_optimized`: trained
    parameters that the optimizer was not given. `frozen`: parameters that require no gradient and that `model.freeze`
    does not name. `parameters`: numbers in the model. Names are those of the first 20; `…_count` tells how many.
    A pass that fails leaves out what it would have told. Changes nothing.
    """
    model = parts.model
    named = {name: item for name, item in model.named_parameters() if not is_lazy(item)}
    hidden = dict(_hidden(model))
    found: dict[str, list[str]] = {
        "frozen": _frozen(model, named, parts.config.model.freeze),
        "not_optimized": _not_optimized(named, parts.optimizer),
    }
    trained = {name: item for name, item in named.items() if item.requires_grad}
    if sum(item.numel() for item in trained.values()) <= _LARGE:
        reached = _reached(parts, [*trained.values(), *(item for items in hidden.values() for item in items)])
        if reached is not None:
            found["no_gradient"] = [name for name, item in trained.items() if id(item) not in reached]
            found["not_registered"] = [
                name for name, items in hidden.items() if any(id(item) in reached for item in items)
            ]
    result: dict[str, Any] = {}
    for kind, names in found.items():
        if names:
            tensors = [item for name in names for item in hidden.get(name) or [named[name]]]
            result |= {
                kind: names[:_NAMED],
                f"{kind}_count": len(names),
                f"{kind}_numbers": sum(item.numel() for item in tensors),
            }
    return result | {"parameters": sum(item.numel() for item in named.values())} if result else {}


def _reached(parts: Parts, wanted: list[Tensor]) -> set[int] | None:
    """Ids of the tensors that get a gradient in one of a few passes; None where no pass could be made."""
    reached: set[int] = set()
    kept = [(item, item.grad) for item in wanted]
    try:
        batch = _small(next(iter(parts.val.epoch(1))))
        with left_as_found(parts.model, parts.loss.module), warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            parts.model.train()
            for _ in range(_PASSES):
                reached |= _one_pass(parts, batch, wanted)
                if len(reached) == len({id(item) for item in wanted}):
                    break
    except Exception:  # the first real step will tell what is wrong
        return None
    finally:
        for item, gradient in kept:
            item.grad = gradient
    return reached


def _one_pass(parts: Parts, batch: Batch, wanted: list[Tensor]) -> set[int]:
    for item in wanted:
        item.grad = None
    with parts.precision.autocast():
        outputs = call_model(parts.model, batch.inputs)
        loss, _ = combine(parts.loss(outputs, batch.targets, batch.inputs))
    torch.autograd.backward(loss)
    return {id(item) for item in wanted if item.grad is not None}


def _small(batch: Batch) -> Batch:
    """At most eight samples of a batch of tensors; any other as it is."""
    if not isinstance(batch.inputs, Tensor) or not isinstance(batch.targets, Tensor):
        return batch
    count = min(8, batch.size)
    return replace(
        batch, inputs=batch.inputs[:count].clone(), targets=batch.targets[:count].clone(), size=count,
        rows=batch.rows[:count],
    )  # fmt: skip


def _frozen(model: nn.Module, named: Mapping[str, nn.Parameter], patterns: list[str]) -> list[str]:
    """Weights of layers that are frozen, though the config does not say so."""
    declared = {name for pattern in patterns for name in matching_names(pattern, named)}
    layers = dict(model.named_modules())
    return [
        name
        for name, item in named.items()
        if not item.requires_grad
        and name not in declared
        and item.is_floating_point()
        and isinstance(layers[name.rpartition(".")[0]], _LAYERS)
    ]


_LAYERS = (
    nn.Linear,
    nn.Bilinear,
    nn.modules.conv._ConvNd,  # noqa: SLF001 (no public base class)
    nn.modules.batchnorm._NormBase,  # noqa: SLF001
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RNNBase,
    nn.MultiheadAttention,
)
"""Layers whose weights nobody freezes one by one; a fixed table in an embedding or a parameter of one's own is usual."""


def _not_optimized(named: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> list[str]:
    given = {id(item) for group in optimizer.param_groups for item in group["params"]}
    return [name for name, item in named.items() if item.requires_grad and id(item) not in given]


def _hidden(model: nn.Module) -> Iterator[tuple[str, list[Tensor]]]:
    """Attributes that hold, in lists, dicts or alone, trained tensors which the model does not know of."""
    known = {id(item) for item in model.parameters()}
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if name in _TORCHS_OWN:
                continue
            tensors = [
                item for item in _tensors(value, _DEPTH) if item.requires_grad and id(item) not in known
            ]
            if tensors:
                yield f"{path}.{name}" if path else name, tensors


_TORCHS_OWN = frozenset(vars(nn.Module()))


def _tensors(value: Any, depth: int) -> Iterator[Tensor]:
    if isinstance(value, nn.Module):
        yield from value.parameters()
    elif isinstance(value, Tensor):
        if value.is_leaf:
            yield value
    elif depth and isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item, depth - 1)
    elif depth and isinstance(value, (list, tuple, set)):
        for item in value:
            yield from _tensors(item, depth - 1)
