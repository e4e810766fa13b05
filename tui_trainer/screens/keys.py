"""All keys in one place: footer, help and command palette are made from this list."""

from __future__ import annotations

from textual.binding import Binding

BINDINGS: list[Binding] = [
    Binding("p", "pause", "Pause", id="run.pause", tooltip="Pause the training, or let it go on"),
    Binding(
        "c", "checkpoint", "Checkpoint", id="run.checkpoint", tooltip="Save a checkpoint at the next step"
    ),
    Binding("s", "stop", "Stop", id="run.stop", tooltip="Stop the training; the app stays open (asks first)"),
    Binding("g", "machine", "Machine", id="view.machine", tooltip="GPUs, their processes, CPU, memory, disk"),
    Binding("q", "leave", "Quit", id="app.quit", tooltip="Save a checkpoint and quit (asks first)"),
    Binding(
        "question_mark", "help", "Help", key_display="?", id="app.help", tooltip="What is shown, and all keys"
    ),
    Binding(
        "y", "copy_folder", "Copy path", show=False, id="run.copy", tooltip="Copy the path of the run folder"
    ),
    Binding(
        "ctrl+q,ctrl+c", "leave", "Quit", show=False, priority=True, id="app.leave", tooltip="The same as q"
    ),
    Binding("f1", "phase(1)", "Plan", show=False, id="phase.plan", tooltip="Phase 1: plan the run"),
    Binding(
        "f2", "phase(2)", "Baseline", show=False, id="phase.baseline", tooltip="Phase 2: train a baseline"
    ),
    Binding(
        "f3", "phase(3)", "Diagnose", show=False, id="phase.diagnose", tooltip="Phase 3: find what limits it"
    ),
    Binding(
        "f4", "phase(4)", "Optimize", show=False, id="phase.optimize", tooltip="Phase 4: search for better"
    ),
    Binding(
        "f5", "phase(5)", "Finalize", show=False, id="phase.finalize", tooltip="Phase 5: train, test, export"
    ),
]
