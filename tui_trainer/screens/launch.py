"""From the command line to the app and back: open it on a run, and see the run to its end whatever the app does."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tui_trainer.config.errors import UserError
from tui_trainer.config.wording import class_name
from tui_trainer.engine.events import LogLine
from tui_trainer.screens.ignored import load_ignored
from tui_trainer.screens.preferences import preferences_folder
from tui_trainer.session.launching import AlreadyDone, Options
from tui_trainer.session.log_lines import lines_for
from tui_trainer.session.run_folder import DEFAULT_ROOT
from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from tui_trainer.config.loading import LoadedConfig
    from tui_trainer.screens.app import Outcome
    from tui_trainer.session.protocol import RunHandle
    from tui_trainer.session.run_session import RunSession

ABANDONED = 130
WHERE_OUTPUT_IS = "[OUTPUT] Prints, warnings and what native code writes are in output.log"


class _Done(Exception):
    def __init__(self, done: AlreadyDone) -> None:
        super().__init__()
        self.done = done


def run_app(options: Options, *, straight: bool = False) -> int:
    """Open the app on the plan of the run that `options` ask for; returns the process's exit code.

    `straight`: train at once where the plan's gate is passed already.
    """
    from tui_trainer.screens import opening
    from tui_trainer.screens.planner import Planner

    sessions: list[RunSession] = []
    ignored = load_ignored(preferences_folder(os.environ))

    def load() -> LoadedConfig:
        """Called on a thread of the app's, behind the first paint, as all that follows."""
        from tui_trainer.session.launching import config_to_plan

        return config_to_plan(options)

    def start() -> RunHandle:
        from tui_trainer.phases.gate_lines import refusal
        from tui_trainer.phases.plan import GateNotPassed, PlanGate

        loaded = load()
        checklist = PlanGate(loaded).look()
        if not checklist.passed:
            raise GateNotPassed(refusal(checklist))
        return begin(loaded)

    def begin(loaded: LoadedConfig) -> RunHandle:
        """Imports torch."""
        from tui_trainer.phases.baseline import open_baseline

        wanted = dataclasses.replace(options, mode="baseline", planned=loaded)
        if sessions:  # another run after the first: it is neither resumed nor put into the same folder
            folder = options.output_dir and _free_beside(options.output_dir)
            wanted = dataclasses.replace(wanted, resume=None, output_dir=folder)
        session = open_baseline(wanted, interactive=True, ignored=ignored.codes)
        if isinstance(session, AlreadyDone):
            raise _Done(session)
        session.start()
        session.stream.emit(LogLine(time=time.time(), level="info", text=WHERE_OUTPUT_IS))
        sessions.append(session)
        return session

    name = options.config.stem if options.config is not None else "digits-baseline"
    project = options.config.parent if options.config is not None else Path()
    name = clean_text(name, limit=200)
    outcome = opening.open_app(
        start if straight else None,
        planner=Planner(load, begin, name=name),
        name=name,
        run_roots=(DEFAULT_ROOT, project / DEFAULT_ROOT),
        ignored=ignored,
    )
    if not sessions:
        return _not_started(outcome)
    code = _see_to_the_end(sessions[-1], outcome)
    _let_the_gate_be_settled(code)
    return code


def _free_beside(folder: Path) -> Path:
    """`folder-2`, or with the next number for which there is nothing."""
    return next(
        path for n in itertools.count(2) if not (path := folder.with_name(f"{folder.name}-{n}")).exists()
    )


def _let_the_gate_be_settled(code: int) -> None:
    """What looks at the run that is over comes to its end first; a signal ends the process at once."""
    from tui_trainer.screens.examiner import wait_for_work

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: os._exit(code))
    if not wait_for_work(1.0):
        with contextlib.suppress(OSError):  # the terminal may be gone
            print("The run is being checked for its gate. Ctrl+C leaves without that.", flush=True)
        wait_for_work()


def _not_started(outcome: Outcome) -> int:
    error = outcome.error
    if isinstance(error, _Done):
        print(
            f"The run in {error.done.folder} is finished ({error.done.summary.get('status')}): nothing to do."
        )
        return 0
    if isinstance(error, UserError):
        print(f"mltrainer-tui: {error}", file=sys.stderr)
        return error.exit_code
    if error is not None:
        said = clean_text(error)
        print(
            f"mltrainer-tui: the run could not be started: {class_name(type(error))}: {said}", file=sys.stderr
        )
        return 1
    return 128 + outcome.signal if outcome.signal else 0


def _see_to_the_end(session: RunSession, outcome: Outcome) -> int:
    """Wait for the run where it goes on without its screen; print what came of it."""
    if outcome.reason == "abandoned" and not session.wait(0):
        print(f"Left without waiting. What was saved is in {session.folder / 'checkpoints'}.")
        sys.stdout.flush()
        os._exit(
            128 + outcome.signal if outcome.signal else ABANDONED
        )  # the training thread may hang: nothing here may wait for it
    from tui_trainer.phases.baseline import obey_signals

    obey_signals(session)
    if outcome.reason == "crashed" and outcome.error is not None:
        _follow(session, outcome.error)
        return session.exit_code
    while not session.wait(0.5):
        pass
    if outcome.reason != "detached":
        _print_ending(session, outcome)
    return session.exit_code


def _follow(session: RunSession, error: BaseException) -> None:
    from tui_trainer.reports.printer import HeadlessPrinter

    print(
        f"The screen failed ({class_name(type(error))}: {clean_text(error, limit=300)}). The training goes on; its "
        f"progress follows. The traceback is in {session.folder / 'output.log'}.",
        file=sys.stderr,
    )
    printer = HeadlessPrinter(sys.stderr, interactive=sys.stderr.isatty(), verbose=False)
    printer.run(session.subscribe("printer"), lambda: session.wait(0))
    while not session.wait(0.5):
        pass


def _print_ending(session: RunSession, outcome: Outcome) -> None:
    from tui_trainer.engine.events import RunFinished
    from tui_trainer.reports.printer import closing_lines

    view = outcome.view
    summary = session.summary or {}
    finished = view.finished or RunFinished(
        time=time.time(),
        status=summary.get("status", "died"),
        message=str(summary.get("message", "")),
        summary=summary,
    )
    unsaved = dict(view.unsaved) | {
        str(name): str(why) for name, why in (summary.get("not_saved") or {}).items()
    }
    lines = lines_for(finished, epochs=view.progress.epochs or None)
    lines += closing_lines(finished, unsaved, view.non_finite)
    report = session.folder / "baseline_results.md"
    if report.exists():
        lines.append(f"Report: {clean_text(report)}")
    print("\n".join(lines))
