"""The training loop: epochs of steps, validation, best, early stopping, checkpoints.

The trainer knows no screen and no file but its checkpoints. It emits events, obeys commands at step boundaries,
and can be put back to any batch it ever stood at.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import TrainingError
from tui_trainer.data.batches import ItemBatches, WaitBroken
from tui_trainer.data.seeds import rng_state
from tui_trainer.engine import events
from tui_trainer.engine.bad_data import described, look_up
from tui_trainer.engine.checkpoints import BEST, LAST, Checkpointer, periodic_name
from tui_trainer.engine.controls import obey, refuse_all
from tui_trainer.engine.early_stopping import Best
from tui_trainer.engine.evaluation import Evaluation, Interrupted, evaluate
from tui_trainer.engine.memory_recovery import MemoryRecovery, watch
from tui_trainer.engine.probes import Probe, due
from tui_trainer.engine.progress import EpochProgress
from tui_trainer.engine.retention import Retention
from tui_trainer.engine.rows import side_rows
from tui_trainer.engine.state import capture, restore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tui_trainer.data.batches import Batch
    from tui_trainer.engine.commands import Command, CommandQueue
    from tui_trainer.engine.parts import Parts
    from tui_trainer.engine.rollback import Rollback
    from tui_trainer.engine.step import StepResult

MAX_CONSECUTIVE_SKIPS = 10
_MINUTE = 60.0


@dataclass(frozen=True)
class Outcome:
    """How training ended: a status of DESIGN §3, and one sentence for people. With `rollback` it has not: it shall
    be put back there (`state.go_back`) and go on."""

    status: events.Status
    message: str
    rollback: Rollback | None = None


class Trainer:
    """Trains the assembled `parts`.

    `emit` must never block. `gpu_utilization` gives the mean GPU load in percent since it was last asked, None
    without a GPU. `heartbeat`: when the present step began (`time.perf_counter`), None while something else is done;
    `awaiting`: it is the step's batch that is waited for.
    """

    def __init__(
        self,
        parts: Parts,
        checkpointer: Checkpointer,
        commands: CommandQueue,
        emit: Callable[[events.Event], None],
        *,
        config_hash: str,
        data_fingerprint: str,
        gpu_utilization: Callable[[], float | None] = lambda: None,
        clock: Callable[[], float] = time.time,
        trust_device: bool | None = None,
    ) -> None:
        config = parts.config
        self.parts, self.checkpointer, self.commands, self.emit = parts, checkpointer, commands, emit
        self.config, self.clock = config, clock
        self.config_hash, self.data_fingerprint = config_hash, data_fingerprint
        self._gpu_utilization = gpu_utilization
        if isinstance(parts.train, ItemBatches):
            parts.train.interrupt = lambda: self.awaiting and bool(commands)
        self.awaiting = False
        self.heartbeat: float | None = None
        self.step_runner = parts.training_step(trust_device=trust_device)
        self.validation_memory = MemoryRecovery(parts.device, "validation")
        for recovery in (self.step_runner.memory, self.validation_memory):
            watch(self, recovery)
        self.metrics = parts.make_metrics(parts.device)
        self._val_metrics = parts.make_metrics(parts.device)
        self._on_outputs = self.metrics.update if self.metrics.names else None
        checkpoint, stopping = config.checkpoint, config.early_stopping
        self.best = Best(checkpoint.monitor_mode)
        self.patience = Best(stopping.monitor_mode, stopping.min_delta)
        self.retention = Retention(
            checkpoint.checkpoint_every_n_epochs,
            checkpoint.keep_last_n,
            checkpoint.keep_best_n,
            checkpoint.monitor_mode,
        )
        self.epoch, self.step = 1, 0
        self.epoch_complete = False
        self.epochs = config.training.epochs
        self.progress = EpochProgress()
        self.history: list[dict[str, Any]] = []
        self.latest: dict[str, float] = {}
        self.consecutive_skips = 0
        self.skipped = 0
        self.overflowed = 0
        self.first_anomaly: int | None = None
        self._waiting: list[tuple[int, StepResult]] = []
        self.last_learning_rate: float | None = None
        self.stop: Command | None = None
        self.rollback: Rollback | None = None
        self.paused = False
        self.probe: Probe | None = None
        self.interventions: list[dict[str, Any]] = []
        self._digest_of, self._digest = 0, ""
        self.saved_at: tuple[int, int, int, bool] | None = None
        self.rng_outside: Callable[[], dict[str, Any]] = rng_state
        self.config_content = config.model_dump(mode="json", by_alias=True)
        self._last_saved_at = time.monotonic()

    # ── life of a run ───────────────────────────────────────────────────────────────────────────────────────

    def load(self, state: dict[str, Any]) -> None:
        """Stand where `state` (a checkpoint's content) was taken. Raises `RunFolderError`, `ModelError`."""
        restore(self, state)

    def train(self) -> Outcome:
        """Train until done, stopped or unable to go on; `last_model.pt` then holds the state that was reached.
        Also returns, having saved nothing, when it is to be put back.

        Raises `UserError` for what a user can mend; whatever user code raises is turned into one of these by the
        session.
        """
        outcome = self._run_epochs()
        if outcome.rollback is None:
            refuse_all(self)
            self.save_last(in_any_case=outcome.status in ("stopped", "interrupted"))
        return outcome

    def save_last(self, *, in_any_case: bool = False) -> None:
        """Put the present state into `last_model.pt` (queued; the checkpointer's flush makes it safe).

        `in_any_case`: also where the config keeps no last state, because without one the run could not go on.
        """
        if (in_any_case or self.config.checkpoint.save_last) and (
            self.saved_at != self._here() or LAST in self.checkpointer.failed
        ):
            self.save([LAST], wait=True)

    def _run_epochs(self) -> Outcome:
        while True:
            if self.epoch_complete:
                if self._is_to_be_repaired() and not obey(self):
                    return self._stopped()
                if self.epoch >= self.epochs:
                    return Outcome("completed", f"All {self.epochs} epochs are done.")
                if self._out_of_patience():
                    return Outcome("early_stopped", self._patience_message())
                if self.stop is not None:
                    return self._stopped()
                self._next_epoch()
            if not self._run_epoch():
                return self._stopped()

    def _is_to_be_repaired(self) -> bool:
        """Whether a fix waits that still makes a difference: the run has not ended before it is applied."""
        return any(
            command.name == "apply_fix"
            and (self.epoch < self.epochs or command.details.get("action") != "continue")
            for command in self.commands.waiting()
        )

    def _here(self) -> tuple[int, int, int, bool]:
        return self.epoch, self.step, self.progress.position, self.epoch_complete

    def _next_epoch(self) -> None:
        self.epoch += 1
        self.epoch_complete = False
        self.progress = EpochProgress()
        self.metrics.reset()

    # ── one epoch ───────────────────────────────────────────────────────────────────────────────────────────

    def _run_epoch(self) -> bool:
        """Train and validate one epoch; False when it was broken off by a command."""
        self.emit(events.EpochStarted(time=self.clock(), epoch=self.epoch, step=self.step))
        self.parts.model.train()
        if self.parts.loss.module is not None:
            self.parts.loss.module.train()
        self.progress.resume_clock()
        self._check_learning_rate()
        if not self._train_batches():
            return False
        try:
            validation = self._validate()
        except Interrupted:
            return False
        self._finish_epoch(validation)
        return True

    def _train_batches(self) -> bool:
        progress, commands = self.progress, self.commands
        groups = self.parts.groups(self.epoch, progress.position)
        if progress.validation_due and not self._validate_midway():
            return False
        while True:
            if commands:
                self.heartbeat = None
                if not obey(self):
                    return False
            self.heartbeat = started = time.perf_counter()
            self.awaiting = True
            try:
                group = next(groups, None)
            except WaitBroken:  # by a command
                groups = self.parts.groups(self.epoch, progress.position)
                continue
            finally:
                self.awaiting = False
                progress.wait += time.perf_counter() - started
            if group is None:
                break
            if not self._train_step(group):
                return False
        self.heartbeat = None
        self.settle()
        return True

    def _train_step(self, group: list[Batch]) -> bool:
        """One optimizer step and what is due after it; False when a validation was broken off."""
        progress, parts = self.progress, self.parts
        last = progress.position + len(group) >= len(parts.train)  # so that a short epoch is measured too
        measure = last or (self.step + 1) % self.config.monitoring.log_every_n_steps == 0
        result = self.step_runner.run(group, measure=measure, on_outputs=self._on_outputs)
        self.step += 1
        progress.steps += 1
        progress.position += len(group)
        if parts.schedule.per_step:
            parts.schedule.after_step()
            self._check_learning_rate()
        if type(result.skipped) is bool and type(result.losses[0]) is float:
            self._account(self.step, result)
        else:
            self._waiting.append((self.step, result))
        if measure:
            self._log_step(result)
        validate_every = self.config.training.validate_every_n_steps
        if validate_every and self.step % validate_every == 0:
            progress.validation_due = True
            if not self._validate_midway():
                return False
        if measure:
            self._save_by_the_clock()
        return True

    def _account(self, step: int, result: StepResult) -> None:
        """Take a step's figures, known to the host by now, into the epoch's."""
        progress = self.progress
        for loss, size in zip(result.losses, result.sizes, strict=True):
            progress.loss.add(float(loss), size)
            progress.samples += size
        for named, size in zip(result.components, result.sizes, strict=False):
            for name, value in named.items():
                progress.component(name).add(float(value), size)
        if result.overflowed:
            self.overflowed += 1
        if not result.skipped:
            self.consecutive_skips = 0
            return
        self.skipped += 1
        self.consecutive_skips += 1
        self.first_anomaly = self.first_anomaly or step
        bad = [float(loss) for loss in result.losses if not math.isfinite(float(loss))]
        self.emit(
            events.NonFiniteSkipped(
                time=self.clock(),
                epoch=self.epoch,
                step=step,
                loss=bad[0] if bad else float(result.losses[0]),
                parameter=result.culprit,
                consecutive=self.consecutive_skips,
                batch_rows=tuple(result.rows[:64].tolist()),
                bad_data=described(
                    result.bad_data or look_up(self.parts.data.train, result.rows), self.parts.data
                ),
                overflows=self.overflowed,
            )
        )
        if self.consecutive_skips >= MAX_CONSECUTIVE_SKIPS and not self.commands:  # a fix may wait there
            raise TrainingError(
                f"{self.consecutive_skips} batches in a row, up to step {step} of epoch {self.epoch}, gave a "
                f"non-finite loss or gradient{f' (first in {result.culprit})' if result.culprit else ''}; none was "
                "used for an update. Lower optimizer.learning_rate 10×, set training.gradient_clip_norm: 1.0, or "
                "look for bad samples (see diagnostics/nan_loss.md); then start again from the last good checkpoint."
            )

    def forget_step_in_progress(self) -> None:
        """Drop what steps left to be accounted for: they are taken back."""
        self._waiting = []
        self.step_runner.begin_anew()

    def stay(self) -> None:
        """Go on where training was broken off after all."""
        self.rollback = None
        self.progress.load_state_dict(self.progress.state_dict())  # its clock has run on

    def settle(self) -> None:
        """Read what steps left on the device."""
        waiting, self._waiting = self._waiting, []
        for step, result in waiting:
            result.losses = [float(loss) for loss in result.losses]
            result.skipped = bool(result.skipped)
            self._account(step, result)

    def _log_step(self, result: StepResult) -> None:
        self.settle()
        progress = self.progress
        norm = None if result.grad_norm is None else float(result.grad_norm)
        if norm is not None:
            progress.grad_norm.add(norm)
        if result.layer_norms is not None:
            progress.add_layer_norms(result.layer_norms)
        self.emit(
            events.StepLogged(
                time=self.clock(),
                epoch=self.epoch,
                step=self.step,
                step_in_epoch=progress.steps,
                loss=float(result.losses[-1]),
                learning_rate=self.learning_rate,
                grad_norm=norm,
                samples_per_second=progress.rate(),
            )
        )

    def _save_by_the_clock(self) -> None:
        checkpoint = self.config.checkpoint
        minutes = checkpoint.checkpoint_every_n_minutes if checkpoint.save_last else None
        if minutes is not None and time.monotonic() - self._last_saved_at >= minutes * _MINUTE:
            self.save([LAST], wait=False)

    # ── validation and the end of an epoch ──────────────────────────────────────────────────────────────────

    def _validate(self) -> Evaluation:
        def between_batches(outside: Callable[[], dict[str, Any]]) -> None:
            if not self.commands:
                return
            self.rng_outside = outside  # a checkpoint taken here resumes before this validation
            try:
                if not obey(self):
                    raise Interrupted
            finally:
                self.rng_outside = rng_state

        self.heartbeat = None
        parts, probe_every = self.parts, self.config.monitoring.probe_every_n_epochs
        self.probe = None
        if due(self.epoch, self.epochs, probe_every):
            self.probe = Probe(parts.data.task, len(parts.val), parts.train.samples)
        return evaluate(
            self.parts.forward,
            self.parts.loss,
            self.parts.val,
            self._val_metrics,
            self.parts.precision,
            epoch=self.epoch,
            memory=self.validation_memory,
            shares=self.step_runner.shares,
            between_batches=between_batches,
            probe=self.probe,
        )

    def _validate_midway(self) -> bool:
        """A validation inside the epoch: it may set a new best, but ends nothing."""
        if self.progress.position >= len(self.parts.train):
            self.progress.validation_due = False
            return True  # the epoch's own validation comes right now
        try:
            validation = self._validate()
        except Interrupted:
            return False
        self.settle()
        self.progress.validation_due = False
        values = self._values("val", validation)
        self.latest = self.latest | values  # the events that told the old values keep theirs
        self.emit(events.Validated(time=self.clock(), epoch=self.epoch, step=self.step, metrics=values))
        monitored = values.get(self.config.checkpoint.monitor)
        improved = monitored is not None and self.best.update(monitored, epoch=self.epoch, step=self.step)
        if improved and self.config.checkpoint.save_best:
            self.save([BEST, LAST] if self.config.checkpoint.save_last else [BEST], wait=True)
        return True

    def _values(self, phase: str, evaluation: Evaluation) -> dict[str, float]:
        return {f"{phase}_loss": evaluation.loss} | {f"{phase}_{k}": v for k, v in evaluation.metrics.items()}

    def _finish_epoch(self, validation: Evaluation) -> None:
        progress, config = self.progress, self.config
        side = list(
            side_rows(self, validation)
        )  # first: a user's statistic may raise, and the epoch is then not done
        trained = Evaluation(progress.loss.mean(), self.metrics.compute())
        values = self._values("train", trained) | self._values("val", validation)
        self.latest = values
        learning_rate, previous = self.learning_rate, self.last_learning_rate
        self.last_learning_rate = learning_rate
        rate_was_set = any(
            item["command"] == "set_learning_rate" and item.get("epoch") == self.epoch
            for item in self.interventions
        )
        if not self.parts.schedule.per_step:
            self.parts.schedule.after_epoch(values.get(config.early_stopping.monitor))
            self._check_learning_rate()
        improved = self.best.update(values[config.checkpoint.monitor], epoch=self.epoch, step=self.step)
        self.best.end_epoch(improved=improved)
        self.patience.end_epoch(
            improved=self.patience.update(
                values[config.early_stopping.monitor], epoch=self.epoch, step=self.step
            )
        )
        elapsed = progress.elapsed()
        row: dict[str, Any] = values | {
            "learning_rate": learning_rate,
            "grad_norm": progress.grad_norm.mean() if progress.grad_norm.seen else None,
            "epoch_time": elapsed,
            "samples_per_second": progress.samples / elapsed if elapsed > 0 else 0.0,
            "data_wait": progress.wait / elapsed if elapsed > 0 else 0.0,
            "gpu_util": self._gpu_utilization(),
        }
        self.history.append(events.json_safe({"epoch": self.epoch, "step": self.step} | row))
        self.epoch_complete = True
        for series, content in side:
            self.emit(
                events.SeriesRow(
                    time=self.clock(), series=series, epoch=self.epoch, step=self.step, row=content
                )
            )
        names, retired = self._due_checkpoints(values[config.checkpoint.monitor], improved=improved)
        best_value = math.nan if self.best.value is None else self.best.value
        self.emit(
            events.EpochFinished(
                time=self.clock(),
                epoch=self.epoch,
                step=self.step,
                metrics=values,
                learning_rate=learning_rate,
                lr_reduced=not rate_was_set and previous is not None and learning_rate < previous,
                lr_set=rate_was_set,
                grad_norm=row["grad_norm"],
                epoch_time=elapsed,
                samples_per_second=row["samples_per_second"],
                data_wait=row["data_wait"],
                gpu_util=row["gpu_util"],
                is_best=improved,
                best_epoch=self.best.epoch,
                best_value=best_value,
                epochs_without_improvement=self.patience.epochs_since,
                checkpoints=tuple(names),
            )
        )
        if names:
            self.save(names, wait=names != [LAST], retired=retired)

    def _due_checkpoints(self, monitored: float, *, improved: bool) -> tuple[list[str], list[int]]:
        """The files that shall hold this epoch's state, and the epochs whose own files go."""
        checkpoint = self.config.checkpoint
        names = [BEST] if improved and checkpoint.save_best else []
        kept, retired = self.retention.after_epoch(self.epoch, monitored)
        if kept:
            names.append(periodic_name(self.epoch))
        if checkpoint.save_last:
            names.append(LAST)
        return names, retired

    # ── stopping, commands, checkpoints ─────────────────────────────────────────────────────────────────────

    @property
    def learning_rate(self) -> float:
        """Of the first parameter group."""
        return float(self.parts.optimizer.param_groups[0]["lr"])

    def _check_learning_rate(self) -> None:
        if not math.isfinite(self.learning_rate):
            raise TrainingError(
                f"The schedule {self.config.scheduler.target} set the learning rate to {self.learning_rate} after step "
                f"{self.step} of epoch {self.epoch}; no update was made with it. Mend the schedule or its args."
            )

    def order_digest(self) -> str:
        """Fingerprint of the present epoch's sample order (computed once an epoch)."""
        if self._digest_of != self.epoch:
            self._digest_of, self._digest = self.epoch, self.parts.train.order_digest(self.epoch)
        return self._digest

    def _out_of_patience(self) -> bool:
        stopping = self.config.early_stopping
        return stopping.enabled and self.patience.epochs_since >= stopping.patience

    def _patience_message(self) -> str:
        stopping = self.config.early_stopping
        return (
            f"No improvement of {stopping.monitor} for {self.patience.epochs_since} epochs; "
            f"the best was at epoch {self.patience.epoch}."
        )

    def _stopped(self) -> Outcome:
        if self.rollback is not None:
            return Outcome("running", "", self.rollback)
        status: Any = self.stop.details.get("status", "stopped") if self.stop else "stopped"
        return Outcome(status, f"Stopped in epoch {self.epoch} of {self.epochs}, after step {self.step:,}.")

    def save(self, names: list[str], *, wait: bool, retired: Sequence[int] = ()) -> bool:
        if not wait and not self.checkpointer.idle:
            return False
        self.heartbeat = None  # what follows may take its time
        self.settle()
        entry = {
            "epoch": self.epoch,
            "step": self.step,
            "epoch_complete": self.epoch_complete,
            "metrics": dict(self.latest),
            "valid": self.first_anomaly is None and math.isfinite(self.latest.get("val_loss", math.nan)),
        }
        saved = self.checkpointer.save(
            capture(self), self.history, names, entry=entry, wait=wait, retired=retired
        )
        if saved:
            self._last_saved_at = time.monotonic()
            if LAST in names:
                self.saved_at = self._here()
        return saved
