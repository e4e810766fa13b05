"""A gate in the log's words: what was found, what is missing and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from tui_trainer.phases.gate import Checklist, Entry
    from tui_trainer.reports.decision import Decision

_WORDS = {
    "passed": "ok",
    "not_applicable": "n/a",
    "signed": "signed",
    "failed": "FAILED",
    "open": "open",
}


def entry_line(entry: Entry) -> str:
    """One item: `[GATE] ok two_runs: 5 steps in two fresh processes: all 4 tensors and losses are equal`."""
    said = clean_text(entry.finding.evidence or entry.item.title)
    return f"[GATE] {_WORDS.get(entry.finding.state, entry.finding.state)} {entry.item.name}: {said}"


def verdict_lines(checklist: Checklist) -> list[str]:
    """The gate in one line, and one before it for each reason that items were waived with."""
    reasons: dict[str, list[str]] = {}
    for entry in checklist.waived:
        reasons.setdefault(entry.reason, []).append(entry.item.name)
    lines = [f"WAIVED {', '.join(names)}: {clean_text(reason)}" for reason, names in reasons.items()]
    count = len(checklist.entries)
    waived = f", {len(checklist.waived)} waived" if checklist.waived else ""
    if checklist.passed:
        return [*lines, f"{checklist.title}: passed ({count} items{waived})"]
    return [*lines, f"{checklist.title}: NOT PASSED, {len(checklist.missing)} of {count} items are missing"]


def missing_lines(checklist: Checklist) -> list[str]:
    """What keeps the gate shut, each item with what to do."""
    lines = []
    for entry in checklist.missing:
        evidence = f" {clean_text(entry.finding.evidence).rstrip('.')}." if entry.finding.evidence else ""
        if entry.item.signed:
            said = f"not signed.{evidence} {entry.item.help}"
        elif entry.finding.state == "open":
            said = "not checked yet."
        else:
            said = f"{entry.finding.state}.{evidence} {entry.item.help}"
        lines.append(f"{entry.item.name} ({entry.item.title}): {said}")
    return lines


def refusal(checklist: Checklist) -> str:
    """Why the next phase does not begin, as the paragraph of an error."""
    lines = "".join(f"\n  - {line}" for line in missing_lines(checklist))
    first = next((entry.item.name for entry in checklist.missing if not entry.item.signed), None)
    way = f'\nTo go on all the same: --waive {first}="reason", or --waive all="reason".' if first else ""
    return f"The gate {checklist.gate} is not passed.{lines}{way}"


def route_lines(decision: Decision) -> list[str]:
    """Where a baseline leads, and why."""
    return [f"[ROUTE] {decision.next_phase}", *(f"  {clean_text(reason)}" for reason in decision.reasons)]
