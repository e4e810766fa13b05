"""The headless printer: plain lines, a progress line on a terminal, silence when nobody listens."""

from __future__ import annotations

import io
import os
import re

import pytest
import sample_run as sample

from tui_trainer.engine.events import CheckpointFailed
from tui_trainer.reports.printer import HeadlessPrinter

ESCAPES = re.compile(r"\x1b\[[0-9;]*[mK]")


class Sub:
    """A subscription that hands out events in small bursts."""

    def __init__(self, events, burst=7):
        self.events = list(events)
        self.burst = burst

    def poll(self, timeout):
        taken, self.events = self.events[: self.burst], self.events[self.burst :]
        return taken

    def close(self):
        self.events = []


def printed(events, *, interactive=False, verbose=False, encoding="utf-8", **environ):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="")
    ticks = iter(range(1_000_000))
    printer = HeadlessPrinter(
        stream,
        interactive=interactive,
        verbose=verbose,
        environ={"COLUMNS": "100", "TERM": "xterm-256color"} | environ,
        clock=lambda: float(next(ticks)),
        rest=lambda seconds: None,
    )
    printer.run(Sub(events))
    stream.flush()
    return raw.getvalue().decode(encoding)


def test_without_a_terminal_it_prints_the_log_lines_and_no_escape():
    text = printed(sample.events(3))
    assert "\x1b" not in text
    assert "\r" not in text
    assert "[EPOCH 3/20]\n  Train Loss: " in text
    assert text.rstrip().endswith("Run folder: /runs/digits-baseline")
    assert "user code says: done [/red] [00]" in text


def test_on_a_terminal_there_is_one_progress_line_and_a_short_line_an_epoch():
    text = printed(sample.events(3), interactive=True, COLUMNS="130")
    frames = [frame for frame in text.split("\r") if "━" in frame or "─" in frame]
    assert any("epoch 2/20" in frame and "loss" in frame and "samples/s" in frame for frame in frames)
    assert any("ETA" in frame for frame in frames)
    shown = ESCAPES.sub("", text)
    assert "epoch  3/20  train_loss" in shown
    assert "[EPOCH 3/20]" not in shown


@pytest.mark.parametrize("columns", ["20", "40", "60", "80", "200"])
def test_the_progress_line_never_wraps(columns):
    text = ESCAPES.sub("", printed(sample.events(3), interactive=True, COLUMNS=columns))
    frames = [
        frame for frame in re.split(r"[\r\n]", text) if "%" in frame and frame.startswith(("━", "─", " "))
    ]
    assert frames
    assert all(len(frame) < int(columns) for frame in frames)


def test_no_color_and_dumb_terminals_are_respected():
    assert "\x1b[3" not in printed(sample.events(2), interactive=True, NO_COLOR="1")
    assert "\x1b" not in printed(sample.events(2), interactive=True, TERM="dumb")


def test_a_stream_that_is_not_unicode_gets_ascii():
    text = printed(sample.events(2), interactive=True, encoding="ascii")
    assert "###" in printed(sample.events(), interactive=True, encoding="ascii")
    assert text.isascii()


def test_it_stops_drawing_when_the_run_is_over():
    text = printed(sample.events(2), interactive=True)
    assert "%" not in text[text.rindex("Training complete") :].replace("97.5%", "")


def test_it_says_what_was_not_saved_and_how_to_go_on():
    failed = CheckpointFailed(time=0.0, files=("last_model.pt",), epoch=2, step=90, reason="disk full")
    end = sample.finished(status="interrupted", message="SIGINT", summary={"run_dir": "/runs/my run"})
    text = printed([sample.started(), failed, end])
    assert "NOT SAVED:\n  last_model.pt: disk full" in text
    assert "--output-dir '/runs/my run' --resume auto" in text


def test_a_closed_stream_makes_it_quiet():
    read, write = os.pipe()
    os.close(read)
    stream = os.fdopen(write, "w", buffering=1)
    printer = HeadlessPrinter(stream, interactive=False, verbose=True, environ={}, rest=lambda seconds: None)
    printer.run(Sub(sample.events(3)))
    stream.close()
    closed = io.StringIO()
    closed.close()
    HeadlessPrinter(closed, interactive=True, verbose=False, environ={}, rest=lambda seconds: None).run(
        Sub(sample.events(2))
    )


def test_it_ends_when_the_run_died_without_a_word():
    printer = HeadlessPrinter(
        io.StringIO(), interactive=False, verbose=False, environ={}, rest=lambda seconds: None
    )
    printer.run(Sub([sample.started()]), finished=lambda: True)


def test_verbose_prints_steps_and_saved_checkpoints():
    text = printed(sample.events(1), verbose=True)
    assert "  step 45 (epoch 1): loss " in text
    assert "[CHECKPOINT] saved: best_model.pt" in text
