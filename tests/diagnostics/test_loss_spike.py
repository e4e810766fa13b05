"""loss_spike fires on a jump that stays, not on a bump that recovers."""

from __future__ import annotations

import torch
from torch import nn

from tests.diagnostics.synthetic import NUMBERS, epochs, facts_of, raised, steps, told, watch

CODE = "loss_spike"
OWN = "tests.diagnostics.test_loss_spike"
CLASSES = facts_of()
FALLING = [2.3 * 0.9**n + 0.3 + 0.02 * (n % 3) for n in range(30)]


class Upset(nn.Module):
    """Cross-entropy that pulls the wrong way for a few steps."""

    def __init__(self, at: int, length: int) -> None:
        super().__init__()
        self.at, self.length = at, length
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = nn.functional.cross_entropy(outputs, targets)
        if self.training:
            self.seen += 1
            if self.at <= int(self.seen) < self.at + self.length:
                return loss - 300 * (loss - loss.detach())
        return loss


def test_a_jump_that_stays_is_found_in_the_logged_steps() -> None:
    (found,) = told(CODE, CLASSES, steps([*FALLING, *[2.0, 2.1, 1.9, 2.0, 2.1, 2.0]]))
    assert found.severity == "warning"
    assert (found.evidence["since_step"], found.step) == (310, 360)
    assert found.evidence["value"] > found.evidence["threshold"]
    assert found.fixes[0]["checkpoint"] == "before"
    assert found.fixes[0]["id"] == "lower_lr_2_clip"


def test_a_jump_to_worse_than_the_start_is_critical() -> None:
    (found,) = told(CODE, CLASSES, steps([*FALLING, *[9.0, 8.0, 8.5, 9.0, 8.0, 9.5]]))
    assert found.severity == "critical"


def test_a_jump_is_found_in_epochs_too() -> None:
    (found,) = told(CODE, CLASSES, epochs([2.0, 1.5, 1.0, 0.7, 0.5, 1.9, 1.8]))
    assert (found.epoch, found.evidence["since_epoch"]) == (7, 6)
    assert found.evidence["since_step"] == 250


def test_a_bump_that_recovers_is_none() -> None:
    assert told(CODE, CLASSES, steps([*FALLING, 5.0, 3.0, 1.0, 0.5, *FALLING[-6:]])) == []
    assert told(CODE, CLASSES, epochs([2.0, 1.5, 1.0, 0.7, 0.5, 1.9, 0.6, 0.5, 0.4])) == []


def test_a_warm_restart_that_costs_a_little_is_none() -> None:
    assert told(CODE, CLASSES, epochs([2.0, 1.0, 0.5, 0.3, 0.2, 0.45, 0.4, 0.3, 0.2, 0.15])) == []


def test_noise_of_tiny_batches_is_none() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(400, generator=generator)
    losses = [float(2.3 * 0.99**n + 0.8 * value) for n, value in enumerate(noise.tolist())]
    assert told(CODE, CLASSES, steps(losses)) == []


def test_losses_below_zero_can_jump_as_well() -> None:
    theirs = facts_of(context={"task": "custom", "loss": "poisson_nll"}, metrics=())
    assert told(CODE, theirs, epochs([0.5, -0.5, -1.0, -1.4, -1.6, -1.7, -1.75, -1.77])) == []
    (found,) = told(CODE, theirs, epochs([0.5, -0.5, -1.0, -1.4, -1.6, 0.4, 0.45]))
    assert found.severity == "warning"


def test_a_jump_of_the_user_s_own_loss_proves_nothing_without_a_metric() -> None:
    own, theirs = (
        {"loss": {"target": "my_losses:two_players"}},
        {"task": "custom", "loss": "my_losses:two_players"},
    )
    jump = epochs([2.0, 1.5, 1.0, 0.7, 0.5, 2.9, 2.8])
    (alone,) = told(CODE, facts_of(own, context=theirs, metrics=()), jump)
    (beside,) = told(CODE, facts_of(own, context=theirs, metrics=("f1",)), jump)
    assert (alone.severity, beside.severity) == ("info", "critical")


def test_a_jump_that_a_new_learning_rate_brought_is_not_held_against_it() -> None:
    watching = watch(CODE, facts_of(context=NUMBERS))
    for event in epochs([6000.0, 4000.0, 3000.0, 2500.0, 2400.0]):
        watching.observe(event)
    watching.history.course_changed()
    later = epochs([6000.0, 4000.0, 3000.0, 2500.0, 2400.0, 5000.0, 5000.0, 4000.0])[5:]
    assert [item for event in later for item in watching.observe(event)] == []


def test_thresholds_can_be_set() -> None:
    events = epochs([2.0, 1.5, 1.0, 0.7, 0.5, 1.9, 1.8])
    assert told(CODE, CLASSES, events, {"lost": 0.95}) == []
    assert told(CODE, CLASSES, events, {"epochs": 3}) == []


def test_a_spike_is_seen_in_training(tmp_path) -> None:
    found = raised(
        tmp_path,
        {
            "data": {"target": "digits"},
            "model": {"target": "mlp", "args": {"hidden": [32]}},
            "loss": {"target": f"{OWN}:Upset", "args": {"at": 270, "length": 5}},
            "optimizer": {"target": "sgd", "learning_rate": 0.1},
            "training": {"epochs": 9},
        },
    )
    assert CODE in found
