"""YAML in and out: plain values with the line of each, and errors that show the line.

Read as `yaml.safe_load` would, but: duplicate keys are refused, `1e-3` is a number, dates and `12:30` stay
text, and only what a config can hold is accepted (see `plain`). What `write_yaml` writes, `read_yaml` reads
back equal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tui_trainer.config.errors import ConfigError
from tui_trainer.config.plain import DEEPEST_NESTING, plain_value
from tui_trainer.config.wording import printable, shown

MOST_VALUES = 100_000
"""Values a document may hold once its aliases are written out."""

KeyPath = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"
_BOOL = re.compile(r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF")
_INT = re.compile(r"[-+]?(?:[0-9][0-9_]*|0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+)")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
)
_LINE_MARKS = "\x85\u2028\u2029"
"""Line ends to YAML but not to its emitter, which loses them outside double quotes."""
_NULL = re.compile(r"~|null|Null|NULL|")


@dataclass(frozen=True)
class Document:
    """What a YAML text holds. `lines`: the line (from 1) of each key and list item, by its path."""

    value: Any
    lines: dict[KeyPath, int] = field(default_factory=dict)


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        self.depth += 1
        if self.depth > DEEPEST_NESTING:
            raise yaml.MarkedYAMLError(
                problem=f"values are nested deeper than {DEEPEST_NESTING} levels",
                problem_mark=self.get_mark(),
            )
        node: Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True

    def represent_str(self, data: str) -> ScalarNode:
        style = '"' if any(mark in data for mark in _LINE_MARKS) else None
        return self.represent_scalar(_TAG + "str", data, style=style)

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> SequenceNode:
        flat = not any(isinstance(item, (dict, list)) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=flat or flow_style)


_Dumper.add_representer(str, _Dumper.represent_str)
_Loader.yaml_implicit_resolvers = {}
for _kind, _pattern, _first in (
    ("bool", _BOOL, "yYnNtTfFoO"),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+0123456789."),
    ("null", _NULL, ["~", "n", "N", ""]),
):
    _whole = re.compile(rf"^(?:{_pattern.pattern})$")
    _Loader.add_implicit_resolver(_TAG + _kind, _whole, list(_first))
    _Dumper.add_implicit_resolver(_TAG + _kind, _whole, list(_first))
_Loader.add_implicit_resolver(_TAG + "merge", re.compile(r"^<<$"), ["<"])


def read_yaml(text: str, source: str) -> Document:
    """The document in `text`; raises ConfigError naming `source` (a file, or the flag it came from) and
    line."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_syntax_error(error, text, source)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{source}:{line}: there is a character that YAML does not allow (code {error.character:#x}); "
            "is this a YAML text file?"
        ) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ConfigError(f"{source}: this is not valid YAML: {printable(str(error))}") from error
    if node is None:
        return Document(None)
    builder = _Builder(source)
    return Document(builder.build(node, ()), builder.lines)


