"""From the config's `model:` section to a module that fits its data."""

from __future__ import annotations

import fnmatch
import inspect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.parameter import is_lazy

from tui_trainer.config.errors import ModelError
from tui_trainer.config.targets import call_target, resolve_target
from tui_trainer.config.wording import class_name, did_you_mean, listed, shown
from tui_trainer.models.fit import check_fits
from tui_trainer.models.swap import swap_modules
from tui_trainer.models.weights import load_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tui_trainer.config.schema import ModelConfig
    from tui_trainer.data.dataset import DataSplits

__all__ = ["BUILTIN_MODELS", "ModelSummary", "build_model", "check_fits", "describe_model"]

BUILTIN_MODELS: Mapping[str, str] = {
    "linear": "tui_trainer.models.linear:linear",
    "mlp": "tui_trainer.models.mlp:mlp",
    "cnn": "tui_trainer.models.cnn:cnn",
    "resnet18": "tui_trainer.models.resnet:resnet18",
    "lstm": "tui_trainer.models.lstm:lstm",
}
"""What `model.target` can name without an import path."""


@dataclass(frozen=True)
class ModelSummary:
    """A model in figures: class name, parameters in all, and those that training changes."""

    architecture: str
    parameters: int
    trainable: int


def build_model(config: ModelConfig, data: DataSplits, *, folder: Path) -> nn.Module:
    """The model that `config` describes, with sizes that it leaves open filled in from `data`.

    Initialised from the global generators as they stand, in train mode, on the CPU unless its own code puts it
    elsewhere. Raises `ModelError` where it cannot be built, is no `nn.Module`, or its weights cannot be loaded.
    """
    what = f"model {config.target}"
    target = resolve_target(
        config.target, builtins=BUILTIN_MODELS, folder=folder, what="model", error=ModelError
    )
    if isinstance(target, nn.Module) or not callable(target):
        kind = (
            "a module that is already built"
            if isinstance(target, nn.Module)
            else f"a {class_name(type(target))}"
        )
        raise ModelError(
            f"Model {shown(config.target)} is {kind}; expected an nn.Module class, or a function that returns a "
            "new module at each call."
        )
    args = {**config.args, **sizes_from_data(target, config.args, data, what=what)}
    model = call_target(target, args, what=what, error=ModelError)
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"Model {shown(config.target)} gave {_article(model)}; expected a torch.nn.Module. Name a class derived "
            "from nn.Module, or a function that returns one."
        )
    if config.swap:
        swap_modules(model, config.swap)
    if config.init_from is not None:
        load_weights(model, config.init_from, folder=folder, strict=config.strict)
    freeze(model, config.freeze)
    return model


def describe_model(model: nn.Module) -> ModelSummary:
    """The model's class name and parameter counts; shared parameters count once, unmaterialised ones not at all."""
    counts = [(item.numel(), item.requires_grad) for item in model.parameters() if not is_lazy(item)]
    return ModelSummary(
        architecture=class_name(type(model)),
        parameters=sum(count for count, _ in counts),
        trainable=sum(count for count, trained in counts if trained),
    )


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Exclude parameters whose names match from training (fnmatch patterns; a module's name means all in it).

    Raises `ModelError` for a pattern that matches nothing.
    """
    parameters = dict(model.named_parameters())
    for pattern in patterns:
        matched = matching_names(pattern, parameters)
        if not matched:
            modules = {name.rpartition(".")[0] for name in parameters} - {""}
            guess = did_you_mean(pattern.rstrip(".*"), [*sorted(modules), *parameters]) or "."
            raise ModelError(
                f"model.freeze holds {shown(pattern)}, which matches no parameter of the model{guess} "
                f"It has {listed(list(parameters)[:8])}{' …' if len(parameters) > 8 else ''}"
                + ("." if len(parameters) <= 8 else "")
            )
        for name in matched:
            parameters[name].requires_grad_(False)


def matching_names(pattern: str, names: Mapping[str, Any] | Sequence[str]) -> list[str]:
    """The parameter names that a pattern means: fnmatch, or a whole module by its name."""
    return [name for name in names if fnmatch.fnmatchcase(name, pattern) or name.startswith(f"{pattern}.")]


def sizes_from_data(
    target: Callable[..., Any], args: Mapping[str, Any], data: DataSplits, *, what: str
) -> dict[str, int]:
    """Values for the size parameters of `target` that have no default and are not in `args`.

    `in_features`: all numbers of one input; `num_features`: its last dimension; `in_channels`: its first;
    `num_classes`, `out_features`: the task's outputs. Raises `ModelError` where the data does not tell.
    """
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return {}
    shape, outputs = data.input_shape, data.task.num_outputs
    sizes = {
        "in_features": None if shape is None else math.prod(shape),
        "num_features": shape[-1] if shape else None,
        "in_channels": shape[0] if shape else None,
        "num_classes": outputs,
        "out_features": outputs,
    }
    wanted = [
        name
        for name, item in parameters.items()
        if name in sizes
        and name not in args
        and item.default is item.empty
        and item.kind is not item.VAR_KEYWORD
    ]
    for name in wanted:
        if sizes[name] is None:
            missing = (
                "the shape of one input" if name.startswith(("in_", "num_f")) else "the number of outputs"
            )
            raise ModelError(
                f"{what[:1].upper()}{what[1:]} needs {name}, but the data does not tell {missing}. Give it as "
                f"model.args.{name}."
            )
    if "in_channels" in wanted and shape is not None and len(shape) < 2:
        hint = " (data.args.image: true makes them images)" if data.source.startswith("digits") else ""
        raise ModelError(
            f"{what[:1].upper()}{what[1:]} takes images or signals [channels, …], but one input of the data has the "
            f"shape {list(shape)}{hint}. Choose a model for plain numbers, such as mlp, or data with channels."
        )
    return {name: size for name in wanted if (size := sizes[name]) is not None}


def _article(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {class_name(value)} itself"
    name = class_name(type(value))
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
