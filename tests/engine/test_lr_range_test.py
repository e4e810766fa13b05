"""The learning-rate range test: a good rate, found without a trace."""

from __future__ import annotations

import copy
import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from tests.runs import differences
from tui_trainer.engine import events
from tui_trainer.engine.checkpoints import load_checkpoint, periodic_name
from tui_trainer.engine.commands import Command
from tui_trainer.engine.lr_range_test import judged, learning_rate_range_test
from tui_trainer.engine.state import capture

OWN = "tests.engine.test_lr_range_test"
SGD = {"optimizer": {"target": "sgd", "learning_rate": 1e-3}}


class Everything(nn.Module):
    """Batch normalisation, dropout, a buffer outside checkpoints, one that is replaced, a frozen layer."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(in_features, 16), nn.BatchNorm1d(16)
        self.second = nn.Linear(16, num_classes)
        self.first.bias.requires_grad_(False)
        self.register_buffer("count", torch.zeros(()), persistent=False)
        self.register_buffer("mean", torch.zeros(16))

    def forward(self, x):
        hidden = self.norm(self.first(x))
        if self.training:
            self.count += 1
            self.mean = 0.9 * self.mean + 0.1 * hidden.detach().mean(0)
            hidden = hidden * random.uniform(0.9, 1.1) * float(np.random.uniform(0.9, 1.1))
        return self.second(nn.functional.dropout(torch.relu(hidden), 0.2, self.training))


ALL = {"model": {"target": f"{OWN}:Everything", "args": {}}, "checkpoint": {"checkpoint_every_n_epochs": 1}}
KINDS = {
    "adam": {"optimizer": {"target": "adam"}},
    "adamw in two groups": {"optimizer": {"target": "adamw", "args": {"exclude_bias_and_norm": True}}},
    "momentum": {"optimizer": {"target": "sgd", "learning_rate": 0.1, "args": {"momentum": 0.9}}},
    "fp16": {"training": {"epochs": 3, "precision": "fp16"}},
    "accumulation": {"training": {"epochs": 3, "gradient_accumulation_steps": 3, "gradient_clip_norm": 1.0}},
    "schedule": {"scheduler": {"target": "cosine", "interval": "step"}},
}


def everything_of(trainer) -> dict[str, object]:
    """All that a checkpoint holds, what it does not, and where the parts are."""
    state = copy.deepcopy({name: item for name, item in capture(trainer).items() if name != "config"})
    model = trainer.parts.model
    state["buffers"] = {name: item.clone() for name, item in model.named_buffers()}
    state["modes"] = [module.training for module in model.modules()]
    state["where"] = [id(item) for item in (*model.parameters(), *model.buffers())]
    state["frozen"] = [item.requires_grad for item in model.parameters()]
    return state


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trained", [False, True], ids=["at the start", "after an epoch"])
def test_nothing_of_the_run_is_changed(make_run, kind, trained):
    changes = ALL | KINDS[kind]
    straight = make_run(changes)
    straight.train()
    run = make_run(changes)
    if trained:
        run.trainer.load(load_checkpoint(straight.folder / periodic_name(1)))
    before = everything_of(run.trainer)
    random.seed(1)  # a seed of its own: the run's generators are compared below
    drawn = random.getstate(), torch.get_rng_state()
    learning_rate_range_test(run.trainer)
    assert random.getstate() == drawn[0]
    assert torch.equal(torch.get_rng_state(), drawn[1])
    after = everything_of(run.trainer)
    for state in (before, after):
        state.pop("rng")
    assert differences(before, after) == []
    assert all(item.grad is None for item in run.trainer.parts.model.parameters())
    assert not run.seen


@pytest.mark.parametrize("kind", KINDS)
def test_the_run_ends_with_the_same_bits_as_without_it(make_run, kind):
    changes = ALL | KINDS[kind]
    straight = make_run(changes)
    straight.train()
    tested = make_run(changes)
    learning_rate_range_test(tested.trainer)
    tested.train()
    assert differences(*(load_checkpoint(run.folder / "last_model.pt") for run in (straight, tested))) == []


def test_what_memory_had_to_be_spared_is_put_back_too(make_run):
    def before(parts):
        def check(module, args):
            if module.training and len(args[0]) > 20:
                raise MemoryError

        parts.model.register_forward_pre_hook(check)

    run = make_run(SGD, before=before)
    found = learning_rate_range_test(run.trainer)
    assert found.losses
    assert run.trainer.step_runner.memory.rows is None
    assert not run.of(events.MemoryShortage)


@pytest.mark.parametrize(
    ("optimizer", "low", "high"), [("sgd", 0.03, 3.0), ("adam", 3e-4, 0.1)], ids=["sgd", "adam"]
)
def test_the_proposed_rate_trains_well(make_run, optimizer, low, high):
    changes = {"optimizer": {"target": optimizer, "learning_rate": 1e-5}}
    found = learning_rate_range_test(make_run(changes).trainer)
    assert found.proposed is not None, found.reason
    assert low <= found.proposed <= high
    losses = {}
    for rate in (found.proposed, found.proposed / 30):
        run = make_run({"optimizer": {"target": optimizer, "learning_rate": rate}, "training": {"epochs": 2}})
        run.train()
        losses[rate] = run.trainer.history[-1]["val_loss"]
    assert losses[found.proposed] < 0.7 * losses[found.proposed / 30]
    assert losses[found.proposed] < 1.3


def test_targets_on_a_large_scale_get_a_small_rate(make_run):
    diabetes = {"data": {"target": "diabetes"}, "metrics": []}
    found = learning_rate_range_test(make_run(SGD | diabetes).trainer)
    assert found.diverged is not None
    assert found.proposed is not None
    assert found.proposed < 0.1
    assert found.proposed <= found.diverged / 10 * 1.06


def test_its_steps_are_bounded(make_run):
    run = make_run(SGD)
    passes = []
    run.trainer.parts.model.register_forward_pre_hook(lambda *_: passes.append(1) and None)
    learning_rate_range_test(run.trainer, steps=1000)
    assert len(passes) <= 103


def test_its_time_is_bounded(make_run):
    """Steps of 2 seconds by a clock of the test's: 30 are made in a minute, not 100."""
    run, now = make_run(SGD), [0.0]

    def tick(*_):
        now[0] += 2

    run.trainer.parts.model.register_forward_pre_hook(tick)
    found = learning_rate_range_test(run.trainer, clock=lambda: now[0])
    assert found.seconds <= 70
    assert found.rates[0] == 1e-6
    assert found.rates[-1] > 0.1


