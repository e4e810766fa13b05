"""nan_loss: a batch gave a non-finite loss or gradient, and was left out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from tui_trainer.diagnostics import remedies
from tui_trainer.diagnostics.fix import LAST_VALID
from tui_trainer.diagnostics.rule import Problem, Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.diagnostics.history import History


class NanLoss(Rule):
    """Follows skipped batches; each adds to the one diagnostic of the run, whose last line tells the whole.

    `consecutive`: batches in a row from which on an automatic fix acts; a single bad batch has been left out already.
    """

    code = "nan_loss"
    thresholds: ClassVar[Mapping[str, float]] = {"consecutive": 3}
    fix_ids = ("lower_lr_10_clip", "lower_lr_100_clip", "lower_lr_10", "lower_lr_100")

    def on_skip(self, history: History) -> Problem | None:
        """The diagnostic as it stands after this batch."""
        skip, config = history.skip, self.facts.config
        if skip is None:
            return None
        what = f"gradient of {skip.parameter}" if skip.parameter and math.isfinite(skip.loss) else "loss"
        return Problem(
            severity="critical",
            message=(
                f"Non-finite {what} at step {skip.step} (epoch {skip.epoch}); the batch was left out, the weights "
                f"are as before it. {history.skips} in this run, {skip.consecutive} in a row."
            ),
            evidence={
                "loss": skip.loss,
                "parameter": skip.parameter,
                "skipped": history.skips,
                "consecutive": skip.consecutive,
                "first_step": history.first_skip,
                "rows": list(skip.batch_rows),
            },
            fixes=(
                remedies.lower_rate(config, 10, checkpoint=LAST_VALID, clip=True),
                remedies.lower_rate(config, 100, checkpoint=LAST_VALID, clip=True),
            ),
            since=history.first_skip,
            again=True,
            acts=skip.consecutive >= self.limit.consecutive,
        )
