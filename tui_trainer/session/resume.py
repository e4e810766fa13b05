"""Going on from a checkpoint: which file, whether it fits, and the trainer put where it was taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import RunFolderError
from tui_trainer.config.hashing import differing_keys
from tui_trainer.engine.checkpoints import BEST, load_checkpoint, load_newest
from tui_trainer.engine.events import from_json_number
from tui_trainer.engine.manifest import read_manifest, settle, stage_copy, write_manifest
from tui_trainer.engine.state import NEEDED_TO_GO_ON

if TYPE_CHECKING:
    from pathlib import Path

    from tui_trainer.config.schema import Config
    from tui_trainer.engine.trainer import Trainer


@dataclass(frozen=True)
class ResumePoint:
    """A verified checkpoint to go on from. `notes` say what was passed over on the way to it."""

    path: Path
    state: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def epoch(self) -> int:
        return int(self.state["epoch"])

    @property
    def step(self) -> int:
        return int(self.state["step"])

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows of its epochs, as `metrics.json` has them."""
        return [{key: value for key, value in row.items() if key != "step"} for row in self.state["history"]]

    @property
    def interventions(self) -> list[dict[str, Any]]:
        """What had been done to the run by then (DESIGN §6)."""
        return [dict(item) for item in self.state.get("interventions", ())]

    @property
    def place(self) -> str:
        """Where it was taken, for people."""
        end = "the end of " if self.state["epoch_complete"] else ""
        return f"{end}epoch {self.epoch}, step {self.step:,} ({self.path.name})"

    @property
    def complete_epochs(self) -> int:
        """Epochs whose rows belong to the state."""
        return self.epoch if self.state["epoch_complete"] else self.epoch - 1


def find_resume_point(checkpoints: Path, wanted: Path | None) -> ResumePoint | None:
    """The newest good checkpoint of a folder, or the file `wanted`. None when the folder has none.

    Raises `RunFolderError` for a damaged or foreign file.
    """
    if wanted is not None:
        ours = wanted.parent == checkpoints
        # Another run's folder is read and no more: that run may be writing there right now.
        content = settle(checkpoints) if ours else read_manifest(wanted.parent)
        expected = content["files"].get(wanted.name, {}).get("sha256")
        return _checked(ResumePoint(wanted, load_checkpoint(wanted, expected_sha256=expected)))
    loaded = load_newest(checkpoints)
    if loaded is None:
        return None
    notes = tuple(f"passed over a damaged checkpoint: {reason}" for reason in loaded.rejected)
    return _checked(ResumePoint(loaded.path, loaded.state, notes))


def _checked(point: ResumePoint) -> ResumePoint:
    missing = [key for key in NEEDED_TO_GO_ON if key not in point.state]
    if missing:
        raise RunFolderError(
            f"{point.path} has weights but no {', '.join(missing)}: it cannot be resumed exactly. "
            "Set model.init_from to start from its weights."
        )
    return point


def check_same_config(point: ResumePoint, config: Config) -> None:
    """Refuse to go on under a config that would have trained something else; more epochs are fine.

    Raises `RunFolderError`.
    """
    from tui_trainer.config.loading import parse_config

    changed = differing_keys(parse_config(point.state["config"]), config)
    if "training.epochs" in changed and config.training.epochs >= point.complete_epochs:
        changed.remove("training.epochs")
    if changed:
        raise RunFolderError(
            f"{point.path} was trained with other settings: {', '.join(changed[:5])}"
            f"{f' and {len(changed) - 5} more' if len(changed) > 5 else ''} differ. A resumed run goes on exactly as it "
            "began: leave out the changed --config and --set, or start a new run (model.init_from takes over weights)."
        )


def check_fits(point: ResumePoint, trainer: Trainer) -> None:
    """Refuse to go on with other data, or under a schedule laid out otherwise. Raises `RunFolderError`."""
    if point.state["data_fingerprint"] != trainer.data_fingerprint:
        raise RunFolderError(
            f"The data is not what {point.path} was trained on (its fingerprint changed from "
            f"{point.state['data_fingerprint'][:12]} to {trainer.data_fingerprint[:12]}). Put the old data back, or "
            "start a new run (model.init_from takes over weights)."
        )
    config, epochs = trainer.config, point.state["config"]["training"]["epochs"]
    if trainer.parts.schedule.fixed_length and epochs != config.training.epochs:
        raise RunFolderError(
            f"{point.path} was trained under the schedule {config.scheduler.target}, whose course is laid out for "
            f"{epochs} epochs; {config.training.epochs} would be another one. Leave training.epochs as it was, or "
            "start a new run (model.init_from takes over weights)."
        )


def find_best(trainer: Trainer) -> str | None:
    """Let `best_model.pt` hold the best so far again; a warning where its state is in no file any more.

    The best is then that of the file, or is searched for anew. Raises `OSError`.
    """
    best, folder, monitor = trainer.best, trainer.checkpointer.folder, trainer.config.checkpoint.monitor
    if best.value is None or not trainer.config.checkpoint.save_best:
        return None
    content = read_manifest(folder)
    files = content["files"]
    entry, there = files.get(BEST, {}), (folder / BEST).exists()
    if there and entry.get("step", best.step) == best.step:
        return None
    for name, other in files.items():
        same = (other.get("epoch"), other.get("step")) == (best.epoch, best.step)
        if name != BEST and same and from_json_number(other["metrics"].get(monitor)) == best.value:
            stage_copy(folder / name, folder / BEST).replace(folder / BEST)
            files[BEST] = dict(other)
            write_manifest(folder, content)
            return None
    lost = f"{BEST} of epoch {best.epoch} is not there"
    value = from_json_number(entry.get("metrics", {}).get(monitor))
    if there and isinstance(value, float):
        best.value, best.epoch, best.step = value, entry["epoch"], entry["step"]
        return f"{lost}; the best is that of epoch {best.epoch} again."
    best.value, best.epoch, best.step = None, 0, 0
    return f"{lost}; the search for the best starts anew here."
