"""What stands in each panel: pure functions from the view of a run to rows of text with roles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tui_trainer.screens.cases import badge, open_cases
from tui_trainer.screens.phase_header import RUN_ALONE, phase_row
from tui_trainer.session.wording import (
    clean_text,
    crop,
    format_duration,
    format_metric,
    format_number,
    format_rate,
    wrap,
)

if TYPE_CHECKING:
    from tui_trainer.screens.canvas import Row, Run
    from tui_trainer.screens.phase_header import Marks
    from tui_trainer.screens.view import RunView

STATUS_WORDS = {
    "starting": ("starting", "dim"),
    "running": ("training", "good"),
    "paused": ("paused", "warn"),
    "completed": ("complete", "good"),
    "early_stopped": ("complete (stopped early)", "good"),
    "stopped": ("stopped", "warn"),
    "interrupted": ("interrupted", "warn"),
    "failed": ("failed", "bad"),
    "died": ("died", "bad"),
}
LABEL_WIDTH = 14
SAID_BY_THE_RESULT = {"completed", "early_stopped"}  # the message adds little: metrics are worth more


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The signs that a terminal can show."""

    full: str = "━"
    rest: str = "─"
    here: str = "●"
    other: str = "·"
    passed: str = "✓"
    missing: str = "!"
    changed: str = "•"
    open: str = "▾"
    folded: str = "▸"
    cell: str = "█"
    half: str = "▀"
    critical: str = "◆"
    warning: str = "▲"
    info: str = "i"
    levels: str = "▁▂▃▄▅▆▇█"
    ascii: bool = False


UNICODE = Glyphs()
ASCII = Glyphs(
    full="#", rest="-", here="*", other=".", passed="+", missing="!", changed="*", open="-", folded="+", cell="#", half="",
    critical="X", warning="!", levels="_.-=+*#@", ascii=True,
)  # fmt: skip


def header_row(view: RunView, width: int, glyphs: Glyphs, marks: Marks = RUN_ALONE) -> Row:
    """Program, run, the five phases with the one that is open, state and device."""
    word, role = STATUS_WORDS.get(view.status, (view.status, "text"))
    right: list[Run] = [*badge_runs(view), (word, role)]
    right.append((f"  {view.device} " if view.device else " ", "dim"))
    return phase_row(view.name, right, width, glyphs, marks=marks)


def badge_runs(view: RunView) -> list[Run]:
    """How many problems are open, for a header; nothing where there are none."""
    words, role = badge(view)
    return [(words, role), ("  ", "text")] if words else []


def run_rows(view: RunView, width: int, height: int, glyphs: Glyphs) -> list[Row]:
    """The run panel: progress, pace, latest values, a table of metrics, checkpoints, problems."""
    rows = [*_progress_rows(view, width, glyphs), *_pace_rows(view, width)]
    table = metric_table(view, width)
    state = _state_rows(view, width)
    room = height - len(rows) - len(state)
    if len(table) < room or view.status not in SAID_BY_THE_RESULT:
        state += _message_rows(view, width, room)
    roomy = len(rows) + len(table) + len(state) + 2 <= height
    blank: list[Row] = [()] if roomy else []
    room = height - len(rows) - len(state)
    if len(table) > room:  # problems are worth more than metrics
        table = table[:room] if room > 1 else []
    return [*rows, *(blank if table else []), *table, *blank, *state][: max(0, height)]


def _progress_rows(view: RunView, width: int, glyphs: Glyphs) -> list[Row]:
    progress = view.progress
    if not progress.epochs:
        return [(("preparing data and model", "dim"),)]
    current = min(max(1, progress.epoch), progress.epochs)
    head = f"epoch {current}/{progress.epochs} "
    percent = f" {progress.fraction * 100:3.0f}%"
    room = max(0, width - len(head) - len(percent))
    full = min(room, round(progress.fraction * room))
    bar: Row = (
        (head, "strong"),
        (glyphs.full * full, "bar"),
        (glyphs.rest * (room - full), "dim"),
        (percent, "strong"),
    )
    left = f"step {progress.step_in_epoch}/{progress.steps_per_epoch}"
    if view.is_over:
        right = f"took {format_duration(_duration(view))}"
    elif progress.paused_since is not None:
        right = "paused"
    else:
        right = f"ETA {format_duration(progress.eta)}" if progress.eta is not None else ""
    return [bar, _both_ends(left, right, width)]


def _duration(view: RunView) -> float | None:
    took = view.finished.summary.get("duration_seconds") if view.finished else None
    return float(took) if isinstance(took, (int, float)) else None


def _pace_rows(view: RunView, width: int) -> list[Row]:
    rows: list[Row] = []
    if view.step is not None and not view.is_over:
        step = view.step
        rows.append(_fact("learning rate", format_rate(step.learning_rate), width))
        if view.grad_norm is not None:
            role = "text" if math.isfinite(view.grad_norm) else "bad"
            rows.append(_fact("gradient norm", format_number(view.grad_norm, 3), width, role))
        rows.append(_fact("speed", f"{_thousands(step.samples_per_second)} samples/s", width))
    if view.best_epoch and view.best_value is not None:
        value = format_metric(view.monitor, view.best_value)
        label = f"best {clean_text(view.monitor)}"
        label = label if len(label) < LABEL_WIDTH else "best"
        rows.append(_fact(label, f"{value} (epoch {view.best_epoch})", width, "good"))
    return rows


