"""`mltrainer-tui init`: a project that trains at once, and that never overwrites anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runs import metric_log, train
from tui_trainer.config.errors import ConfigError
from tui_trainer.config.loading import load_config
from tui_trainer.phases.scaffold import TEMPLATES, main, project_config, write_project


def test_a_new_project_trains_at_once_from_anywhere(tmp_path: Path) -> None:
    assert main([str(tmp_path / "digits project")]) == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    config = tmp_path / "digits project" / "config.yaml"
    run = tmp_path / "run"
    train(
        "--config", config, "--set", "training.epochs=1", "--output-dir", run, cwd=elsewhere, gate=True
    )  # its notes pass the gate as they are
    (row,) = metric_log(run)
    assert float(row["val_accuracy"]) > 0.5
    assert "Architecture: Net" in (run / "training.log").read_text()


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_template_names_the_projects_own_data_and_model(template: str, tmp_path: Path) -> None:
    write_project(tmp_path / "p", name="churn", template=template)
    config = load_config(tmp_path / "p" / "config.yaml").config
    plain = load_config(Path("tui_trainer/configs") / f"{template}_template.yaml").config
    assert (config.name, config.data.target, config.model.target) == ("churn", "data:make_data", "model:Net")
    assert config.model.args == {"hidden": 128}
    assert config.gates.sign.keys() == {"intended_use", "target_metric", "decision"}
    kept = {"optimizer", "scheduler", "training", "early_stopping", "checkpoint", "targets", "study", "seed"}
    assert config.model_dump(include=kept) == plain.model_dump(include=kept)
    assert "Copy this file" not in project_config("churn", template)


def test_what_is_there_already_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("mine")
    (tmp_path / ".gitignore").write_text("mine")
    with pytest.raises(ConfigError, match=r"already holds model\.py and \.gitignore"):
        write_project(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".gitignore", "model.py"]
    assert (tmp_path / "model.py").read_text() == "mine"


def test_a_name_that_is_none_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder name"):
        write_project(tmp_path / "p", name="../x")
    assert not (tmp_path / "p").exists()


def test_the_folder_gives_the_name(tmp_path: Path) -> None:
    write_project(tmp_path / "Müll & Söhne 2")
    assert load_config(tmp_path / "Müll & Söhne 2" / "config.yaml").config.name == "M-ll-S-hne-2"


def test_a_folder_that_cannot_be_made_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written into"):
        write_project(tmp_path / "file" / "p")
