"""A run that goes on under another config: fixes, their undoing, and going back to before them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import RunFolderError, TrainingError, UserError
from tui_trainer.config.hashing import config_hash, differing_keys
from tui_trainer.config.loading import change_config, parse_config
from tui_trainer.config.user_code import raised
from tui_trainer.diagnostics.fix import value_at
from tui_trainer.engine.events import FixApplied, RunStarted
from tui_trainer.engine.manifest import read_manifest, stage_copy, write_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tui_trainer.config.schema import Config
    from tui_trainer.engine.commands import Command
    from tui_trainer.engine.rollback import Rollback
    from tui_trainer.engine.trainer import Trainer
    from tui_trainer.session.resume import ResumePoint
    from tui_trainer.session.run_folder import RunFolder
    from tui_trainer.session.run_session import RunRequest

RATE = "optimizer.learning_rate"

Rebuild = Callable[["Config", bool], "Trainer"]
"""Makes a trainer for a config; with True everything, the data included, as at the start of a run. Raises `UserError`
and then has changed nothing."""


@dataclass(frozen=True)
class Left:
    """Where a run stood when it was taken elsewhere."""

    epoch: int
    step: int
    stopping: bool


def with_changes(config: Config, changes: Mapping[str, Any]) -> Config:
    """`config` with new values by dotted key. Raises `ConfigError`."""
    return change_config(config, [f"{key}={json.dumps(value)}" for key, value in changes.items()])


def target_config(config: Config, command: Command, point: ResumePoint | None, folder: RunFolder) -> Config:
    """The config to go on under; notes in `command` what it changes of `config`. Raises `UserError`."""
    if command.name == "roll_back":
        assert point is not None
        then = parse_config(point.state["config"])
        return config if config_hash(then) == config_hash(config) else then
    if command.name == "undo_fix":
        fixes = folder.record.get("fixes") or []
        if not fixes or fixes[-1].get("attempt") != command.details.get("attempt"):
            raise RunFolderError("that fix is undone already")
    changes = command.details.get("changes", {})
    command.details["before"] = {key: value_at(config, key) for key in changes}
    return with_changes(config, changes)


def build(
    config: Config, command: Command, point: ResumePoint | None, rebuild: Rebuild
) -> tuple[Config, Trainer]:
    """A trainer for `config`, and the config as it then is: a range test may have found another learning rate.

    Raises `UserError`, also where the test finds no rate and the fix has no other to go on with.
    """
    if command.details.get("range_test"):
        trainer = rebuild(config, point is None)
        try:
            put(trainer, point)
            rate, where = _rate_found(trainer, _guess(command))
        finally:
            trainer.parts.close()
        config = with_changes(config, {RATE: rate})
        before, title = command.details["before"], command.details["title"]
        command.details["changes"] = {**command.details["changes"], RATE: rate}
        command.details["title"] = f"{title}: {before.get(RATE):.3g} → {rate:.3g}{where}"
    return config, rebuild(config, point is None)


def _guess(command: Command) -> float | None:
    """The rate that a fix has in mind where a range test finds none; None where that is the present one."""
    guess = command.details["changes"].get(RATE)
    return None if guess == command.details["before"].get(RATE) else guess


def _rate_found(trainer: Trainer, guess: float | None) -> tuple[float, str]:
    """The rate to go on with, and what is to be said of it. Raises `TrainingError` where there is none."""
    from tui_trainer.engine.lr_range_test import learning_rate_range_test

    try:
        test = learning_rate_range_test(trainer)
    except UserError:
        raise
    except Exception as error:  # of the user's model or loss, at a rate far too high
        raise TrainingError(f"the learning-rate range test failed: {raised(error)}") from error
    if test.proposed is not None:
        return test.proposed, ""
    if guess is None:
        raise TrainingError(f"the learning-rate range test found no rate: {test.reason}")
    return guess, " (a usual one: the test found none)"


def put(trainer: Trainer, point: ResumePoint | None) -> None:
    """Let a new trainer go on from `point`; one that begins at the start stands there."""
    from tui_trainer.engine.transplant import transplant

    if point is None:
        return
    changed = differing_keys(parse_config(point.state["config"]), trainer.config)
    if changed:
        transplant(trainer, point.state, changed)
    else:
        trainer.load(point.state)


def started_anew(request: RunRequest, trainer: Trainer, context: Mapping[str, Any]) -> RunStarted:
    """What is trained from now on: another config may mean other steps, parameters, batches."""
    from tui_trainer.engine.parts import facts
    from tui_trainer.engine.seeding import reproducibility_facts
    from tui_trainer.session.starting import run_started

    lines = facts(trainer.parts, reproducibility_facts(trainer.config.seed))
    return run_started(request, trainer, lines, dict(context))


def note_fix(folder: RunFolder, trainer: Trainer, rollback: Rollback, left: Left) -> FixApplied | None:
    """Write a fix, or that it was taken back, into the records of the run; None for what is no fix."""
    command, point = rollback.command, rollback.path
    details = command.details
    fixes = folder.record.setdefault("fixes", [])
    to_step = trainer.step
    if command.name == "roll_back":
        forget_lost_fixes(folder, trainer)
        return None
    undone = command.name == "undo_fix"
    number = len(folder.record["attempts"]) + 1
    said = FixApplied(
        time=time.time(),
        diagnostic=str(details.get("diagnostic")),
        fix=str(details.get("fix")),
        title=str(details.get("title")),
        epoch=left.epoch,
        step=left.step,
        to_step=to_step,
        checkpoint=point.name if point else "the start",
        attempt=number,
        config_diff=_diff(details),
        automatic=bool(details.get("automatic")),
        undone=undone,
    )
    if undone:
        folder.record["fixes"] = fixes[:-1]
        return said
    note = {
        "command": "apply_fix",
        "epoch": left.epoch,
        "step": left.step,
        "to_step": to_step,
        **{key: details.get(key) for key in ("diagnostic", "fix", "title", "changes", "before", "action")},
    }
    if point is None:
        note["action"] = "restart_fresh"
        trainer.interventions = fresh_fixes(folder.record)
    trainer.interventions = [*trainer.interventions, note]
    kept = _keep(point, len(fixes) + 1) if point else None
    folder.record["fixes"] = [*fixes, note | {"undo_from": kept, "attempt": number}]
    return said


def done(command: Command) -> str:
    """What a fix did, in words."""
    title = str(command.details.get("title"))
    return f"undone: {title}" if command.name == "undo_fix" else title


def undo_details(folder: RunFolder) -> dict[str, Any] | None:
    """What `undo_fix` has to do to take the last fix back; None where there is none."""
    fixes = folder.record.get("fixes") or []
    if not fixes:
        return None
    last = fixes[-1]
    names = ("diagnostic", "fix", "title", "attempt")
    details = {key: last.get(key) for key in names} | {"changes": dict(last["before"])}
    if last.get("undo_from") is None:
        return details | {"action": "restart_fresh"}
    return details | {"action": "restart_from", "checkpoint": last["undo_from"]}


def changes_in_force(point: ResumePoint | None, record: Mapping[str, Any]) -> dict[str, Any]:
    """What fixes had changed in the config by the time of `point`, or at a start that a fix ordered."""
    notes = point.interventions if point else fresh_fixes(record)
    changes: dict[str, Any] = {}
    for item in notes:
        if item.get("command") == "apply_fix":
            changes |= item["changes"]
    return changes


def fresh_fixes(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The fixes under which a run began anew from its start."""
    fixes = [dict(item) for item in record.get("fixes") or []]
    last = max(
        (place for place, item in enumerate(fixes) if item.get("action") == "restart_fresh"), default=-1
    )
    return [
        {key: value for key, value in item.items() if key not in ("undo_from", "attempt")}
        for item in fixes[: last + 1]
    ]


def forget_lost_fixes(folder: RunFolder, trainer: Trainer) -> None:
    """Let `run.json` hold the fixes that the state of `trainer` knows of, and no other."""
    noted = [(note.get("fix"), note.get("step")) for note in trainer.interventions]
    fixes = folder.record.get("fixes") or []
    folder.record["fixes"] = [item for item in fixes if (item.get("fix"), item.get("step")) in noted]


def _diff(details: Mapping[str, Any]) -> dict[str, Any]:
    before = details.get("before") or {}
    return {
        key: {"from": before.get(key), "to": value} for key, value in (details.get("changes") or {}).items()
    }


def _keep(path: Path, number: int) -> str:
    """Keep the state that a fix goes on from under a name of its own, so that it can be undone."""
    name = f"before_fix_{number}.pt"
    content = read_manifest(path.parent)
    stage_copy(path, path.parent / name).replace(path.parent / name)
    content["files"][name] = dict(content["files"][path.name])
    write_manifest(path.parent, content)
    return name
