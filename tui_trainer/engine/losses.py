"""Losses: built-in ones that adapt to their targets where that is unambiguous, and any callable of the user's."""

from __future__ import annotations

import copy
import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tui_trainer.config.errors import ModelError
from tui_trainer.config.targets import call_target, resolve_target
from tui_trainer.config.wording import class_name, listed, shown
from tui_trainer.models.outputs import described, main_output, own_loss, same_but_for_ones

if TYPE_CHECKING:
    from pathlib import Path

    from tui_trainer.config.schema import LossConfig
    from tui_trainer.data.dataset import Task

BUILTIN_LOSSES: Mapping[str, type[nn.Module]] = {
    "bce": nn.BCEWithLogitsLoss,
    "bce_with_logits": nn.BCEWithLogitsLoss,
    "cross_entropy": nn.CrossEntropyLoss,
    "huber": nn.HuberLoss,
    "kl_div": nn.KLDivLoss,
    "l1": nn.L1Loss,
    "mse": nn.MSELoss,
    "multi_margin": nn.MultiMarginLoss,
    "multilabel_soft_margin": nn.MultiLabelSoftMarginLoss,
    "nll": nn.NLLLoss,
    "poisson_nll": nn.PoissonNLLLoss,
    "smooth_l1": nn.SmoothL1Loss,
    "soft_margin": nn.SoftMarginLoss,
}
"""What `loss.target` can name without an import path."""

_INFERRED = {
    "classification": "cross_entropy",
    "binary": "bce_with_logits",
    "multilabel": "bce_with_logits",
    "regression": "mse",
}
_BY_CLASS_INDEX = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss)
_BY_ELEMENT = (
    nn.BCEWithLogitsLoss,
    nn.BCELoss,
    nn.HuberLoss,
    nn.KLDivLoss,
    nn.L1Loss,
    nn.MSELoss,
    nn.MultiLabelSoftMarginLoss,
    nn.PoissonNLLLoss,
    nn.SmoothL1Loss,
    nn.SoftMarginLoss,
)
_DIRECT: Mapping[type, tuple[Callable[..., Tensor], tuple[str, ...]]] = {
    nn.BCEWithLogitsLoss: (functional.binary_cross_entropy_with_logits, ("reduction",)),
    nn.CrossEntropyLoss: (functional.cross_entropy, ("ignore_index", "reduction", "label_smoothing")),
    nn.L1Loss: (functional.l1_loss, ("reduction",)),
    nn.MSELoss: (functional.mse_loss, ("reduction",)),
}
"""The function behind a loss module that has no tensors, and the settings it hands over: 2 µs a call less."""
_WEIGHTS = ("weight", "pos_weight")
_TOTALS = ("loss", "total", "total_loss")

Adapter = Callable[[Tensor, Tensor], "tuple[Tensor, Tensor]"]


class Loss:
    """A loss as the trainer calls it: `loss(outputs, targets, inputs)` gives a scalar or a dict of named ones.

    `name` is for people. `module` holds what must move to the device, be trained and be checkpointed (learned
    parameters, class weights); None where there is nothing of the kind. `criterion`: the module or function whose
    settings (reduction, ignored label, weights) are the loss's.
    """

    def __init__(
        self,
        name: str,
        compute: Callable[..., Any] | None,
        *,
        module: nn.Module | None = None,
        adapt: Adapter | None = None,
        inputs_as: str | None = None,
        prefers_own: bool = False,
        criterion: Any = None,
    ) -> None:
        self.name, self.module, self.prefers_own = name, module, prefers_own
        self.criterion = compute if criterion is None else criterion
        self._compute, self._adapt, self._inputs_as = compute, adapt, inputs_as
        self._checked = False

    def __call__(self, outputs: Any, targets: Any, inputs: Any = None) -> Tensor | dict[str, Tensor]:
        """The loss of one batch. `outputs` is what the model returned, `inputs` what it was given.

        Raises `ModelError` where outputs and targets do not go together, or (at the first call) where the loss
        returns something that cannot be minimised.
        """
        result = self._result(outputs, targets, inputs)
        if not self._checked:
            check_result(self.name, result)
            self._checked = True
        return result  # type: ignore[no-any-return]  # checked above

    def by_sample(self, outputs: Any, targets: Any) -> Tensor | None:
        """The loss of each sample by itself, float[n]; None where it can only be had for a batch."""
        found, criterion = main_output(outputs), self.criterion
        if self._adapt is None or not isinstance(criterion, nn.Module) or not hasattr(criterion, "reduction"):
            return None
        if not isinstance(found, Tensor) or not isinstance(targets, Tensor):
            return None
        twin = copy.copy(criterion)
        vars(twin)["reduction"] = "none"
        values: Tensor = twin(*self._adapt(found, targets))
        return values.flatten(1).mean(1) if values.ndim > 1 else values

    def _result(self, outputs: Any, targets: Any, inputs: Any) -> Any:
        if self.prefers_own and (own := own_loss(outputs)) is not None:
            return own
        if self._compute is None:
            raise ModelError(
                f"No loss is known for this task: the model gave {described(outputs)}, which has no loss of its "
                f"own, and the targets are {described(targets)}. Name one in loss.target."
            )
        if self._adapt is not None:
            if type(outputs) is not Tensor:
                outputs = main_output(outputs)
            if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
                raise ModelError(
                    f"The loss {self.name} compares two tensors, but the model gave {described(outputs)} and the "
                    f"targets are {described(targets)}. Name a loss of your own in loss.target."
                )
            outputs, targets = self._adapt(outputs, targets)
        if self._inputs_as is not None:
            return self._compute(outputs, targets, **{self._inputs_as: inputs})
        return self._compute(outputs, targets)


