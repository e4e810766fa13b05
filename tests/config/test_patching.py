"""A setting changed in a config's text: what a person wrote around it stays."""

from __future__ import annotations

from importlib import resources

import pytest

from tui_trainer.config.loading import change_config, parse_config
from tui_trainer.config.patching import patched_text

TEXT = """\
# my config
name: mine      # a name
seed: 42

data:           # what is learned from
  target: digits
  args: {}
  batch_size: 32    # small

model: {target: mlp, args: {hidden: [128]}}  # a net
metrics:
- accuracy
- f1
notify: |
  echo one
# the end
targets:
"""


def changed(text: str, *overrides: str) -> str:
    wanted = change_config(parse_config(text), overrides)
    result = patched_text(text, wanted)
    assert parse_config(result) == wanted
    return result


@pytest.mark.parametrize(
    ("override", "old", "new"),
    [
        ("seed=7", "seed: 42\n", "seed: 7\n"),
        ("data.batch_size=64", "batch_size: 32    # small", "batch_size: 64    # small"),
        ("model.args.hidden=[64, 32]", "{hidden: [128]}", "{hidden: [64, 32]}"),
        ("model.freeze=[a, 'b, c']", "[128]}}", "[128]}, freeze: [a, 'b, c']}"),
        ("data.val_fraction=0.3", "32    # small\n", "32    # small\n  val_fraction: 0.3\n"),
        ("metrics=[f1]", "metrics:\n- accuracy\n- f1\n", "metrics: [f1]\n"),
        (
            "targets={metric: val_loss, at_most: 1.0}",
            "targets:\n",
            "targets: {metric: val_loss, at_most: 1.0}\n",
        ),
        ("notify=echo two", "notify: |\n  echo one\n", "notify: echo two\n"),
        ("data.args.image=true", "args: {}", "args: {image: true}"),
    ],
)
def test_only_the_setting_changes(override, old, new):
    assert TEXT.count(old) == 1
    assert changed(TEXT, override) == TEXT.replace(old, new)


def test_a_group_that_is_not_there_comes_last():
    assert changed(TEXT, "optimizer.learning_rate=0.01").startswith(TEXT.rstrip())


def test_several_settings_at_once_and_a_null():
    result = changed(TEXT, "seed=1", "metrics=null", "training.epochs=2", "checkpoint.keep_last_n=3")
    assert "# my config" in result
    assert "# the end" in result


def test_what_cannot_be_patched_is_written_anew():
    text = "name: a\nx-none: &one {target: digits, batch_size: 4}\n".replace("x-none", "data")
    text += "optimizer: {learning_rate: 0.1}\n"
    assert changed(text, "data.batch_size=8")
    merged = "data: &d {batch_size: 4}\nmodel: {target: mlp}\n"
    assert changed(merged, "data.batch_size=8")


@pytest.mark.parametrize(
    "name", ["digits_baseline", "baseline_template", "production_template", "tuning_template"]
)
def test_templates_keep_their_comments(name):
    text = (resources.files("tui_trainer") / "configs" / f"{name}.yaml").read_text()
    result = changed(
        text, "training.epochs=7", "seed=3", "data.args={image: true}", "monitoring.statistics=['a:b']"
    )
    lost = [line for line in text.splitlines() if line.startswith("#") and line not in result]
    assert lost == []
