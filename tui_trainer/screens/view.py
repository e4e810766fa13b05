"""What screens know of a run: one immutable value, folded from its events. Screens render from it only."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from tui_trainer.engine.events import (
    CheckpointFailed,
    CheckpointSaved,
    CommandHandled,
    DiagnosticRaised,
    EpochFinished,
    FixApplied,
    LogLine,
    NonFiniteSkipped,
    ResourceSampled,
    Resumed,
    RunFinished,
    RunStarted,
    StepLogged,
)
from tui_trainer.screens.cases import Diagnosed
from tui_trainer.screens.log_history import LogEntry, extended
from tui_trainer.screens.machine_history import MachineHistory
from tui_trainer.screens.recorded import Recorded, key_of, record_all
from tui_trainer.session.log_lines import epoch_line, lines_for
from tui_trainer.session.progress import Progress, advance_progress
from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tui_trainer.engine.events import Event, Status
    from tui_trainer.screens.log_history import Level

OUTPUT_LINE = 20_000  # characters of a printed line; output.log has the rest
EPOCH_LIMIT = 200  # finished epochs kept for the table
ANSWERS_LIMIT = 20  # latest answers to commands


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as of its latest event."""

    name: str = ""
    mode: str = "baseline"
    device: str = ""
    parameters: int = 0
    attempt: int = 0
    metrics: tuple[str, ...] = ()
    monitor: str = "val_loss"
    status: Status | Literal["starting"] = "starting"
    message: str = ""
    progress: Progress = field(default_factory=Progress)
    step: StepLogged | None = None
    grad_norm: float | None = None
    epochs: tuple[EpochFinished, ...] = ()
    best_epoch: int = 0
    best_value: float | None = None
    best_metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    recorded: Recorded = field(default_factory=Recorded)
    non_finite: int = 0
    saved: CheckpointSaved | None = None
    unsaved: tuple[tuple[str, str], ...] = ()
    diagnosed: Diagnosed = field(default_factory=Diagnosed)
    ignored_codes: frozenset[str] = frozenset()
    finished: RunFinished | None = None
    schedule: str = ""
    fixed_length: bool = False
    answers: tuple[CommandHandled, ...] = ()
    answers_total: int = 0
    log: tuple[LogEntry, ...] = ()
    log_total: int = 0
    machine: MachineHistory = field(default_factory=MachineHistory)

    @property
    def diagnostics(self) -> tuple[DiagnosticRaised, ...]:
        """Those that hold, in the order in which they were told."""
        return self.diagnosed.told

    @property
    def metric(self) -> str | None:
        """The first metric, the one the second chart shows."""
        return self.metrics[0] if self.metrics else None

    @property
    def monitored_chart(self) -> str:
        """The chart on which the best epoch shows."""
        return key_of(self.monitor)[0]

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.finished is not None


def advance(view: RunView, event: Event) -> RunView:
    """`view` after `event`."""
    return advance_all(view, (event,))


def advance_all(view: RunView, events: Iterable[Event]) -> RunView:
    """`view` after `events`, in order; neighbouring steps are taken in together, and the curves all at once."""
    events = list(events)
    recorded = record_all(view.recorded, events)
    steps: list[StepLogged] = []
    for event in events:
        if isinstance(event, StepLogged):
            steps.append(event)
            continue
        if steps:
            view = _steps(view, steps)
            steps = []
        view = _one(view, event)
    if steps:
        view = _steps(view, steps)
    return replace(view, recorded=recorded) if recorded is not view.recorded else view


def with_output(view: RunView, lines: Sequence[str], time: float) -> RunView:
    """`view` with `lines` that somebody wrote to stdout or stderr in its log."""
    return _logged(view, [LogEntry(time, "output", clean_text(line, limit=OUTPUT_LINE)) for line in lines])


def _steps(view: RunView, steps: Sequence[StepLogged]) -> RunView:
    latest = steps[-1]
    norms = [event.grad_norm for event in steps if event.grad_norm is not None]
    return replace(
        view,
        progress=advance_progress(view.progress, latest),
        step=latest,
        grad_norm=norms[-1] if norms else view.grad_norm,
    )


