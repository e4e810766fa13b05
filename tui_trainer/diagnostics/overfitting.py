"""overfitting: the model learns the train set by heart, and validation pays for it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from tui_trainer.diagnostics import fit_remedies, remedies
from tui_trainer.diagnostics.curves import noise
from tui_trainer.diagnostics.learning import reference_loss
from tui_trainer.diagnostics.rule import Problem, Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.diagnostics.fix import Fix
    from tui_trainer.diagnostics.history import History


class Overfitting(Rule):
    """Compares train and validation, epoch by epoch.

    `gap`: by how much a train metric (accuracy, R²) is above validation, and beyond `sigmas` standard errors of chance
    in a validation set of this size. `rise`: by what share of its lowest value val_loss is above it (and 1/√samples,
    for tiny sets), beyond `sigmas` times its own noise and `material` of the loss of a predictor without inputs, while
    train_loss falls. `persist`: for that many epochs in a row; `epochs`: not before.
    """

    code = "overfitting"
    thresholds: ClassVar[Mapping[str, float]] = {
        "gap": 0.15,
        "rise": 0.15,
        "material": 0.05,
        "sigmas": 3,
        "persist": 3,
        "epochs": 5,
    }
    fix_ids = (
        "stop", "early_stopping", "weight_decay", "dropout", "dropout_in_code", "smaller_model",
        "smaller_model_in_code", "augment",
    )  # fmt: skip

    def on_epoch(self, history: History) -> Problem | None:
        """A problem where the gap is wide, or validation loss climbs, for some epochs."""
        limit = self.limit
        if len(history.epochs) - history.changed_epoch < max(limit.epochs, limit.persist + 1):
            return None
        found = self._gap(history) or self._rise(history)
        if found is None:
            return None
        message, evidence = found
        best = history.epochs[-1].best_epoch
        return Problem(
            severity="warning",
            message=f"{message} The best epoch was {best}." if best else message,
            evidence=evidence | {"best_epoch": best},
            fixes=self._fixes(history),
        )

    def _gap(self, history: History) -> tuple[str, dict[str, Any]] | None:
        limit, last = self.limit, int(self.limit.persist)
        name = next((item for item in ("accuracy", "r2") if item in self.facts.metrics), None)
        if name is None:
            return None
        train = history.metric(f"train_{name}", since_change=True)[-last:]
        val = history.metric(f"val_{name}", since_change=True)[-last:]
        gaps = [a - b for a, b in zip(train, val, strict=True)]
        doubt = self._doubt(name, train[-1], val[-1])
        if not all(gap > max(limit.gap, doubt) for gap in gaps):
            return None
        return (
            (
                f"train_{name} {train[-1]:.4g} is {gaps[-1]:.3g} above val_{name} {val[-1]:.4g} (limit {limit.gap:g}; "
                f"chance ±{doubt:.2g}), for {last} epochs."
            ),
            {
                "kind": "gap",
                "metric": name,
                "value": gaps[-1],
                "threshold": limit.gap,
                "chance": doubt,
                "since_epoch": history.epoch - last + 1,
            },
        )

    def _doubt(self, name: str, train: float, val: float) -> float:
        """Infinite where nothing is known, else `sigmas` standard errors of the validation figure."""
        samples = self.facts.val_samples
        if samples < 1 or not (math.isfinite(train) and math.isfinite(val)):
            return math.inf
        if name == "accuracy":
            share = (val * samples + 2) / (samples + 4)  # Agresti and Coull 1998
            return float(self.limit.sigmas) * math.sqrt(share * (1 - share) / (samples + 4))
        return float(self.limit.sigmas) * max(0.0, 1 - val) * math.sqrt(2 / samples)

    def _rise(self, history: History) -> tuple[str, dict[str, Any]] | None:
        limit, last = self.limit, int(self.limit.persist)
        val = history.metric("val_loss", since_change=True)
        train = history.metric("train_loss", since_change=True)
        if not all(map(math.isfinite, (*val, *train))) or min(val) <= 0:
            return None
        lowest = min(range(len(val)), key=val.__getitem__)
        since = len(val) - 1 - lowest
        falls = train[-1] < train[lowest] and train[-1] < train[-last - 1]
        if since < last or not falls:
            return None
        chance = 1 / math.sqrt(max(1, self.facts.val_samples or 10_000))
        needed = val[lowest] + max(
            (limit.rise + chance) * val[lowest],
            limit.sigmas * noise(val[lowest // 2 :]),
            limit.material * (reference_loss(self.facts, history) or 0.0),
        )
        if not all(value > needed for value in val[-last:]) or val[-1] <= train[-1]:
            return None
        rise = val[-1] / val[lowest] - 1
        return (
            (
                f"val_loss {val[-1]:.4g} is {rise:.0%} above its lowest, {val[lowest]:.4g} of epoch "
                f"{history.changed_epoch + lowest + 1} (limit {limit.rise:.0%}), while train_loss falls to {train[-1]:.4g}."
            ),
            {
                "kind": "rise",
                "metric": "loss",
                "value": rise,
                "threshold": limit.rise,
                "since_epoch": history.changed_epoch + lowest + 1,
            },
        )

    def _fixes(self, history: History) -> tuple[Fix, ...]:
        config = self.facts.config
        best = history.epochs[-1].best_epoch
        early = fit_remedies.stop_early(config)
        return (
            remedies.stop_here(f"epoch {best} is kept, from before the model began to learn by heart"),
            *([remedies.more_weight_decay(config)] if fit_remedies.takes_weight_decay(config) else []),
            fit_remedies.more_dropout(config),
            fit_remedies.smaller_model(config),
            *([early] if early else []),
            remedies.advice(
                "augment",
                "more data, or random changes that keep the target (data.transforms.train)",
                "the strongest cure, where it can be had",
            ),
        )
