"""Optimizers by short name or import path, fused where PyTorch can, over the parameters that are trained."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer

from tui_trainer.config.errors import ModelError
from tui_trainer.config.targets import call_target, resolve_target
from tui_trainer.config.wording import class_name, did_you_mean, listed, shown
from tui_trainer.engine.lean_torch import keep_compiler_out
from tui_trainer.models.build import matching_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tui_trainer.config.schema import OptimizerConfig

BUILTIN_OPTIMIZERS: Mapping[str, str] = {
    name.lower(): f"torch.optim:{name}"
    for name in (
        "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "LBFGS", "NAdam", "RAdam", "RMSprop",
        "Rprop", "SGD",
    )
}  # fmt: skip
"""What `optimizer.target` can name without an import path."""

GROUP_ARGUMENTS = ("no_decay", "exclude_bias_and_norm")
"""Entries of `optimizer.args` that divide parameters into groups and are not the optimizer's own."""

_CHOOSE_KERNEL = ("fused", "foreach", "capturable", "differentiable")
_FUSED_DEVICES = ("cpu", "cuda", "mps", "xpu")
_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)


def build_optimizer(
    config: OptimizerConfig, model: nn.Module, *, folder: Path, loss_module: nn.Module | None = None
) -> Optimizer:
    """The optimizer that `config` describes, over the parameters of `model` that require gradients.

    A loss with parameters of its own (`loss_module`) is trained along; in patterns they are called `loss.<name>`.
    `args.no_decay: [patterns]` and `args.exclude_bias_and_norm: true` put parameters into a second group without
    weight decay. Fused kernels are used where the class has them and the device allows, unless `args` choose.
    Raises `ModelError` for arguments that do not exist, a model without trained parameters, and optimizers that
    need a closure.
    """
    if config.target.lower() == "lbfgs":
        raise _closure_error(config.target)
    keep_compiler_out()
    what = f"optimizer {config.target}"
    target = resolve_target(
        config.target, builtins=BUILTIN_OPTIMIZERS, folder=folder, what="optimizer", error=ModelError
    )
    if not callable(target):
        raise ModelError(
            f"Optimizer {shown(config.target)} is a {class_name(type(target))}; expected a class."
        )
    args = {name: value for name, value in config.args.items() if name not in GROUP_ARGUMENTS}
    parameters = _signature(target)
    trained = _trained(model, loss_module)
    spared = _spared(trained, config)
    if not (config.weight_decay or args.get("weight_decay")):
        spared = set()  # nothing to be spared
    given = _given(config, args, parameters, what)
    first = next(iter(parameters), "params") if parameters else "params"
    if _can_fuse(parameters, args, trained):
        try:
            return _checked(target(**{first: _groups(trained, spared)}, **given, fused=True), config)
        except (RuntimeError, TypeError, ValueError):
            pass  # not for this device or mode, or a mistake that shows again below
    made = call_target(target, {first: _groups(trained, spared), **given}, what=what, error=ModelError)
    return _checked(made, config)


def supports_found_inf(optimizer: Optimizer) -> bool:
    """Whether a step can be left out on the device, without asking the host: all groups run fused kernels that
    honour the attributes `grad_scale` and `found_inf` (as `torch.amp.GradScaler` uses them)."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False)) and all(
        group.get("fused") for group in optimizer.param_groups
    )


def _signature(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):
        return None


def _given(
    config: OptimizerConfig,
    args: Mapping[str, Any],
    parameters: Mapping[str, inspect.Parameter] | None,
    what: str,
) -> dict[str, Any]:
    """The optimizer's keyword arguments: `args`, learning rate and weight decay under the names it has for them."""
    subject = what[:1].upper() + what[1:]
    for name, setting in (("lr", "learning_rate"), ("learning_rate", "learning_rate"), ("params", None)):
        if name in args:
            instead = f"; set optimizer.{setting} instead" if setting else ": they come from the model"
            raise ModelError(f"{subject}: args may not hold {name}{instead}.")
    if "weight_decay" in args and config.weight_decay:
        raise ModelError(f"{subject}: weight_decay is given twice; set optimizer.weight_decay alone.")
    takes_any = parameters is None or any(item.kind is item.VAR_KEYWORD for item in parameters.values())
    names = list(parameters or ())
    for name in args:
        if name not in names and not takes_any:
            own = [*names[1:], *GROUP_ARGUMENTS]
            guess = did_you_mean(name, own) or "."
            raise ModelError(f"{subject} has no argument {shown(name)}{guess} It takes {listed(own)}.")
    given = dict(args)
    given["learning_rate" if "learning_rate" in names and "lr" not in names else "lr"] = config.learning_rate
    if "weight_decay" in names or (takes_any and config.weight_decay):
        given.setdefault("weight_decay", config.weight_decay)
    elif config.weight_decay:
        raise ModelError(
            f"{subject} has no weight decay, but optimizer.weight_decay is {config.weight_decay:g}."
        )
    return _tuples(given)


