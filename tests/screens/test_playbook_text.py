"""Playbooks as rows of text: every one of them, in every width."""

from __future__ import annotations

from importlib import resources

import pytest

from tui_trainer.screens.playbooks import column_widths, markdown_rows, playbook_rows, playbook_text
from tui_trainer.screens.wrapping import row_width, wrap_runs

CODES = sorted(
    file.name.removesuffix(".md")
    for file in resources.files("tui_trainer.diagnostics").iterdir()
    if file.name.endswith(".md") and file.name != "README.md"
)


def lines(text, width=40):
    return ["".join(part for part, _ in row).rstrip() for row in markdown_rows(text, width)]


@pytest.mark.parametrize("width", [30, 56, 76, 120])
@pytest.mark.parametrize("code", CODES)
def test_every_playbook_fits_whole(code, width):
    rows = playbook_rows(code, width)
    assert max(map(row_width, rows)) <= width
    shown = "".join("".join(part for part, _ in row) for row in rows)
    for word in playbook_text(code).replace("`", "").replace("*", "").replace("|", " ").split():
        if word.isalpha() and len(word) < 12 and width > 30:  # narrower, words of narrow columns are broken
            assert word in shown


@pytest.mark.parametrize(
    "code", ["../pyproject", "README", "nan_loss.md", "", "x" * 100, "[/red]", "no_such"]
)
def test_only_playbooks_are_read(code):
    assert playbook_text(code) is None
    assert "no playbook" in playbook_rows(code, 40)[0][0][0]


def test_headings_lists_and_code():
    text = "# Title\n\nSome `code` and **strong**\nwords.\n\n- one\n- two that is long enough to go on\n  1. inner\n\n"
    text += "```\na  b\n```\n"
    assert lines(text, 24) == [
        "Title", "", "Some code and strong", "words.", "", "• one", "• two that is long", "  enough to go on",
        "  1. inner", "", "  a  b",
    ]  # fmt: skip
    roles = dict(part for row in markdown_rows(text, 60) for part in row)
    assert (roles["code"], roles["strong"], roles["Title"]) == ("code", "strong", "strong")


def test_a_table_stands_in_columns():
    text = "| a | long words in here |\n|---|---|\n| `x_y` | and some more of them |\n"
    assert lines(text, 24) == [
        "a   │ long words in here", "────┼───────────────────", "x_y │ and some more of", "    │ them",
    ]  # fmt: skip


def test_the_branches_of_a_tree_go_on_beside_what_is_wrapped():
    text = "```\n├ yes → repair the data and start again\n└ no → the next\n```\n"
    assert lines(text, 30) == ["  ├ yes → repair the data and", "  │   start again", "  └ no → the next"]


def test_names_are_broken_at_their_joints():
    assert [text for ((text, _),) in wrap_runs([("optimizer.learning_rate", "code")], 14)] == [
        "optimizer.", "learning_rate",
    ]  # fmt: skip


def test_columns_take_what_they_want_and_share_the_rest():
    def cells(*texts):
        return [[(text, "text")] for text in texts]

    assert column_widths([cells("a", "bb")], 80) == [1, 2]
    narrow = column_widths([cells("name", "many words " * 9), cells("other", "few")], 40)
    assert narrow[0] == 5
    assert sum(narrow) + 3 <= 40
    assert column_widths([cells("x" * 30, "y" * 30, "z" * 30)], 20) == [4, 4, 4]


def test_markup_of_other_kinds_is_text():
    assert lines("[red]no[/red] <b>x</b>") == ["[red]no[/red] <b>x</b>"]
