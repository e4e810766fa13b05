"""resource_inefficiency: the machine waits for something that could be had faster."""

from __future__ import annotations

import os
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tui_trainer.diagnostics import remedies
from tui_trainer.diagnostics.fix import LAST_VALID, Fix
from tui_trainer.diagnostics.remedies import advice
from tui_trainer.diagnostics.rule import Problem, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tui_trainer.diagnostics.history import History
    from tui_trainer.engine.events import EpochFinished, Severity

Bottleneck = Literal["data", "gpu", "heat", "cpu", "ram"]
_EPOCHS = 3  # the latest, the first of the run left out; half of them must agree with the verdict
_EVERY = 10  # epochs, where they take less than a second
_SAMPLES = 30  # of the machine
_FEW_SAMPLES = 5
_LARGER_BATCH = 4


@dataclass(frozen=True, slots=True)
class _Machine:
    """Medians over the latest samples; None where there is nothing of the kind."""

    cpu: float | None
    own_cpu: float | None
    ram: float | None
    own_ram: float | None
    gpu_memory: float | None
    slowed: str | None


class ResourceInefficiency(Rule):
    """Names one bottleneck after the other: a problem for each.

    `data_wait`: share of an epoch spent waiting for batches; `gpu_util`, `gpu_util_critical`: percent below which the
    GPU is idle for too long; `cpu`: percent of the machine in use while this process has less than half of it; `ram`:
    percent in use; `epoch_seconds`: shorter epochs are worth a word, no more.
    """

    code = "resource_inefficiency"
    thresholds: ClassVar[Mapping[str, float]] = {
        "data_wait": 0.3,
        "gpu_util": 70,
        "gpu_util_critical": 40,
        "cpu": 95,
        "ram": 95,
        "epoch_seconds": 5,
    }
    fix_ids = (
        "more_workers",
        "pin_memory",
        "in_memory",
        "larger_batch",
        "compile",
        "bf16",
        "use_cpu",
        "cool",
        "free_machine",
    )

    def on_epoch(self, history: History) -> list[Problem]:
        """What slows the latest epochs down."""
        epochs = history.epochs[1:][-_EPOCHS:]
        seconds = median(item.epoch_time for item in epochs) if epochs else 0.0
        if len(epochs) < 2 or (seconds < 1 and history.epoch % _EVERY):
            return []
        machine = _machine(history)
        problems = (
            self._waiting_for_data(epochs, machine, seconds),
            self._idle_gpu(epochs, machine, seconds),
            self._hot_gpu(machine),
            self._busy_cpu(machine),
            self._full_ram(machine),
        )
        return [problem for problem in problems if problem is not None]

    # ── one bottleneck each ─────────────────────────────────────────────────────────────────────────────────

    def _waiting_for_data(
        self, epochs: Sequence[EpochFinished], machine: _Machine, seconds: float
    ) -> Problem | None:
        wait = median(item.data_wait for item in epochs)
        if not wait > self.limit.data_wait:
            return None
        workers = self.facts.config.data.num_workers
        if not workers:
            why = "every sample is read and transformed in the training process (data.num_workers: 0)"
        elif machine.cpu is not None and machine.cpu >= 90:
            why = f"the CPU is full ({machine.cpu:.0f} %), and the {workers} workers do not get enough of it"
        else:
            cpu = "" if machine.cpu is None else f", though the CPU is at {machine.cpu:.0f} % only"
            why = f"the {workers} workers do not keep up{cpu}: too few, or the disk is slow"
        return self._problem(
            "data",
            self._severity("warning", seconds),
            f"{wait:.0%} of each epoch is spent waiting for data (limit {self.limit.data_wait:.0%}): {why}. Without the "
            f"wait an epoch would take {seconds * (1 - wait):.3g} s, not {seconds:.3g} s.",
            {"data_wait": round(wait, 3), "threshold": self.limit.data_wait, "num_workers": workers}
            | {"epoch_seconds": round(seconds, 2), "cpu_percent": machine.cpu},
            self._for_data(machine),
        )

    def _idle_gpu(self, epochs: Sequence[EpochFinished], machine: _Machine, seconds: float) -> Problem | None:
        loads = [item.gpu_util for item in epochs if item.gpu_util is not None]
        if not loads or not self.facts.device.startswith("cuda") or median(loads) >= self.limit.gpu_util:
            return None
        load, wait = median(loads), median(item.data_wait for item in epochs)
        if wait > self.limit.data_wait:
            return None  # said already, with its cause
        severity: Severity = "critical" if load < self.limit.gpu_util_critical else "warning"
        room = "" if machine.gpu_memory is None else f", {machine.gpu_memory:.0%} of its memory used"
        return self._problem(
            "gpu",
            self._severity(severity, seconds),
            f"The GPU works {load:.0f} % of the time (limit {self.limit.gpu_util:.0f} %{room}), and data is not the "
            "cause: steps are so short that launching their kernels takes longer than running them.",
            {"gpu_util": round(load, 1), "threshold": self.limit.gpu_util, "data_wait": round(wait, 3)}
            | {"gpu_memory_share": machine.gpu_memory, "batch_size": self.facts.config.data.batch_size}
            | {"epoch_seconds": round(seconds, 2)},
            self._for_gpu(seconds),
        )

    def _hot_gpu(self, machine: _Machine) -> Problem | None:
        if machine.slowed is None:
            return None
        cause = "it is too hot" if machine.slowed == "heat" else "its power supply is throttled"
        return self._problem(
            "heat",
            "warning",
            f"The GPU runs below its clock: {cause}.",
            {"slowed_by": machine.slowed},
            (advice("cool", "cool the GPU: air flow, dust, fewer jobs in the case", "the full clock again"),),
        )

    def _busy_cpu(self, machine: _Machine) -> Problem | None:
        if machine.cpu is None or machine.own_cpu is None or self.facts.config.data.num_workers:
            return None
        if machine.cpu < self.limit.cpu or machine.own_cpu > machine.cpu / 2:
            return None
        return self._problem(
            "cpu",
            "info",
            f"The CPU is at {machine.cpu:.0f} %, of which this run has {machine.own_cpu:.0f}: others slow it down.",
            {"cpu_percent": machine.cpu, "process_cpu_percent": machine.own_cpu, "threshold": self.limit.cpu},
            (_FREE,),
        )

    def _full_ram(self, machine: _Machine) -> Problem | None:
        if machine.ram is None or 100 * machine.ram < self.limit.ram:
            return None
        own = machine.own_ram or 0.0
        return self._problem(
            "ram",
            "warning" if own >= 0.3 else "info",
            f"The machine's memory is {machine.ram:.0%} full, {own:.0%} of it this run's: it swaps, or ends a process soon.",
            {
                "ram_share": round(machine.ram, 3),
                "process_share": round(own, 3),
                "threshold": self.limit.ram / 100,
            },
            (_FREE,),
        )

    # ── what can be done ────────────────────────────────────────────────────────────────────────────────────

    def _for_data(self, machine: _Machine) -> tuple[Fix, ...]:
        config = self.facts.config
        found: list[Fix] = []
        cores = os.cpu_count() or 2
        wanted = min(8, cores, max(2, 2 * config.data.num_workers))
        if wanted > config.data.num_workers and not (machine.cpu is not None and machine.cpu >= 90):
            found.append(
                Fix(
                    id="more_workers",
                    title=f"data.num_workers {config.data.num_workers} → {wanted}, from the last valid checkpoint",
                    effect="samples are read beside the training; the same batches in the same order",
                    changes={"data.num_workers": wanted},
                    action="restart_from",
                    checkpoint=LAST_VALID,
                )
            )
        if self.facts.device.startswith("cuda") and config.data.pin_memory is False:
            found.append(
                Fix(
                    id="pin_memory",
                    title="data.pin_memory false → auto, from the last valid checkpoint",
                    effect="copies to the GPU run beside its work",
                    changes={"data.pin_memory": "auto"},
                    action="restart_from",
                    checkpoint=LAST_VALID,
                )
            )
        found.append(
            advice(
                "in_memory",
                "prepare once what is the same in every epoch (decoded, resized), and keep it in memory or in one file",
                "an item costs a copy, no longer a decoding; takes memory or disk",
            )
        )
        return tuple(found)

    def _for_gpu(self, seconds: float) -> tuple[Fix, ...]:
        config = self.facts.config
        larger = remedies.larger_batch(config, _LARGER_BATCH, self.facts.train_samples)
        found = [] if larger is None else [_asked(larger)]
        if config.training.precision == "fp32":
            found.append(
                _changed(
                    "bf16",
                    "training.precision",
                    "bf16",
                    "faster kernels on recent GPUs; results differ slightly",
                )
            )
        if not config.training.compile:
            found.append(
                _changed(
                    "compile", "training.compile", True, "fewer, larger kernels; the first steps take minutes"
                )
            )
        if seconds < self.limit.epoch_seconds:
            found.append(
                advice("use_cpu", "for a model this small: device: cpu", "no launches at all, and a free GPU")
            )
        return tuple(found)

    def _severity(self, severity: Severity, seconds: float) -> Severity:
        """Epochs of seconds are not worth a warning."""
        return "info" if seconds < self.limit.epoch_seconds else severity

    def _problem(
        self,
        where: Bottleneck,
        severity: Severity,
        message: str,
        evidence: dict[str, Any],
        fixes: tuple[Fix, ...],
    ) -> Problem:
        return Problem(
            severity,
            message,
            {"bottleneck": where} | evidence,
            fixes,
            subject=where,
            acts=any(fix.by_itself for fix in fixes),
        )


