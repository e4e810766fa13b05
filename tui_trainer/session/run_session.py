"""RunSession: one run as its owner sees it. It owns the worker thread, the folder, the records and the telemetry."""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import DataError, RunFolderError, TrainingError, UserError
from tui_trainer.config.hashing import config_hash
from tui_trainer.config.user_code import raised
from tui_trainer.engine import events
from tui_trainer.engine.commands import Command, CommandQueue
from tui_trainer.engine.writer_link import WriterLink
from tui_trainer.session import starting
from tui_trainer.session.attempt import Attempt
from tui_trainer.session.ending import STOPPED_BY_DIAGNOSTIC, Ending, FinalRecords, ending_of, summary_of
from tui_trainer.session.garbage import spare_what_is_imported
from tui_trainer.session.judge import Judge
from tui_trainer.session.stream import EventStream, StreamSubscription

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tui_trainer.config.loading import LoadedConfig
    from tui_trainer.config.schema import Config
    from tui_trainer.engine.parts import Parts
    from tui_trainer.engine.trainer import Trainer
    from tui_trainer.session.repair import Rebuild
    from tui_trainer.session.run_folder import RunFolder
    from tui_trainer.session.watchdog import Watchdog
    from tui_trainer.telemetry.sampler import ResourceSampler


@dataclass
class RunRequest:
    """What shall be run: a config, the folder for it, and where to go on from (`resume_from` None: the newest
    good checkpoint of a reopened folder, or the start of a new one). `after` is called with the folder of a run
    that trained at least one epoch: reports are written there. `interactive`: somebody can be asked. `ignored`: codes of
    diagnostics that the user never wants to hear of. `hold`: raised before the first step, once everything that is
    wrong with data and model has been told. `remarks`: what the log says of the gate, as `[GATE]`.
    `on_begin` is called with the folder before the first step; an `OSError` of it is only logged.
    """

    loaded: LoadedConfig
    folder: RunFolder
    mode: str = "baseline"
    resume_from: Path | None = None
    on_trigger: str | None = None
    after: Sequence[Callable[[Path], object]] = ()
    interactive: bool = False
    ignored: frozenset[str] = frozenset()
    hold: UserError | None = None
    remarks: tuple[str, ...] = ()
    on_begin: Callable[[Path], object] | None = None


