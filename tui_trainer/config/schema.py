"""Every setting of a run, declared once: the YAML keys, their types, ranges, defaults and help texts.

The docstring under a field is its help: in the planning form, in error messages, in `configs/README.md`. A
field marked `affects_results=False` (on a section: all of its fields) can change without changing what is
trained; gates and resuming hash only the others (see `hashing`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, field_validator, model_validator

from tui_trainer.config.gate_items import signatures, waivers
from tui_trainer.config.section import (
    LARGEST_COUNT,
    Args,
    Mode,
    Section,
    TargetConfig,
    TargetRef,
    Text,
    section,
    setting,
    target_of,
)
from tui_trainer.config.study import (
    ObjectiveConfig,
    PrunerConfig,
    SamplerConfig,
    SearchDimension,
    StudyConfig,
    TargetsConfig,
)

TaskName = Literal["auto", "classification", "binary", "multilabel", "regression"]


class MetricConfig(TargetConfig):
    """A metric with arguments, or under a name of one's own."""

    name: Text | None = setting(None)
    """Name in the columns `train_<name>` and `val_<name>`; by default the target's own short name."""


class TransformsConfig(Section):
    """Functions that change a sample as it is fetched."""

    train: TargetRef | None = setting(None)
    """Applied to each training sample, called with the input alone (augmentation); null: none."""
    val: TargetRef | None = setting(None)
    """Applied to each validation and test sample, called with the input alone; null: none."""


class DataConfig(TargetConfig):
    """What is learned from: the data set, how it is divided, how batches are made."""

    target: Text = setting("digits")
    """Data set: digits, breast_cancer, wine, diabetes, table, image_folder, npz, or an import path of a
    function that returns a Dataset, (train, val) or (train, val, test). Default: digits."""
    args: Args = setting({})
    """Keyword arguments for the data target. A relative path in them is seen from the config's folder."""
    task: TaskName = setting("auto")
    """What is predicted: classification, binary, multilabel or regression. auto (default) infers it from the
    targets."""
    val_fraction: float = setting(0.2, ge=0, lt=1)
    """Share of all samples held out for validation, 0 up to below 1; unused where the data target returns its
    own validation set. Default: 0.2."""
    test_fraction: float = setting(0.0, ge=0, lt=1)
    """Share of all samples held out for the one final test, 0 up to below 1; unused where the data target
    returns its own test set. Default: 0."""
    batch_size: int = setting(32, ge=1, le=LARGEST_COUNT)
    """Samples in a batch. Default: 32."""
    num_workers: int = setting(0, ge=0, le=1024, affects_results=False)
    """Processes that load batches beside the training; 0 (default) loads them in the training process."""
    pin_memory: bool | Literal["auto"] = setting("auto", affects_results=False)
    """Keep batches in page-locked memory, for faster copies to a GPU: true, false, or auto (default: when
    training on CUDA)."""
    drop_last: bool = setting(False)
    """Leave out the last training batch of an epoch when it is smaller than batch_size. Default: false."""
    group_by: Text | None = setting(None)
    """Column (or item key) whose equal values stay in the same split, so that related samples cannot leak.
    Default: null, every sample by itself."""
    collate: TargetRef | None = setting(None)
    """Function that turns a list of items into a batch. Default: null, torch's own."""
    transforms: TransformsConfig = section(TransformsConfig)
    """Functions that change a sample as it is fetched."""

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"leaves nothing to train on: val_fraction ({self.val_fraction}) and test_fraction "
                f"({self.test_fraction}) must add up to less than 1"
            )
        return self


class ModelConfig(TargetConfig):
    """What is trained."""

    default_args: ClassVar[Mapping[str, Mapping[str, Any]]] = {"mlp": {"hidden": [128]}}

    target: Text = setting("mlp")
    """Model: linear, mlp, cnn, resnet18, lstm, or an import path of an nn.Module class or factory. Default:
    mlp."""
    args: Args = setting({})
    """Keyword arguments for the model target. Input and output sizes that it leaves open are filled in from
    the data. Default for mlp: one hidden layer of 128."""
    init_from: Text | None = setting(None)
    """File with weights to start from (checkpoint or safetensors), for fine-tuning. Default: null, the
    model's own initialisation."""
    strict: bool = setting(True)
    """Whether the weights of init_from must match the model name by name. Default: true."""
    freeze: list[Text] = setting([])
    """Patterns (as in `encoder.*`) of parameters that are not trained. Default: none."""
    swap: dict[Text, Text] = setting({})
    """Activation modules to put in the place of others, by class name, as in `{ReLU: LeakyReLU}`. Default:
    none."""


