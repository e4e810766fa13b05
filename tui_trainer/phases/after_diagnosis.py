"""Phase 3 as a whole: the diagnosis of a run, its report, and the gate `diagnostics_complete`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_trainer.phases.after_baseline import config_of
from tui_trainer.phases.diagnosis import write_diagnosis
from tui_trainer.phases.diagnosis_gate import GATE, ITEMS, TITLE
from tui_trainer.phases.run_gate import RunGate
from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from pathlib import Path

    from tui_trainer.phases.gate import Checklist
    from tui_trainer.reports.diagnosis_content import PhaseDiagnosis
    from tui_trainer.session.launching import Options


def complete_diagnosis(
    run: Path, project: Path | None = None, options: Options | None = None
) -> tuple[PhaseDiagnosis, Checklist]:
    """Diagnose a run, write `diagnostic_report.md` into its folder, and settle the gate. Raises `UserError`, `OSError`.

    `project`: where `gates.yaml` is, the config's folder if left out. `options` may waive what the run's own config does
    not.
    """
    loaded = config_of(run, options)
    diagnosis = write_diagnosis(run)
    checks = {item.name: check for item, check in ITEMS}
    gate = RunGate(GATE, TITLE, [item for item, _ in ITEMS], loaded, run, project or loaded.folder)
    checklist = gate.settle(lambda name: checks[name](diagnosis))
    gate.keep(checklist)
    return diagnosis, checklist


def diagnosis_lines(diagnosis: PhaseDiagnosis, run: Path) -> list[str]:
    """The diagnosis in the log's words."""
    lines = [f"[DIAGNOSIS] {clean_text(diagnosis.issue.title)}: {clean_text(diagnosis.issue.summary)}"]
    for number, item in enumerate(diagnosis.recommendations, 1):
        changes = ", ".join(
            f"{key}: {change['from']} → {change['to']}" for key, change in item.changes.items()
        )
        lines.append(
            f"  {number}. {clean_text(item.title)} ({clean_text(changes)}); impact {item.impact}, gain {clean_text(item.gain)}"
        )
    lines += [f"  - {clean_text(item)}" for item in diagnosis.advice]
    reasons = " ".join(clean_text(reason) for reason in diagnosis.reasons)
    return [
        *lines,
        f"[DECISION] {diagnosis.decision}: {reasons}",
        f"Report: {clean_text(run / 'diagnostic_report.md')}",
    ]
