"""dead_parameters: parts of the model that training does not change, though they look as if it should."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tui_trainer.diagnostics.fix import value_at
from tui_trainer.diagnostics.remedies import advice
from tui_trainer.diagnostics.rule import Problem, Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.diagnostics.fix import Fix


class DeadParameters(Rule):
    """Reads what a dummy pass found (`context.unreached`).

    `numbers`: how many numbers a kind must hold to be told. `critical`: share of the model from which on it is.
    """

    code = "dead_parameters"
    thresholds: ClassVar[Mapping[str, float]] = {"numbers": 1, "critical": 0.5}
    fix_ids = (
        "register_modules", "use_or_remove", "give_to_optimizer", "unfreeze", "declare_frozen",
    )  # fmt: skip

    def before_training(self) -> list[Problem]:
        """One problem a kind."""
        found: Mapping[str, Any] = self.facts.context.get("unreached", {})
        return [
            self._problem(kind, words, found)
            for kind, words in _WORDS.items()
            if found.get(f"{kind}_numbers", 0) >= self.limit.numbers
        ]

    def _problem(self, kind: str, words: str, found: Mapping[str, Any]) -> Problem:
        names, count, numbers = list(found[kind]), found[f"{kind}_count"], found[f"{kind}_numbers"]
        share = numbers / max(1, numbers * (kind == "not_registered") + found["parameters"])
        pretrained = kind == "frozen" and self.facts.config.model.init_from is not None
        listed = ", ".join(names[:5]) + (f" and {count - 5} more" if count > 5 else "")
        return Problem(
            severity="info" if pretrained else "critical" if share >= self.limit.critical else "warning",
            message=f"{words.format(names=listed)} ({numbers:,} numbers, {share:.1%} of the model).",
            evidence={"problem": kind, "names": names, "count": count, "numbers": numbers, "value": share},
            fixes=self._fixes(kind, names, count),
            subject=kind,
        )

    def _fixes(self, kind: str, names: list[str], count: int) -> tuple[Fix, ...]:
        frozen = value_at(self.facts.config, "model.freeze") or []
        declare = advice(
            "declare_frozen",
            "say that this is meant: add them to model.freeze",
            "no more said about them; what is trained stays the same",
            changes={"model.freeze": [*frozen, *names]},
        )
        by_kind = {
            "not_registered": [
                advice(
                    "register_modules",
                    "in the model: nn.ModuleList, nn.ModuleDict or nn.Parameter instead of the plain list, dict or tensor",
                    "they are trained, moved to the device and saved in checkpoints",
                )
            ],
            "no_gradient": [
                advice(
                    "use_or_remove",
                    "in the model: use them in forward (look for .detach(), .data, torch.no_grad()), or remove them",
                    "the loss reaches them; or the model says what it is",
                )
            ],
            "not_optimized": [
                advice(
                    "give_to_optimizer",
                    "in the optimizer's target: pass on all parameters that it is given",
                    "they are updated",
                )
            ],
            "frozen": [
                advice(
                    "unfreeze",
                    "in the model: take requires_grad_(False) away from these layers",
                    "they are trained; a pretrained part may forget what it knows",
                )
            ],
        }
        declarable = kind in ("frozen", "no_gradient") and count == len(names)
        return (*by_kind[kind], *([declare] if declarable else []))


_WORDS = {
    "not_registered": (
        "{names} hold layers or weights that the loss reaches, but that are no part of the model: they are never "
        "updated, nor saved"
    ),
    "no_gradient": "{names} get no gradient from the loss: training will not change them",
    "not_optimized": "{names} were not given to the optimizer: training will not change them",
    "frozen": "{names} are frozen (requires_grad is off), and model.freeze does not say so",
}