class LossConfig(TargetConfig):
    """What is minimised."""

    target: Text | None = setting(None)  # type: ignore[assignment]  # the one target that may be left open
    """Loss: cross_entropy, bce_with_logits, mse, l1, huber, or an import path of a callable (outputs,
    targets) that returns a scalar or a mapping of named parts. Default: null, inferred from the task
    (cross_entropy for classification)."""
    args: Args = setting({})
    """Keyword arguments for the loss target. `weight: balanced` (`pos_weight: balanced` for 0/1 targets) weighs
    each class by how rare it is in the train set."""


class OptimizerConfig(TargetConfig):
    """How weights are changed."""

    target: Text = setting("adam")
    """Optimizer: adam, adamw, sgd, rmsprop, …, or an import path. Default: adam."""
    learning_rate: float = setting(1.0e-3, gt=0)
    """Step size at the start, above 0. Default: 0.001."""
    weight_decay: float = setting(0.0, ge=0)
    """Pull of the weights towards zero, as the optimizer defines it. Default: 0, also for adamw."""
    args: Args = setting({})
    """More keyword arguments for the optimizer (momentum, betas, …)."""


class SchedulerConfig(TargetConfig):
    """How the learning rate changes over the run."""

    default_args: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "reduce_on_plateau": {"patience": 5, "factor": 0.5, "min_lr": 1.0e-6}
    }

    target: Text = setting("reduce_on_plateau")
    """Schedule: none, reduce_on_plateau, step, cosine, one_cycle, linear, …, or an import path. Default:
    reduce_on_plateau, which follows early_stopping.monitor."""
    interval: Literal["epoch", "step"] = setting("epoch")
    """When the schedule advances: after each epoch (default) or after each optimizer step."""
    args: Args = setting({})
    """Keyword arguments for the schedule. Lengths (total_steps, T_max) are filled in from the run. Default
    for reduce_on_plateau: halve after 5 epochs without improvement, down to 1e-6."""

    @model_validator(mode="before")
    @classmethod
    def _null_means_none(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "target" in given and given["target"] is None:
            return {**given, "target": "none"}
        return given


class TrainingConfig(Section):
    """The training loop itself."""

    epochs: int = setting(20, ge=1, le=LARGEST_COUNT)
    """Passes over the training set. Default: 20."""
    validate_every_n_steps: int | None = setting(None, ge=1, le=LARGEST_COUNT)
    """Extra validations inside an epoch, every so many optimizer steps. Default: null, only at the end of
    each epoch."""
    precision: Literal["fp32", "bf16", "fp16"] = setting("fp32")
    """Number format of forward and backward pass: fp32 (default), bf16, or fp16 (with loss scaling). Weights
    stay in fp32."""
    gradient_clip_norm: float | None = setting(None, gt=0)
    """Largest global L2 norm of a gradient; larger ones are scaled down to it. Default: null, no clipping."""
    gradient_accumulation_steps: int = setting(1, ge=1, le=LARGEST_COUNT)
    """Batches whose gradients make one optimizer step, for large effective batches in little memory. Default:
    1."""
    compile: bool = setting(False)
    """Run the model through torch.compile: slow to start, often faster after. Default: false."""


class EarlyStoppingConfig(Section):
    """Ending a run that no longer improves."""

    enabled: bool = setting(True)
    """Whether to stop early at all. Default: true."""
    patience: int = setting(10, ge=1, le=LARGEST_COUNT)
    """Epochs without improvement after which the run ends. Default: 10."""
    monitor: Text = setting("val_loss")
    """Column of the metric log that is watched. Default: val_loss."""
    monitor_mode: Mode = setting("min")
    """Whether lower (min, default) or higher (max) values are better."""
    min_delta: float = setting(0.0, ge=0)
    """Smallest change that counts as an improvement, in units of the monitored value. Default: 0."""


class CheckpointConfig(Section):
    """What is kept on disk while training."""

    save_best: bool = setting(True)
    """Keep the epoch with the best monitored value as best_model.pt. Default: true."""
    save_last: bool = setting(True)
    """Keep the newest state as last_model.pt, from which a run resumes. Default: true."""
    checkpoint_every_n_epochs: int | None = setting(5, ge=1, le=LARGEST_COUNT)
    """Keep checkpoint_epoch_N.pt after every so many epochs; null: none. Default: 5."""
    checkpoint_every_n_minutes: float | None = setting(10.0, gt=0)
    """Renew last_model.pt at least this often, in minutes, also inside an epoch; null: only at the end of
    each epoch. Default: 10."""
    monitor: Text = setting("val_loss")
    """Column of the metric log that decides which epoch is best. Default: val_loss."""
    monitor_mode: Mode = setting("min")
    """Whether lower (min, default) or higher (max) values are better."""
    keep_last_n: int | None = setting(None, ge=1, le=LARGEST_COUNT)
    """How many of the newest checkpoint_epoch_N.pt stay; older ones are deleted. Default: null, all."""
    keep_best_n: int = setting(1, ge=1, le=1000)
    """How many of the best epochs stay on disk: best_model.pt, and the next best as checkpoint_epoch_N.pt.
    Default: 1."""


class DiagnosticsConfig(Section):
    """What happens when a problem is seen."""

    on_trigger: Literal["ask", "report", "fix", "stop"] = setting("ask")
    """ask (default): the app shows the fixes to choose from, a run without the app reports. report: only say
    it. fix: apply the first matching fix. stop: end the run at the first critical problem."""
    thresholds: dict[str, dict[str, float]] = setting({})
    """Other thresholds for a diagnostic, by its code and the threshold's name, as in
    `{overfitting: {gap: 0.2}}`. Default: each rule's own."""
    disabled: list[Text] = setting([])
    """Codes of diagnostics that are switched off. Default: none."""
    rules: list[TargetRef] = setting([])
    """Import paths of rules of your own (classes derived from `tui_trainer.diagnostics.rule.Rule`). Default:
    none."""
    answer_within_minutes: float = setting(10.0, gt=0)
    """Minutes that `ask` waits for an answer in the app; then it is as `report`, and a critical problem pauses
    the run behind a checkpoint. Default: 10."""


class MonitoringConfig(Section):
    """What is measured beside loss and metrics."""

    log_every_n_steps: int = setting(10, ge=1, le=LARGEST_COUNT)
    """Optimizer steps between two logged points. Default: 10."""
    gradient_stats_every_n_epochs: int = setting(1, ge=0, le=LARGEST_COUNT)
    """Epochs between two rows of gradient_stats.csv (norm of each parameter's gradient); 0: never. Default:
    1."""
    feature_stats_every_n_epochs: int = setting(0, ge=0, le=LARGEST_COUNT)
    """Epochs between two blocks of feature_stats.csv (mean, spread, range of each input feature); 0
    (default): never."""
    probe_every_n_epochs: int = setting(5, ge=0, le=LARGEST_COUNT)
    """Epochs between two looks inside the model (activation_stats.csv) and at its predictions by class
    (prediction_stats.csv), beside those in the first three epochs and in the last; 0: never. Default: 5."""
    statistics: list[TargetRef] = setting([])
    """Import paths of functions called after each epoch, each writing a CSV of its own. Default: none."""


class GatesConfig(Section):
    """What people answer for at the gates between phases."""

    sign: Annotated[dict[Text, Text], AfterValidator(signatures)] = setting({})
    """Notes for items that a person signs, such as intended_use, by item. Default: none."""
    waive: Annotated[dict[Text, Text], AfterValidator(waivers)] = setting({})
    """Reasons for going on although a checked item fails, by item (or `all`); every later report shows them.
    Default: none."""


def _host(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_\[][A-Za-z0-9_.:%\]-]*", value):
        raise ValueError("must be a host name, an address or a name from ~/.ssh/config")
    return value


def _user(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", value):
        raise ValueError("must be a user name of letters, digits, dots, hyphens and underscores")
    return value


class RemoteConfig(Section):
    """A GPU box reached over the user's own ssh and rsync."""

    host: Annotated[str, AfterValidator(_host)]
    """Host name, address, or a name from ~/.ssh/config."""
    user: Annotated[str, AfterValidator(_user)] | None = setting(None)
    """User on that machine. Default: null, what ssh takes by itself."""
    port: int | None = setting(None, ge=1, le=65535)
    """SSH port. Default: null, what ssh takes by itself."""
    key: Text | None = setting(None)
    """Private key file. Default: null, what ssh takes by itself."""
    path: Text = setting("mltrainer")
    """Folder on that machine where the project is copied to; relative to the home folder. Default:
    mltrainer."""
    python: Text = setting("python3")
    """Python on that machine that has this tool installed. Default: python3."""
    exclude: list[Text] = setting([])
    """More patterns that are not copied, as rsync reads them. Default: none (runs, caches and .git never
    are)."""


def _folder_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", value):
        raise ValueError(
            "must be usable as a folder name: letters, digits, '.', '_' and '-', not starting with a dot, "
            "100 characters at most"
        )
    return value


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda|cuda:(0|[1-9][0-9]{0,3})|mps", value):
        raise ValueError("must be auto, cpu, cuda, cuda:N (N counts from 0) or mps")
    return value


class Config(Section):
    """A run: what to train, on what, how, and what to keep of it."""

    name: Annotated[str, AfterValidator(_folder_name)] = setting("digits-baseline", affects_results=False)
    """Name of the experiment, part of its run folders' names. Default: digits-baseline."""
    seed: int = setting(42, ge=0, le=2**32 - 1)
    """Seed of every random number generator (Python, NumPy, torch, CUDA, loader workers). Default: 42."""
    deterministic: bool = setting(True)
    """Use only deterministic algorithms, so that the run can be repeated to the bit. Default: true."""
    device: Annotated[str, AfterValidator(_device)] = setting("auto")
    """Where to train: auto (default: the freest GPU, else the CPU), cpu, cuda, cuda:N or mps."""
    data: DataConfig = section(DataConfig)
    """What is learned from: the data set, how it is divided, how batches are made."""
    model: ModelConfig = section(ModelConfig)
    """What is trained."""
    loss: LossConfig = section(LossConfig)
    """What is minimised."""
    metrics: list[Text | MetricConfig] | None = setting(None)
    """What is reported beside the loss: torchmetrics names or import paths, with args where needed. Default:
    null, inferred from the task (accuracy for classification)."""
    optimizer: OptimizerConfig = section(OptimizerConfig)
    """How weights are changed."""
    scheduler: SchedulerConfig = section(SchedulerConfig)
    """How the learning rate changes over the run."""
    training: TrainingConfig = section(TrainingConfig)
    """The training loop itself."""
    early_stopping: EarlyStoppingConfig = section(EarlyStoppingConfig)
    """Ending a run that no longer improves."""
    checkpoint: CheckpointConfig = section(CheckpointConfig, affects_results=False)
    """What is kept on disk while training."""
    diagnostics: DiagnosticsConfig = section(DiagnosticsConfig, affects_results=False)
    """What happens when a problem is seen."""
    monitoring: MonitoringConfig = section(MonitoringConfig, affects_results=False)
    """What is measured beside loss and metrics."""
    targets: TargetsConfig | None = setting(None, affects_results=False)
    """What is good enough. Default: null, nothing stated."""
    gates: GatesConfig = section(GatesConfig, affects_results=False)
    """What people answer for at the gates between phases."""
    study: StudyConfig | None = setting(None, affects_results=False)
    """The search of phase 4. Default: null, none."""
    notify: Text | list[Text] | None = setting(None, affects_results=False)
    """Command run on critical diagnostics and at the end, with the summary as JSON on its standard input:
    text for the shell, or a list of program and arguments. Default: null, none."""
    remote: RemoteConfig | None = setting(None, affects_results=False)
    """A GPU box reached over ssh. Default: null, none."""

    @field_validator("study")
    @classmethod
    def _search_only_settings_that_exist(cls, study: StudyConfig | None) -> StudyConfig | None:
        from tui_trainer.config.settings import unsearchable

        for key in study.space if study else ():
            if problem := unsearchable(key):
                raise ValueError(f"cannot search {problem}")
        return study


__all__ = [
    "LARGEST_COUNT", "CheckpointConfig", "Config", "DataConfig", "DiagnosticsConfig", "EarlyStoppingConfig",
    "GatesConfig", "LossConfig", "MetricConfig", "Mode", "ModelConfig", "MonitoringConfig", "ObjectiveConfig",
    "OptimizerConfig", "PrunerConfig", "RemoteConfig", "SamplerConfig", "SchedulerConfig", "SearchDimension",
    "Section", "StudyConfig", "TargetConfig", "TargetRef", "TargetsConfig", "TaskName", "TrainingConfig",
    "TransformsConfig", "target_of",
]  # fmt: skip
