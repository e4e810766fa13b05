"""What is looked at and said before a run's first step."""

from __future__ import annotations

import contextlib
import shutil
import time
from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import ModelError
from tui_trainer.engine import events

if TYPE_CHECKING:
    from pathlib import Path

    from tui_trainer.config.schema import Config
    from tui_trainer.diagnostics.rule import Problem
    from tui_trainer.engine.parts import Parts
    from tui_trainer.engine.trainer import Trainer
    from tui_trainer.session.resume import ResumePoint
    from tui_trainer.session.run_session import RunRequest


def scan_data(
    data: Any, config: Config
) -> tuple[list[events.DiagnosticRaised], dict[str, Problem], str | None]:
    """What is wrong with the content of `data`, by id too, and why training cannot proceed (None where it can)."""
    from tui_trainer.data.quality import scan
    from tui_trainer.data.seeds import untouched_rng
    from tui_trainer.diagnostics import data_quality

    if "data_quality" in config.diagnostics.disabled:
        return [], {}, None
    with untouched_rng():
        findings = scan(data)
    problems = data_quality.problems(findings, config)
    raised = data_quality.diagnose(problems, config, time=time.time())
    blocking = [finding for finding in findings if finding.blocks_training]
    if not blocking:
        return raised, problems, None
    return (
        raised,
        problems,
        (
            f"The data cannot be trained on: {' '.join(item.message for item in blocking[:3])} Nothing was "
            "trained. Mend the data (see diagnostics/data_quality.md); diagnostics.jsonl in the run folder has the details."
        ),
    )


def refuse_non_finite_weights(parts: Parts) -> None:
    """Raises `ModelError` for a model that could not train one batch."""
    import torch

    for name, parameter in parts.model.named_parameters():
        if parameter.is_floating_point() and not bool(torch.isfinite(parameter).all()):
            raise ModelError(
                f"The model's weight {name} holds NaN or infinite values before the first step: not one batch could "
                "be trained on. Look at how the model initialises it."
            )


def constant_non_finite(parts: Parts) -> frozenset[str]:
    """Buffers that are non-finite from the start (attention masks of -inf): they may be so in checkpoints."""
    import torch

    names = set()
    for prefix, module in (("model_state_dict", parts.model), ("loss_state_dict", parts.loss.module)):
        for name, buffer in module.named_buffers() if module is not None else ():
            if buffer.is_floating_point() and not torch.isfinite(buffer).all():
                names.add(f"{prefix}.{name}")
    return frozenset(names)


def checkpoint_bytes(parts: Parts) -> int:
    """About what a checkpoint will take."""
    from tui_trainer.engine.snapshot import expected_bytes

    modules = [parts.model] if parts.loss.module is None else [parts.model, parts.loss.module]
    return expected_bytes(modules, parts.optimizer)


def room_warning(folder: Path, size: int) -> str | None:
    """A word where the disk will not hold a checkpoint of `size` bytes."""
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(folder).free
        if free < 2 * size:  # the new file stands beside the old one for a moment
            return (
                f"A checkpoint takes about {size / 1e6:.1f} MB, and twice that while it is replaced; the disk of "
                f"{folder} has {free / 1e6:.1f} MB free."
            )
    return None


def run_started(
    request: RunRequest, trainer: Trainer, lines: dict[str, list[str]], context: dict[str, Any]
) -> events.RunStarted:
    """The event that opens an attempt; `lines` are its facts for people, `context` those for diagnostics."""
    from tui_trainer.models.build import describe_model

    config, parts = request.loaded.config, trainer.parts
    return events.RunStarted(
        time=time.time(),
        run_id=request.folder.record["id"],
        name=config.name,
        mode=request.mode,
        attempt=request.folder.attempt["number"],
        epochs=trainer.epochs,
        steps_per_epoch=parts.steps_per_epoch,
        batch_size=config.data.batch_size,
        device=str(parts.device),
        parameters=describe_model(parts.model).parameters,
        metrics=parts.metric_names,
        monitor=config.checkpoint.monitor,
        monitor_mode=config.checkpoint.monitor_mode,
        facts={**lines, "GATE": list(request.remarks)} if request.remarks else lines,
        fixed_length=parts.schedule.fixed_length,
        context=context,
    )


def resumed(request: RunRequest, trainer: Trainer, point: ResumePoint | None) -> events.Resumed:
    """The event that says where an attempt goes on."""
    return events.Resumed(
        time=time.time(),
        attempt=request.folder.attempt["number"],
        epoch=point.epoch if point else 0,
        step=point.step if point else 0,
        checkpoint=point.path.name if point else "the start",
        epochs=trainer.epochs,
    )
