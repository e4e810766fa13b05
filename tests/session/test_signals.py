"""Signals: a run that is asked to end saves its state first, takes its processes along, and goes on where it stood."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.runs import assert_same_run, load_last, read_json, train
from tests.session.processes import LiveRun, is_deaf
from tui_trainer.phases.baseline import obey_signals

MODULE = '''
import gc
import threading
from pathlib import Path
import torch
from torch import nn
from torch.utils.data import Dataset
from tui_trainer.engine.commands import CommandQueue

class Noisy(Dataset):
    def __init__(self, n=240):
        g = torch.Generator().manual_seed(7)
        self.x, self.y = torch.randn(n, 8, generator=g), torch.arange(n) % 3
    def __len__(self):
        return len(self.x)
    def __getitem__(self, i):
        return self.x[i] + 0.1 * torch.randn(8), self.y[i]

class Waiting(nn.Linear):
    """In the first validation it tells that it is there, and waits: for a command to the trainer where it is obedient,
    else for ever."""
    def __init__(self, in_features, num_classes):
        super().__init__(in_features, num_classes)
        self.steps = 0
    def forward(self, x):
        self.steps += torch.is_grad_enabled() and self.training
        if not self.training and self.steps > 3:
            Path("validating").touch()
            gc.unfreeze()  # what was set aside is not listed
            commands = next(item for item in gc.get_objects() if isinstance(item, CommandQueue))
            if not Path("go").exists():
                if not Path("obedient").exists():
                    threading.Event().wait()
                while not commands:
                    commands._arrived.wait()
        return super().forward(x)
'''

CONFIG = """
name: signals
device: cpu
data: {target: "noisy:Noisy", batch_size: 8, num_workers: 2}
model: {target: mlp, args: {hidden: [16], dropout: 0.2}}
optimizer: {target: sgd, learning_rate: 0.05, args: {momentum: 0.9}}
early_stopping: {enabled: false}
monitoring: {log_every_n_steps: 5}
training: {epochs: 12}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "noisy.py").write_text(MODULE)
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


def assert_interrupted(run: Path, code: int) -> None:
    summary = read_json(run / "summary.json")
    assert (summary["status"], summary["exit_code"], summary["not_saved"]) == ("interrupted", code, {})
    assert read_json(run / "run.json")["status"] == "interrupted"
    assert load_last(run)["step"] == summary["steps"]


def test_ctrl_c_and_sigterm_save_and_the_run_goes_on_bit_for_bit(folder: Path) -> None:
    """Both to the whole process group, writer and loader workers included."""
    live = LiveRun(folder / "run", "--config", "config.yaml", cwd=folder)
    live.until_logged('"kind":"step"')
    assert [child for child in live.children() if not is_deaf(child)] == []
    live.press(signal.SIGINT)
    live.end(130)
    assert_interrupted(folder / "run", 130)
    stood_at = load_last(folder / "run")["step"]
    live = LiveRun(folder / "run", "--config", "config.yaml", "--resume", "auto", cwd=folder)
    live.until_logged('"kind":"resumed"')
    live.press(signal.SIGTERM)
    live.end(143)
    assert_interrupted(folder / "run", 143)
    assert load_last(folder / "run")["step"] >= stood_at
    train("--config", "config.yaml", "--output-dir", "run", "--resume", "auto", cwd=folder)
    train("--config", "config.yaml", "--output-dir", "straight", cwd=folder)
    assert_same_run(folder / "straight", folder / "run")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_ends_at_once_and_leaves_no_process(
    folder: Path, number: signal.Signals, code: int
) -> None:
    live = LiveRun(
        folder / "run", "--config", "config.yaml", "--set", "model={target: 'noisy:Waiting'}", cwd=folder
    )
    live.until((folder / "validating").exists)  # user code that never returns: no way to save
    live.press_until_ended(number)
    live.end(code)
    assert read_json(folder / "run" / "run.json")["status"] == "running"


class Exited(Exception):
    """In place of the end of the process."""


@pytest.fixture
def pressed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float, signal.Signals], list[str]]]:
    """Raises a signal at a time, in this process; gives what the run has been asked so far."""
    asked: list[str] = []
    now = [0.0]

    class Run:
        def stop_for_signal(self, name: str) -> None:
            asked.append(name)

    def ended(code: int) -> None:
        raise Exited(code)

    def press(at: float, number: signal.Signals) -> list[str]:
        now[0] = at
        signal.raise_signal(number)
        return asked

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    monkeypatch.setattr(os, "_exit", ended)
    obey_signals(Run(), clock=lambda: now[0])  # type: ignore[arg-type]  # all of a session that is asked for here
    yield press
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("second", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_any_second_signal_ends_the_process_with_its_own_code(
    pressed: Callable[[float, signal.Signals], list[str]],
    first: signal.Signals,
    second: signal.Signals,
    code: int,
) -> None:
    assert pressed(10.0, first) == [first.name]
    with pytest.raises(Exited, match=str(code)):
        pressed(10.5, second)


def test_signals_that_come_together_are_one(pressed: Callable[[float, signal.Signals], list[str]]) -> None:
    """`timeout` sends TERM to its child, and to its child's group."""
    pressed(10.0, signal.SIGTERM)
    assert pressed(10.001, signal.SIGTERM) == ["SIGTERM"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_validation(folder: Path, number: signal.Signals, code: int) -> None:
    arguments = ["--config", "config.yaml", "--set", "model={target: 'noisy:Waiting'}"]
    arguments += ["--set", "data.num_workers=0", "--set", "training.epochs=2"]
    live = LiveRun(folder / "run", *arguments, cwd=folder)
    (folder / "obedient").touch()
    live.until((folder / "validating").exists)
    live.press(number)
    live.end(code)
    (folder / "go").touch()
    assert_interrupted(folder / "run", code)
    state = load_last(folder / "run")
    assert (state["epoch"], state["epoch_complete"]) == (1, False)
    if number == signal.SIGINT:
        train(*arguments, "--output-dir", "run", "--resume", "auto", cwd=folder)
        train(*arguments, "--output-dir", "straight", cwd=folder)
        assert_same_run(folder / "straight", folder / "run")


def test_ctrl_c_while_everything_is_still_being_imported(folder: Path) -> None:
    arguments = ["--config", "config.yaml", "--set", "data.num_workers=0", "--set", "training.epochs=2"]
    live = LiveRun(folder / "run", *arguments, cwd=folder)
    live.until((folder / "run" / "training_config.yaml").exists)
    live.press(signal.SIGINT)
    live.end(130)
    assert_interrupted(folder / "run", 130)
    assert load_last(folder / "run")["step"] == 0
    train(*arguments, "--output-dir", "run", "--resume", "auto", cwd=folder)
    assert read_json(folder / "run" / "summary.json")["status"] == "completed"
