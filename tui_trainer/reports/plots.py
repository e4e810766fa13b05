"""Learning curves as a picture for reports and as text for terminals.

Whatever the numbers are, nothing here raises on them: values that are not finite are marked and counted.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TRAIN, VALIDATION, BEST, BAD = "#0072B2", "#D55E00", "#009E73", "#CC79A7"  # Okabe and Ito
HUGE = 1e150  # beyond this, differences overflow
LOG_RATIO = 30.0  # positive values that span more are drawn on a log axis
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")

Points = "Sequence[tuple[float, float]]"


def text_plot(series: Mapping[str, Sequence[tuple[float, float]]], width: int = 72, height: int = 16) -> str:
    """Curves of (x, y) points by name as plain text, at most `width` columns; a legend and a count of what was
    not finite below."""
    clean = {name: _finite(points) for name, points in series.items()}
    broken = sum(len(points) for points in series.values()) - sum(len(points) for points in clean.values())
    note = f"{broken} non-finite" if broken else ""
    drawn = {name: points for name, points in clean.items() if points}
    if not drawn:
        return "\n".join(filter(None, ("(no finite values)", note)))
    import plotext as plt

    ys = [y for points in drawn.values() for _, y in points]
    log = min(ys) > 0 and max(ys) / min(ys) > LOG_RATIO
    plt.clear_figure()
    plt.limit_size(False, False)
    plt.plotsize(max(20, width), max(5, height - 1))
    plt.theme("clear")
    signs = ("●", "○", "▲", "△", "■", "□")
    shown = []
    for sign, (name, points) in zip(signs * len(drawn), drawn.items(), strict=False):
        values = [math.log10(y) if log else y for _, y in points]
        plt.plot([x for x, _ in points], values, marker="braille")
        if len(points) <= width // 2:
            plt.scatter([x for x, _ in points], values, marker=sign)
        shown.append(f"{sign} {clean_text(name, limit=40)}")
    low, high = (math.log10(min(ys)), math.log10(max(ys))) if log else (min(ys), max(ys))
    if high - low < 1e-12 * max(1.0, abs(high)):
        low, high = low - (abs(high) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    plt.ylim(low, high)
    ticks = [low + (high - low) * part / 4 for part in range(5)]
    plt.yticks(ticks, [f"{10**tick if log else tick:.3g}" for tick in ticks])
    xs = [x for points in drawn.values() for x, _ in points]
    left, right = min(xs), max(xs)
    right = right if right > left else left + 1
    plt.xlim(left, right)
    marks = sorted({round(left + (right - left) * part / 5) for part in range(6)})
    plt.xticks(marks, [str(mark) for mark in marks])
    body = _ESCAPES.sub("", plt.build()).rstrip("\n")
    lines = [line.rstrip() for line in body.split("\n")]
    legend = "   ".join(filter(None, (*shown, "(log scale)" if log else "", note)))
    return "\n".join([*lines, legend])


def write_learning_curves(
    path: Path,
    loss: Mapping[str, Sequence[tuple[float, float]]],
    metric: Mapping[str, Sequence[tuple[float, float]]],
    *,
    metric_name: str = "",
    best_epoch: int | None = None,
    title: str = "",
) -> None:
    """Write a PNG with the losses and, where there is one, the first metric, over epochs.

    Keys starting with "train" are drawn as training curves, others as validation. Raises OSError when the file
    cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [("Loss", loss)] + ([(metric_name or "Metric", metric)] if metric else [])
    with mpl.rc_context({"font.size": 10, "text.parse_math": False}):
        figure = Figure(figsize=(5.5 * len(panels), 4), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        for axes, (name, curves) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            _draw_panel(axes, clean_text(name, limit=60), curves, best_epoch)
        if title:
            figure.suptitle(clean_text(title, limit=120))
        figure.savefig(path, format="png", metadata={"Software": "mltrainer-tui"})


def _draw_panel(
    axes: Any, name: str, curves: Mapping[str, Sequence[tuple[float, float]]], best: int | None
) -> None:
    finite = {label: _finite(points) for label, points in curves.items()}
    ys = [y for points in finite.values() for _, y in points]
    for label, points in finite.items():
        training = label.startswith("train")
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            color=TRAIN if training else VALIDATION,
            linestyle="--" if training else "-",
            marker="o" if len(points) <= 60 else "",
            markersize=3,
            label=clean_text(label, limit=60),
        )
    broken = sorted({x for points in curves.values() for x, y in points if not math.isfinite(y)})
    if broken:
        where = axes.get_xaxis_transform()
        label = f"not finite ({len(broken)})"
        axes.plot(broken, [0.98] * len(broken), "x", color=BAD, transform=where, label=label, clip_on=False)
    if best is not None and best > 0:
        axes.axvline(best, color=BEST, linestyle=":", label=f"best epoch ({best})")
    if ys and min(ys) > 0 and max(ys) / min(ys) > LOG_RATIO:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _position: f"{value:g}")
    axes.set_xlabel("epoch")
    axes.set_title(name)
    axes.grid(visible=True, alpha=0.3)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if curves:
        axes.legend(frameon=False, fontsize=8)


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x, min(HUGE, max(-HUGE, y))) for x, y in points if math.isfinite(y) and math.isfinite(x)]
