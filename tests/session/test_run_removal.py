"""Deleting a run: exactly that folder, and only when nothing speaks against it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.screens.run_folders import finished, write_run
from tests.session.test_run_index import held
from tui_trainer.config.errors import RunFolderError
from tui_trainer.session.run_removal import remove_run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    finished(tmp_path / "runs" / "a")
    finished(tmp_path / "runs" / "b")
    return tmp_path / "runs"


def names(root: Path) -> list[str]:
    return sorted(item.name for item in root.iterdir())


def test_the_folder_goes_and_nothing_else(runs: Path) -> None:
    outside = runs.parent / "outside"
    outside.mkdir()
    (outside / "data.csv").write_text("1,2,3")
    (runs / "a" / "link").symlink_to(outside)
    (runs / "a" / "file").symlink_to(outside / "data.csv")
    remove_run(runs / "a", "id-a", roots=[runs])
    assert names(runs) == ["b"]
    assert (outside / "data.csv").read_text() == "1,2,3"


def test_a_damaged_record_can_be_deleted_too(runs: Path) -> None:
    (runs / "a" / "run.json").write_text("{")
    remove_run(runs / "a", "", roots=[runs])
    assert names(runs) == ["b"]


def refused(folder: Path, run_id: str, roots: list[Path], present: Path | None = None) -> str:
    with pytest.raises(RunFolderError) as caught:
        remove_run(folder, run_id, roots=roots, present=present)
    return str(caught.value)


def test_a_live_run_is_refused(runs: Path) -> None:
    folder = write_run(runs / "c", status="running")
    with held(folder):
        assert "stop it first" in refused(folder, "id-c", [runs])
    assert names(runs) == ["a", "b", "c"]


def test_a_run_whose_lock_is_held_is_refused_whatever_its_record_says(runs: Path) -> None:
    with held(runs / "a"):
        assert "stop it first" in refused(runs / "a", "id-a", [runs])


def test_the_run_of_this_app_is_refused(runs: Path) -> None:
    assert "this app" in refused(runs / "a", "id-a", [runs], present=runs / "." / "a")


def test_a_link_is_refused_and_stays(runs: Path) -> None:
    elsewhere = finished(runs.parent / "elsewhere" / "x")
    (runs / "link").symlink_to(elsewhere)
    (runs / "beside").symlink_to(runs / "a")
    for name, run_id in (("link", "id-x"), ("beside", "id-a")):
        assert "a link to a folder elsewhere" in refused(runs / name, run_id, [runs])
    assert names(runs) == ["a", "b", "beside", "link"]
    assert (elsewhere / "run.json").exists()


def test_what_lies_elsewhere_is_refused(runs: Path) -> None:
    inside = finished(runs / "a" / "inside")
    for folder in (inside, runs, runs.parent, runs / "a" / ".." / ".."):
        assert "not deleted" in refused(folder, "id-a", [runs])
    assert names(runs) == ["a", "b"]


def test_a_folder_without_a_run_is_refused(runs: Path) -> None:
    (runs / "notes").mkdir()
    assert "no run folder" in refused(runs / "notes", "", [runs])


def test_another_run_that_took_the_place_is_refused(runs: Path) -> None:
    assert "another run" in refused(runs / "b", "id-a", [runs])
    assert names(runs) == ["a", "b"]
