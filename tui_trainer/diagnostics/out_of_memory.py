"""out_of_memory: memory could not be had in a pass, and the batch was taken in smaller pieces."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tui_trainer.diagnostics.fix import LAST_VALID, Fix
from tui_trainer.diagnostics.growth import device_memory, steady_growth
from tui_trainer.diagnostics.remedies import advice
from tui_trainer.diagnostics.rule import Problem, Rule
from tui_trainer.engine.events import MemoryShortage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.diagnostics.history import History

Cause = Literal["fragmentation", "leak", "other processes", "too large"]
_UNITS = {"B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "KB": 1e3, "MB": 1e6, "GB": 1e9}


class OutOfMemory(Rule):
    """Each shortage adds to one diagnostic for training and one for validation.

    `fragmented`: the share of the device that PyTorch holds without a tensor in it, from which on fragments are the
    cause; `others`: the share that other processes hold, from which on they are. A leak is what `growth` calls one.
    """

    code = "out_of_memory"
    thresholds: ClassVar[Mapping[str, float]] = {"fragmented": 0.1, "others": 0.1}
    fix_ids = (
        "smaller_batch",
        "bf16",
        "expandable_segments",
        "find_what_is_kept",
        "free_device",
        "smaller_model",
    )

    def on_shortage(self, history: History) -> Problem | None:
        """What was too much, what is done about it, and why memory was short."""
        shortage = history.shortage
        if not isinstance(shortage, MemoryShortage):
            return None
        others = _held_by_others(history)
        cause = self._cause(shortage, history, others)
        asked = f", {shortage.requested} asked for" if shortage.requested else ""
        following = shortage.next_micro_batch
        if following is None:
            then = (
                "Fewer at a time cannot be taken, and the run ends; the weights are those before this batch."
            )
        else:
            then = f"The same batch was tried again, {following} at a time: loss and gradient are the whole batch's."
            if shortage.phase == "training" and self.facts.context.get("batch_norm"):
                then += f" Batch normalisation sees {following} samples now, and differs."
        return Problem(
            severity="critical" if following is None else "warning",
            message=(
                f"Not enough memory on {shortage.device} for {shortage.micro_batch} samples at a time in "
                f"{shortage.phase}{asked}. {then} {self._why(cause, shortage, others)}"
            ).rstrip(),
            evidence={
                "phase": shortage.phase,
                "micro_batch": shortage.micro_batch,
                "next_micro_batch": following,
                "batch_size": self.facts.config.data.batch_size,
                "requested": shortage.requested or None,
                "device": shortage.device,
                "allocated_bytes": shortage.allocated,
                "reserved_bytes": shortage.reserved,
                "total_bytes": shortage.total,
                "fragmented_share": _share(_fragments(shortage), shortage.total),
                "other_processes_bytes": others or None,
                "cause": cause,
            },
            fixes=self._fixes(cause, shortage),
            subject=shortage.phase,
            since=shortage.step,
            again=True,
            acts=False,  # it has been seen to already
        )

    def _cause(self, shortage: MemoryShortage, history: History, others: int) -> Cause:
        total = shortage.total
        if total and others > self.limit.others * total:
            return "other processes"
        fragments = _fragments(shortage)
        if total and fragments is not None:
            wanted = _bytes(shortage.requested)
            if fragments > self.limit.fragmented * total and (wanted is None or fragments >= wanted):
                return "fragmentation"
        grown = steady_growth(device_memory(history)) if shortage.device != "cpu" else None
        return "too large" if grown is None else "leak"

    def _why(self, cause: Cause, shortage: MemoryShortage, others: int) -> str:
        fragments = _fragments(shortage)
        if cause == "fragmentation" and fragments is not None:
            return (
                f"The cause is fragmentation: PyTorch holds {_size(fragments)} without a tensor in it (reserved "
                f"{_size(shortage.reserved)}, allocated {_size(shortage.allocated)}), in pieces too small to be of use."
            )
        if cause == "leak":
            return "The cause is a leak: the device's memory has grown from epoch to epoch (see memory_leak)."
        if cause == "other processes":
            return f"Other processes hold {_size(others)} of this device."
        return ""

    def _fixes(self, cause: Cause, shortage: MemoryShortage) -> tuple[Fix, ...]:
        config = self.facts.config
        first = {"fragmentation": _EXPANDABLE, "leak": _KEPT, "other processes": _OTHERS}.get(cause)
        fixes: list[Fix] = [] if first is None else [first]
        size, following = config.data.batch_size, shortage.next_micro_batch
        if shortage.phase == "training" and following is not None and size > 1:
            steps = config.training.gradient_accumulation_steps
            pieces = -(-size // max(1, following))
            fixes.append(
                Fix(
                    id="smaller_batch",
                    title=f"batch size {size} → {-(-size // pieces)}, accumulation {steps} → {steps * pieces}",
                    effect="the same effective batch, planned: shorter waits for data, and a config that fits elsewhere",
                    changes={
                        "data.batch_size": -(-size // pieces),
                        "training.gradient_accumulation_steps": steps * pieces,
                    },
                    action="restart_from",
                    checkpoint=LAST_VALID,
                    by_itself=False,
                )
            )
        if config.training.precision == "fp32" and shortage.device.startswith("cuda"):
            fixes.append(
                Fix(
                    id="bf16",
                    title="precision fp32 → bf16, from the last valid checkpoint",
                    effect="about half the memory of activations, and faster on recent GPUs; results differ slightly",
                    changes={"training.precision": "bf16"},
                    action="restart_from",
                    checkpoint=LAST_VALID,
                    by_itself=False,
                )
            )
        return (*fixes, _SMALLER)


_EXPANDABLE = advice(
    "expandable_segments",
    "start again with PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True in the environment, --resume auto",
    "segments grow instead of breaking into pieces: what is reserved can be used; no cost to speak of",
)
_KEPT = advice(
    "find_what_is_kept",
    "find what keeps tensors alive (a list of losses without .item(), outputs kept for later), then --resume auto",
    "memory stops growing; smaller pieces only put the end off",
)
_OTHERS = advice(
    "free_device",
    "end the other processes on this device, or take another: device: cuda:N",
    "all of the device for this run; whole batches again after a new start",
)
_SMALLER = advice(
    "smaller_model",
    "a smaller model or smaller inputs, activation checkpointing, an optimizer with less state",
    "less memory at any batch size",
)


def _fragments(shortage: MemoryShortage) -> int | None:
    """Bytes that PyTorch holds without a tensor in them."""
    if shortage.reserved is None or shortage.allocated is None:
        return None
    return max(0, shortage.reserved - shortage.allocated)


def _held_by_others(history: History) -> int:
    """Bytes that other processes hold on the run's own GPU, as far as the driver tells; 0 where it does not."""
    for sample in reversed(history.resources):
        for gpu in sample.gpus:
            if gpu.get("ours") and "processes" in gpu:
                return sum(int(item.get("memory") or 0) for item in gpu["processes"] if not item.get("ours"))
    return 0


def _bytes(text: str) -> float | None:
    found = re.fullmatch(r"([\d.,]+) ?([KMGT]?i?B)", text, re.IGNORECASE)
    return None if found is None else float(found[1].replace(",", "")) * _UNITS[found[2].upper()]


def _share(part: int | None, whole: int | None) -> float | None:
    return None if part is None or not whole else round(part / whole, 3)


def _size(value: Any) -> str:
    return f"{value / 1e9:.2f} GB" if value is not None else "?"
