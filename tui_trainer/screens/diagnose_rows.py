"""What stands on the Diagnose screen first: the verdict, the issue with its evidence, what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tui_trainer.reports.diagnosis import DECISIONS, REPORT
from tui_trainer.screens.case_rows import SEVERITY_ROLES, diff_rows, severity_sign, value_words
from tui_trainer.screens.wrapping import crop_row, row_width, wrap_runs
from tui_trainer.session.run_folder import OPTIMIZATION_YAML
from tui_trainer.session.wording import cell_width, clean_text, crop

if TYPE_CHECKING:
    from tui_trainer.reports.diagnosis_content import PhaseDiagnosis, Preview, Recommendation
    from tui_trainer.screens.canvas import Row, Run
    from tui_trainer.screens.diagnose_view import DiagnoseView
    from tui_trainer.screens.panels import Glyphs


class Section(NamedTuple):
    """A part of the diagnosis: the key that shows it, and its name."""

    key: str
    name: str


SECTIONS = (
    Section("i", "Issue"),
    Section("c", "Curves"),
    Section("f", "Fit"),
    Section("g", "Gradients"),
    Section("m", "Machine"),
    Section("e", "Errors"),
    Section("x", "Worst"),
    Section("d", "Data"),
    Section("k", "Gate"),
)
DECISION_ROLES = {"deploy": "good", "optimize": "warn", "debug": "bad"}
LEVEL_ROLES = {"high": "good", "medium": "text", "low": "dim"}
RISK_ROLES = {"high": "bad", "medium": "warn", "low": "text"}
_MARK = 10  # cells
_LEVEL = 8  # cells of a column that says how much
_LABEL = 8


# ── the verdict ─────────────────────────────────────────────────────────────────────────────────────────────────


def verdict_rows(view: DiagnoseView, width: int, glyphs: Glyphs, *, seconds: float = 0.0) -> list[Row]:
    """Two rows: the issue, and the decision. `seconds`: for how long the analysis has been running."""
    diagnosis = view.diagnosis
    if view.busy:
        said = f"{glyphs.here} Analysing the run, {seconds:.0f} s"
        parts = (
            "Curves, gradients, machine, data; then the best checkpoint sees the validation set once more."
        )
        return [((said, "train"),), ((crop(parts, width), "dim"),)]
    if view.error is not None or diagnosis is None:
        what = "The run could not be analysed." if view.error else "No run has been analysed yet."
        return [((crop(f"{glyphs.critical} {what}", width), "bad" if view.error else "dim"),), ()]
    return [crop_row(row, width) for row in _verdict(diagnosis, glyphs)]


def _verdict(diagnosis: PhaseDiagnosis, glyphs: Glyphs) -> tuple[Row, Row]:
    """The issue and the decision, however long."""
    role = DECISION_ROLES[diagnosis.decision]
    sign = {"good": glyphs.here, "warn": glyphs.warning}.get(role, glyphs.critical)
    title = clean_text(diagnosis.issue.title, limit=120)
    arrow = "->" if glyphs.ascii else "→"
    issue = ((f"{sign} {title}  ", role), (clean_text(diagnosis.issue.summary), "text"))
    decision = (
        (f"{arrow} {diagnosis.decision.upper()}:", role),
        (f" {DECISIONS[diagnosis.decision]}.  ", "strong"),
        (" ".join(_further_reasons(diagnosis)), "dim"),
    )
    return issue, decision if decision[-1][0] else decision[:-1]


def _further_reasons(diagnosis: PhaseDiagnosis) -> list[str]:
    """The reasons of the decision that the issue does not tell already."""
    said = (clean_text(diagnosis.issue.title), clean_text(diagnosis.issue.summary))
    reasons = [clean_text(reason) for reason in diagnosis.reasons]
    known = (
        DECISIONS[diagnosis.decision].partition(",")[0].lower()
    )  # "mend it" says the same as "Mend that, …"
    return [
        reason
        for reason in reasons
        if not reason.startswith(said[0])
        and reason != said[1]
        and not (known.startswith("mend") and reason.lower().startswith("mend that"))
    ]


# ── the sections' names ─────────────────────────────────────────────────────────────────────────────────────────


def section_role(view: DiagnoseView, name: str) -> str:
    """How a section's name is coloured: what is wrong stands out."""
    found = view.diagnosis
    if found is None:
        return "dim"
    wrong = {
        "Issue": found.decision != "deploy",
        "Curves": found.curves.verdict in ("none", "too_short", "diverging", "plateau"),
        "Fit": found.fit.verdict in ("overfitting", "underfitting"),
        "Gradients": found.gradients.verdict in ("vanishing", "exploding", "uneven"),
        "Machine": found.profile.bottleneck is not None,
        "Errors": bool(found.examination.never_predicted or found.examination.why_not),
        "Data": bool(found.data.problems),
        "Gate": view.checklist is not None and not view.checklist.passed,
    }
    return "warn" if wrong.get(name, False) else "text"


