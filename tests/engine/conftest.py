"""Small real runs for the engine's tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.config.loading import parse_config
from tui_trainer.engine import events
from tui_trainer.engine.checkpoints import Checkpointer
from tui_trainer.engine.commands import CommandQueue
from tui_trainer.engine.parts import assemble, load_data
from tui_trainer.engine.trainer import Trainer

SMALL = {
    "name": "small",
    "seed": 3,
    "device": "cpu",
    "data": {"target": "digits", "batch_size": 64},
    "model": {"target": "mlp", "args": {"hidden": [32]}},
    "training": {"epochs": 3},
    "early_stopping": {"enabled": False},
    "monitoring": {"log_every_n_steps": 5},
}


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = (
            merged(old, value)
            if isinstance(old, dict) and isinstance(value, dict) and key != "args"
            else value
        )
    return result


@dataclass
class Run:
    """A trainer with what it said; `train()` runs it and closes its checkpointer."""

    trainer: Trainer
    checkpointer: Checkpointer
    folder: Path
    seen: list[events.Event] = field(default_factory=list)

    def train(self) -> Any:
        try:
            return self.trainer.train()
        finally:
            self.checkpointer.close()
            self.trainer.parts.close()

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.seen if isinstance(event, kind)]


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Build a run from `SMALL` with changes; `before(parts)` may alter the built parts."""
    count = iter(range(1000))

    def make(changes: dict[str, Any] | None = None, *, before: Any = None, **options: Any) -> Run:
        config = parse_config(merged(SMALL, changes or {}))
        folder = tmp_path / f"run{next(count)}"
        folder.mkdir()
        parts = assemble(config, load_data(config, tmp_path), tmp_path)
        if before is not None:
            before(parts)
        seen: list[events.Event] = []
        checkpointer = Checkpointer(folder, seen.append, pace=0.0)
        trainer = Trainer(
            parts, checkpointer, CommandQueue(), seen.append, config_hash="c", data_fingerprint="d", **options
        )
        return Run(trainer, checkpointer, folder, seen)

    return make
