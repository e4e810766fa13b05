"""Several runs side by side: the settings that tell them apart, and what came of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tui_trainer.config.errors import ConfigError
from tui_trainer.session.files import METRIC_COLUMNS_LAST
from tui_trainer.session.run_folder import CONFIG_YAML
from tui_trainer.session.run_index import metric_rows
from tui_trainer.session.wording import is_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_trainer.config.schema import Config
    from tui_trainer.session.run_index import RunEntry

UNKNOWN = object()
"""The value of a setting in a run whose config cannot be read."""
ABSENT = object()
"""The value of a setting that a run does not have."""

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class ComparedSetting:
    """A setting that affects results (dotted key), and its value in each run."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ComparedMetric:
    """A column of `epoch_metrics.csv`: its last value in each run (None: none), and which end is the better one."""

    name: str
    values: tuple[float | None, ...]
    better: Literal["min", "max"] | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a page that compares runs shows. `curves`: for each metric, each run's (epoch, value) points.

    `unread`: why the settings of a run, by its place in `runs`, are not known.
    """

    runs: tuple[RunEntry, ...]
    settings: tuple[ComparedSetting, ...]
    metrics: tuple[ComparedMetric, ...]
    curves: Mapping[str, tuple[Points, ...]]
    unread: Mapping[int, str]


def compare(runs: Sequence[RunEntry]) -> Comparison:
    """Read what is needed of each run; what cannot be read is said in the result."""
    configs: list[Config | None] = []
    unread: dict[int, str] = {}
    for index, run in enumerate(runs):
        config = _config(run)
        configs.append(config if not isinstance(config, str) else None)
        if isinstance(config, str):
            unread[index] = config
    rows = [metric_rows(run.folder) for run in runs]
    names = [name for name in dict.fromkeys(key for table in rows for row in table for key in row)
             if name != "epoch" and name not in METRIC_COLUMNS_LAST]  # fmt: skip
    return Comparison(
        runs=tuple(runs),
        settings=tuple(_differing(configs)),
        metrics=tuple(
            ComparedMetric(
                name, tuple(table[-1].get(name) if table else None for table in rows), _better(name, runs)
            )
            for name in names
        ),
        curves={
            name: tuple(tuple((row["epoch"], row[name]) for row in table if name in row) for table in rows)
            for name in names
        },
        unread=unread,
    )


def _config(run: RunEntry) -> Config | str:
    from tui_trainer.config.loading import load_config

    try:
        return load_config(run.folder / CONFIG_YAML).config
    except (ConfigError, OSError, RecursionError) as error:
        return str(error)


def _differing(configs: Sequence[Config | None]) -> list[ComparedSetting]:
    from tui_trainer.config.hashing import differing_keys, result_fields

    known = [config for config in configs if config is not None]
    keys = list(dict.fromkeys(key for other in known[1:] for key in differing_keys(known[0], other)))
    fields = [None if config is None else result_fields(config) for config in configs]
    return [
        ComparedSetting(key, tuple(UNKNOWN if item is None else _value(item, key) for item in fields))
        for key in keys
    ]


def _value(fields: Mapping[str, Any], key: str) -> Any:
    """The value under a dotted key; names of arguments may hold dots themselves."""
    if key in fields:
        return fields[key]
    for end in (index for index, char in enumerate(key) if char == "."):
        inner = fields.get(key[:end])
        if isinstance(inner, Mapping):
            return _value(inner, key[end + 1 :])
    return ABSENT


def _better(name: str, runs: Sequence[RunEntry]) -> Literal["min", "max"] | None:
    for run in runs:
        if run.monitor == name:
            return "max" if run.monitor_mode == "max" else "min"
    if name.endswith("loss"):
        return "min"
    return "max" if is_share(name) else None
