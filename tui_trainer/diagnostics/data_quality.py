"""data_quality: what is wrong with the content of the data, found before training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_trainer.engine.events import DiagnosticRaised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_trainer.data.quality import Finding

CODE = "data_quality"
PLAYBOOK = "diagnostics/data_quality.md"


def diagnose(findings: Sequence[Finding], *, time: float) -> list[DiagnosticRaised]:
    """One diagnostic a finding, the worst first."""
    order = {"critical": 0, "warning": 1, "info": 2}
    return [
        DiagnosticRaised(
            time=time,
            id=f"{CODE}-{number}",
            code=CODE,
            severity=finding.severity,
            epoch=0,
            step=0,
            message=finding.message,
            evidence={"problem": finding.problem} | finding.evidence,
            playbook=PLAYBOOK,
        )
        for number, finding in enumerate(sorted(findings, key=lambda item: order[item.severity]), 1)
    ]
