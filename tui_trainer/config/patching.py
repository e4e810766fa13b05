"""A config file with some settings changed: comments, order and spelling of everything else stay as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tui_trainer.config.errors import ConfigError
from tui_trainer.config.loading import dump_config, parse_config
from tui_trainer.config.yaml_text import compose, write_flow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tui_trainer.config.schema import Config

Path = tuple[str, ...]


def patched_text(text: str, wanted: Config) -> str:
    """`text`, which is a valid config, changed where it must be to give `wanted`.

    Where that cannot be done place by place (anchors, unusual spellings), every setting is written out anew.
    """
    before = parse_config(text).model_dump(by_alias=True)
    after = wanted.model_dump(by_alias=True)
    try:
        changed = text
        for path, value in differing(before, after):
            changed = _with_value(changed, path, value if "args" in path else _said(value))
        if parse_config(changed) == wanted:
            return changed
    except (ConfigError, IndexError):
        pass
    return dump_config(wanted)


def differing(before: Any, after: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Path and new value of everything that differs between two plain values; mappings with the same keys are looked
    into."""
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        for key, value in after.items():
            yield from differing(before[key], value, (*path, str(key)))
    elif type(before) is not type(after) or before != after:
        yield path, after


def _said(value: Any) -> Any:
    """A group of settings without those that are null, as they are where nothing is said."""
    if isinstance(value, dict):
        return {key: _said(item) for key, item in value.items() if item is not None}
    return value


def _with_value(text: str, path: Path, value: Any) -> str:
    node = compose(text)
    if not isinstance(node, MappingNode):
        return f"{text.rstrip()}\n{write_flow(_nested(path, value))[1:-1]}\n".lstrip()
    for depth, name in enumerate(path):
        entry = _entry(node, name)
        if entry is None:
            return _inserted(text, node, name, _nested(path[depth + 1 :], value))
        key, held = entry
        if depth == len(path) - 1 or not isinstance(held, MappingNode):
            return _replaced(text, key, held, _nested(path[depth + 1 :], value))
        node = held
    return text


def _nested(path: Path, value: Any) -> Any:
    for name in reversed(path):
        value = {name: value}
    return value


def _entry(node: MappingNode, name: str) -> tuple[Node, Node] | None:
    found = [pair for pair in node.value if isinstance(pair[0], ScalarNode) and pair[0].value == name]
    return found[0] if found else None


def _replaced(text: str, key: Node, held: Node, value: Any) -> str:
    new = write_flow(value)
    start, end = held.start_mark.index, _end(held)
    on_one_line = held.start_mark.line == held.end_mark.line
    if on_one_line and end > start:
        return text[:start] + new + text[end:]
    tail = text[max(end, key.end_mark.index) :]
    if end == start:  # nothing stands there
        tail = text[key.end_mark.index :].lstrip(" ").removeprefix(":")
    elif text[end - 1] == "\n":
        tail = "\n" + tail
    return f"{text[: key.end_mark.index]}: {new}{tail}"


def _inserted(text: str, node: MappingNode, name: str, value: Any) -> str:
    """The entry as the last of the mapping."""
    new = f"{write_flow(name)}: {write_flow(value)}"
    if not node.value:
        return text[: node.start_mark.index] + "{" + new + "}" + text[node.end_mark.index :]
    end = _end(node.value[-1][1]) or _end(node.value[-1][0])
    if node.flow_style:
        return f"{text[:end]}, {new}{text[end:]}"
    indent = " " * node.value[0][0].start_mark.column
    if text[end - 1 : end] == "\n":
        return f"{text[:end]}{indent}{new}\n{text[end:]}"
    line_end = text.find("\n", end)
    if line_end < 0:
        return f"{text}\n{indent}{new}\n"
    return f"{text[:line_end]}\n{indent}{new}{text[line_end:]}"


def _end(node: Node) -> int:
    """Where a node's last character stands; a block's own mark lies behind the comments that follow it."""
    index: int = node.end_mark.index
    if isinstance(node, (MappingNode, SequenceNode)) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1]) if isinstance(last, tuple) else _end(last)
    return index
