"""Changes of the config that help with each primary issue, whatever the rules said: the best first."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tui_trainer.diagnostics import fit_remedies, remedies, usual_rates
from tui_trainer.diagnostics.fix import Fix

if TYPE_CHECKING:
    from tui_trainer.config.schema import Config
    from tui_trainer.phases.analysis.evidence import Evidence
    from tui_trainer.reports.diagnosis_content import IssueCode

_WORKERS = 4
_SMOOTHING = 0.1
_VAL_FRACTION, _FEW_VAL = 0.3, 200


def candidates(code: IssueCode, evidence: Evidence, config: Config) -> list[Fix]:
    """Fixes for the issue, which may repeat what the config has already, or contradict each other."""
    makers = {
        "failed": _failed,
        "non_finite": _non_finite,
        "flat": _flat,
        "overfitting": _overfitting,
        "underfitting": _underfitting,
        "data_quality": _data,
        "resource": _resource,
        "critical": _improvement,
        "target_met": _improvement,
        "improvement": _improvement,
    }
    return [fix for fix in makers[code](evidence, config) if fix is not None]


def _failed(e: Evidence, config: Config) -> list[Fix | None]:
    """What makes the next run say more, lose less and, where memory may be the cause, ask for less."""
    smaller = max(1, config.data.batch_size // 2)
    less = _change(
        "smaller_batch",
        f"batch size {config.data.batch_size} → {smaller}",
        "half the memory for activations",
        {"data.batch_size": smaller},
    )
    louder = [
        _change(
            "log_every_step",
            f"log every {config.monitoring.log_every_n_steps} → 1 steps",
            "the log ends at the very step that fails",
            {"monitoring.log_every_n_steps": 1},
        ),
        _change(
            "no_workers",
            f"loader workers {config.data.num_workers} → 0",
            "samples are read in the training process: an error there names its line",
            {"data.num_workers": 0},
        ),
        _change(
            "save_often",
            "a checkpoint every minute",
            "less is lost when it fails again",
            {"checkpoint.checkpoint_every_n_minutes": 1.0},
        ),
    ]
    if (e.profile.device or "").startswith("cuda"):
        louder.append(
            _change("on_cpu", "device → cpu", "errors of GPU kernels name their operation", {"device": "cpu"})
        )
    return [*louder, less] if e.told("crash") else [less, *louder]


def _non_finite(e: Evidence, config: Config) -> list[Fix | None]:
    return [
        remedies.safer_precision(config, e.profile.device or "cpu")
        if config.training.precision == "fp16"
        else None,
        remedies.lower_rate(config, 10, fresh=True, clip=True),
        remedies.clip(fresh=True) if config.training.gradient_clip_norm is None else None,
        remedies.normalise_inputs(config),
        remedies.cosine(config),
        remedies.use_adam(config),
        remedies.larger_batch(config, 2, e.data.train_samples or 0),
        remedies.change_seed(config),
    ]


def _flat(_: Evidence, config: Config) -> list[Fix | None]:
    hot = usual_rates.is_hot(config)
    return [
        fit_remedies.less_regularisation(config) if fit_remedies.is_held_back(config) else None,
        remedies.lower_rate(config, 10, fresh=True) if hot else remedies.raise_rate(config, 10, fresh=True),
        remedies.use_adam(config),
        *(fix for fix in remedies.for_deep_models(config) if fix.changes),
        remedies.constant_rate(config) if config.scheduler.target != "none" else None,
        remedies.larger_model(config),
        remedies.change_seed(config),
    ]


def _overfitting(e: Evidence, config: Config) -> list[Fix | None]:
    return [
        remedies.more_weight_decay(config) if fit_remedies.takes_weight_decay(config) else None,
        fit_remedies.more_dropout(config),
        fit_remedies.smaller_model(config),
        _label_smoothing(e, config),
        fit_remedies.stop_early(config),
    ]


def _underfitting(e: Evidence, config: Config) -> list[Fix | None]:
    hot = usual_rates.is_hot(config)
    rate = remedies.lower_rate(config, 10, fresh=True) if hot else remedies.raise_rate(config, 3, fresh=True)
    longer, larger = remedies.more_epochs(config), remedies.larger_model(config)
    return [
        fit_remedies.less_regularisation(config),
        *((longer, larger) if e.curves.verdict == "improving" else (larger, longer)),
        rate,
        remedies.use_adam(config),
        remedies.cosine(config),
    ]


def _data(e: Evidence, config: Config) -> list[Fix | None]:
    few = e.data.val_samples is not None and e.data.val_samples < _FEW_VAL
    larger = config.data.val_fraction < _VAL_FRACTION and bool(config.data.val_fraction)
    return [
        fit_remedies.balanced_loss(config, e.data.task) if e.examination.never_predicted else None,
        _change(
            "larger_validation",
            f"val_fraction {config.data.val_fraction:g} → {_VAL_FRACTION:g}",
            "more validation samples: less of the scatter is chance",
            {"data.val_fraction": _VAL_FRACTION},
        )
        if few and larger
        else None,
        remedies.lower_rate(config, 3, fresh=True),
        remedies.larger_batch(config, 4, e.data.train_samples or 0),
        remedies.cosine(config),
        remedies.clip(fresh=True) if config.training.gradient_clip_norm is None else None,
    ]


def _resource(e: Evidence, config: Config) -> list[Fix | None]:
    workers = min(_WORKERS, max(1, (os.cpu_count() or 1) - 1))
    on_gpu = (e.profile.device or "").startswith("cuda")
    by_data = [
        _change(
            "more_workers",
            f"loader workers {config.data.num_workers} → {max(workers, 2 * config.data.num_workers)}",
            "batches are made ready while the model trains",
            {"data.num_workers": max(workers, 2 * config.data.num_workers)},
        ),
        _change("pin_memory", "pinned memory: on", "faster copies to the GPU", {"data.pin_memory": True})
        if on_gpu and config.data.pin_memory is False
        else None,
    ]
    by_gpu: list[Fix | None] = [
        remedies.larger_batch(config, 4, e.data.train_samples or 0),
        _change(
            "bf16", "precision fp32 → bf16", "faster kernels on recent GPUs", {"training.precision": "bf16"}
        )
        if on_gpu and config.training.precision == "fp32"
        else None,
        _change("compile", "compile the model", "fewer, larger kernels", {"training.compile": True})
        if on_gpu and not config.training.compile
        else None,
    ]
    fewer_looks = _change(
        "fewer_probes",
        f"probes every {config.monitoring.probe_every_n_epochs} → 0 epochs",
        "no passes beside the training",
        {"monitoring.probe_every_n_epochs": 0},
    )
    return [*by_data, *by_gpu] if e.profile.bottleneck == "data" else [*by_gpu, *by_data, fewer_looks]


def _improvement(e: Evidence, config: Config) -> list[Fix | None]:
    gap = e.curves.gap
    wide = gap is not None and gap.final > 0.05
    regular: list[Fix | None] = [
        remedies.more_weight_decay(config) if fit_remedies.takes_weight_decay(config) else None,
        fit_remedies.more_dropout(config),
        _label_smoothing(e, config),
    ]
    rate = (
        remedies.lower_rate(config, 3, fresh=True)
        if usual_rates.is_hot(config)
        else remedies.raise_rate(config, 3, fresh=True)
    )
    stronger: list[Fix | None] = [remedies.larger_model(config), remedies.cosine(config), rate]
    return [
        remedies.more_epochs(config) if e.curves.verdict == "improving" else None,
        fit_remedies.balanced_loss(config, e.data.task) if e.examination.never_predicted else None,
        *(regular if wide else stronger),
        *(stronger if wide else regular),
        remedies.larger_batch(config, 2, e.data.train_samples or 0),
        remedies.more_epochs(config),
        remedies.change_seed(config),
    ]


def _label_smoothing(e: Evidence, config: Config) -> Fix | None:
    name = config.loss.target or ("cross_entropy" if e.data.task == "classification" else "")
    if name != "cross_entropy" or config.loss.args.get("label_smoothing"):
        return None
    return _change(
        "label_smoothing",
        f"label smoothing 0 → {_SMOOTHING:g}",
        "no reward for being all too sure: the gap narrows, calibration improves",
        {"loss.args.label_smoothing": _SMOOTHING},
    )


def _change(name: str, title: str, effect: str, changes: dict[str, Any]) -> Fix:
    return Fix(id=name, title=title, effect=effect, changes=changes, action="restart_fresh", by_itself=False)
