"""A real pseudo-terminal: the app starts, survives noise and signals, and leaves the terminal as it was."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from pty_session import APP, Session

from tests.runs import WAIVED
from tui_trainer.screens import captured, terminal_writer
from tui_trainer.screens.captured import TAIL_BYTES, OutputTail
from tui_trainer.screens.terminal_writer import BEHIND_LIMIT, TerminalWriter
from tui_trainer.session.wording import wants_ascii


@pytest.fixture
def session(tmp_path):
    opened = []

    def start(*words: str, **options) -> Session:
        opened.append(Session(tmp_path, *words, **options))
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
        {"LANG": "C"},
        {"TERM": "screen"},
        {"TERM": "linux"},
        {"TERM": "dumb"},
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
    if "C" in (environ.get("LC_ALL"), environ.get("LANG")) or environ.get("TERM") == "linux":
        assert before_outcome.isascii()
    colours = {number for number in (2, 5) if re.search(rb"\x1b\[[0-9;]*[34]8;%d;" % number, before_outcome)}
    if environ.get("TERM") in ("xterm", "screen", "linux"):
        assert colours == set()  # sixteen
    elif environ.get("TERM") == "xterm-256color":
        assert colours == {5}
    elif "COLORTERM" in environ:
        assert colours == {2}
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
        deadline = time.monotonic() + 90
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


def test_a_dumb_terminal_gets_the_run_line_by_line(session, tmp_path):
    command = [sys.executable, "-m", "tui_trainer", *WAIVED, "--output-dir", str(tmp_path / "run")]
    command += ["--set", "training.epochs=1", "--set", "data.batch_size=256"]
    app = session(command=command, TERM="dumb", OMP_NUM_THREADS="1")
    app.until(rb"Training complete")
    assert app.process.wait(timeout=60) == 0
    assert b"\x1b" not in app.output


HANGING = """\
from pathlib import Path
import time
from torch import nn

class Hanging(nn.Linear):
    def __init__(self, in_features, num_classes):
        super().__init__(in_features, num_classes)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        if self.calls > 5:
            Path(__file__).with_name("hangs").touch()
            time.sleep(3600)
        return super().forward(x)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_at_once_though_the_training_hangs(session, tmp_path, number, code):
    (tmp_path / "hanging.py").write_text(HANGING)
    config = tmp_path / "config.yaml"
    config.write_text("device: cpu\nmodel: {target: 'hanging:Hanging'}\n")
    command = [
        sys.executable,
        "-m",
        "tui_trainer",
        *WAIVED,
        "--mode",
        "baseline",
        "--config",
        str(config),
        "--output-dir",
        str(tmp_path / "run"),
    ]
    app = session(command=command, XDG_CONFIG_HOME=str(tmp_path), OMP_NUM_THREADS="1")
    app.until_there(tmp_path / "hangs")
    app.process.send_signal(number)
    app.until(rb"Saving")
    app.process.send_signal(number)
    app.until(rb"Left without waiting")
    assert app.process.wait(timeout=60) == code
    app.assert_sane()


def test_a_crash_of_the_app_restores_the_terminal_and_leaves_the_run(session):
    assert session("crash").end().startswith("crashed running None ZeroDivisionError")


def test_a_run_that_cannot_start_says_so_after_what_was_printed(session, tmp_path):
    app = session("fail", TMPDIR=str(tmp_path))
    assert app.end().startswith("not_started starting None ValueError")
    assert b"half a word before it failed" in app.output[app.output.rfind(b"1049l") :]
    assert list(tmp_path.glob("mltrainer-output-*")) == []


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
    assert writer.finish(20)
    assert writer.gone
    os.close(write)


def stalled_terminal(*, blocking):
    """A terminal that takes nothing until its other end is read."""
    master, slave = pty.openpty()
    os.set_blocking(slave, blocking)
    return master, slave, TerminalWriter(slave, ascii=False)


def read_all(master, writer):
    taken = b""
    while (ready := select.select([master], [], [], 0.2)[0]) or writer.behind:
        if ready:
            taken += os.read(master, 65536)
    return taken


