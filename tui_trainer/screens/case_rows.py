"""What stands in the diagnostics panel: pure functions from a case to rows of text."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tui_trainer.engine.events import from_json_number
from tui_trainer.screens.quantities import quantity
from tui_trainer.screens.wrapping import row_width, wrap_runs
from tui_trainer.session.log_lines import flatten
from tui_trainer.session.wording import cell_width, clean_text, crop, format_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tui_trainer.engine.events import DiagnosticRaised
    from tui_trainer.screens.canvas import Row, Run
    from tui_trainer.screens.cases import Case
    from tui_trainer.screens.panels import Glyphs
    from tui_trainer.screens.recorded import Recorded
    from tui_trainer.screens.view import RunView

MOST_KEYS = 9
MESSAGE_LIMIT = 600  # characters; diagnostics.jsonl has all of it
EVIDENCE_LIMIT = 14  # rows
NOT_TOLD = object()
LOOKED_BACK = 300  # lines of the log
SEVERITY_ROLES = {"critical": "bad", "warning": "warn", "info": "dim"}
STATE_ROLES = {"open": "strong", "fixed": "good", "ignored": "dim", "rolled back": "dim"}

CHARTS = {
    "nan_loss": ("grad_norm", "loss"),
    "exploding_gradients": ("grad_norm",),
    "vanishing_gradients": ("grad_norm",),
    "dying_relu": ("loss",),
    "saturated_activation": ("loss",),
    "oscillating_loss": ("loss",),
    "loss_spike": ("loss",),
    "slow_convergence": ("loss",),
    "convergence_stall": ("loss",),
    "overfitting": ("metric", "loss"),
    "underfitting": ("metric", "loss"),
    "class_imbalance": ("metric", "loss"),
    "data_leakage": ("metric", "loss"),
    "memory_leak": ("process_memory",),
    "out_of_memory": ("gpu0.memory", "process_memory"),
    "resource_inefficiency": ("data_wait", "gpu0.util", "cpu"),
}
"""The charts that show a problem, the most telling first; "metric" is the run's first."""


def severity_sign(severity: str, glyphs: Glyphs) -> str:
    """A sign beside the word, for whoever sees no colours."""
    return {"critical": glyphs.critical, "warning": glyphs.warning}.get(severity, glyphs.info)


def place_words(told: DiagnosticRaised) -> str:
    """Where in the run it was found."""
    return (
        "before training" if not told.epoch and not told.step else f"epoch {told.epoch}, step {told.step:,}"
    )


def case_title(case: Case, glyphs: Glyphs) -> str:
    """Severity in a sign and a word, code, place."""
    told = case.told
    sign = severity_sign(told.severity, glyphs)
    return f"{sign} {told.severity.upper()}  {clean_text(told.code, limit=40)}  ({place_words(told)})"


def chart_of(told: DiagnosticRaised, view: RunView) -> str | None:
    """The recorded quantity that shows the problem; None where there is none."""
    named = told.evidence.get("metric")
    metrics = [view.metrics[0]] if view.metrics else []
    wanted = [str(named).removeprefix("val_").removeprefix("train_")] if isinstance(named, str) else []
    for name in CHARTS.get(told.code, ()):
        wanted += metrics if name == "metric" else [name]
    return next((name for name in wanted if view.recorded.of(name)), None)


def case_rows(
    case: Case,
    view: RunView,
    width: int,
    *,
    read_only: str = "",
    asked: str | None = None,
    targets: Mapping[str, str] = MappingProxyType({}),
) -> list[Row]:
    """Message, state, fixes, evidence. `read_only` says why no fix can be applied; `asked` is the fix under way;
    `targets` names the checkpoints of fixes that go back to one."""
    told = case.told
    rows = wrap_runs([(clean_text(told.message, limit=MESSAGE_LIMIT), "strong")], width)
    if not case.is_open:
        rows += wrap_runs([(case.words, STATE_ROLES[case.state])], width)
    elif view.status == "paused" and not read_only:
        text = "The run is paused until you choose: a fix, or p to go on as it is."
        rows += wrap_runs([(text, "warn")], width)
    if case.is_open and (said := unanswered(told, view)):
        rows += wrap_runs([(said, "warn")], width)
    rows += [(), *fix_rows(case, width, view, read_only=read_only, asked=asked, targets=targets)]
    if evidence := evidence_rows(told, width):
        rows += [(), *evidence]
    return rows


def unanswered(told: DiagnosticRaised, view: RunView) -> str:
    """What the log, which the panel hides, says of a question that nobody has answered."""
    words = f"{clean_text(told.code, limit=80)}: no answer for"
    said = next((entry.text for entry in reversed(view.log[-LOOKED_BACK:]) if words in entry.text), "")
    return said[said.find(words) :]


