"""nan_loss: a batch gave a non-finite loss or gradient, and was left out."""

from __future__ import annotations

from tui_trainer.engine.events import DiagnosticRaised, NonFiniteSkipped

CODE = "nan_loss"
PLAYBOOK = "diagnostics/nan_loss.md"


class NanLossRule:
    """Follows skipped batches; each adds to the one diagnostic of the run, whose last line tells the whole."""

    def __init__(self, earlier: int = 0, first_step: int | None = None) -> None:
        """`earlier`: batches skipped before this attempt; `first_step`: the step of the run's first one."""
        self._count, self._first_step = earlier, first_step

    def observe(self, event: NonFiniteSkipped) -> DiagnosticRaised:
        """The diagnostic as it stands after `event`."""
        self._count += 1
        self._first_step = self._first_step or event.step
        what = (
            f"gradient of {event.parameter}" if event.parameter and event.loss - event.loss == 0 else "loss"
        )
        return DiagnosticRaised(
            time=event.time,
            id=f"{CODE}-1",
            code=CODE,
            severity="critical",
            epoch=event.epoch,
            step=event.step,
            message=(
                f"Non-finite {what} at step {event.step} (epoch {event.epoch}); the batch was left out, the weights "
                f"are as before it. {self._count} in this run, {event.consecutive} in a row."
            ),
            evidence={
                "loss": event.loss,
                "parameter": event.parameter,
                "skipped": self._count,
                "consecutive": event.consecutive,
                "first_step": self._first_step,
                "rows": list(event.batch_rows),
            },
            playbook=PLAYBOOK,
        )
