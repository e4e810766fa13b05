"""The learning curves of a run, read from `epoch_metrics.csv`: did it converge, where did the gap open, what was wasted?"""

from __future__ import annotations

import math
from statistics import pstdev
from typing import TYPE_CHECKING

from tui_trainer.diagnostics.curves import finite, noise
from tui_trainer.reports.baseline import metric_names
from tui_trainer.reports.diagnosis_content import Curves, CurveVerdict, Gap
from tui_trainer.session.wording import format_number, is_share

if TYPE_CHECKING:
    from tui_trainer.reports.run_files import RunFiles

STILL = 0.02
"""Share of the first validation loss by which the last third must still lower it to count as improving."""
OPEN_GAP = 0.05
"""A gap below that (in points of a fraction) is none worth dating."""
RISEN = 1.5
"""A train loss this many times above its lowest, at the end, has diverged."""
ENOUGH = 0.5
"""Share of what there is to learn from which on a curve that stands still counts as converged."""
_FEWEST = 3  # epochs


def read_curves(files: RunFiles, *, learned: float | None, target_met: bool | None) -> Curves:
    """The analysis. `learned`: share of what there is to learn that was learned, None where not known: a curve that
    stands still high up has converged, low down it is a plateau."""
    if not files.epochs:
        return Curves("none", "No epoch was finished: there are no curves.", planned=_planned(files))
    train, val = files.column("train_loss"), files.column("val_loss")
    bad = sorted({int(epoch) for epoch, value in (*train, *val) if not math.isfinite(value)})
    late_from = _late_from(files)
    late_gain = _late_gain(val, late_from)
    verdict, reason = _of_train_loss([value for _, value in train]) or _of_val_loss(
        late_from, late_gain, has_learned=bool(target_met) or (learned is not None and learned >= ENOUGH)
    )
    monitor, best_epoch, best, final = _best(files)
    last = int(files.epochs[-1]["epoch"] or 0)
    name = first_share(files)
    late = [value for epoch, value in files.column(f"val_{name}") if epoch >= late_from] if name else []
    times = files.column("epoch_time")
    return Curves(
        verdict,
        reason,
        epochs=len(files.epochs),
        planned=_planned(files),
        monitor=monitor,
        best_epoch=best_epoch,
        best_value=best,
        final_value=final,
        wasted_epochs=None if best_epoch is None else last - best_epoch,
        wasted_seconds=None
        if best_epoch is None
        else sum(value for epoch, value in times if epoch > best_epoch and math.isfinite(value)),
        train_loss=_ends(train),
        val_loss=_ends(val),
        train_fall=_fall(train),
        val_fall=_fall(val),
        late_from=late_from,
        late_gain=late_gain,
        spread_metric=name,
        spread=pstdev(finite(late)) if len(finite(late)) >= _FEWEST else None,
        gap=read_gap(files, best_epoch),
        non_finite=tuple(bad),
    )


def first_share(files: RunFiles) -> str | None:
    """The first metric that is a fraction (accuracy, F1 …) or R²; None where there is none."""
    names = [name for name in metric_names(files) if files.column(f"val_{name}")]
    return next((name for name in names if is_share(name)), "r2" if "r2" in names else None)


def read_gap(files: RunFiles, best_epoch: int | None) -> Gap | None:
    """The gap between training and validation in that metric; None where there is none."""
    name = first_share(files)
    if name is None:
        return None
    val = dict(files.column(f"val_{name}"))
    gaps = {
        int(epoch): value - val[epoch]
        for epoch, value in files.column(f"train_{name}")
        if epoch in val and math.isfinite(value - val[epoch])
    }
    if not gaps:
        return None
    final = gaps[max(gaps)]
    largest = max(gaps, key=lambda epoch: gaps[epoch])
    opened = None
    if final > OPEN_GAP:
        for epoch in sorted(gaps, reverse=True):
            if gaps[epoch] <= final / 2:
                break
            opened = epoch
    return Gap(name, final, gaps.get(best_epoch or 0), gaps[largest], largest, opened)


def _of_train_loss(values: list[float]) -> tuple[CurveVerdict, str] | None:
    """What the training loss alone settles; None where it settles nothing."""
    if values and not math.isfinite(values[-1]):
        return "diverging", f"The training loss was {format_number(values[-1])} in the last epoch."
    known = finite(values)
    if len(values) < _FEWEST or not known:
        return "too_short", f"{len(values)} epochs are too few to judge by."
    lowest = min(known)
    if (
        lowest > 0
        and known[-1] > RISEN * lowest
        and known[-1] > lowest + 3 * noise(known)
        and known[-1] > values[0]
    ):
        return "diverging", (
            f"The training loss ended at {format_number(known[-1])}, after a lowest of {format_number(lowest)}."
        )
    return None


def _of_val_loss(late_from: int, late_gain: float | None, *, has_learned: bool) -> tuple[CurveVerdict, str]:
    if late_gain is None:
        return "too_short", "There is no validation loss to judge by in both halves of the run."
    span = f"from epoch {late_from} on"
    if late_gain >= STILL:
        return "improving", (
            f"The lowest validation loss {span} is still lower than before, by {late_gain * 100:.1f}% of the first."
        )
    amount = f"no more than {late_gain * 100:.1f}% of its first value" if late_gain > 0 else "nothing"
    still = f"Validation loss gained {amount} {span}"
    if has_learned:
        return "converged", f"{still}, after the run had learned what it could."
    return "plateau", f"{still}, and what was reached is little."


def _planned(files: RunFiles) -> int | None:
    planned = files.setting("training.epochs")
    return planned if isinstance(planned, int) else None


def _late_from(files: RunFiles) -> int:
    """The epoch with which the last third begins."""
    rows = files.epochs
    return int(rows[len(rows) - math.ceil(len(rows) / 3)]["epoch"] or 0)


def _late_gain(val: list[tuple[float, float]], late_from: int) -> float | None:
    before = finite(value for epoch, value in val if epoch < late_from)
    late = finite(value for epoch, value in val if epoch >= late_from)
    if not before or not late or not before[0]:
        return None
    return (min(before) - min(late)) / abs(before[0])


def _best(files: RunFiles) -> tuple[str, int | None, float | None, float | None]:
    """The monitored column; its best epoch, best and final value by the metric log."""
    monitor = str(files.setting("checkpoint.monitor") or "val_loss")
    points = [(epoch, value) for epoch, value in files.column(monitor) if math.isfinite(value)]
    if not points:
        return monitor, None, None, None
    sign = -1.0 if files.setting("checkpoint.monitor_mode") == "max" else 1.0
    epoch, best = min(points, key=lambda point: (sign * point[1], point[0]))
    recorded = files.summary.get("best_epoch")
    if isinstance(recorded, int) and not isinstance(recorded, bool):
        same = [value for number, value in points if number == recorded]
        if same:
            epoch, best = recorded, same[0]
    return monitor, int(epoch), best, points[-1][1]


def _ends(points: list[tuple[float, float]]) -> tuple[float | None, float | None]:
    return (points[0][1], points[-1][1]) if points else (None, None)


def _fall(points: list[tuple[float, float]]) -> float | None:
    """By what share of the first value the last is lower."""
    first, last = _ends(points)
    if first is None or last is None or not first or not math.isfinite(first - last):
        return None
    return (first - last) / abs(first)


def gap_in_words(gap: Gap) -> str:
    """`train_accuracy is 18.3 points above val_accuracy`."""
    points = f"{gap.final * 100:.1f} points" if is_share(gap.metric) else format_number(gap.final)
    return f"train_{gap.metric} is {points} above val_{gap.metric}"