def test_a_command_ends_it(make_run):
    run = make_run(SGD)
    run.trainer.commands.put(Command("stop"))
    found = learning_rate_range_test(run.trainer)
    assert found.proposed is None
    assert "command" in found.reason
    assert len(run.trainer.commands._commands) == 1


# ── the verdict ─────────────────────────────────────────────────────────────────────────────────────────────────

RATES = [10 ** (-6 + 7 * k / 99) for k in range(100)]


def curve(bottom: float, *, noise: float = 0.0, depth: float = 2.0) -> list[float]:
    """A loss that falls most one power of ten below the rate `bottom`, where it turns to rise steeply."""
    generator = random.Random(0)
    return [
        2.3
        - depth / (1 + math.exp(-4 * (math.log10(rate / bottom) + 1)))
        + math.exp(min(6.0, 4 * math.log10(rate / bottom) - 2))
        + noise * generator.gauss(0, 1)
        for rate in RATES
    ]


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("bottom", [1e-3, 1e-1])
def test_the_steepest_fall_is_proposed(bottom, noise):
    found = judged(RATES, curve(bottom, noise=noise), diverged=None)
    assert found.steepest is not None
    assert bottom / 30 <= found.steepest <= bottom / 3
    assert found.proposed == pytest.approx(found.steepest, rel=0.06) or found.reason.startswith("a tenth")


def test_a_rate_near_divergence_is_not_proposed():
    losses = curve(1e-1)
    found = judged(RATES[:60], losses[:60], diverged=RATES[60])
    assert found.proposed is not None
    assert found.proposed <= RATES[60] / 10 * 1.06


def plateau(bottom: float, *, seed: int) -> list[float]:
    """A loss that scatters, hardly falls, and rises from the rate `bottom` on: an LSTM that needs more steps."""
    generator = random.Random(seed)
    return [
        1.1
        - 0.02 * min(1.0, rate / bottom)
        + 0.02 * generator.gauss(0, 1)
        + 0.5 * max(0.0, math.log10(rate / bottom))
        for rate in RATES
    ]


@pytest.mark.parametrize("seed", range(8))
def test_a_plateau_that_a_hundred_steps_do_not_leave_gets_a_rate_below_where_it_rises(seed):
    """The steepest place of such a curve is a matter of chance, and may be a thousand times too low."""
    found = judged(RATES, plateau(1.0, seed=seed), diverged=None)
    assert found.steepest is None
    assert found.proposed is not None
    assert 0.1 <= found.proposed <= 1.0


@pytest.mark.parametrize(
    "losses",
    [
        [2.3] * 100,
        [2.3 + 0.1 * math.sin(37.0 * k) for k in range(100)],
        [1 + 0.1 * k for k in range(100)],
        [1.0, 2.0],
    ],
    ids=["flat", "noise alone", "rising", "too short"],
)
def test_no_rate_is_proposed_where_none_helps(losses):
    found = judged(RATES[: len(losses)], losses, diverged=None)
    assert found.proposed is None
    assert found.reason
