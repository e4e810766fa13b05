"""What the open app costs: the training beside it, key presses, first paint, output, memory.

Throughput is measured in tmux, as people use it; the rest on a pseudo-terminal of our own, where every byte counts.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Self

from benchmarks.contenders import ROOT, environment
from benchmarks.workloads import WARM_UP_EPOCHS, WORKLOADS

SIZES = ((120, 34), (200, 50))
THROUGHPUT_LIMITS = {"compute": 0.97, "overhead": 0.90}
SECONDS = 15.0  # of training, about, in each run
KEY_LIMIT_MS, PAINT_LIMIT_S, OUTPUT_LIMIT = 50.0, 0.5, 20_000
_STEADY_S = 10.0
_PAINTED = re.compile(rb"mltrainer")
_SCROLLS = re.compile(rb"EPOCH 2\d/")  # from here on the log has more lines than room


def main(repeats: int, minutes: float) -> bool:
    """Measure and print everything; False when a limit is missed."""
    good = [_throughput(name, limit, repeats) for name, limit in THROUGHPUT_LIMITS.items()]
    good.append(_responses())
    if minutes:
        good.append(_memory(minutes))
    return all(good)


# --- throughput ---------------------------------------------------------------------------------------------


def _throughput(name: str, limit: float, repeats: int) -> bool:
    if shutil.which("tmux") is None:
        print("tmux is not installed: the app's throughput is not measured.")
        return False
    epochs = max(WARM_UP_EPOCHS + 2, round(SECONDS * _epochs_a_second(name)))
    rates: dict[str, list[float]] = {f"{w}x{h}": [] for w, h in SIZES}
    for number in range(repeats):
        headless = _headless(name, epochs) if number % 2 == 0 else None
        opened = {f"{w}x{h}": _in_tmux(name, epochs, w, h) for w, h in SIZES}
        headless = headless or _headless(name, epochs)
        for size, rate in opened.items():
            rates[size].append(rate / headless)
    good = True
    for size, ratios in rates.items():
        middle = statistics.median(ratios)
        good = good and middle >= limit
        print(
            f"{name}, 1 torch thread, app open at {size} ÷ headless: {middle:.3f} "
            f"({min(ratios):.3f}–{max(ratios):.3f}) over {repeats} rounds (limit {limit}).",
            flush=True,
        )
    return good


def _epochs_a_second(name: str) -> float:
    """Measured once, by a short headless run."""
    epochs = WORKLOADS[name].epochs + WARM_UP_EPOCHS
    with tempfile.TemporaryDirectory(prefix="mltrainer-bench-") as folder:
        command = _command(Path(folder), name, epochs)
        subprocess.run([*command, "--no-ui"], env=environment(1), cwd=ROOT, check=True, capture_output=True)
        times = _epoch_times(Path(folder) / "run")
    return (len(times) - 1) / (times[-1] - times[0])


def _command(folder: Path, name: str, epochs: int) -> list[str]:
    config = replace(WORKLOADS[name], epochs=epochs - WARM_UP_EPOCHS).config()
    (folder / "config.yaml").write_text(json.dumps(config))
    where = ["--config", str(folder / "config.yaml"), "--output-dir", str(folder / "run")]
    where += ["--mode", "baseline", "--waive", "all=a benchmark"]
    return [sys.executable, "-m", "tui_trainer", *where]


def _headless(name: str, epochs: int) -> float:
    with tempfile.TemporaryDirectory(prefix="mltrainer-bench-") as folder:
        command = [*_command(Path(folder), name, epochs), "--no-ui"]
        subprocess.run(command, env=environment(1), cwd=ROOT, check=True, capture_output=True)
        return _rate(Path(folder) / "run")


def _in_tmux(name: str, epochs: int, width: int, height: int) -> float:
    with tempfile.TemporaryDirectory(prefix="mltrainer-bench-") as folder:
        command = _command(Path(folder), name, epochs)
        tmux = ["tmux", "-L", "mltrainer-bench"]
        subprocess.run(
            [*tmux, "new-session", "-d", "-x", str(width), "-y", str(height), *command],
            env=environment(1) | {"TERM": "xterm-256color"},
            cwd=ROOT,
            check=True,
        )
        summary = Path(folder) / "run" / "summary.json"
        while not summary.exists():  # looked for seldom: this process shall not disturb either
            time.sleep(1.0)
        rate = _rate(Path(folder) / "run")
        subprocess.run([*tmux, "send-keys", "q"], check=False, capture_output=True)
        time.sleep(1.0)
        subprocess.run([*tmux, "kill-server"], check=False, capture_output=True)
        return rate


def _rate(run: Path) -> float:
    """Epochs a second, from the end of the first to the end of the last."""
    times = _epoch_times(run)
    return (len(times) - 1) / (times[-1] - times[0])


def _epoch_times(run: Path) -> list[float]:
    lines = (run / "events.jsonl").read_text().splitlines()
    ended = [json.loads(line) for line in lines if '"kind":"epoch_finished"' in line]
    return [datetime.fromisoformat(item["time"]).timestamp() for item in ended]


# --- key presses, first paint, output -----------------------------------------------------------------------


class Screen:
    """The program on a pseudo-terminal, training for longer than anybody looks at it."""

    def __init__(self, folder: Path, width: int, height: int, name: str = "compute") -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            _command(folder, name, 100_000),
            stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, start_new_session=True,
            env=environment(1) | {"TERM": "xterm-256color", "COLUMNS": "", "LINES": ""},
        )  # fmt: skip
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def read(self, seconds: float) -> bytes:
        """What comes within `seconds`."""
        content, end = b"", time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            if select.select([self._master], [], [], left)[0]:
                content += os.read(self._master, 1 << 16)
        return content

    def until(self, pattern: re.Pattern[bytes], seconds: float = 60.0) -> float:
        """Seconds until `pattern` is on its way to the screen. Raises `TimeoutError`."""
        began, content = time.perf_counter(), b""
        while not pattern.search(content):
            left = began + seconds - time.perf_counter()
            if left <= 0 or not select.select([self._master], [], [], left)[0]:
                raise TimeoutError(f"{pattern.pattern!r} did not come")
            content += os.read(self._master, 1 << 16)
        return time.perf_counter() - began

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)


class Press(NamedTuple):
    """A key, what it brings to the screen, and the key that takes that away again."""

    name: str
    key: bytes
    brings: bytes
    back: bytes = b""


PRESSES = (
    Press("opening the help", b"?", rb"Keys", b"?"),
    Press("scrolling the log", b"\x1b[5~", rb"paused", b"\x1b[F"),
    Press("opening the list of runs", b"\x1b[17~", rb"Compare", b"\x1b"),
    Press("changing a chart's x axis", b"x", rb"by (?:step|time|epoch)"),
)
EACH = 40  # presses
FOCUS_CHART = b"\t"  # from the log; other keys do not mind


def _responses() -> bool:
    with (
        tempfile.TemporaryDirectory(prefix="mltrainer-bench-") as folder,
        Screen(Path(folder), *SIZES[0]) as app,
    ):
        app.until(_PAINTED)
        paint = time.perf_counter() - app.started
        app.until(_SCROLLS, 120.0)
        print(f"First paint {paint:.2f} s after the process's start (limit {PAINT_LIMIT_S}).", flush=True)
        good = paint <= PAINT_LIMIT_S
        for press in PRESSES:
            if press.key == b"x":
                app.type(FOCUS_CHART)
            good = _respond(app, press) and good
        app.read(1.0)
        output = len(app.read(_STEADY_S)) / _STEADY_S
    print(
        f"Output at 120x34 while training: {output / 1000:.1f} kB/s (limit {OUTPUT_LIMIT / 1000:.0f}).",
        flush=True,
    )
    return good and output <= OUTPUT_LIMIT


def _respond(app: Screen, press: Press) -> bool:
    """From key press to screen, many times."""
    brings = re.compile(press.brings)
    taken = []
    for _ in range(EACH):
        app.read(0.37)  # out of step with the app's own clock
        app.type(press.key)
        taken.append(app.until(brings) * 1000)
        app.type(press.back)
        app.read(0.2)
    p95 = sorted(taken)[int(EACH * 0.95)]
    middle = statistics.median(taken)
    print(
        f"Key press to screen while training, {press.name}: median {middle:.0f} ms, p95 {p95:.0f} ms "
        f"(limit {KEY_LIMIT_MS:.0f}).",
        flush=True,
    )
    return p95 <= KEY_LIMIT_MS


def _memory(minutes: float) -> bool:
    """Resident memory of the app's process while it trains: after a fifth of the time, and at the end."""
    import psutil

    with (
        tempfile.TemporaryDirectory(prefix="mltrainer-bench-") as folder,
        Screen(Path(folder), *SIZES[0], "overhead") as app,
    ):
        process = psutil.Process(app.process.pid)
        app.read(minutes * 12)
        early = process.memory_info().rss
        app.read(minutes * 48)
        late = process.memory_info().rss
    growth = f"{early / 1e6:.0f} MB after a fifth, {late / 1e6:.0f} MB at the end ({late / early - 1:+.1%})"
    print(f"Memory over {minutes:g} minutes: {growth}.")
    return late <= early * 1.05
