"""Phase 2, Baseline: one fast, conservative training, and `baseline_results.md` about it."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

from tui_trainer.session.launching import AlreadyDone, Options, open_request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tui_trainer.phases.gate import Checklist
    from tui_trainer.session.run_session import RunRequest, RunSession

_TOGETHER_S = 0.2  # nobody presses Ctrl+C twice in less


def open_baseline(
    options: Options,
    *,
    interactive: bool = False,
    ignored: frozenset[str] = frozenset(),
    project: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> RunSession | AlreadyDone:
    """A session ready to start, its gate passed. `interactive`: somebody is there to be asked; `ignored`: kinds of
    diagnostics that they do not want to hear of; `project`: where `gates.yaml` is, the config's folder if left
    out; `say` gets the gate's log lines. Raises `UserError`."""
    from tui_trainer.session.run_session import RunSession

    request = open_request(options)
    if isinstance(request, AlreadyDone):
        return request
    request.after = (_write_report,)
    request.interactive, request.ignored = interactive, ignored
    try:
        _pass_gate(request, project, say)
    except BaseException:
        request.folder.give_up()
        raise
    return RunSession(request)


def _pass_gate(request: RunRequest, project: Path | None, say: Callable[[str], None]) -> None:
    """Earn the gate `reproducibility`, or see that it is earned. Raises `GateNotPassed`.

    Where the data cannot be trained on at all, the run itself is left to say so. Where the rules found something wrong
    with data or model, the run is begun and held before its first step, so that its folder tells.
    """
    from tui_trainer.phases.gate_lines import entry_line, refusal, verdict_lines
    from tui_trainer.phases.plan import GateNotPassed, PlanGate
    from tui_trainer.phases.run_gate import as_record

    told: set[str] = set()

    def tell(checklist: Checklist, _busy: frozenset[str]) -> None:
        for entry in checklist.entries:
            if entry.finding.state not in ("open", "waived") and entry.item.name not in told:
                told.add(entry.item.name)
                say(entry_line(entry))

    gate = PlanGate(request.loaded, project=project, run=request.folder.path, on_change=tell)
    checklist = gate.look()
    if not checklist.passed:
        checklist = gate.run()
    if gate.blocked is not None:
        request.hold = GateNotPassed(refusal(checklist))  # should the run itself find nothing wrong
        return
    request.remarks = tuple(verdict_lines(checklist))
    if gate.trouble is not None:
        request.remarks += (f"{gate.trouble}: the gate holds for this run only",)
    request.folder.record["gates"] = {**request.folder.record.get("gates", {}), **as_record(checklist)}
    request.folder.record.pop("held", None)
    request.on_begin = gate.leave_record
    if not checklist.passed:
        error = GateNotPassed(refusal(checklist))
        if not any(item["severity"] != "info" for item in gate.diagnostics):
            raise error
        request.hold = error


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
