"""The x axis: from optimizer steps, and from seconds, to places by epoch, by step or by time, and back."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tui_trainer.session.wording import format_duration

if TYPE_CHECKING:
    from tui_trainer.screens.chart_options import Axis
    from tui_trainer.screens.recorded import Recorded
    from tui_trainer.screens.series import Series

UNITS = ((3 * 3600.0, 3600.0, "hours"), (180.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


@dataclass(frozen=True, slots=True)
class Ruler:
    """Places of one run's steps and seconds on the axis. `unit`: seconds that one on a time axis stands for."""

    axis: Axis
    steps_per_epoch: int
    clock: Series
    unit: float = 1.0
    label: str = "epoch"

    def of_step(self, step: float) -> float:
        """Where `step` stands."""
        if self.axis == "step":
            return step
        if self.axis == "epoch":
            return step / self.steps_per_epoch
        return (self.clock.at(step) or 0.0) / self.unit

    def of_seconds(self, seconds: float) -> float:
        """Where a moment stands."""
        return seconds / self.unit if self.axis == "time" else self.of_step(self.step_at(seconds))

    def step_of(self, x: float) -> float:
        """The step that stands at `x`."""
        if self.axis == "step":
            return x
        if self.axis == "epoch":
            return x * self.steps_per_epoch
        return self.step_at(x * self.unit)

    def step_at(self, seconds: float) -> float:
        """The step that was reached at a moment; the first or last one known outside the run."""
        times, steps = self.clock.ys, self.clock.xs
        index = bisect_left(times, seconds)
        if not times or index == 0:
            return steps[0] if steps else 0.0
        if index == len(times):
            return steps[-1]
        share = (seconds - times[index - 1]) / (times[index] - times[index - 1])
        return steps[index - 1] + share * (steps[index] - steps[index - 1])

    def text(self, x: float) -> str:
        """A place as people read it: "epoch 3.42", "step 154", "12.4s"."""
        if self.axis == "time":
            return format_duration(x * self.unit)
        return f"step {x:.0f}" if self.axis == "step" else f"epoch {x:.2f}"


def ruler_of(recorded: Recorded, axis: Axis, seconds: float) -> Ruler:
    """The ruler of one run on an axis that spans `seconds` (only the unit of a time axis depends on it)."""
    unit, label = next((unit, label) for least, unit, label in UNITS if seconds >= least)
    if axis != "time":
        unit, label = 1.0, axis
    return Ruler(axis, recorded.steps_per_epoch, recorded.clock, unit, label)
