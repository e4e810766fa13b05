"""What is good enough, and the search for something better (phase 4)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from tui_trainer.config.plain import plain_value
from tui_trainer.config.section import LARGEST_COUNT, Args, Section, TargetConfig, Text, setting


class TargetsConfig(Section):
    """A bound on a metric: exactly one of at_least and at_most."""

    metric: Text
    """Column of the metric log that is judged, such as val_accuracy."""
    at_least: float | None = setting(None)
    """Reached when the metric is at least this (accuracy as a fraction, not in percent)."""
    at_most: float | None = setting(None)
    """Reached when the metric is at most this."""

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("must give either at_least or at_most, and not both")
        return self


Bounds = Annotated[list[float], Field(min_length=2, max_length=2)]
WholeBounds = Annotated[list[int], Field(min_length=2, max_length=2)]


class SearchDimension(Section):
    """The values that one setting may take: exactly one of the five kinds, written as `kind: values`."""

    uniform: Bounds | None = setting(None)
    """[low, high]: any number between, all equally likely."""
    log_uniform: Bounds | None = setting(None)
    """[low, high], both above 0: any number between, all orders of magnitude equally likely."""
    integer: WholeBounds | None = Field(None, alias="int")
    """[low, high]: any whole number between, both included."""
    log_integer: WholeBounds | None = Field(None, alias="log_int")
    """[low, high], both above 0: whole numbers, all orders of magnitude equally likely."""
    categorical: list[Any] | None = setting(None, min_length=1)
    """The values to choose from."""
    step: float | None = setting(None, gt=0)
    """Distance between neighbouring values of `uniform` and `int`. Default: null, none for uniform, 1 for
    int."""
    when: dict[Text, Any] | None = setting(None, min_length=1)
    """Search this setting only where others of the space have these values (one value, or a list of several),
    by their keys. Default: null, always."""

    @model_validator(mode="after")
    def _one_sound_kind(self) -> Self:
        kinds = {
            "uniform": self.uniform,
            "log_uniform": self.log_uniform,
            "int": self.integer,
            "log_int": self.log_integer,
            "categorical": self.categorical,
        }
        given = [(kind, values) for kind, values in kinds.items() if values is not None]
        if len(given) != 1:
            raise ValueError(f"must give exactly one of {', '.join(kinds)}, not {len(given)} of them")
        kind, values = given[0]
        plain_value([values, self.when])
        if self.step is not None and kind not in {"uniform", "int"}:
            raise ValueError(f"cannot have a step, because its kind is {kind}")
        if kind == "categorical":
            if any(value in values[:position] for position, value in enumerate(values)):
                raise ValueError("must not name a value twice under categorical")
            return self
        low, high = values
        if low >= high:
            raise ValueError(f"must have its low bound first and below the high one, not [{low}, {high}]")
        if kind.startswith("log_") and low <= 0:
            raise ValueError(f"must have bounds above 0 for {kind}, not {low}")
        if self.step is not None and (
            self.step > high - low or (kind == "int" and self.step != int(self.step))
        ):
            raise ValueError(f"must have a step that fits between {low} and {high}, not {self.step}")
        return self


class ObjectiveConfig(Section):
    """A value that the search improves."""

    metric: Text = setting("val_loss")
    """Column of the metric log, or `parameters`, `latency_ms`. Default: val_loss."""
    direction: Literal["minimize", "maximize"] = setting("minimize")
    """Whether lower (default) or higher values are better."""


class SamplerConfig(TargetConfig):
    """How the next values are chosen."""

    target: Text = setting("tpe")
    """tpe (default), random, grid, gp, cmaes, qmc, or an import path."""
    args: Args = setting({})
    """Keyword arguments for the sampler."""


class PrunerConfig(TargetConfig):
    """When a trial is given up early."""

    target: Text = setting("median")
    """median (default), successive_halving, hyperband, wilcoxon, patient, none, or an import path."""
    args: Args = setting({})
    """Keyword arguments for the pruner."""


class StudyConfig(Section):
    """The search of phase 4: what is varied, how values are chosen, and what it may cost."""

    space: dict[Text, SearchDimension] = setting(min_length=1)
    """What is varied: the key of a setting, as in `optimizer.learning_rate`, and its values, as in
    `{log_uniform: [1e-5, 1e-1]}`."""
    objectives: list[ObjectiveConfig] = Field(
        default_factory=lambda: [ObjectiveConfig()],
        min_length=1,
        json_schema_extra={"default": [{"metric": "val_loss", "direction": "minimize"}]},
    )
    """What is improved; with several, the best compromises are kept. Default: val_loss, minimized."""
    constraints: list[TargetsConfig] = setting([])
    """Bounds that an acceptable trial keeps. Default: none."""
    sampler: SamplerConfig = Field(default_factory=SamplerConfig)
    """How the next values are chosen."""
    pruner: PrunerConfig = Field(default_factory=PrunerConfig)
    """When a trial is given up early."""
    seed: int | None = setting(None, ge=0, le=2**32 - 1)
    """Seed of the search itself. Default: null, the run's seed."""
    trials: int = setting(30, ge=1, le=LARGEST_COUNT)
    """Trials to finish. Default: 30."""
    timeout_minutes: float | None = setting(None, gt=0)
    """Minutes after which no further trial starts. Default: null, no limit."""
    epochs_per_trial: int | None = setting(None, ge=1, le=LARGEST_COUNT)
    """Epochs of one trial. Default: null, training.epochs."""
    n_jobs: int = setting(1, ge=1, le=1024)
    """Trials that run at the same time on this machine. Default: 1."""
    gpus_per_trial: float = setting(1.0, ge=0, le=1024)
    """GPUs for each trial; 0.5 lets two share one. Ignored without GPUs. Default: 1."""
    storage: Text | None = setting(None)
    """Where trials are recorded: the path of a journal file, or a database URL that several machines share.
    Default: null, a journal file in the study's folder."""
    best_n: int = setting(3, ge=1, le=1000)
    """How many of the best settings are trained again on several seeds. Default: 3."""
    seeds: int = setting(3, ge=1, le=1000)
    """Seeds that each of them, and the baseline, is trained on. Default: 3."""
    max_iterations: int = setting(3, ge=1, le=1000)
    """Searches in a row while the target is missed but still comes nearer. Default: 3."""

    @model_validator(mode="after")
    def _conditions_name_other_dimensions(self) -> Self:
        for key, dimension in self.space.items():
            for other in dimension.when or {}:
                if other == key or other not in self.space:
                    raise ValueError(
                        f"has a space in which {key} depends (when) on {other}, which is no other key of it"
                    )
        return self
