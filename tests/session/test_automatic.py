"""Which fix is tried next without asking: what helped stays, what did not is taken back."""

from __future__ import annotations

from typing import Any

import pytest

from tui_trainer.diagnostics.fix import Action, Fix
from tui_trainer.diagnostics.rule import Problem
from tui_trainer.engine.events import DiagnosticRaised, Severity
from tui_trainer.session.automatic import AutomaticRepair, Move

RATE = "optimizer.learning_rate"


def fix(name: str, rate: float, action: Action = "restart_fresh", **others: Any) -> Fix:
    return Fix(name, name, "", {RATE: rate}, action, **others)


SLOW = (fix("tenfold", 0.1), fix("threefold", 0.03))


class Trying:
    """What a run says to the repair, in short."""

    def __init__(self) -> None:
        self.repair = AutomaticRepair()

    def see(
        self,
        *fixes: Fix,
        learned: float | None = None,
        code: str = "slow",
        severity: Severity = "warning",
        acts: bool = True,
    ) -> Move | None:
        """A problem; a fix that is to be applied is in force at once."""
        told = DiagnosticRaised(
            time=0.0, id=f"{code}-1", code=code, severity=severity, epoch=1, step=1, message="", evidence={},
            fixes=(), applied=None, playbook="",
        )  # fmt: skip
        move = self.repair.raised(told, Problem(severity, "", fixes=fixes, acts=acts), learned=learned)
        if move is not None and move.what == "apply":
            self.repair.applied()
        return move

    def epochs(self, count: int) -> None:
        for _ in range(count):
            self.repair.epoch_finished()


def names(move: Move | None) -> tuple[str | None, bool]:
    assert move is not None
    return (move.fix.id if move.fix else None), move.undo


def test_a_fix_that_did_nothing_is_taken_back_and_the_next_tried() -> None:
    trying = Trying()
    assert names(trying.see(*SLOW, learned=0.02)) == ("tenfold", False)
    trying.epochs(1)
    assert names(trying.see(*SLOW, learned=0.03)) == ("threefold", True)


def test_one_that_taught_more_from_new_weights_on_stays_and_is_built_on() -> None:
    trying = Trying()
    trying.see(*SLOW, learned=0.02)
    trying.epochs(1)
    assert names(trying.see(fix("tenfold", 1.0), learned=0.2)) == ("tenfold", False)


def test_more_epochs_at_the_same_weights_teach_more_in_any_case() -> None:
    trying = Trying()
    trying.see(fix("tenfold", 0.1, "continue"), fix("threefold", 0.03), learned=0.02)
    trying.epochs(1)
    assert names(trying.see(fix("tenfold", 1.0), learned=0.2)) == ("threefold", True)


def test_a_loss_that_is_merely_less_absurd_is_no_progress() -> None:
    trying = Trying()
    trying.see(*SLOW, learned=-1e9)
    trying.epochs(1)
    assert names(trying.see(fix("tenfold", 1.0), learned=-3.0)) == ("threefold", True)


def test_the_same_change_is_made_once() -> None:
    trying = Trying()
    trying.see(*SLOW)
    trying.epochs(3)
    assert names(trying.see(*SLOW)) == ("threefold", False)
    trying.epochs(3)
    assert trying.see(*SLOW) is None


def test_a_range_test_would_find_the_same_rate_whatever_rule_asks_for_it_until_the_model_is_another() -> None:
    find = fix("find", 0.1, range_test=True)
    trying = Trying()
    assert names(trying.see(find)) == ("find", False)
    trying.epochs(3)
    assert names(trying.see(find, *SLOW, code="stall")) == ("tenfold", False)
    trying.epochs(3)
    other = Fix("other", "", "", {"model.args.hidden": [8]}, "restart_fresh")
    assert names(trying.see(other, code="dead")) == ("other", False)
    trying.epochs(3)
    assert names(trying.see(find, code="stall")) == ("find", False)


@pytest.mark.parametrize(("severity", "gives_up"), [("warning", False), ("critical", True)])
def test_five_fixes_are_enough(severity: Severity, *, gives_up: bool) -> None:
    trying = Trying()
    for number in range(5):
        assert names(trying.see(fix("rate", 0.1 + number))) == ("rate", False)
        trying.epochs(3)
    move = trying.see(fix("rate", 7.0), severity=severity)
    assert (move is not None and move.what == "give_up") == gives_up


def test_nothing_is_done_about_what_is_worth_knowing_or_too_late_to_mend() -> None:
    trying = Trying()
    assert trying.see(*SLOW, severity="info") is None
    assert trying.see(*SLOW, acts=False) is None
