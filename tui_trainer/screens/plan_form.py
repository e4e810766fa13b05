"""The config as a form: its settings as rows, made from the schema, and what is to be known of each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tui_trainer.screens.wrapping import crop_row, wrap_runs
from tui_trainer.session.wording import cell_width, clean_text, crop

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from tui_trainer.config.schema import Config
    from tui_trainer.config.settings import Setting
    from tui_trainer.screens.canvas import Row
    from tui_trainer.screens.panels import Glyphs
    from tui_trainer.screens.plan_view import PlanView

FOLDED = frozenset({"data.transforms", "checkpoint", "diagnostics", "monitoring", "gates", "study", "remote"})
"""Groups that are shut at first."""

VALUE_KEYS = "Enter takes it, Esc leaves it as it was."
YAML_KEYS = "Esc takes it and shows the form again; ^s saves it."

_CHOICES = re.compile(r"[a-z0-9_]+((, | or )[a-z0-9_]+)+")
_NO_CHOICES = {"text", "null"}
_VALUE_COLUMN, _NARROW_COLUMN = 34, 25  # cells


@dataclass(frozen=True, slots=True)
class Field:
    """One row of the form. `text`: the value as YAML. `changed`: another than the template's."""

    key: str
    label: str
    depth: int
    text: str
    group: bool = False
    folded: bool = False
    changed: bool = False
    usual: bool = True
    """Whether it is the schema's default."""


def fields(config: Config, template: Config | None, folded: AbstractSet[str]) -> list[Field]:
    """The settings that can be seen: those inside a shut group, or of a group that is null, are not."""
    from tui_trainer.config.settings import settings

    known = {key: item for key, item in settings().items() if "*" not in key}
    groups = {key.rpartition(".")[0] for key in known} - {""}
    values = config.model_dump(by_alias=True)
    others = template.model_dump(by_alias=True) if template is not None else values
    seen: list[Field] = []
    open_groups = {""}
    for key, setting in known.items():
        holder, _, label = key.rpartition(".")
        if holder not in open_groups:
            continue
        value, other = _at(values, key), _at(others, key)
        group = key in groups and isinstance(value, dict)
        if group and key not in folded:
            open_groups.add(key)
        seen.append(
            Field(
                key,
                label,
                key.count("."),
                "" if group else value_text(value),
                group,
                key in folded,
                value != other,
                value == setting.default,
            )
        )
    return seen


def field_value(config: Config, key: str) -> Any:
    """The value of a setting."""
    return _at(config.model_dump(by_alias=True), key)


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def value_text(value: Any) -> str:
    """A value as a person types it: YAML on one line, a short text without its quotes where none are needed."""
    from tui_trainer.config.yaml_text import write_flow

    return write_flow(value)


def choices(setting: Setting) -> list[str]:
    """What a setting can be where it is one of a few words; nothing where it is open."""
    if not _CHOICES.fullmatch(setting.expected):
        return []
    words = re.split(r", | or ", setting.expected)
    return [] if _NO_CHOICES & set(words) else words


def next_choice(field: Field) -> str | None:
    """The choice after the present one; None for a field that has no choices."""
    from tui_trainer.config.settings import settings

    known = choices(settings()[field.key])
    if not known:
        return None
    return known[(known.index(field.text) + 1) % len(known)] if field.text in known else known[0]


def value_column(width: int) -> int:
    """Where the values begin."""
    return _VALUE_COLUMN if width >= 52 else min(_NARROW_COLUMN, width // 2)


def form_rows(shown: Sequence[Field], width: int, glyphs: Glyphs) -> list[Row]:
    """A row a field: whether it was changed, its name, its value; defaults are dim."""
    column = value_column(width)
    rows: list[Row] = []
    for field in shown:
        mark = (f"{glyphs.changed} " if field.changed else "  ", "warn")
        indent = "  " * field.depth
        if field.group:
            sign = glyphs.folded if field.folded else glyphs.open
            rows.append(crop_row((mark, (f"{indent}{sign} {field.label}", "heading")), width))
            continue
        label = crop(f"{indent}  {field.label}" if field.depth else f"  {field.label}", column - 3)
        gap = " " * max(1, column - 2 - cell_width(label))
        value = crop(clean_text(field.text), max(0, width - column))
        role = "warn" if field.changed else "dim" if field.usual else "text"
        rows.append((mark, (label + gap, "text"), (value, role)))
    return rows


def help_rows(field: Field, view: PlanView, width: int, height: int) -> list[Row]:
    """What a field is for, what it may be, and what it was."""
    from tui_trainer.config.settings import settings

    setting = settings()[field.key]
    head: Row = ((field.key, "strong"), (f" ({setting.expected})", "dim"))
    notes = []
    if not setting.affects_results and not field.group:
        notes.append("Changes no result.")
    if field.changed and not field.group and view.template is not None:
        was = value_text(_at(view.template.model_dump(by_alias=True), field.key))
        notes.append(f"In {view.template_name}: {clean_text(was, limit=80)}.")
    if known := choices(setting):
        notes.append(f"Space: {', '.join(known)}.")
    rows = wrap_runs(head, width)[:1]
    rows += wrap_runs([(setting.help, "text"), *((f" {note}", "dim") for note in notes)], width)
    if len(rows) > height:
        rows = rows[:height]
        last = "".join(text for text, _ in rows[-1])
        rows[-1] = ((crop(last + " …", width), "text"),)
    return rows


def typing_rows(problem: str | None, width: int, height: int, keys: str = VALUE_KEYS) -> list[Row]:
    """What is said of what is typed: what is wrong with it, else what the `keys` do."""
    if problem is None:
        return wrap_runs([(keys, "good")], width)[:height]
    return wrap_runs([(clean_text(problem, limit=600), "bad")], width)[:height]
