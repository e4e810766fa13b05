"""Runs to draw charts of: one with everything recorded, one that misbehaves, folders of earlier ones."""

from __future__ import annotations

import math

import sample_run as sample

from tui_trainer.engine.events import ResourceSampled, SeriesRow, encode
from tui_trainer.screens.view import RunView, advance_all

LAYER = "features.denseblock3.denselayer24.norm2.weight"
LONG = "mean_absolute_percentage_error"  # 30 characters


def everything(**changes):
    """700 steps with per-layer norms, loss components, gauges, a long metric name."""
    metrics = ("accuracy", LONG)
    for event in sample.events(20, until_step=700):
        if event.kind == "run_started":
            yield sample.started(metrics=metrics, **changes)
            continue
        if event.kind == "epoch_finished":
            yield from _rows(event)
            more = {f"train_{LONG}": 40 / event.epoch, f"val_{LONG}": 50 / event.epoch}
            yield sample.epoch_finished(event.epoch, metrics=event.metrics | more, gpu_util=71.0)
            continue
        yield event


def _rows(event):
    for series, row in (
        ("gradient_stats", {"total_grad_norm": 1 / event.epoch, LAYER: 0.3 / event.epoch}),
        ("loss_components", {"phase": "train", "loss_box": 1 / event.epoch}),
        ("loss_components", {"phase": "val", "loss_box": 1.2 / event.epoch}),
        ("feature_stats", {"phase": "val", "feature_name": "age", "mean": 41.5}),
    ):
        content = {"epoch": event.epoch} | row
        yield SeriesRow(time=event.time, series=series, epoch=event.epoch, step=event.step, row=content)
    gpu = {"index": 0, "util": 70.0 + event.epoch, "memory_used": 8e9, "temperature": 61.0, "power": None}
    yield ResourceSampled(
        time=event.time, cpu_percent=50.0, ram_used=4 * 10**9, ram_total=8 * 10**9, process_rss=10**9,
        disk_free=4 * 10**10, gpus=(gpu,),
    )  # fmt: skip


def troubled():
    """700 steps: a skipped batch, a gradient norm that is NaN once and enormous twice."""
    for event in sample.events(20, until_step=700, broken=True):
        if event.kind == "step":
            wobble = 1 + 0.1 * math.sin(event.step * 1.3)
            norm = math.nan if event.step == 250 else 400.0 if event.step in (300, 500) else wobble
            yield sample.step(event.step, grad_norm=norm, loss=event.loss * wobble)
        elif event.kind != "diagnostic":  # its panel has pictures of its own
            yield event


def view_of(events):
    return advance_all(RunView(), events)


def write_run(folder, factor, *, epochs=20):
    """The folder of an earlier run whose losses were `factor` times the sample's."""
    folder.mkdir(parents=True)
    lines = [encode(sample.started(name=folder.name))]
    rows = ["epoch,train_loss,val_loss,val_accuracy,epoch_time"]
    for number in range(1, epochs + 1):
        metrics = sample.epoch_finished(number).metrics
        rows.append(
            f"{number},{metrics['train_loss'] * factor},{metrics['val_loss'] * factor},"
            f"{metrics['val_accuracy'] / factor},2.0"
        )
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "epoch_metrics.csv").write_text("\n".join(rows) + "\n")
    return folder
