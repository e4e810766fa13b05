"""Opening the app in the terminal, and giving that back as it was, with what was captured meanwhile kept."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from tui_trainer.screens.app import MLTrainerApp, Outcome
from tui_trainer.screens.captured import LINE_LIMIT, OUTPUT_LOG, OutputTail, send_output_to
from tui_trainer.screens.chart_memory import ChartMemory
from tui_trainer.screens.keys import ALL_BINDINGS
from tui_trainer.screens.painting import Painter
from tui_trainer.screens.preferences import load_preferences, preferences_folder
from tui_trainer.screens.terminal import Terminal
from tui_trainer.screens.view import RunView
from tui_trainer.session.run_folder import DEFAULT_ROOT
from tui_trainer.session.wording import clean_text, wants_ascii

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tui_trainer.screens.ignored import Ignored
    from tui_trainer.screens.planner import Planner
    from tui_trainer.session.protocol import RunHandle

PRINTED_BYTES = 64 * 1024  # of what was captured by a run that never began: the end is enough


def open_app(
    start: Callable[[], RunHandle] | None,
    *,
    planner: Planner | None = None,
    name: str = "",
    run_roots: Sequence[Path] = (DEFAULT_ROOT,),
    ignored: Ignored | None = None,
) -> Outcome:
    """Open the app on the run that `start` begins, else on the plan, and give the terminal back as it was.

    The list of runs shows those in `run_roots` and beside this one. What was printed meanwhile ends up in the run
    folder's `output.log`. Raises nothing of the app's own: see `Outcome`.
    """
    ascii_only = wants_ascii(os.environ)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    painter = Painter()
    app: MLTrainerApp | None = None
    error: BaseException | None = None
    outcome: Outcome | None = None
    terminal = Terminal(ascii=ascii_only)
    try:
        with terminal:
            app = MLTrainerApp(
                start,
                painter=painter,
                planner=planner,
                name=name,
                terminal=terminal,
                ascii=ascii_only,
                preferences=load_preferences(preferences_folder(os.environ), ALL_BINDINGS),
                ignored=ignored,
                chart_memory=ChartMemory.of_user(),
                run_roots=run_roots,
            )
            try:
                outcome = app.run()
                error = app._exception  # noqa: SLF001 (Textual has no public way to ask)
            except Exception as failure:  # a screen that fails takes no training with it
                error = failure
    finally:
        painter.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    handle = app.handle if app is not None else None
    view = app.view if app is not None else RunView()
    _keep_output(terminal, app, handle, error)
    if terminal.gone:
        send_output_to(handle.folder / OUTPUT_LOG if handle is not None else Path(os.devnull))
    if error is not None:
        return Outcome("crashed", handle, view, error=error)
    return outcome or Outcome("detached", handle, view)


def _keep_output(
    terminal: Terminal, app: MLTrainerApp | None, handle: RunHandle | None, error: BaseException | None
) -> None:
    """Put what was captured, and the traceback of a failed app, into the run folder; without one, onto stderr."""
    tail = (app.tail if app is not None else None) or OutputTail(terminal.output)
    captured = tail.remainder()
    if error is not None:
        captured += "".join(traceback.format_exception(error)).encode("utf-8", "replace")
    with contextlib.suppress(OSError):
        terminal.output.unlink()
    if not captured:
        return
    if app is not None and handle is not None and app.view.attempt:
        with contextlib.suppress(OSError), (handle.folder / OUTPUT_LOG).open("ab") as file:
            file.write(captured)
            return
    lines = captured[-PRINTED_BYTES:].decode("utf-8", "replace").splitlines()
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write("".join(f"{clean_text(line, limit=LINE_LIMIT)}\n" for line in lines))
