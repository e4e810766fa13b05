"""An app in a real pseudo-terminal, from outside."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

APP = Path(__file__).with_name("pty_app.py")


class Session:
    """The app in a pseudo-terminal of 120 × 34."""

    def __init__(self, folder: Path, *words: str, command: Sequence[str] = (), **environ: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 34, 120, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.output = b""
        env = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        env |= {"PYTHONPATH": os.pathsep.join(sys.path)}
        for name in {"COLUMNS", "LINES", "COLORTERM", "LC_ALL", "LC_CTYPE", "NO_COLOR"} - set(environ):
            env.pop(name, None)
        env |= environ
        self.process = subprocess.Popen(
            list(command) or [sys.executable, str(APP), str(folder), *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
            start_new_session=True,
        )

    def until(self, pattern: bytes, seconds: float = 90.0) -> None:
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.output):
            assert time.monotonic() < deadline, f"{pattern!r} did not come: {self.output[-2000:]!r}"
            self.take()

    def until_there(self, path: Path, seconds: float = 90.0) -> None:
        """Read on until the file is there."""
        deadline = time.monotonic() + seconds
        while not path.exists():
            assert time.monotonic() < deadline, f"no {path.name}: {self.output[-2000:]!r}"
            self.take()

    def take(self) -> None:
        """Read what has come, or wait a moment for it."""
        if select.select([self.master], [], [], 0.1)[0]:
            self.output += os.read(self.master, 65536)

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def end(self) -> str:
        self.until(rb"OUTCOME [^\n]*\n")
        assert self.process.wait(timeout=60) == 0
        self.assert_sane()
        return re.search(rb"OUTCOME ([^\r\n]*)", self.output).group(1).decode()

    def assert_sane(self) -> None:
        """The terminal is as it was before."""
        assert termios.tcgetattr(self.slave) == self.before
        for mode in (b"1049", b"1000", b"1003", b"1006", b"2004", b"1004"):
            switches = re.findall(rb"\x1b\[\?" + mode + rb"([hl])", self.output)
            assert switches[-1:] in ([b"l"], []), mode
        assert self.output.rfind(b"\x1b[?25h") > self.output.rfind(b"\x1b[?25l")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.slave)
        os.close(self.master)
