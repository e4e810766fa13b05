"""RunSession: one run as its owner sees it. It owns the worker thread, the folder, the records and the telemetry."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import ModelError, RunFolderError, TrainingError, UserError
from tui_trainer.config.hashing import config_hash, differing_keys
from tui_trainer.config.loading import LoadedConfig, dump_config
from tui_trainer.config.user_code import raised
from tui_trainer.engine import events
from tui_trainer.engine.commands import Command, CommandQueue
from tui_trainer.engine.manifest import write_atomically
from tui_trainer.engine.writer_link import WriterLink
from tui_trainer.session.recorder import Recorder
from tui_trainer.session.run_folder import CONFIG_YAML, RunFolder, begin_attempt
from tui_trainer.session.stream import EventStream, StreamSubscription
from tui_trainer.session.summary import summarize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tui_trainer.diagnostics.nan_loss import NanLossRule
    from tui_trainer.engine.checkpoints import Checkpointer
    from tui_trainer.engine.parts import Parts
    from tui_trainer.engine.trainer import Trainer
    from tui_trainer.session.resume import ResumePoint
    from tui_trainer.telemetry.sampler import ResourceSampler

EXIT_OF_SIGNAL = {"SIGINT": 130, "SIGTERM": 143}
STOPPED_BY_DIAGNOSTIC = 4


@dataclass
class RunRequest:
    """What shall be run: a config, the folder for it, and where to go on from (`resume_from` None: the newest
    good checkpoint of a reopened folder, or the start of a new one). `after` is called with the folder of a run
    that trained at least one epoch: reports are written there.
    """

    loaded: LoadedConfig
    folder: RunFolder
    mode: str = "baseline"
    resume_from: Path | None = None
    on_trigger: str | None = None
    after: Sequence[Callable[[Path], object]] = ()


@dataclass
class _Ending:
    status: events.Status = "failed"
    message: str = ""
    exit_code: int = 1
    error: BaseException | None = None
    not_saved: dict[str, str] = field(default_factory=dict)


class RunSession:
    """Runs a request in a worker thread. Threads may subscribe, send commands and wait at any time.

    The writer process starts at once, beside the imports, so that its start costs nothing.
    """

    def __init__(self, request: RunRequest) -> None:
        self.request = request
        self.config = request.loaded.config
        self.stream = EventStream()
        self.commands = CommandQueue()
        self._summary: dict[str, Any] | None = None
        self._finished = threading.Event()
        self._ending = _Ending()
        self._prepared = False
        self._nan_loss: NanLossRule | None = None
        self._trainer: Trainer | None = None
        self._parts: Parts | None = None
        self._recorder: Recorder | None = None
        self._sampler: ResourceSampler | None = None
        self._point: ResumePoint | None = None
        self._diagnostics: dict[str, events.DiagnosticRaised] = {}
        self._earlier: list[str] = []  # codes of diagnostics of earlier attempts that still hold
        self._signal: str | None = None
        self._stopped_by: events.DiagnosticRaised | None = None
        self._started = time.time()
        self._link: WriterLink | None = None
        self._thread = threading.Thread(target=self._run, name="training", daemon=True)

    # ── what owners and readers use ─────────────────────────────────────────────────────────────────────────

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.request.folder.path

    @property
    def summary(self) -> dict[str, Any] | None:
        """The content of `summary.json`; None while the run goes on."""
        return self._summary

    @property
    def error(self) -> BaseException | None:
        """What ended a failed run."""
        return self._ending.error

    @property
    def exit_code(self) -> int:
        """The process's exit status (DESIGN §4), once finished."""
        return self._ending.exit_code

    def start(self) -> None:
        """Begin; returns at once."""
        with contextlib.suppress(OSError):  # no process to be had: the checkpointer then writes by itself
            self._link = WriterLink(keep_fds=(self.request.folder.lock,))
        self._thread.start()

    def subscribe(self, name: str) -> StreamSubscription:
        """A new reader; it gets all events from the start of the attempt."""
        return self.stream.subscribe(name)

    def send(self, command: str, **details: Any) -> None:
        """Ask for a command of `engine.commands.NAMES`; the answer is a `CommandHandled` event."""
        self.commands.put(Command(command, details))

    def stop_for_signal(self, name: str) -> None:
        """Checkpoint and end because of SIGINT or SIGTERM (safe to call from a signal handler)."""
        self._signal = name
        self.commands.put(Command("stop", {"status": "interrupted", "signal": name}))

    def wait(self, timeout: float | None = None) -> bool:
        """True when the run has finished; False when `timeout` seconds passed first."""
        return self._finished.wait(timeout)

    # ── the worker thread ───────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        try:
            self._prepare()
            self._train()
        except UserError as error:
            code = TrainingError.exit_code if self._has_trained() else error.exit_code
            if self._stopped_by is not None:
                code = STOPPED_BY_DIAGNOSTIC
            self._ending = _Ending("failed", str(error), code, error, self._ending.not_saved)
        except (SystemExit, KeyboardInterrupt) as error:
            # Signals go to the main thread, so user code raised this.
            if self._trainer is None:
                self._ending = _Ending(
                    "failed", f"{raised(error)}. A run cannot begin so; mend that.", 2, error
                )
            else:
                self._crashed(error)
        except BaseException as error:
            self._crashed(error)
        finally:
            try:
                self._finish()
            except BaseException as error:
                self._ending.exit_code = self._ending.exit_code or 1
                self._ending.error = self._ending.error or error
                raise
            finally:
                self._finished.set()

    def _has_trained(self) -> bool:
        """Whether this attempt took a step."""
        return self._trainer is not None and self._trainer.step > (self._point.step if self._point else 0)

    def _prepare(self) -> None:
        """Find where to go on from. Changes nothing in the folder of an earlier run."""
        from tui_trainer.session.resume import find_resume_point

        folder, request = self.request.folder, self.request
        if not folder.is_new or request.resume_from is not None:
            self._point = find_resume_point(folder.checkpoints, request.resume_from)
        if self._point is not None:
            self._check_same_config(self._point)
        if folder.is_new:
            self._write(lambda: write_atomically(folder.path / CONFIG_YAML, dump_config(self.config)))
        self._prepared = True

    def _open_records(self) -> None:
        """Begin the attempt on disk: from here on the folder is this attempt's.

        Called once everything is built and fits, so that an attempt that cannot begin leaves an earlier run as it was.
        """
        from tui_trainer.session.resume import kept_diagnostics, roll_back

        folder, point = self.request.folder, self._point
        if self._recorder is not None:
            return
        if point is not None or not folder.is_new:
            self._write(lambda: roll_back(folder, point))
            self._earlier = [
                str(item.get("code")) for item in kept_diagnostics(folder) if item.get("severity") != "info"
            ]
            resumed_from = point.path.name if point else None
            folder.record["config_hash"] = config_hash(self.config)
            if folder.is_new:
                folder.attempt["resumed_from"] = resumed_from
                self._write(folder.update)
            else:
                self._write(lambda: begin_attempt(folder, resumed_from=resumed_from))
            self._write(lambda: write_atomically(folder.path / CONFIG_YAML, dump_config(self.config)))
        history = [] if point is None else [dict(row) for row in point.state["history"]]
        for row in history:
            row.pop("step", None)
        self._recorder = Recorder(folder.path, self.stream, history, self._tell_trouble)
        for note in point.notes if point else ():
            self._log("warning", note)

    def _write(self, change: Callable[[], object]) -> None:
        try:
            change()
        except OSError as error:
            raise RunFolderError(
                f"The run folder {self.folder} cannot be written ({error.strerror}). Free some space, or check its permissions."
            ) from error

    def _check_same_config(self, point: ResumePoint) -> None:
        """Refuse to go on under a config that would have trained something else; more epochs are fine."""
        from tui_trainer.config.loading import parse_config

        saved = parse_config(point.state["config"])
        changed = differing_keys(saved, self.config)
        if "training.epochs" in changed and self.config.training.epochs >= point.complete_epochs:
            changed.remove("training.epochs")
        if changed:
            raise RunFolderError(
                f"{point.path} was trained with other settings: {', '.join(changed[:5])}"
                f"{f' and {len(changed) - 5} more' if len(changed) > 5 else ''} differ. A resumed run goes on exactly as it "
                "began: leave out the changed --config and --set, or start a new run (model.init_from takes over weights)."
            )

    def _train(self) -> None:
        from tui_trainer.data.fingerprint import fingerprint
        from tui_trainer.engine.checkpoints import Checkpointer
        from tui_trainer.engine.device import choose_device
        from tui_trainer.engine.parts import assemble, facts, load_data
        from tui_trainer.engine.seeding import reproducibility_facts
        from tui_trainer.engine.trainer import Trainer

        config, folder = self.config, self.request.folder
        if config.device != "auto":
            choose_device(config.device)  # known at once, where the data may take minutes to read
        data = load_data(config, self.request.loaded.folder)
        remarks = self._scan(data)
        parts = self._parts = assemble(config, data, self.request.loaded.folder)
        _refuse_non_finite_weights(parts)
        self._start_telemetry(parts)
        checkpointer = Checkpointer(
            folder.checkpoints,
            self.stream.emit,
            link=self._link,
            barrier=lambda: self._recorder.catch_up(durable=True) if self._recorder else None,
            exempt=_constant_non_finite(parts),
        )
        try:
            self._make_room(checkpointer, parts)
            trainer = self._trainer = Trainer(
                parts,
                checkpointer,
                self.commands,
                self._emit_and_judge,
                config_hash=config_hash(config),
                data_fingerprint=fingerprint(data),
                gpu_utilization=self._sampler.gpu_utilization if self._sampler else lambda: None,
            )
            seeds = reproducibility_facts(config.seed)
            if self._point is not None:
                self._restore(trainer, self._point)
            self._open_records()
            self._find_best(trainer)
            for diagnostic in remarks:
                self._emit_and_judge(diagnostic)
            self._announce(parts, facts(parts, seeds))
            try:
                outcome = trainer.train()
            except BaseException:
                self._emergency_save(trainer)
                raise
            self._ending = self._ending_of(outcome.status, outcome.message)
        finally:
            try:
                checkpointer.close()
                self._ending.not_saved |= checkpointer.failed
            finally:
                parts.close()

    def _ending_of(self, status: events.Status, message: str) -> _Ending:
        if self._stopped_by is not None:
            found = self._stopped_by
            return _Ending("stopped", f"Stopped by {found.code}: {found.message}", STOPPED_BY_DIAGNOSTIC)
        if status == "interrupted":
            return _Ending(status, message, EXIT_OF_SIGNAL.get(self._signal or "", 130))
        return _Ending(status, message, 0)

    def _restore(self, trainer: Trainer, point: ResumePoint) -> None:
        if point.state["data_fingerprint"] != trainer.data_fingerprint:
            raise RunFolderError(
                f"The data is not what {point.path} was trained on (its fingerprint changed from "
                f"{point.state['data_fingerprint'][:12]} to {trainer.data_fingerprint[:12]}). Put the old data back, or "
                "start a new run (model.init_from takes over weights)."
            )
        epochs = point.state["config"]["training"]["epochs"]
        if trainer.parts.schedule.fixed_length and epochs != self.config.training.epochs:
            raise RunFolderError(
                f"{point.path} was trained under the schedule {self.config.scheduler.target}, whose course is laid out for "
                f"{epochs} epochs; {self.config.training.epochs} would be another one. Leave training.epochs as it was, or "
                "start a new run (model.init_from takes over weights)."
            )
        trainer.load(point.state)

    def _find_best(self, trainer: Trainer) -> None:
        """The best so far is what `best_model.pt` holds: one that was lost, or never saved, is searched for anew."""
        from tui_trainer.engine.checkpoints import BEST
        from tui_trainer.engine.manifest import read_manifest

        best, folder = trainer.best, self.request.folder.checkpoints
        if best.value is None or not self.config.checkpoint.save_best:
            return
        entry = read_manifest(folder)["files"].get(BEST, {})
        if (folder / BEST).exists() and entry.get("step", best.step) == best.step:
            return
        value = events.from_json_number(entry.get("metrics", {}).get(self.config.checkpoint.monitor))
        lost = f"{BEST} of epoch {best.epoch} is not there"
        if (folder / BEST).exists() and isinstance(value, float):
            best.value, best.epoch, best.step = value, entry["epoch"], entry["step"]
            self._log("warning", f"{lost}; the best is that of epoch {best.epoch} again.")
        else:
            best.value, best.epoch, best.step = None, 0, 0
            self._log("warning", f"{lost}; the search for the best starts anew here.")

    def _make_room(self, checkpointer: Checkpointer, parts: Parts) -> None:
        """Memory for snapshots before the first is due, and a word where the disk will not hold a checkpoint."""
        from tui_trainer.engine.snapshot import expected_bytes

        modules = [parts.model] if parts.loss.module is None else [parts.model, parts.loss.module]
        size = expected_bytes(modules, parts.optimizer)
        checkpointer.reserve(size)
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(self.folder).free
            if free < 2 * size:  # the new file stands beside the old one for a moment
                self._log(
                    "warning",
                    f"A checkpoint takes about {size / 1e6:.1f} MB, and twice that while it is replaced; the disk of "
                    f"{self.folder} has {free / 1e6:.1f} MB free.",
                )

    def _announce(self, parts: Parts, lines: dict[str, list[str]]) -> None:
        from tui_trainer.engine.parts import start_warnings
        from tui_trainer.models.build import describe_model

        config, attempt = self.config, self.request.folder.attempt
        self._emit_and_judge(
            events.RunStarted(
                time=time.time(),
                run_id=self.request.folder.record["id"],
                name=config.name,
                mode=self.request.mode,
                attempt=attempt["number"],
                epochs=config.training.epochs,
                steps_per_epoch=parts.steps_per_epoch,
                batch_size=config.data.batch_size,
                device=str(parts.device),
                parameters=describe_model(parts.model).parameters,
                metrics=parts.metric_names,
                monitor=config.checkpoint.monitor,
                monitor_mode=config.checkpoint.monitor_mode,
                facts=lines,
            )
        )
        for text in start_warnings(parts):
            self._log("warning", text)
        if self._point is not None or attempt["number"] > 1:
            self._emit_and_judge(
                events.Resumed(
                    time=time.time(),
                    attempt=attempt["number"],
                    epoch=self._point.epoch if self._point else 0,
                    step=self._point.step if self._point else 0,
                    checkpoint=self._point.path.name if self._point else "the start",
                )
            )

    def _scan(self, data: Any) -> list[events.DiagnosticRaised]:
        """Raise what is wrong with the data's content; what is merely worth knowing is returned, to be raised later.

        Raises `TrainingError` when training cannot proceed.
        """
        from tui_trainer.data.quality import scan
        from tui_trainer.data.seeds import untouched_rng
        from tui_trainer.diagnostics import data_quality

        if "data_quality" in self.config.diagnostics.disabled:
            return []
        with untouched_rng():
            findings = scan(data)
        raised = data_quality.diagnose(findings, time=time.time())
        for diagnostic in raised:
            if diagnostic.severity != "info":
                self._emit_and_judge(diagnostic)
        blocking = [finding for finding in findings if finding.blocks_training]
        if blocking:
            raise TrainingError(
                f"The data cannot be trained on: {' '.join(item.message for item in blocking[:3])} Nothing was "
                "trained. Mend the data (see diagnostics/data_quality.md); diagnostics.jsonl in the run folder has the details."
            )
        return [diagnostic for diagnostic in raised if diagnostic.severity == "info"]

    def _start_telemetry(self, parts: Parts) -> None:
        from tui_trainer.telemetry.sampler import ResourceSampler

        uuid = None
        if parts.device.type == "cuda":
            import torch

            uuid = str(torch.cuda.get_device_properties(parts.device).uuid)
        self._sampler = ResourceSampler(self.folder, self.stream.emit, time.time, gpu_uuid=uuid)

    def _emergency_save(self, trainer: Trainer) -> None:
        """Keep what was trained before user code failed; a state that cannot be saved does not hide the error."""
        if not self._has_trained():
            return
        try:
            trainer.step_runner.undo()
            trainer.save_last(in_any_case=True)
        except Exception as error:
            self._ending.not_saved["last_model.pt"] = f"{type(error).__name__}: {error}"

    # ── events ──────────────────────────────────────────────────────────────────────────────────────────────

    def _emit_and_judge(self, event: events.Event) -> None:
        """Emit, and see whether a diagnostic follows from it."""
        self.stream.emit(event)
        if isinstance(event, events.CommandHandled):
            self._note_intervention(event)
        elif isinstance(event, events.NonFiniteSkipped):
            self._raise(self._nan_rule().observe(event))
        elif isinstance(event, events.DiagnosticRaised):
            self._diagnostics[event.id] = event
            policy = self.request.on_trigger or self.config.diagnostics.on_trigger
            if policy == "stop" and event.severity == "critical" and self._stopped_by is None:
                self._stopped_by = event
                self.commands.put(Command("stop", {"status": "stopped", "reason": event.code}))

    def _note_intervention(self, event: events.CommandHandled) -> None:
        """What changed the course of training goes into run.json, by step, so that it can be replayed."""
        if event.accepted and event.command in ("set_learning_rate", "extend"):
            folder = self.request.folder
            note = {"epoch": event.epoch, "step": event.step, "command": event.command, **event.details}
            folder.attempt["interventions"].append(note)
            with contextlib.suppress(OSError):
                folder.update()

    def _raise(self, diagnostic: events.DiagnosticRaised) -> None:
        if diagnostic.code not in self.config.diagnostics.disabled:
            self._emit_and_judge(diagnostic)

    def _nan_rule(self) -> NanLossRule:
        from tui_trainer.diagnostics.nan_loss import NanLossRule

        if self._nan_loss is None:  # the counts go on where an earlier attempt left them
            trainer = self._trainer
            earlier = trainer.skipped - 1 if trainer else 0
            self._nan_loss = NanLossRule(earlier, trainer.first_anomaly if trainer else None)
        return self._nan_loss

    def _log(self, level: Any, text: str) -> None:
        self.stream.emit(events.LogLine(time=time.time(), level=level, text=text))

    def _tell_trouble(self, text: str) -> None:
        self._log("error", f"The run folder refuses data: {text}. Training goes on; free some space.")

    def _log_traceback(self, error: BaseException) -> None:
        if self._recorder is not None:
            self._recorder.write_log("".join(traceback.format_exception(error)))

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────

    def _crashed(self, error: BaseException) -> None:
        from tui_trainer.diagnostics import crash

        epoch, step = (self._trainer.epoch, self._trainer.step) if self._trainer else (0, 0)
        diagnostic = crash.diagnose(error, epoch=epoch, step=step, time=time.time())
        self._raise(diagnostic)
        saved = " The state before it is in checkpoints/last_model.pt."
        if not self._has_trained() or "last_model.pt" in self._ending.not_saved:
            saved = ""
        message = f"{diagnostic.message}{saved} The traceback is in {self.folder / 'training.log'}."
        self._ending = _Ending("failed", message, 1, error, self._ending.not_saved)

    def _complete_records(self) -> None:
        """Everything that happened is in the run folder from here on, as far as the disk takes it."""
        ending = self._ending
        if ending.exit_code != RunFolderError.exit_code and (self._prepared or self.request.folder.is_new):
            with contextlib.suppress(UserError):
                self._open_records()
        if ending.error is not None:
            self._log_traceback(ending.error)
        if self._recorder is not None:
            ending.not_saved |= self._recorder.complete()

    def _finish(self) -> None:
        if self._sampler is not None:
            self._sampler.close()
        if self._link is not None:
            self._link.close()
        self._complete_records()
        ending, folder = self._ending, self.request.folder
        if ending.not_saved and ending.exit_code == 0:
            ending.exit_code = 1
        if ending.not_saved:
            missing = "; ".join(f"{name} ({why})" for name, why in ending.not_saved.items())
            self._log("error", f"Not saved: {missing}.")
            ending.message += f" Not saved: {missing}."
        self._summary = self._summarize()
        finished = events.RunFinished(
            time=time.time(), status=ending.status, message=ending.message, summary=self._summary
        )
        self.stream.emit(finished)
        if self._recorder is not None:
            self._note_unsaved(self._recorder.close())
        refused = ending.exit_code == RunFolderError.exit_code
        if refused and folder.is_new:
            folder.discard()
        elif self._recorder is not None:
            self._write_ending()
            self._write_reports()
        folder.release()

    def _note_unsaved(self, missing: dict[str, str]) -> None:
        """What could not be saved after the summary was made."""
        assert self._summary is not None
        if missing.keys() - self._summary["not_saved"].keys():
            self._ending.exit_code = self._ending.exit_code or 1
            self._summary = self._summary | {  # a new one: the old one has been told to all readers
                "not_saved": self._summary["not_saved"] | missing,
                "exit_code": self._ending.exit_code,
            }

    def _write_ending(self) -> None:
        ending, folder = self._ending, self.request.folder
        attempts = folder.record["attempts"]
        if attempts:
            attempts[-1] |= {"ended": events.iso_time(time.time()), "status": ending.status}
        for name, write in (
            ("summary.json", self._write_summary),
            ("run.json", lambda: folder.update(status=ending.status, attempts=attempts)),
        ):
            try:
                write()
            except OSError as error:
                self._note_unsaved({name: str(error.strerror)})

    def _write_summary(self) -> None:
        text = json.dumps(self._summary, indent=1, allow_nan=False, default=str) + "\n"
        write_atomically(self.folder / "summary.json", text)

    def _write_reports(self) -> None:
        if not (self._trainer and self._trainer.history):
            return
        for write in self.request.after:
            try:
                write(self.folder)
            except Exception as error:
                with contextlib.suppress(OSError), (self.folder / "training.log").open("a") as log:
                    log.write("".join(traceback.format_exception(error)))
                reason = str(getattr(error, "strerror", None) or error)
                name = str(getattr(write, "__name__", "report")).removeprefix("_").removeprefix("write_")
                self._note_unsaved({name: reason})
                with contextlib.suppress(OSError):
                    self._write_summary()

    def _summarize(self) -> dict[str, Any]:
        config, ending = self.config, self._ending
        summary: dict[str, Any] = {"run_id": self.request.folder.record["id"], "name": config.name}
        summary |= {"mode": self.request.mode, "status": ending.status, "message": ending.message}
        history = self._point.state["history"] if self._point else []
        if self._trainer is not None and self._trainer.history:
            history = self._trainer.history
        summary |= summarize(
            history,
            monitor=config.checkpoint.monitor,
            monitor_mode=config.checkpoint.monitor_mode,
            metric_names=self._parts.metric_names if self._parts else (),
        )
        best = self._trainer.best if self._trainer else None
        if best is not None and best.value is not None:  # validations inside an epoch count as well
            summary |= {"best_epoch": best.epoch, f"best_{config.checkpoint.monitor}": best.value}
        codes = {item.code for item in self._diagnostics.values() if item.severity != "info"}
        return summary | {
            "steps": self._trainer.step if self._trainer else 0,
            "skipped_batches": self._trainer.skipped if self._trainer else 0,
            "duration_seconds": time.time() - self._started,
            "device": str(self._parts.device) if self._parts else None,
            "parameters": sum(item.numel() for item in self._parts.model.parameters())
            if self._parts
            else None,
            "diagnostics": sorted({*codes, *self._earlier}),
            "not_saved": ending.not_saved,
            "attempt": len(self.request.folder.record["attempts"]),
            "run_dir": str(self.folder),
            "exit_code": ending.exit_code,
        }


def _refuse_non_finite_weights(parts: Parts) -> None:
    import torch

    for name, parameter in parts.model.named_parameters():
        if parameter.is_floating_point() and not bool(torch.isfinite(parameter).all()):
            raise ModelError(
                f"The model's weight {name} holds NaN or infinite values before the first step: not one batch could "
                "be trained on. Look at how the model initialises it."
            )


def _constant_non_finite(parts: Parts) -> frozenset[str]:
    """Buffers that are non-finite from the start (attention masks of -inf): they may be so in checkpoints."""
    import torch

    names = set()
    for prefix, module in (("model_state_dict", parts.model), ("loss_state_dict", parts.loss.module)):
        for name, buffer in module.named_buffers() if module is not None else ():
            if buffer.is_floating_point() and not torch.isfinite(buffer).all():
                names.add(f"{prefix}.{name}")
    return frozenset(names)
