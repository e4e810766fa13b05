"""Fixes as data: what would be changed in the config, where training would go on, and what that should bring."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.config.schema import Config

Action = Literal["continue", "restart_from", "restart_fresh", "stop"]
"""continue: from the very state the run is in. restart_from: from a checkpoint. restart_fresh: from new weights.
stop: end the run; its best state is what counts."""

LAST_VALID = "last valid"
"""The newest checkpoint taken after a finite validation and before the first anomaly."""
BEST = "best"
"""The checkpoint of the best epoch."""
BEFORE = "before"
"""The newest checkpoint from before the problem began (`Problem.since`)."""


@dataclass(frozen=True, slots=True)
class Fix:
    """One way out of a problem.

    `changes`: new values by dotted config key. `checkpoint`, for restart_from: `LAST_VALID`, `BEST`, `BEFORE` or the
    name of a file in checkpoints/. `range_test`: the learning rate in `changes` is a guess that a learning-rate range
    test, run from the checkpoint just before going on, replaces; where the test finds none, a guess that differs from
    the present rate stands. `by_itself`: also applied where nobody is asked
    (`on_trigger: fix`); False where only a person can judge it, or must change code.
    """

    id: str
    title: str
    effect: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    action: Action = "continue"
    checkpoint: str | None = None
    range_test: bool = False
    by_itself: bool = True

    def to_json(self, config: Config) -> dict[str, Any]:
        """As it stands in `diagnostics.jsonl`: the diff tells old and new value of each key."""
        return {
            "id": self.id,
            "title": self.title,
            "effect": self.effect,
            "config_diff": {
                key: {"from": value_at(config, key), "to": value} for key, value in self.changes.items()
            },
            "action": self.action,
            "checkpoint": self.checkpoint,
            "range_test": self.range_test,
            "by_itself": self.by_itself,
        }


def value_at(config: Config, key: str) -> Any:
    """What the config holds at a dotted key; None where there is nothing."""
    value: Any = config.model_dump(mode="json", by_alias=True)
    for part in key.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value
