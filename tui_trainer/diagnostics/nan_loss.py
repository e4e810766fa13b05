"""nan_loss: a batch gave a non-finite loss or gradient, and was left out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from tui_trainer.config.wording import listed
from tui_trainer.diagnostics import remedies
from tui_trainer.diagnostics.fix import LAST_VALID, Fix
from tui_trainer.diagnostics.rule import Problem, Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.diagnostics.history import History
    from tui_trainer.engine.events import NonFiniteSkipped

_NAMED = 8


class NanLoss(Rule):
    """Follows skipped batches; each adds to the one diagnostic of the run, whose last line tells the whole.

    `consecutive`: batches in a row from which on an automatic fix acts; a single bad batch has been left out already.
    """

    code = "nan_loss"
    thresholds: ClassVar[Mapping[str, float]] = {"consecutive": 3}
    fix_ids = (
        "repair_data", "guard_operation", "safer_precision", "lower_lr_10_clip", "lower_lr_100_clip", "lower_lr_10",
        "lower_lr_100", "skip_batches",
    )  # fmt: skip

    def on_skip(self, history: History) -> Problem | None:
        """The diagnostic as it stands after this batch."""
        skip = history.skip
        if skip is None:
            return None
        what = f"gradient of {skip.parameter}" if skip.parameter and math.isfinite(skip.loss) else "loss"
        cause = _in_words(skip.bad_data)
        return Problem(
            severity="critical",
            message=(
                f"Non-finite {what} at step {skip.step} (epoch {skip.epoch}); the batch was left out, the weights "
                f"are as before it. {history.skips} in this run, {skip.consecutive} in a row.{cause}"
            ),
            evidence={
                "loss": skip.loss,
                "parameter": skip.parameter,
                "skipped": history.skips,
                "consecutive": skip.consecutive,
                "first_step": history.first_skip,
                "rows": list(skip.batch_rows),
                "bad_data": skip.bad_data,
                "fp16_overflows": skip.overflows,
            },
            fixes=self._fixes(history, skip),
            since=history.first_skip,
            again=True,
            acts=skip.consecutive >= self.limit.consecutive,
        )

    def _fixes(self, history: History, skip: NonFiniteSkipped) -> tuple[Fix, ...]:
        config = self.facts.config
        slower = tuple(
            remedies.lower_rate(config, factor, checkpoint=LAST_VALID, clip=True) for factor in (10, 100)
        )
        skipping = Fix(
            id="skip_batches",
            title="go on; such batches stay left out",
            effect="right where a few samples are bad; ten in a row still end the run",
            by_itself=False,
        )
        if skip.bad_data:
            return (remedies.advice("repair_data", *_repair(skip.bad_data)), skipping)
        guard = remedies.advice(
            "guard_operation",
            "guard log, sqrt, exp and division in the model or the loss, then start again",
            "finite gradients; torch.autograd.set_detect_anomaly(True) names the line",
        )
        precise: tuple[Fix, ...] = ()
        if config.training.precision == "fp16":
            precise = (remedies.safer_precision(config, self.facts.device),)
        if history.first_skip == 1:  # no step had been taken: no rate can be at fault
            return (*precise, guard, *slower, skipping)
        return (*precise, *slower, guard, skipping)


def _in_words(bad: Mapping[str, Any]) -> str:
    if not bad:
        return ""
    count = len(bad["rows"])
    who = f"sample {bad['rows'][0]}" if count == 1 else f"{count} samples"
    column = f", in {_listed(bad['columns'])}" if bad["columns"] else ""
    return f" The {listed(bad['places'])} of {who} of this batch hold NaN or infinity ({_rows(bad)} of the data{column})."


def _repair(bad: Mapping[str, Any]) -> tuple[str, str]:
    column = f", {_listed(bad['columns'])}" if bad["columns"] else ""
    return (
        f"repair or drop {_rows(bad)} of the data{column}; then start again",
        "no batch is left out any more: the data held NaN or infinity, and no other setting changes that",
    )


def _rows(bad: Mapping[str, Any]) -> str:
    rows = bad["source_rows"]
    return f"{bad['row_name']}{'' if len(rows) == 1 else 's'} {_listed(rows)}"


def _listed(values: list[Any]) -> str:
    more = f" and {len(values) - _NAMED} more" if len(values) > _NAMED else ""
    return ", ".join(str(value) for value in values[:_NAMED]) + more
