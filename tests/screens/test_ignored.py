"""Kinds of diagnostics that a user ignores in all runs."""

from __future__ import annotations

import pytest

from tui_trainer.screens.ignored import IGNORED_FILE, ignore_always, load_ignored


def test_what_is_ignored_is_there_the_next_time(tmp_path):
    folder = tmp_path / "config"
    ignored = load_ignored(folder)
    assert (ignored.codes, ignored.note) == (frozenset(), "")
    ignored = ignore_always(ignored, "overfitting")
    ignored = ignore_always(ignored, "mine.rules:odd")
    assert ignored.codes == load_ignored(folder).codes == {"overfitting", "mine.rules:odd"}


def test_what_the_user_wrote_stays(tmp_path):
    path = tmp_path / IGNORED_FILE
    path.write_text("# my own words\n- slow_convergence  # too noisy\n")
    ignore_always(load_ignored(tmp_path), "overfitting")
    assert path.read_text() == "# my own words\n- slow_convergence  # too noisy\n- overfitting\n"
    ignore_always(load_ignored(tmp_path), "overfitting")
    assert path.read_text().count("overfitting") == 1


def test_a_list_in_another_style_is_written_anew(tmp_path):
    (tmp_path / IGNORED_FILE).write_text("[slow_convergence]\n")
    ignore_always(load_ignored(tmp_path), "overfitting")
    assert load_ignored(tmp_path).codes == {"slow_convergence", "overfitting"}


@pytest.mark.parametrize("text", ["a: b", "- [1]", "just words", "- {", "- 3", "\x00"])
def test_a_file_that_is_no_list_is_told_of_and_left_alone(tmp_path, text):
    path = tmp_path / IGNORED_FILE
    path.write_text(text)
    ignored = load_ignored(tmp_path)
    assert ignored.codes == frozenset()
    assert str(path) in ignored.note
    assert ignore_always(ignored, "overfitting").codes == {"overfitting"}
    assert path.read_text() == text


def test_a_folder_that_cannot_be_written_is_told_of(tmp_path):
    folder = tmp_path / "file"
    ignored = load_ignored(folder)
    folder.write_text("in the way")
    ignored = ignore_always(ignored, "overfitting")
    assert ignored.codes == {"overfitting"}
    assert "until the app closes" in ignored.note


@pytest.mark.parametrize("code", ["", "a b", "- x\n- y", "x" * 200, "[/red]"])
def test_odd_codes_are_not_written(tmp_path, code):
    assert ignore_always(load_ignored(tmp_path), code).codes == frozenset()
    assert not (tmp_path / IGNORED_FILE).exists()
