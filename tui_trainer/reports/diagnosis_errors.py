"""The section of the diagnostic report on what the best checkpoint gets wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_trainer.reports.markdown import code, plain, table
from tui_trainer.session.wording import format_metric, format_number

if TYPE_CHECKING:
    from tui_trainer.reports.diagnosis_content import Examination

_MATRIX = 20
"""More classes than that make no table that can be read; the confused pairs are listed all the same."""


def section(found: Examination) -> list[str]:
    """Metrics again, scores by class, confusions, residuals, worst samples; why not, where there are none."""
    lines = ["## What the best checkpoint gets wrong", ""]
    lines += [f"- {plain(note)}" for note in found.notes]
    lines += [""] if found.notes else []
    if found.why_not:
        return [*lines, plain(found.why_not)]
    lines += [
        f"{code(found.checkpoint)} (epoch {found.epoch}) on {found.samples:,} samples:",
        "",
    ]
    rows = [
        (
            plain(name),
            format_metric(name, found.recorded[name]) if name in found.recorded else "n/a",
            format_metric(name, value),
        )
        for name, value in found.measured.items()
    ]
    lines += table(("metric", "recorded", "measured again"), rows, " rr")
    for part in (_classes(found), _confusion(found), _residuals(found), _worst(found)):
        if part:
            lines += ["", *part]
    return lines


def _classes(found: Examination) -> list[str]:
    if not found.classes:
        return []
    rows = [
        (
            plain(item.name),
            str(item.support),
            str(item.predicted),
            *map(_score, (item.precision, item.recall, item.f1)),
        )
        for item in found.classes
    ]
    lines = [
        "### By class",
        "",
        *table(("class", "samples", "predicted", "precision", "recall", "F1"), rows, " rrrrr"),
    ]
    if found.never_predicted:
        lines += ["", f"Never predicted: {', '.join(map(plain, found.never_predicted))}."]
    return lines


def _confusion(found: Examination) -> list[str]:
    lines: list[str] = []
    if found.matrix and len(found.matrix) <= _MATRIX:
        names = [plain(item.name) for item in found.classes]
        rows = [
            (f"**{name}**", *(str(count) if count else "·" for count in row))
            for name, row in zip(names, found.matrix, strict=True)
        ]
        lines += ["### Confusion", "", "Rows are the classes, columns what they were taken for.", ""]
        lines += table(("", *names), rows, " " + "r" * len(names))
    if found.pairs:
        lines += ["", "Most frequent confusions:", ""]
        lines += [
            f"- {plain(item.target)} taken for {plain(item.predicted)}: {item.count} ({item.share * 100:.1f}% of its samples)"
            for item in found.pairs
        ]
    return lines


def _residuals(found: Examination) -> list[str]:
    if not found.residuals:
        return []
    rows = [(name, format_number(value)) for name, value in found.residuals.items()]
    lines = ["### Residuals", "", "Prediction minus target.", "", *table(("", "value"), rows, " r"), ""]
    errors = [
        (
            plain(item.name),
            *map(format_number, (item.mae, item.rmse, item.bias, item.largest)),
            str(item.worst_row),
        )
        for item in found.targets
    ]
    head = ("target", "MAE", "RMSE", "bias", "largest error", f"in {plain(found.row_name)}")
    return [*lines, *table(head, errors, " rrrrr")]


def _worst(found: Examination) -> list[str]:
    if not found.worst:
        return []
    sure = any(item.confidence is not None for item in found.worst)
    head = [plain(found.row_name), "target", "predicted", *(["confidence"] if sure else []), "loss"]
    rows = [
        (
            str(item.row),
            plain(item.target) or "–",
            plain(item.predicted) or "–",
            *([_score(item.confidence)] if sure else []),
            format_number(item.loss),
        )
        for item in found.worst
    ]
    align = "r  rr" if sure else "r  r"
    return [
        "### Worst samples",
        "",
        "The validation samples of the highest loss.",
        "",
        *table(head, rows, align),
    ]


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
