"""Exact resume: from every point where a run may be stopped, the rest of it ends with the very same bits.

The points are those where the trainer asks for commands: before each batch, and between validation batches.
"""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from tests.engine.conftest import merged
from tests.runs import NOT_METRICS, differences
from tui_trainer.config.errors import RunFolderError
from tui_trainer.engine import events
from tui_trainer.engine.commands import Command, CommandQueue
from tui_trainer.engine.snapshot import join, split
from tui_trainer.engine.state import capture, go_back
from tui_trainer.engine.trainer import Trainer


class Noisy(Dataset):
    """Items with augmentation from all three generators."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(7)
        self.x, self.y = torch.randn(300, 12, generator=generator), torch.arange(300) % 4

    def __len__(self) -> int:
        return len(self.x)

    def knock(self) -> None:
        """Called for each item."""

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.knock()
        x = self.x[row] * (1 + 0.1 * random.random()) + 0.1 * torch.randn(12)
        return x + float(np.random.rand()), self.y[row]


class Gated(Noisy):
    """Items that wait for a file; another one says that somebody waits."""

    def __init__(self, gate: str, waiting: str) -> None:
        super().__init__()
        self.gate, self.waiting = Path(gate), Path(waiting)

    def knock(self) -> None:
        while not self.gate.exists():
            self.waiting.touch()


class Normed(nn.Sequential):
    """BatchNorm keeps buffers, dropout draws random numbers."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(
            nn.Linear(in_features, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, num_classes)
        )


class Weighted(nn.Module):
    """A dict of losses whose weights are learned with the model (Kendall et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(2))
        self.register_buffer("class_weights", torch.linspace(0.5, 1.5, 10))

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        plain = nn.functional.cross_entropy(outputs, targets, weight=self.class_weights)
        spread = outputs.square().mean()
        return {
            "entropy": plain * torch.exp(-self.log_variance[0]) + self.log_variance[0],
            "spread": 0.01 * spread * torch.exp(-self.log_variance[1]) + self.log_variance[1],
        }


BASE: dict[str, Any] = {
    "data": {"target": "digits", "batch_size": 300},
    "training": {"epochs": 2},
    "monitoring": {"log_every_n_steps": 2},
    "checkpoint": {
        "save_best": False,
        "save_last": False,
        "checkpoint_every_n_epochs": None,
        "checkpoint_every_n_minutes": None,
    },
}
OWN = "tests.engine.test_resume"
CASES: dict[str, dict[str, Any]] = {
    "dropout": {"model": {"target": "mlp", "args": {"hidden": [16], "dropout": 0.5}}},
    "batch norm, adamw": {"model": {"target": f"{OWN}:Normed", "args": {}}, "optimizer": {"target": "adamw"}},
    "momentum, plateau": {
        "optimizer": {"target": "sgd", "learning_rate": 0.5, "args": {"momentum": 0.9, "nesterov": True}},
        "scheduler": {
            "target": "reduce_on_plateau",
            "args": {"patience": 0, "factor": 0.5, "threshold": 0.3},
        },
        "training": {"epochs": 4},
    },
    "one cycle": {"scheduler": {"target": "one_cycle", "interval": "step", "args": {"max_lr": 0.05}}},
    "bf16": {"training": {"precision": "bf16"}},
    "fp16 scaler": {"training": {"precision": "fp16"}, "optimizer": {"target": "rmsprop"}},
    "accumulation with a ragged group, clipping": {
        "training": {"gradient_accumulation_steps": 3, "gradient_clip_norm": 0.1}
    },
    "f1": {"metrics": ["f1", "accuracy"]},
    "augmented items": {"data": {"target": f"{OWN}:Noisy", "batch_size": 64}},
    "learned and weighted losses": {"loss": {"target": f"{OWN}:Weighted"}},
    "validation inside epochs": {"training": {"validate_every_n_steps": 2}, "data": {"batch_size": 200}},
    "early stopping": {
        "optimizer": {"target": "sgd", "learning_rate": 1e-9},
        "early_stopping": {"enabled": True, "patience": 2},
        "training": {"epochs": 9},
    },
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny steps on busy cores: a second thread only waits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def saved(trainer: Trainer) -> bytes:
    """The state as a checkpoint file would hold it."""
    trainer.settle()
    tensors: list[torch.Tensor] = []
    content = split(capture(trainer), tensors)
    stream = io.BytesIO()
    torch.save(join(content, tensors) | {"history": list(trainer.history)}, stream)
    return stream.getvalue()


def loaded(state: bytes) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(io.BytesIO(state), weights_only=True)
    return content


class Watched(CommandQueue):
    """Keeps the trainer's state from every time that it looks for commands."""

    def __init__(self) -> None:
        super().__init__()
        self.trainer: Trainer | None = None
        self.states: list[bytes] = []

    def __bool__(self) -> bool:
        assert self.trainer is not None
        self.states.append(saved(self.trainer))
        return super().__bool__()


class Script(CommandQueue):
    """Gives the trainer commands at steps, each once."""

    def __init__(self, trainer: Trainer, commands: dict[int, Command]) -> None:
        super().__init__()
        self.trainer, self.script = trainer, commands

    def __bool__(self) -> bool:
        if (command := self.script.pop(self.trainer.step, None)) is not None:
            self.put(command)
        return super().__bool__()