class RunSession:
    """Runs a request in a worker thread. Threads may subscribe, send commands and wait at any time.

    The writer process starts at once, beside the imports, so that its start costs nothing.
    """

    def __init__(self, request: RunRequest) -> None:
        self.request = request
        self.stream = EventStream()
        self.commands = CommandQueue()
        self._summary: dict[str, Any] | None = None
        self._finished = threading.Event()
        self._ending = Ending()
        self._judge = Judge(request, self.stream, self.commands)
        self._attempt = Attempt(request, self.stream, self.commands, self._judge)
        self._trainer: Trainer | None = None
        self._parts: Parts | None = None
        self._sampler: ResourceSampler | None = None
        self._watchdog: Watchdog | None = None
        self._signal: str | None = None
        self._started = time.time()
        self._link: WriterLink | None = None
        self._thread = threading.Thread(target=self._run, name="training", daemon=True)

    # ── what owners and readers use ─────────────────────────────────────────────────────────────────────────

    @property
    def config(self) -> Config:
        """What is trained; fixes change it."""
        return self.request.loaded.config

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
        """Ask for a command of `engine.commands.NAMES`, or to `ignore` a diagnostic; the answer is a
        `CommandHandled` event. `apply_fix` takes `diagnostic` and `fix`, `ignore` takes `diagnostic` and `always`."""
        if command in ("apply_fix", "undo_fix", "ignore"):
            self._judge.ask(command, details)
        else:
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
            self._attempt.find()
            self._train()
        except UserError as error:
            code = TrainingError.exit_code if self._has_trained() else error.exit_code
            if self._judge.stopped_by is not None:
                code = STOPPED_BY_DIAGNOSTIC
            if isinstance(error, DataError) and self._has_trained():
                self._tell_crash(error.__cause__ or error)
            self._ending = Ending("failed", str(error), code, error, self._ending.not_saved)
        except (SystemExit, KeyboardInterrupt) as error:
            # Signals go to the main thread, so user code raised this.
            if self._trainer is None:
                self._ending = Ending(
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
        point = self._attempt.point
        return self._trainer is not None and self._trainer.step > (point.step if point else 0)

    def _train(self) -> None:
        from tui_trainer.data.fingerprint import fingerprint
        from tui_trainer.engine.checkpoints import Checkpointer
        from tui_trainer.engine.device import choose_device
        from tui_trainer.engine.parts import assemble, facts, load_data
        from tui_trainer.engine.seeding import reproducibility_facts
        from tui_trainer.engine.trainer import Trainer

        config, folder = (
            self.config,
            self.request.folder,
        )  # as it was found, fixes of earlier attempts included
        if config.device != "auto":
            choose_device(config.device)  # known at once, where the data may take minutes to read
        data = load_data(config, self.request.loaded.folder)
        remarks = self._scan(data)
        parts = self._parts = assemble(config, data, self.request.loaded.folder)
        starting.refuse_non_finite_weights(parts)
        self._start_telemetry(parts)
        checkpointer = Checkpointer(
            folder.checkpoints,
            self.stream.emit,
            link=self._link,
            barrier=self._attempt.catch_up,
            exempt=starting.constant_non_finite(parts),
        )
        try:
            size = starting.checkpoint_bytes(parts)
            checkpointer.reserve(size)
            if warning := starting.room_warning(self.folder, size):
                self._log("warning", warning)
            trainer = self._trainer = self._judge.trainer = Trainer(
                parts,
                checkpointer,
                self.commands,
                self._judge.emit,
                config_hash=config_hash(config),
                data_fingerprint=fingerprint(data),
                gpu_utilization=self._sampler.gpu_utilization if self._sampler else lambda: None,
            )
            seeds = reproducibility_facts(config.seed)
            context = self._judge.watch_over(trainer, self.request.loaded.folder)
            self._attempt.begin(trainer)
            self._note_threads()
            self._tell_what_is_wrong(remarks)
            self._announce(trainer, facts(parts, seeds), context)
            spare_what_is_imported()
            self._watchdog = self._judge.watchdog(folder.checkpoints, threading.get_ident())
            try:
                outcome = trainer.train()
                while outcome.rollback is not None:
                    trainer = self._attempt.go_back(trainer, outcome.rollback, self._rebuilder(trainer))
                    self._trainer, self._parts = trainer, trainer.parts
                    outcome = trainer.train()
            except BaseException:
                self._emergency_save(trainer)
                raise
            self._ending = ending_of(outcome, stopped_by=self._judge.stopped_by, signal=self._signal)
        finally:
            if self._watchdog is not None:
                self._watchdog.close()
            try:
                checkpointer.close()
                self._ending.not_saved |= checkpointer.failed
            finally:
                (self._parts or parts).close()  # there may be no trainer: what it asks of the data can fail

    def _note_threads(self) -> None:
        """How sums are divided among threads decides their last digits: a run that is trained again needs the number."""
        import torch

        self.request.folder.attempt["cpu_threads"] = torch.get_num_threads()
        with contextlib.suppress(OSError):
            self.request.folder.update()

    def _rebuilder(self, trainer: Trainer) -> Rebuild:
        """What makes a trainer for another config beside `trainer`, which has to stay as it is until that is done."""
        from tui_trainer.config.hashing import differing_keys
        from tui_trainer.data.fingerprint import fingerprint
        from tui_trainer.engine.parts import assemble, load_data
        from tui_trainer.engine.trainer import Trainer

        def rebuild(config: Config, fresh: bool) -> Trainer:
            changed = differing_keys(trainer.config, config)
            reread = fresh or any(key.startswith(("data.", "seed", "deterministic")) for key in changed)
            folder = self.request.loaded.folder
            data = load_data(config, folder) if reread else trainer.parts.data
            parts = assemble(config, data, folder)
            trainer.checkpointer.exempt = starting.constant_non_finite(parts)
            return Trainer(
                parts,
                trainer.checkpointer,
                self.commands,
                self._judge.emit,
                config_hash=config_hash(config),
                data_fingerprint=fingerprint(data) if reread else trainer.data_fingerprint,
                gpu_utilization=self._sampler.gpu_utilization if self._sampler else lambda: None,
            )

        return rebuild

    def _announce(self, trainer: Trainer, lines: dict[str, list[str]], context: dict[str, Any]) -> None:
        from tui_trainer.engine.parts import start_warnings

        self._judge.emit(starting.run_started(self.request, trainer, lines, context))
        for text in start_warnings(trainer.parts):
            self._log("warning", text)
        if self.request.on_begin is not None:
            try:
                self.request.on_begin(self.folder)
            except OSError as error:
                self._log(
                    "warning", f"The environment's record could not be kept in the run folder ({error})."
                )
        if self._attempt.point is not None or self.request.folder.attempt["number"] > 1:
            self._judge.emit(starting.resumed(self.request, trainer, self._attempt.point))

    def _scan(self, data: Any) -> list[events.DiagnosticRaised]:
        """Raise what is wrong with the data's content; what is merely worth knowing is returned, to be raised later.

        Raises `TrainingError` when training cannot proceed.
        """
        found, self._judge.problems_of_data, blocked = starting.scan_data(data, self.config)
        for diagnostic in found:
            if diagnostic.severity != "info":
                self._judge.emit(diagnostic)
        if blocked is not None:
            raise TrainingError(blocked)
        return [diagnostic for diagnostic in found if diagnostic.severity == "info"]

    def _tell_what_is_wrong(self, remarks: Sequence[events.DiagnosticRaised]) -> None:
        """All that is known before the first step. Raises `request.hold`."""
        for diagnostic in remarks:
            self._judge.emit(diagnostic)
        self._judge.before_training()
        if self.request.hold is not None:
            self.request.folder.record["held"] = True
            raise self.request.hold

    def _start_telemetry(self, parts: Parts) -> None:
        import torch

        from tui_trainer.telemetry.sampler import ResourceSampler

        uuid, unused = None, ""
        if parts.device.type == "cuda":
            uuid = str(torch.cuda.get_device_properties(parts.device).uuid)
        elif torch.version.cuda is None:
            unused = f"torch {torch.__version__} is built without CUDA"
        else:
            asked = self.config.device == parts.device.type
            unused = (
                f"the config says device: {self.config.device}" if asked else "torch finds no usable CUDA"
            )
        self._sampler = ResourceSampler(
            self.folder, self._judge.note, time.time, gpu_uuid=uuid, unused=unused
        )

    def _emergency_save(self, trainer: Trainer) -> None:
        """Keep what was trained before user code failed; a state that cannot be saved does not hide the error."""
        if not self._has_trained():
            return
        try:
            trainer.step_runner.undo()
            trainer.save_last(in_any_case=True)
        except Exception as error:  # the failure that led here is what counts
            self._ending.not_saved["last_model.pt"] = f"{type(error).__name__}: {error}"

    # ── events ──────────────────────────────────────────────────────────────────────────────────────────────

    def _log(self, level: Any, text: str) -> None:
        self.stream.emit(events.LogLine(time=time.time(), level=level, text=text))

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────

    def _tell_crash(self, error: BaseException) -> events.DiagnosticRaised:
        from tui_trainer.diagnostics import crash

        epoch, step = (self._trainer.epoch, self._trainer.step) if self._trainer else (0, 0)
        rows = self._trainer.step_runner.rows_in_hand if self._trainer else []
        diagnostic = crash.diagnose(error, epoch=epoch, step=step, time=time.time(), rows=rows)
        self._judge.raise_diagnostic(diagnostic)
        return diagnostic

    def _crashed(self, error: BaseException) -> None:
        diagnostic = self._tell_crash(error)
        saved = " The state before it is in checkpoints/last_model.pt."
        if not self._has_trained() or "last_model.pt" in self._ending.not_saved:
            saved = ""
        message = f"{diagnostic.message}{saved} The traceback is in {self.folder / 'training.log'}."
        self._ending = Ending("failed", message, 1, error, self._ending.not_saved)

    def _complete_records(self) -> None:
        """Everything that happened is in the run folder from here on, as far as the disk takes it."""
        ending = self._ending
        if ending.exit_code != RunFolderError.exit_code:
            self._attempt.open_if_possible()
        recorder = self._attempt.recorder
        if recorder is not None:
            if ending.error is not None:
                recorder.write_log("".join(traceback.format_exception(ending.error)))
            ending.not_saved |= recorder.complete()

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
        words = FinalRecords(self.request, ending, self._summarize())
        self._summary = words.summary
        finished = events.RunFinished(
            time=time.time(), status=ending.status, message=ending.message, summary=words.summary
        )
        self.stream.emit(finished)
        recorder = self._attempt.recorder
        if recorder is not None:
            words.note_unsaved(recorder.close())
        refused = ending.exit_code == RunFolderError.exit_code
        if refused and folder.is_new:
            folder.discard()
        elif recorder is not None:
            words.write()
            if self._trainer and self._trainer.history:
                words.write_reports()
        self._summary = words.summary
        folder.release()

    def _summarize(self) -> dict[str, Any]:
        return summary_of(
            self.request,
            self._ending,
            trainer=self._trainer,
            parts=self._parts,
            point=self._attempt.point,
            diagnostics=self._judge.codes,
            seconds=time.time() - self._started,
        )
