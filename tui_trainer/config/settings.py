"""The schema as a flat list: each setting with its key, type in words, default and help."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tui_trainer.config.schema import LARGEST_COUNT, Config
from tui_trainer.config.wording import closest, listed

USUAL_NAMES: Mapping[str, str] = {
    "lr": "optimizer.learning_rate",
    "learningrate": "optimizer.learning_rate",
    "wd": "optimizer.weight_decay",
    "bs": "data.batch_size",
    "dataset": "data.target",
    "workers": "data.num_workers",
    "num_epochs": "training.epochs",
    "max_epochs": "training.epochs",
    "n_epochs": "training.epochs",
    "amp": "training.precision",
    "grad_clip": "training.gradient_clip_norm",
    "clip_grad_norm": "training.gradient_clip_norm",
    "max_norm": "training.gradient_clip_norm",
    "accumulate_grad_batches": "training.gradient_accumulation_steps",
    "criterion": "loss",
    "loss_fn": "loss",
    "architecture": "model",
    "network": "model",
    "random_seed": "seed",
}
"""What other tools call a setting."""


@dataclass(frozen=True)
class Setting:
    """One key of the config. `expected` words type and limits ("a whole number of at least 1")."""

    key: str
    expected: str
    default: Any
    help: str
    affects_results: bool
    is_section: bool
    is_required: bool
    item: str | None = None
    """What each item of a list or mapping must be, in words; None for others."""


@functools.cache
def settings() -> Mapping[str, Setting]:
    """All settings by their dotted key, in the schema's order; sections stand before what they hold.

    `*` stands for a key or position that the user chooses, as in `study.space.*.uniform`.
    """
    schema = Config.model_json_schema()
    definitions = schema.get("$defs", {})
    defaults = Config().model_dump(by_alias=True)
    return {item.key: item for item in _walk(schema, definitions, defaults, "", affects=True)}


def general_key(path: Sequence[str | int]) -> str:
    """The key of `settings` that a path into the config belongs to, with `*` for what the user chose.

    Parts that no setting has stay as they are.
    """
    known = settings()
    parts: list[str] = []
    for part in path:
        here, starred = ".".join([*parts, str(part)]), ".".join([*parts, "*"])
        free = here not in known and any(key == starred or key.startswith(starred + ".") for key in known)
        parts.append("*" if free else str(part))
    return ".".join(parts)


def setting_at(path: Sequence[str | int]) -> Setting | None:
    """The setting that a path into the config leads to; None for one that does not exist, or inside
    `args`."""
    return settings().get(general_key(path))


def unsearchable(key: str) -> str | None:
    """Why `key` cannot be varied in a search; None when it can."""
    known = settings()
    holder, _, inside = key.partition(".args.")
    found = setting_at((holder + ".args" if inside else key).split("."))
    if found is None:
        searchable = [item.key for item in known.values() if item.affects_results and not item.is_section]
        return f"{key!r}, which is no setting{suggestion(key, searchable)}"
    if found.is_section:
        return f"{key!r}, which is a group of settings; name one of them, such as {_first_inside(key)}"
    if not found.affects_results:
        return f"{key!r}, which does not affect results"
    return None


def suggestion(key: str, among: Iterable[str]) -> str:
    """`; did you mean X?` for a mistyped or differently named setting, or nothing."""
    candidates = list(among)
    name = key.rpartition(".")[2]
    usual = USUAL_NAMES.get(name.lower())
    same_name = [item for item in candidates if item.rpartition(".")[2] == name and "*" not in item]
    if usual in candidates:
        match: str | None = usual
    else:
        match = same_name[0] if same_name else closest(key, candidates)
    return f"; did you mean {match}?" if match else ""


def _first_inside(key: str) -> str:
    return next((item for item in settings() if item.startswith(key + ".")), key)


def _walk(
    node: Mapping[str, Any], definitions: Mapping[str, Any], defaults: Any, prefix: str, *, affects: bool
) -> Iterator[Setting]:
    for name, raw in node.get("properties", {}).items():
        key = f"{prefix}{name}"
        field = _resolved(raw, definitions)
        default = defaults.get(name) if isinstance(defaults, Mapping) else field.get("default")
        required = name in node.get("required", ())
        counts = affects and bool(raw.get("affects_results", field.get("affects_results", True)))
        is_section = "properties" in field
        help_text = " ".join(str(raw.get("description", field.get("description", ""))).split())
        expected, item = describe(field, definitions), _item(field, definitions)
        yield Setting(key, expected, default, help_text, counts, is_section, required, item)
        for inside, nested, nested_defaults in _nested(field, definitions, default):
            yield from _walk(nested, definitions, nested_defaults, f"{key}.{inside}", affects=counts)


def _nested(
    field: Mapping[str, Any], definitions: Mapping[str, Any], default: Any
) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """The groups of settings inside a field: itself, one of its alternatives, its items or values."""
    if "properties" in field:
        yield "", field, default
    for option in field.get("anyOf", ()):
        yield from _nested(_resolved(option, definitions), definitions, None)
    for container in ("items", "additionalProperties"):
        if isinstance(field.get(container), Mapping):
            for inside, nested, nested_defaults in _nested(
                _resolved(field[container], definitions), definitions, None
            ):
                yield f"*.{inside}", nested, nested_defaults


def _item(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str | None:
    for option in (field, *field.get("anyOf", ())):
        for container in ("items", "additionalProperties"):
            inside = option.get(container)
            if isinstance(inside, Mapping) and inside:
                return describe(inside, definitions)
    return None


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    references = [node, *node.get("allOf", ())]
    for part in references:
        if "$ref" in part:
            target = definitions[part["$ref"].rsplit("/", 1)[-1]]
            return {**target, **{key: value for key, value in node.items() if key not in {"$ref", "allOf"}}}
    return node


def describe(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """The type and limits of a JSON schema node in words, to follow "must be"."""
    field = _resolved(field, definitions)
    if "anyOf" in field:
        options = [describe(option, definitions) for option in field["anyOf"]]
        return listed(dict.fromkeys(options), "or")
    if "const" in field:
        return str(field["const"])
    if "enum" in field:
        return listed([str(value) for value in field["enum"]], "or")
    kind = field.get("type")
    if kind in {"integer", "number"}:
        return _number(field, "a whole number" if kind == "integer" else "a number")
    if kind == "array":
        item = describe(field.get("items", {}), definitions)
        size = field.get("minItems")
        exact = f" of {size}" if size and size == field.get("maxItems") else ""
        plural = {"text": "text", "a number": "numbers", "a whole number": "whole numbers"}.get(item)
        return f"a list{exact}" + (
            f" of {plural}" if plural and not exact else f" {plural}" if plural else ""
        )
    words = {"boolean": "true or false", "string": "text", "object": "a mapping", "null": "null"}
    return words.get(str(kind), "a value")


def _number(field: Mapping[str, Any], noun: str) -> str:
    low, above = field.get("minimum"), field.get("exclusiveMinimum")
    high, below = field.get("maximum"), field.get("exclusiveMaximum")
    limits = []
    if low is not None:
        limits.append(f"of at least {low}")
    if above is not None:
        limits.append(f"above {above}")
    if high is not None and high != LARGEST_COUNT:
        limits.append(f"of at most {high}" if not limits else f"at most {high}")
    if below is not None:
        limits.append(f"below {below}")
    return f"{noun} {' and '.join(limits)}" if limits else noun
