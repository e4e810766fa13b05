"""Phase 2, Baseline: one fast, conservative training, and `baseline_results.md` about it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from tui_trainer.config.errors import TrainingError, UserError
from tui_trainer.session.launching import AlreadyDone, Options, open_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tui_trainer.phases.gate import Checklist
    from tui_trainer.session.run_session import RunRequest, RunSession

_TOGETHER_S = 0.2  # nobody presses Ctrl+C twice in less
PHASES_TO_COME = ("plan", "diagnose", "optimize", "finalize", "all")


def open_baseline(
    options: Options,
    *,
    interactive: bool = False,
    ignored: frozenset[str] = frozenset(),
    say: Callable[[str], None] = lambda _: None,
) -> RunSession | AlreadyDone:
    """A session ready to start, its gate passed. `interactive`: somebody is there to be asked; `ignored`: kinds of
    diagnostics that they do not want to hear of; `say` gets the gate's log lines. Raises `UserError`."""
    from tui_trainer.session.run_session import RunSession

    if options.mode in PHASES_TO_COME:
        raise TrainingError(
            f"--mode {options.mode} is not part of this version yet; --mode baseline is. It trains, validates, "
            "checkpoints and reports."
        )
    request = open_request(options)
    if isinstance(request, AlreadyDone):
        return request
    request.after = (_write_report,)
    request.interactive, request.ignored = interactive, ignored
    try:
        _pass_gate(request, say)
    except BaseException:
        request.folder.give_up()
        raise
    return RunSession(request)


def _pass_gate(request: RunRequest, say: Callable[[str], None]) -> None:
    """Earn the gate `reproducibility`, or see that it is earned. Raises `GateNotPassed`.

    Where the data cannot be trained on at all, the run itself is left to say so. Where the rules found something wrong
    with data or model, the run is begun and held before its first step, so that its folder tells.
    """
    from tui_trainer.phases.gate_lines import entry_line, refusal, verdict_lines
    from tui_trainer.phases.plan import GateNotPassed, PlanGate

    told: set[str] = set()

    def tell(checklist: Checklist, _busy: frozenset[str]) -> None:
        for entry in checklist.entries:
            if entry.finding.state not in ("open", "waived") and entry.item.name not in told:
                told.add(entry.item.name)
                say(entry_line(entry))

    gate = PlanGate(request.loaded, on_change=tell)
    checklist = gate.look()
    if not checklist.passed:
        checklist = gate.run()
    if gate.blocked is not None:
        return
    request.remarks = tuple(verdict_lines(checklist))
    if gate.trouble is not None:
        request.remarks += (f"{gate.trouble}: the gate holds for this run only",)
    request.folder.record["gates"] = {**request.folder.record.get("gates", {}), **as_record(checklist)}
    request.folder.record.pop("held", None)
    if not checklist.passed:
        error = GateNotPassed(refusal(checklist))
        if not any(item["severity"] != "info" for item in gate.diagnostics):
            raise error
        request.hold = error


def as_record(checklist: Checklist) -> dict[str, dict[str, dict[str, str]]]:
    """A gate as `run.json` holds it: state and reason of each item, for reports."""
    return {
        checklist.gate: {
            entry.item.name: {"state": entry.finding.state, "title": entry.item.title, "reason": entry.reason}
            for entry in checklist.entries
        }
    }


def run_headless(options: Options, *, verbose: bool, as_json: bool) -> int:
    """Train without a screen: progress on stderr, and on stdout one JSON object where asked for. Returns the exit code."""
    with _own_stdout() as stdout:
        if options.run is not None and options.mode == "baseline":
            _say(sys.stderr, "--run is for the phases after the baseline; --mode baseline builds on no run.")
        try:
            session = open_baseline(options, say=lambda line: _say(sys.stderr, line))
        except UserError as error:
            return _refuse(error, stdout, as_json=as_json)
        if isinstance(session, AlreadyDone):
            _say(
                sys.stderr,
                f"The run in {session.folder} is finished ({session.summary.get('status')}): nothing to do.",
            )
            if as_json:
                _say(stdout, json.dumps(session.summary))
            return 0
        _train(session, verbose=verbose)
        if session.summary is not None and as_json:
            _say(stdout, json.dumps(session.summary, allow_nan=False, default=str))
        return session.exit_code


def _train(session: RunSession, *, verbose: bool) -> None:
    from tui_trainer.reports.printer import HeadlessPrinter

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


def obey_signals(session: RunSession, *, clock: Callable[[], float] = time.monotonic) -> None:
    """INT and TERM checkpoint and stop; a second of them, either one, ends the process at once; hang-ups are ignored.

    Signals that come together count as one: `timeout`, for one, sends TERM to its child and again to its group.
    """
    first: list[float] = []

    def interrupted(number: int, _frame: Any) -> None:
        now = clock()
        if first and now - first[0] > _TOGETHER_S:
            os._exit(128 + number)  # asked twice: the last checkpoint on disk is what remains
        if not first:
            first.append(now)
            session.stop_for_signal(signal.Signals(number).name)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a lost connection ends no training


def _write_report(folder: Path) -> None:
    from tui_trainer.reports.baseline import write_baseline_results

    write_baseline_results(folder)


def _refuse(error: UserError, stdout: TextIO, *, as_json: bool) -> int:
    _say(sys.stderr, f"mltrainer-tui: {error}")
    if as_json:
        _say(stdout, json.dumps({"status": "failed", "message": str(error), "exit_code": error.exit_code}))
    return error.exit_code


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
