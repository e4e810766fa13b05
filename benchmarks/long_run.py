"""A run of any length that nobody trained, written as the recorder writes it."""

from __future__ import annotations

import json
import math
import random
from typing import TYPE_CHECKING

from tui_trainer.engine import events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = 1_760_000_000.0
STEPS_PER_EPOCH, STEPS_A_SECOND, LOGGED_EVERY = 1000, 250.0, 10
SPIKE, BROKEN = 0.6, 0.4  # where, as a share of the run
SPIKE_LOSS = 1000.0


def write_run(folder: Path, steps: int) -> None:
    """A finished run of `steps` steps: `events.jsonl` and `run.json`. One batch has a huge loss, one none at all."""
    folder.mkdir(parents=True)
    with (folder / "events.jsonl").open("w", encoding="utf-8") as stream:
        for event in run_events(steps):
            stream.write(events.encode(event) + "\n")
    record = {"id": "long", "name": "long", "mode": "baseline", "status": "completed",
              "attempts": [{"number": 1, "started": events.iso_time(START), "status": "completed"}]}  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record))


def run_events(steps: int) -> Iterator[events.Event]:
    """Steps logged every ten, an epoch's row, layer norms and checkpoint every thousand, a machine sample a second."""
    noise = random.Random(0)  # noqa: S311 (a curve, not a key)
    epochs = max(1, steps // STEPS_PER_EPOCH)
    spike, broken = (round(steps * share / 10) * 10 for share in (SPIKE, BROKEN))
    yield events.RunStarted(
        time=START, run_id="long", name="long", mode="baseline", attempt=1, epochs=epochs,
        steps_per_epoch=STEPS_PER_EPOCH, batch_size=32, device="cuda:0", parameters=11_000_000,
        metrics=("accuracy",), monitor="val_loss", monitor_mode="min", facts={"DATA": ["generated"]},
    )  # fmt: skip
    for step in range(1, steps + 1):
        now = START + step / STEPS_A_SECOND
        epoch = (step - 1) // STEPS_PER_EPOCH + 1
        if step % STEPS_PER_EPOCH == 1:
            yield events.EpochStarted(time=now, epoch=epoch, step=step - 1)
        if step % STEPS_A_SECOND == 0:
            yield events.ResourceSampled(
                time=now, cpu_percent=51.2, ram_used=9_000_000_000, ram_total=32_000_000_000,
                process_rss=2_000_000_000, disk_free=41_000_000_000,
                gpus=({"index": 0, "name": "H200", "util": 74.0, "memory_used": 8_100_000_000,
                       "memory_total": 141_000_000_000, "temperature": 61, "power": 212.0},),
            )  # fmt: skip
        loss = 0.1 + 2.2 * math.exp(-3 * step / steps) * (1 + 0.2 * noise.random())
        if step == broken:
            yield events.NonFiniteSkipped(time=now, epoch=epoch, step=step, loss=math.nan, parameter="a.weight",
                                          consecutive=1, batch_rows=(1, 2, 3))  # fmt: skip
        if step % LOGGED_EVERY == 0:
            yield events.StepLogged(
                time=now, epoch=epoch, step=step, step_in_epoch=(step - 1) % STEPS_PER_EPOCH + 1,
                loss=math.nan if step == broken else SPIKE_LOSS if step == spike else loss,
                learning_rate=1e-3, grad_norm=0.5 + noise.random(), samples_per_second=8000 + noise.random(),
            )  # fmt: skip
        if step % STEPS_PER_EPOCH == 0:
            yield from _epoch_end(epoch, step, now, loss)
    yield events.RunFinished(time=START + steps / STEPS_A_SECOND, status="completed", message="",
                             summary={"duration_seconds": steps / STEPS_A_SECOND})  # fmt: skip


def _epoch_end(epoch: int, step: int, now: float, loss: float) -> Iterator[events.Event]:
    norms = {f"layer{number}.weight": 0.1 + number for number in range(60)}
    yield events.SeriesRow(
        time=now, series="gradient_stats", epoch=epoch, step=step, row={"epoch": epoch, **norms}
    )
    metrics = {"train_loss": loss, "val_loss": 1.1 * loss, "train_accuracy": 0.9, "val_accuracy": 0.88}
    yield events.EpochFinished(
        time=now, epoch=epoch, step=step, metrics=metrics, learning_rate=1e-3, lr_reduced=False, grad_norm=0.8,
        epoch_time=4.0, samples_per_second=8000.0, data_wait=0.03, gpu_util=74.0, is_best=True, best_epoch=epoch,
        best_value=1.1 * loss, epochs_without_improvement=0, checkpoints=("last_model.pt",),
    )  # fmt: skip
    yield events.CheckpointSaved(time=now, files=("last_model.pt",), epoch=epoch, step=step, size_bytes=134_000_000,
                                 seconds=0.4)  # fmt: skip
