"""The phases without a screen: what `--no-ui --mode …` does, its lines on stderr, one JSON object on stdout, exit codes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, TextIO

from tui_trainer.config.errors import RunFolderError, TrainingError, UserError
from tui_trainer.config.gate_items import ALL
from tui_trainer.phases.baseline import obey_signals, open_baseline
from tui_trainer.phases.gate import GRANTED
from tui_trainer.phases.gate_lines import entry_line, missing_lines, route_lines, verdict_lines
from tui_trainer.session.launching import AlreadyDone, Options, load_options, newest_run
from tui_trainer.session.run_folder import read_run_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tui_trainer.phases.after_baseline import Verdict
    from tui_trainer.phases.gate import Checklist
    from tui_trainer.session.run_session import RunSession

GATE_NOT_PASSED = 3
SIGNALLED = (130, 143)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_TO_COME = {
    "optimize": "Phase 4 (Optimize) is not part of this version yet.",
    "finalize": "Phase 5 (Finalize) is not part of this version yet.",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """How a mode ended: the exit code, and the object that `--json` prints."""

    exit_code: int
    summary: dict[str, Any]


def run_headless(options: Options, *, verbose: bool, as_json: bool) -> int:
    """Do what `options.mode` says: progress on stderr, and on stdout one JSON object where asked for. Returns the exit
    code."""
    with _own_stdout() as stdout, _ends_on_signals():
        try:
            if options.mode in _TO_COME:
                raise TrainingError(f"{_TO_COME[options.mode]} --mode plan, baseline, diagnose and all are.")
            result = _MODES[options.mode](options, verbose)
        except UserError as error:
            _say(sys.stderr, f"mltrainer-tui: {error}")
            result = Result(
                error.exit_code, {"status": "failed", "message": str(error), "exit_code": error.exit_code}
            )
        except _Ended as end:
            said = "interrupted" if end.exit_code == SIGNALLED[0] else "terminated"
            message = f"{said.capitalize()} outside of the training; what was finished before is kept."
            _say(sys.stderr, f"mltrainer-tui: {message}")
            result = Result(end.exit_code, {"status": said, "message": message, "exit_code": end.exit_code})
        if as_json:
            _say(stdout, json.dumps(result.summary, allow_nan=False, default=str))
        return result.exit_code


# ── one mode each ───────────────────────────────────────────────────────────────────────────────────────────


def _plan(options: Options, _verbose: bool) -> Result:
    """Earn the gate `reproducibility` and leave its artifacts."""
    from tui_trainer.phases.plan import PlanGate

    gate = PlanGate(load_options(options), on_change=_Teller())
    checklist = gate.run()
    if gate.blocked is not None:
        what = gate.blocked.partition(" Nothing was trained.")[0]
        raise TrainingError(f"{what} Mend the data (see diagnostics/data_quality.md).")
    _tell_gate(checklist)
    if gate.trouble is not None:
        _say(sys.stderr, f"[GATE] {gate.trouble}")
    code = 0 if checklist.passed else GATE_NOT_PASSED
    return Result(code, {"status": _status(checklist), "gates": _gates(checklist), "exit_code": code})


def _baseline(options: Options, verbose: bool) -> Result:
    """Train, then settle the gate `post_baseline`."""
    if options.run is not None:
        _say(sys.stderr, "--run is for the phases after the baseline; --mode baseline builds on no run.")
    return _train_and_judge(options, verbose)[0]


def _diagnose(options: Options, _verbose: bool) -> Result:
    """Analyse `--run`, else the newest run of the config's name."""
    run = options.run
    if run is None:
        loaded = load_options(options)
        run = newest_run(loaded.config.name)
        if run is None:
            raise RunFolderError(
                f"There is no run of {loaded.config.name} in checkpoints/ to diagnose. Name one with --run, or train: "
                "--mode baseline."
            )
    return Result(0, _diagnosed(run, None, options))


def _all(options: Options, verbose: bool) -> Result:
    """All phases that there are, in the order their routes give, in one project folder."""
    from tui_trainer.phases.pipeline import Pipeline

    code, summary = Pipeline(
        options,
        train=lambda item, project: _train_and_judge(item, verbose, project),
        diagnose=lambda run, project: _diagnosed(run, project, options),
        say=_tell,
    ).run()
    return Result(code, summary)


_MODES: dict[str, Callable[[Options, bool], Result]] = {
    "plan": _plan,
    "baseline": _baseline,
    "diagnose": _diagnose,
    "all": _all,
}


# ── training ────────────────────────────────────────────────────────────────────────────────────────────────


def _train_and_judge(
    options: Options, verbose: bool, project: Path | None = None
) -> tuple[Result, Verdict | None]:
    """Train; then the gate after it and the route, unless a signal ended the run or not one step was made.

    A run that is over is judged again only as part of a project, or where somebody signs or waives."""
    session = open_baseline(options, project=project, say=_tell)
    if isinstance(session, AlreadyDone):
        status = session.summary.get("status")
        _say(sys.stderr, f"The run in {session.folder} is finished ({status}): nothing to do.")
        result = Result(0, session.summary)
        if project is None and not _says_something_new(session.folder, options):
            return result, None
    else:
        _train(session, verbose=verbose)
        result = Result(session.exit_code, session.summary or {})
    refused = result.exit_code == RunFolderError.exit_code  # the run's files are as they were
    if refused or not result.summary.get("steps") or result.exit_code in SIGNALLED:
        return result, None
    from tui_trainer.phases.after_baseline import judge_baseline

    try:
        verdict = judge_baseline(session.folder, project, options)
    except UserError as error:
        _say(sys.stderr, f"[GATE] {error}")
        return result, None
    log = session.folder if verdict.news else None
    _tell_gate(verdict.checklist, entries=True, folder=log)
    for line in route_lines(verdict.decision):
        _log(log, line)
    return result, verdict


