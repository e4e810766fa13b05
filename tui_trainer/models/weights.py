"""Starting weights from a file, for fine-tuning."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tui_trainer.config.errors import ModelError
from tui_trainer.config.targets import exception_text
from tui_trainer.config.wording import did_you_mean, listed, printable

_INSIDE = ("model_state_dict", "state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "model.")  # what DataParallel, torch.compile and Lightning put in front
_SHOWN = 4


def load_weights(model: nn.Module, file: str, *, folder: Path, strict: bool) -> None:
    """Put the weights of `file` (a checkpoint of this program, a state dict, or safetensors) into `model`.

    A relative path is seen from `folder`, then from the working directory. With `strict`, names and shapes must
    match one by one; without, what matches is taken, and at least one tensor must. Nothing in the file is
    executed. Raises `ModelError`.
    """
    path = _found(file, folder)
    weights = _without_prefix(_read(path, file), model)
    own = model.state_dict(keep_vars=True)
    shapes = {
        name: (weights[name].shape, item.shape)
        for name, item in own.items()
        if name in weights and not is_lazy(item) and weights[name].shape != item.shape
    }
    _refuse_non_finite(weights, model, file)
    if strict:
        _refuse_mismatch(weights, own, shapes, file)
    chosen = {name: value for name, value in weights.items() if name in own and name not in shapes}
    if not chosen:
        raise ModelError(
            f"model.init_from: not one tensor of {printable(file)} fits the model. The file has "
            f"{_some(list(weights))}; the model has {_some(list(own))}. It is the weights of another model."
        )
    model.load_state_dict(chosen, strict=False)


def _found(file: str, folder: Path) -> Path:
    path = Path(file).expanduser()
    for candidate in (folder / path, path):
        if candidate.is_file():
            return candidate
    raise ModelError(
        f"model.init_from is {printable(file)}, which is no file (looked in {folder} and the working directory). "
        "Give the path of a checkpoint (.pt) or of a .safetensors file."
    )


def _read(path: Path, file: str) -> dict[str, Tensor]:
    content = _safetensors(path, file) if path.suffix == ".safetensors" else _torch_file(path, file)
    if isinstance(content, Mapping):
        inside = next((content[key] for key in _INSIDE if isinstance(content.get(key), Mapping)), content)
        weights = {str(name): value for name, value in inside.items() if isinstance(value, Tensor)}
        if weights:
            return weights
    raise ModelError(
        f"model.init_from: {printable(file)} holds no weights (a {type(content).__name__} without named tensors). "
        "Expected a state dict, or a checkpoint with one under model_state_dict."
    )


def _torch_file(path: Path, file: str) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as problem:
        raise ModelError(
            f"model.init_from: {printable(file)} is no PyTorch file, or holds more than tensors and plain values "
            f"({exception_text(problem, 120)}). Loading such files could run code that came with them, so it is "
            "refused. Save the weights alone: torch.save(model.state_dict(), path)."
        ) from problem
    except Exception as problem:  # a damaged file can raise anything, IndexError and struct.error included
        raise ModelError(
            f"model.init_from: {printable(file)} cannot be read as a PyTorch file ({exception_text(problem, 160)}). "
            "It may be cut short, damaged, or of another kind."
        ) from problem


def _safetensors(path: Path, file: str) -> Any:
    try:
        from safetensors.torch import load_file
    except ImportError as problem:
        raise ModelError(
            f"model.init_from: reading {printable(file)} needs the package safetensors: pip install safetensors."
        ) from problem
    try:
        return load_file(path)
    except Exception as problem:  # of several kinds, by what is damaged
        raise ModelError(
            f"model.init_from: {printable(file)} cannot be read as safetensors ({exception_text(problem, 160)}). It "
            "may be cut short, damaged, or of another kind."
        ) from problem


def _without_prefix(weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Names as the model has them, where a wrapper's prefix stands in front of every one."""
    own = model.state_dict(keep_vars=True)
    for prefix in _PREFIXES:
        if not any(name in own for name in weights) and all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights


def _refuse_non_finite(weights: dict[str, Tensor], model: nn.Module, file: str) -> None:
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name, value in weights.items():
        if name in parameters and value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ModelError(
                f"model.init_from: {name} in {printable(file)} holds NaN or infinite values. Take weights from "
                "before training went wrong."
            )


def _refuse_mismatch(
    weights: dict[str, Tensor],
    own: dict[str, Any],
    shapes: dict[str, tuple[torch.Size, torch.Size]],
    file: str,
) -> None:
    missing = [name for name in own if name not in weights]
    unexpected = [name for name in weights if name not in own]
    problems = []
    if missing:
        guess = did_you_mean(missing[0], unexpected) if unexpected else ""
        problems.append(
            f"it lacks {_some(missing)}{guess.replace('; did you mean', ' (is it').replace('?', '?)')}"
        )
    if unexpected:
        problems.append(f"it has {_some(unexpected)}, unknown to the model")
    if shapes:
        name, (found, wanted) = next(iter(shapes.items()))
        more = f", and {len(shapes) - 1} more of another shape" if len(shapes) > 1 else ""
        problems.append(f"its {name} has the shape {list(found)} where the model has {list(wanted)}{more}")
    if problems:
        raise ModelError(
            f"model.init_from: {printable(file)} does not match the model: {'; '.join(problems)}. Use the config of "
            "the run it came from, or set model.strict: false to take only what matches."
        )


def _some(names: list[str]) -> str:
    head = [printable(name, 80) for name in names[:_SHOWN]]
    return listed(head) if len(names) <= _SHOWN else f"{', '.join(head)} and {len(names) - _SHOWN} more"