def _tuples(args: dict[str, Any]) -> dict[str, Any]:
    """YAML has no tuples; optimizers' betas and the like are."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in args.items()}


@dataclass(frozen=True)
class _Parameter:
    """A trained parameter and the module that it belongs to."""

    value: nn.Parameter
    module: nn.Module
    name: str

    @property
    def is_bias_or_norm(self) -> bool:
        return isinstance(self.module, _NORMS) or self.name.startswith("bias")


def _trained(model: nn.Module, loss_module: nn.Module | None) -> dict[str, _Parameter]:
    """All parameters that require gradients, by name, each once. Raises `ModelError` when there is none."""
    found: dict[str, _Parameter] = {}
    seen: set[int] = set()
    roots = [("", model)] if loss_module is None else [("", model), ("loss", loss_module)]
    for root, top in roots:
        for path, module in top.named_modules(prefix=root):
            for name, value in module.named_parameters(recurse=False):
                if value.requires_grad and id(value) not in seen:
                    seen.add(id(value))
                    found[f"{path}.{name}" if path else name] = _Parameter(value, module, name)
    if not any(not name.startswith("loss.") for name in found):
        frozen = any(True for _ in model.parameters())
        raise ModelError(
            "The model has no parameter to train: "
            + ("all are frozen. Take patterns out of model.freeze." if frozen else "it has none at all.")
        )
    return found


def _groups(trained: Mapping[str, _Parameter], spared: set[str]) -> list[Any]:
    """The trained parameters, or two groups of them where some are spared weight decay."""
    if not spared:
        return [item.value for item in trained.values()]
    with_decay = [item.value for name, item in trained.items() if name not in spared]
    without = {"params": [trained[name].value for name in trained if name in spared], "weight_decay": 0.0}
    return [{"params": with_decay}, without] if with_decay else [without]


def _spared(trained: Mapping[str, _Parameter], config: OptimizerConfig) -> set[str]:
    """Names of the parameters without weight decay."""
    patterns, exclude = config.args.get("no_decay", []), config.args.get("exclude_bias_and_norm", False)
    if isinstance(patterns, str) or not isinstance(patterns, Sequence):
        raise ModelError(
            f"optimizer.args.no_decay is {shown(patterns)}; expected a list of parameter name patterns."
        )
    if not isinstance(exclude, bool):
        raise ModelError(f"optimizer.args.exclude_bias_and_norm is {shown(exclude)}; expected true or false.")
    spared = {name for name, item in trained.items() if item.is_bias_or_norm} if exclude else set()
    for pattern in map(str, patterns):
        matched = matching_names(pattern, trained)
        if not matched:
            raise ModelError(
                f"optimizer.args.no_decay holds {shown(pattern)}, which matches no trained parameter"
                f"{did_you_mean(pattern, trained) or '.'}"
            )
        spared |= set(matched)
    return spared


def _can_fuse(
    parameters: Mapping[str, inspect.Parameter] | None,
    args: Mapping[str, Any],
    trained: Mapping[str, _Parameter],
) -> bool:
    if parameters is None or "fused" not in parameters or any(name in args for name in _CHOOSE_KERNEL):
        return False
    return all(
        item.value.is_floating_point()
        and item.value.device.type in _FUSED_DEVICES
        and getattr(item.module, "sparse", False) is not True  # sparse gradients have no fused kernels
        for item in trained.values()
    )


def _checked(made: Any, config: OptimizerConfig) -> Optimizer:
    if not isinstance(made, Optimizer):
        raise ModelError(
            f"Optimizer {shown(config.target)} gave a {class_name(type(made))}; expected a torch.optim.Optimizer."
        )
    try:
        closure = inspect.signature(made.step).parameters.get("closure")
    except (TypeError, ValueError):
        closure = None
    if isinstance(made, torch.optim.LBFGS) or (closure is not None and closure.default is closure.empty):
        raise _closure_error(config.target)
    return made


def _closure_error(target: str) -> ModelError:
    return ModelError(
        f"Optimizer {shown(target)} evaluates the loss several times a step through a closure, which exact resume, "
        "gradient accumulation and the non-finite guard do not allow for. Choose another, such as adam or sgd."
    )
