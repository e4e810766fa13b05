"""A real pseudo-terminal: the app starts, survives noise and signals, and leaves the terminal as it was."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tui_trainer.screens.terminal import TAIL_BYTES, OutputTail, TerminalWriter, wants_ascii

APP = Path(__file__).with_name("pty_app.py")


class Session:
    """The app in a pseudo-terminal of 120 × 34."""

    def __init__(self, folder: Path, *words: str, **environ: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 34, 120, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.output = b""
        env = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": os.pathsep.join(sys.path), **environ}
        env.pop("COLUMNS", None)
        env.pop("LINES", None)
        self.process = subprocess.Popen(
            [sys.executable, str(APP), str(folder), *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
            start_new_session=True,
        )

    def until(self, pattern: bytes, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.output):
            assert time.monotonic() < deadline, f"{pattern!r} did not come: {self.output[-2000:]!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.output += os.read(self.master, 65536)

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def end(self) -> str:
        self.until(rb"OUTCOME [^\n]*\n")
        assert self.process.wait(timeout=20) == 0
        assert termios.tcgetattr(self.slave) == self.before
        for mode in (b"1049", b"1000", b"1003", b"1006", b"2004", b"1004"):
            switches = re.findall(rb"\x1b\[\?" + mode + rb"([hl])", self.output)
            assert switches[-1:] in ([b"l"], []), mode
        assert self.output.rfind(b"\x1b[?25h") > self.output.rfind(b"\x1b[?25l")
        return re.search(rb"OUTCOME ([^\r\n]*)", self.output).group(1).decode()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture
def session(tmp_path):
    opened = []

    def start(*words: str, **environ: str) -> Session:
        opened.append(Session(tmp_path, *words, **environ))
        return opened[-1]

    yield start
    for item in opened:
        item.close()


@pytest.mark.parametrize(
    "environ",
    [
        {"COLORTERM": "truecolor"},
        {"TERM": "xterm-256color"},
        {"TERM": "xterm"},
        {"NO_COLOR": "1"},
        {"LC_ALL": "C"},
        {"TERM": "screen"},
    ],
    ids=lambda environ: "=".join(*environ.items()),
)
def test_it_starts_and_leaves_the_terminal_clean(session, environ, tmp_path):
    app = session(**environ)
    app.until(rb"digits-baseline")
    app.until(rb"EPOCH 8/20")
    app.type(b"q")
    app.until(rb"keep training")
    app.type(b"y")
    assert app.end() == "quit stopped None NoneType"
    log = (tmp_path / "output.log").read_text()
    assert "a print of the user's code" in log
    assert "C code writes" in log
    before_outcome = app.output[: app.output.index(b"OUTCOME")]
    if environ.get("LC_ALL") == "C":
        assert before_outcome.isascii()
    if "NO_COLOR" in environ:
        assert not re.findall(rb"\x1b\[[0-9;]*38;2;(?!(\d+);\1;\1)", before_outcome)


def test_a_terminal_may_shrink_to_nearly_nothing_and_grow_again(session):
    app = session()
    app.until(rb"EPOCH 8/20")
    for width, height in [(20, 5), (1, 1), (300, 80), (20, 5), (120, 34)]:
        app.output = b""
        app.resize(width, height)
        app.until(rb"\x1b\[")  # it painted
    app.output = b""
    app.type(b"?")
    app.until(rb"Pause the training")
    app.type(b"?q")
    app.until(rb"keep training")
    app.type(b"y")
    assert app.end() == "quit stopped None NoneType"


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_inside_tmux_it_paints_whole_lines_and_leaves_the_shell_s_screen(tmp_path):
    tmux = ["tmux", "-L", f"mltrainer-{os.getpid()}", "-f", os.devnull]

    def shown(pattern: str) -> str:
        deadline = time.monotonic() + 30
        while True:
            text = subprocess.run(
                [*tmux, "capture-pane", "-p"], capture_output=True, text=True, check=True
            ).stdout
            if re.search(pattern, text):
                return text
            assert time.monotonic() < deadline, text

    command = f"printf 'before\\n'; {sys.executable} {APP} {tmp_path}; cat"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LC_ALL": "C.UTF-8"}
    try:
        subprocess.run(
            [*tmux, "-u", "new-session", "-d", "-x", "120", "-y", "34", command], env=environ, check=True
        )
        screen = shown(r"EPOCH 8/20")
        assert "before" not in screen
        assert all(len(line) <= 120 for line in screen.splitlines())
        subprocess.run([*tmux, "send-keys", "q"], check=True)
        shown("keep training")
        subprocess.run([*tmux, "send-keys", "y"], check=True)
        assert shown("OUTCOME quit stopped").startswith("before\n")
    finally:
        subprocess.run([*tmux, "kill-server"], check=False, capture_output=True)


def test_prints_and_c_level_output_appear_in_the_log_pane(session):
    app = session()
    app.until(rb"C code writes \[/red\]")
    app.until(rb"a print of the user's code")


def test_sigterm_saves_and_reports_its_number(session):
    app = session()
    app.until(rb"EPOCH 8/20")
    app.process.send_signal(signal.SIGTERM)
    assert app.end() == "quit interrupted 15 NoneType"


def test_a_crash_of_the_app_restores_the_terminal_and_leaves_the_run(session):
    assert session("crash").end().startswith("crashed running None ZeroDivisionError")


def test_a_run_that_cannot_start_says_so(session):
    assert session("fail").end().startswith("not_started starting None ValueError")


def test_a_flood_of_prints_leaves_the_screen_whole(session):
    app = session("flood", "finish")
    app.until(rb"199999")
    app.type(b"q")
    assert app.end().startswith("quit completed")
    assert len(app.output) < 2_000_000


def test_a_closed_terminal_detaches(tmp_path):
    app = Session(tmp_path)
    app.until(rb"EPOCH 8/20")
    os.close(app.slave)
    os.close(app.master)
    assert app.process.wait(timeout=20) == 0
    assert "OUTCOME detached running" in (tmp_path / "output.log").read_text()


def test_the_tail_gives_whole_clean_lines(tmp_path):
    path = tmp_path / "output"
    path.write_bytes(b"one\r\ntwo \x1b[1mbold\x1b[0m\nhal")
    tail = OutputTail(path)
    assert tail.read() == ["one", "two bold"]
    with path.open("ab") as file:
        file.write(b"f\n10%\r20%\r30%\n\xff\n")
    assert tail.read() == ["half", "30%", "\ufffd"]
    assert tail.read() == []
    with path.open("ab") as file:
        file.write(b"y" * TAIL_BYTES + b"\nlast\n")
    assert tail.read()[-1] == "last"


def test_a_dead_terminal_swallows_what_is_written():
    read, write = os.pipe()
    os.close(read)
    writer = TerminalWriter(write, ascii=False)
    assert writer.write("gone") == 4
    assert writer.gone
    os.close(write)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"LANG": "en_US.UTF-8"}, False),
        ({"LANG": "C"}, True),
        ({"LC_ALL": "POSIX", "LANG": "en_US.UTF-8"}, True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),
        ({"LANG": "de_DE.ISO-8859-1"}, True),
        ({"TERM": "linux", "LANG": "en_US.UTF-8"}, True),
    ],
)
def test_ascii_is_chosen_by_the_locale(environ, expected):
    assert wants_ascii(environ) is expected


def test_an_ascii_terminal_gets_stand_ins_as_wide_as_the_signs():
    reading, writing = os.pipe()
    text = "╭──╮ ÷10 ×2 → … ● é"
    TerminalWriter(writing, ascii=True).write(text)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        assert stream.read() == b"+--+ /10 x2 > ~ * ?"
