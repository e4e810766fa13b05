"""The schema: defaults, types and ranges, what counts for results."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from tui_trainer.config.errors import ConfigError
from tui_trainer.config.hashing import config_hash, differing_keys, result_fields
from tui_trainer.config.loading import parse_config
from tui_trainer.config.schema import Config, ModelConfig, SchedulerConfig, TargetConfig, target_of
from tui_trainer.config.settings import settings


def message_of(text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, source="c.yaml", overrides=overrides)
    return str(caught.value)


def test_a_config_may_hold_just_a_name() -> None:
    config = parse_config("name: mine")
    assert config.name == "mine"
    assert (config.seed, config.deterministic, config.device) == (42, True, "auto")
    assert (config.data.target, config.data.val_fraction, config.data.batch_size) == ("digits", 0.2, 32)
    assert (config.model.target, config.model.args) == ("mlp", {"hidden": [128]})
    assert (config.optimizer.target, config.optimizer.learning_rate) == ("adam", 1e-3)
    assert config.scheduler.args == {"patience": 5, "factor": 0.5, "min_lr": 1e-6}
    assert (config.training.epochs, config.training.precision) == (20, "fp32")
    assert (config.early_stopping.patience, config.early_stopping.monitor) == (10, "val_loss")
    assert (config.checkpoint.save_best, config.checkpoint.save_last) == (True, True)
    assert config.checkpoint.checkpoint_every_n_epochs == 5
    assert (config.loss.target, config.metrics, config.targets, config.study) == (None, None, None, None)


def test_defaults_pass_their_own_validation() -> None:
    assert parse_config(Config().model_dump(by_alias=True)) == Config()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("training: {epochs: '5'}", "training.epochs is '5', but it must be a whole number of at least 1"),
        ("training: {epochs: 2.5}", "training.epochs is 2.5, but it must be a whole number"),
        ("training: {epochs: 0}", "training.epochs is 0, but it must be a whole number of at least 1"),
        ("data: {batch_size: true}", "data.batch_size is true, but it must be a whole number of at least 1"),
        (
            "data: {val_fraction: 1.0}",
            "data.val_fraction is 1.0, but it must be a number of at least 0 and below 1",
        ),
        ("data: {val_fraction: -0.1}", "at least 0 and below 1"),
        ("data: {val_fraction: 0.5, test_fraction: 0.5}", "leaves nothing to train on"),
        ("optimizer: {learning_rate: 0}", "optimizer.learning_rate is 0, but it must be a number above 0"),
        ("optimizer: {learning_rate: .nan}", "only finite numbers"),
        ("optimizer: {learning_rate: .inf}", "only finite numbers"),
        ("optimizer: {args: {eps: [1, .inf]}}", "only finite numbers"),
        ("device: gpu", "auto, cpu, cuda, cuda:N"),
        ("device: cuda:-1", "auto, cpu, cuda, cuda:N"),
        ("training: {precision: fp64}", "fp32, bf16 or fp16"),
        ("seed: -1", "a whole number of at least 0"),
        ("seed: 4294967296", "at most 4294967295"),
        ("name: ../x", "usable as a folder name"),
        ("name: .hidden", "usable as a folder name"),
        ("name: ''", "usable as a folder name"),
        ("name: 12", "name is 12, but it must be text"),
        (f"name: {'x' * 101}", "100 characters at most"),
        ("training:", "training is null, but it must be a mapping"),
        ("metrics: accuracy", "metrics is 'accuracy', but it must be a list or null"),
        ("metrics: [accuracy, 4]", "metrics.1 is 4, but it must be text or a mapping"),
        ("metrics: [{name: x}]", "metrics.0.target is missing"),
        ("targets: {metric: val_accuracy}", "either at_least or at_most"),
        ("targets: {metric: val_accuracy, at_least: 1, at_most: 2}", "either at_least or at_most"),
        ("remote: {host: -oProxyCommand=x}", "a host name"),
        ("gates: {sign: {intended_use: ''}}", "must be text, and not empty"),
        ("gates: {waive: {seeds: '  '}}", "gates.waive says nothing of seeds: write the reason"),
        ("gates: {waive: {two_run: x}}", "no such item of a gate; did you mean two_runs?"),
        ("gates: {sign: {seeds: fine}}", "which the program checks and nobody signs"),
        ("gates: {sign: {all: fine}}", "gates.sign names 'all', which is no such item"),
        ("data: {args: {1: 2}}", "data.args has the key 1, but a key must be text"),
    ],
)
def test_wrong_values_are_refused_in_words(text: str, expected: str) -> None:
    message = message_of(text)
    assert expected in message
    assert message.startswith("c.yaml:1")
    assert "pydantic" not in message
    assert "Config" not in message


def test_whole_numbers_do_for_floats_but_not_the_other_way() -> None:
    config = parse_config("optimizer: {learning_rate: 1}\ncheckpoint: {checkpoint_every_n_minutes: 3}")
    assert config.optimizer.learning_rate == 1.0
    assert isinstance(config.checkpoint.checkpoint_every_n_minutes, float)
    assert "whole number" in message_of("training: {epochs: 20.0}")


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Config().seed = 3


def test_usual_arguments_belong_to_their_built_in_target_only() -> None:
    assert SchedulerConfig(args={"patience": 2}).args == {"patience": 2, "factor": 0.5, "min_lr": 1e-6}
    assert SchedulerConfig(target="cosine").args == {}
    assert ModelConfig(target="cnn").args == {}
    assert ModelConfig(args={"dropout": 0.1}).args == {"hidden": [128], "dropout": 0.1}


def test_a_null_schedule_is_none() -> None:
    assert parse_config("scheduler: {target: null}").scheduler.target == "none"


def test_references_have_one_long_form() -> None:
    assert target_of("my:f") == TargetConfig(target="my:f", args={})
    assert target_of(TargetConfig(target="my:f", args={"a": 1})).args == {"a": 1}


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ("{optimizer.lr: {uniform: [0, 1]}}", "did you mean optimizer.learning_rate?"),
        ("{optimizer: {uniform: [0, 1]}}", "is a group of settings"),
        ("{name: {categorical: [a, b]}}", "does not affect results"),
        ("{optimizer.learning_rate: {uniform: [2, 1]}}", "low bound first"),
        ("{optimizer.learning_rate: {log_uniform: [0, 1]}}", "bounds above 0"),
        ("{optimizer.learning_rate: {log_uniform: [1e-5, 1e-1], step: 0.1}}", "cannot have a step"),
        ("{data.batch_size: {int: [1, 4], step: 0.5}}", "a step that fits"),
        ("{data.batch_size: {int: [1, 4.5]}}", "must be a whole number"),
        ("{data.batch_size: {categorical: []}}", "not empty"),
        ("{data.batch_size: {categorical: [8, 8]}}", "a value twice"),
        ("{data.batch_size: {}}", "exactly one of uniform, log_uniform, int, log_int, categorical"),
        ("{data.batch_size: {int: [1, 4], uniform: [1, 2]}}", "exactly one of"),
        ("{data.batch_size: {intt: [1, 4]}}", "did you mean study.space.data.batch_size.int?"),
        ("{data.batch_size: {int: [1, 4], when: {model.target: mlp}}}", "no other key of it"),
        ("{}", "not empty"),
    ],
)
def test_bad_search_spaces_are_refused(space: str, expected: str) -> None:
    assert expected in message_of(f"study: {{space: {space}}}")


def test_a_search_space_reaches_into_args() -> None:
    study = parse_config(
        "study: {space: {model.args.dropout: {uniform: [0, 0.5]}, model.target: {categorical: [mlp, cnn]}}}"
    ).study
    assert study is not None
    assert study.space["model.args.dropout"].uniform == [0.0, 0.5]


def test_only_what_changes_results_changes_the_hash() -> None:
    base = parse_config("name: a")
    same = parse_config(
        "name: b\ndata: {num_workers: 2, pin_memory: true}\ncheckpoint: {keep_last_n: 1, monitor: val_accuracy}\n"
        "monitoring: {log_every_n_steps: 1}\ndiagnostics: {on_trigger: fix}\nnotify: echo\n"
        "targets: {metric: val_accuracy, at_least: 0.5}\ngates: {waive: {all: because}}\nremote: {host: box}\n"
        "study: {space: {seed: {int: [0, 9]}}}"
    )
    assert config_hash(base) == config_hash(same)
    assert differing_keys(base, same) == []
    for change in ("seed: 1", "early_stopping: {patience: 3}", "device: cpu", "data: {args: {image: true}}"):
        other = parse_config(change)
        assert config_hash(other) != config_hash(base), change
        assert len(differing_keys(base, other)) == 1


def test_differing_keys_are_dotted() -> None:
    a = parse_config("model: {args: {hidden: [64]}}\nmetrics: [f1]")
    b = parse_config("model: {args: {hidden: [64], dropout: 0.5}}\noptimizer: {learning_rate: 1}")
    assert differing_keys(a, b) == ["model.args.dropout", "metrics", "optimizer.learning_rate"]


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    first = parse_config("data: {args: {a: 1, b: {x: 1, y: 2}}}")
    second = parse_config("data: {args: {b: {y: 2, x: 1}, a: 1}}")
    assert config_hash(first) == config_hash(second)


def test_the_hash_tells_a_number_from_its_text() -> None:
    hashes = {
        config_hash(parse_config(f"data: {{args: {{a: {text}}}}}")) for text in ("1", "'1'", "1.0", "true")
    }
    keys = {config_hash(parse_config(f"data: {{args: {{a: {{{text}: 0}}}}}}")) for text in ("1", "'1'")}
    assert len(hashes) == 4
    assert len(keys) == 2


def test_result_fields_leave_out_the_others() -> None:
    fields = result_fields(Config())
    assert "name" not in fields
    assert "checkpoint" not in fields
    assert "num_workers" not in fields["data"]
    assert fields["early_stopping"]["patience"] == 10


def test_every_setting_says_what_it_means() -> None:
    for item in settings().values():
        assert len(item.help) > 10, item.key
        assert item.expected not in {"", "a value"}, item.key


def test_the_config_room_imports_neither_torch_nor_numpy() -> None:
    program = (
        "import sys, tui_trainer.config.loading, tui_trainer.config.hashing, tui_trainer.config.targets\n"
        "from tui_trainer.config.loading import load_config\n"
        "load_config(None)\n"
        "print([name for name in ('torch', 'numpy', 'pandas', 'textual') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
