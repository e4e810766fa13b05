"""What a run says while it goes: small frozen records, the only thing that leaves the trainer.

`events.jsonl` is these, one JSON object a line. `encode`/`decode` are inverses; non-finite numbers travel as the
strings "NaN", "Infinity", "-Infinity". Every line ends with a CRC of what stands before it, so that a damaged
line is known as such.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

Severity = Literal["info", "warning", "critical"]
Status = Literal[
    "running", "paused", "completed", "early_stopped", "stopped", "failed", "interrupted", "died"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events. `time` is seconds since the Unix epoch, written as UTC ISO-8601."""

    kind: ClassVar[str] = "event"
    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """What is about to be trained, for screens and logs. Only notes on how the attempt came about precede it.

    `facts` holds display strings in order, by log section: {"DATA": ["Train dataset: 1437 samples", …], …}.
    `fixed_length`: the schedule is laid out for `epochs`, which cannot become more. `context`: what diagnostics know
    of data and model beforehand, see `diagnostics.facts.RunFacts`.
    """

    kind: ClassVar[str] = "run_started"
    run_id: str
    name: str
    mode: str
    attempt: int
    epochs: int
    steps_per_epoch: int
    batch_size: int
    device: str
    parameters: int
    metrics: tuple[str, ...]
    monitor: str
    monitor_mode: str
    facts: dict[str, list[str]]
    fixed_length: bool = False
    context: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(Event):
    """Training goes on from a checkpoint; later events of the attempts before are superseded.

    Comes first in an attempt that the running session itself began by rolling back. `epochs`: how many are planned.
    """

    kind: ClassVar[str] = "resumed"
    attempt: int
    epoch: int
    step: int
    checkpoint: str
    epochs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochStarted(Event):
    """Epoch `epoch` (from 1) begins at optimizer step `step`."""

    kind: ClassVar[str] = "epoch_started"
    epoch: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLogged(Event):
    """State after optimizer step `step` (from 1, over the run), every `monitoring.log_every_n_steps`.

    `loss` is the raw loss of that step's last batch; `grad_norm` the global L2 norm before clipping, None where
    it was not measured. `step_in_epoch` counts from 1 to `RunStarted.steps_per_epoch`.
    """

    kind: ClassVar[str] = "step"
    epoch: int
    step: int
    step_in_epoch: int
    loss: float
    learning_rate: float
    grad_norm: float | None
    samples_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NonFiniteSkipped(Event):
    """A batch whose loss or gradient was not finite; no optimizer step was taken on it.

    `parameter` names the first parameter with a non-finite gradient, where one was. `consecutive` counts skips
    in a row. `batch_rows` are the samples' positions in the training split (at most 64). `bad_data` says which of them
    hold NaN or infinity themselves: {} where none does, or where it is not known, else `places` (inputs, targets or an
    item's key), `rows` (positions in the training split), `source_rows` (the same in the data's own counting, by
    `row_name`) and `columns` (names of features, for flat inputs). `overflows`: fp16 back-offs so far, which are
    routine and no skips.
    """

    kind: ClassVar[str] = "non_finite"
    epoch: int
    step: int
    loss: float
    parameter: str | None
    consecutive: int
    batch_rows: tuple[int, ...]
    bad_data: dict[str, Any] = field(default_factory=dict)
    overflows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated(Event):
    """A validation inside an epoch (`training.validate_every_n_steps`). Keys as in the CSV: `val_loss`, …"""

    kind: ClassVar[str] = "validated"
    epoch: int
    step: int
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochFinished(Event):
    """One row of `epoch_metrics.csv`, and what the log says beside it.

    `metrics` keys: train_loss, val_loss, train_<metric>, val_<metric>. `learning_rate` is the one the epoch was
    trained with; `lr_reduced` says that it had fallen since the epoch before, `lr_set` that somebody had set it in
    this epoch (it is then not called reduced). `data_wait` is the share of the epoch spent waiting for batches (0–1).
    `epoch_time` in seconds. `gpu_util` in percent, None without a GPU.
    """

    kind: ClassVar[str] = "epoch_finished"
    epoch: int
    step: int
    metrics: dict[str, float]
    learning_rate: float
    lr_reduced: bool
    lr_set: bool = False
    grad_norm: float | None
    epoch_time: float
    samples_per_second: float
    data_wait: float
    gpu_util: float | None
    is_best: bool
    best_epoch: int
    best_value: float
    epochs_without_improvement: int
    checkpoints: tuple[str, ...]


