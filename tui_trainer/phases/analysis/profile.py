"""What a run made of its machine and what its data are like, from its files and events."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, Literal, cast

from tui_trainer.diagnostics.curves import finite
from tui_trainer.reports.diagnosis_content import DataFacts, Problem, Profile
from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tui_trainer.reports.run_files import RunFiles
    from tui_trainer.session.diagnosing import Diagnosis

DATA_BOUND = 0.3
"""Share of an epoch spent waiting for data."""
IDLE_GPU = 60.0
"""Percent of GPU utilization below which the GPU is idle for too long (the gate after the baseline asks for that)."""
SHORT_EPOCH = 10.0
"""Seconds: below, waiting costs next to nothing, and utilization says little."""
OF_DATA = ("data_quality", "data_leakage", "class_imbalance")
Bottleneck = Literal["data", "gpu", "cpu", "ram", "heat"]


def read_profile(files: RunFiles, diagnosis: Diagnosis | None, problems: Sequence[Problem]) -> Profile:
    """Times, throughput, load, and the one bottleneck that is worth doing something about."""
    times = finite(value for _, value in files.column("epoch_time"))
    later = times[1:] or times
    wait = _figure(files, "data_wait")
    util = _figure(files, "gpu_util")
    bottleneck, reason = _bottleneck(later, wait, util, diagnosis, problems)
    middle = median(later) if later else None
    samples = [sample for _, sample in diagnosis.history.memory] if diagnosis else []
    held = [gpu.get("memory_used") for sample in samples for gpu in sample.gpus if gpu.get("ours")]
    device = files.summary.get("device") or (diagnosis.facts.device if diagnosis else None)
    return Profile(
        bottleneck,
        reason,
        device=None if device is None else clean_text(device, limit=40),
        duration=files.number("duration_seconds"),
        epoch_time=sum(times) / len(times) if times else None,
        epoch_shortest=min(times, default=None),
        epoch_longest=max(times, default=None),
        spread=max(abs(item - middle) for item in later) / middle if middle and len(later) > 1 else None,
        samples_per_second=_figure(files, "samples_per_second"),
        data_wait=wait,
        gpu_util=util,
        gpu_hours=files.number("gpu_hours"),
        memory=max((item.process_rss for item in samples if item.process_rss is not None), default=None),
        gpu_memory=max((int(item) for item in held if isinstance(item, (int, float))), default=None),
    )


def read_data_facts(diagnosis: Diagnosis | None, problems: Sequence[Problem]) -> DataFacts:
    """What was found wrong with the content of the data, and what the run measured of it before its first step."""
    found = tuple(item for item in problems if item.code in OF_DATA)
    serious = [item for item in found if item.open and item.severity != "info"]
    if serious:
        reason = f"Serious findings: {len(serious)} of {len(found)}."
    elif found:
        reason = f"{len(found)} {'remark' if len(found) == 1 else 'remarks'}, none of them serious."
    else:
        reason = "Nothing was found wrong with the content of the data."
    context: Mapping[str, Any] = diagnosis.facts.context if diagnosis else {}
    counts = tuple(int(item) for item in context.get("class_counts") or ())
    classes = context.get("classes")
    return DataFacts(
        reason=reason,
        train_samples=context.get("train_samples"),
        val_samples=context.get("val_samples"),
        task=str(context.get("task", "")),
        classes=int(classes) if classes else (len(counts) or None),
        class_counts=counts,
        class_names=tuple(clean_text(name, limit=60) for name in context.get("class_names") or ()),
        imbalance=max(counts) / max(1, min(counts)) if counts else None,
        problems=found,
    )


def _figure(files: RunFiles, name: str) -> float | None:
    """The summary's, else the mean over the epochs."""
    value = files.number(name)
    if value is not None:
        return value
    seen = finite(value for _, value in files.column(name))
    return sum(seen) / len(seen) if seen else None


def _bottleneck(
    times: Sequence[float],
    wait: float | None,
    util: float | None,
    diagnosis: Diagnosis | None,
    problems: Sequence[Problem],
) -> tuple[Bottleneck | None, str]:
    told = [
        item
        for item in problems
        if item.code == "resource_inefficiency" and item.open and item.severity != "info"
    ]
    if told:
        return _named(told[0].id, diagnosis), told[0].message
    epoch = median(times) if times else 0.0
    if not times:
        return None, "No epoch was finished: there is nothing to time."
    if epoch < SHORT_EPOCH:
        return None, f"Epochs of {epoch:.2f} s are too short for a bottleneck to matter."
    if wait is not None and wait > DATA_BOUND:
        return (
            "data",
            f"{wait * 100:.0f}% of the time was spent waiting for data (limit {DATA_BOUND * 100:.0f}%).",
        )
    if util is not None and util < IDLE_GPU:
        return "gpu", f"GPU utilization was {util:.0f}% (at least {IDLE_GPU:.0f}% is asked for)."
    return None, "No bottleneck: the time goes into training."


def _named(name: str, diagnosis: Diagnosis | None) -> Bottleneck | None:
    """The bottleneck that a diagnostic of the run names."""
    for event in (*diagnosis.found, *diagnosis.recorded) if diagnosis else ():
        if event.id == name and event.evidence.get("bottleneck") in ("data", "gpu", "cpu", "ram", "heat"):
            return cast("Bottleneck", event.evidence["bottleneck"])
    return "data"
