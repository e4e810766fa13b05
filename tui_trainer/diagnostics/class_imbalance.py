"""class_imbalance: one class is rare, and the model has given it up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tui_trainer.diagnostics import fit_remedies
from tui_trainer.diagnostics.remedies import advice
from tui_trainer.diagnostics.rule import Problem, Rule
from tui_trainer.engine.events import PREDICTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.diagnostics.fix import Fix
    from tui_trainer.diagnostics.history import History


class ClassImbalance(Rule):
    """Reads the class counts and the probes of predictions.

    `ratio`: most frequent class against a rarer one, in train samples. `recall`: share of a rare class's validation
    samples that are recognised, at or below which it is given up. `samples`: that many validation samples of it at
    least. `probes`: in how many probes in a row; `epochs`: not before (a shorter run: in its last).
    """

    code = "class_imbalance"
    thresholds: ClassVar[Mapping[str, float]] = {
        "ratio": 10,
        "recall": 0.05,
        "samples": 3,
        "probes": 2,
        "epochs": 5,
    }
    fix_ids = ("balanced_loss", "macro_f1", "oversample")

    def on_epoch(self, history: History) -> Problem | None:
        """A problem where a rare class is (all but) never predicted, again and again."""
        limit, counts = self.limit, self.facts.context.get("class_counts") or []
        looked = history.probes.get(PREDICTIONS, [])[-int(limit.probes) :]
        early = history.epoch < min(limit.epochs, self.facts.epochs)
        if early or len(looked) < limit.probes or looked[-1][0] != history.epoch:
            return None
        most = max(counts, default=0)
        missed: list[dict[str, Any]] = []
        for rows in zip(*(rows for _, rows in looked), strict=False):
            row, number = rows[-1], int(rows[-1]["class"])
            if number >= len(counts) or row["samples"] < limit.samples:
                continue
            rare = most / max(1, counts[number]) > limit.ratio
            if rare and all(item["correct"] <= limit.recall * item["samples"] for item in rows):
                missed.append(row | {"train_samples": counts[number], "ratio": most / max(1, counts[number])})
        if not missed:
            return None
        worst = max(missed, key=lambda row: row["ratio"])
        return Problem(
            severity="warning",
            message=(
                f"Class {self._named(int(worst['class']))} has {worst['train_samples']} train samples, {most} the most "
                f"frequent one ({worst['ratio']:.0f} to 1, limit {limit.ratio:g}); of its {worst['samples']} validation "
                f"samples {worst['correct']} were recognised, in {len(looked)} looks up to epoch {history.epoch}"
                + (f". So it is with {len(missed) - 1} more classes." if len(missed) > 1 else ".")
            ),
            evidence={
                "class": worst["class"],
                "value": worst["ratio"],
                "threshold": limit.ratio,
                "since_epoch": looked[0][0],
                "missed": [
                    {
                        name: row[name]
                        for name in ("class", "samples", "predicted", "correct", "train_samples")
                    }
                    for row in missed[:10]
                ],
                "class_counts": counts[:100],
            },
            fixes=self._fixes(),
        )

    def _named(self, number: int) -> str:
        names = self.facts.context.get("class_names") or []
        named = names[number] if number < len(names) else str(number)
        return named if named == str(number) else f"{number} ({named})"

    def _fixes(self) -> tuple[Fix, ...]:
        config = self.facts.config
        found = [fit_remedies.balanced_loss(config, self.facts.task), fit_remedies.watch_macro_f1(config)]
        return (
            *(fix for fix in found if fix is not None),
            advice(
                "oversample",
                "in the data set: repeat the rare samples (in train alone), or collect more of them",
                "the rare class is seen as often as the others; repeated samples are soon known by heart",
            ),
        )
