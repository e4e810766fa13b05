"""What a recorded quantity is called, where it belongs in the list of all, and how its values read."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tui_trainer.session.wording import clean_text, format_metric, format_number, format_rate, is_share

METRICS, TRAINING, MACHINE = "Losses and metrics", "Training", "Machine"
GROUPS = (METRICS, TRAINING, MACHINE)  # then the side files, by name


@dataclass(frozen=True, slots=True)
class Quantity:
    """The words for one chart. `share`: values between 0 and 1 are shown in percent. `unit` follows the value."""

    title: str
    group: str
    unit: str = ""
    share: bool = False


_KNOWN = {
    "loss": Quantity("Loss", METRICS),
    "grad_norm": Quantity("Gradient norm", TRAINING),
    "learning_rate": Quantity("Learning rate", TRAINING),
    "samples_per_second": Quantity("Samples per second", TRAINING),
    "data_wait": Quantity("Data wait", TRAINING, share=True),
    "epoch_time": Quantity("Epoch time", TRAINING, " s"),
    "gpu_util": Quantity("GPU utilization, mean of the epoch", MACHINE, " %"),
    "cpu": Quantity("CPU utilization", MACHINE, " %"),
    "ram": Quantity("RAM in use", MACHINE, " GB"),
    "process_memory": Quantity("Memory of this process", MACHINE, " GB"),
    "disk_free": Quantity("Disk left", MACHINE, " GB"),
}
_GPU = {
    "util": ("utilization", " %"),
    "memory": ("memory", " GB"),
    "temperature": ("temperature", " °C"),
    "power": ("power", " W"),
}
_GPU_NAME = re.compile(r"gpu(\d+)\.(\w+)")
_SIDE_FILES = {
    "gradient_stats": "Gradient norm by layer",
    "loss_components": "Loss components",
    "feature_stats": "Features",
    "activation_stats": "Activations by layer",
    "prediction_stats": "Predictions by class",
}
SIDE_WORDS = {"batch": "each batch", "train": "train", "val": "validation", "": ""}


def quantity(chart: str) -> Quantity:
    """The words for `chart`, whose name may come from a user's config."""
    if chart in _KNOWN:
        return _KNOWN[chart]
    if (found := _GPU_NAME.fullmatch(chart)) and found[2] in _GPU:
        words, unit = _GPU[found[2]]
        return Quantity(f"GPU {found[1]} {words}", MACHINE, unit)
    series, slash, column = chart.partition("/")
    if slash:
        group = _SIDE_FILES.get(series) or sentence(series)
        return Quantity(clean_text(column, limit=120), group)
    return Quantity(sentence(chart), METRICS, share=is_share(chart))


def sentence(name: str) -> str:
    """A name of code as a title: "accuracy" → "Accuracy", "macro_f1" → "Macro f1"."""
    words = clean_text(name, limit=120).replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def value_text(chart: str, value: float) -> str:
    """A value of `chart` as recorded, to five digits."""
    if chart == "learning_rate":
        return format_rate(value)
    words = quantity(chart)
    if words.share:
        return format_metric("accuracy" if chart == "data_wait" else chart, value)
    text = format_number(value, 5)
    return text + words.unit


def group_order(group: str) -> tuple[int, str]:
    """Sorts the groups: metrics, training, machine, then the side files by name."""
    return (GROUPS.index(group) if group in GROUPS else len(GROUPS), group)
