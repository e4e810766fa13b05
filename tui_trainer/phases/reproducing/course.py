"""The course that a run took to its last checkpoint: what has to be done again, and where, to come out there.

What was rolled back or undone is no part of it: a state that was put back is the state that it was. A fix is, for the
run went on under another config from the state that it was applied to.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import RunFolderError, UserError
from tui_trainer.engine.manifest import read_manifest
from tui_trainer.session.run_folder import CONFIG_YAML, is_live, read_run_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tui_trainer.config.schema import Config

LAST = "last_model.pt"
REPLAYED = ("set_learning_rate", "extend")


class CannotVerify(UserError):
    """Why a run cannot be trained again; the message goes behind `cannot be verified: `."""

    exit_code = 1


@dataclass(frozen=True)
class Place:
    """Where a state was taken: after optimizer step `step`, in `epoch`; `complete`: behind the epoch's validation;
    `validation_due`: before a validation inside the epoch that was due there."""

    epoch: int
    step: int
    complete: bool
    validation_due: bool = False


@dataclass(frozen=True)
class Stage:
    """Training under one config up to `until`. `commands`: what was asked for on the way, each with epoch and step.
    `keep`: the name under which the run keeps its state there."""

    config: dict[str, Any]
    commands: tuple[dict[str, Any], ...]
    until: Place
    keep: str | None = None

    def to_json(self) -> dict[str, Any]:
        """For the process that trains it."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Stage:
        """The inverse of `to_json`."""
        until = Place(**content["until"])
        return cls(content["config"], tuple(content["commands"]), until, content["keep"])


@dataclass(frozen=True)
class Course:
    """A run as its files tell it. `state`: of the checkpoint `final`, where it ends; `config`: of its
    `training_config.yaml`, under which the last stage trains; `replayed`: what is done again on the way, in words."""

    folder: Path
    record: dict[str, Any]
    config: Config
    config_folder: Path
    state: dict[str, Any]
    final: str
    stages: tuple[Stage, ...]
    replayed: tuple[str, ...]

    @property
    def threads(self) -> tuple[int, ...]:
        """How many CPU threads torch had, attempt by attempt, as far as the run's record tells."""
        attempts = self.record["attempts"]
        found = [item.get("cpu_threads") for item in attempts if isinstance(item, dict)]
        return tuple(number for number in found if isinstance(number, int) and number > 0)


def read_course(folder: Path) -> Course:
    """The course of the run in `folder`, which is read and nothing more.

    Raises `RunFolderError` where there is no run or it still goes on, `CannotVerify` where its files do not tell what
    happened.
    """
    record = _record(folder)
    final, state = _final_state(folder)
    config, config_folder = _config(folder, record)
    notes = [dict(item) for item in state.get("interventions", ())]
    stages = _stages(folder, record, notes, config, state)
    return Course(
        folder=folder,
        record=record,
        config=config,
        config_folder=config_folder,
        state=state,
        final=final,
        stages=stages,
        replayed=tuple(_in_words(item) for item in notes),
    )


def place_of(state: Mapping[str, Any]) -> Place:
    """Where a checkpoint's content was taken."""
    return Place(
        epoch=int(state["epoch"]),
        step=int(state["step"]),
        complete=bool(state["epoch_complete"]),
        validation_due=bool(state["progress"]["validation_due"]),
    )


def _record(folder: Path) -> dict[str, Any]:
    record = read_run_json(folder)
    if record is None:
        raise RunFolderError(
            f"{folder} holds no run (no run.json). Name a run folder, such as checkpoints/NAME-TIME."
        )
    if is_live(folder):
        raise RunFolderError(
            f"The run in {folder} is going on. Wait for its end, or stop it: what is to be compared changes still."
        )
    return record


def _final_state(folder: Path) -> tuple[str, dict[str, Any]]:
    checkpoints = folder / "checkpoints"
    entries = read_manifest(checkpoints)["files"]
    there = [name for name in entries if (checkpoints / name).is_file()]
    if not there:
        raise CannotVerify(f"{checkpoints} holds no checkpoint to compare with.")
    newest = max(there, key=lambda name: (entries[name].get("step", -1), name == LAST, name))
    name = LAST if LAST in there else newest
    return name, load_state(folder, name)


