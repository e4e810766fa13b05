"""The tasks that are trained: real and generated data, each with a small model that learns it in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.diagnostics.case import Outcome, Settings, merged, overfitted

USER = "benchmarks.diagnostics.user_data"
MODELS = "benchmarks.diagnostics.user_models"
LOSSES = "benchmarks.diagnostics.user_losses"


@dataclass(frozen=True)
class Task:
    """`metric`: higher is better. `good`: what a healthy run reaches. `near`: how far from a healthy reference a
    repaired run may end. `adam`, `sgd`: learning rates that suit it.
    """

    name: str
    data: Settings
    model: Settings
    batch_size: int
    metric: str
    good: float
    near: float
    adam: float
    sgd: float
    epochs: int = 15

    def config(self, seed: int, **changes: Any) -> Settings:
        """A healthy run's config, with `changes`."""
        base: Settings = {
            "name": self.name,
            "seed": seed,
            "device": "cpu",
            "data": {**self.data, "batch_size": self.batch_size},
            "model": self.model,
            "optimizer": {"target": "adam", "learning_rate": self.adam},
            "training": {"epochs": self.epochs},
            "checkpoint": {"checkpoint_every_n_epochs": 2},
            "diagnostics": {"on_trigger": "report"},
        }
        if "args" in base["data"] and "seed" in base["data"]["args"]:
            base["data"] = merged(base["data"], {"args": {"seed": seed}})
        return merged(base, changes)

    def learned(self, outcome: Outcome) -> str:
        """Why a run is no healthy one."""
        if outcome.status not in ("completed", "early_stopped"):
            return f"{outcome.status}: {outcome.message[:200]}"
        best = outcome.best(self.metric)
        if best < self.good:
            return f"{self.metric} {best:.3f}, {self.good} was to be reached"
        return "it overfits" if overfitted(outcome) else ""

    def suffered(self, outcome: Outcome) -> str:
        """Why a fault is none: the run came out as a healthy one does."""
        last = outcome.column(self.metric)[-2:]
        if outcome.status not in ("completed", "early_stopped") or not last:
            return ""
        value = min(last)
        return f"{self.metric} {value:.3f} at the end, as good as healthy" if value >= self.good else ""


def _generated(source: str, **more: Any) -> Settings:
    return {"target": f"{USER}:{source}", "args": {"seed": 0, **more}}


TASKS = {
    task.name: task
    for task in (
        Task("digits", {"target": "digits"}, {"target": "mlp", "args": {"hidden": [32]}}, 64, "val_accuracy",
             0.90, 0.03, 3e-3, 0.1, 12),
        Task("cancer", {"target": "breast_cancer"}, {"target": "mlp", "args": {"hidden": [16]}}, 32,
             "val_accuracy", 0.92, 0.035, 5e-3, 0.05, 12),
        Task("wine", {"target": "wine"}, {"target": "mlp", "args": {"hidden": [16]}}, 16, "val_accuracy",
             0.91, 0.06, 1e-2, 0.05),
        Task("diabetes", {"target": "diabetes"}, {"target": "mlp", "args": {"hidden": [16]}}, 32, "val_r2",
             0.25, 0.12, 5e-2, 1e-4),
        Task("circles", _generated("circles"), {"target": "mlp", "args": {"hidden": [16, 16]}}, 32,
             "val_accuracy", 0.90, 0.05, 1e-2, 0.1, 20),
        Task("blobs", _generated("blobs"), {"target": "mlp", "args": {"hidden": [16]}}, 32, "val_accuracy",
             0.92, 0.05, 1e-2, 0.1),
        Task("tokens", _generated("tokens"), {"target": "lstm", "args": {"vocab_size": 12, "embedding_size": 8,
             "hidden_size": 16}}, 32, "val_accuracy", 0.85, 0.06, 1e-2, 0.5),
        Task("conv", {"target": "digits", "args": {"image": True}}, {"target": "cnn", "args": {"channels": [6, 8]}},
             64, "val_accuracy", 0.85, 0.05, 1e-2, 0.1, 12),
    )
}  # fmt: skip
