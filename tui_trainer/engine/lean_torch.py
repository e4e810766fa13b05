"""Leaving out what PyTorch's optimizers do for the compiler when nothing is compiled.

Building and stepping an optimizer imports `torch._dynamo` (about a second of start-up), and every `step()` opens a
profiler record (a quarter of a small model's update). Neither changes a number. Everything here falls back to the
public way wherever PyTorch looks different from what it expects.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim import optimizer as torch_optimizer

if TYPE_CHECKING:
    from collections.abc import Callable

_COMPILER = "torch._dynamo"
_GUARDED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def keep_compiler_out() -> None:
    """Let optimizer methods run without importing the compiler first; nothing changes once it is loaded.

    PyTorch caches, on each function, the form of it that the compiler leaves alone. Without the compiler that
    form is the function itself.
    """
    if _COMPILER in sys.modules:
        return
    for name in _GUARDED:
        inner = getattr(getattr(Optimizer, name), "__wrapped__", None)
        if inner is not None and not hasattr(inner, "__dynamo_disable"):
            setattr(inner, "__dynamo_disable", inner)


def set_deterministic(mode: bool) -> None:
    """`torch.use_deterministic_algorithms`, which imports the compiler only to tell it the same."""
    if _COMPILER not in sys.modules and hasattr(torch._C, "_set_deterministic_algorithms"):  # noqa: SLF001
        torch._C._set_deterministic_algorithms(mode, warn_only=False)  # noqa: SLF001
    else:
        torch.use_deterministic_algorithms(mode)


def backward(loss: Tensor) -> None:
    """`loss.backward()` of a scalar, without the checks that a plain scalar passes anyway.

    They take longer than the backward pass of a small layer. Raises what `loss.backward()` raises.
    """
    if _run_backward is None or type(loss) is not Tensor or loss.dim() != 0 or not loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        return
    key = loss.dtype, loss.device
    seed = _ones.get(key)
    if seed is None:
        seed = _ones[key] = torch.ones((), dtype=loss.dtype, device=loss.device)
    _run_backward((loss,), (seed,), False, False, (), allow_unreachable=True, accumulate_grad=True)


def _find_run_backward() -> Callable[..., object] | None:
    """The function that `torch.autograd.backward` ends in, if this PyTorch has it in the form known here."""
    try:
        source = inspect.getsource(torch.autograd.backward)
    except OSError:  # installed without sources
        return None
    call = " ".join(source[source.rfind("_engine_run_backward(") :].split())
    expected = (
        "_engine_run_backward( tensors, grad_tensors_, retain_graph, create_graph, inputs_tuple, "
        "allow_unreachable=True, accumulate_grad=True, )"
    )
    found = getattr(torch.autograd.graph, "_engine_run_backward", None)
    return found if call == expected else None


_run_backward = _find_run_backward()
_ones: dict[tuple[torch.dtype, torch.device], Tensor] = {}


def bare_step(optimizer: Optimizer) -> Callable[[], object]:
    """The optimizer's update without the wrappers around it, where they would do nothing; else its `step`.

    They do something when hooks are registered, when the update shall be differentiable, or when the class is not
    one of PyTorch's own.
    """
    cls = type(optimizer)
    inner = inspect.unwrap(cls.step)
    plain = (
        cls.__module__.startswith("torch.optim.")
        and inner is not cls.step
        and list(inspect.signature(inner).parameters) == ["self", "closure"]
        and not optimizer.defaults.get("differentiable", True)
        and not _hooks(optimizer)
    )
    if not plain:
        return optimizer.step

    fused = _fused_adam(optimizer)

    def update() -> None:
        if _hooks(optimizer):
            optimizer.step()
            return
        with torch.no_grad():
            if fused is None or not fused():
                inner(optimizer)

    optimizer._opt_called = True  # type: ignore[attr-defined]  # noqa: SLF001 (schedulers ask whether a step came first)
    return update


_FUSED_ARGUMENTS = (
    "self grads exp_avgs exp_avg_sqs max_exp_avg_sqs state_steps lr beta1 beta2 weight_decay eps amsgrad maximize "
    "grad_scale found_inf"
)


def _fused_adam(optimizer: Optimizer) -> Callable[[], bool] | None:
    """A fused Adam or AdamW update on the CPU that goes straight to PyTorch's kernel; None where that is not what the
    optimizer does.

    Sorting the tensors for the kernel takes PyTorch as long as the kernel takes for a small model. The function does
    nothing and returns False where this step is not an ordinary one (a parameter without gradient, the first step).
    """
    kernel = {torch.optim.Adam: "_fused_adam_", torch.optim.AdamW: "_fused_adamw_"}.get(type(optimizer))
    if kernel is None or not _known_kernel(kernel) or not _ordinary_groups(optimizer):
        return None
    run = getattr(torch, kernel)

    def update() -> bool:
        if getattr(optimizer, "found_inf", None) is not None:
            return False  # an update that the device may leave out
        prepared: list[tuple[dict[str, Any], list[Tensor], list[Any]]] = []
        for group in optimizer.param_groups:
            states = [optimizer.state.get(item, {}) for item in group["params"]]
            grads: list[Any] = [item.grad for item in group["params"]]
            if not all(states) or any(item is None or item.is_sparse for item in grads):
                return False  # which PyTorch's own way knows how to treat
            prepared.append((group, grads, states))
        for group, grads, states in prepared:
            steps = [state["step"] for state in states]
            torch._foreach_add_(steps, 1)
            beta1, beta2 = group["betas"]
            run(
                group["params"], grads, [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states], [], steps, amsgrad=False, lr=group["lr"], beta1=beta1,
                beta2=beta2, weight_decay=group["weight_decay"], eps=group["eps"], maximize=group["maximize"],
                grad_scale=None, found_inf=None,
            )  # fmt: skip
        return True

    return update


def _known_kernel(name: str) -> bool:
    """Whether this PyTorch has the kernel, with the arguments that are known here."""
    try:
        arguments = getattr(torch.ops.aten, name).default._schema.arguments  # noqa: SLF001
    except AttributeError:
        return False
    return " ".join(item.name for item in arguments) == _FUSED_ARGUMENTS


def _ordinary_groups(optimizer: Optimizer) -> bool:
    """Whether every group is fused, of one type and on the CPU, with nothing unusual asked for."""
    for group in optimizer.param_groups:
        decoupled = group.get("decoupled_weight_decay", False) is isinstance(optimizer, torch.optim.AdamW)
        numbers = all(type(value) is float for value in (group["lr"], *group["betas"]))
        same = len({(item.dtype, item.device) for item in group["params"]}) == 1
        real = all(item.is_cpu and item.is_floating_point() for item in group["params"])
        unusual = group["amsgrad"] or group["capturable"] or group["differentiable"] or not group["fused"]
        if unusual or not (decoupled and numbers and same and real):
            return False
    return True


def _hooks(optimizer: Optimizer) -> bool:
    return bool(
        optimizer._optimizer_step_pre_hooks  # noqa: SLF001
        or optimizer._optimizer_step_post_hooks  # noqa: SLF001
        or torch_optimizer._global_optimizer_pre_hooks  # noqa: SLF001
        or torch_optimizer._global_optimizer_post_hooks  # noqa: SLF001
    )
