"""What is wrong with a config, in sentences: key, value found, what it must be, and where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui_trainer.config.settings import general_key, setting_at, settings, suggestion
from tui_trainer.config.wording import closest, printable, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import ValidationError

    from tui_trainer.config.yaml_text import KeyPath

MOST_SHOWN = 5

_UNKNOWN = {"extra_forbidden", "invalid_key"}


def explain(error: ValidationError, place_of: Callable[[KeyPath], str]) -> str:
    """One paragraph for all problems, the first five written out. `place_of` tells where a key was
    written."""
    found = error.errors(include_url=False)
    sentences = list(
        dict.fromkeys(_sentence(problem, place_of) for problem in _without_other_branches(found))
    )
    if len(sentences) == 1:
        return sentences[0]
    left_out = len(sentences) - MOST_SHOWN
    more = [f"and {left_out} more"] if left_out > 0 else []
    return "\n".join(
        [f"{len(sentences)} problems:", *(f"  {line}" for line in sentences[:MOST_SHOWN] + more)]
    )


def _without_other_branches(found: list[Any]) -> list[Any]:
    """Where a value may be one of several types, only what concerns the type that was given."""
    paths = [_config_path(problem) for problem in found]
    return [
        problem
        for problem, path in zip(found, paths, strict=True)
        if not any(len(other) > len(path) and other[: len(path)] == path for other in paths)
    ]


def _config_path(problem: Any) -> KeyPath:
    """pydantic's location without what it mixes in: names of union members, and `[key]` for a key itself."""
    location = tuple(part for part in problem["loc"] if part != "[key]" or problem["type"] in _UNKNOWN)
    end = len(location) - 1 if problem["type"] in _UNKNOWN else len(location)
    path: list[str | int] = []
    for part in location[:end]:
        chosen_by_user = ".".join(map(str, path)).startswith(
            ("diagnostics.thresholds", "gates.", "study.space")
        )
        if chosen_by_user or not isinstance(part, str) or not _names_a_type(part):
            path.append(part)
    return (*path, *location[end:])


def _names_a_type(part: str) -> bool:
    return part in {"str", "bool", "int", "float"} or part.endswith("Config") or "[" in part or "(" in part


def _sentence(problem: Any, place_of: Callable[[KeyPath], str]) -> str:
    path = _config_path(problem)
    key = ".".join(str(part) for part in path) or "the config"
    kind, value = problem["type"], problem["input"]
    if kind in _UNKNOWN:
        text = _unknown(path)
    elif problem["loc"][-1:] == ("[key]",):
        text = f"{'.'.join(map(str, path[:-1]))} has the key {shown(value)}, but a key must be text"
    elif kind == "missing":
        text = f"{key} is missing; it must be {_expected(path, problem)}"
    elif kind != "value_error":
        text = f"{key} is {shown(value)}, but it must be {_expected(path, problem)}"
    elif isinstance(value, str):
        text = f"{key} is {shown(value)}, but it {printable(str(problem['ctx']['error']))}"
    else:
        text = f"{key} {printable(str(problem['ctx']['error']))}"
    return f"{place_of(path)}: {text}{'' if text.endswith('?') else '.'}"


def _expected(path: KeyPath, problem: Any) -> str:
    kind = problem["type"]
    if kind == "less_than_equal":
        return f"at most {problem['ctx']['le']}"
    if kind == "finite_number":
        return "a finite number"
    known, holder = setting_at(path), setting_at(path[:-1])
    words = known.expected if known else holder.item if holder else None
    if words is None:
        words = _TYPES.get(kind, printable(problem["msg"]))
    return (
        f"{words}, and not empty"
        if kind in {"too_short", "string_too_short"} and "list of" not in words
        else words
    )


_TYPES = {
    "float_type": "a number",
    "int_type": "a whole number",
    "string_type": "text",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "list_type": "a list",
}


def _unknown(path: KeyPath) -> str:
    key = ".".join(str(part) for part in path)
    parent, general_parent = ".".join(map(str, path[:-1])), general_key(path[:-1])
    known = list(settings())
    siblings = [item.rpartition(".")[2] for item in known if item.rpartition(".")[0] == general_parent]
    match = closest(str(path[-1]), siblings)
    if match:
        hint = f"; did you mean {parent + '.' if parent else ''}{match}?"
    else:
        hint = suggestion(key, known) or f"; known here: {', '.join(siblings)}"
    return f"there is no setting {shown(key)}{hint}"
