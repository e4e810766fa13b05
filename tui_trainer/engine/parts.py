"""From a config to everything a trainer needs: data, batches, model, loss, optimizer, schedule, metrics."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn

from tui_trainer.config.errors import ConfigError
from tui_trainer.config.wording import class_name
from tui_trainer.data.batches import BatchSource, ItemBatches, make_batches
from tui_trainer.data.build import build_data
from tui_trainer.engine.class_weights import with_class_weights
from tui_trainer.engine.device import choose_device
from tui_trainer.engine.losses import Loss, build_loss
from tui_trainer.engine.metrics import MetricFactory, build_metrics
from tui_trainer.engine.optimizers import build_optimizer
from tui_trainer.engine.precision import Precision
from tui_trainer.engine.schedulers import Schedule, build_schedule
from tui_trainer.engine.seeding import seed_everything
from tui_trainer.engine.statistics import Statistic, resolve_statistics
from tui_trainer.engine.step import TrainingStep
from tui_trainer.models.build import build_model, check_fits, describe_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tui_trainer.config.schema import Config
    from tui_trainer.data.batches import Batch
    from tui_trainer.data.dataset import DataSplits


@dataclass
class Parts:
    """The built pieces of one run. `forward` is `model`, or its compiled form."""

    config: Config
    device: torch.device
    data: DataSplits
    train: BatchSource
    val: BatchSource
    model: nn.Module
    forward: nn.Module
    loss: Loss
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    precision: Precision
    make_metrics: MetricFactory
    metric_names: tuple[str, ...]
    statistics: list[tuple[str, Statistic]] = field(default_factory=list)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps an epoch: micro-batches in groups of `gradient_accumulation_steps`."""
        return -(-len(self.train) // self.config.training.gradient_accumulation_steps)

    def groups(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """The micro-batches of each optimizer step of an epoch, from its batch `start` on."""
        size = self.config.training.gradient_accumulation_steps
        batches = self.train.epoch(epoch, start)
        if size == 1:
            for batch in batches:
                yield [batch]
            return
        group: list[Batch] = []
        for batch in batches:
            group.append(batch)
            if len(group) == size:
                yield group
                group = []
        if group:
            yield group

    def training_step(self, *, trust_device: bool | None = None) -> TrainingStep:
        """What takes one optimizer step on such a group."""
        return TrainingStep(
            model=self.model,
            forward=self.forward,
            loss=self.loss,
            optimizer=self.optimizer,
            precision=self.precision,
            device=self.device,
            clip_norm=self.config.training.gradient_clip_norm,
            trust_device=trust_device,
        )

    def close(self) -> None:
        """Stop loader workers."""
        self.train.close()
        self.val.close()


def load_data(config: Config, folder: Path) -> DataSplits:
    """The data of the run. Raises `DataError`."""
    seed_everything(config.seed, deterministic=config.deterministic)
    return build_data(config.data, seed=config.seed, folder=folder)


def assemble(config: Config, data: DataSplits, folder: Path) -> Parts:
    """Build every piece, in the one order that makes a seed mean the same each time.

    Raises `ConfigError`, `DataError` or `ModelError` with what does not fit.
    """
    device = choose_device(config.device)
    pin = config.data.pin_memory
    train, val = (
        make_batches(
            dataset,
            split=name,
            batch_size=config.data.batch_size,
            seed=config.seed,
            device=device,
            shuffle=name == "train",
            drop_last=config.data.drop_last and name == "train",
            num_workers=config.data.num_workers,
            pin_memory=device.type == "cuda" if pin == "auto" else bool(pin),
            collate=data.collate,
        )
        for name, dataset in (("train", data.train), ("val", data.val))
    )
    seed_everything(config.seed, deterministic=config.deterministic)
    model = build_model(config.model, data, folder=folder).to(device)
    loss = build_loss(with_class_weights(config.loss, data), data.task, folder=folder)
    if loss.module is not None:
        loss.module.to(device)
    make_metrics, names = build_metrics(config.metrics, data.task, folder=folder)
    _check_monitors(config, names)
    first = next(iter(val.epoch(1)))
    check_fits(model, loss, first, data.task)
    steps = -(-len(train) // config.training.gradient_accumulation_steps)
    optimizer = build_optimizer(config.optimizer, model, folder=folder, loss_module=loss.module)
    schedule = build_schedule(
        config.scheduler,
        optimizer,
        epochs=config.training.epochs,
        steps_per_epoch=steps,
        monitor_mode=config.early_stopping.monitor_mode,
        folder=folder,
    )
    forward = torch.compile(model) if config.training.compile else model
    return Parts(
        config=config,
        device=device,
        data=data,
        train=train,
        val=val,
        model=model,
        forward=forward,  # type: ignore[arg-type]  # torch.compile of a module is a module
        loss=loss,
        optimizer=optimizer,
        schedule=schedule,
        precision=Precision(config.training.precision, device),
        make_metrics=make_metrics,
        metric_names=tuple(names),
        statistics=resolve_statistics(config.monitoring.statistics, folder),
    )


def _check_monitors(config: Config, metric_names: list[str] | tuple[str, ...]) -> None:
    known = [
        "train_loss",
        "val_loss",
        *(f"{phase}_{name}" for phase in ("train", "val") for name in metric_names),
    ]
    for key, value in (
        ("early_stopping.monitor", config.early_stopping.monitor),
        ("checkpoint.monitor", config.checkpoint.monitor),
        ("targets.metric", config.targets.metric if config.targets else "val_loss"),
    ):
        if value not in known:
            near = difflib.get_close_matches(value, known, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ConfigError(
                f"{key} is {value!r}, which this run does not measure.{hint} It has: {', '.join(known)}."
            )


def _test_line(data: DataSplits) -> str:
    if data.test is None:
        return "Test dataset: none held out"
    return f"Test dataset: {len(data.test):,} samples, held out"  # type: ignore[arg-type]  # build_data checked __len__


_FEW_BATCHES = 100
_LARGE_MODEL = 100_000_000  # parameters


def start_warnings(parts: Parts) -> list[str]:
    """What is likely to waste the run's time, known before it starts (spec: phase 2)."""
    found = []
    batches, size = len(parts.train), parts.config.data.batch_size
    if batches < _FEW_BATCHES:
        found.append(
            f"Only {batches} train batches of {size} an epoch: a smaller data.batch_size gives more updates."
        )
    if isinstance(parts.train, ItemBatches) and parts.config.data.num_workers == 0:
        found.append(
            "The data set is read item by item in the training process: data.num_workers: 2 or more may be faster."
        )
    if parts.device.type == "cpu" and torch.cuda.is_available():
        found.append("There is a CUDA device, but device is cpu.")
    parameters = sum(item.numel() for item in parts.model.parameters())
    if parameters > _LARGE_MODEL:
        memory = ""
        if parts.device.type == "cuda":
            memory = f" of {torch.cuda.get_device_properties(parts.device).total_memory / 2**30:.0f} GiB on {parts.device}"
        need = 4 * parameters * 4 / 2**30
        found.append(
            f"{parameters:,} parameters: weights, gradients and Adam's state take about {need:.1f} GiB{memory}."
        )
    return found


def facts(parts: Parts, reproducibility: list[str]) -> dict[str, list[str]]:
    """The lines that the log opens with, by section (spec: phase 2)."""
    config, summary = parts.config, describe_model(parts.model)
    training, data = config.training, parts.data
    return {
        "CONFIG": [
            f"Name: {config.name}",
            f"Epochs: {training.epochs}",
            f"Batch size: {config.data.batch_size}"
            + (
                f" × {training.gradient_accumulation_steps} accumulated"
                if training.gradient_accumulation_steps > 1
                else ""
            ),
            f"Learning rate: {config.optimizer.learning_rate:g}",
            f"Precision: {training.precision}",
            f"Early stopping: patience {config.early_stopping.patience} on {config.early_stopping.monitor}"
            if config.early_stopping.enabled
            else "Early stopping: off",
            "Checkpointing: "
            + ", ".join(
                text
                for text, on in (
                    ("best", config.checkpoint.save_best),
                    ("last", config.checkpoint.save_last),
                    (
                        f"every {config.checkpoint.checkpoint_every_n_epochs} epochs",
                        bool(config.checkpoint.checkpoint_every_n_epochs),
                    ),
                )
                if on
            ),
        ],
        "REPRODUCIBILITY": reproducibility,
        "DATA": [
            f"Source: {data.source or config.data.target}",
            f"Train dataset: {parts.train.samples:,} samples",
            f"Validation dataset: {parts.val.samples:,} samples",
            _test_line(data),
            f"Train batches: {len(parts.train):,} (batch_size={config.data.batch_size})",
            f"Validation batches: {len(parts.val):,} (batch_size={parts.val.batch_size})",
            f"DataLoader workers: {config.data.num_workers}",
            f"Pin memory: {config.data.pin_memory}",
        ],
        "MODEL": [
            f"Architecture: {summary.architecture}",
            f"Parameters: {summary.parameters:,}"
            + ("" if summary.trainable == summary.parameters else f" ({summary.trainable:,} trainable)"),
            f"Device: {parts.device}",
        ],
        "OPTIMIZER": [
            f"Type: {class_name(type(parts.optimizer))}",
            f"Learning rate: {config.optimizer.learning_rate:.0e}"
            if config.optimizer.learning_rate < 0.01
            else f"Learning rate: {config.optimizer.learning_rate:g}",
            f"Weight decay: {config.optimizer.weight_decay}",
        ],
        "SCHEDULER": list(parts.schedule.description),
        "CRITERION": [f"Loss function: {parts.loss.name}"],
    }
