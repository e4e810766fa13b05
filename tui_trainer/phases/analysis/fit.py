"""Over- or underfitting: how a run's two sets compare with each other, with simple predictors and with the target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tui_trainer.diagnostics.learning import learned
from tui_trainer.diagnostics.standing import Standing, standing
from tui_trainer.engine.events import from_json_number
from tui_trainer.phases.analysis.curves import first_share, gap_in_words, read_gap
from tui_trainer.reports.decision import target_met
from tui_trainer.reports.diagnosis_content import Fit, FitVerdict, Gap
from tui_trainer.session.wording import is_share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tui_trainer.reports.diagnosis_content import Problem
    from tui_trainer.reports.run_files import RunFiles
    from tui_trainer.session.diagnosing import Diagnosis

WIDE_GAP = 0.15
"""Points of a fraction (or of R²) by which training may be better."""
NOTHING, SHORT = 0.1, 0.1
"""Skill (0: without inputs, 1: without error) up to which nothing is learned, and by which a run may stay below the best
simple predictor: those of the rule `underfitting`."""
FAR_SHARE, FAR_ELSE = 0.05, 0.1
"""A target is missed by far where more than that is missing: points of a fraction, else a share of the target."""


@dataclass(frozen=True, slots=True)
class FitFacts:
    """What the verdict rests on. `learned`: share of what there is to learn that training shows, None: not known."""

    standing: Standing | None
    learned: float | None


def read_facts(diagnosis: Diagnosis | None) -> FitFacts:
    """From the rules' own view of the run; without it nothing is known."""
    if diagnosis is None or not diagnosis.history.epochs:
        return FitFacts(None, None)
    facts, history = diagnosis.facts, diagnosis.history
    return FitFacts(standing(facts, history), learned(facts, history, epochs=3))


def read_fit(files: RunFiles, facts: FitFacts, problems: Sequence[Problem]) -> Fit:
    """The assessment, with the numbers of the last epoch."""
    met, sentence = target_met(files)
    now = facts.standing
    name = now.metric if now is not None else first_share(files) or "loss"
    verdict, reason = _verdict(files, now, problems, met)
    return Fit(
        verdict,
        reason,
        metric=name,
        train=_last(files, f"train_{name}"),
        val=_last(files, f"val_{name}"),
        trivial=now.trivial if now else None,
        simple=now.simple if now else None,
        simple_name=_SIMPLE[now.simple_name] if now and now.simple_name else "",
        target=sentence,
        target_met=met,
        short_of_target=short_of_target(files),
    )


def short_of_target(files: RunFiles) -> float | None:
    """How much is missing to the target's bound, in units of its metric; 0 where it is met, None without one."""
    found = _target(files)
    if found is None:
        return None
    name, bound, sign = found
    values = [value for _, value in files.column(name) if math.isfinite(value)]
    best = from_json_number(files.summary.get(f"best_{name}"))
    if isinstance(best, (int, float)) and math.isfinite(best):
        values.append(float(best))
    return max(0.0, min(sign * (bound - value) for value in values)) if values else None


def is_poor(files: RunFiles) -> bool:
    """Whether training and validation both miss the target by far."""
    found = _target(files)
    if found is None or not found[0].startswith("val_"):
        return False
    name, bound, sign = found
    far = FAR_SHARE if is_share(name) else FAR_ELSE * abs(bound)
    for column in (name, f"train_{name[4:]}"):
        values = [value for _, value in files.column(column) if math.isfinite(value)]
        if not values or min(sign * (bound - value) for value in values) <= far:
            return False
    return True


def _verdict(
    files: RunFiles, now: Standing | None, problems: Sequence[Problem], met: bool | None
) -> tuple[FitVerdict, str]:
    if not files.epochs:
        return "unknown", "No epoch was finished."
    gap = read_gap(files, None)
    told = {item.code: item.message for item in problems if item.open and item.severity != "info"}
    over = _overfitting(gap, wide_gap(files), told)
    if over:
        return "overfitting", over
    under = None if met else _underfitting(files, now, told)
    if under:
        return "underfitting", under
    if gap is None and now is None:
        return "unknown", "No metric has a known scale to judge by."
    return "good", _good(gap)


def wide_gap(files: RunFiles) -> float:
    """From which gap on a run overfits: 15 points, or what the config's thresholds say of the rule `overfitting`."""
    given = files.setting("diagnostics.thresholds.overfitting.gap")
    return float(given) if isinstance(given, (int, float)) and not isinstance(given, bool) else WIDE_GAP


def _overfitting(gap: Gap | None, limit: float, told: Mapping[str, str]) -> str | None:
    if gap is not None and gap.final > limit:
        return f"In the last epoch {gap_in_words(gap)}: more than {limit * 100:.0f} points."
    return told.get("overfitting")


def _underfitting(files: RunFiles, now: Standing | None, told: Mapping[str, str]) -> str | None:
    if now is not None and (now.is_trivial(NOTHING) or now.short_by() > SHORT):
        return f"Training and validation are both poor: {now.in_words()}."
    if is_poor(files):
        return "Training misses the target by far, and so does validation."
    return told.get("underfitting")


def _good(gap: Gap | None) -> str:
    if gap is None:
        return "Neither sign: the model is no worse than simple predictors."
    if gap.final <= 0:
        return f"Neither sign: training is no better than validation in {gap.metric}."
    return f"Neither sign: {gap_in_words(gap)}."


def _target(files: RunFiles) -> tuple[str, float, float] | None:
    """Column, bound, and 1 where more is better (−1: less)."""
    target = files.setting("targets")
    if not isinstance(target, dict) or not target.get("metric"):
        return None
    low, high = target.get("at_least"), target.get("at_most")
    bound = low if low is not None else high
    if not isinstance(bound, (int, float)):
        return None
    return str(target["metric"]), float(bound), 1.0 if low is not None else -1.0


def _last(files: RunFiles, column: str) -> float | None:
    points = files.column(column)
    return points[-1][1] if points else None


_SIMPLE = {"linear": "a linear model", "neighbours": "the five nearest train samples"}
