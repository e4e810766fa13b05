"""The sections of the Diagnose screen on curves, fit, machine and data: pure functions from content to rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tui_trainer.screens.gauges import bar
from tui_trainer.screens.wrapping import wrap_runs
from tui_trainer.session.wording import (
    cell_width,
    clean_text,
    crop,
    format_bytes,
    format_duration,
    format_metric,
    format_number,
    is_share,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tui_trainer.reports.diagnosis_content import Curves, DataFacts, Fit, Gap, Profile
    from tui_trainer.screens.canvas import Row, Run
    from tui_trainer.screens.panels import Glyphs

Fact = tuple[str, str, str]  # label, value, role
CURVE_ROLES = {"diverging": "bad", "none": "bad", "too_short": "warn", "plateau": "warn", "improving": "good",
               "converged": "good"}  # fmt: skip
FIT_ROLES = {"overfitting": "warn", "underfitting": "warn", "good": "good", "unknown": "dim"}
BUSY_GPU, LONG_WAIT = 60.0, 0.4  # percent; share: what the gate after a baseline asks for
CLASSES_SHOWN = 24
_BAR = 40  # cells at most


def verdict_row(word: str, role: str, reason: str, width: int) -> list[Row]:
    """What a section comes to, in a word and a sentence."""
    first: Row = ((word.replace("_", " ").upper(), role), ("  ", "text"))
    return wrap_runs([(clean_text(reason), "text")], width, first=first)


def fact_rows(facts: Iterable[Fact], width: int) -> list[Row]:
    """Labels in a column, values beside them; those that are not known are left out."""
    known = [fact for fact in facts if fact[1] not in ("", "n/a")]
    label = min(max((cell_width(name) for name, _, _ in known), default=0) + 2, max(12, width // 2))
    rows: list[Row] = []
    for name, value, role in known:
        shown = crop(name, label - 2)
        first: Row = ((shown + " " * (label - cell_width(shown)), "dim"),)
        rows += wrap_runs([(value, role)], width, indent=label, first=first)
    return rows


# ── learning curves ─────────────────────────────────────────────────────────────────────────────────────────────


def curve_rows(curves: Curves, width: int, glyphs: Glyphs) -> list[Row]:
    """Convergence, plateau or divergence; the gap; what was wasted."""
    rows = verdict_row(curves.verdict, CURVE_ROLES[curves.verdict], curves.reason, width)
    if not curves.epochs:
        return rows
    return [*rows, (), *fact_rows([*_progress(curves), *_losses(curves, glyphs), *_gap(curves.gap)], width)]


def _progress(curves: Curves) -> list[Fact]:
    planned = f" of {curves.planned}" if curves.planned is not None else ""
    name = clean_text(curves.monitor, limit=60)
    facts: list[Fact] = [("epochs", f"{curves.epochs}{planned}", "text")]
    if curves.best_value is not None and curves.best_epoch is not None:
        best = f"{format_metric(name, curves.best_value)} in epoch {curves.best_epoch}"
        last = (
            f"; at the end {format_metric(name, curves.final_value)}"
            if curves.final_value is not None
            else ""
        )
        facts.append((f"best {name}", best + last, "good"))
    if curves.wasted_epochs:
        spent = f"{curves.wasted_epochs} epochs, {format_duration(curves.wasted_seconds)}"
        facts.append(("after the best", f"{spent}: nothing came of them", "text"))
    if curves.non_finite:
        shown = ", ".join(map(str, curves.non_finite[:12])) + (" …" if len(curves.non_finite) > 12 else "")
        facts.append(("not finite", f"the loss of epoch {shown}", "bad"))
    return facts


def _losses(curves: Curves, glyphs: Glyphs) -> list[Fact]:
    arrow = "->" if glyphs.ascii else "→"
    facts: list[Fact] = []
    for name, ends, fall in (
        ("training loss", curves.train_loss, curves.train_fall),
        ("validation loss", curves.val_loss, curves.val_fall),
    ):
        if ends[0] is None and ends[1] is None:
            continue
        by = "" if fall is None else f", {'fell' if fall >= 0 else 'rose'} by {abs(fall) * 100:.1f}%"
        role = "text" if fall is None or fall > 0 else "warn"
        facts.append((name, f"{format_number(ends[0])} {arrow} {format_number(ends[1])}{by}", role))
    if curves.late_gain is not None:
        gain = (
            f"validation gained {curves.late_gain * 100:.1f}%" if curves.late_gain > 0 else "nothing gained"
        )
        facts.append((f"from epoch {curves.late_from} on", gain, "text"))
    if curves.spread_metric is not None:
        words = f"val_{clean_text(curves.spread_metric, limit=60)} scatters by"
        facts.append(("", f"{words} {difference(curves.spread_metric, curves.spread)}", "text"))
    return facts


def _gap(gap: Gap | None) -> list[Fact]:
    if gap is None:
        return []
    at_best = "" if gap.at_best is None else f", {difference(gap.metric, gap.at_best)} at the best epoch"
    largest = f"{difference(gap.metric, gap.largest)} in epoch {gap.largest_epoch}"
    opened = "never: it is small" if gap.opened is None else f"in epoch {gap.opened}, and stayed"
    return [
        (f"gap in {clean_text(gap.metric, limit=60)}", f"{difference(gap.metric, gap.final)} at the end{at_best}", "text"),
        ("largest", largest, "text"),
        ("it opened", opened, "text"),
    ]  # fmt: skip


def difference(metric: str, value: float | None) -> str:
    """The difference of two values of a metric: points where it is a share."""
    if value is None:
        return "n/a"
    return f"{value * 100:.1f} points" if is_share(metric) else format_number(value)


# ── fit ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def fit_rows(fit: Fit, width: int, glyphs: Glyphs) -> list[Row]:
    """Over- or underfitting, as bars beside what needs no training."""
    rows = verdict_row(fit.verdict, FIT_ROLES[fit.verdict], fit.reason, width)
    if fit.target:
        role = (
            {True: "good", False: "warn"}.get(fit.target_met, "dim") if fit.target_met is not None else "dim"
        )
        rows += [(), *wrap_runs([(clean_text(fit.target), role)], width)]
    if fit.metric is None:
        return rows
    metric = clean_text(fit.metric, limit=60)
    values = [
        ("training, last epoch", fit.train, "train"),
        ("validation, last epoch", fit.val, "val"),
        (clean_text(fit.simple_name, limit=60) or "the best simple model", fit.simple, "text"),
        ("without looking at inputs", fit.trivial, "text"),
    ]
    known = [(name, value, role) for name, value, role in values if value is not None]
    rows += [(), ((metric, "heading"),)]
    top = 1.0 if is_share(metric) else max((abs(value) for _, value, _ in known), default=0.0)
    drawable = bool(known) and all(0 <= value < math.inf for _, value, _ in known) and 0 < top < math.inf
    label = min(max((cell_width(name) for name, _, _ in known), default=0) + 2, max(12, width // 2))
    for name, value, role in known:
        shown = crop(name, label - 2)
        first: Run = (shown + " " * (label - cell_width(shown)), "dim")
        number = f"{format_metric(metric, value):>9}"
        size = max(0, min(_BAR, width - label - 10)) if drawable else 0
        rows.append(
            (
                first,
                *bar(value / top if drawable else None, size, ascii=glyphs.ascii, role=role),
                (number, "strong"),
            )
        )
    if fit.short_of_target is not None and fit.short_of_target > 0:
        rows += [(), ((f"Short of the target by {difference(metric, fit.short_of_target)}.", "warn"),)]
    return rows


# ── machine ─────────────────────────────────────────────────────────────────────────────────────────────────────


def machine_profile_rows(profile: Profile, width: int, glyphs: Glyphs) -> list[Row]:
    """What held the training up, and what the machine did."""
    name = profile.bottleneck
    word = "no bottleneck" if name is None else f"bottleneck: {name}"
    rows = verdict_row(word, "good" if name is None else "warn", profile.reason, width)
    steady = "" if profile.spread is None else f", at most {profile.spread * 100:.0f}% off the median"
    epochs = format_duration(profile.epoch_time)
    if profile.epoch_shortest is not None and profile.epoch_longest is not None:
        ends = f"{format_duration(profile.epoch_shortest)} to {format_duration(profile.epoch_longest)}"
        epochs = f"{epochs} ({ends}{steady})"
    speed = "" if profile.samples_per_second is None else f"{profile.samples_per_second:,.0f} samples/s"
    rows += [
        (),
        *fact_rows(
            [
                ("device", clean_text(profile.device or "", limit=80), "text"),
                ("duration", format_duration(profile.duration), "text"),
                ("an epoch took", epochs, "text"),
                ("speed", speed, "text"),
                ("GPU hours", "" if profile.gpu_hours is None else f"{profile.gpu_hours:.3f}", "text"),
                ("memory, at most", "" if profile.memory is None else format_bytes(profile.memory), "text"),
            ],
            width,
        ),
        (),
    ]
    util, wait = profile.gpu_util, profile.data_wait
    shares = [
        ("GPU busy", None if util is None else util / 100, "good" if (util or 0) > BUSY_GPU else "warn"),
        ("waiting for data", wait, "warn" if (wait or 0) > LONG_WAIT else "bar"),
    ]
    for label, share, role in shares:
        text = f"{'n/a' if share is None else f'{share * 100:.0f}%':>5}"
        size = max(0, min(_BAR, width - 23)) if share is not None else 0
        rows.append(
            ((f"{label:<18}", "dim"), *bar(share, size, ascii=glyphs.ascii, role=role), (text, "strong"))
        )
    return rows


# ── data ────────────────────────────────────────────────────────────────────────────────────────────────────────


def data_rows(data: DataFacts, width: int, glyphs: Glyphs) -> list[Row]:
    """Sizes, classes as bars, what was found wrong with the content."""
    word = "something is wrong" if data.problems else "in order"
    rows = verdict_row(word, "warn" if data.problems else "good", data.reason, width)
    for item in data.problems:
        role = {"critical": "bad", "warning": "warn"}.get(item.severity, "dim")
        runs: list[Run] = [
            (f"{clean_text(item.code, limit=60)}: ", role),
            (clean_text(item.message, limit=600), "text"),
        ]
        rows += wrap_runs(runs, width, indent=2)
    sizes = [(name, "" if count is None else f"{count:,}", "text") for name, count in
             (("train samples", data.train_samples), ("validation samples", data.val_samples))]  # fmt: skip
    imbalance = (
        "" if data.imbalance is None else f"{data.imbalance:.1f} of the most frequent for one of the rarest"
    )
    facts: list[Fact] = [
        *sizes,
        ("task", clean_text(data.task, limit=60), "text"),
        ("classes", "" if data.classes is None else str(data.classes), "text"),
        ("imbalance", imbalance, "text"),
    ]
    rows += [(), *fact_rows(facts, width)]
    return [*rows, (), *_class_rows(data, width, glyphs)] if data.class_counts else rows


def _class_rows(data: DataFacts, width: int, glyphs: Glyphs) -> list[Row]:
    counts = data.class_counts
    names = [
        clean_text(data.class_names[k] if k < len(data.class_names) else k, limit=60)
        for k in range(len(counts))
    ]
    order: Sequence[int] = range(len(counts))
    title = "Train samples by class"
    if len(counts) > CLASSES_SHOWN:
        by_size = sorted(order, key=lambda k: -counts[k])
        order = [*by_size[: CLASSES_SHOWN // 2], *by_size[-CLASSES_SHOWN // 2 :]]
        title += f": the {CLASSES_SHOWN // 2} most frequent and the rarest of {len(counts)}"
    label = min(max((cell_width(names[k]) for k in order), default=0) + 1, max(6, width // 3))
    rows: list[Row] = [((crop(title, width), "heading"),)]
    for k in order:
        shown = crop(names[k], label - 1)
        number = f" {counts[k]:>8,}"
        size = max(0, min(_BAR, width - label - len(number)))
        share = counts[k] / max(1, *counts)
        pad = " " * (label - cell_width(shown))
        rows.append(((shown + pad, "dim"), *bar(share, size, ascii=glyphs.ascii), (number, "text")))
    return rows
