"""A playbook says what its rule does: all sections are there, the thresholds are the code's, and so are the fixes."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import tui_trainer.diagnostics as package
from tui_trainer.diagnostics.registry import CODES, own_rules

FOLDER = Path(package.__file__).parent
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
THERE = [code for code in CODES if code in {item.name for item in pkgutil.iter_modules([str(FOLDER)])}]
RULES = sorted(own_rules())


def playbook(code: str) -> str:
    return (FOLDER / f"{code}.md").read_text(encoding="utf-8")


def section(code: str, title: str) -> str:
    text = playbook(code)
    _, found, rest = text.partition(f"\n## {title}\n")
    assert found, f"{code}.md has no section {title}"
    return rest.partition("\n## ")[0]


@pytest.mark.parametrize("code", THERE)
def test_every_section_is_there_in_order(code: str) -> None:
    found = [line[3:] for line in playbook(code).splitlines() if line.startswith("## ")]
    assert found == list(SECTIONS)
    assert all(section(code, title).strip() for title in SECTIONS)


@pytest.mark.parametrize("code", THERE)
def test_it_opens_with_its_code_and_a_word_for_those_in_a_hurry(code: str) -> None:
    head, _, rest = playbook(code).partition("\n")
    assert head.startswith(f"# {code}: ")
    assert rest.lstrip().startswith("**In a hurry**: ")


@pytest.mark.parametrize("code", RULES)
def test_the_trigger_states_the_thresholds_of_the_code(code: str) -> None:
    stated = {
        name: float(value)
        for name, value in re.findall(r"`([a-z_]+) = ([-+0-9.e]+)`", section(code, "Trigger"))
    }
    assert stated == {name: float(value) for name, value in own_rules()[code].thresholds.items()}


@pytest.mark.parametrize("code", RULES)
def test_the_fixes_are_those_of_the_code(code: str) -> None:
    """The first cell of a row names the fixes that the code offers; a row without a name is for people alone."""
    rows = [
        line for line in section(code, "Fixes, in the order to try them").splitlines() if line.startswith("|")
    ]
    known = set(own_rules()[code].fix_ids)
    assert known, f"{code} offers nothing"
    first_cells = " ".join(row.split("|")[1] for row in rows)
    assert set(re.findall(r"`([a-z][a-z0-9_]*)`", first_cells)) == known


@pytest.mark.parametrize("code", THERE)
def test_links_lead_somewhere(code: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", playbook(code)):
        assert target.startswith("https://") or (FOLDER / target).exists(), target


@pytest.mark.parametrize("code", THERE)
def test_the_index_names_it(code: str) -> None:
    assert f"| [{code}]({code}.md) |" in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_nothing_else_calls_itself_a_playbook() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} - {"README"} <= set(CODES)


def test_rules_are_found_where_their_code_says() -> None:
    for code, rule in own_rules().items():
        assert rule is getattr(importlib.import_module(f"tui_trainer.diagnostics.{code}"), rule.__name__)