# Fixes


def fix_rows(
    case: Case,
    width: int,
    view: RunView,
    *,
    read_only: str = "",
    asked: str | None = None,
    targets: Mapping[str, str] = MappingProxyType({}),
) -> list[Row]:
    """Each fix with its key, what it changes, where training then goes on, and what to expect of it."""
    told = case.told
    if not told.fixes:
        return wrap_runs([("No fix by a key: the playbook says what to do.", "dim")], width)
    rows = wrap_runs([(f"Fixes ({read_only})", "heading")], width) if read_only else []
    for number, fix in enumerate(told.fixes, 1):
        key = f" {number} " if number <= MOST_KEYS else "   "
        start: Row = ((key, "key" if case.is_open and not read_only else "dim"), (" ", "text"))
        rows += wrap_runs(_title(fix, told, asked), width, indent=4, first=start)
        rows += diff_rows(fix, width)
        action: list[Run] = [("→ ", "dim"), (action_words(fix, view, targets), "text")]
        rows += wrap_runs(action, width, indent=6, first=(("    ", "text"),))
        if effect := clean_text(fix.get("effect") or "", limit=300):
            rows += wrap_runs([(effect, "dim")], width, indent=4, first=(("    ", "text"),))
    return rows


def _title(fix: Mapping[str, Any], told: DiagnosticRaised, asked: str | None) -> list[Run]:
    title: list[Run] = [(clean_text(fix.get("title") or fix.get("id") or "fix", limit=200), "strong")]
    if told.applied is not None and fix.get("id") == told.applied:
        title.append((" applied", "good"))
    elif asked is not None and fix.get("id") == asked:
        title.append((" asked for …", "warn"))
    elif fix.get("by_itself") is False:
        title.append((" (for you to judge)", "dim"))
    return title


