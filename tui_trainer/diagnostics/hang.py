"""hang: no optimizer step for much longer than steps take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tui_trainer.diagnostics.fix import LAST_VALID, Fix
from tui_trainer.diagnostics.remedies import advice
from tui_trainer.diagnostics.rule import Problem, Rule

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Standstill:
    """Training that stands still: for how many `seconds`, where it was to take `limit` at most.

    `usual`: what 99 of 100 steps stay under, None before there were some. `waits_for_data`: it is a batch that does not
    come. `stack`: lines of the training thread, the user's code first. `checkpoint`: what a new start goes on from.
    """

    seconds: float
    limit: float
    usual: float | None
    epoch: int
    step: int
    waits_for_data: bool
    stack: tuple[str, ...]
    checkpoint: str | None


class Hang(Rule):
    """Told by the watchdog's thread, because the one that trains has nothing to tell.

    `seconds`: the shortest time without a step that counts; `factor`: or so many times what steps take; `first_seconds`:
    while it is not known what they take.
    """

    code = "hang"
    thresholds: ClassVar[Mapping[str, float]] = {"seconds": 60, "factor": 10, "first_seconds": 300}
    fix_ids = ("no_workers", "end_and_resume")

    def limit_for(self, usual: float | None) -> float:
        """Seconds without a step from which on training hangs; `usual`: the 99th percentile of a step's."""
        if usual is None:
            return float(max(self.limit.first_seconds, self.limit.seconds))
        return float(max(self.limit.seconds, self.limit.factor * usual))

    def problem(self, still: Standstill) -> Problem:
        """What is wrong, where the thread stands, and what can be done."""
        doing = "waiting for a batch of data" if still.waits_for_data else "within a training step"
        usual = "" if still.usual is None else f"; 99 of 100 steps take less than {_seconds(still.usual)}"
        where = f" It stands at {still.stack[0]}." if still.stack else ""
        saved = (
            f" Last checkpoint: {still.checkpoint}." if still.checkpoint else " There is no checkpoint yet."
        )
        return Problem(
            severity="critical",
            message=(
                f"No step for {_seconds(still.seconds)} after step {still.step} of epoch {still.epoch}, {doing}"
                f"{usual}.{where}{saved}"
            ),
            evidence={
                "seconds_without_a_step": round(still.seconds, 1),
                "threshold": round(still.limit, 1),
                "usual_step_seconds": None if still.usual is None else round(still.usual, 3),
                "waits_for_data": still.waits_for_data,
                "stack": list(still.stack),
                "last_checkpoint": still.checkpoint,
            },
            fixes=self._fixes(still),
            since=still.step,
            acts=False,
        )

    def _fixes(self, still: Standstill) -> tuple[Fix, ...]:
        wait = "a thread that hangs can neither save nor stop"
        end = advice(
            "end_and_resume",
            "end the process, then go on with --resume auto",
            f"{wait}: what was trained since {still.checkpoint or 'the start'} is trained again, with the same bits",
        )
        workers = self.facts.config.data.num_workers
        if not (still.waits_for_data and workers):
            return (end,)
        none = Fix(
            id="no_workers",
            title=f"data.num_workers {workers} → 0, from the last valid checkpoint",
            effect="the data is read in the process itself: no worker can hang, and an error shows its line; slower",
            changes={"data.num_workers": 0},
            action="restart_from",
            checkpoint=LAST_VALID,
            by_itself=False,
        )
        return (none, end)


def _seconds(value: float) -> str:
    if value < 120:
        return f"{value:.3g} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"