def combine(result: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """The total to minimise, and the named components it is the sum of ({} for a loss that has none).

    Raises `ModelError` for anything but a scalar or a non-empty dict of scalars.
    """
    if isinstance(result, Tensor):
        if result.ndim == 0:
            return result, {}
        if result.numel() == 1:
            return result.reshape(()), {}
        raise ModelError(
            f"The loss returned {described(result)}; expected one number, or a dict of named ones. Average over "
            "the batch (reduction: mean)."
        )
    if not isinstance(result, Mapping) or not result:
        found = "an empty dict" if isinstance(result, Mapping) else described(result)
        raise ModelError(f"The loss returned {found}; expected a scalar tensor, or a dict of named ones.")
    components: dict[str, Tensor] = {}
    for name, value in result.items():
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ModelError(
                f"The loss returned {described(value)} under {shown(name)}; expected a scalar tensor for each name."
            )
        components[str(name)] = value if value.ndim == 0 else value.reshape(())
    return functools.reduce(torch.add, components.values()), components


def check_result(name: str, result: Any) -> None:
    """Refuse (`ModelError`) what cannot be minimised: see `combine`; also totals beside their parts, clashing
    names, complex or whole numbers, and losses without a gradient where one is wanted."""
    total, components = combine(result)
    if total.is_complex() or not total.is_floating_point():
        raise ModelError(f"The loss {name} returned {described(total)}; expected a floating point number.")
    doubled = [key for key in components if key in _TOTALS]
    if doubled and len(components) > 1:
        raise ModelError(
            f"The loss {name} returned {listed(components)}. The components of a dict are summed, so {doubled[0]} "
            "would count twice: return the components alone."
        )
    columns = [key.removeprefix("loss_") for key in components]
    if len(set(columns)) < len(columns) or not all(key.isidentifier() for key in components):
        raise ModelError(
            f"The loss {name} returned components called {listed(map(shown, components))}; expected different "
            "names of letters, digits and underscores."
        )
    if torch.is_grad_enabled() and not total.requires_grad:
        raise ModelError(
            f"The loss {name} does not depend on any parameter that is trained. Look for .detach(), .item(), "
            "torch.no_grad() or argmax between model and loss, or for a model.freeze that freezes everything."
        )


def build_loss(config: LossConfig, task: Task, *, folder: Path) -> Loss:
    """The loss that `config` describes; without a target, the one usual for `task`, or the model's own.

    Raises `ModelError`.
    """
    if config.target is None and task.kind not in _INFERRED:
        return Loss("the model's own", None, prefers_own=True)
    target = config.target if config.target is not None else _INFERRED[task.kind]
    what = f"loss {target}"
    found = resolve_target(target, builtins=BUILTIN_LOSSES, folder=folder, what="loss", error=ModelError)
    made = _made(found, config.args, task, what=what)
    if not callable(made):
        raise ModelError(
            f"Loss {shown(target)} is a {class_name(type(made))}; expected a function (outputs, targets), or a class "
            "whose instances can be called so."
        )
    module = made if isinstance(made, nn.Module) else None
    if module is not None and type(module).__module__.startswith("torch.nn.modules"):
        return _torch_loss(module, target, prefers_own=config.target is None)
    adapt = _adapter_of_function(made, target)
    return Loss(
        target, made, module=module, adapt=adapt, inputs_as=None if adapt else _inputs_parameter(made)
    )


def _torch_loss(module: nn.Module, name: str, *, prefers_own: bool) -> Loss:
    """One of PyTorch's own losses."""
    if getattr(module, "reduction", "mean") == "none":
        raise ModelError(
            f"Loss {name}: args.reduction none gives a number for each sample; expected mean, or sum, so that "
            "there is one number to minimise."
        )
    has_state = bool(module.state_dict())
    compute: Callable[..., Any] = module.forward
    if not has_state and type(module) in _DIRECT:
        function, settings = _DIRECT[type(module)]
        compute = functools.partial(function, **{item: getattr(module, item) for item in settings})
    adapt = _adapter(module, name)
    return Loss(
        name,
        compute,
        module=module if has_state else None,
        adapt=adapt,
        inputs_as=None if adapt else _inputs_parameter(compute),
        prefers_own=prefers_own,
        criterion=module,
    )


# --- from target to callable --------------------------------------------------------------------------------


def _made(found: Any, args: Mapping[str, Any], task: Task, *, what: str) -> Any:
    """A callable of (outputs, targets): an instance of a class, a function with its arguments, or what a factory
    returned."""
    if inspect.isclass(found):
        torch_own = issubclass(found, nn.Module) and found.__module__.startswith("torch.nn.modules")
        given = _with_tensors(args, task, what=what) if torch_own else dict(args)
        if found is nn.KLDivLoss:
            given.setdefault(
                "reduction", "batchmean"
            )  # the mathematical definition, says torch's documentation
        return call_target(found, given, what=what, error=ModelError)
    if isinstance(found, nn.Module) and args:
        raise ModelError(f"{_capital(what)} is already built, so loss.args cannot be given to it.")
    if not callable(found) or isinstance(found, nn.Module):
        return found
    names = _positional(found)
    if names is None or len([name for name in names if name not in args]) >= 2:
        if args:
            _check_arguments(found, args, what=what)
            return functools.partial(found, **_tensors_for_torch(found, args, task, what=what))
        return found
    open_ones = [name for name in _required(found) if name not in args]
    if open_ones:
        raise ModelError(
            f"{_capital(what)} takes ({', '.join(names)}); expected a function (outputs, targets) that returns a "
            f"scalar, or one that makes such a function, with {listed(open_ones)} given in loss.args."
        )
    return call_target(found, args, what=what, error=ModelError)


def _required(found: Callable[..., Any]) -> list[str]:
    """Names of the parameters that have no default."""
    parameters = inspect.signature(found).parameters.values()
    return [
        item.name
        for item in parameters
        if item.default is item.empty and item.kind not in (item.VAR_POSITIONAL, item.VAR_KEYWORD)
    ]


def _check_arguments(found: Callable[..., Any], args: Mapping[str, Any], *, what: str) -> None:
    """Refuse arguments that a loss function does not have."""
    try:
        inspect.signature(found).bind_partial(None, None, **args)
    except TypeError as problem:
        raise ModelError(f"{_capital(what)}: {problem}; it takes {inspect.signature(found)}.") from problem
    except ValueError:
        return


def _positional(found: Callable[..., Any]) -> list[str] | None:
    """Names that can be given by position; None where the signature does not tell, or takes any number."""
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(item.kind is item.VAR_POSITIONAL for item in parameters):
        return None
    return [
        item.name for item in parameters if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)
    ]


