"""Where an epoch stands: position, running sums, and its own clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tui_trainer.engine.tally import Tally

if TYPE_CHECKING:
    from torch import Tensor


class _Norms(Tally):
    """A mean of gradient norms that knows whether it has any."""

    @property
    def seen(self) -> bool:
        return bool(self.weight or self.nans or self.plus or self.minus)


class EpochProgress:
    """Everything about an epoch that a resumed run must know to finish it as if nothing had happened.

    `position`: micro-batches taken, `steps`: optimizer steps, `wait`: seconds spent waiting for batches,
    `validation_due`: a validation inside the epoch that has not been finished.
    """

    def __init__(self) -> None:
        self.position = 0
        self.steps = 0
        self.samples = 0
        self.wait = 0.0
        self.loss = Tally()
        self.grad_norm = _Norms()
        self.components: dict[str, Tally] = {}
        self.validation_due = False
        self._layer_sum: Tensor | None = None
        self._layer_count = 0
        self._earlier = 0.0
        self._since = time.perf_counter()
        self._samples_earlier = 0

    def resume_clock(self) -> None:
        """Time counts from now on, behind what an interrupted attempt had spent."""
        self._since = time.perf_counter()
        self._samples_earlier = self.samples

    def elapsed(self) -> float:
        """Seconds this epoch has taken, over all attempts."""
        return self._earlier + time.perf_counter() - self._since

    def forget(self, seconds: float) -> None:
        """Leave out a pause."""
        self._since += seconds

    def rate(self) -> float:
        """Samples a second since the clock was last resumed."""
        spent = time.perf_counter() - self._since
        return (self.samples - self._samples_earlier) / spent if spent > 0 else 0.0

    def component(self, name: str) -> Tally:
        """The running mean of a named loss component."""
        return self.components.setdefault(name, Tally())

    def add_layer_norms(self, norms: Tensor) -> None:
        """Take one step's gradient norms, one a parameter; a non-finite step is left to the raw log."""
        norms = norms.detach().cpu().double()
        if not bool(norms.isfinite().all()):
            return
        self._layer_sum = norms if self._layer_sum is None else self._layer_sum + norms
        self._layer_count += 1

    def layer_norms(self) -> list[float] | None:
        """Mean gradient norm of each parameter over the measured steps; None when there was none."""
        if self._layer_sum is None:
            return None
        return [float(value) for value in (self._layer_sum / self._layer_count).tolist()]

    def state_dict(self) -> dict[str, Any]:
        return {
            "position": self.position,
            "steps": self.steps,
            "samples": self.samples,
            "wait": self.wait,
            "validation_due": self.validation_due,
            "elapsed": self.elapsed(),
            "loss": self.loss.state_dict(),
            "grad_norm": self.grad_norm.state_dict(),
            "components": {name: tally.state_dict() for name, tally in self.components.items()},
            "layer_sum": self._layer_sum,
            "layer_count": self._layer_count,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position, self.steps, self.samples = state["position"], state["steps"], state["samples"]
        self.wait, self._earlier = state["wait"], state["elapsed"]
        self.validation_due = state["validation_due"]
        self.loss.load_state_dict(state["loss"])
        self.grad_norm.load_state_dict(state["grad_norm"])
        for name, item in state["components"].items():
            self.component(name).load_state_dict(item)
        self._layer_sum, self._layer_count = state["layer_sum"], state["layer_count"]
        self.resume_clock()