def _says_something_new(run: Path, options: Options) -> bool:
    """Whether `--sign` and `--waive` change anything at the gate of a run that is over."""
    from tui_trainer.phases.baseline_checks import GATE

    items = (read_run_json(run) or {}).get("gates", {}).get(GATE, {})
    notes = [
        (items.get(name.strip()), note.strip())
        for name, _, note in (text.partition("=") for text in options.sign)
    ]
    waived = {text.partition("=")[0].strip() for text in options.waive}
    missing = {name for name, item in items.items() if item.get("state") not in GRANTED}
    return any(item and item.get("reason") != note for item, note in notes) or bool(
        missing if ALL in waived else missing & waived
    )


def _train(session: RunSession, *, verbose: bool) -> None:
    from tui_trainer.reports.printer import HeadlessPrinter

    with _signals_kept():
        obey_signals(session)
        session.start()
        printer = HeadlessPrinter(sys.stderr, interactive=sys.stderr.isatty(), verbose=verbose)
        printer.run(session.subscribe("printer"), lambda: session.wait(0))
        while not session.wait(0.5):
            pass
    summary = session.summary or {}
    for name, why in summary.get("not_saved", {}).items():
        if name not in summary["message"]:  # what failed after the run's own last words
            _say(sys.stderr, f"NOT SAVED: {name}: {why}")


def _diagnosed(run: Path, project: Path | None, options: Options) -> dict[str, Any]:
    from tui_trainer.phases.after_diagnosis import complete_diagnosis, diagnosis_lines

    diagnosis, checklist = complete_diagnosis(run, project, options)
    for line in diagnosis_lines(diagnosis, run):
        _tell(line)
    _tell_gate(checklist, entries=True)
    return diagnosis.to_json() | {"gates": _gates(checklist), "exit_code": 0}


# ── signals ─────────────────────────────────────────────────────────────────────────────────────────────────


class _Ended(BaseException):
    """A signal that ends the program where no training is there to take it; not an `Exception`: nobody catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


@contextlib.contextmanager
def _ends_on_signals() -> Iterator[None]:
    """INT and TERM unwind what is going on, so that no process stays behind; a lost connection ends nothing."""

    def end(number: int, _frame: object) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)  # it ends only once: `timeout` sends TERM twice
        raise _Ended(number)

    with _signals_kept():
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            for number in _SIGNALS:
                signal.signal(number, end)
        yield


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Afterwards signals are handled as before."""
    before = {number: signal.getsignal(number) for number in (*_SIGNALS, signal.SIGHUP)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


# ── words ───────────────────────────────────────────────────────────────────────────────────────────────────


class _Teller:
    """Tells each item of a gate once, as it is found."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, checklist: Checklist, _busy: frozenset[str]) -> None:
        for entry in checklist.entries:
            if entry.finding.state not in ("open", "waived") and entry.item.name not in self._told:
                self._told.add(entry.item.name)
                _tell(entry_line(entry))


def _tell_gate(checklist: Checklist, *, entries: bool = False, folder: Path | None = None) -> None:
    """The gate's verdict, before it the items where they were not told yet, after it what is missing."""
    lines = [
        entry_line(entry)
        for entry in checklist.entries
        if entries and entry.finding.state not in ("open", "waived")
    ]
    lines += [f"[GATE] {line}" for line in verdict_lines(checklist)]
    lines += [f"  {line}" for line in missing_lines(checklist)]
    for line in lines:
        _log(folder, line)


def _log(folder: Path | None, line: str) -> None:
    """On stderr, and in the log of a run that has ended."""
    _tell(line)
    if folder is not None:
        with contextlib.suppress(OSError), (folder / "training.log").open("a", encoding="utf-8") as log:
            log.write(line + "\n")


def _gates(checklist: Checklist) -> dict[str, Any]:
    return {
        checklist.gate: {
            "passed": checklist.passed,
            "items": {entry.item.name: entry.finding.state for entry in checklist.entries},
        }
    }


def _status(checklist: Checklist) -> str:
    return "passed" if checklist.passed else "not_passed"


def _tell(line: str) -> None:
    _say(sys.stderr, line)


def _say(stream: TextIO, text: str) -> None:
    """Print, and let a closed stream be."""
    with contextlib.suppress(OSError, ValueError):
        stream.write(text + "\n")
        stream.flush()


@contextlib.contextmanager
def _own_stdout() -> Iterator[TextIO]:
    """Keep the real stdout for our one JSON object: whatever user code or a library prints goes to stderr.

    Descriptor 1 stays on stderr for good: C libraries and exit handlers print as late as the process's end.
    """
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield ours
    finally:
        with contextlib.suppress(OSError, ValueError):
            ours.close()
