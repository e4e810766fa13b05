"""The templates and the design guide: valid, complete, and in step with the schema."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tui_trainer
from tui_trainer.config.loading import dump_config, load_config, parse_config
from tui_trainer.config.reference import END, START, schema_table, with_schema_table

if TYPE_CHECKING:
    from tui_trainer.config.schema import Config

FOLDER = Path(tui_trainer.__file__).parent / "configs"
TEMPLATES = ["baseline_template.yaml", "tuning_template.yaml", "production_template.yaml"]


def load(name: str) -> Config:
    return load_config(FOLDER / name).config


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_is_valid_and_survives_writing_out(path: Path) -> None:
    config = load_config(path).config
    assert parse_config(dump_config(config)) == config


@pytest.mark.parametrize("name", ["digits_baseline.yaml", *TEMPLATES])
def test_every_template_follows_the_practices(name: str) -> None:
    config = load(name)
    assert config.seed == 42
    assert config.deterministic
    assert config.data.test_fraction == 0.15
    assert config.early_stopping.enabled
    assert config.checkpoint.save_best
    assert config.checkpoint.save_last
    assert config.checkpoint.checkpoint_every_n_epochs is not None
    assert config.targets is not None
    assert (FOLDER / name).read_text().count("checkpoint_every_n_epochs") == 1


def test_the_baseline_is_short_and_careful() -> None:
    for name in ("digits_baseline.yaml", "baseline_template.yaml"):
        config = load(name)
        assert (config.optimizer.learning_rate, config.training.epochs) == (1e-3, 20)
        assert (config.early_stopping.patience, config.checkpoint.checkpoint_every_n_epochs) == (10, 5)


def test_the_search_prunes_and_confirms() -> None:
    study = load("tuning_template.yaml").study
    assert study is not None
    assert study.space["optimizer.learning_rate"].log_uniform == [1e-5, 1e-1]
    assert study.space["data.batch_size"].categorical == [16, 32, 64, 128]
    assert (study.sampler.target, study.pruner.target) == ("tpe", "median")
    assert study.seeds >= 3


def test_production_is_long_patient_and_keeps_the_best_three() -> None:
    config = load("production_template.yaml")
    assert 100 <= config.training.epochs <= 200
    assert config.early_stopping.patience == 20
    assert config.checkpoint.keep_best_n == 3


def test_the_bundled_config_asks_nobody() -> None:
    config = load("digits_baseline.yaml")
    assert config.targets is not None
    assert (config.targets.metric, config.targets.at_least) == ("val_accuracy", 0.75)
    assert {"intended_use", "target_metric", "decision"} <= set(config.gates.sign)


def test_the_guide_holds_the_current_table_of_settings() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert START in text
    assert END in text
    assert schema_table() in text, "run: python -m tui_trainer.config.reference configs/README.md"
    assert with_schema_table(text) == text


def test_the_examples_in_the_guide_are_valid() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    examples = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "…" not in block]
    assert len(examples) >= 2
    for example in examples:
        parse_config(example)


def test_the_link_at_the_root_leads_to_the_templates() -> None:
    link = FOLDER.parents[1] / "configs"
    if not (FOLDER.parents[1] / "pyproject.toml").exists():
        pytest.skip("installed without its checkout")
    assert link.resolve() == FOLDER.resolve()