def write_yaml(value: Any) -> str:
    """`value` (plain, see `plain`) as YAML text in the order given."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def write_flow(value: Any) -> str:
    """`value` (plain) as YAML on one line, as it may stand behind a key or inside brackets."""
    text: str = yaml.dump(
        [value], Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=True, width=10**9
    )
    return text.strip().removeprefix("[").removesuffix("]")


def compose(text: str) -> Node | None:
    """The nodes of a text that `read_yaml` has read, with the place of each."""
    return _Loader(text).get_single_node()


class _Builder:
    """Values from YAML nodes, with the line of each."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines: dict[KeyPath, int] = {}
        self.count = 0
        self.open_nodes: set[int] = set()

    def build(self, node: Node, path: KeyPath) -> Any:
        self.count += 1
        if self.count > MOST_VALUES:
            raise self.error(
                node, f"the aliases (*name) of this file stand for more than {MOST_VALUES:,} values"
            )
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, ScalarNode):
            return self.scalar(node)
        if id(node) in self.open_nodes:
            raise self.error(node, "an alias (*name) stands inside what it refers to")
        if len(path) > DEEPEST_NESTING:
            raise self.error(node, f"values are nested deeper than {DEEPEST_NESTING} levels")
        self.open_nodes.add(id(node))
        try:
            return self.collection(node, path)
        finally:
            self.open_nodes.discard(id(node))

    def collection(self, node: Node, path: KeyPath) -> Any:
        if isinstance(node, SequenceNode) and node.tag == _TAG + "seq":
            return [self.build(item, (*path, position)) for position, item in enumerate(node.value)]
        if isinstance(node, MappingNode) and node.tag == _TAG + "map":
            return self.mapping(node, path)
        raise self.error(node, f"the tag {shown(node.tag)} is not allowed; a config holds plain values only")

    def mapping(self, node: MappingNode, path: KeyPath) -> dict[str | int, Any]:
        merged: dict[str | int, Any] = {}
        own: dict[str | int, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                for source in value_node.value if isinstance(value_node, SequenceNode) else [value_node]:
                    if not isinstance(source, MappingNode):
                        raise self.error(key_node, "`<<` takes a mapping, or a list of mappings")
                    for key, value in self.build(source, path).items():
                        merged.setdefault(key, value)
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                continue
            key = self.key(key_node)
            line = key_node.start_mark.line + 1
            if key in own:
                first = self.lines[(*path, key)]
                raise self.error(
                    key_node, f"the key {shown(key)} stands here again; it is on line {first} already"
                )
            self.forget(path, key)
            self.lines[(*path, key)] = line
            own[key] = self.build(value_node, (*path, key))
        return {**merged, **own}

    def forget(self, path: KeyPath, key: str | int) -> None:
        """Drop the lines that a merged mapping left for a key that is written out here."""
        start = (*path, key)
        if start in self.lines:
            self.lines = {known: line for known, line in self.lines.items() if known[: len(start)] != start}

    def key(self, node: Node) -> str | int:
        value = self.scalar(node) if isinstance(node, ScalarNode) else None
        if isinstance(value, bool) and isinstance(node, ScalarNode):
            raise self.error(
                node, f"YAML reads the key {shown(node.value)} as {shown(value)}; put it in quotes"
            )
        if not isinstance(value, (str, int)):
            found = shown(node.value) if isinstance(node, ScalarNode) else "a list or mapping"
            raise self.error(node, f"a key must be text, not {found}")
        return value

    def scalar(self, node: ScalarNode) -> Any:
        text = node.value
        try:
            return plain_value(_scalar(node.tag, text))
        except (ValueError, OverflowError) as error:
            raise self.error(node, f"the value {shown(text)} {error}") from error

    def error(self, node: Node, message: str) -> ConfigError:
        return ConfigError(f"{self.source}:{node.start_mark.line + 1}: {message}.")


def _scalar(tag: str, text: str) -> Any:
    kind = tag.removeprefix(_TAG)
    if kind in {"str", "merge"}:
        return text
    if kind == "null" and _NULL.fullmatch(text):
        return None
    if kind == "bool" and _BOOL.fullmatch(text):
        return text.lower() in {"yes", "true", "on"}
    if kind == "int" and _INT.fullmatch(text):
        return _whole_number(text.replace("_", "").lower())
    if kind == "float" and (_FLOAT.fullmatch(text) or _INT.fullmatch(text)):
        return float(re.sub(r"\.(?=inf|nan)", "", text.replace("_", "").lower()))
    raise ValueError(f"has the tag {shown(tag)}, which is not allowed here; a config holds plain values only")


def _whole_number(digits: str) -> int:
    if len(digits) > 100:
        raise ValueError("holds an integer of more than 64 bits")
    return int(digits, 0) if digits.lstrip("+-")[:2] in {"0x", "0o", "0b"} else int(digits)


def _syntax_error(error: yaml.MarkedYAMLError, text: str, source: str) -> str:
    lines = text.splitlines() or [""]
    mark, began = error.problem_mark or error.context_mark, error.context_mark
    context = error.context
    if mark is not None and began is not None and began.line < mark.line:
        if mark.line >= len(lines):  # the end of the file tells nothing; what was never closed does
            mark = began
        else:
            context = f"{context} that begins on line {began.line + 1}"
    problem = printable(" ".join(part for part in (context, error.problem) if part)) or "it cannot be read"
    if mark is None:
        return f"{source}: this is not valid YAML: {problem}."
    hint = ""
    if "'\\t'" in problem:
        hint = " Indent with spaces, not tabs."
    elif "found character '@'" in problem or "found character '`'" in problem or "'%'" in problem:
        hint = " Put the value in quotes."
    number = min(mark.line, len(lines) - 1)
    line, column = lines[number], mark.column if mark.line < len(lines) else len(lines[-1])
    start = max(0, column - 60)
    part = "".join(c if c.isprintable() else " " for c in line[start : start + 100])
    return (
        f"{source}:{mark.line + 1}:{mark.column + 1}: this is not valid YAML: {problem}.{hint}\n"
        f"    {part}\n    {' ' * (column - start)}^"
    )
