"""Trouble while saving: it is reported, nobody waits for ever, and the next checkpoint is tried as if nothing had been."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tui_trainer.engine import events, manifest
from tui_trainer.engine.checkpoints import BEST, LAST, Checkpointer, load_checkpoint, load_newest
from tui_trainer.engine.snapshot import Arena, expected_bytes, split
from tui_trainer.engine.writer_link import WriterLink


def state_of(epoch: int, **more: Any) -> dict[str, Any]:
    return {
        "model_state_dict": {"weight": torch.full((64, 32), float(epoch))},
        "optimizer_state_dict": {},
        "scheduler_state_dict": {},
        "epoch": epoch,
        "step": epoch,
        "val_loss": 0.5,
        "metrics": {},
        "config": {},
    } | more


def save(checkpointer: Checkpointer, epoch: int, names: tuple[str, ...] = (LAST,), **more: Any) -> bool:
    entry = {"epoch": epoch, "step": epoch, "epoch_complete": True, "metrics": {}, "valid": True}
    return checkpointer.save(state_of(epoch, **more), [], names, entry=entry, wait=True)


class Recorded(Checkpointer):
    """A checkpointer that writes by itself, with what it said."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.said: list[events.Event] = []
        super().__init__(folder, options.pop("emit", self.said.append), pace=0.0, **options)

    @property
    def last_word(self) -> events.Event:
        return self.said[-1]


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), TypeError("odd"), MemoryError(), KeyError("x")]
)
def test_whatever_a_write_runs_into_nobody_waits_for_it_for_ever(error: Exception, tmp_path: Path) -> None:
    troubles = [error]

    def barrier() -> None:
        if troubles:
            raise troubles.pop()

    checkpointer = Recorded(tmp_path, barrier=barrier)
    assert save(checkpointer, 1)
    checkpointer.flush()
    assert isinstance(checkpointer.last_word, events.CheckpointFailed)
    assert checkpointer.failed.keys() == {LAST}
    assert save(checkpointer, 2)
    checkpointer.close()
    assert isinstance(checkpointer.last_word, events.CheckpointSaved)
    assert checkpointer.failed == {}
    assert load_checkpoint(tmp_path / LAST)["epoch"] == 2


def test_a_reader_that_raises_does_not_end_the_saving(tmp_path: Path) -> None:
    def emit(event: events.Event) -> None:
        raise RuntimeError("a reader's fault")

    checkpointer = Recorded(tmp_path, emit=emit)
    for epoch in (1, 2):
        save(checkpointer, epoch)
        checkpointer.flush()
    checkpointer.close()
    assert load_checkpoint(tmp_path / LAST)["epoch"] == 2


def test_a_state_that_cannot_be_sent_is_reported(tmp_path: Path) -> None:
    link = WriterLink()
    checkpointer = Recorded(tmp_path, link=link)
    save(checkpointer, 1, user=lambda: None)
    checkpointer.flush()
    assert isinstance(checkpointer.last_word, events.CheckpointFailed)
    save(checkpointer, 2)
    checkpointer.close()
    link.close()
    assert load_checkpoint(tmp_path / LAST)["epoch"] == 2


def test_a_snapshot_without_memory_is_a_failed_checkpoint_not_a_failed_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    checkpointer = Recorded(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", refuse)
        for epoch in range(1, 5):  # more often than there are buffers
            assert not save(checkpointer, epoch)
    assert isinstance(checkpointer.last_word, events.CheckpointFailed)
    assert "memory" in checkpointer.last_word.reason
    assert save(checkpointer, 5)
    checkpointer.close()
    assert load_checkpoint(tmp_path / LAST)["epoch"] == 5


@pytest.mark.parametrize("failing", ["write", "fsync", "rename of the second name", "manifest"])
def test_a_disk_that_refuses_leaves_the_old_state_loadable(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpointer = Recorded(tmp_path)
    save(checkpointer, 1, (BEST, LAST))
    checkpointer.flush()
    real_fsync, real_replace, renames = os.fsync, Path.replace, []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def fsync(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".tmp":
            refuse()
        real_fsync(descriptor)

    def replace(path: Path, target: Path) -> Path:
        if target.suffix == ".pt":
            renames.append(target)
            if len(renames) == 2:
                refuse()
        return real_replace(path, target)

    with monkeypatch.context() as patch:
        if failing == "write":  # for real, in the middle of the file: a limit on its size
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        elif failing == "fsync":
            patch.setattr(os, "fsync", fsync)
        elif failing == "manifest":
            patch.setattr(manifest, "write_atomically", refuse)
        else:
            patch.setattr(Path, "replace", replace)
        save(checkpointer, 2, (BEST, LAST))
        checkpointer.flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert isinstance(checkpointer.last_word, events.CheckpointFailed)
    assert checkpointer.last_word.reason in ("No space left on device", "File too large")
    assert not list(tmp_path.glob(".*.tmp"))
    checkpointer.close()
    loaded = load_newest(tmp_path)
    assert loaded is not None
    assert loaded.rejected == ()
    assert loaded.state["epoch"] == (2 if "second" in failing else 1)
    assert {load_checkpoint(tmp_path / name)["epoch"] for name in (BEST, LAST)} == {loaded.state["epoch"]}


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "amsgrad": lambda p: torch.optim.AdamW(p, amsgrad=True),
    "sgd": torch.optim.SGD,
    "momentum": lambda p: torch.optim.SGD(p, momentum=0.9),
    "rmsprop": lambda p: torch.optim.RMSprop(p, centered=True, momentum=0.9),
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "nadam": torch.optim.NAdam,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_memory_for_the_first_snapshot_is_made_beforehand(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is enough: touching fresh pages would cost the training thread ten times the copy."""
    model = nn.Sequential(nn.Linear(300, 200), nn.BatchNorm1d(200), nn.Linear(200, 10))
    optimizer = OPTIMIZERS[name](model.parameters())
    checkpointer = Recorded(tmp_path)
    size = expected_bytes([model], optimizer)
    checkpointer.reserve(size)
    model(torch.randn(4, 300)).sum().backward()
    optimizer.step()
    with checkpointer._changed:
        assert checkpointer._changed.wait_for(lambda: len(checkpointer._free) == 2, timeout=60)

    def refuse(*_: object) -> None:
        raise AssertionError("memory was made in the training thread")

    monkeypatch.setattr(Arena, "_allocate", refuse)
    state = {"model_state_dict": model.state_dict(), "optimizer_state_dict": optimizer.state_dict()}
    assert save(checkpointer, 1, (BEST,), **state)
    assert save(checkpointer, 2, ("checkpoint_epoch_2.pt",), **state)
    checkpointer.close()
    tensors: list[torch.Tensor] = []
    split(state, tensors)
    assert size < 1.5 * sum(tensor.nbytes for tensor in tensors) + 200_000
