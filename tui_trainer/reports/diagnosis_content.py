"""What a diagnosis of a run holds: the content of `diagnostic_report.json`, which report, screen and gate read.

Shares (accuracy, gaps, data wait) are fractions; times are seconds; epochs count from 1. None: not known.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tui_trainer.engine.events import json_safe

CurveVerdict = Literal["none", "too_short", "diverging", "improving", "converged", "plateau"]
FitVerdict = Literal["unknown", "overfitting", "underfitting", "good"]
Decision = Literal["deploy", "optimize", "debug"]
IssueCode = Literal[
    "failed", "non_finite", "flat", "overfitting", "underfitting", "data_quality", "resource", "critical",
    "target_met", "improvement",
]  # fmt: skip
NO_CHECKPOINT = "The run has no checkpoint that could be loaded."


@dataclass(frozen=True, slots=True)
class Gap:
    """How much better training is than validation in `metric`. `opened`: the first epoch from which on the gap was
    always above half of what it is in the end; None where it is small."""

    metric: str
    final: float
    at_best: float | None
    largest: float
    largest_epoch: int
    opened: int | None


@dataclass(frozen=True, slots=True)
class Curves:
    """The learning curves. `fall` of a loss: the share of its first value by which the last is lower.

    `late_gain`: by what share of its first value the lowest validation loss of the last third is below the lowest
    before (`late_from`: the epoch with which that third begins). `spread`: standard deviation of `val_<spread_metric>`
    over the last third.
    """

    verdict: CurveVerdict
    reason: str
    epochs: int = 0
    planned: int | None = None
    monitor: str = ""
    best_epoch: int | None = None
    best_value: float | None = None
    final_value: float | None = None
    wasted_epochs: int | None = None
    wasted_seconds: float | None = None
    train_loss: tuple[float | None, float | None] = (None, None)
    val_loss: tuple[float | None, float | None] = (None, None)
    train_fall: float | None = None
    val_fall: float | None = None
    late_from: int | None = None
    late_gain: float | None = None
    spread_metric: str | None = None
    spread: float | None = None
    gap: Gap | None = None
    non_finite: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Fit:
    """Over- or underfitting. `trivial`: what a predictor without inputs reaches in `val_<metric>`; `simple`: the best
    of those that need no training (a linear model, nearest neighbours)."""

    verdict: FitVerdict
    reason: str
    metric: str | None = None
    train: float | None = None
    val: float | None = None
    trivial: float | None = None
    simple: float | None = None
    simple_name: str = ""
    target: str = ""
    target_met: bool | None = None
    short_of_target: float | None = None


@dataclass(frozen=True, slots=True)
class LayerGradient:
    """The gradient norm of one parameter over the epochs."""

    name: str
    first: float | None
    last: float | None
    median: float | None
    smallest: float | None
    largest: float | None
    verdict: Literal["ok", "small", "zero", "large", "non_finite"]


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Gradient norms as a picture takes them: `values[layer][epoch]`, at most so many layers and epochs that it can be
    read."""

    layers: tuple[str, ...]
    epochs: tuple[int, ...]
    values: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True, slots=True)