def _one(view: RunView, event: Event) -> RunView:  # noqa: C901, PLR0912 (a branch an event kind)
    known = isinstance(event, DiagnosticRaised) and any(item.id == event.id for item in view.diagnostics)
    progress = advance_progress(view.progress, event)
    view = view if progress is view.progress else replace(view, progress=progress)
    if isinstance(event, CommandHandled):
        answers = (*view.answers, event)[-ANSWERS_LIMIT:]
        view = replace(
            view,
            answers=answers,
            answers_total=view.answers_total + 1,
            diagnosed=view.diagnosed.with_answer(event),
        )
    match event:
        case RunStarted():
            view = _started(view, event)
        case Resumed():
            view = _resumed(view, event)
        case NonFiniteSkipped():
            view = replace(view, non_finite=view.non_finite + 1)
        case EpochFinished():
            view = _epoch(view, event)
        case CheckpointSaved():
            left = tuple(pair for pair in view.unsaved if pair[0] not in event.files)
            view = replace(view, saved=event, unsaved=left)
        case CheckpointFailed():
            left = tuple(pair for pair in view.unsaved if pair[0] not in event.files)
            reason = clean_text(event.reason, limit=300)
            view = replace(view, unsaved=left + tuple((name, reason) for name in event.files))
        case DiagnosticRaised():
            view = replace(view, diagnosed=view.diagnosed.with_diagnostic(event))
        case FixApplied():
            view = replace(view, diagnosed=view.diagnosed.with_fix(event))
        case ResourceSampled():
            view = replace(view, machine=view.machine.with_sample(event))
        case CommandHandled(command="pause", accepted=True):
            view = replace(view, status="paused")
        case CommandHandled(command="resume", accepted=True):
            view = replace(view, status="running")
        case RunFinished():
            view = replace(view, status=event.status, message=clean_text(event.message), finished=event)
        case _:
            pass
    level = _level(event)
    planned = view.progress.epochs or None
    lines = (
        [epoch_line(event, epochs=planned)]
        if isinstance(event, EpochFinished)
        else lines_for(event, epochs=planned, repeated=known)
    )
    return _logged(view, [LogEntry(event.time, level, line) for line in lines])


def _started(view: RunView, event: RunStarted) -> RunView:
    fresh = RunView() if event.attempt <= 1 else view
    return replace(
        fresh,
        name=clean_text(event.name, limit=200),
        mode=event.mode,
        device=clean_text(event.device, limit=80),
        parameters=event.parameters,
        attempt=event.attempt,
        metrics=event.metrics,
        monitor=event.monitor,
        schedule=next(
            (line[6:] for line in event.facts.get("SCHEDULER", ()) if line.startswith("Type: ")), ""
        ),
        fixed_length=event.fixed_length,
        status="running",
        finished=None,
        progress=view.progress,
        recorded=view.recorded,
        log=view.log,
        log_total=view.log_total,
        machine=view.machine,
    )


def _resumed(view: RunView, event: Resumed) -> RunView:
    """Rows of the attempt before end where the new one begins."""
    kept = tuple(row for row in view.epochs if row.step <= event.step)
    best_epoch = kept[-1].best_epoch if kept else 0
    best = next((row for row in kept if row.epoch == best_epoch), None)
    metrics = MappingProxyType(dict(best.metrics) if best else {})
    return replace(
        view,
        best_epoch=best_epoch,
        best_value=kept[-1].best_value if kept else None,
        best_metrics=view.best_metrics if best_epoch == view.best_epoch else metrics,
        diagnosed=view.diagnosed.resumed(event),
        unsaved=(),
        saved=_still_saved(view.saved, event),
        attempt=event.attempt,
        status="running",
        finished=None,
        epochs=kept,
        step=None,
    )


def _still_saved(saved: CheckpointSaved | None, resumed: Resumed) -> CheckpointSaved | None:
    """What was saved later than where it goes on from is gone; that one is there."""
    if saved is None or saved.step <= resumed.step:
        return saved
    return replace(saved, epoch=resumed.epoch, step=resumed.step)


def _epoch(view: RunView, event: EpochFinished) -> RunView:
    changed = replace(
        view,
        epochs=(*view.epochs, event)[-EPOCH_LIMIT:],
        best_epoch=event.best_epoch,
        best_value=event.best_value,
    )
    if event.is_best:
        changed = replace(changed, best_metrics=MappingProxyType(dict(event.metrics)))
    return changed


def _logged(view: RunView, entries: Sequence[LogEntry]) -> RunView:
    if not entries:
        return view
    log, total = extended(view.log, view.log_total, entries)
    return replace(view, log=log, log_total=total)


def _level(event: Event) -> Level:
    match event:
        case LogLine():
            return event.level
        case DiagnosticRaised():
            return {"critical": "error", "warning": "warning"}.get(event.severity, "info")  # type: ignore[return-value]  # the values are levels
        case NonFiniteSkipped() | CheckpointFailed() | RunFinished(status="failed" | "died"):
            return "error"
        case CommandHandled(accepted=False):
            return "warning"
        case CheckpointSaved():
            return "debug"
        case _:
            return "info"