@pytest.mark.parametrize("blocking", [True, False])
def test_a_stalled_terminal_holds_nobody_up_and_loses_no_mode(blocking):
    master, slave, writer = stalled_terminal(blocking=blocking)
    frame = "\x1b[5;1H" + "x" * 20_000
    for _ in range(50):
        writer.write(frame)  # returns at once
    writer.write("\x1b[?1049l")
    assert BEHIND_LIMIT < writer.behind < BEHIND_LIMIT + 50_000
    assert not writer.repaint_due()
    assert not writer.finish(0.0)
    taken = read_all(master, writer)
    assert taken.count(b"\x1b[5;1H") * len(frame) + len("\x1b[?1049l") == len(
        taken
    )  # whole frames, fewer of them
    assert taken.endswith(b"\x1b[?1049l")
    assert writer.repaint_due()
    assert not writer.repaint_due()
    assert writer.finish(20)
    os.close(slave)
    os.close(master)


def test_waiting_for_a_non_blocking_terminal_costs_no_processor(monkeypatch):
    master, slave, writer = stalled_terminal(blocking=False)
    waited = threading.Event()

    def waiting(*arguments):
        waited.set()
        return select.select(*arguments)

    monkeypatch.setattr(terminal_writer, "select", SimpleNamespace(select=waiting))
    writer.write("x" * 100_000)
    assert waited.wait(20)
    assert len(read_all(master, writer)) == 100_000
    os.close(slave)
    os.close(master)


def test_a_stop_signal_is_obeyed_while_the_terminal_takes_nothing(session, tmp_path):
    os.mkfifo(tmp_path / "marks")
    marks = os.open(tmp_path / "marks", os.O_RDONLY | os.O_NONBLOCK)
    app = session("mark")
    for width in (120, 119) * 450:
        app.resize(width, 34)  # so that there is much to paint
        if select.select([marks], [], [], 0.1)[0]:
            break
    assert os.read(marks, 1) == b"p", "painted more than the terminal has room for"
    app.process.send_signal(signal.SIGTERM)
    assert select.select([marks], [], [], 90)[0]
    assert os.read(marks, 1) == b"s", "stopped"
    os.close(marks)
    assert app.end() == "quit interrupted 15 NoneType"


def test_output_that_was_captured_before_a_refused_start_is_printed(session, tmp_path):
    app = session("refused", TMPDIR=str(tmp_path))
    assert app.end().startswith("quit failed")
    ending = app.output[app.output.rfind(b"1049l") :]
    assert b"a print of the user's code" in ending
    assert b"C code writes [/red]" in ending
    assert b"\x1b[31mC code" not in ending
    assert list(tmp_path.glob("mltrainer-output-*")) == []


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
    writer = TerminalWriter(writing, ascii=True)
    writer.write(text)
    assert writer.finish(20)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        assert stream.read() == b"+--+ /10 x2 > ~ * ?"


def test_output_goes_to_the_runs_folder_as_it_comes(tmp_path, capfd):
    first, own = tmp_path / "captured", tmp_path / "output.log"
    own.write_text("an earlier attempt\n")
    first.write_bytes(b"before\nhal")
    tail = OutputTail(first)
    assert tail.read() == ["before"]
    saved = os.dup(1), os.dup(2)
    try:
        tail.continue_in(own)
        os.write(1, b"f\nafter\n")
    finally:
        for number, old in zip((1, 2), saved, strict=True):
            os.dup2(old, number)
            os.close(old)
    assert tail.read() == ["half", "after"]
    with first.open("ab") as file:
        file.write(b"a worker that began before\n")
    assert tail.read() == ["a worker that began before"]
    with first.open("ab") as file:
        file.write(b"last words")
    assert tail.remainder() == b"last words"
    assert own.read_text() == "an earlier attempt\nbefore\nhalf\nafter\na worker that began before\n"


def test_a_flood_begins_the_file_anew_and_keeps_what_was_before(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(captured, "FILE_LIMIT", 1000)
    first, own = tmp_path / "captured", tmp_path / "output.log"
    first.write_bytes(b"")
    tail = OutputTail(first)
    saved = os.dup(1), os.dup(2)
    try:
        tail.continue_in(own)
    finally:
        for number, old in zip((1, 2), saved, strict=True):
            os.dup2(old, number)
            os.close(old)
    with own.open("ab") as file:
        file.write(b"long ago\n" * 200)
    assert tail.read() == ["long ago"] * 200
    with own.open("ab") as file:
        file.write(b"new\n")
    assert tail.read() == ["new"]
    assert own.read_text() == "new\n"
    assert (tmp_path / "output.1.log").read_text() == "long ago\n" * 200


def test_a_full_disk_loses_prints_and_nothing_else():
    with Path("/dev/full").open("wb") as full:
        stream = captured.CapturedStream(full.fileno())
        for _ in range(3000):
            print("a line of the user's code", file=stream)
        stream.flush()
