"""The sections of the Diagnose screen on what the best checkpoint gets wrong: by class, confused, worst samples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tui_trainer.screens.gauges import bar
from tui_trainer.screens.wrapping import wrap_runs
from tui_trainer.session.wording import cell_width, clean_text, crop, format_metric, format_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_trainer.reports.diagnosis_content import ClassScore, Examination
    from tui_trainer.screens.canvas import Row, Run
    from tui_trainer.screens.panels import Glyphs

POOR = 0.5  # an F1 below it stands out
CLASSES_SHOWN = 40
_SCORE = 7  # cells of a column of scores
_BAR = 30


def error_rows(found: Examination, width: int, glyphs: Glyphs) -> list[Row]:
    """Scores by class or by target, the worst first, and what is taken for what."""
    rows = [*_checkpoint(found, width), *_notes(found, width)]
    if found.why_not:
        return rows
    for part in (
        _classes(found, width, glyphs),
        _confusions(found, width, glyphs),
        _targets(found, width),
        _residuals(found, width),
    ):
        if part:
            rows += [(), *part]
    return rows


def _checkpoint(found: Examination, width: int) -> list[Row]:
    """Which checkpoint, on how much data, and whether it measures what it recorded."""
    if found.why_not:
        words = "The best checkpoint could not be looked at: "
        return wrap_runs([(words, "warn"), (clean_text(found.why_not), "text")], width)
    runs: list[Run] = [(clean_text(found.checkpoint, limit=80), "strong")]
    runs.append((f" (epoch {found.epoch}) on {found.samples:,} validation samples: ", "dim"))
    for number, (name, value) in enumerate(found.measured.items()):
        shown = f"{clean_text(name, limit=60)} {format_metric(name, value)}"
        runs.append((f"{', ' if number else ''}{shown}", "text"))
        recorded = found.recorded.get(name)
        if recorded is not None and format_metric(name, recorded) != format_metric(name, value):
            runs.append((f" (recorded: {format_metric(name, recorded)})", "warn"))
    return wrap_runs(runs, width)


def _notes(found: Examination, width: int) -> list[Row]:
    return [row for note in found.notes for row in wrap_runs([(clean_text(note), "dim")], width)]


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _classes(found: Examination, width: int, glyphs: Glyphs) -> list[Row]:
    if not found.classes:
        return []
    ordered = sorted(found.classes, key=lambda item: -1.0 if item.f1 is None else item.f1)
    label = min(
        max(5, *(cell_width(clean_text(item.name, limit=60)) for item in ordered)) + 1, max(8, width // 4)
    )
    columns = ("F1", "prec.", "recall", "samples")
    size = max(0, min(_BAR, width - label - _SCORE * len(columns) - 3))
    names = "".join(f"{name:>{_SCORE}}" for name in columns[:3]) + f"{columns[3]:>{_SCORE + 2}}"
    rows: list[Row] = [(("By class, the worst first", "heading"),)]
    rows.append((("class".ljust(label) + " " * size, "dim"), (names, "dim")))
    rows += [_class_row(item, label, size, glyphs) for item in ordered[:CLASSES_SHOWN]]
    if len(ordered) > CLASSES_SHOWN:
        rows.append(((f"and {len(ordered) - CLASSES_SHOWN} better ones: diagnostic_report.md", "dim"),))
    if found.never_predicted:
        names = ", ".join(clean_text(name, limit=60) for name in found.never_predicted)
        rows += wrap_runs([("Never predicted: ", "bad"), (names, "strong")], width)
    return rows


def _class_row(item: ClassScore, label: int, size: int, glyphs: Glyphs) -> Row:
    name = crop(clean_text(item.name, limit=60), label - 1)
    poor = item.f1 is None or item.f1 < POOR
    first: Run = (name + " " * (label - cell_width(name)), "bad" if poor else "text")
    scores: list[Run] = [(f"{_score(item.f1):>{_SCORE}}", "bad" if poor else "strong")]
    scores += [(f"{_score(value):>{_SCORE}}", "text") for value in (item.precision, item.recall)]
    drawn = bar(item.f1 or 0.0, size, ascii=glyphs.ascii, role="bad" if poor else "bar")
    return (first, *drawn, *scores, (f"{item.support:>{_SCORE + 2},}", "dim"))


def _confusions(found: Examination, width: int, glyphs: Glyphs) -> list[Row]:
    if not found.pairs:
        return []
    pairs = [
        (clean_text(item.target, limit=60), clean_text(item.predicted, limit=60), item)
        for item in found.pairs
    ]
    left = min(max(cell_width(target) for target, _, _ in pairs), max(6, width // 4))
    right = min(max(cell_width(taken) for _, taken, _ in pairs), max(6, width // 4))
    rows: list[Row] = [(("Confusions, the most frequent first", "heading"),)]
    for target, taken, item in pairs:
        words = f"{item.count:>6,}  {item.share * 100:3.0f}%"
        size = max(0, min(_BAR, width - left - right - 11 - len(words) - 10))
        row: list[Run] = [
            (_padded(target, left), "strong"),
            (" taken for ", "dim"),
            (_padded(taken, right), "strong"),
        ]
        row += [
            (words, "text"),
            (" of them ", "dim"),
            *bar(item.share, size, ascii=glyphs.ascii, role="warn"),
        ]
        rows.append(tuple(row))
    return rows


def _targets(found: Examination, width: int) -> list[Row]:
    """A regression's errors: a row a column of the target."""
    if not found.targets:
        return []
    numbers = ("MAE", "RMSE", "bias", "largest")
    names = [cell_width(clean_text(item.name, limit=60)) for item in found.targets]
    label = max(6, min(max(6, *names) + 1, width - 48, width // 3))
    each = max(9, min(13, (width - label - 12) // len(numbers)))
    head = (
        "target".ljust(label)
        + "".join(f"{name:>{each}}" for name in numbers)
        + f"{f'at {found.row_name}':>12}"
    )
    rows: list[Row] = [(("Errors: prediction less target", "heading"),), ((crop(head, width), "dim"),)]
    for item in found.targets:
        values = "".join(
            f"{format_number(value):>{each}}" for value in (item.mae, item.rmse, item.bias, item.largest)
        )
        name = _padded(clean_text(item.name, limit=60), label)
        rows.append(((name, "strong"), (values, "text"), (f"{item.worst_row:>12,}", "dim")))
    return rows


def _residuals(found: Examination, width: int) -> list[Row]:
    if not found.residuals:
        return []
    rows: list[Row] = [(("How the errors are spread", "heading"),)]
    runs: list[Run] = []
    for name, value in found.residuals.items():
        runs += [(f"{clean_text(name, limit=40)} ", "dim"), (f"{format_number(value)}   ", "text")]
    return [*rows, *wrap_runs(runs, width)]


# ── worst samples ───────────────────────────────────────────────────────────────────────────────────────────────


def worst_rows(found: Examination, width: int, glyphs: Glyphs) -> list[Row]:
    """The validation samples of the highest loss: where they are, what they are, what they were taken for."""
    if found.why_not or not found.worst:
        return _checkpoint(found, width) if found.why_not else [(("No sample was looked at.", "dim"),)]
    texts = [
        (clean_text(item.target, limit=80), clean_text(item.predicted, limit=80)) for item in found.worst
    ]
    sure = any(item.confidence is not None for item in found.worst)
    fixed = 10 + 10 + (12 if sure else 0)
    room = max(9, (width - fixed) // 2 - 2)
    left = min(max(6, *(cell_width(target) for target, _ in texts)), room)
    right = min(max(9, *(cell_width(taken) for _, taken in texts)), room)
    size = max(0, min(_BAR, width - fixed - left - right - 5))
    title = "The validation samples of the highest loss; are their labels right?"
    head = (
        f"{clean_text(found.row_name, limit=12):>8}  "
        + "target".ljust(left + 2)
        + "predicted".ljust(right + 2)
    )
    head += f"{'confidence':>10}  " * sure + f"{'loss':>9}"
    rows: list[Row] = [*wrap_runs([(title, "heading")], width), ((crop(head, width), "dim"),)]
    top = _top([item.loss for item in found.worst])
    for item, (target, taken) in zip(found.worst, texts, strict=True):
        row: list[Run] = [(f"{item.row:>8}  ", "strong"), (f"{_padded(target, left)}  ", "good")]
        row.append((f"{_padded(taken, right)}  ", "warn"))
        if sure:
            row.append(
                (f"{'-' if item.confidence is None else f'{item.confidence * 100:.1f}%':>10}  ", "text")
            )
        row.append((f"{format_number(item.loss):>9} ", "strong" if math.isfinite(item.loss) else "bad"))
        row += bar(item.loss / top if math.isfinite(item.loss) else 1.0, size, ascii=glyphs.ascii)
        rows.append(tuple(row))
    return rows


def _top(losses: Sequence[float]) -> float:
    return max((loss for loss in losses if math.isfinite(loss) and loss > 0), default=1.0)


def _padded(text: str, size: int) -> str:
    shown = crop(text, size)
    return shown + " " * (size - cell_width(shown))
