"""Plots never raise on the numbers they are given."""

from __future__ import annotations

import math

import pytest

from tui_trainer.reports.plots import text_plot, write_learning_curves

WEIRD = {
    "empty": [],
    "one point": [(1.0, 0.5)],
    "all the same": [(1.0, 0.0), (2.0, 0.0)],
    "all NaN": [(1.0, math.nan), (2.0, math.nan)],
    "mixed": [(1.0, 0.5), (2.0, math.nan), (3.0, math.inf), (4.0, -math.inf), (5.0, 0.1)],
    "huge": [(1.0, 1e308), (2.0, -1e308), (3.0, 0.0)],
    "tiny and huge": [(1.0, 5e-324), (2.0, 1e308)],
    "negative": [(1.0, -5.0), (2.0, -1.0)],
}


@pytest.mark.parametrize("points", WEIRD.values(), ids=WEIRD.keys())
def test_weird_numbers_are_drawn(points, tmp_path):
    text = text_plot({"train_loss": points, "val_[/red]loss": points}, 60, 12)
    assert "\x1b" not in text
    assert all(len(line) <= 60 or "loss" in line for line in text.splitlines())
    path = tmp_path / "curves.png"
    write_learning_curves(path, {"train_$loss": points}, {"_val^": points}, best_epoch=1, title="$x^{")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_what_is_not_finite_is_counted():
    assert "3 non-finite" in text_plot({"loss": WEIRD["mixed"]})
    assert text_plot({"loss": WEIRD["all NaN"]}) == "(no finite values)\n2 non-finite"


def test_a_wide_range_is_drawn_on_a_log_scale():
    assert "(log scale)" in text_plot({"loss": [(1.0, 100.0), (2.0, 0.1)]})
    assert "(log scale)" not in text_plot({"loss": [(1.0, 2.0), (2.0, 1.0)]})
