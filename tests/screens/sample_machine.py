"""Readings of machines that nobody has: one GPU, eight, none, and some that fail."""

from __future__ import annotations

import math

import sample_run as sample

from tui_trainer.engine.events import ResourceSampled
from tui_trainer.screens.view import RunView, advance_all

GIB = 2**30


def gpu(index=0, second=0, **changes):
    values = {
        "index": index,
        "name": "NVIDIA H200",
        "ours": index == 0,
        "util": 50 + 45 * math.sin(second / 9 + index),
        "memory_util": 31.0,
        "memory_used": int((8.1 + index + min(1, second / 60)) * GIB),
        "memory_total": 140 * GIB,
        "temperature": 61 - index,
        "power": 412.0 + index,
        "power_limit": 700.0,
        "clock": 1980,
        "processes": ({"pid": 4123, "name": "python", "memory": 8 * GIB, "ours": True},),
    }
    return values | changes


def reading(second=0, gpus=(), note="", **changes):
    values = {
        "time": sample.START + 16 - 120 + second,
        "cpu_percent": 30 + 25 * math.sin(second / 7),
        "process_cpu": 12.4,
        "ram_used": int(12.4 * GIB),
        "ram_total": 64 * GIB,
        "process_rss": int(3.1 * GIB),
        "disk_free": 41_000_000_000,
        "gpus": tuple(gpus),
        "gpu_note": note,
    }
    return ResourceSampled(**(values | changes))


def readings(count=1, note="", seconds=120, **changes):
    return [
        reading(second, [gpu(k, second, **changes) for k in range(count)], note) for second in range(seconds)
    ]


def view_with(samples):
    return advance_all(RunView(), [*sample.events(20, until_step=700), *samples])


def failing():
    """Two GPUs, of which the run's own is lost after a minute and a half."""
    samples = readings(2)
    lost = {"util": None, "memory_used": None, "temperature": None, "power": None, "error": "GPU is lost"}
    return [
        item if second < 90 else reading(second, [gpu(0, second, **lost), gpu(1, second)])
        for second, item in enumerate(samples)
    ]


MACHINES = {
    "one": readings(1),
    "none": readings(0, note="no NVIDIA driver"),
    "eight": readings(8),
    "failing": failing(),
    "unused": readings(1, note="torch 2.13.0 is built without CUDA", ours=False),
}
