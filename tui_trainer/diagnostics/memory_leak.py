"""memory_leak: memory grows from epoch to epoch and does not level off."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from tui_trainer.diagnostics.fix import LAST_VALID, Fix
from tui_trainer.diagnostics.growth import (
    EPOCHS,
    LEAST_BYTES,
    SHARE,
    WARM_UP,
    Growth,
    device_memory,
    other_memory,
    process_memory,
    steady_growth,
)
from tui_trainer.diagnostics.remedies import advice
from tui_trainer.diagnostics.rule import Problem, Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.diagnostics.growth import Curve
    from tui_trainer.diagnostics.history import History

Where = Literal["process", "device", "workers"]
_TITLES: Mapping[Where, str] = {
    "process": "The training process's memory",
    "device": "The GPU's memory",
    "workers": "Memory of the loader's workers (or of others on this machine)",
}


class MemoryLeak(Rule):
    """Looks at the memory of the process, of its GPU, and, with loader workers, of the rest of the machine.

    `warm_up`: epochs that do not count; `epochs`: how many are needed besides; `share`, `megabytes`: by how much it must
    have grown over them. It is critical where the memory there is ends before the run.
    """

    code = "memory_leak"
    thresholds: ClassVar[Mapping[str, float]] = {
        "warm_up": WARM_UP,
        "epochs": EPOCHS,
        "share": SHARE,
        "megabytes": LEAST_BYTES / 1e6,
    }
    fix_ids = ("find_what_is_kept", "end_and_resume", "no_workers")

    def on_epoch(self, history: History) -> list[Problem]:
        """One problem for each kind of memory that grows."""
        newest = history.memory[-2:]
        if not newest or (len(newest) > 1 and newest[0][1] is newest[1][1]):
            return []  # epochs shorter than the time between two samples
        curves: dict[Where, Curve] = {"process": process_memory(history), "device": device_memory(history)}
        if self.facts.config.data.num_workers:
            curves["workers"] = other_memory(history)
        found = []
        for where, curve in curves.items():
            growth = steady_growth(
                curve,
                warm_up=self.limit.warm_up,
                epochs=self.limit.epochs,
                share=self.limit.share,
                least=1e6 * self.limit.megabytes,
            )
            if growth is not None:
                found.append(self._problem(where, growth, history))
        return found

    def _problem(self, where: Where, growth: Growth, history: History) -> Problem:
        left = _free(where, history)
        lasts = None if left is None else left / growth.per_epoch
        to_go = max(0, self.facts.epochs - history.epoch)
        runs_out = lasts is not None and lasts < to_go
        ends = ""
        if runs_out and lasts is not None:
            ends = f" At this pace there is none left after {lasts:.0f} more epochs; {to_go} are planned."
        return Problem(
            severity="critical" if runs_out else "warning",
            message=(
                f"{_TITLES[where]} grows by {growth.per_epoch / 1e6:.1f} MB an epoch: {growth.before / 1e6:,.0f} MB in "
                f"epoch {growth.first_epoch}, {growth.now / 1e6:,.0f} MB in epoch {growth.last_epoch}, and it does not "
                f"level off.{ends}"
            ),
            evidence={
                "where": where,
                "bytes_per_epoch": round(growth.per_epoch),
                "bytes_before": round(growth.before),
                "bytes_now": round(growth.now),
                "since_epoch": growth.first_epoch,
                "threshold": round(max(1e6 * self.limit.megabytes, self.limit.share * growth.before)),
                "bytes_left": left,
                "epochs_left": None if lasts is None else round(lasts, 1),
            },
            fixes=self._fixes(where),
            subject=where,
            acts=False,
        )

    def _fixes(self, where: Where) -> tuple[Fix, ...]:
        workers = self.facts.config.data.num_workers
        none = Fix(
            id="no_workers",
            title=f"data.num_workers {workers} → 0, from the last valid checkpoint",
            effect="workers, and what they hold, are gone; slower loading",
            changes={"data.num_workers": 0},
            action="restart_from",
            checkpoint=LAST_VALID,
            by_itself=False,
        )
        return (none, _FIND, _RESUME) if where == "workers" else (_FIND, _RESUME)


_FIND = advice(
    "find_what_is_kept",
    "find what is kept: losses or outputs in a list without .item() or .detach(), a cache without a bound",
    "memory stays level, for good",
)
_RESUME = advice(
    "end_and_resume",
    "stop, and go on in a new process: the same command with --resume auto",
    "begins with little memory again and goes on to the same bits; a way to the end of this run, no cure",
)


def _free(where: Where, history: History) -> int | None:
    """Bytes that are left for it to grow into."""
    if not history.memory:
        return None
    sample = history.memory[-1][1]
    if where == "device":
        gpu = next((item for item in sample.gpus if item.get("ours")), {})
        total, used = gpu.get("memory_total"), gpu.get("memory_used")
    else:
        total, used = sample.ram_total, sample.ram_used
    return None if total is None or used is None else max(0, total - used)