def changes_of(fix: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Key, old and new value of every change; the old one is `NOT_TOLD` where nobody says it."""
    diff = fix.get("config_diff")
    if not isinstance(diff, Mapping):
        return []
    found: list[tuple[str, Any, Any]] = []
    for key, value in diff.items():
        if isinstance(value, Mapping) and set(value) == {"from", "to"}:
            found.append((str(key), value["from"], value["to"]))
        else:
            pairs = flatten({str(key): value})
            found += [(path, NOT_TOLD, item) for path, item in pairs]
    return found


def diff_rows(fix: Mapping[str, Any], width: int) -> list[Row]:
    """The config diff: a key and its old and new value a row."""
    changes = changes_of(fix)
    label = min(max((cell_width(clean_text(key, limit=80)) for key, _, _ in changes), default=0), width // 2)
    rows = []
    for key, old, new in changes:
        to = (
            "what the range test finds"
            if fix.get("range_test") and key.endswith("learning_rate")
            else value_words(new)
        )
        name = clean_text(key, limit=80)
        was: list[Run] = [] if old is NOT_TOLD else [(f"{value_words(old)} ", "text")]
        runs: list[Run] = [*was, ("→ ", "dim"), (to, "strong")]
        start: Row = (("    ", "text"), (name, "code"), (" " * max(1, label + 2 - cell_width(name)), "text"))
        if row_width(start) + 8 > width:  # the values have a row of their own
            rows += wrap_runs([(name, "code")], width, indent=4, first=(("    ", "text"),))
            start = (("      ", "text"),)
        rows += wrap_runs(runs, width, indent=6, first=start)
    return rows


def value_words(value: Any) -> str:
    """A config value as a person reads it, in one line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    return crop(clean_text(value, limit=160), 120)


def action_words(fix: Mapping[str, Any], view: RunView, targets: Mapping[str, str]) -> str:
    """Where training goes on once the fix is applied."""
    test = "; the rate is found by trial steps on a copy" if fix.get("range_test") else ""
    match fix.get("action"):
        case "continue":
            return f"goes on from here{test}"
        case "restart_from":
            found = targets.get(str(fix.get("id")))
            where = checkpoint_words(fix.get("checkpoint"), view)
            return f"goes back to {where}{f': {found}' if found else ''}{test}"
        case "restart_fresh":
            return f"starts again from step 0, with new weights{test}"
        case "stop":
            return "ends the run; its checkpoints stay"
        case other:
            return clean_text(other or "goes on", limit=80)


def checkpoint_words(name: object, view: RunView) -> str:
    """A checkpoint as a person knows it."""
    match name:
        case None | "last valid":
            return "the last valid checkpoint"
        case "best":
            epoch = f" (epoch {view.best_epoch})" if view.best_epoch else ""
            return f"the best checkpoint{epoch}"
        case "before":
            return "the last checkpoint from before the problem"
        case file:
            return clean_text(file, limit=120)


# Evidence


def evidence_rows(told: DiagnosticRaised, width: int) -> list[Row]:
    """The numbers of this run that show it."""
    pairs = [(key, value) for key, value in flatten(told.evidence) if value is not None]
    if not pairs:
        return []
    rows: list[Row] = [(("Evidence", "heading"),)]
    names = [clean_text(key, limit=80).replace("_", " ") for key, _ in pairs]
    label = min(max(map(cell_width, names)), max(8, width // 3))
    names = [crop(name, label) for name in names]
    for name, (_, value) in list(zip(names, pairs, strict=True))[:EVIDENCE_LIMIT]:
        start: Row = ((name, "dim"), (" " * (label + 2 - cell_width(name)), "text"))
        rows += wrap_runs([(evidence_words(value), "text")], width, indent=label + 2, first=start)
    if len(pairs) > EVIDENCE_LIMIT:
        rows += wrap_runs([(f"and {len(pairs) - EVIDENCE_LIMIT} more: diagnostics.jsonl", "dim")], width)
    return rows


def evidence_words(value: Any) -> str:
    """One piece of evidence: numbers to a few digits, lists up to their first entries."""
    value = from_json_number(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return format_number(value, 4)
    if isinstance(value, (list, tuple)):
        shown = ", ".join(evidence_words(item) for item in value[:12])
        return f"{shown} … ({len(value)} in all)" if len(value) > 12 else shown or "none"
    if isinstance(value, Mapping):
        return crop(
            ", ".join(f"{clean_text(key, limit=40)} {evidence_words(item)}" for key, item in value.items()),
            200,
        )
    return clean_text(value, limit=300)


def spark_row(recorded: Recorded, chart: str, width: int, glyphs: Glyphs) -> Row:
    """A curve in one row, for where there is no room for a chart: from the first value to the last."""
    traces = recorded.of(chart)
    trace = next(iter(traces.values()), None)
    if trace is None or not trace.raw.ys:
        return ()
    ys = trace.raw.ys
    name = quantity(chart).title
    ends = f"{format_number(ys[0], 3)} ", f" {format_number(ys[-1], 3)}"
    room = min(40, width - cell_width(name) - 2 - sum(map(len, ends)))
    if room < 8:
        return ()
    columns = min(room, len(ys))
    parts = [ys[index * len(ys) // columns : (index + 1) * len(ys) // columns] for index in range(columns)]
    tops = [max(part) for part in parts]
    low, high = min(tops), max(tops)
    signs = glyphs.levels
    text = "".join(
        signs[round((top - low) / (high - low) * (len(signs) - 1)) if high > low else 0] for top in tops
    )
    return ((name, "dim"), ("  ", "text"), (ends[0], "text"), (text, "train"), (ends[1], "text"))


# The list


def list_rows(cases: Sequence[Case], width: int, glyphs: Glyphs) -> list[Row]:
    """A row a case: severity, code, place, what became of it, message."""
    return [_list_row(case, width, glyphs) for case in cases]


def _code_width(width: int) -> int:
    return 22 if width >= 90 else 18


def _place_width(width: int) -> int:
    return 22 if width >= 90 else 16


def _list_row(case: Case, width: int, glyphs: Glyphs) -> Row:
    told = case.told
    severity = f"{severity_sign(told.severity, glyphs)} {told.severity}".ljust(10)
    place = (
        place_words(told) if width >= 90 else place_words(told).replace("epoch ", "ep ").replace("step ", "")
    )
    code, where = (
        crop(text, size) + " " * max(0, size - cell_width(text))
        for text, size in (
            (clean_text(told.code, limit=40), _code_width(width)),
            (place, _place_width(width)),
        )
    )
    row: list[Run] = [
        (f"{severity}  ", SEVERITY_ROLES.get(told.severity, "text")),
        (f"{code}  ", "strong" if case.is_open and case.matters else "text"),
        (f"{where}  ", "text"),
    ]
    row += _ending(case, width - row_width(tuple(row)))
    return tuple(row)


def _ending(case: Case, room: int) -> Iterator[Run]:
    words = crop(case.words, max(0, room))
    yield (words, STATE_ROLES[case.state])
    left = room - cell_width(words) - 2
    if left >= 12:
        yield ("  ", "text")
        yield (crop(clean_text(case.told.message, limit=400), left), "dim")
