"""Config files in and out: YAML text, `--set` overrides, validation."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tui_trainer.config.errors import ConfigError
from tui_trainer.config.explain import explain
from tui_trainer.config.overrides import Override, apply_override, parse_override, without_stale_args
from tui_trainer.config.plain import plain_value
from tui_trainer.config.schema import Config
from tui_trainer.config.wording import closest, printable, shown
from tui_trainer.config.yaml_text import KeyPath, read_yaml, write_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LARGEST_FILE = 256 * 1024
"""Bytes; nobody writes a longer config, but many a data file was passed by mistake."""

BUNDLED = "digits_baseline.yaml"


@dataclass(frozen=True)
class LoadedConfig:
    """A validated config and where it came from.

    `path` is None for the bundled config. `folder` is the config's own folder, else the working directory:
    relative paths in the config start there, and modules there can be imported. `text` is the file as
    written.
    """

    config: Config
    path: Path | None
    folder: Path
    text: str


def load_config(path: Path | None, *, overrides: Sequence[str] = ()) -> LoadedConfig:
    """The config in a file, or the bundled digits baseline, with `--set` overrides (`a.b=value`) applied.

    Raises ConfigError for anything that cannot be read or does not fit the schema.
    """
    if path is None:
        text = (resources.files("tui_trainer") / "configs" / BUNDLED).read_text(encoding="utf-8")
        source, folder = f"the bundled {BUNDLED}", Path.cwd()
    else:
        text = _read(path)
        source, folder = printable(str(path)), path.absolute().parent
    return LoadedConfig(parse_config(text, source=source, overrides=overrides), path, folder, text)


def parse_config(
    given: str | Mapping[str, Any], *, source: str = "config", overrides: Sequence[str] = ()
) -> Config:
    """A config from YAML text or a mapping. `source` is what error messages call it (a file name)."""
    lines: dict[KeyPath, int] = {}
    if isinstance(given, str):
        document = read_yaml(given, source)
        value, lines = document.value, document.lines
        if value is None:
            raise ConfigError(
                f"{source} is empty; a config holds at least one setting, such as `name: my-run`."
            )
    else:
        try:
            value = plain_value(given)
        except ValueError as error:
            raise ConfigError(f"{source} {error}.") from error
    if not isinstance(value, dict):
        raise ConfigError(
            f"{source} holds {shown(value)}, but a config is a mapping of settings, such as `name: my-run`."
        )
    changes = [parse_override(text) for text in overrides]
    value = without_stale_args(value, changes)
    for change in changes:
        value = apply_override(value, change)
    return _validated(value, lines, source, changes)


def change_config(config: Config, overrides: Sequence[str]) -> Config:
    """`config` with overrides (`a.b=value`) applied, as `--set` does it; raises ConfigError."""
    return parse_config(config.model_dump(by_alias=True), source=config.name, overrides=overrides)


def dump_config(config: Config) -> str:
    """The config with every setting written out, as YAML that loads back to an equal one."""
    return (
        "# Every setting of the run, defaults included: `mltrainer-tui --config` on this file repeats it.\n"
        + (write_yaml(config.model_dump(by_alias=True)))
    )


def _validated(
    value: dict[Any, Any], lines: Mapping[KeyPath, int], source: str, changes: Sequence[Override]
) -> Config:
    def place_of(path: KeyPath) -> str:
        for length in range(len(path), -1, -1):
            for change in reversed(changes):
                if change.path == path[:length]:
                    return change.shown
            if path[:length] in lines and length:
                return f"{source}:{lines[path[:length]]}"
        inside = [change.shown for change in changes if change.path[: len(path)] == path]
        return inside[-1] if inside else source

    try:
        return Config.model_validate(value)
    except ValidationError as error:
        raise ConfigError(explain(error, place_of)) from error


def _read(path: Path) -> str:
    name = printable(str(path))
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ConfigError(f"{name} is a folder; give the config file in it{_configs_in(path)}.")
        if not stat.S_ISREG(mode):
            raise ConfigError(f"{name} is not a regular file, so no config can be read from it.")
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise ConfigError(
                f"{name} has {size:,} bytes, too many for a config (at most {LARGEST_FILE:,}); "
                "is it a data file?"
            )
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"The config file {name} does not exist{_similar(path)}") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"The config file {name} cannot be read: {printable(str(reason))}.") from error
    if b"\0" in content:
        raise ConfigError(
            f"{name} is no UTF-8 text file (it holds NUL bytes); a config is YAML text saved as UTF-8."
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{name}:{line}: byte {content[error.start]:#04x} is not valid UTF-8; save the config as "
            "UTF-8 text."
        ) from error


def _similar(path: Path) -> str:
    try:
        match = closest(path.name, [item.name for item in path.parent.iterdir() if item.is_file()])
    except OSError:
        return "."
    return f"; did you mean {printable(str(path.with_name(match)))}?" if match else "."


def _configs_in(folder: Path) -> str:
    try:
        found = sorted(item.name for item in folder.iterdir() if item.suffix in {".yaml", ".yml"})
    except OSError:
        return ""
    return f", such as {printable(str(folder / found[0]))}" if found else ""