def section_row(view: DiagnoseView, current: str, width: int) -> tuple[Row, tuple[tuple[int, int, str], ...]]:
    """The names of all sections in a row, and where each stands: first column, the one behind the last, name."""
    runs: list[Run] = []
    places: list[tuple[int, int, str]] = []
    pad = " " * (sum(len(section.name) + 5 for section in SECTIONS) <= width)
    at = 0
    for section in SECTIONS:
        shown = f"{pad}{section.key} {section.name}{pad}"
        if section.name == current:
            runs.append((shown, "key"))
        else:
            role = section_role(view, section.name)
            runs += [(f"{pad}{section.key}", "strong"), (f" {section.name}{pad}", role)]
        places.append((at, at + len(shown), section.name))
        runs.append((" ", "text"))
        at += len(shown) + 1
    return tuple(runs), tuple(places)


# ── the issue ───────────────────────────────────────────────────────────────────────────────────────────────────


def issue_rows(view: DiagnoseView, width: int, glyphs: Glyphs, *, verdict_width: int) -> list[Row]:
    """What speaks for the issue, what may lie behind it, what else the run has told."""
    diagnosis = view.diagnosis
    if diagnosis is None:
        return error_rows(view, width)
    rows = _in_full(diagnosis, width, verdict_width, glyphs)
    rows += [*_evidence(diagnosis, width, glyphs), (), *_causes(diagnosis, width)]
    if diagnosis.advice:
        rows += [(), (("Only a person can do", "heading"),)]
        for text in diagnosis.advice:
            rows += wrap_runs([(clean_text(text), "text")], width, indent=2, first=(("- ", "dim"),))
    if diagnosis.problems:
        rows += [(), *_problems(diagnosis, width, glyphs)]
    if diagnosis.waivers:
        rows += [(), (("Waved through, though a check had failed", "heading"),)]
        for item in diagnosis.waivers:
            name: Run = (f"{clean_text(item.gate, limit=60)}: {clean_text(item.item, limit=60)}", "strong")
            reason: Run = (f" {clean_text(item.reason, limit=400)}", "warn")
            rows += wrap_runs([name, reason], width, indent=2, first=(("~ ", "warn"),))
    if diagnosis.missing:
        files = ", ".join(clean_text(name, limit=80) for name in diagnosis.missing)
        rows += [(), *wrap_runs([(f"Missing or damaged, and not looked at: {files}", "warn")], width)]
    if view.folder is not None:
        path = clean_text(view.folder / REPORT, limit=400)
        rows += [(), *wrap_runs([("Report: ", "dim"), (path, "code")], width)]
    return rows


def error_rows(view: DiagnoseView, width: int) -> list[Row]:
    """Why there is nothing to see yet."""
    if view.busy:
        return [(("This takes seconds; on a large validation set a minute.", "dim"),)]
    if view.error is not None:
        return [
            *wrap_runs([(clean_text(view.error, limit=4000), "text")], width),
            (),
            (("r looks again.", "dim"),),
        ]
    text = "The Diagnose phase looks at a run that is over: train a baseline first (F2)."
    return wrap_runs([(text, "dim")], width)


