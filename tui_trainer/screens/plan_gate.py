"""The gate on the Plan screen: its items as rows, one item in full, and the line that says where things stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_trainer.screens.wrapping import crop_row, wrap_runs
from tui_trainer.session.wording import cell_width, clean_text, crop

if TYPE_CHECKING:
    from tui_trainer.phases.gate import Checklist, Entry
    from tui_trainer.screens.canvas import Row, Run
    from tui_trainer.screens.panels import Glyphs
    from tui_trainer.screens.plan_view import PlanView

MORE = "  (Enter: all of it)"
TITLE = 60  # cells, where evidence has room beside it
_WORDS = {
    "passed": "checked",
    "signed": "signed",
    "waived": "waived",
    "not_applicable": "not applicable",
    "failed": "failed",
    "open": "open",
}
_ROLES = {
    "passed": "good",
    "signed": "good",
    "waived": "warn",
    "not_applicable": "dim",
    "failed": "bad",
    "open": "dim",
}


def state_word(entry: Entry) -> str:
    """ "checked", "failed", "not signed" …"""
    if entry.finding.state == "open" and entry.item.signed:
        return "not signed"
    return _WORDS.get(entry.finding.state, entry.finding.state)


def state_role(entry: Entry) -> str:
    """How an item's state is coloured."""
    unsigned = entry.finding.state == "open" and entry.item.signed
    return "warn" if unsigned else _ROLES.get(entry.finding.state, "text")


def _sign(entry: Entry, *, busy: bool, glyphs: Glyphs) -> str:
    signs = {"passed": glyphs.passed, "signed": glyphs.passed, "waived": "~", "failed": glyphs.missing}
    return glyphs.here if busy else signs.get(entry.finding.state, "-" if entry.granted else glyphs.other)


def gate_rows(view: PlanView, width: int, glyphs: Glyphs) -> list[Row]:
    """A row an item: its state, its title and, where there is room, the evidence."""
    checklist = view.checklist
    if checklist is None:
        return [(("Reading the config …", "dim"),)]
    rows: list[Row] = []
    for entry in checklist.entries:
        busy = entry.item.name in view.busy
        word = "checking" if busy else state_word(entry)
        role = "train" if busy else state_role(entry)
        sign: Run = (f"{_sign(entry, busy=busy, glyphs=glyphs)} ", role)
        if width >= TITLE + 40:
            title = crop(entry.item.title, TITLE - 2).ljust(TITLE - 1)
            said = clean_text(entry.finding.evidence or "") if not busy else ""
            rows.append(
                (sign, (title, "text"), (f"{word:<15}", role), (crop(said, width - TITLE - 16), "dim"))
            )
            continue
        shown = "" if word == "checked" else word
        title = crop(entry.item.title, max(0, width - 3 - len(shown)))
        gap = " " * max(1, width - 2 - cell_width(title) - len(shown))
        rows.append(crop_row((sign, (title, "text"), (gap + shown, role)), width))
    return rows


def item_rows(entry: Entry | None, width: int, height: int) -> list[Row]:
    """The marked item in a few rows: what was found, or what to do."""
    if entry is None:
        return []
    found = clean_text(entry.finding.evidence or "", limit=600)
    runs: list[Run] = [(found, "text")] if found else []
    if entry.reason and entry.reason != entry.finding.evidence:
        runs.append((f" Waived: {clean_text(entry.reason, limit=300)}", "warn"))
    if not entry.granted:
        end = "." if found and found[-1] not in ".!?" else ""
        runs.append((f"{end} {what_to_do(entry)}", "warn"))
    rows = wrap_runs(runs, width) or [(("Not looked at yet.", "dim"),)]
    if len(rows) > height > 0:
        text = "".join(part for part, _ in rows[height - 1])
        rows = [*rows[: height - 1], ((crop(crop(text, max(0, width - len(MORE))) + MORE, width), "text"),)]
    return rows[:height]


def what_to_do(entry: Entry) -> str:
    """Advice for an item that keeps the gate shut."""
    if entry.item.signed:
        return "s signs it: a note that stands in every report."
    if entry.finding.state == "failed":
        return f"{clean_text(entry.item.help)} r checks again, w waives it with a reason."
    return "r checks it."