def _inputs_parameter(found: Callable[..., Any]) -> str | None:
    """The parameter, beyond the first two, through which a loss asks for the model's inputs."""
    try:
        parameters = list(inspect.signature(found).parameters.values())
    except (TypeError, ValueError):
        return None
    taken = set(found.keywords) if isinstance(found, functools.partial) else set()
    names = [
        item.name for item in parameters[2:] if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)
    ]
    return next((name for name in ("inputs", "batch") if name in names and name not in taken), None)


def _tensors_for_torch(
    found: Callable[..., Any], args: Mapping[str, Any], task: Task, *, what: str
) -> dict[str, Any]:
    return _with_tensors(args, task, what=what) if found in _FUNCTIONS else dict(args)


def _with_tensors(args: Mapping[str, Any], task: Task, *, what: str) -> dict[str, Any]:
    """`args` with class weights given as numbers turned into float32 tensors."""
    given = dict(args)
    for name in _WEIGHTS:
        value = given.get(name)
        if value is None or isinstance(value, Tensor):
            continue
        numbers = value if isinstance(value, (list, tuple)) else [value]
        if not numbers or not all(_is_weight(number) for number in numbers):
            raise ModelError(
                f"{_capital(what)}: args.{name} is {shown(value)}; expected a list of finite numbers, none below 0."
            )
        outputs = task.num_outputs
        scalar = name == "pos_weight" and len(numbers) == 1
        if outputs is not None and len(numbers) != outputs and not scalar:
            each = "class" if task.kind == "classification" else "output"
            raise ModelError(
                f"{_capital(what)}: args.{name} has {len(numbers)} numbers, but the data has {outputs} "
                f"{each}{'es' if each == 'class' else 's'}; expected one for each {each}."
            )
        given[name] = torch.tensor(numbers, dtype=torch.float32)
    return given


