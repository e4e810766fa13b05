"""What a checkpoint of ResNet18 with Adam (134 MB) costs the training thread, against saving it on the spot."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import ROOT, environment

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 0.2


def random_images(samples: int = 96, size: int = 32) -> Any:
    """Noise, float32[samples, 3, size, size], in ten classes."""
    import torch
    from torch.utils.data import TensorDataset

    return TensorDataset(torch.randn(samples, 3, size, size), torch.arange(samples) % 10)


def main(threads: int, repeats: int) -> bool:
    """Measure in a fresh process; its exit status says whether the limit was kept."""
    command = [sys.executable, "-m", "benchmarks.checkpoint", str(repeats)]
    return subprocess.run(command, cwd=ROOT, env=environment(threads), check=False).returncode == 0


def measure(repeats: int) -> bool:
    """Train one epoch, then save by turns on the spot and as the trainer does."""
    import torch

    from tui_trainer.config.loading import parse_config
    from tui_trainer.engine.checkpoints import LAST, Checkpointer
    from tui_trainer.engine.commands import CommandQueue
    from tui_trainer.engine.parts import assemble, load_data
    from tui_trainer.engine.state import capture
    from tui_trainer.engine.trainer import Trainer
    from tui_trainer.engine.writer_link import WriterLink

    config = parse_config(
        {
            "name": "checkpoint", "device": "cpu", "scheduler": {"target": "none"}, "training": {"epochs": 1},
            "data": {"target": "benchmarks.checkpoint:random_images", "batch_size": 16},
            "model": {"target": "resnet18", "args": {"num_classes": 1000}},
            "checkpoint": {"save_best": False, "save_last": False, "checkpoint_every_n_epochs": None},
        }
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="mltrainer-bench-") as folder:
        parts = assemble(config, load_data(config, ROOT), ROOT)
        link = WriterLink()
        checkpointer = Checkpointer(Path(folder), lambda _: None, link=link)
        trainer = Trainer(
            parts, checkpointer, CommandQueue(), lambda _: None, config_hash="", data_fingerprint=""
        )
        trainer.train()
        entry = {"epoch": 1, "step": trainer.step, "epoch_complete": True, "metrics": {}, "valid": True}

        def ours() -> None:
            checkpointer.save(capture(trainer), trainer.history, [LAST], entry=entry, wait=True)

        def on_the_spot() -> None:
            with (Path(folder) / "synchronous.pt").open("wb") as stream:
                torch.save(capture(trainer), stream)
                stream.flush()
                os.fsync(stream.fileno())

        first = _seconds(ours)
        checkpointer.flush()
        steady, synchronous = [], []
        for _ in range(repeats):
            synchronous.append(_seconds(on_the_spot))
            steady.append(_seconds(ours))
            checkpointer.flush()
        size = (Path(folder) / LAST).stat().st_size
        checkpointer.close()
        link.close()
        parts.close()
    shares = [a / b for a, b in zip(steady, synchronous, strict=True)]
    share = statistics.median(shares)
    print(
        f"A checkpoint of {size / 1e6:.0f} MB costs the training thread {_ms(steady)} (the first one {first * 1e3:.0f} ms);"
    )
    print(
        f"torch.save with fsync {_ms(synchronous)}: {share:.0%} ({min(shares):.0%}–{max(shares):.0%}; limit {LIMIT:.0%})."
    )
    return share <= LIMIT


def _seconds(action: Callable[[], None]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _ms(values: list[float]) -> str:
    return f"{statistics.median(values) * 1e3:.0f} ms ({min(values) * 1e3:.0f}–{max(values) * 1e3:.0f})"


if __name__ == "__main__":
    sys.exit(0 if measure(int(sys.argv[1])) else 1)