def entry_rows(entry: Entry, width: int) -> list[Row]:
    """All that is known of an item: for a page of its own."""
    head: Row = ((state_word(entry).upper(), state_role(entry)), (f"  {entry.item.name}", "dim"))
    rows: list[Row] = [crop_row(head, width), ()]
    if entry.finding.evidence:
        rows += [*wrap_runs([(clean_text(entry.finding.evidence, limit=4000), "text")], width), ()]
    if entry.by:
        rows += wrap_runs([(f"By {clean_text(entry.by, limit=80)}, {entry.at}", "dim")], width)
    elif entry.at:
        rows += wrap_runs([(f"Found {entry.at}", "dim")], width)
    if entry.reason and entry.reason != entry.finding.evidence:
        rows += wrap_runs([(f"Reason: {clean_text(entry.reason, limit=2000)}", "warn")], width)
    if not entry.granted:
        rows += [(), (("What to do", "heading"),), *wrap_runs([(what_to_do(entry), "text")], width)]
    if entry.finding.details:
        rows += [(), (("Details", "heading"),)]
        column = min(20, width // 3)
        for name, value in entry.finding.details.items():
            label: Run = (f"{crop(clean_text(name, limit=60), column - 1)} ".ljust(column), "dim")
            text = clean_text(_plain(value), limit=3000)
            rows += wrap_runs([(text, "text")], width, indent=column, first=(label,))
    rests = ", ".join(entry.item.rests_on) or "nothing: it stays"
    rows += [(), *wrap_runs([(f"Opened again by a change of: {rests}.", "dim")], width)]
    return rows


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_plain(item)}" for key, item in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return "; ".join(map(_plain, value)) or "none"
    return "none" if value is None else str(value)


def verdict_row(view: PlanView, width: int, glyphs: Glyphs) -> Row:
    """Where the phase stands and what the next key is, in one row."""
    checklist = view.checklist
    if view.run == "live":
        runs: list[Run] = [
            ("The run goes by this plan, which can only be looked at now. F2 shows the run.", "dim")
        ]
    elif view.run == "over":
        runs = [("The run that went by this plan is over. F2 shows it.", "dim")]
    elif checklist is None:
        runs = [("Reading the config …", "dim")]
    elif view.error is not None:
        runs = [
            (f"{glyphs.missing} The run could not begin like this.", "bad"),
            (" Change the config, or r looks again.", "dim"),
        ]
    elif view.checking and view.busy:
        done = sum(entry.granted for entry in checklist.entries)
        titles = [entry.item.title for entry in checklist.entries if entry.item.name in view.busy]
        runs = [
            (f"{glyphs.here} Checking, {done} of {len(checklist.entries)} done: ", "train"),
            (titles[0], "text"),
        ]
        if len(titles) > 1:
            runs.append((f" and {len(titles) - 1} more", "dim"))
    elif checklist.passed:
        waived = f", {len(checklist.waived)} waived" if checklist.waived else ""
        runs = [(f"{glyphs.passed} The gate is passed{waived}: F2 begins the baseline.", "good")]
        if view.unsaved:
            runs.append(("  The edits are not saved: ^s.", "dim"))
    else:
        runs = _missing(checklist, glyphs, changed=view.outdated)
    if view.trouble is not None and checklist is not None and not view.read_only:
        runs.append((f"  {clean_text(view.trouble, limit=200)}", "warn"))
    return ((" ", "text"), *crop_row(tuple(runs), max(0, width - 2)))


def _missing(checklist: Checklist, glyphs: Glyphs, *, changed: bool) -> list[Run]:
    failed = [entry.item.name for entry in checklist.missing if entry.finding.state == "failed"]
    unsigned = [entry.item.name for entry in checklist.missing if entry.item.signed]
    unseen = len(checklist.missing) - len(failed) - len(unsigned)
    parts = [
        f"failed: {', '.join(failed)}" if failed else "",
        f"to sign (s): {', '.join(unsigned)}" if unsigned else "",
        (f"{unseen} to check after the change, in a moment" if changed else f"{unseen} not checked yet (r)")
        if unseen
        else "",
    ]
    count = len(checklist.missing)
    words = f"{glyphs.missing} {count} item{'s keep' if count > 1 else ' keeps'} the gate shut: "
    return [(words, "bad" if failed else "warn"), ("; ".join(filter(None, parts)), "text")]