ACTIVATIONS, PREDICTIONS = "activation_stats", "prediction_stats"
"""Series that are measured in some epochs only (`engine.probes`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRow(Event):
    """One row of a side file: `gradient_stats`, `loss_components`, `feature_stats`, a probe, or a user's statistic."""

    kind: ClassVar[str] = "row"
    series: str
    epoch: int
    step: int
    row: dict[str, float | int | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved(Event):
    """These files now hold the state after `step` and are safe on disk."""

    kind: ClassVar[str] = "checkpoint_saved"
    files: tuple[str, ...]
    epoch: int
    step: int
    size_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFailed(Event):
    """These files could not be written; what stood there before still stands."""

    kind: ClassVar[str] = "checkpoint_failed"
    files: tuple[str, ...]
    epoch: int
    step: int
    reason: str


GPU_LASTING = ("name", "ours", "memory_total", "power_limit", "processes")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceSampled(Event):
    """The machine at one moment. Percentages 0–100, memory in bytes; None or empty where there is no such thing.

    `process_cpu` is this process's part of `cpu_percent`; `ram_limited`: the memory is what a container may use.
    `gpus`: one mapping a device, see `telemetry.gpu.GpuGauge.read`; what is missing of `GPU_LASTING` is as in the
    sample before. `gpu_note`: why there are no GPUs, or no values of them, or why the run uses none.
    """

    kind: ClassVar[str] = "resources"
    cpu_percent: float | None
    ram_used: int | None
    ram_total: int | None
    process_rss: int | None
    disk_free: int | None
    gpus: tuple[dict[str, Any], ...]
    process_cpu: float | None = None
    ram_limited: bool = False
    gpu_note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryShortage(Event):
    """Memory ran out in step `step`, or in a validation after it, and the batch is tried again in smaller pieces.

    `micro_batch`: samples at a time that were too many, `next_micro_batch` those of the next try; None: there is none,
    and the run fails. `requested`: the size asked for, as far as known. `allocated`, `reserved`, `total`: bytes of a
    CUDA device in tensors, kept by PyTorch with them, and in all.
    """

    kind: ClassVar[str] = "memory_shortage"
    epoch: int
    step: int
    phase: Literal["training", "validation"]
    micro_batch: int
    next_micro_batch: int | None
    requested: str
    device: str
    allocated: int | None = None
    reserved: int | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosticRaised(Event):
    """A problem with its evidence, as one line of `diagnostics.jsonl` (DESIGN §3)."""

    kind: ClassVar[str] = "diagnostic"
    id: str
    code: str
    severity: Severity
    epoch: int
    step: int
    message: str
    evidence: dict[str, Any] = field(default_factory=dict)
    fixes: tuple[dict[str, Any], ...] = ()
    applied: str | None = None
    playbook: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FixApplied(Event):
    """A fix changed the run: it goes on under another config, as attempt `attempt`, from `checkpoint`.

    `epoch`, `step`: where the run stood when the fix was applied; `to_step`: where it goes on. `config_diff`: old and
    new value by dotted key. `automatic`: nobody was asked. `undone`: a fix was taken back, and `fix` names that one.
    """

    kind: ClassVar[str] = "fix_applied"
    diagnostic: str
    fix: str
    title: str
    epoch: int
    step: int
    to_step: int
    checkpoint: str
    attempt: int
    config_diff: dict[str, Any] = field(default_factory=dict)
    automatic: bool = False
    undone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandHandled(Event):
    """The answer to a command: what it did at which step, or why it was refused."""

    kind: ClassVar[str] = "command"
    command: str
    accepted: bool
    epoch: int
    step: int
    message: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine(Event):
    """Text for people, from us or from the user's code. Never markup."""

    kind: ClassVar[str] = "log"
    level: Literal["debug", "info", "warning", "error"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """The last event of an attempt. `summary` is `summary.json`'s content."""

    kind: ClassVar[str] = "run_finished"
    status: Status
    message: str
    summary: dict[str, Any] = field(default_factory=dict)


KINDS: Mapping[str, type[Event]] = {
    cls.kind: cls
    for cls in (
        RunStarted, Resumed, EpochStarted, StepLogged, NonFiniteSkipped, Validated, EpochFinished, SeriesRow,
        CheckpointSaved, CheckpointFailed, ResourceSampled, MemoryShortage, DiagnosticRaised, FixApplied,
        CommandHandled, LogLine, RunFinished,
    )
}  # fmt: skip

_NAMES = {
    kind: tuple(item.name for item in fields(cls) if item.name != "time") for kind, cls in KINDS.items()
}
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)
_FLOAT_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def json_safe(value: Any) -> Any:
    """`value` with tuples as lists and non-finite floats as words, ready for strict JSON."""
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(item) for item in value]
    return value


