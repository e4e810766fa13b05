"""Reading and writing config files: every mistake is one clear paragraph that says where."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tui_trainer.config.errors import ConfigError
from tui_trainer.config.loading import change_config, dump_config, load_config, parse_config
from tui_trainer.config.yaml_text import read_yaml, write_yaml


def message_of(text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, source="c.yaml", overrides=overrides)
    message = str(caught.value)
    assert message.strip()
    assert "\n\n" not in message
    return message


def failure(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return str(caught.value)


def test_without_a_path_the_bundled_digits_config_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load_config(None)
    assert loaded.config.name == "digits-baseline"
    assert loaded.path is None
    assert loaded.folder == tmp_path


def test_a_file_knows_its_folder_and_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text("name: mine  # a comment\n")
    loaded = load_config(Path("c.yaml"), overrides=["seed=7"])
    assert (loaded.config.name, loaded.config.seed) == ("mine", 7)
    assert loaded.folder == tmp_path
    assert loaded.text == "name: mine  # a comment\n"


def test_a_missing_file_is_named_with_a_guess(tmp_path: Path) -> None:
    (tmp_path / "baseline.yaml").write_text("name: x")
    message = failure(tmp_path / "baselin.yaml")
    assert "does not exist" in message
    assert message.endswith("baseline.yaml?")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"# only a comment\n", b"---\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_said_to_be_empty(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.yaml").write_bytes(content)
    assert "is empty" in failure(tmp_path / "c.yaml")


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"name: \xff\xfe")
    assert "c.yaml:1: byte 0xff is not valid UTF-8" in failure(path)
    path.write_bytes("name: x".encode("utf-16"))
    assert "no UTF-8 text" in failure(path)
    path.write_bytes(os.urandom(2000))
    assert "UTF-8" in failure(path)
    path.write_bytes(b"name: x\nseed: 1\x07\n")
    assert "c.yaml:2: there is a character that YAML does not allow" in failure(path)
    path.write_bytes(b"# " + b"x" * 400_000)
    assert "too many for a config" in failure(path)


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbfname: from-windows\r\nseed: 3\r\n")
    config = load_config(tmp_path / "c.yaml").config
    assert (config.name, config.seed) == ("from-windows", 3)


def test_folders_pipes_and_unreadable_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("name: x")
    assert "is a folder; give the config file in it, such as" in failure(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in failure(tmp_path / "pipe")
    assert "cannot be read" in failure(tmp_path / ("x" * 300))
    assert "cannot be read" in failure(Path("nul\0byte"))
    assert "cannot be read" in failure(tmp_path / "c.yaml" / "inside")
    (tmp_path / "c.yaml").chmod(0)
    if os.geteuid() != 0:
        assert "Permission denied" in failure(tmp_path / "c.yaml")
    (tmp_path / "c.yaml").chmod(stat.S_IRUSR | stat.S_IWUSR)


@pytest.mark.parametrize("text", ["just text", "- a\n- b", "3", "true", "[1, 2]"])
def test_the_top_level_must_be_a_mapping(text: str) -> None:
    assert "a config is a mapping of settings" in message_of(text)


def test_syntax_errors_show_the_line_with_a_caret() -> None:
    message = message_of("name: x\ntraining:\n  epochs: [1, 2\nseed: 3\n")
    first, line, caret = message.split("\n")
    assert first.startswith("c.yaml:4:5: this is not valid YAML")
    assert line == "    seed: 3"
    assert caret.index("^") - 4 == 4


def test_tabs_are_explained() -> None:
    assert "spaces, not tabs" in message_of("training:\n\tepochs: 3\n")


def test_a_duplicate_key_names_both_lines() -> None:
    message = message_of("name: x\ntraining:\n  epochs: 3\n  compile: true\n  epochs: 4\n")
    assert message == "c.yaml:5: the key 'epochs' stands here again; it is on line 3 already."


def test_several_documents_tags_and_odd_keys_are_refused() -> None:
    assert "single document" in message_of("name: x\n---\nname: y\n")
    assert "plain values only" in message_of("name: !!python/object/apply:os.system [ls]")
    assert "plain values only" in message_of("name: !!binary aGk=")
    assert "put it in quotes" in message_of("data: {args: {on: 1}}")
    assert "a key must be text" in message_of("data: {args: {[1]: 1}}")


def test_bombs_are_defused() -> None:
    layers = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 12))
    assert "stand for more than" in message_of(f"l0: &l0 [x]\n{layers}")
    assert "inside what it refers to" in message_of("data: {args: &a {b: *a}}")
    assert "nested deeper" in message_of("data: {args: {a: " + "[" * 5000 + "]" * 5000 + "}}")
    assert "64 bits" in message_of("seed: " + "9" * 5000)
    assert message_of('name: "\\UFFFFFFFF"')


def test_numbers_are_read_as_people_mean_them() -> None:
    config = parse_config(
        "optimizer: {learning_rate: 1e-3, args: {a: 5E2, b: .5, c: 1_000, d: 0x10, e: -3.e-2}}"
    )
    assert config.optimizer.learning_rate == 0.001
    assert config.optimizer.args == {"a": 500.0, "b": 0.5, "c": 1000, "d": 16, "e": -0.03}


def test_dates_and_times_stay_text() -> None:
    config = parse_config("name: 2024-05-01\ndata: {args: {at: 12:30, yes_no: yes, quoted: 'yes'}}")
    assert config.name == "2024-05-01"
    assert config.data.args == {"at": "12:30", "yes_no": True, "quoted": "yes"}


def test_anchors_and_merge_keys_work() -> None:
    text = "early_stopping: &watch {monitor: val_loss, monitor_mode: min}\ncheckpoint: {<<: *watch, keep_last_n: 2}"
    config = parse_config(text)
    assert (config.checkpoint.monitor, config.checkpoint.keep_last_n) == ("val_loss", 2)
    message = message_of("early_stopping: &watch\n  monitor_mode: x\ncheckpoint: {<<: *watch}")
    assert "c.yaml:2: checkpoint.monitor_mode is 'x', but it must be min or max" in message


def test_unknown_keys_get_a_guess_with_the_whole_key() -> None:
    assert (
        message_of("training:\n  epoch: 3")
        == "c.yaml:2: there is no setting 'training.epoch'; did you mean training.epochs?"
    )
    assert "did you mean training.epochs?" in message_of("epochs: 3")
    assert "did you mean optimizer.learning_rate?" in message_of("optimizer: {lr: 3}")
    assert "known here: name, seed" in message_of("qqq: 3")


def test_many_problems_are_counted_and_five_are_shown() -> None:
    message = message_of("\n".join(f"unknown_{number}: 1" for number in range(8)))
    assert message.startswith("8 problems:")
    assert message.endswith("and 3 more")
    assert len(message.splitlines()) == 7


def test_overrides_beat_the_file() -> None:
    config = parse_config(
        "training: {epochs: 3}",
        overrides=["training.epochs=5", "optimizer.learning_rate=1e-4", "metrics=[f1]"],
    )
    assert (config.training.epochs, config.optimizer.learning_rate, config.metrics) == (5, 1e-4, ["f1"])


def test_later_overrides_win() -> None:
    assert parse_config("name: x", overrides=["seed=1", "seed=2"]).seed == 2


def test_a_mapping_replaces_the_one_there() -> None:
    config = parse_config("data: {target: my:f, args: {a: 1, b: 2}}", overrides=["data.args={c: 3}"])
    assert config.data.args == {"c": 3}


def test_overrides_reach_into_args_and_null_groups() -> None:
    config = parse_config(
        "targets: null", overrides=["model.args.dropout=0.5", "targets.metric=val_loss", "targets.at_most=1"]
    )
    assert config.model.args == {"hidden": [128], "dropout": 0.5}
    assert config.targets is not None


def test_overrides_reach_keys_that_hold_dots() -> None:
    config = parse_config("name: x", overrides=["study.space.optimizer.learning_rate={uniform: [0.1, 1]}"])
    assert config.study is not None
    assert list(config.study.space) == ["optimizer.learning_rate"]


def test_another_target_drops_the_args_of_the_old_one() -> None:
    text = "scheduler: {target: reduce_on_plateau, args: {patience: 3}}"
    assert parse_config(text, overrides=["scheduler.target=cosine"]).scheduler.args == {}
    chosen = parse_config(text, overrides=["scheduler.args.T_max=5", "scheduler.target=cosine"])
    assert chosen.scheduler.args == {"T_max": 5}
    kept = parse_config(text, overrides=["scheduler.target=reduce_on_plateau"]).scheduler.args
    assert kept["patience"] == 3


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.epochs", "there is no `=`"),
        ("=3", "is no key"),
        ("a..b=3", "is no key"),
        ("training.epochs=abc", "--set training.epochs=abc: training.epochs is 'abc'"),
        ("training.epochs=", "training.epochs is null"),
        ("training.epoch=3", "did you mean training.epochs?"),
        ("name.first=3", "name holds 'x', which has no keys inside"),
        ("metrics.0=f1", "give all of it, as in metrics=[…]"),
        ("model.args=[1", "this is not valid YAML"),
        ("name=@x", "Put the value in quotes"),
        ("seed=.nan", "only finite numbers"),
        ("nonsense=1", "there is no setting 'nonsense'"),
    ],
)
def test_bad_overrides_are_explained(override: str, expected: str) -> None:
    message = message_of("name: x\nmetrics: [accuracy]", override)
    assert expected in message
    assert message.startswith("--set")


def test_a_config_can_be_changed_like_with_set() -> None:
    changed = change_config(parse_config("name: x"), ["optimizer.learning_rate=1e-4"])
    assert changed.optimizer.learning_rate == 1e-4
    with pytest.raises(ConfigError):
        change_config(changed, ["optimizer.learning_rate=-1"])


def test_a_mapping_can_be_parsed_too() -> None:
    assert parse_config({"model": {"args": {"hidden": (64, 32)}}}).model.args == {"hidden": [64, 32]}
    with pytest.raises(ConfigError, match="type set"):
        parse_config({"model": {"args": {"hidden": {1, 2}}}})


def test_what_is_dumped_loads_back_equal() -> None:
    config = parse_config(
        {
            "name": "x",
            "optimizer": {
                "learning_rate": 0.1 + 0.2,
                "weight_decay": 5e-324,
                "args": {"eps": 1e22, "big": 2**63},
            },
            "data": {
                "args": {
                    "texts": ["1e-3", "yes", "", "null", "a: b", "#", "☃ é", "0x1", "2024-01-01", "x\ny "]
                }
            },
            "metrics": ["f1", {"target": "my:m", "args": {"1": 1, "k": {3: "three"}}}],
            "study": {"space": {"data.batch_size": {"int": [1, 8], "step": 1}}},
            "notify": ["echo", "done"],
        }
    )
    text = dump_config(config)
    again = parse_config(text)
    assert again == config
    assert dump_config(again) == text


def test_dumped_keys_keep_the_order_of_the_schema() -> None:
    lines = [line.partition(":")[0] for line in dump_config(parse_config("seed: 3\nname: x")).splitlines()]
    top = [line for line in lines if line and line[0].isalpha()]
    assert top[:5] == ["name", "seed", "deterministic", "device", "data"]
    assert top[-1] == "remote"


def test_yaml_numbers_and_words_in_text_survive() -> None:
    for text in (
        "1e5",
        "1_0",
        "+1",
        ".5",
        "~",
        "<<",
        "=",
        "Off",
        "NaN",
        ".nan",
        "0o7",
        "1:30",
        "- a",
        "*a",
        "&a",
        "\x85",
        "a\u2028b",
        "\r",
    ):
        assert read_yaml(write_yaml({"a": text}), "x").value == {"a": text}