def _in_full(diagnosis: PhaseDiagnosis, width: int, verdict_width: int, glyphs: Glyphs) -> list[Row]:
    """What the verdict above had no room for."""
    cut = [row_width(row) > verdict_width for row in _verdict(diagnosis, glyphs)]
    rows: list[Row] = []
    if cut[0]:
        rows += wrap_runs([(clean_text(diagnosis.issue.summary), "text")], width)
    if cut[1]:
        for reason in _further_reasons(diagnosis):
            rows += wrap_runs([(reason, "text")], width)
    return [*rows, ()] if rows else []


def _evidence(diagnosis: PhaseDiagnosis, width: int, glyphs: Glyphs) -> list[Row]:
    matched = sum(item.matched for item in diagnosis.symptoms)
    heading = f"Evidence: {matched} of {len(diagnosis.symptoms)} signs found"
    rows: list[Row] = [((heading, "heading"),)]
    yes = "+" if glyphs.ascii else "✓"
    for item in sorted(diagnosis.symptoms, key=lambda item: not item.matched):
        first: Row = ((f"{yes} ", "good"),) if item.matched else ((f"{glyphs.other} ", "dim"),)
        runs: list[Run] = [(f"{clean_text(item.sign, limit=200)}: ", "text" if item.matched else "dim")]
        runs.append((clean_text(item.found, limit=300), "strong" if item.matched else "dim"))
        if width >= 90 and item.source:
            runs.append((f"  {clean_text(item.source, limit=60)}", "dim"))
        rows += wrap_runs(runs, width, indent=2, first=first)
    return rows


def _causes(diagnosis: PhaseDiagnosis, width: int) -> list[Row]:
    rows: list[Row] = [(("Causes, the likeliest first", "heading"),)]
    for number, cause in enumerate(diagnosis.causes, 1):
        likely = cause.likelihood == "likely"
        first: Row = ((f"{number} ", "text"), (f"{cause.likelihood:<9}", "warn" if likely else "dim"))
        runs: list[Run] = [(clean_text(cause.text, limit=300), "text" if likely else "dim")]
        if cause.evidence:
            runs.append((f": {clean_text(cause.evidence, limit=400)}", "strong" if likely else "dim"))
        rows += wrap_runs(runs, width, indent=row_width(first), first=first)
    return rows if diagnosis.causes else [*rows, (("None is known.", "dim"),)]


def _problems(diagnosis: PhaseDiagnosis, width: int, glyphs: Glyphs) -> list[Row]:
    rows: list[Row] = [(("Diagnostics of this run", "heading"),)]
    for item in diagnosis.problems:
        role = SEVERITY_ROLES.get(item.severity, "text")
        where = f"epoch {item.epoch}" if item.epoch else "before training"
        first: Row = ((f"{severity_sign(item.severity, glyphs)} ", role),)
        runs: list[Run] = [(clean_text(item.code, limit=60), "strong")]
        runs.append((f" {where}, {'open' if item.open else 'fixed'}: ", "text" if item.open else "good"))
        runs.append((clean_text(item.message, limit=600), "dim"))
        rows += wrap_runs(runs, width, indent=2, first=first)
    return rows


# ── what to do next ─────────────────────────────────────────────────────────────────────────────────────────────


def advice_keys(view: DiagnoseView) -> str:
    """What the keys do in the list of recommendations."""
    count = len(view.recommendations)
    keys = "1" if count == 1 else f"1-{count}"
    return f"{keys} or Enter: into the next run" if count else ""


def column_row(width: int) -> Row:
    """The names of the list's columns."""
    names = "".join(f"{name:<{_LEVEL}}" for name in _columns(width))
    return ((" " * 6 + "change".ljust(max(0, width - 6 - len(names))) + names, "dim"),)


