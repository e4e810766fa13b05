"""A run as a process of its own: started like from a shell, watched from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import psutil

from tests.runs import ENVIRONMENT, command

PATIENCE_S = 180  # on two busy cores a start takes seconds


class LiveRun:
    """A headless run in a process group of its own, as a shell starts one."""

    started: ClassVar[list[LiveRun]] = []

    def __init__(
        self,
        folder: Path,
        *arguments: str | Path,
        cwd: Path,
        wrapper: tuple[str, ...] = (),
        program: Sequence[str] | None = None,
        gate: bool = False,
    ) -> None:
        """`program`: a script of the test's own, with its arguments, in place of the headless command; `gate`: no item
        is waived."""
        self.folder = folder
        self._children: list[psutil.Process] = []
        self.started.append(self)
        self.log = cwd / f"{folder.name}.stderr"
        with self.log.open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, *program]
                if program is not None
                else [*wrapper, *command("--output-dir", folder, *arguments, gate=gate)],
                cwd=cwd,
                env=ENVIRONMENT
                if program is None
                else ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )

    def until(self, happened: Callable[[], object]) -> None:
        """Return when `happened`; fails when the run ends or takes too long before."""
        patience = time.monotonic() + PATIENCE_S
        while not happened():
            assert self.process.poll() is None, (
                f"ended with {self.process.returncode}:\n{self.log.read_text()}"
            )
            assert time.monotonic() < patience, self.log.read_text()
            time.sleep(0.01)  # polling another process's state

    def until_logged(self, text: str) -> None:
        """Return when `text` stands in events.jsonl."""
        events = self.folder / "events.jsonl"
        self.until(lambda: events.is_file() and text in events.read_text(errors="replace"))

    def children(self) -> list[psutil.Process]:
        """Writer, loader workers and what else it has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def press(self, number: signal.Signals) -> None:
        """Send a signal to the whole process group, as a terminal does."""
        os.killpg(self.process.pid, number)

    def press_until_ended(self, number: signal.Signals) -> None:
        """Send a signal again and again, as somebody in a hurry does."""
        self._children = self.children()
        while self.process.poll() is None:
            self.press(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.5)

    def end(self, code: int) -> str:
        """Wait for the end, which must have this exit code and leave no child; returns stdout."""
        if self.process.poll() is None:
            self._children = self.children()
        stdout, _ = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == code, self.log.read_text()
        assert "Traceback" not in self.log.read_text()
        assert psutil.wait_procs(self._children, timeout=PATIENCE_S)[1] == []
        return str(stdout)


def is_deaf(process: psutil.Process) -> bool:
    """Whether INT and TERM do nothing to `process` (Linux)."""
    status = dict(line.split(":\t") for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    mask = int(status["SigBlk"], 16) | int(status["SigIgn"], 16)
    return all(mask >> (number - 1) & 1 for number in (signal.SIGINT, signal.SIGTERM))