class Gradients:
    """Gradient health by layer. `ratio`: the largest norm among the first third of the weights over that of the last
    third, in the last epoch."""

    verdict: Literal["unknown", "healthy", "vanishing", "exploding", "uneven"]
    reason: str
    epochs: int = 0
    total_first: float | None = None
    total_last: float | None = None
    total_largest: float | None = None
    ratio: float | None = None
    layers: tuple[LayerGradient, ...] = ()
    heat_map: HeatMap | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """What the machine did. `spread`: the largest deviation of an epoch's time from the median, the first epoch left
    out. `memory`: the largest resident size of the process, `gpu_memory`: what it held of its GPU at most, bytes."""

    bottleneck: Literal["data", "gpu", "cpu", "ram", "heat"] | None
    reason: str
    device: str | None = None
    duration: float | None = None
    epoch_time: float | None = None
    epoch_shortest: float | None = None
    epoch_longest: float | None = None
    spread: float | None = None
    samples_per_second: float | None = None
    data_wait: float | None = None
    gpu_util: float | None = None
    gpu_hours: float | None = None
    memory: int | None = None
    gpu_memory: int | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A diagnostic of the run, as far as the report tells of it. `open`: no fix was applied."""

    id: str
    code: str
    severity: str
    epoch: int
    message: str
    open: bool
    playbook: str = ""


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What is known of the data. `imbalance`: samples of the most frequent class for each of the rarest."""

    reason: str
    train_samples: int | None = None
    val_samples: int | None = None
    task: str = ""
    classes: int | None = None
    class_counts: tuple[int, ...] = ()
    class_names: tuple[str, ...] = ()
    imbalance: float | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class on the validation set. A score is None where nothing tells: no samples, or never predicted."""

    name: str
    support: int
    predicted: int
    correct: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class Confusion:
    """Samples of one class that were taken for another. `share`: of the samples of that class."""

    target: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class TargetError:
    """Errors (prediction − target) of one column of a regression. `worst_row`: where the largest is."""

    name: str
    mae: float
    rmse: float
    bias: float
    largest: float
    worst_row: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A validation sample. `row`: its place in the source; `confidence`: the probability given to `predicted`."""

    row: int
    target: str
    predicted: str
    loss: float
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Examination:
    """The best checkpoint on the validation set, once more. `why_not`: why that could not be done, else empty.

    `recorded`: the metrics that the checkpoint holds, `measured` the same now. `matrix[target][predicted]`: counts.
    `residuals`: quantiles of prediction − target. `worst`: the samples of the highest loss. `notes`: what was passed
    over.
    """

    why_not: str = ""
    checkpoint: str = ""
    epoch: int | None = None
    task: str = ""
    samples: int = 0
    recorded: dict[str, float] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)
    classes: tuple[ClassScore, ...] = ()
    matrix: tuple[tuple[int, ...], ...] = ()
    pairs: tuple[Confusion, ...] = ()
    never_predicted: tuple[str, ...] = ()
    residuals: dict[str, float] = field(default_factory=dict)
    targets: tuple[TargetError, ...] = ()
    worst: tuple[Sample, ...] = ()
    row_name: str = "row"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Issue:
    """The primary issue: what to do something about first."""

    code: IssueCode
    title: str
    summary: str


@dataclass(frozen=True, slots=True)
class Symptom:
    """One of the signs of an issue. `found`: what this run shows. `source`: the file that the numbers are from."""

    sign: str
    matched: bool
    found: str
    source: str


@dataclass(frozen=True, slots=True)
class Cause:
    """What may lie behind the issue. `evidence`: what speaks for it in this run; empty: nothing does, or against."""

    text: str
    likelihood: Literal["likely", "possible"]
    evidence: str


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One change worth a run. `changes`: old and new value by dotted config key. `why`: the diagnostic that offers it,
    or what of the analysis speaks for it."""

    id: str
    title: str
    effect: str
    impact: Literal["high", "medium", "low"]
    effort: str
    risk: str
    gain: str
    why: str
    changes: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Change:
    """One key of the previewed config. NEW: nothing stood there before."""

    key: str
    mark: Literal["NEW", "CHANGED"]
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Preview:
    """The config proposed for phase 4. `text`: as YAML with its marks; empty with an `error` where there is none.

    `left_out`: titles of recommendations that do not go together with those before them.
    """

    changes: tuple[Change, ...] = ()
    left_out: tuple[str, ...] = ()
    text: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Waiver:
    """A gate's item that was waved through, and why."""

    gate: str
    item: str
    reason: str


@dataclass(frozen=True, slots=True)
class PhaseDiagnosis:
    """Everything that phase 3 says about a run. `advice`: what only a person can do. `missing`: files that are not
    there or cannot be read."""

    run: str
    name: str
    status: str
    message: str
    missing: tuple[str, ...]
    issue: Issue
    symptoms: tuple[Symptom, ...]
    causes: tuple[Cause, ...]
    recommendations: tuple[Recommendation, ...]
    advice: tuple[str, ...]
    preview: Preview
    decision: Decision
    reasons: tuple[str, ...]
    curves: Curves
    fit: Fit
    gradients: Gradients
    profile: Profile
    data: DataFacts
    examination: Examination
    problems: tuple[Problem, ...]
    waivers: tuple[Waiver, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; non-finite numbers as words."""
        content: dict[str, Any] = json_safe(asdict(self))
        return content
