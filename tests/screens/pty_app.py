"""Run by the terminal tests: the app on a run that is faked, with noise on stdout and stderr."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from pathlib import Path

import sample_run as sample
from fake_run import FakeRun

from tui_trainer.screens.app import MLTrainerApp
from tui_trainer.screens.opening import open_app
from tui_trainer.screens.terminal_writer import TerminalWriter


def start():
    run = FakeRun(sample.events(20, until_step=400), Path(sys.argv[1]))
    print("a print of the user's code")
    os.write(2, b"\x1b[31mC code writes [/red]\x1b[0m\n")
    if "mark" in sys.argv:
        obey = run.stop_for_signal
        run.stop_for_signal = lambda name: (obey(name), os.write(marks, b"s"))
    if "finish" in sys.argv:
        run.emit(sample.finished())
    if "flood" in sys.argv:
        threading.Thread(target=lambda: [print("x" * 100, i) for i in range(200_000)], daemon=True).start()
    return run


if "mark" in sys.argv:
    marks = os.open(Path(sys.argv[1], "marks"), os.O_WRONLY)  # kept open: an end of file is no mark
    written = itertools.count()
    write = TerminalWriter.write

    def counting(self, text):
        if (
            next(written) == 60
        ):  # far more than a terminal that takes nothing, and Textual's queue, have room for
            os.write(marks, b"p")
        return write(self, text)

    TerminalWriter.write = counting

if "fail" in sys.argv:

    def start():
        print("half a word before it failed")
        raise ValueError("cannot read the data")


if "refused" in sys.argv:
    began = start

    def start():
        """A run whose folder is taken back because nothing was trained in it."""
        began()
        gone = Path(sys.argv[1], "gone")
        return FakeRun([sample.finished(status="failed", message="refused")], gone)


if "crash" in sys.argv:
    MLTrainerApp.show = lambda self, view: 1 / 0

outcome = open_app(start, name="pty")
print(
    f"OUTCOME {outcome.reason} {outcome.view.status} {outcome.signal} {type(outcome.error).__name__}",
    flush=True,
)
