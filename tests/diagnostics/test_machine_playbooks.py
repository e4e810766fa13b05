"""Playbooks of the rules about the machine say what their rules do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tui_trainer.diagnostics
from tui_trainer.diagnostics.hang import Hang
from tui_trainer.diagnostics.memory_leak import MemoryLeak
from tui_trainer.diagnostics.out_of_memory import OutOfMemory
from tui_trainer.diagnostics.resource_inefficiency import ResourceInefficiency

FOLDER = Path(tui_trainer.diagnostics.__file__).parent
RULES = (Hang, MemoryLeak, OutOfMemory, ResourceInefficiency)
SECTIONS = (
    "Trigger",
    "Symptoms",
    "How to confirm",
    "Causes, and the evidence for each",
    "Fixes, in the order to try them",
    "Decision tree",
    "What to watch afterwards",
    "When it is acceptable",
    "Worked example",
    "Sources",
)


def text_of(code: str) -> str:
    return (FOLDER / f"{code}.md").read_text()


@pytest.mark.parametrize("code", [*(rule.code for rule in RULES), "crash"])
def test_a_playbook_has_all_its_sections_in_order(code):
    text = text_of(code)
    assert text.startswith(f"# {code}: ")
    assert "**In a hurry**" in text
    assert tuple(re.findall(r"^## (.+)$", text, re.MULTILINE)) == SECTIONS
    assert f"({code}.md)" in (FOLDER / "README.md").read_text()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_each_threshold_is_named_with_its_default(rule):
    text = text_of(rule.code)
    trigger = text[text.index("## Trigger") : text.index("## Symptoms")]
    shown = {f"{value:g}" for value in re.findall(r"\d+(?:\.\d+)?", trigger) for value in [float(value)]}
    for name, value in rule.thresholds.items():
        assert re.search(rf"`(?:[\w.]*\.)?{name}(?:(?:: | = )[\d.]+)?`", trigger), name
        assert {f"{value:g}", f"{100 * value:g}"} & shown, (name, value)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_each_fix_is_explained(rule):
    text = text_of(rule.code)
    fixes = text[text.index("## Fixes") : text.index("## Decision tree")]
    assert [name for name in rule.fix_ids if f"| `{name}` |" not in fixes] == []
