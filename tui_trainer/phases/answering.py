"""A person's answers to a gate that was earned with a run: signatures and waivers, kept where the gate is and told in
the run's reports."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from tui_trainer.phases import baseline_checks
from tui_trainer.phases.after_baseline import config_of
from tui_trainer.phases.run_gate import RunGate
from tui_trainer.phases.signing import signed, waived
from tui_trainer.reports.baseline import write_baseline_results
from tui_trainer.reports.diagnosis import write_diagnostic_report
from tui_trainer.reports.run_files import read_run
from tui_trainer.reports.waivers import waivers_of

if TYPE_CHECKING:
    from pathlib import Path

    from tui_trainer.phases.gate import Checklist, Entry
    from tui_trainer.reports.diagnosis_content import PhaseDiagnosis


def sign_item(
    run: Path, checklist: Checklist, name: str, note: str, project: Path | None = None
) -> Checklist:
    """`checklist` with an item signed, kept in `gates.yaml` and the run's record. Raises `UserError`, `OSError`."""
    return _answered(run, checklist, signed(_entry(checklist, name).item, note), project)


def waive_item(
    run: Path, checklist: Checklist, name: str, reason: str, project: Path | None = None
) -> Checklist:
    """`checklist` with an item waived, kept likewise. Raises `UserError`, `OSError`."""
    entry = _entry(checklist, name)
    return _answered(run, checklist, waived(entry.item, reason, entry.finding), project)


def with_waivers(run: Path, diagnosis: PhaseDiagnosis) -> PhaseDiagnosis:
    """A diagnosis with what is waived by now, its report written again. Raises `OSError`."""
    now = dataclasses.replace(diagnosis, waivers=waivers_of(read_run(run).run))
    write_diagnostic_report(run, now)
    return now


def _entry(checklist: Checklist, name: str) -> Entry:
    return next(entry for entry in checklist.entries if entry.item.name == name)


def _answered(run: Path, checklist: Checklist, answer: Entry, project: Path | None) -> Checklist:
    """What the answer rests on is what the item rested on when it was looked at."""
    entries = tuple(
        dataclasses.replace(answer, rested_on=entry.rested_on) if entry.item == answer.item else entry
        for entry in checklist.entries
    )
    loaded = config_of(run)
    items = [entry.item for entry in entries]
    gate = RunGate(checklist.gate, checklist.title, items, loaded, run, project or loaded.folder)
    answered = dataclasses.replace(checklist, entries=entries)
    gate.keep(answered)
    if checklist.gate == baseline_checks.GATE:
        with contextlib.suppress(OSError):  # gates.yaml and the run's record have it
            write_baseline_results(run, redraw=False)
    return answered
