"""data_leakage: what the model is judged by, it has seen: validation samples are in the train set too."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from tui_trainer.diagnostics.curves import finite
from tui_trainer.diagnostics.remedies import advice
from tui_trainer.diagnostics.rule import Problem, Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.diagnostics.fix import Fix
    from tui_trainer.diagnostics.history import History


class DataLeakage(Rule):
    """Reads what was found before training (`context.copies`), and the first epochs.

    `share`: part of the validation set that is in the train set, exactly or all but exactly. `copies`: that many
    different ones at least: a few are chance. `critical`: share from which on no figure can be trusted. Repetition lies
    in the task where the values of its columns make no more than `combinations` inputs a sample, or where fewer inputs
    than the share `distinct` of all differ, and targets of equal ones do.
    `near_perfect`: accuracy (or R²) of both sets in the first epochs that is too good to be believed.
    """

    code = "data_leakage"
    thresholds: ClassVar[Mapping[str, float]] = {
        "share": 0.01,
        "copies": 4,
        "critical": 0.1,
        "distinct": 0.2,
        "combinations": 4,
        "near_perfect": 0.995,
    }
    fix_ids = ("split_by_group", "drop_copies", "look_for_target")

    def before_training(self) -> Problem | None:
        """A problem where more validation samples are in train than chance and the task explain."""
        found: Mapping[str, Any] = self.facts.context.get("copies", {})
        compared = int(found.get("compared", 0))
        if not compared:
            return None
        exact = found["contents"] / max(1e-9, found.get("train_share", 1.0))
        near = _beyond_usual(found) * compared
        number = min(compared, round(max(exact, near)))
        if not number:
            return None
        share, limit = number / compared, self.limit
        by_nature = self._repeats_by_nature(found)
        few = number < limit.copies or share < limit.share
        kind = "exactly" if exact >= near else "all but exactly"
        rows = ", ".join(map(str, found["rows"][:5]))
        remark = ""
        if by_nature:
            remark = f" Only {found['distinct']:.1%} of all inputs differ: the task repeats itself."
        elif found.get("train_share", 1.0) < 1:
            remark = f" Estimated from {found['train_share']:.0%} of the train set."
        return Problem(
            severity="info" if few or by_nature else "critical" if share >= limit.critical else "warning",
            message=(
                f"{number} of {compared} validation samples ({share:.1%}, limit {limit.share:.0%}) are {kind} in the "
                f"train set too{f' (rows {rows} …)' if rows else ''}: validation figures are too good.{remark}"
            ),
            evidence={**found, "value": share, "threshold": limit.share},
            fixes=() if by_nature else self._fixes(),
            subject="copies",
        )

    def _repeats_by_nature(self, found: Mapping[str, Any]) -> bool:
        """Whether inputs cannot but be equal (their columns take few values), or equal ones have different targets."""
        samples = self.facts.train_samples + self.facts.val_samples
        if found.get("possible", math.inf) <= self.limit.combinations * samples:
            return True
        return bool(found["distinct"] < self.limit.distinct and found["disagree"] > 0.02 * found["copies"])

    def on_epoch(self, history: History) -> Problem | None:
        """Worth knowing: both sets all but perfect from the first epoch on, validation no worse than train."""
        name = next((item for item in ("accuracy", "r2") if item in self.facts.metrics), None)
        if name is None or history.epoch != 3:
            return None
        train, val = (finite(history.metric(f"{side}_{name}")[:3]) for side in ("train", "val"))
        limit = self.limit.near_perfect
        known = len(train) == len(val) == 3
        if not known or min(*train, *val) < limit or any(a > b for a, b in zip(train, val, strict=True)):
            return None
        return Problem(
            severity="info",
            message=(
                f"train_{name} {train[0]:.4g} and val_{name} {val[0]:.4g} in the first epoch already (limit {limit:g}): "
                "an easy task, or one of the inputs tells the target."
            ),
            evidence={"train": train, "val": val, "threshold": limit, "since_epoch": 1},
            fixes=(self._look(),),
            subject="near_perfect",
        )

    def _fixes(self) -> tuple[Fix, ...]:
        return (
            advice(
                "drop_copies",
                "drop repeated samples before the data is divided, then start again",
                "each content is in one set only; fewer samples",
            ),
            advice(
                "split_by_group",
                "data.group_by: a column that is equal for samples that belong together (person, recording, source)",
                "related samples stay in one set; validation falls to what new data will show",
            ),
        )

    def _look(self) -> Fix:
        return advice(
            "look_for_target",
            "look for an input that is made from the target, or known only after it",
            "the task becomes what it will be in use",
        )


def _beyond_usual(found: Mapping[str, Any]) -> float:
    """The share of validation samples closer to train than usual, beyond what chance gives where some always are."""
    if "near" not in found or not found["near_compared"]:
        return 0.0
    share, usual, number = (
        found["near"] / found["near_compared"],
        found.get("near_usual", 0.0),
        found["near_compared"],
    )
    chance = 3 * math.sqrt(max(usual, 1 / number) * (1 - usual) / number) if usual else 0.0
    return float(max(0.0, share - usual - chance) / max(1e-9, found.get("near_share", 1.0)))
