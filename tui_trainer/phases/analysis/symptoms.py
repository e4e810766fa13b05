"""The signs of each primary issue, and what a run shows of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tui_trainer.phases.analysis.curves import STILL
from tui_trainer.phases.analysis.evidence import FAILED, UNSTABLE
from tui_trainer.phases.analysis.fit import wide_gap
from tui_trainer.phases.analysis.gradients import FILE as GRADIENTS
from tui_trainer.phases.analysis.gradients import LARGE, SMALL_RATIO
from tui_trainer.phases.analysis.profile import DATA_BOUND, IDLE_GPU
from tui_trainer.phases.analysis.verdict import UNSTABLE_CODES
from tui_trainer.reports.diagnosis_content import Symptom
from tui_trainer.session.wording import clean_text, format_metric, format_number, is_share

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui_trainer.phases.analysis.evidence import Evidence
    from tui_trainer.reports.diagnosis_content import IssueCode

CSV, EVENTS, DIAGNOSTICS, SUMMARY = "epoch_metrics.csv", "events.jsonl", "diagnostics.jsonl", "summary.json"
CHECKPOINT, CONFIG = "checkpoints/", "training_config.yaml"
RISEN = 0.1
"""Share by which a validation loss above its lowest counts as risen."""
NEAR_PERFECT, FEW_SAMPLES, UNSTEADY, WASTED = 0.98, 200, 0.2, 3


def symptoms_of(code: IssueCode, evidence: Evidence) -> tuple[Symptom, ...]:
    """All signs of the issue, those that this run shows first."""
    found = [sign(evidence) for sign in SIGNS[code]]
    return tuple(sorted(found, key=lambda item: not item.matched))


def _completed(e: Evidence) -> Symptom:
    bad = e.status in FAILED
    return Symptom("the run did not complete", bad, f"status {clean_text(e.status, limit=40)}", "run.json")


def _no_epoch(e: Evidence) -> Symptom:
    return Symptom("no epoch was finished", not e.curves.epochs, f"{e.curves.epochs} epochs", CSV)


def _crash(e: Evidence) -> Symptom:
    return _told(e, "a crash, a hang or a shortage of memory was recorded", "crash", "hang", "out_of_memory")


def _no_checkpoint(e: Evidence) -> Symptom:
    why = e.examination.why_not
    shown = clean_text(why, limit=200) if why else f"{e.examination.checkpoint} loads"
    return Symptom("no checkpoint can be looked at", bool(why), shown, CHECKPOINT)


def _not_finite(e: Evidence) -> Symptom:
    count = len(e.curves.non_finite)
    return Symptom(
        "a loss of the metric log is not finite", count > 0, f"in {count} of {e.curves.epochs} epochs", CSV
    )


def _skips(e: Evidence) -> Symptom:
    return Symptom(
        "batches were left out for a loss or gradient that is not finite",
        e.skipped > 0,
        f"{e.skipped} batches",
        SUMMARY,
    )


def _large_norm(e: Evidence) -> Symptom:
    largest = e.gradients.total_largest
    wild = any(item.verdict in ("large", "non_finite") for item in e.gradients.layers)
    return Symptom(
        f"gradient norms above {LARGE:g}, or not finite",
        wild or (largest is not None and largest > LARGE),
        f"largest epoch mean {format_number(largest)}",
        GRADIENTS,
    )


def _diverged(e: Evidence) -> Symptom:
    first, last = e.curves.train_loss
    return Symptom(
        "the training loss rose",
        e.curves.verdict == "diverging",
        f"{format_number(first)} at first, {format_number(last)} in the end",
        CSV,
    )


def _blown(e: Evidence) -> Symptom:
    return _told(e, "a rule saw it while it trained", "nan_loss", "exploding_gradients", "loss_spike")


def _no_fall(e: Evidence) -> Symptom:
    fall = e.curves.train_fall
    return Symptom(
        f"the training loss fell by less than {STILL * 100:.0f}% of its first value",
        fall is None or fall < STILL,
        "n/a" if fall is None else _signed(fall),
        CSV,
    )


def _no_skill(e: Evidence) -> Symptom:
    now = e.fit_facts.standing
    return Symptom(
        "neither set is better than a predictor without inputs",
        e.learned_nothing,
        "not known" if now is None else clean_text(now.in_words(), limit=200),
        EVENTS,
    )


def _small_gradients(e: Evidence) -> Symptom:
    ratio = e.gradients.ratio
    small = e.gradients.verdict == "vanishing" or (ratio is not None and ratio < SMALL_RATIO)
    shown = "not known" if ratio is None else f"first over last layers {ratio:.2g}"
    return Symptom("gradients die out towards the first layers", small, shown, GRADIENTS)


def _dead_units(e: Evidence) -> Symptom:
    return _told(
        e, "units or parameters take no part", "dying_relu", "saturated_activation", "dead_parameters"
    )


def _stalled(e: Evidence) -> Symptom:
    return _late(e, "validation loss stands still in the last third", still=True)


def _still_falls(e: Evidence) -> Symptom:
    return _late(e, "validation loss still fell in the last third", still=False)


def _late(e: Evidence, sign: str, *, still: bool) -> Symptom:
    gain = e.curves.late_gain
    matched = gain is not None and (gain < STILL) == still
    shown = (
        "not known" if gain is None else f"{_signed(gain)} of the first from epoch {e.curves.late_from} on"
    )
    return Symptom(sign, matched, shown, CSV)


def _gap(e: Evidence) -> Symptom:
    gap, limit = e.curves.gap, wide_gap(e.files)
    sign = f"training better than validation by more than {limit * 100:.0f} points"
    if gap is None:
        return Symptom(sign, False, "no metric to tell", CSV)
    shown = f"{_points(gap.metric, gap.final)} in {clean_text(gap.metric, limit=60)}, last epoch"
    return Symptom(sign, gap.final > limit, shown, CSV)


def _small_gap(e: Evidence) -> Symptom:
    gap, limit = e.curves.gap, wide_gap(e.files)
    shown = (
        "no metric to tell"
        if gap is None
        else f"{_points(gap.metric, gap.final)} in {clean_text(gap.metric, limit=60)}"
    )
    matched = gap is not None and gap.final <= limit
    return Symptom(f"a gap of no more than {limit * 100:.0f} points", matched, shown, CSV)


def _gap_since(e: Evidence) -> Symptom:
    gap = e.curves.gap
    opened = gap.opened if gap else None
    return Symptom(
        "the gap opened at some point and stayed",
        opened is not None,
        "no" if opened is None else f"open since epoch {opened}",
        CSV,
    )


def _by_heart(e: Evidence) -> Symptom:
    fit = e.fit
    known = fit.train is not None and fit.metric is not None and (is_share(fit.metric) or fit.metric == "r2")
    shown = (
        "not known"
        if fit.train is None or not fit.metric
        else f"train {format_metric(fit.metric, fit.train)}"
    )
    return Symptom(
        "the training set is known by heart",
        bool(known and fit.train and fit.train >= NEAR_PERFECT),
        shown,
        CSV,
    )


def _val_rises(e: Evidence) -> Symptom:
    rise = val_rise(e)
    shown = "not known" if rise is None else f"{_signed(rise)} above its lowest in the last epoch"
    return Symptom(
        f"validation loss ends {RISEN * 100:.0f}% or more above its lowest",
        rise is not None and rise >= RISEN,
        shown,
        CSV,
    )


def val_rise(e: Evidence) -> float | None:
    """By what share of its lowest value the last validation loss is above it."""
    values = [value for _, value in e.files.column("val_loss") if math.isfinite(value)]
    return values[-1] / min(values) - 1 if values and min(values) > 0 else None


def _late_epochs(e: Evidence) -> Symptom:
    wasted = e.curves.wasted_epochs
    return Symptom(
        "the best epoch lies well before the last",
        wasted is not None and wasted >= WASTED,
        "not known" if wasted is None else f"best epoch {e.curves.best_epoch}, {wasted} epochs after it",
        CSV,
    )


def _train_poor(e: Evidence) -> Symptom:
    now = e.fit_facts.standing
    if now is None:
        return _far(e)
    return Symptom(
        "training is worse than what simple predictors reach",
        now.is_trivial(0.1) or now.short_by() > 0,
        clean_text(now.in_words(), limit=200),
        EVENTS,
    )


def _far(e: Evidence) -> Symptom:
    short, metric = e.fit.short_of_target, str(e.setting("targets.metric") or "")
    shown = "no target is set" if short is None else f"{_points(metric, short)} short"
    return Symptom("the target is missed", bool(short), shown, CSV)


def _spread(e: Evidence) -> Symptom:
    spread, metric = e.curves.spread, e.curves.spread_metric
    shown = "not known" if spread is None or metric is None else _points(metric, spread)
    return Symptom(
        f"a validation metric scatters by more than {UNSTABLE * 100:.0f} points over the last third",
        bool(spread is not None and metric is not None and is_share(metric) and spread > UNSTABLE),
        shown,
        CSV,
    )


def _bad_content(e: Evidence) -> Symptom:
    return _told(e, "the content of the data is at fault", "data_quality")


def _leak(e: Evidence) -> Symptom:
    return _told(e, "validation samples are in the train set too", "data_leakage")


def _missed_class(e: Evidence) -> Symptom:
    never = e.examination.never_predicted
    names = ", ".join(clean_text(name, limit=30) for name in never[:5])
    shown = (
        f"{len(never)} of {len(e.examination.classes)} classes: {names}"
        if never
        else ("none" if e.examination.classes else "not known")
    )
    return Symptom("a class is never predicted", bool(never), shown, e.examination.checkpoint or CHECKPOINT)


def _swings(e: Evidence) -> Symptom:
    return _told(e, "the training loss swings or jumps", *UNSTABLE_CODES)


def _few(e: Evidence) -> Symptom:
    count = e.data.val_samples
    return Symptom(
        f"fewer than {FEW_SAMPLES} validation samples",
        count is not None and count < FEW_SAMPLES,
        "not known" if count is None else f"{count} samples",
        EVENTS,
    )


def _waits(e: Evidence) -> Symptom:
    wait = e.profile.data_wait
    shown = "not known" if wait is None else f"{wait * 100:.1f}%"
    return Symptom(
        f"more than {DATA_BOUND * 100:.0f}% of the time waits for data",
        wait is not None and wait > DATA_BOUND,
        shown,
        SUMMARY,
    )


def _idle(e: Evidence) -> Symptom:
    util = e.profile.gpu_util
    return Symptom(
        f"GPU utilization below {IDLE_GPU:.0f}%",
        util is not None and util < IDLE_GPU,
        "no GPU" if util is None else f"{util:.0f}%",
        SUMMARY,
    )


def _unsteady(e: Evidence) -> Symptom:
    spread = e.profile.spread
    return Symptom(
        f"epoch times differ by more than {UNSTEADY * 100:.0f}%",
        spread is not None and spread > UNSTEADY,
        "not known" if spread is None else f"up to {spread * 100:.0f}% from the median",
        CSV,
    )


def _seen_machine(e: Evidence) -> Symptom:
    return _told(e, "a rule saw the machine held up", "resource_inefficiency", "memory_leak", "out_of_memory")


def _met(e: Evidence) -> Symptom:
    return Symptom("the target is met", bool(e.fit.target_met), e.fit.target, CSV)


def _finite(e: Evidence) -> Symptom:
    count = len(e.curves.non_finite)
    return Symptom("all losses are finite", not count, f"{count} epochs are not", CSV)


def _all_classes(e: Evidence) -> Symptom:
    missed = _missed_class(e)
    known = bool(e.examination.classes)
    return Symptom("every class is predicted", known and not missed.matched, missed.found, missed.source)


def _reproduces(e: Evidence) -> Symptom:
    """Whether the metrics of the best checkpoint come out again."""
    looked = e.examination
    differences = [
        abs(value - looked.measured[name])
        for name, value in looked.recorded.items()
        if name in looked.measured
    ]
    known = differences and all(map(math.isfinite, differences))
    shown = f"largest difference {max(differences):.2g}" if known else "not known"
    return Symptom(
        "the best checkpoint reproduces its metrics",
        bool(known and max(differences) < 1e-3),
        shown,
        looked.checkpoint or CHECKPOINT,
    )


def _weak_class(e: Evidence) -> Symptom:
    scores = [(item.f1 or 0.0, item.name) for item in e.examination.classes if item.support]
    if not scores:
        return Symptom("some classes are much worse than others", False, "not known", CHECKPOINT)
    low, name = min(scores)
    mean = sum(value for value, _ in scores) / len(scores)
    return Symptom(
        "some classes are much worse than others",
        low < mean - 0.1,
        f"lowest F1 {low:.3f} ({clean_text(name, limit=30)}), mean {mean:.3f}",
        e.examination.checkpoint or CHECKPOINT,
    )


def _any_critical(e: Evidence) -> Symptom:
    names = ", ".join(item.id for item in e.critical[:5])
    shown = clean_text(names, limit=100) or "none was raised"
    return Symptom("a critical diagnostic is open", bool(e.critical), shown, DIAGNOSTICS)


def _told(e: Evidence, sign: str, *codes: str) -> Symptom:
    problem = e.told(*codes)
    shown = "none was raised" if problem is None else f"{problem.id}, epoch {problem.epoch}"
    return Symptom(sign, problem is not None, clean_text(shown, limit=100), DIAGNOSTICS)


def _points(metric: str, value: float) -> str:
    return f"{value * 100:.1f} points" if is_share(metric) else format_number(value)


def _signed(share: float) -> str:
    return f"{share * 100:.1f}%"


SIGNS: dict[IssueCode, tuple[Callable[[Evidence], Symptom], ...]] = {
    "failed": (_completed, _no_epoch, _crash, _no_checkpoint),
    "non_finite": (_not_finite, _skips, _large_norm, _diverged, _blown),
    "flat": (_no_fall, _no_skill, _small_gradients, _dead_units, _stalled),
    "overfitting": (_gap, _gap_since, _by_heart, _val_rises, _late_epochs),
    "underfitting": (_train_poor, _far, _small_gap, _stalled, _small_gradients),
    "data_quality": (_spread, _bad_content, _leak, _missed_class, _swings, _few),
    "resource": (_waits, _idle, _unsteady, _seen_machine),
    "critical": (_any_critical, _dead_units, _small_gradients, _swings, _far),
    "target_met": (_met, _finite, _small_gap, _all_classes, _reproduces),
    "improvement": (_far, _still_falls, _small_gap, _weak_class, _late_epochs),
}
"""What to look for, by issue."""
