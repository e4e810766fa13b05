"""The gate after a baseline in the states it can be in, for pictures and keys."""

from __future__ import annotations

from dataclasses import replace

from tui_trainer.phases.baseline_checks import GATE, ITEMS, TITLE
from tui_trainer.phases.gate import Checklist, Entry, Finding
from tui_trainer.reports.decision import Decision
from tui_trainer.screens.gate_view import GateView

FOUND = {
    "completed": "completed: All 20 epochs are done.",
    "loss_fell": "from 2.100 to 0.0346, by 98%",
    "finite": "20 epochs, all finite",
    "utilization": "GPU 91 % (more than 60 % wanted)",
    "steady": "12.8s an epoch, at most 8% off (±20% wanted)",
    "checkpoints": "6 files load and reproduce their validation metrics",
    "records": "baseline_results.md, training.log, metrics.json, epoch_metrics.csv",
}
SHORT = Decision(
    "INSUFFICIENT",
    "Phase 3 (Diagnose)",
    (
        "Target missed: best val_accuracy 71.2%, asked for at least 95.0%.",
        "accuracy is 31.7 points better in training than in validation: overfitting.",
    ),
    "diagnose",
)
MET = Decision(
    "ACCEPTABLE",
    "Phase 5 (Finalize)",
    ("Target met: best val_accuracy 97.6%, asked for at least 95.0%.",),
    "finalize",
)
FAILED = Decision(
    "FAILED",
    "Phase 3 (Diagnose), then train the baseline again",
    (
        "The run did not complete (status failed).",
        "The validation loss was not finite in epochs 7, 8.",
        "The training loss never fell below its first epoch's 2.303: nothing was learned.",
        "GPU utilization was 31%, below 40%.",
    ),
    "diagnose_and_repeat",
)


def checklist(**found: Finding) -> Checklist:
    """What was found of items, by name, beside what is usual."""
    entries = []
    for item in ITEMS:
        usual = (
            Finding("open", "") if item.signed else Finding("passed", FOUND[item.name], {"measured": 0.91})
        )
        rested = {"run": "r1-1", "config": "c0ffee"}
        entries.append(
            Entry(item, found.get(item.name, usual), at="2025-10-09T09:04:11.000Z", rested_on=rested)
        )
    return Checklist(GATE, TITLE, tuple(entries), run="/work/digits/checkpoints/digits-baseline")


UNSIGNED = GateView(checklist=checklist(), decision=SHORT)
PASSED = GateView(checklist=checklist(decision=Finding("signed", "good enough for the demo")), decision=MET)
BROKEN = (
    "best_model.pt: val_loss was 0.5936 when it was saved and is 0.8112 now [/red]; " + "and so on, " * 40
)
FAILING = GateView(
    checklist=checklist(
        completed=Finding("failed", "failed: out of memory in step 60 of epoch 8"),
        loss_fell=Finding("failed", "It never fell below its first epoch's 2.303"),
        utilization=Finding("waived", "GPU 31 % (more than 60 % wanted)"),
        checkpoints=Finding("failed", BROKEN, {"best_model.pt": {"ok": False}}),
        steady=Finding("not_applicable", "Epochs take under 10 s, or are too few"),
    ),
    decision=FAILED,
)
VIEWS = {
    "checking": GateView(busy=True),
    "unsigned": UNSIGNED,
    "passed": PASSED,
    "failing": FAILING,
    "again": replace(FAILING, busy=True),
    "error": GateView(
        error="The config of the run, /work/x/training_config.yaml, is damaged: line 3 is no YAML."
    ),
}
