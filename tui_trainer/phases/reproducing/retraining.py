"""The fresh process that trains a run again. Its folder holds `plan.json`; checkpoints and `result.json` are written
there, and nothing anywhere else."""

from __future__ import annotations

import json
import shutil
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import UserError
from tui_trainer.config.user_code import is_library, is_ours, raised
from tui_trainer.data.child_process import end_with
from tui_trainer.engine.commands import Command, CommandQueue
from tui_trainer.engine.manifest import write_atomically
from tui_trainer.phases.reproducing.course import LAST, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_trainer.config.schema import Config
    from tui_trainer.data.dataset import DataSplits
    from tui_trainer.engine.checkpoints import Checkpointer
    from tui_trainer.engine.trainer import Trainer

PLAN, RESULT = "plan.json", "result.json"


class Prompter(CommandQueue):
    """Asks a trainer for what the run was asked for, at the same steps, and to stop where it ended.

    The trainer looks for commands at each step boundary, and finds there those that are due.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trainer: Trainer | None = None
        self.due: list[dict[str, Any]] = []
        self._stage: Stage | None = None
        self._stopped = False

    def begin(self, stage: Stage) -> None:
        """Follow `stage` from now on; what was not reached before it still waits."""
        self._stage, self._stopped = stage, False
        self.due += stage.commands

    def __bool__(self) -> bool:
        trainer, stage = self.trainer, self._stage
        if trainer is not None and stage is not None:
            self._look(trainer, stage)
        return super().__bool__()

    def _look(self, trainer: Trainer, stage: Stage) -> None:
        here = (trainer.epoch, trainer.step)
        for item in [item for item in self.due if (item["epoch"], item["step"]) <= here]:
            self.due.remove(item)
            details = {key: value for key, value in item.items() if key not in ("epoch", "step", "command")}
            self.put(Command(item["command"], details))
        until = stage.until
        if self._stopped:
            return
        if until.complete:
            if trainer.epoch >= until.epoch:
                self._stop("epoch")
        elif here == (until.epoch, until.step) and trainer.progress.validation_due == until.validation_due:
            self._stop("now")

    def _stop(self, when: str) -> None:
        self._stopped = True
        self.put(Command("stop", {"when": when}))


class Retraining:
    """Trains the stages of a plan one after the other; checkpoints go to `out`/checkpoints."""

    def __init__(self, stages: Sequence[Stage], config_folder: Path, out: Path) -> None:
        self._stages, self._folder, self._out = stages, config_folder, out
        self._prompter = Prompter()
        self._refused: list[str] = []
        self._data: DataSplits | None = None
        self._fingerprint = ""
        self._checkpointer: Checkpointer | None = None

    def run(self) -> dict[str, Any]:
        """The content of `result.json`. Raises `UserError` for what a run would have failed with as well."""
        from tui_trainer.engine.checkpoints import Checkpointer

        checkpoints = self._out / "checkpoints"
        checkpoints.mkdir()
        self._checkpointer = Checkpointer(checkpoints, self._observe, pace=0.0)
        trainer: Trainer | None = None
        status, message = "", ""
        try:
            for stage in self._stages:
                before, trainer = trainer, self._next_trainer(trainer, stage)
                if before is not None:
                    before.parts.close()
                status, message = self._train(trainer, stage)
        finally:
            self._checkpointer.close()
            if trainer is not None:
                trainer.parts.close()
        assert trainer is not None
        return {
            "status": status,
            "message": message,
            "epoch": trainer.epoch,
            "step": trainer.step,
            "epochs": trainer.epochs,
            "rows": _rows(trainer.history),
            "refused": self._refused,
            "not_reached": self._prompter.due,
            "not_saved": self._checkpointer.failed,
            "device": str(trainer.parts.device),
            "data_fingerprint": self._fingerprint,
            "samples": trainer.parts.train.samples,
            "pieces": trainer.step_runner.memory.rows,
            "modules": user_modules(),
        }

    def _train(self, trainer: Trainer, stage: Stage) -> tuple[str, str]:
        """Train one stage; how that ended. Its last state then lies in `last_model.pt`."""
        assert self._checkpointer is not None
        if _stands_at(trainer, stage):
            trainer.save_last(in_any_case=True)
            status, message = "stopped", ""
        else:
            self._prompter.trainer = trainer
            self._prompter.begin(stage)
            try:
                outcome = trainer.train()
            finally:
                self._prompter.trainer = None
            status, message = outcome.status, outcome.message
        self._checkpointer.flush()
        if stage.keep is not None and (self._out / "checkpoints" / LAST).exists():
            shutil.copyfile(self._out / "checkpoints" / LAST, self._out / "checkpoints" / stage.keep)
        return status, message

    def _next_trainer(self, before: Trainer | None, stage: Stage) -> Trainer:
        """A trainer under the stage's config, at the start or where `before` has come to."""
        from tui_trainer.config.hashing import config_hash, differing_keys
        from tui_trainer.config.loading import parse_config
        from tui_trainer.data.fingerprint import fingerprint
        from tui_trainer.engine.checkpoints import load_checkpoint
        from tui_trainer.engine.parts import assemble, load_data
        from tui_trainer.engine.trainer import Trainer
        from tui_trainer.session.repair import put
        from tui_trainer.session.resume import ResumePoint
        from tui_trainer.session.starting import constant_non_finite

        assert self._checkpointer is not None
        config = _as_kept(parse_config(stage.config))
        changed = [] if before is None else differing_keys(before.config, config)
        if self._data is None or any(key.startswith(("data.", "seed", "deterministic")) for key in changed):
            self._data = load_data(config, self._folder)
            self._fingerprint = fingerprint(self._data)
        parts = assemble(config, self._data, self._folder)
        self._checkpointer.exempt = constant_non_finite(parts)
        trainer = Trainer(
            parts,
            self._checkpointer,
            self._prompter,
            self._observe,
            config_hash=config_hash(config),
            data_fingerprint=self._fingerprint,
        )
        if before is not None:
            path = self._out / "checkpoints" / LAST
            put(trainer, ResumePoint(path, load_checkpoint(path)))
        return trainer

    def _observe(self, event: Any) -> None:
        from tui_trainer.engine.events import CommandHandled, EpochFinished, LogLine

        if isinstance(event, EpochFinished):
            _say(f"epoch {event.epoch} is done, step {event.step:,}")
        elif isinstance(event, CommandHandled) and not event.accepted:
            self._refused.append(f"{event.command.replace('_', ' ')} at step {event.step}: {event.message}")
        elif isinstance(event, LogLine) and event.level != "info":
            _say(event.text)


