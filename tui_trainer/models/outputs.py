"""What goes into a model and what comes out of it, whatever its library's conventions are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from tui_trainer.config.wording import class_name

_MAIN_NAMES = ("logits", "predictions", "prediction", "outputs", "output", "out")


def call_model(model: nn.Module, inputs: Any) -> Any:
    """`model(inputs)`; a dict of inputs becomes keyword arguments, as Hugging Face models take them."""
    return model(**inputs) if isinstance(inputs, dict) else model(inputs)


def main_output(outputs: Any) -> Any:
    """The tensor of predictions in what a model returned: itself, `.logits` (or a key or attribute of a like
    name), or the first element of a tuple. Anything else comes back as it is."""
    if isinstance(outputs, Tensor):
        return outputs
    for name in _MAIN_NAMES:
        found = outputs.get(name) if isinstance(outputs, Mapping) else getattr(outputs, name, None)
        if isinstance(found, Tensor):
            return found
    if isinstance(outputs, (tuple, list)) and outputs and isinstance(outputs[0], Tensor):
        return outputs[0]
    return outputs


def own_loss(outputs: Any) -> Tensor | None:
    """The loss that a model computed itself (`.loss`, or the key `loss`); None where there is none."""
    if isinstance(outputs, Tensor):
        return None
    found = outputs.get("loss") if isinstance(outputs, Mapping) else getattr(outputs, "loss", None)
    return found if isinstance(found, Tensor) else None


def same_but_for_ones(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors have one shape once dimensions of 1 behind the first are left out, as `[n, 1]` and `[n]`
    do: one can then be reshaped into the other without guessing."""
    if first.shape[:1] != second.shape[:1]:
        return False
    return [size for size in first.shape[1:] if size != 1] == [size for size in second.shape[1:] if size != 1]


def described(value: Any) -> str:
    """`float32[32, 10]` for a tensor; the like for tuples and dicts of them; else the type's name."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}[{', '.join(map(str, value.shape))}]"
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key}: {described(item)}" for key, item in list(value.items())[:6])
        return f"a dict of {{{inside}{', …' if len(value) > 6 else ''}}}"
    if isinstance(value, (tuple, list)):
        inside = ", ".join(described(item) for item in value[:4])
        return f"a {class_name(type(value))} of ({inside}{', …' if len(value) > 4 else ''})"
    return "None" if value is None else f"a {class_name(type(value))}"