def _is_weight(number: Any) -> bool:
    return (
        isinstance(number, (int, float))
        and not isinstance(number, bool)
        and math.isfinite(number)
        and number >= 0
    )


# --- fitting targets to outputs -----------------------------------------------------------------------------

_FUNCTIONS: Mapping[Any, str] = {
    functional.cross_entropy: "class index",
    functional.nll_loss: "class index",
    functional.multi_margin_loss: "class index",
    functional.binary_cross_entropy_with_logits: "element",
    functional.binary_cross_entropy: "element",
    functional.huber_loss: "element",
    functional.kl_div: "element",
    functional.l1_loss: "element",
    functional.mse_loss: "element",
    functional.smooth_l1_loss: "element",
}


def _adapter(module: nn.Module, name: str) -> Adapter | None:
    if isinstance(module, _BY_CLASS_INDEX):
        return functools.partial(class_targets, name=name)
    if isinstance(module, _BY_ELEMENT):
        return functools.partial(element_targets, name=name)
    return None


def _adapter_of_function(made: Any, name: str) -> Adapter | None:
    function = made.func if isinstance(made, functools.partial) else made
    try:
        kind = _FUNCTIONS.get(function)
    except TypeError:  # not hashable
        return None
    if kind is None:
        return None
    return functools.partial(class_targets if kind == "class index" else element_targets, name=name)


def class_targets(outputs: Tensor, targets: Tensor, *, name: str) -> tuple[Tensor, Tensor]:
    """Outputs `[n, classes, …]` and class numbers `[n, …]` (int64), as cross entropy takes them.

    Adapted: other integer types, 0/1 floats, a trailing dimension of 1, and outputs with the classes last
    (`[n, length, classes]`). Floats of the outputs' own shape stay: they are probabilities of the classes.
    """
    if targets.dtype is torch.int64 and targets.ndim == 1 and outputs.ndim == 2 and outputs.shape[1] > 1:
        if targets.shape[0] == outputs.shape[0]:
            return outputs, targets
        raise _mismatch(outputs, targets, name, "as many class numbers as rows")
    if outputs.ndim < 2 or outputs.shape[1] == 1:
        raise ModelError(
            f"The loss {name} compares logits of two or more classes, but the model gave {described(outputs)}. Give "
            "it one output a class, or use the loss bce_with_logits for a single logit."
        )
    if targets.is_floating_point() and targets.shape == outputs.shape:
        return outputs, targets
    if targets.shape == outputs.shape[:-1] and targets.shape[1:] != outputs.shape[2:]:
        outputs = outputs.movedim(-1, 1)
    wanted = outputs.shape[:1] + outputs.shape[2:]
    if targets.shape != wanted:
        if targets.shape[-1] != 1 or targets.shape[:-1] != wanted:
            raise _mismatch(outputs, targets, name, f"class numbers of the shape {list(wanted)}")
        targets = targets.squeeze(-1)
    return outputs, targets.to(torch.int64)


def element_targets(outputs: Tensor, targets: Tensor, *, name: str) -> tuple[Tensor, Tensor]:
    """Outputs and targets of one shape, both floating point.

    Adapted: dimensions of 1 that only one of them has (`[n, 1]` and `[n]`), integer and float64 targets.
    """
    if outputs.shape != targets.shape:
        if not same_but_for_ones(outputs, targets):
            raise _mismatch(outputs, targets, name, "targets of the outputs' shape")
        targets = targets.reshape(outputs.shape)
    if not targets.is_floating_point() or (
        targets.dtype is torch.float64 and outputs.dtype is not torch.float64
    ):
        targets = targets.to(outputs.dtype if outputs.dtype is torch.float64 else torch.float32)
    return outputs, targets


def _mismatch(outputs: Tensor, targets: Tensor, name: str, wanted: str) -> ModelError:
    return ModelError(
        f"The loss {name} does not fit model and data: the model gave {described(outputs)}, the targets are "
        f"{described(targets)}; expected {wanted}. Change the model's number of outputs, the targets or the loss; "
        "shapes are never broadcast."
    )


def _capital(what: str) -> str:
    return what[:1].upper() + what[1:]
