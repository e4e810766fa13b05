"""What the rules find of the faults, and what they tell of healthy runs: records, figures, tables."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from benchmarks.diagnostics.training import run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.diagnostics.case import Case

Record = dict[str, Any]
Z = 1.959964  # of a normal distribution, for 95 %


def measure(case: Case) -> Record:
    """Train the case and note what was said of it, as a line of the record.

    `invalid`: why it is not what it claims to be (a healthy run that did not learn, a fault that did no harm): such
    runs count for nothing, and are listed. `found`: the first expected code of severity warning or critical, and the
    epoch of it. `false`: codes of alarms on a healthy run.
    """
    outcome = run(case)
    alarms = outcome.alarms()
    hits = [item for item in alarms if item[0] in case.expected]
    exact = [item for item in alarms if item[0] == case.code]
    return {
        "kind": "detection",
        "case": case.name,
        "family": case.family,
        "task": case.task,
        "seed": case.seed,
        "held_out": case.held_out,
        "code": case.code,
        "expected": sorted(case.expected),
        "invalid": case.check(outcome),
        "found": hits[0][0] if hits else None,
        "found_epoch": hits[0][2] if hits else None,
        "named": bool(exact),
        "false": sorted({item[0] for item in alarms}) if case.code is None else [],
        "raised": sorted({(code, severity) for code, severity, _ in outcome.raised}),
        "metric": case.metric,
        "best": outcome.best(case.metric),
        "status": outcome.status,
        "epochs": outcome.trained,
        "seconds": round(outcome.seconds, 2),
        "troubles": list(outcome.troubles),
    }


def wilson(good: int, count: int) -> tuple[float, float]:
    """95 % confidence interval of a share (Wilson 1927); (0, 1) for nothing."""
    if not count:
        return 0.0, 1.0
    share = good / count
    centre = share + Z**2 / (2 * count)
    half = Z * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    return max(0.0, centre - half) / (1 + Z**2 / count), (centre + half) / (1 + Z**2 / count)


def share(good: int, count: int) -> str:
    """`38/40 = 95.0 % (83.5–98.6)`."""
    if not count:
        return "–"
    low, high = wilson(good, count)
    return f"{good}/{count} = {100 * good / count:.1f} % ({100 * low:.1f}–{100 * high:.1f})"


def table(records: Iterable[Record]) -> str:
    """Markdown: recall by code and in all, false alarms, what was missed, what did not count."""
    kept = [item for item in records if item.get("kind") == "detection"]
    valid = [item for item in kept if not item["invalid"]]
    faulty = [item for item in valid if item["code"]]
    healthy = [item for item in valid if not item["code"]]
    lines = [
        "| code | faulty runs | found (95 % interval) | named exactly | held-out found | epoch of detection: median (90 %) |",
        "|---|---|---|---|---|---|",
    ]
    by_code = defaultdict(list)
    for item in faulty:
        by_code[item["code"]].append(item)
    lines += [_row(code, by_code[code]) for code in sorted(by_code)]
    lines += [_row("**all**", faulty), "", "| healthy runs | false alarms (95 % interval) |", "|---|---|"]
    for label, some in (
        ("all", healthy),
        ("held out", [item for item in healthy if item["held_out"]]),
        ("for tuning", [item for item in healthy if not item["held_out"]]),
    ):
        lines.append(
            f"| {label}: {len(some)} | {share(sum(bool(item['false']) for item in some), len(some))} |"
        )
    lines += ["", *_lists(kept, faulty, healthy)]
    return "\n".join(lines)


def _row(label: str, some: Sequence[Record]) -> str:
    found = [item for item in some if item["found"]]
    held = [item for item in some if item["held_out"]]
    epochs = sorted(item["found_epoch"] for item in found)
    when = "–"
    if epochs:
        when = f"{statistics.median(epochs):g} ({epochs[min(len(epochs) - 1, int(0.9 * len(epochs)))]})"
    return (
        f"| {label} | {len(some)} | {share(len(found), len(some))} | {sum(item['named'] for item in some)} |"
        f" {share(sum(bool(item['found']) for item in held), len(held))} | {when} |"
    )


def _lists(kept: Sequence[Record], faulty: Sequence[Record], healthy: Sequence[Record]) -> list[str]:
    def told(item: Record) -> str:
        return ", ".join(f"{code} ({severity})" for code, severity in item["raised"]) or "nothing"

    def mark(item: Record) -> str:
        return " [held out]" if item["held_out"] else ""

    lines = ["Missed:", ""]
    lines += [
        f"- {item['case']}{mark(item)}: {item['code']}; told: {told(item)}; {item['metric']} {item['best']:.3f}"
        for item in faulty
        if not item["found"]
    ] or ["- none"]
    lines += ["", "False alarms:", ""]
    lines += [
        f"- {item['case']}{mark(item)}: {', '.join(item['false'])}; {item['metric']} {item['best']:.3f}"
        for item in healthy
        if item["false"]
    ] or ["- none"]
    lines += ["", "Not counted, for they are not what they should be:", ""]
    lines += [f"- {item['case']}: {item['invalid']}" for item in kept if item["invalid"]] or ["- none"]
    troubles = sorted({text for item in kept for text in item["troubles"]})
    if troubles:
        lines += ["", "Rules that raised:", "", *(f"- {text}" for text in troubles)]
    seconds = [item["seconds"] for item in kept]
    if seconds:
        lines += [
            "",
            f"{len(kept)} runs, {sum(seconds) / 60:.1f} minutes, median {statistics.median(seconds):.2f} s.",
        ]
    return lines
