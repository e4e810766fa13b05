"""A finished run put together again from its folder: config, data, model, and its checkpoints, to look at and no more."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from tui_trainer.config.errors import UserError
from tui_trainer.data.items import samples_in
from tui_trainer.data.seeds import untouched_rng
from tui_trainer.engine.checkpoints import BEST, LAST, load_checkpoint
from tui_trainer.engine.evaluation import Evaluation, Onlooker, evaluate
from tui_trainer.engine.events import from_json_number
from tui_trainer.engine.lean_torch import set_deterministic
from tui_trainer.engine.manifest import read_manifest
from tui_trainer.engine.memory_recovery import MemoryRecovery
from tui_trainer.engine.parts import Parts, assemble, load_data
from tui_trainer.engine.pieces import LossShares
from tui_trainer.engine.state import load_weights
from tui_trainer.session.launching import Options, load_options
from tui_trainer.session.run_folder import CONFIG_YAML

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tui_trainer.config.schema import Config

State = dict[str, Any]
FEW_SAMPLES = 2_000


@dataclass(frozen=True)
class Reassembled:
    """The pieces of a run. `entries`: its checkpoints as the manifest has them."""

    folder: Path
    parts: Parts
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)

    def load(self, name: str) -> State:
        """The content of a checkpoint that verifies, its weights now in the model. Raises `UserError`."""
        expected = self.entries.get(name, {}).get("sha256")
        state = load_checkpoint(self.folder / "checkpoints" / name, expected_sha256=expected)
        load_weights(self.parts.model, state["model_state_dict"])
        if self.parts.loss.module is not None:
            load_weights(self.parts.loss.module, state["loss_state_dict"])
        return state

    def validate(self, state: State, onlooker: Onlooker | None = None) -> dict[str, float]:
        """Loss and metrics of the loaded weights on the validation set, by the names of the metric log.

        Batches are taken in the pieces that the run had come to take them in. Whatever user code raises comes through.
        """
        parts = self.parts
        memory, shares = MemoryRecovery(parts.device, "validation"), LossShares(parts.loss)
        if "memory" in state:
            memory.load_state_dict(state["memory"]["validation"])
            shares.load_state_dict(state["memory"]["loss_shares"])
        found: Evaluation = evaluate(
            parts.forward,
            parts.loss,
            parts.val,
            parts.make_metrics(parts.device),
            parts.precision,
            epoch=max(1, int(state["epoch"])),
            memory=memory,
            shares=shares,
            probe=onlooker,
        )
        return {"val_loss": found.loss} | {f"val_{name}": value for name, value in found.metrics.items()}

    def by_worth(self) -> list[str]:
        """The checkpoint files that are there, the best model first, then the last, then the newest."""
        names = [path.name for path in (self.folder / "checkpoints").glob("*.pt")]
        place = {BEST: 0, LAST: 1}
        return sorted(names, key=lambda name: (place.get(name, 2), -self.step_of(name), name))

    def step_of(self, name: str) -> int:
        step = self.entries.get(name, {}).get("step")
        return step if isinstance(step, int) else -1


@contextmanager
def reassembled(folder: Path) -> Iterator[Reassembled]:
    """Build the run's pieces from its config and data; generators and torch's settings are then as they were.

    Not beside a training of the same process, whose generators are borrowed meanwhile. Raises `UserError`, and
    whatever user code raises.
    """
    loaded = load_options(Options(config=folder / CONFIG_YAML))
    with _settings_kept(), untouched_rng(cuda=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = load_data(loaded.config, loaded.folder)
        parts = assemble(_for_looking(loaded.config, samples_in(data.val)), data, loaded.folder)
        try:
            yield Reassembled(folder, parts, read_manifest(folder / "checkpoints")["files"])
        finally:
            parts.close()


def recorded_metrics(state: State) -> dict[str, float]:
    """The validation metrics that a checkpoint holds, by the names of the metric log."""
    values = {name: from_json_number(value) for name, value in state["metrics"].items()}
    return {
        name: float(value)
        for name, value in values.items()
        if name.startswith("val_") and isinstance(value, (int, float))
    }


def in_words(error: BaseException) -> str:
    """Why something could not be done, on one line."""
    text = str(error).strip().split("\n")[0]
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


def _for_looking(config: Config, samples: int) -> Config:
    """Without what only training needs: compiled kernels, weights to start from that a checkpoint replaces, and loader
    workers, where reading `samples` takes less time than starting them (batches are the same either way)."""
    changed = {
        "model": config.model.model_copy(update={"init_from": None}),
        "training": config.training.model_copy(update={"compile": False}),
    }
    if samples <= FEW_SAMPLES:
        changed["data"] = config.data.model_copy(update={"num_workers": 0})
    return config.model_copy(update=changed)


@contextmanager
def _settings_kept() -> Iterator[None]:
    cudnn = torch.backends.cudnn
    kept = torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark
    filling = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]  # set through the module
    try:
        yield
    finally:
        set_deterministic(kept[0])
        cudnn.deterministic, cudnn.benchmark = kept[1:]
        torch.utils.deterministic.fill_uninitialized_memory = filling  # type: ignore[attr-defined]  # as above
