"""From the evidence to the primary issue and the decision, in the order that the phase prescribes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_trainer.phases.analysis.curves import STILL
from tui_trainer.phases.analysis.evidence import FAILED, UNSTABLE
from tui_trainer.reports.diagnosis_content import NO_CHECKPOINT, Decision, Issue
from tui_trainer.session.wording import clean_text, format_number, is_share

if TYPE_CHECKING:
    from tui_trainer.phases.analysis.evidence import Evidence

UNSTABLE_CODES = ("oscillating_loss", "loss_spike")
DATA_CODES = ("data_leakage", "data_quality", "class_imbalance")
_BLOWN = ("nan_loss", "exploding_gradients")
_DEAD = ("convergence_stall", "vanishing_gradients", "dying_relu", "dead_parameters", "saturated_activation")


def primary_issue(evidence: Evidence) -> Issue:
    """What to do something about first. The order: it did not train, not finite, flat, overfitting, underfitting, data
    or instability, resources, anything else that is critical; then the target, or room for improvement."""
    for judge in _ORDER:
        found = judge(evidence)
        if found is not None:
            return found
    return Issue(
        "improvement",
        "Nothing is wrong; there is room for improvement",
        f"{evidence.fit.target} {evidence.fit.reason}",
    )


def decide_phase(evidence: Evidence, issue: Issue) -> tuple[Decision, tuple[str, ...]]:
    """deploy, optimize or debug, and why."""
    first = f"{issue.title}: {issue.summary}"
    if issue.code in ("failed", "non_finite", "flat"):
        return "debug", (first, "Mend that, then train the baseline again (phase 2).")
    if evidence.critical:
        names = ", ".join(dict.fromkeys(clean_text(item.code, limit=60) for item in evidence.critical))
        return "debug", (first, f"Open critical diagnostics: {names}.")
    if evidence.fit.target_met and evidence.examination.why_not == NO_CHECKPOINT:
        return "debug", (first, f"{NO_CHECKPOINT} There is nothing to deploy.")
    if evidence.fit.target_met:
        more = () if issue.code == "target_met" else (f"To know of: {first}",)
        return "deploy", (evidence.fit.target, "No critical diagnostic is open: on to phase 5.", *more)
    return "optimize", (first, evidence.fit.target)


def is_flat(evidence: Evidence) -> bool:
    """Whether the training loss never fell by more than a little, in a run that had anything left to learn."""
    values = [value for _, value in evidence.files.column("train_loss")]
    known = evidence.fit_facts.learned
    if len(values) < 2 or evidence.fit.target_met or (known is not None and known >= 0.5):
        return False
    return values[0] == values[0] and min(values[1:]) >= values[0] - STILL * abs(values[0])


def _failed(evidence: Evidence) -> Issue | None:
    if _non_finite(evidence) is not None:
        return None  # what ended it is known better
    if not evidence.curves.epochs:
        how = (
            clean_text(evidence.message, limit=300)
            or f"The run's status is {clean_text(evidence.status, limit=40)}."
        )
        return Issue("failed", "No epoch was finished", how)
    if evidence.status in FAILED:
        told = evidence.told("crash", "hang", "out_of_memory")
        how = told.message if told else clean_text(evidence.message, limit=300) or "Nothing tells why."
        status = clean_text(evidence.status, limit=40)
        return Issue("failed", "The run did not complete", f"Status {status}. {clean_text(how, limit=400)}")
    return None


def _non_finite(evidence: Evidence) -> Issue | None:
    epochs = evidence.curves.non_finite
    if epochs:
        shown = ", ".join(map(str, epochs[:8])) + (f" and {len(epochs) - 8} more" if len(epochs) > 8 else "")
        return Issue(
            "non_finite",
            "Losses that are not finite",
            f"Training or validation loss was not finite in epoch{'s' if len(epochs) > 1 else ''} {shown}.",
        )
    told = evidence.told(*_BLOWN)
    if told is None or told.severity != "critical":
        return None
    title = "Losses that are not finite" if told.code == "nan_loss" else "Gradients that explode"
    return Issue("non_finite", title, clean_text(told.message, limit=400))


def _flat(evidence: Evidence) -> Issue | None:
    first, last = evidence.curves.train_loss
    if is_flat(evidence):
        return Issue(
            "flat",
            "The loss is flat: nothing is learned",
            f"The training loss went from {format_number(first)} to {format_number(last)} in "
            f"{evidence.curves.epochs} epochs.",
        )
    told = evidence.told(*_DEAD)
    if told is not None and evidence.learned_nothing:
        return Issue("flat", "The loss is flat: nothing is learned", clean_text(told.message, limit=400))
    return None


def _overfitting(evidence: Evidence) -> Issue | None:
    if evidence.fit.verdict != "overfitting":
        return None
    return Issue("overfitting", "Overfitting", evidence.fit.reason)


def _underfitting(evidence: Evidence) -> Issue | None:
    if evidence.fit.verdict != "underfitting":
        return None
    return Issue("underfitting", "Underfitting", evidence.fit.reason)


def _data(evidence: Evidence) -> Issue | None:
    title = "Data quality or instability"
    curves = evidence.curves
    if (
        curves.spread is not None
        and curves.spread_metric
        and curves.spread > UNSTABLE
        and is_share(curves.spread_metric)
    ):
        return Issue(
            "data_quality",
            title,
            f"val_{clean_text(curves.spread_metric, limit=60)} has a standard deviation of {curves.spread * 100:.1f} points "
            f"from epoch {curves.late_from} on (limit {UNSTABLE * 100:.0f}).",
        )
    told = evidence.told(*DATA_CODES, *UNSTABLE_CODES)
    return Issue("data_quality", title, clean_text(told.message, limit=400)) if told else None


def _resource(evidence: Evidence) -> Issue | None:
    if evidence.profile.bottleneck is None:
        return None
    return Issue("resource", "The machine is not used well", clean_text(evidence.profile.reason, limit=400))


def _critical(evidence: Evidence) -> Issue | None:
    """Something that none of the others is about, and that must not go unseen."""
    if not evidence.critical:
        return None
    first = evidence.critical[0]
    name = clean_text(first.code, limit=60).replace("_", " ")
    return Issue("critical", f"An open critical diagnostic: {name}", clean_text(first.message, limit=400))


def _met(evidence: Evidence) -> Issue | None:
    if not evidence.fit.target_met:
        return None
    return Issue("target_met", "None: the target is met", evidence.fit.target)


_ORDER = (_failed, _non_finite, _flat, _overfitting, _underfitting, _data, _resource, _critical, _met)