def from_json_number(value: Any) -> Any:
    """The float that a JSON word stands for; anything else as it is."""
    return _FLOAT_WORDS.get(value, value) if isinstance(value, str) else value


def iso_time(seconds: float) -> str:
    """UTC ISO-8601 with milliseconds, as written in all files."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def encode(event: Event) -> str:
    """One line of `events.jsonl`, without the newline: JSON whose last key is the CRC-32 of what precedes it."""
    content: dict[str, Any] = {"kind": event.kind, "time": iso_time(event.time)}
    for name in _NAMES[event.kind]:
        content[name] = getattr(event, name)
    try:
        text = _ENCODER.encode(content)
    except (ValueError, TypeError):  # something in it is not finite, or no key of JSON
        text = _ENCODER.encode(json_safe(content))
    body = text[:-1].encode("utf-8", "replace")  # a lone surrogate of foreign text becomes a question mark
    return f'{body.decode()},"crc":"{zlib.crc32(body):08x}"}}'


def decode(line: str | bytes) -> Event | None:
    """The event of one line; None when the line is torn, damaged, or of a kind this version does not know."""
    raw = line if isinstance(line, bytes) else line.encode("utf-8", "surrogatepass")
    body, mark, tail = raw.rstrip(b"\n").rpartition(b',"crc":"')
    if not mark or tail[8:] != b'"}' or b"%08x" % zlib.crc32(body) != tail[:8]:
        return None
    try:
        return _revived(json.loads(body.decode() + "}"))
    except (ValueError, TypeError, KeyError):  # an older or newer version's idea of this kind
        return None


def _revived(content: dict[str, Any]) -> Event | None:
    form = _FORMS.get(content["kind"])
    if form is None:
        return None
    values = {name: value for name, value in content.items() if name in form}
    for name, restore in form.items():
        if restore is not None and name in values:
            values[name] = restore(values[name])
    values["time"] = datetime.fromisoformat(content["time"]).timestamp()
    return KINDS[content["kind"]](**values)


def _from_json_numbers(content: dict[str, Any]) -> dict[str, Any]:
    return {key: from_json_number(item) for key, item in content.items()}


def _restorer(annotation: str) -> Callable[[Any], Any] | None:
    """What makes a field's value again of what JSON made of it; None where they are the same."""
    if annotation.startswith("float"):
        return from_json_number
    if annotation.startswith("dict[str, float"):
        return _from_json_numbers
    return tuple if annotation.startswith("tuple") else None


_FORMS = {
    kind: {item.name: _restorer(str(item.type)) for item in fields(cls) if item.name != "time"}
    for kind, cls in KINDS.items()
}
