"""Plans for tests: views with data that nobody read, a planner that stands still, a gate that is told what it finds."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tui_trainer.config.loading import LoadedConfig, load_config, parse_config
from tui_trainer.phases.gate import Checklist, Entry, Finding
from tui_trainer.phases.plan_checks import GATE, ITEMS, TITLE
from tui_trainer.screens.plan_view import PlanView
from tui_trainer.screens.planner import Planner

FOLDER = Path("/home/ada/digits")
AT = "2025-10-09T08:51:00.000Z"


def loaded(*overrides: str, path: Path | None = FOLDER / "config.yaml") -> LoadedConfig:
    """The bundled config, as if it lay in a project."""
    found = load_config(None, overrides=overrides)
    return replace(found, path=path, folder=FOLDER)


EVIDENCE = {
    "seeds": "Python, NumPy, PyTorch, loader workers draw the same numbers twice; seed 42 gives 0.6394 and 0.3745 as it should",
    "deterministic": "Deterministic algorithms on, cuDNN deterministic, cuDNN benchmark off",
    "environment": "Python 3.11.7, torch 2.13.0, 76 packages, 2 × NVIDIA H100 80GB HBM3",
    "repository": "4f1c2ab98d01 on main, a patch of uncommitted changes is kept",
    "data": "arrays-9f2c11e0 (train 1,168, val 359, test 270)",
    "splits": "No content in two sets",
    "dummy_pass": "Loss 2.327; every trained parameter gets a gradient",
    "disk": "6 checkpoints of 181.9 kB, 44.8 GB free",
    "two_runs": "5 steps in two fresh processes: all 4 tensors and losses are equal",
    "intended_use": "Shows that the installation trains; not for any other use.",
    "target_metric": "Validation accuracy of at least 0.75.",
}
DETAILS: dict[str, dict[str, Any]] = {
    "environment": {
        "python": "3.11.7", "implementation": "CPython", "os": "Linux-6.1-x86_64-with-glibc2.36", "host": "gpu-box-7",
        "cpu": "AMD EPYC 9354 32-Core Processor", "cores": 64, "memory_bytes": 405_000_000_000,
        "gpus": [{"name": "NVIDIA H100 80GB HBM3", "memory_bytes": 85_000_000_000}] * 2, "driver": "550.54",
        "torch": "2.13.0", "cuda": "12.8", "cudnn": 91002, "packages": 76,
    },
    "repository": {"commit": "4f1c2ab98d0175ff", "branch": "main", "patch_bytes": 812, "untracked": 2},
    "two_runs": {"steps": 5, "tensors": 4, "different": [], "first_loss": []},
}  # fmt: skip


def checklist(**states: str) -> Checklist:
    """All items passed and signed, but for those that are told otherwise."""
    entries = []
    for item in ITEMS:
        state = states.get(item.name, "signed" if item.signed else "passed")
        if state == "open":
            entries.append(Entry(item, Finding("open", "")))
            continue
        words = EVIDENCE[item.name] if state in ("passed", "signed") else LONG
        reason = "it is a test" if state == "waived" else words if state == "signed" else ""
        by = "ada" if reason else ""
        finding = Finding(state, words, DETAILS.get(item.name, {}))  # type: ignore[arg-type]  # as told
        entries.append(Entry(item, finding, at=AT, by=by, reason=reason))
    return Checklist(GATE, TITLE, tuple(entries))


LONG = (
    "5 steps in two fresh processes: tensor encoder.transformer.layers.11.attention.self.query.weight differs, losses "
    "from batch 2 on [/red]; 37 of 148 tensors are different, the largest difference is 0.000113"
)


def _image(number: int) -> list[list[float]]:
    def grey(x: int, y: int) -> float:
        return max(0.0, 1 - abs(math.hypot(x - 3.5, y - 3.5) - 1 - number % 3) / 2)

    return [[round(grey(x, y), 2) for x in range(8)] for y in range(8)]


DATA: dict[str, Any] = {
    "kind": "data", "fingerprint": "arrays-9f2c11e0", "source": "digits", "task": "classification", "outputs": 10,
    "sizes": {"train": 1168, "val": 359, "test": 270}, "input_shape": [1, 8, 8],
    "class_names": [str(number) for number in range(10)],
    "class_counts": [115, 119, 115, 119, 118, 118, 60, 116, 113, 12],
    "samples": [{"row": 7 * number, "target": number % 10, "image": _image(number)} for number in range(8)],
}  # fmt: skip
TEXTS = DATA | {
    "class_names": ["negative review", "positive [/b] review"],
    "class_counts": [12_400, 600],
    "outputs": 2,
    "input_shape": [128],
    "samples": [
        {"row": 3, "target": 1, "text": "A film that [red] nobody needed and everybody will see twice. " * 3},
        {"row": 9, "target": 0, "numbers": [0.125, math.inf, -3.0, 1e9], "count": 64},
    ],
}
MODEL: dict[str, Any] = {
    "kind": "model", "architecture": "MLP", "parameters": 9610, "trainable": 8320, "device": "cuda:0",
    "checkpoint_bytes": 181_880, "more_layers": 0, "steps_per_epoch": 146, "batch_size": 8,
    "memory": {"weights": 38_440, "gradients": 38_440, "optimizer": 76_880, "activations": 8_512},
    "layers": [
        {"name": "layers.0", "kind": "Linear", "parameters": 8320, "output": [8, 128]},
        {"name": "layers.1", "kind": "ReLU", "parameters": 0, "output": [8, 128]},
        {"name": "layers.2", "kind": "Linear", "parameters": 1290, "output": [8, 10]},
    ],
}  # fmt: skip
TOLD = MappingProxyType({"data": DATA, "model": MODEL})
QUALITY = {
    "kind": "diagnostic",
    "code": "data_quality",
    "severity": "info",
    "message": "3 of 64 input features have one value in all train samples.",
}


def view(**changes: Any) -> PlanView:
    """A plan whose gate is passed."""
    config = loaded()
    known = PlanView(
        name="digits-baseline",
        loaded=config,
        template=config.config,
        checklist=checklist(),
        messages=TOLD,
        diagnostics=(QUALITY,),
    )
    return replace(known, **changes)


class StillPlanner(Planner):
    """Shows a view and does nothing by itself."""

    def __init__(self, shown: PlanView) -> None:
        super().__init__(loaded, lambda _: None, gate=FakeGates())
        self.view = shown
        self._began = True
        if shown.loaded is not None:
            self._file_text = self._saved_text = shown.loaded.text


class FakeGates:
    """Makes gates that find what `states` says; a run of one raises `error` where there is one."""

    def __init__(self, error: Exception | None = None, **states: str) -> None:
        self.error, self.states = error, states
        self.made: list[FakeGate] = []

    def __call__(self, config: LoadedConfig, *, on_change: Any, on_message: Any) -> FakeGate:
        self.made.append(FakeGate(self, config, on_change, on_message))
        return self.made[-1]

    @property
    def runs(self) -> int:
        """How often a gate was checked."""
        return sum(gate.ran for gate in self.made)


class FakeGate:
    """One of them. Not looked at yet: what will be found failed."""

    def __init__(self, gates: FakeGates, config: LoadedConfig, on_change: Any, on_message: Any) -> None:
        self.gates, self.config, self._on_change, self._on_message = gates, config, on_change, on_message
        self.blocked: str | None = None
        self.trouble: str | None = None
        self.cancelled = False
        self.ran = 0
        self.now = {name: "open" if state == "failed" else state for name, state in gates.states.items()}

    def look(self) -> Checklist:
        return checklist(**self.now)

    def run(self) -> Checklist:
        self.ran += 1
        if self.gates.error is not None:
            raise self.gates.error
        self._on_change(self.look(), frozenset({"two_runs"}))
        self.preview()
        self.now = dict(self.gates.states)
        self._on_change(self.look(), frozenset())
        return self.look()

    def preview(self) -> None:
        self._on_message(DATA)
        self._on_message(MODEL)

    def _answer(self, name: str, state: str) -> Checklist:
        self.now[name] = state
        self.gates.states.pop(name, None)
        self._on_change(self.look(), frozenset())
        return self.look()

    def sign(self, name: str, note: str) -> Checklist:
        return self._answer(name, "signed")

    def waive(self, name: str, reason: str) -> Checklist:
        return self._answer(name, "waived")

    def cancel(self) -> None:
        self.cancelled = True


def long_config() -> LoadedConfig:
    """Every group filled, one with a value far too long for its place."""
    config = parse_config(
        {
            "name": "a-name-of-a-run-that-goes-on-and-on-" * 2,
            "data": {
                "target": "table",
                "args": {"path": "x" * 200, "label": "left", "columns": list(range(60))},
            },
            "targets": {"metric": "val_accuracy", "at_least": 0.9},
            "remote": {"host": "gpu-box", "exclude": ["*.tmp"]},
            "study": {"space": {"optimizer.learning_rate": {"log_uniform": [1e-5, 1e-1]}}},
            "metrics": ["accuracy", {"target": "f1", "args": {"average": "macro"}, "name": "f1"}],
        }
    )
    return replace(loaded(), config=config)
