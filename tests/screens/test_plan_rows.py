"""What stands on the Plan screen: rows that fit, whatever the data, the model and the config are called."""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType

import pytest
import sample_plan as plans
from sample_plan import checklist, view

from tui_trainer.config.loading import change_config, parse_config
from tui_trainer.config.settings import settings
from tui_trainer.screens.panels import ASCII, UNICODE
from tui_trainer.screens.phase_header import RUN_ALONE, phase_row
from tui_trainer.screens.plan_form import choices, fields, form_rows, help_rows, next_choice, value_text
from tui_trainer.screens.plan_gate import entry_rows, gate_rows, item_rows, verdict_row
from tui_trainer.screens.plan_panels import data_rows, environment_rows, error_rows, half_blocks, model_rows
from tui_trainer.screens.wrapping import row_width

WIDTHS = [20, 38, 54, 76, 126]
EVIL = "[/red]\x1b[31m\n数据 " + "x" * 300
HOSTILE_DATA = plans.DATA | {
    "task": EVIL, "class_names": [EVIL] * 3, "class_counts": [10**12, 0, 1], "input_shape": [3] * 40,
    "samples": [
        {"row": 0, "target": EVIL, "text": EVIL}, {"row": 1, "target": [1, 2], "numbers": [math.nan, "NaN", 1e300], "count": 9},
        {"row": 2, "target": None, "numbers": [], "count": 0}, {"row": 3, "target": 2, "image": [[math.nan, 2.0, -1.0]]},
    ],
}  # fmt: skip
HOSTILE_MODEL = plans.MODEL | {
    "architecture": EVIL,
    "memory": {"weights": 10**15, "activations": None},
    "more_layers": 12,
    "layers": [
        {"name": EVIL, "kind": EVIL, "parameters": 10**12, "output": [1] * 9},
        {"name": "a", "kind": "b"},
    ],
}
VIEWS = {
    "usual": view(),
    "hostile": view(
        messages=MappingProxyType({"data": HOSTILE_DATA, "model": HOSTILE_MODEL}),
        diagnostics=({"code": EVIL, "severity": "critical", "message": EVIL},),
        error=EVIL,
        trouble=EVIL,
        checklist=checklist(two_runs="failed", splits="waived", seeds="open"),
    ),
    "nothing": view(messages=MappingProxyType({}), checklist=None, loaded=None),
    "texts": view(messages=MappingProxyType({"data": plans.TEXTS, "model": plans.MODEL})),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
def test_rows_fit_and_hold_no_control_characters(name, width, glyphs):
    shown = VIEWS[name]
    rows = [
        *data_rows(shown, width, glyphs),
        *model_rows(shown, width, glyphs),
        *environment_rows(shown, width),
        *error_rows(shown, width),
        *gate_rows(shown, width, glyphs),
        verdict_row(shown, width, glyphs),
        *(
            row
            for entry in (shown.checklist.entries if shown.checklist else ())
            for row in entry_rows(entry, width)
        ),
        *(
            row
            for entry in (shown.checklist.entries if shown.checklist else ())
            for row in item_rows(entry, width, 4)
        ),
    ]
    for row in rows:
        text = "".join(part for part, _ in row)
        assert row_width(row) <= width, text
        assert text.isprintable()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_form_fits_and_every_setting_can_be_typed_again_as_it_is_shown(width):
    config = plans.long_config().config
    shown = fields(config, parse_config("seed: 1\n"), frozenset())
    assert all(row_width(row) <= width for row in form_rows(shown, width, UNICODE))
    for field in shown:
        rows = help_rows(field, view(), width, 4)
        assert 1 <= len(rows) <= 4
        assert all(row_width(row) <= width for row in rows)
        if not field.group:
            assert change_config(config, [f"{field.key}={field.text}"]) == config, field.key


def test_a_group_that_is_null_is_one_row_and_opens_once_it_holds_something():
    null = [field.key for field in fields(parse_config("seed: 1\n"), None, frozenset())]
    assert "targets" in null
    assert "targets.metric" not in null
    filled = [field.key for field in fields(plans.loaded().config, None, frozenset())]
    assert "targets.metric" in filled


def test_space_goes_round_the_choices_of_a_setting():
    def at(config, key):
        return next(field for field in fields(config, None, frozenset()) if field.key == key)

    config = plans.loaded().config
    seen = []
    for _ in range(3):
        seen.append(next_choice(at(config, "training.precision")))
        config = change_config(config, [f"training.precision={seen[-1]}"])
    assert seen == ["bf16", "fp16", "fp32"]
    assert next_choice(at(config, "training.epochs")) is None


def test_choices_are_words_that_the_schema_takes():
    found = {key: choices(item) for key, item in settings().items() if choices(item) and "*" not in key}
    assert found["deterministic"] == ["true", "false"]
    assert "model.init_from" not in found  # text or null is open
    config = plans.loaded().config
    for key, words in found.items():
        if key.startswith("study"):
            continue
        for word in words:
            change_config(config, [f"{key}={word}"])


@pytest.mark.parametrize(
    "value", ["a, b", "null", "1e-3", "", "x: y", [1, "a]"], {"k": None}, 1e-6, True, None]
)
def test_a_value_is_shown_as_it_can_be_typed(value):
    from tui_trainer.config.yaml_text import read_yaml

    assert read_yaml(value_text(value), "x").value == value


def test_two_pixels_share_a_cell():
    (row,) = half_blocks([[0.0] * 8, [1.0] * 8], UNICODE)
    assert row == tuple([("▀", "grey-0-15")] * 8)
    (row,) = half_blocks([[1.0] * 8, [1.0] * 8], ASCII)
    assert row == (("########", "text"),)


@pytest.mark.parametrize("width", [20, 60, 80, 100, 140])
def test_the_header_keeps_the_phase_in_front(width):
    marks = ("passed", "here", "later", "later", "later")
    row = phase_row("a-name" * 20, [("training", "good")], width, UNICODE, marks=marks, here=1)
    text = "".join(part for part, _ in row)
    assert row_width(row) <= width
    assert width < 80 or "F1 Plan" in text
    assert width < 80 or "✓" in text
    assert "✓" not in "".join(part for part, _ in phase_row("a", [], width, UNICODE, marks=RUN_ALONE))


def test_a_verdict_names_the_next_key():
    def said(**changes):
        return "".join(part for part, _ in verdict_row(replace(view(), **changes), 200, UNICODE))

    assert "F2 begins the baseline" in said()
    assert "1 waived" in said(checklist=checklist(splits="waived"))
    assert "to sign (s): intended_use" in said(checklist=checklist(intended_use="open"))
    assert "failed: two_runs" in said(checklist=checklist(two_runs="failed"))
    assert "in a moment" in said(checklist=checklist(two_runs="open"), outdated=True)
    assert "F2 shows the run" in said(run="live")
    assert "gates.yaml cannot be written" in said(trouble="gates.yaml cannot be written")
