"""A diagnostic of one's own: the model grows surer of its mistakes.

Validation accuracy holds while validation loss rises: the wrong answers are given with more and more certainty.
Put a Markdown file of the same name beside it if you want a playbook of your own.
"""

from typing import ClassVar

from tui_trainer.diagnostics.fix import BEST, Fix
from tui_trainer.diagnostics.history import History
from tui_trainer.diagnostics.rule import Problem, Rule


class SureAndWrong(Rule):
    """Fires when the validation loss stands `rise` above its best while accuracy is within `slack` of its best."""

    code = "sure_and_wrong"
    fix_ids = ("smooth_labels",)
    thresholds: ClassVar = {"rise": 0.10, "slack": 0.01, "epochs": 3}

    def on_epoch(self, history: History) -> Problem | None:
        """Look at the last few epochs, a single bump is nothing; and not behind a change, another loss has another scale."""
        losses = history.metric("val_loss", since_change=True)
        accuracies = history.metric("val_accuracy", since_change=True)
        last = int(self.limit.epochs)
        if len(losses) <= last:
            return None
        limit = min(losses) * (1 + self.limit.rise)
        worse = all(loss > limit for loss in losses[-last:])
        as_good = min(accuracies[-last:]) >= max(accuracies) - self.limit.slack
        if not (worse and as_good):
            return None
        smoothing = self.facts.config.loss is not None and self.facts.config.loss.args.get("label_smoothing")
        return Problem(
            severity="warning",
            message=f"Validation loss is {losses[-1]:.3g}, best {min(losses):.3g}, and accuracy has not moved: the "
            "mistakes are made with more certainty.",
            evidence={"val_loss": losses[-1], "best_val_loss": min(losses), "limit": limit},
            fixes=()
            if smoothing
            else (
                Fix(
                    id="smooth_labels",
                    title="label smoothing 0.1, from the best checkpoint",
                    effect="certainty is no longer rewarded without end",
                    changes={"loss.args.label_smoothing": 0.1},
                    action="restart_from",
                    checkpoint=BEST,
                ),
            ),
        )
