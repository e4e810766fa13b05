"""Whatever is thrown at the config room: a Config, or one paragraph that says what is wrong."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tui_trainer.config.errors import ConfigError
from tui_trainer.config.hashing import config_hash, differing_keys
from tui_trainer.config.loading import dump_config, load_config, parse_config
from tui_trainer.config.settings import settings as schema_settings
from tui_trainer.config.yaml_text import read_yaml, write_yaml

if TYPE_CHECKING:
    from tui_trainer.config.schema import Config

BASE = load_config(None).config.model_dump(by_alias=True)
KEYS = [key for key in schema_settings() if "*" not in key]

words = st.sampled_from(
    ["", "null", "~", "yes", "1e-3", "nan", "x", "name", "my:f", "val_loss", "<<", "[", "{", "*a", "&a"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | words
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | words | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)
plain_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20) | words
plain_values = st.recursive(
    plain_scalars | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
yaml_like = st.lists(
    st.sampled_from(["name: ", "\n", "  ", "- ", "training:", "epochs", ": ", "5", "[", "]", "{", "}", "'", '"', "&a ",
                     "*a", "<<", "!!str ", "|", ">", "#", "\t", "---", "? ", "1e-3", ",", "@", "%", "\\x00", "é", "\x85"]),
    max_size=25,
).map("".join)  # fmt: skip


def parsed(given_config: Any, *overrides: str) -> Config | None:
    """The config, or None when it was refused in the proper way."""
    try:
        return parse_config(given_config, source="fuzz.yaml", overrides=overrides)
    except ConfigError as error:
        message = str(error)
        assert message.strip()
        assert "\n\n" not in message
        assert len(message) < 6000
        assert "pydantic" not in message
        assert "Traceback" not in message
        return None


def check_round_trip(config: Config | None) -> None:
    if config is None:
        return
    again = parse_config(dump_config(config))
    assert again == config
    assert config_hash(again) == config_hash(config)
    assert differing_keys(again, config) == []


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.text(max_size=60) | yaml_like)
def test_any_text(text: str) -> None:
    check_round_trip(parsed(text))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.dictionaries(st.sampled_from(KEYS).map(lambda key: key.partition(".")[0]) | texts, values, max_size=4)
)
def test_any_mapping(mapping: dict[str, Any]) -> None:
    check_round_trip(parsed(mapping))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(KEYS), values), min_size=1, max_size=3))
def test_any_change_to_a_good_config(changes: list[tuple[str, Any]]) -> None:
    mapping = copy.deepcopy(BASE)
    for key, value in changes:
        *parents, last = key.split(".")
        holder: Any = mapping
        for parent in parents:
            holder = holder.get(parent) if isinstance(holder, dict) else None
        if isinstance(holder, dict):
            holder[last] = value
    check_round_trip(parsed(mapping))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.sampled_from(KEYS) | texts, texts | yaml_like | plain_scalars.map(str)), max_size=3)
)
def test_any_override(changes: list[tuple[str, str]]) -> None:
    check_round_trip(parsed("name: x", *(f"{key}={value}" for key, value in changes)))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(plain_values)
def test_plain_values_survive_yaml(value: Any) -> None:
    again = read_yaml(write_yaml(value), "x").value
    assert again == value
    assert repr(again) == repr(value)