def _columns(width: int) -> tuple[str, ...]:
    if width >= 64:
        return ("impact", "effort", "risk")
    return ("impact", "risk") if width >= 44 else ("impact",)


def recommendation_row(
    item: Recommendation, number: int, *, carried: bool, width: int, glyphs: Glyphs
) -> Row:
    """A recommendation in the list: its key, whether it was carried, what it changes, how much that means."""
    sign = "+" if glyphs.ascii else "✓"
    levels: list[Run] = []
    for name in _columns(width):
        word = _level(getattr(item, name))
        role = (
            (RISK_ROLES if name == "risk" else LEVEL_ROLES).get(word, "text") if name != "effort" else "text"
        )
        levels.append((crop(word, _LEVEL - 1).ljust(_LEVEL), role))
    room = max(4, width - 6 - _LEVEL * len(levels))
    title = crop(clean_text(item.title, limit=200), room - 1)
    return (
        (f" {number} ", "key"),
        (f" {sign if carried else ' '} ", "good"),
        (title + " " * (room - cell_width(title)), "good" if carried else "strong"),
        *levels,
    )


def _level(text: str) -> str:
    """ "low: a config change; one run" → "low"."""
    return clean_text(text, limit=100).partition(":")[0].strip()


def recommendation_rows(item: Recommendation, number: int, *, carried: bool, width: int) -> list[Row]:
    """The marked recommendation in full: the config diff first."""
    rows = [_outdented(row) for row in diff_rows({"config_diff": item.changes}, width)]
    if carried:
        rows += wrap_runs([("Carried: the next run's config has it (F1 shows it).", "good")], width)
    for label, text in (
        ("Gain", item.gain),
        ("Effect", item.effect),
        ("Risk", item.risk),
        ("Effort", item.effort),
        ("Why", item.why),
    ):
        if text:
            first: Row = ((label.ljust(_LABEL), "dim"),)
            rows += wrap_runs([(clean_text(text, limit=600), "text")], width, indent=_LABEL, first=first)
    if not carried:
        rows += wrap_runs([(f"Enter or {number} carries it into the next run's config.", "dim")], width)
    return rows


def preview_rows(preview: Preview, width: int, glyphs: Glyphs) -> list[Row]:
    """The config that all recommendations together make, as far as they go together."""
    if not preview.changes:
        return []
    arrow = "->" if glyphs.ascii else "→"
    rows: list[Row] = wrap_runs(
        [("All of them that go together: ", "heading"), (OPTIMIZATION_YAML, "code")], width
    )
    for change in preview.changes:
        first: Row = ((f"{change.mark:<{_MARK - 1}}", "good" if change.mark == "NEW" else "warn"),)
        runs: list[Run] = [(clean_text(change.key, limit=80), "code")]
        if change.mark != "NEW":
            runs.append((f" {value_words(change.old)}", "text"))
        runs += [(f" {arrow} ", "dim"), (value_words(change.new), "strong")]
        rows += wrap_runs(runs, width, indent=_MARK - 1, first=first)
    if preview.left_out:
        left = "; ".join(clean_text(title, limit=120) for title in preview.left_out)
        rows += wrap_runs([(f"Left out: {left}", "dim")], width)
    return rows


def _outdented(row: Row) -> Row:
    """Diff rows stand four cells in where they come from; here they have a place of their own."""
    text, role = row[0]
    return ((text[4:], role), *row[1:]) if text.startswith("    ") else row


def no_advice_rows(view: DiagnoseView, width: int) -> list[Row]:
    """Why there is nothing to choose."""
    diagnosis = view.diagnosis
    if diagnosis is None:
        return []
    why = clean_text(diagnosis.preview.error, limit=600) or "Nothing in the config would help."
    rows = wrap_runs([(why, "text")], width)
    for text in diagnosis.advice:
        rows += wrap_runs([(clean_text(text), "text")], width, indent=2, first=(("- ", "dim"),))
    return rows
