"""Leaving out what PyTorch's optimizers do for the compiler when nothing is compiled.

Building and stepping an optimizer imports `torch._dynamo` (about a second of start-up), and every `step()` opens a
profiler record (a quarter of a small model's update). Neither changes a number. Everything here falls back to the
public way wherever PyTorch looks different from what it expects.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING

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

    def update() -> None:
        if _hooks(optimizer):
            optimizer.step()
            return
        with torch.no_grad():
            inner(optimizer)

    optimizer._opt_called = True  # type: ignore[attr-defined]  # noqa: SLF001 (schedulers ask whether a step came first)
    return update


def _hooks(optimizer: Optimizer) -> bool:
    return bool(
        optimizer._optimizer_step_pre_hooks  # noqa: SLF001
        or optimizer._optimizer_step_post_hooks  # noqa: SLF001
        or torch_optimizer._global_optimizer_pre_hooks  # noqa: SLF001
        or torch_optimizer._global_optimizer_post_hooks  # noqa: SLF001
    )
