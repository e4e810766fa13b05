"""From the words of a command line to a run that can be started, or to the summary of one that is over."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import ConfigError, RunFolderError
from tui_trainer.engine.manifest import read_manifest
from tui_trainer.session.run_folder import (
    CONFIG_YAML,
    DEFAULT_ROOT,
    FINISHED,
    OPTIMIZATION_YAML,
    create,
    read_run_json,
    reopen,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_trainer.config.loading import LoadedConfig
    from tui_trainer.session.run_session import RunRequest


@dataclass(frozen=True)
class Options:
    """The flags of DESIGN §4, as given."""

    config: Path | None = None
    mode: str = "baseline"
    output_dir: Path | None = None
    resume: str | None = None
    overrides: tuple[str, ...] = ()
    on_trigger: str | None = None
    sign: tuple[str, ...] = ()
    waive: tuple[str, ...] = ()
    run: Path | None = None
    planned: LoadedConfig | None = None
    """The config as it was planned in the app: it takes the place of `config` and `overrides`."""


@dataclass(frozen=True)
class AlreadyDone:
    """A run that has nothing left to train."""

    folder: Path
    summary: dict[str, Any]


def open_request(options: Options) -> RunRequest | AlreadyDone:
    """Read the config, choose the folder and take hold of it.

    Raises `ConfigError` or `RunFolderError`; then nothing was changed on disk.
    """
    from tui_trainer.config.hashing import config_hash
    from tui_trainer.session.run_session import RunRequest

    earlier, checkpoint = _earlier_run(options)
    loaded = load_options(options, earlier)
    if earlier is None and options.resume == "auto" and options.output_dir is None:
        earlier = newest_run(loaded.config.name)
    lineage = None
    if (
        earlier is not None
        and options.output_dir is not None
        and earlier.resolve() != options.output_dir.resolve()
    ):
        checkpoint = checkpoint or _newest_checkpoint(earlier)
        earlier = None
    if earlier is None and checkpoint is not None:
        lineage = str(checkpoint)
    if earlier is not None:
        done = _finished(earlier, checkpoint, loaded)
        if done is not None:
            return AlreadyDone(earlier.resolve(), done)
        folder = reopen(earlier)
    else:
        folder = create(
            options.output_dir,
            name=loaded.config.name,
            mode=options.mode,
            config_hash=config_hash(loaded.config),
            config_folder=loaded.folder,
            lineage=lineage,
        )
    return RunRequest(
        loaded=loaded,
        folder=folder,
        mode=options.mode,
        resume_from=checkpoint,
        on_trigger=options.on_trigger,
    )


def config_to_plan(options: Options) -> LoadedConfig:
    """The config that a run of these options would have. Raises `ConfigError` or `RunFolderError`."""
    return load_options(options, _earlier_run(options)[0])


def _newest_checkpoint(run: Path) -> Path:
    """The newest checkpoint that a run's manifest names; that run is not touched, for it may be going on."""
    folder = run.resolve() / "checkpoints"
    entries = read_manifest(folder)["files"]
    if not entries:
        raise RunFolderError(
            f"The run in {run} has no checkpoint to go on from. Name another run, or leave out --resume."
        )
    return folder / max(entries, key=lambda name: (entries[name]["step"], entries[name]["epoch"], name))


def load_options(options: Options, earlier: Path | None = None) -> LoadedConfig:
    """The config that the options name: a file, else the resumed run's own, else the bundled digits baseline."""
    from tui_trainer.config.loading import load_config

    if options.planned is not None:
        return options.planned
    overrides = [*options.overrides, *_notes("sign", options.sign), *_notes("waive", options.waive)]
    path = options.config
    if path is None and earlier is not None and (earlier / CONFIG_YAML).exists():
        path = earlier / CONFIG_YAML
    loaded = load_config(path, overrides=overrides)
    if path is not None and path.name in (CONFIG_YAML, OPTIMIZATION_YAML):
        loaded = _as_where_it_lay(loaded, path.resolve().parent)
    return loaded


def _as_where_it_lay(loaded: LoadedConfig, folder: Path) -> LoadedConfig:
    """A run folder's own config: its imports and relative paths start where the first config lay."""
    try:
        record = read_run_json(folder)
    except RunFolderError:
        return loaded
    origin = Path(str(record.get("config_folder", ""))) if record else Path()
    return dataclasses.replace(loaded, folder=origin) if record and origin.is_dir() else loaded


def _notes(flag: str, given: Sequence[str]) -> list[str]:
    """`--sign ITEM=note` and `--waive ITEM=reason` as overrides of `gates:`."""
    notes: dict[str, str] = {}
    for text in given:
        item, mark, note = text.partition("=")
        if not mark or not item.strip() or not note.strip():
            raise ConfigError(f'--{flag} takes ITEM="text", not {text!r}: say which item, and why.')
        notes[item.strip()] = note.strip()
    return [f"gates.{flag}.{item}={json.dumps(note)}" for item, note in notes.items()]


def _earlier_run(options: Options) -> tuple[Path | None, Path | None]:
    """The run folder that `--resume` means and, where it names one, the checkpoint file in it."""
    if options.resume is None:
        return None, None
    if options.resume == "auto":
        folder = options.output_dir
        return (folder if folder is not None and read_run_json(folder) is not None else None), None
    path = Path(options.resume)
    try:
        path = path.expanduser()
        path.stat()
    except FileNotFoundError:
        pass
    except (OSError, RuntimeError, ValueError) as error:
        raise RunFolderError(
            f"--resume {options.resume[:200]} cannot be looked at ({error}). Name a .pt file, a run folder, or auto."
        ) from error
    if path.is_dir():
        if read_run_json(path) is None:
            raise RunFolderError(
                f"--resume {path}: this folder holds no run. Name a run folder or a checkpoint (.pt) in one."
            )
        return path, None
    if not path.is_file():
        raise RunFolderError(
            f"--resume {path}: there is no such checkpoint. Name a .pt file, a run folder, or auto."
        )
    folder = path.resolve().parent.parent
    if read_run_json(folder) is None:
        if options.output_dir is None:
            raise RunFolderError(
                f"--resume {path} lies in no run folder. Name an --output-dir for the run that goes on from it."
            )
        return None, path.resolve()
    return folder, path.resolve()


def newest_run(name: str, place: str = "*") -> Path | None:
    """The newest run of that name in `checkpoints/`, at a `place` (a pattern) in there; None where there is none."""
    found = []
    for path in DEFAULT_ROOT.glob(f"{place}/run.json"):
        try:
            record = read_run_json(path.parent)
        except RunFolderError:
            continue
        if record and record.get("name") == name:
            found.append((str(record.get("created", "")), path.parent))
    return max(found)[1] if found else None


def _finished(folder: Path, checkpoint: Path | None, loaded: LoadedConfig) -> dict[str, Any] | None:
    """The summary of a run that is over; None when there is something left to train."""
    if checkpoint is not None:
        return None
    record = read_run_json(folder)
    if record is None or record.get("status") not in FINISHED:
        return None
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    more_wanted = record["status"] == "completed" and loaded.config.training.epochs > int(
        summary.get("epochs") or 0
    )
    return None if more_wanted or not isinstance(summary, dict) else summary
