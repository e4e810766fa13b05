"""Hostile user code, really trained in a real terminal: the screen stays whole, the training goes on."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from pty_session import Session

from tests.runs import WAIVED

CONFIG = """\
name: hostile
device: cpu
model: {target: "hostile:Evil"}
metrics: [accuracy, "hostile:agreement"]
data: {target: digits, batch_size: 256}
training: {epochs: 4}
diagnostics: {disabled: [slow_convergence, convergence_stall, underfitting]}
"""
FORBIDDEN = (b"HOSTILE", b"\x1b[2J", b"\x1bc", b"\x1bP", b"\x1b]52", b"SE9TVElMRQ", b"\x9b31m")


@pytest.fixture
def hostile(tmp_path):
    shutil.copy(Path(__file__).with_name("hostile.py"), tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG)
    run = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "tui_trainer",
        *WAIVED,
        "--mode",
        "baseline",
        "--config",
        str(tmp_path / "config.yaml"),
        "--output-dir",
        str(run),
    ]
    app = Session(tmp_path, command=command, XDG_CONFIG_HOME=str(tmp_path), OMP_NUM_THREADS="1")
    yield app, run
    app.close()


def test_hostile_code_trains_to_its_end_on_a_whole_screen(hostile):
    app, run = hostile
    app.until(rb"The gate is passed", 90)
    app.type(b"q")
    app.until(rb"\x1b\[\?1049l", 60)
    shown = app.output[: app.output.index(b"\x1b[?1049l")]
    assert not [word for word in FORBIDDEN if word in shown]
    assert shown.count(b"\x1b[?1049h") == 1
    assert "\u202e".encode() not in shown
    assert "\u200b".encode() not in shown
    assert len(shown) < 2_000_000
    app.until(rb"\x1b\[\?1049l[^$]*Training complete", 30)
    assert app.process.wait(timeout=30) == 0

    summary = json.loads((run / "summary.json").read_text())
    assert (summary["status"], summary["epochs"]) == ("completed", 4)
    output = (run / "output.log").read_bytes()
    for said in (b"flood 1 0\n", b"from C [/red] [00]", b"M" * 10_000_000, b"UserWarning: [bold]careful"):
        assert said in output
    log = (run / "training.log").read_text()
    assert "output.log" in log
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", log)
    assert max(map(len, log.splitlines())) < 30_000
