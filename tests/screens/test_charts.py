"""Charts: any numbers give a picture of the asked size; the painter process serves, restarts, and ends."""

from __future__ import annotations

import io
import math
import os
import queue
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_trainer.screens import painter
from tui_trainer.screens.canvas import Curve, Picture, draw, whole_ticks
from tui_trainer.screens.painting import Painter

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def curve(*ys, broken=()):
    return Curve("train", "dots", tuple(float(i) for i in range(len(ys))), tuple(ys), tuple(broken))


@given(
    st.lists(FINITE, max_size=60),
    st.lists(st.floats(0, 60), max_size=3),
    st.integers(0, 90),
    st.integers(0, 20),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_any_numbers_give_rows_of_the_asked_size(ys, broken, width, height, ascii_only):
    rows, *_ = draw(Picture(width, height, (curve(*ys, broken=broken),), best=3.0, ascii=ascii_only))
    assert len(rows) == height
    for row in rows:
        text = "".join(part for part, _ in row)
        assert len(text) == width
        assert not ascii_only or text.isascii()


def test_places_that_were_not_finite_are_marked():
    rows, *_ = draw(Picture(40, 10, (curve(1.0, 2.0, 1.5, broken=(1.0,)),)))
    assert any("×" in text and role == "bad" for row in rows for text, role in row)
    rows, *_ = draw(Picture(40, 10, (Curve("train", "line", (), (), (1.0,)),)))
    assert any("no finite value here" in text for row in rows for text, _ in row)


def test_one_spike_among_many_points_is_still_drawn():
    ys = [1.0] * 2000
    ys[777] = 5.0
    rows, *_ = draw(Picture(60, 12, (curve(*ys),)))
    assert any(not text.isspace() for text, role in rows[1] if role == "train")


@given(FINITE, FINITE, st.integers(1, 20))
def test_ticks_lie_inside(first, second, count):
    low, high = sorted((first / 4, second / 4))
    ticks = whole_ticks(low, high, count)
    assert ticks
    assert all(
        low - 1e-6 * (high - low) <= tick <= high + 1e-6 * (high - low) or tick in (low, high)
        for tick in ticks
    )


@pytest.fixture
def running():
    service = Painter()
    answers: queue.Queue = queue.Queue()
    service.on_painted = lambda *answer: answers.put(answer)
    yield service, answers
    service.close()


def test_the_painter_process_answers(running):
    service, answers = running
    picture = Picture(40, 8, (curve(3.0, 2.0, 1.0),))
    service.request("loss", picture)
    key, drawing = answers.get(timeout=20)
    assert key == "loss"
    assert drawing == draw(picture)


def test_the_painter_is_started_again_when_it_dies(running):
    service, answers = running
    service._process.kill()
    service._process.wait()
    service.request("loss", Picture(40, 8, (curve(3.0, 2.0),)))
    assert answers.get(timeout=20)[0] == "loss"
    assert service.alive


def test_the_painter_ends_with_its_parent_and_ignores_interrupts():
    process = subprocess.Popen(
        [sys.executable, "-m", "tui_trainer.screens.painter"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    picture = Picture(30, 6, (curve(1.0, 2.0),))
    painter.send(process.stdin, ("a", picture))
    assert painter.receive(process.stdout)[0] == "a"
    for number in (signal.SIGINT, signal.SIGHUP):
        process.send_signal(number)
    painter.send(process.stdin, ("b", picture))
    assert painter.receive(process.stdout)[0] == "b"
    process.stdin.close()
    assert process.wait(timeout=20) == 0
    process.stdout.close()


def test_the_painter_imports_neither_textual_nor_torch():
    code = (
        "import sys\nfrom tui_trainer.screens.canvas import *\nimport tui_trainer.screens.painter\n"
        "draw(Picture(30, 6, (Curve('train', 'line', (0.0, 1.0), (1.0, 2.0)),)))\n"
        "assert 'plotext' in sys.modules\n"
        "assert not {'textual', 'torch', 'numpy', 'rich'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )


def test_a_picture_that_cannot_be_drawn_is_answered():
    requests, answers = io.BytesIO(), io.BytesIO()
    painter.send(requests, ("loss", Picture(40, 8, (Curve("train", "line", (1.0, 2.0), (math.nan,)),))))
    requests.seek(0)
    painter.serve(requests, answers)
    answers.seek(0)
    assert painter.receive(answers)[0] == "loss"
    assert painter.receive(answers) is None