def load_state(folder: Path, name: str) -> dict[str, Any]:
    """The content of the run's checkpoint `name`. Raises `CannotVerify` for one that is missing, damaged or foreign."""
    from tui_trainer.engine.checkpoints import load_checkpoint
    from tui_trainer.engine.state import FORMAT, NEEDED_TO_GO_ON

    checkpoints = folder / "checkpoints"
    expected = read_manifest(checkpoints)["files"].get(name, {}).get("sha256")
    try:
        state = load_checkpoint(checkpoints / name, expected_sha256=expected)
    except UserError as error:
        raise CannotVerify(str(error)) from error
    if state.get("format") != FORMAT or any(key not in state for key in NEEDED_TO_GO_ON):
        raise CannotVerify(
            f"{name} is not of this version's format: it does not tell where and how it was taken."
        )
    return state


def _config(folder: Path, record: Mapping[str, Any]) -> tuple[Config, Path]:
    from pathlib import Path

    from tui_trainer.config.loading import load_config

    origin = Path(str(record.get("config_folder", "")))
    if not record.get("config_folder") or not origin.is_dir():
        raise CannotVerify(
            f"the folder that its config, data and code lay in is not there any more ({origin}). Put it back."
        )
    try:
        return load_config(folder / CONFIG_YAML).config, origin
    except UserError as error:
        raise CannotVerify(str(error)) from error


def _stages(
    folder: Path,
    record: Mapping[str, Any],
    notes: Sequence[dict[str, Any]],
    config: Config,
    state: Mapping[str, Any],
) -> tuple[Stage, ...]:
    """From the start, or from the last start anew that a fix ordered, to the final checkpoint."""
    fresh = [
        index for index, item in enumerate(notes) if _is_fix(item) and item.get("action") == "restart_fresh"
    ]
    stages: list[Stage] = []
    commands: list[dict[str, Any]] = []
    for item in notes[fresh[-1] + 1 if fresh else 0 :]:
        if _is_fix(item):
            name = _kept_state(record, item)
            before = load_state(folder, name)
            stages.append(Stage(before["config"], tuple(commands), place_of(before), name))
            commands = []
        elif item.get("command") in REPLAYED:
            commands.append(item)
        else:
            raise CannotVerify(
                f"its record tells of {str(item.get('command'))[:60]!r} at step {item.get('step')}, which this version "
                "cannot do again."
            )
    whole = config.model_dump(mode="json", by_alias=True)
    return (*stages, Stage(whole, tuple(commands), place_of(state)))


def _is_fix(note: Mapping[str, Any]) -> bool:
    return note.get("command") == "apply_fix"


def _kept_state(record: Mapping[str, Any], note: Mapping[str, Any]) -> str:
    """The checkpoint that keeps the state which a fix was applied to."""
    fixes = record.get("fixes")
    for item in fixes if isinstance(fixes, list) else ():
        same = isinstance(item, dict) and all(item.get(key) == note.get(key) for key in ("fix", "step"))
        if same and isinstance(item.get("undo_from"), str):
            return str(item["undo_from"])
    raise CannotVerify(
        f"the fix {str(note.get('fix'))[:60]!r} of step {note.get('step')} was applied to a state that run.json does not "
        "tell of, so it cannot be applied there again."
    )


def _in_words(note: Mapping[str, Any]) -> str:
    place = f"at step {note.get('step'):,}" if isinstance(note.get("step"), int) else "at a step unknown"
    if note.get("command") == "set_learning_rate":
        return f"learning rate set to {note.get('learning_rate')} {place}"
    if note.get("command") == "extend":
        return f"epochs set to {note.get('epochs')} {place}"
    changes = note.get("changes")
    what = ", ".join(
        f"{key}: {value}" for key, value in (changes if isinstance(changes, dict) else {}).items()
    )
    where = (
        "from the start"
        if note.get("action") == "restart_fresh"
        else f"on the state of step {note.get('to_step'):,}"
        if isinstance(note.get("to_step"), int)
        else place
    )
    return f"fix {note.get('fix')} ({what}) {where}"