def metric_table(view: RunView, width: int) -> list[Row]:
    """The last finished epoch's metrics: training, validation, and the best epoch's validation value."""
    if not view.epochs:
        return []
    latest = view.epochs[-1].metrics
    names = list(
        dict.fromkeys(name.partition("_")[2] for name in latest if name.startswith(("train_", "val_")))
    )
    column = 8
    label = max(4, width - 3 * column)
    head: Row = (
        (f"epoch {view.epochs[-1].epoch}".ljust(label)[:label], "dim"),
        ("train".rjust(column), "train"),
        ("val".rjust(column), "val"),
        ("best".rjust(column), "good"),
    )
    rows = [head]
    for name in names[:8]:
        cells: list[Run] = [(crop(clean_text(name), label - 1).ljust(label), "text")]
        for source, key in (
            (latest, f"train_{name}"),
            (latest, f"val_{name}"),
            (view.best_metrics, f"val_{name}"),
        ):
            value = source.get(key)
            text = "-" if value is None else format_metric(name, value)
            bad = value is not None and not math.isfinite(value)
            cells.append((text.rjust(column), "bad" if bad else "text"))
        rows.append(tuple(cells))
    if len(names) > 8:
        rows.append(((f"and {len(names) - 8} more, see epoch_metrics.csv", "dim"),))
    return rows


def _state_rows(view: RunView, width: int) -> list[Row]:
    rows: list[Row] = []
    if view.unsaved:
        names = ", ".join(clean_text(name) for name, _ in view.unsaved)
        rows.append(_fact("NOT SAVED", names, width, "bad"))
    elif view.saved is not None:
        rows.append(_fact("checkpoint", f"saved, epoch {view.saved.epoch}", width))
    if view.non_finite:
        rows.append(
            _fact(
                "skipped",
                f"{view.non_finite} non-finite batch{'es' if view.non_finite > 1 else ''}",
                width,
                "bad",
            )
        )
    codes = [clean_text(case.told.code, limit=80) for case in open_cases(view)]
    if codes:
        rows.append(_fact("problems", ", ".join(dict.fromkeys(codes)), width, badge(view)[1]))
    elif fixes := len(view.diagnosed.fixes):
        rows.append(_fact("problems", f"none open ({fixes} fix{'es' if fixes > 1 else ''})", width))
    elif view.epochs:
        rows.append(_fact("problems", "none open" if view.diagnosed.ignored else "none found", width))
    if view.finished is not None:
        word, role = STATUS_WORDS.get(view.status, (view.status, "text"))
        rows.append(_fact("result", word, width, role))
    return rows


def _message_rows(view: RunView, width: int, most: int) -> list[Row]:
    """The run's last words, in as many lines as there is room for, one at least."""
    if view.finished is None or not view.message:
        return []
    _, role = STATUS_WORDS.get(view.status, (view.status, "text"))
    width, most = max(1, width), max(1, most)
    lines = wrap(view.message, width)
    if len(lines) > most:
        lines[most - 1 :] = [crop(" ".join(lines[most - 1 :]), width)]
    return [((line, role),) for line in lines]


def epoch_rows(view: RunView, width: int, height: int) -> list[Row]:
    """The last epochs, newest below: losses, first metric, time."""
    metric = view.metric
    columns = [("epoch", 5), ("train", 9), ("val", 9)]
    if metric:
        columns.append((clean_text(metric)[:14], max(9, min(16, len(clean_text(metric)) + 2))))
    columns.append(("time", 9))
    while len(columns) > 3 and sum(size for _, size in columns) > width:
        columns.pop()
    rows: list[Row] = [tuple((name.rjust(size), "dim") for name, size in columns)]
    for event in view.epochs[-max(0, height - 1) :] if height > 1 else ():
        values = {
            "epoch": str(event.epoch),
            "train": format_number(event.metrics.get("train_loss")),
            "val": format_number(event.metrics.get("val_loss")),
            "time": format_duration(event.epoch_time),
        }
        role = "good" if event.epoch == view.best_epoch else "text"
        cells: list[Run] = []
        for name, size in columns:
            value = event.metrics.get(f"val_{metric}")
            text = values.get(name) or (
                "-" if value is None or metric is None else format_metric(metric, value)
            )
            cells.append((text.rjust(size), "bad" if text in ("NaN", "inf", "-inf") else role))
        rows.append(tuple(cells))
    return rows


def _fact(label: str, value: str, width: int, role: str = "text") -> Row:
    return ((f"{label} ".ljust(LABEL_WIDTH), "dim"), (crop(value, max(0, width - LABEL_WIDTH)), role))


def _both_ends(left: str, right: str, width: int) -> Row:
    gap = max(1, width - len(left) - len(right))
    return ((left, "text"), (" " * gap, "text"), (right, "text"))


def _thousands(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ") if abs(value) < 1e12 else format_number(value)
