"""Running a case in this process, and noting what is said of it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.diagnostics.case import Case, Outcome, Settings
from tui_trainer.config.hashing import config_hash
from tui_trainer.config.loading import LoadedConfig, parse_config
from tui_trainer.engine import events, lr_range_test
from tui_trainer.session import watchdog
from tui_trainer.session.run_folder import create
from tui_trainer.session.run_session import RunRequest, RunSession

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_S = 300.0
_MEMORY = Path("/dev/shm")  # noqa: S108 (the disk is not what is measured)


class Recorded(RunSession):
    """A session whose events are kept. The checkpoints are written by the run itself: a writer process for each of
    hundreds of runs of a second would cost more than the runs."""

    def __init__(self, config: Settings, folder: Path, *, on_trigger: str = "report") -> None:
        parsed = parse_config(config)
        run = create(
            folder,
            name=parsed.name,
            mode="baseline",
            config_hash=config_hash(parsed),
            config_folder=folder.parent,
            lineage=None,
        )
        loaded = LoadedConfig(parsed, None, folder.parent, "")
        super().__init__(RunRequest(loaded=loaded, folder=run, on_trigger=on_trigger))
        self.seen: list[events.Event] = []
        emit = self.stream.emit

        def keep(event: events.Event) -> None:
            self.seen.append(event)
            emit(event)

        self.stream.emit = keep  # type: ignore[method-assign]  # a subscriber may miss intermediate points

    def start(self) -> None:
        """Begin, without a writer process."""
        self._thread.start()


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory where there is such a thing; gone afterwards."""
    place = tempfile.mkdtemp(prefix="mltrainer-faults-", dir=_MEMORY if _MEMORY.is_dir() else None)
    try:
        yield Path(place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def _watchdog_every(seconds: float | None) -> Iterator[None]:
    before = watchdog._INTERVAL_S  # noqa: SLF001 (five seconds are too long for a run of three)
    if seconds is not None:
        watchdog._INTERVAL_S = seconds  # noqa: SLF001 (as above)
    try:
        yield
    finally:
        watchdog._INTERVAL_S = before  # noqa: SLF001 (as above)


@contextlib.contextmanager
def _trial_steps_counted() -> Iterator[list[int]]:
    """How many steps range tests take meanwhile: they are part of what a repair costs."""
    before, count = lr_range_test._step, [0]  # noqa: SLF001 (no event tells of them)

    def counting(*args: Any) -> float:
        count[0] += 1
        return before(*args)

    lr_range_test._step = counting  # noqa: SLF001 (as above)
    try:
        yield count
    finally:
        lr_range_test._step = before  # noqa: SLF001 (as above)


def run(case: Case, *, on_trigger: str = "report") -> Outcome:
    """Train the case's config."""
    with _watchdog_every(case.watchdog_s):
        return run_config(case.config, on_trigger=on_trigger)


def run_config(config: Settings, *, on_trigger: str = "report") -> Outcome:
    """Train `config` in a folder that is thrown away. Raises `RuntimeError` for a run that does not end."""
    begun = time.perf_counter()
    with scratch() as folder, _trial_steps_counted() as trials:
        session = Recorded(config, folder / "run", on_trigger=on_trigger)
        session.start()
        if not session.wait(_LONGEST_S):
            raise RuntimeError(f"{config['name']} has not ended after {_LONGEST_S:g} s")
        return _outcome(session, time.perf_counter() - begun, trials[0])


def _outcome(session: Recorded, seconds: float, trial_steps: int) -> Outcome:
    raised, fixes, troubles = [], [], []
    history: list[dict[str, float]] = []
    trained, per_epoch = 0, 1.0
    for event in session.seen:
        if isinstance(event, events.DiagnosticRaised):
            raised.append((event.code, event.severity, event.epoch))
        elif isinstance(event, events.EpochFinished):
            trained += 1
            per_epoch = event.step / event.epoch
            history.append(dict(event.metrics))
        elif isinstance(event, events.Resumed):
            del history[event.epoch :]
        elif isinstance(event, events.FixApplied) and not event.undone:
            fixes.append(event.fix)
        elif isinstance(event, events.LogLine) and event.text.startswith("The rule "):
            troubles.append(event.text)
    summary = session.summary or {}
    return Outcome(
        raised=tuple(raised),
        history=tuple(history),
        status=str(summary.get("status")),
        exit_code=session.exit_code,
        trained=trained,
        tried=trial_steps / per_epoch,
        seconds=seconds,
        skipped=sum(isinstance(event, events.NonFiniteSkipped) for event in session.seen),
        fixes=tuple(fixes),
        troubles=tuple(troubles),
        message=str(session._ending.message),  # noqa: SLF001 (why a run failed is in no file)
    )