def _as_kept(config: Config) -> Config:
    """`config` with the last state kept: it is what is compared, and it costs no result."""
    from tui_trainer.config.loading import change_config

    return change_config(config, ["checkpoint.save_last=true", "checkpoint.checkpoint_every_n_minutes=null"])


def _stands_at(trainer: Trainer, stage: Stage) -> bool:
    """Whether there is nothing to train: two fixes were applied to the same state."""
    until = stage.until
    return (
        trainer.epoch_complete
        and until.complete
        and (trainer.epoch, trainer.step) == (until.epoch, until.step)
    )


def _rows(history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    from tui_trainer.engine.events import json_safe
    from tui_trainer.session.files import epoch_row

    return [json_safe(epoch_row(dict(row))) for row in history]


def user_modules() -> list[dict[str, Any]]:
    """The user's own modules that were imported, with the time of their last change (seconds since 1970)."""
    found = []
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or name == "__main__" or is_library(file) or is_ours(file):
            continue
        path = Path(file)
        if path.suffix == ".py" and path.is_file():
            found.append({"file": str(path), "modified": path.stat().st_mtime})
    return found


def _say(text: str) -> None:
    print(f"[VERIFY] {text}", file=sys.stderr, flush=True)


def _use_threads(number: int | None) -> None:
    """As many as the run had: they decide how sums are divided, and so their last digits."""
    import torch

    if number is not None:
        torch.set_num_threads(number)


def main(out: Path, lifeline: int) -> int:
    """Train the plan in `out`; exit code 0 where `result.json` was written. `lifeline`: the descriptor of a pipe by
    whose end this process knows that its starter is gone."""
    end_with(Connection(lifeline, writable=False))
    plan = json.loads((out / PLAN).read_text(encoding="utf-8"))
    stages = [Stage.from_json(item) for item in plan["stages"]]
    started = time.monotonic()
    try:
        _use_threads(plan["threads"])
        result = Retraining(stages, Path(plan["config_folder"]), out).run()
    except UserError as error:
        result = {"error": str(error)}
    except KeyboardInterrupt:
        return 130
    except (Exception, SystemExit) as error:  # of the user's code
        result = {"error": f"{raised(error)}."}
    result["seconds"] = time.monotonic() - started
    write_atomically(out / RESULT, json.dumps(result, allow_nan=False, default=str))
    return 0