_FREE = advice(
    "free_machine",
    "end what else runs here, or start this run when the machine is free",
    "the time and memory that others take",
)


def _asked(fix: Fix) -> Fix:
    """It changes results, so a person decides."""
    return Fix(fix.id, fix.title, fix.effect, fix.changes, fix.action, fix.checkpoint, by_itself=False)


def _changed(name: str, key: str, new: Any, effect: str) -> Fix:
    return Fix(
        id=name,
        title=f"{key} → {new if isinstance(new, str) else 'on'}, from the last valid checkpoint",
        effect=effect,
        changes={key: new},
        action="restart_from",
        checkpoint=LAST_VALID,
        by_itself=False,
    )


def _machine(history: History) -> _Machine:
    samples = list(history.resources)[-_SAMPLES:]
    if len(samples) < _FEW_SAMPLES:
        return _Machine(None, None, None, None, None, None)
    gpus = [gpu for sample in samples for gpu in sample.gpus if gpu.get("ours")]
    slowed = [gpu.get("slowed") for gpu in gpus if gpu.get("slowed")]
    return _Machine(
        cpu=_middle(samples, lambda item: item.cpu_percent),
        own_cpu=_middle(samples, lambda item: item.process_cpu),
        ram=_middle(samples, lambda item: _ratio(item.ram_used, item.ram_total)),
        own_ram=_middle(samples, lambda item: _ratio(item.process_rss, item.ram_total)),
        gpu_memory=_middle(gpus, lambda item: _ratio(item.get("memory_used"), item.get("memory_total"))),
        slowed=slowed[-1] if 2 * len(slowed) > len(samples) else None,
    )


def _middle(items: Sequence[Any], value_of: Callable[[Any], float | None]) -> float | None:
    """Median of what is known."""
    values = [value for item in items if (value := value_of(item)) is not None]
    return round(median(values), 3) if values else None


def _ratio(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole
