"""The gate `diagnostics_complete`: is everything in the diagnosis that a decision needs, and tied to evidence?

It passes by itself when the target was met: there is nothing to mend then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_trainer.config.errors import ConfigError
from tui_trainer.config.loading import parse_config
from tui_trainer.phases.analysis.recommendations import FEWEST, MOST
from tui_trainer.phases.gate import Finding, Item
from tui_trainer.session.run_folder import OPTIMIZATION_YAML

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui_trainer.reports.diagnosis_content import PhaseDiagnosis

GATE, TITLE = "diagnostics_complete", "Diagnostics complete"
_MEND = (
    "Read diagnostic_report.md: it names what is missing. Then train the baseline again, or waive the item."
)


def primary_issue(diagnosis: PhaseDiagnosis) -> Finding:
    """One issue is named, and said with what it was seen by."""
    issue = diagnosis.issue
    if not issue.title or not issue.summary:
        return Finding("failed", "The diagnosis names no primary issue.")
    return Finding("passed", f"{issue.title}: {issue.summary}", {"code": issue.code})


def evidence(diagnosis: PhaseDiagnosis) -> Finding:
    """At least one symptom of those listed was found in the run's files."""
    matched = [item for item in diagnosis.symptoms if item.matched and item.source]
    details = {"matched": len(matched), "listed": len(diagnosis.symptoms)}
    text = f"{len(matched)} of {len(diagnosis.symptoms)} symptoms match"
    if matched:
        return Finding("passed", f"{text}, such as: {matched[0].sign} ({matched[0].found})", details)
    if diagnosis.fit.target_met or diagnosis.issue.code == "improvement":
        return Finding("not_applicable", f"{text}: nothing is wrong.", details)
    return Finding("failed", f"{text}: nothing in the files speaks for {diagnosis.issue.title}.", details)


def causes(diagnosis: PhaseDiagnosis) -> Finding:
    """Causes are named and ranked."""
    likely = [item for item in diagnosis.causes if item.evidence]
    details = {"likely": len(likely), "named": len(diagnosis.causes)}
    if diagnosis.causes:
        first = diagnosis.causes[0]
        why = f" ({first.evidence})" if first.evidence else " (nothing in the run speaks for any of them yet)"
        return Finding("passed", f"{len(diagnosis.causes)} causes, first: {first.text}{why}", details)
    return _unless_met(diagnosis, "No cause is named.")


def recommendations(diagnosis: PhaseDiagnosis) -> Finding:
    """Three to five, each with a config diff, impact, effort, risk and expected gain."""
    found = diagnosis.recommendations
    whole = [
        item for item in found if item.changes and item.impact and item.effort and item.risk and item.gain
    ]
    details = {"recommendations": len(found), "complete": len(whole)}
    if FEWEST <= len(whole) <= MOST and len(whole) == len(found):
        return Finding("passed", f"{len(whole)} recommendations, first: {whole[0].title}", details)
    return _unless_met(
        diagnosis, f"{len(whole)} complete recommendations; {FEWEST} to {MOST} are asked for.", details
    )


def preview(diagnosis: PhaseDiagnosis) -> Finding:
    """The proposed config is valid, and is marked where it differs."""
    proposed = diagnosis.preview
    if not proposed.text:
        return _unless_met(diagnosis, proposed.error or "There is no proposed config.")
    try:
        parse_config(proposed.text, source=OPTIMIZATION_YAML)
    except ConfigError as error:
        return Finding("failed", str(error))
    keys = ", ".join(item.key for item in proposed.changes)
    return Finding(
        "passed", f"{OPTIMIZATION_YAML} is valid; it changes {keys}", {"changes": len(proposed.changes)}
    )


def decision(diagnosis: PhaseDiagnosis) -> Finding:
    """deploy, optimize or debug, with reasons."""
    if diagnosis.decision not in ("deploy", "optimize", "debug") or not diagnosis.reasons:
        return Finding("failed", "The diagnosis comes to no decision.")
    return Finding(
        "passed", f"{diagnosis.decision}: {diagnosis.reasons[0]}", {"decision": diagnosis.decision}
    )


def _unless_met(diagnosis: PhaseDiagnosis, missing: str, details: dict[str, int] | None = None) -> Finding:
    """What is missing is no obstacle where the target was met."""
    if diagnosis.decision == "deploy":
        return Finding("not_applicable", f"{diagnosis.fit.target} Nothing has to be changed.", details or {})
    return Finding("failed", missing, details or {})


def _item(name: str, title: str) -> Item:
    return Item(name, title, _MEND, rests_on=("config", "targets", "run"))


ITEMS: tuple[tuple[Item, Callable[[PhaseDiagnosis], Finding]], ...] = (
    (_item("primary_issue", "The primary issue is named"), primary_issue),
    (_item("evidence", "Evidence: symptoms found in the run's files"), evidence),
    (_item("causes", "Likely causes are ranked"), causes),
    (
        _item("recommendations", f"{FEWEST} to {MOST} recommendations with config diffs"),
        recommendations,
    ),
    (_item("preview", "The config for phase 4 is valid"), preview),
    (_item("next_step", "A decision: deploy, optimize or debug"), decision),
)
"""The items and how each is checked, in order."""
