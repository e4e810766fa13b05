"""Everything that a verdict on a run is drawn from, gathered once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tui_trainer.engine.events import from_json_number

if TYPE_CHECKING:
    from tui_trainer.config.schema import Config
    from tui_trainer.phases.analysis.fit import FitFacts
    from tui_trainer.reports.diagnosis_content import (
        Curves,
        DataFacts,
        Examination,
        Fit,
        Gradients,
        Problem,
        Profile,
    )
    from tui_trainer.reports.run_files import RunFiles

UNSTABLE = 0.08
"""Standard deviation of a validation metric over the last third, in points of a fraction, from which on it is unstable."""
FAILED = ("failed", "died", "unknown")


@dataclass(frozen=True, slots=True)
class Evidence:
    """The analyses of a run. `status`: as in `run.json`, but `died` where nobody trains it any more. `config`: None where
    it cannot be read. `fixes`: what the rules offer, in their order: the diagnostic, and the fix as in
    `diagnostics.jsonl`."""

    files: RunFiles
    status: str
    message: str
    config: Config | None
    curves: Curves
    fit: Fit
    fit_facts: FitFacts
    gradients: Gradients
    profile: Profile
    data: DataFacts
    examination: Examination
    problems: tuple[Problem, ...]
    fixes: tuple[tuple[Problem, dict[str, Any]], ...]

    def told(self, *codes: str) -> Problem | None:
        """The first open diagnostic of these kinds that is more than a remark."""
        return next(
            (item for item in self.problems if item.code in codes and item.open and item.severity != "info"),
            None,
        )

    @property
    def critical(self) -> tuple[Problem, ...]:
        """Open and critical."""
        return tuple(item for item in self.problems if item.open and item.severity == "critical")

    @property
    def skipped(self) -> int:
        """Batches that were left out for a loss or gradient that was not finite."""
        value = self.files.summary.get("skipped_batches")
        return value if isinstance(value, int) else 0

    @property
    def learned_nothing(self) -> bool:
        """Whether both sets are at the level of a predictor without inputs, as far as that is known."""
        now = self.fit_facts.standing
        return now is not None and now.is_trivial(0.1)

    def setting(self, key: str) -> Any:
        """A value of the resolved config."""
        return from_json_number(self.files.setting(key))