def end_of(run: Any) -> dict[str, Any]:
    run.outcome = run.train()
    end = loaded(saved(run.trainer))
    end["rows"] = [{k: v for k, v in row.items() if k not in NOT_METRICS} for row in end.pop("history")]
    return end


@pytest.mark.parametrize("case", CASES)
def test_the_rest_of_a_run_is_the_same_from_every_point_on(case: str, make_run: Callable[..., Any]) -> None:
    changes = merged(BASE, CASES[case])
    straight = make_run(changes)
    watched = straight.trainer.commands = Watched()
    watched.trainer = straight.trainer
    end = end_of(straight)
    assert len(watched.states) > straight.trainer.step
    for number, state in enumerate(watched.states):
        resumed = make_run(changes)
        resumed.trainer.load(loaded(state))
        assert differences(loaded(saved(resumed.trainer)), loaded(state)) == [], "not even at once the same"
        assert differences(end_of(resumed), end) == [], f"resumed at point {number}"
        assert resumed.outcome == straight.outcome


@pytest.mark.parametrize("case", CASES)
def test_a_trainer_that_went_on_goes_back_to_any_point(case: str, make_run: Callable[..., Any]) -> None:
    run = make_run(merged(BASE, CASES[case]))
    trainer = run.trainer
    watched = trainer.commands = Watched()
    watched.trainer = trainer
    end = end_of(run)
    trainer.commands = CommandQueue()
    last = len(watched.states) - 1
    for number in (last // 2, 0, last, 1):
        go_back(trainer, loaded(watched.states[number]))
        assert differences(loaded(saved(trainer)), loaded(watched.states[number])) == []
        outcome = trainer.train()
        again = loaded(saved(trainer))
        again["rows"] = [
            {k: v for k, v in row.items() if k not in NOT_METRICS} for row in again.pop("history")
        ]
        assert differences(again, end) == [], f"back at point {number}"
        assert outcome == run.outcome


def test_steps_still_on_the_device_when_it_goes_back_are_not_counted(make_run: Callable[..., Any]) -> None:
    changes = merged(BASE, {"monitoring": {"log_every_n_steps": 100}})
    straight, run = make_run(changes, trust_device=True), make_run(changes, trust_device=True)
    trainer = run.trainer
    trainer.commands = Script(
        trainer, {1: Command("checkpoint"), 3: Command("roll_back", {"file": "last_model.pt"})}
    )
    rollback = trainer.train().rollback
    assert trainer._waiting, "nothing is left on the device: this tests nothing"
    go_back(trainer, rollback.state)
    assert differences(end_of(run), end_of(straight)) == []


def test_looking_at_the_state_changes_nothing(make_run: Callable[..., Any]) -> None:
    plain, looked_at = make_run(BASE), make_run(BASE)
    looked_at.trainer.commands = Watched()
    looked_at.trainer.commands.trainer = looked_at.trainer
    assert differences(end_of(plain), end_of(looked_at)) == []


def test_a_checkpoint_of_another_model_is_refused(make_run: Callable[..., Any]) -> None:
    state = loaded(saved(make_run(BASE).trainer))
    other = make_run(BASE | {"model": {"target": "mlp", "args": {"hidden": [7]}}})
    with pytest.raises(RunFolderError, match="another model"):
        other.trainer.load(state)


def test_a_stop_is_obeyed_between_two_batches(make_run: Callable[..., Any]) -> None:
    run = make_run(BASE)
    run.trainer.commands.put(Command("stop"))
    assert run.train().status == "stopped"
    assert run.trainer.step == 0


def test_a_command_does_not_wait_for_the_batch_that_is_being_fetched(
    make_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = merged(BASE, CASES["augmented items"])
    plain = end_of(make_run(changes))
    run = make_run(changes)
    fetched: list[int] = []
    answered: list[int] = []

    def knock(_: Noisy) -> None:
        fetched.append(1)
        if len(fetched) == 70:  # the sixth item of the second batch
            run.trainer.commands.put(Command("checkpoint"))

    monkeypatch.setattr(f"{OWN}.Noisy.knock", knock)
    run.trainer.emit = lambda event: (
        answered.append(len(fetched)) if isinstance(event, events.CommandHandled) else None
    )
    assert differences(plain, end_of(run)) == []
    assert answered == [70]


def test_a_command_does_not_wait_for_a_worker(make_run: Callable[..., Any], tmp_path: Path) -> None:
    gate, waiting = tmp_path / "gate", tmp_path / "waiting"
    gate.touch()
    data = {"target": f"{OWN}:Gated", "args": {"gate": str(gate), "waiting": str(waiting)}, "num_workers": 1}
    run = make_run(merged(BASE, {"data": data | {"batch_size": 64}}))

    def stop() -> None:
        while not waiting.exists():
            pass
        run.trainer.commands.put(Command("stop"))

    gate.unlink()
    asker = threading.Thread(target=stop, daemon=True)
    asker.start()
    assert run.train().status == "stopped"
    assert run.trainer.step == 0
    gate.touch()
    run.trainer.parts.close()
    asker.join()


def test_an_event_never_changes_once_it_was_told(make_run: Callable[..., Any]) -> None:
    """The recorder writes it later, on its own thread."""
    run = make_run(merged(BASE, CASES["validation inside epochs"]))
    told: list[tuple[events.Event, str]] = []
    run.trainer.emit = lambda event: told.append((event, events.encode(event)))
    run.train()
    assert [text for event, text in told if events.encode(event) != text] == []
