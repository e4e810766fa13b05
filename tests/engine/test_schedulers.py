"""Learning rate schedules: the rates they give, exact resume, and what the run fills in."""

from __future__ import annotations

import io
import math
import warnings

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from tui_trainer.config.errors import ModelError
from tui_trainer.config.schema import SchedulerConfig
from tui_trainer.engine.schedulers import build_schedule

EPOCHS, STEPS = 6, 5
PER_STEP = {"one_cycle", "linear", "cosine_with_warmup", "constant_with_warmup"}
EVERY = [
    ("none", {}),
    ("reduce_on_plateau", {"patience": 0, "factor": 0.5}),
    ("step", {"step_size": 2}),
    ("step", {}),
    ("multistep", {"milestones": [2, 4]}),
    ("multistep", {}),
    ("exponential", {"gamma": 0.9}),
    ("cosine", {"eta_min": 1e-5}),
    ("one_cycle", {}),
    ("linear", {"warmup_steps": 4}),
    ("cosine_with_warmup", {"warmup_fraction": 0.2, "end_factor": 0.1}),
    ("constant_with_warmup", {"warmup_steps": 3}),
    ("torch.optim.lr_scheduler:CosineAnnealingWarmRestarts", {"T_0": 2}),
    (
        "torch.optim.lr_scheduler:CyclicLR",
        {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 2, "cycle_momentum": False},
    ),
    ("users_schedules:lambdas", {}),
    ("users_schedules:chained", {}),
    ("users_schedules:by_another_name", {}),
]

USERS = """
from torch.optim.lr_scheduler import *
def lambdas(optimizer, total_steps):
    return LambdaLR(optimizer, lambda step: 1 - step / (2 * total_steps))
def chained(optimizer):
    warm = LinearLR(optimizer, 0.1, total_iters=2)
    return SequentialLR(optimizer, [warm, ExponentialLR(optimizer, 0.8)], milestones=[2])
def by_another_name(opt, total_steps):
    return LinearLR(opt, 1.0, 0.5, total_iters=total_steps)
def nothing(optimizer):
    return 3
"""


@pytest.fixture
def make(tmp_path):
    (tmp_path / "users_schedules.py").write_text(USERS)

    def make(
        target, interval="epoch", monitor_mode="min", learning_rate=0.1, optimizer=torch.optim.SGD, **args
    ):
        parameters = nn.Linear(2, 2).parameters()
        made = optimizer(parameters, lr=learning_rate)
        schedule = build_schedule(
            SchedulerConfig(target=target, interval=interval, args=args),
            made,
            epochs=EPOCHS,
            steps_per_epoch=STEPS,
            monitor_mode=monitor_mode,
            folder=tmp_path,
        )
        return schedule, made

    return make


def rate(optimizer):
    return optimizer.param_groups[0]["lr"]


def rates(schedule, optimizer, epochs=EPOCHS, losses=None):
    """The learning rate that each step trains with."""
    used = []
    for epoch in range(epochs):
        for _ in range(STEPS):
            used.append(rate(optimizer))
            schedule.after_step()
        schedule.after_epoch(1.0 if losses is None else losses[epoch])
    return used


@pytest.mark.parametrize(
    ("target", "args", "reference"),
    [
        ("step", {"step_size": 2, "gamma": 0.5}, lambda o: lr_scheduler.StepLR(o, 2, 0.5)),
        ("multistep", {"milestones": [1, 4]}, lambda o: lr_scheduler.MultiStepLR(o, [1, 4])),
        ("exponential", {"gamma": 0.9}, lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
        ("cosine", {}, lambda o: lr_scheduler.CosineAnnealingLR(o, EPOCHS)),
    ],
)
def test_epoch_schedules_are_torch_s(make, target, args, reference):
    schedule, optimizer = make(target, **args)
    other = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    theirs, wanted = reference(other), []
    for _ in range(EPOCHS):
        wanted += [rate(other)] * STEPS
        other.step()
        theirs.step()
    assert rates(schedule, optimizer) == wanted


def test_one_cycle_spans_the_run_in_steps_and_never_steps_beyond(make):
    schedule, optimizer = make("one_cycle")
    other = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    theirs = lr_scheduler.OneCycleLR(other, 0.1, total_steps=EPOCHS * STEPS, cycle_momentum=False)
    wanted = []
    for _ in range(EPOCHS * STEPS):
        wanted.append(rate(other))
        other.step()
        if len(wanted) < EPOCHS * STEPS:
            theirs.step()
    assert rates(schedule, optimizer) == wanted
    schedule.after_step()
    assert rate(optimizer) == wanted[-1]


def test_one_cycle_moves_momentum_only_where_there_is_some(make):
    _, without = make("one_cycle")
    assert without.param_groups[0]["momentum"] == 0
    with_momentum, optimizer = make(
        "one_cycle", optimizer=lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9)
    )
    rates(with_momentum, optimizer, epochs=1)
    assert optimizer.param_groups[0]["momentum"] != 0.9


def test_linear_warms_up_then_falls_to_its_end_and_wastes_no_step_at_zero(make):
    used = rates(*make("linear", warmup_steps=10, end_factor=0.0))
    assert used[:10] == pytest.approx([0.1 * (step + 1) / 10 for step in range(10)])
    assert used[10:] == pytest.approx([0.1 * (1 - (step - 10) / 20) for step in range(10, 30)])
    assert min(used) > 0


def test_cosine_with_warmup_falls_by_half_a_cosine_to_its_end_factor(make):
    schedule, optimizer = make("cosine_with_warmup", warmup_fraction=0.2, end_factor=0.1)
    used = rates(schedule, optimizer)
    assert used[5] == pytest.approx(0.1)
    wanted = [0.1 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (step - 6) / 24))) for step in range(6, 30)]
    assert used[6:] == pytest.approx(wanted)
    assert rate(optimizer) == pytest.approx(0.01)


def test_constant_with_warmup_stays_and_can_be_extended(make):
    schedule, optimizer = make("constant_with_warmup", warmup_steps=3)
    assert rates(schedule, optimizer)[3:] == [0.1] * 27
    assert not schedule.fixed_length


def test_lengths_count_in_the_schedule_s_interval(make):
    by_step, optimizer = make("cosine", interval="step")
    used = rates(by_step, optimizer)
    assert by_step.per_step
    assert used[15] == pytest.approx(0.05)  # half of 30 steps
    by_epoch, optimizer = make("cosine")
    assert rates(by_epoch, optimizer)[15] == pytest.approx(0.05)  # half of 6 epochs
    assert not by_epoch.per_step


def test_a_length_in_args_is_kept(make):
    used = rates(*make("cosine", T_max=2))
    assert used[10] == pytest.approx(0.0)


def test_plateau_follows_the_monitored_value_in_its_mode(make):
    falling, rising = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    for mode, losses, drops in (
        ("min", falling, 0),
        ("max", falling, 4),
        ("max", rising, 0),
        ("min", rising, 4),
    ):
        schedule, optimizer = make("reduce_on_plateau", monitor_mode=mode, patience=0, factor=0.5)
        used = rates(schedule, optimizer, losses=losses)
        assert used[-1] == pytest.approx(0.1 * 0.5**drops)
    given, optimizer = make("reduce_on_plateau", monitor_mode="min", mode="max", patience=0, factor=0.5)
    assert rates(given, optimizer, losses=rising)[-1] == 0.1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_non_finite_value_is_no_improvement(make, mode, value):
    schedule, optimizer = make("reduce_on_plateau", monitor_mode=mode, patience=1, factor=0.5)
    for monitored, wanted in ((1.0, 0.1), (value, 0.1), (value, 0.05), (0.5 if mode == "min" else 2.0, 0.05)):
        schedule.after_epoch(monitored)
        assert rate(optimizer) == wanted
    schedule.after_epoch(None)
    assert rate(optimizer) == 0.05


def test_none_leaves_the_rate_alone(make):
    schedule, optimizer = make("none")
    assert set(rates(schedule, optimizer)) == {0.1}
    assert not schedule.per_step
    assert schedule.state_dict() == {}


@pytest.mark.parametrize(
    ("target", "args", "interval"),
    [
        (target, args, interval)
        for target, args in EVERY
        for interval in ("epoch", "step")
        if (target, interval) != ("reduce_on_plateau", "step")  # follows a metric of epochs
    ],
)
def test_a_run_that_is_saved_anywhere_and_resumed_has_the_same_rates(make, target, args, interval):
    losses = [3.0, 2.0, 2.5, 2.6, 1.0, 1.2]
    straight = rates(*make(target, interval, **args), losses=losses)
    schedule, optimizer = make(target, interval, **args)
    for cut in (0, 2, 7, 13, 24):
        used = []
        for step in range(EPOCHS * STEPS):
            if step == cut:
                buffer = io.BytesIO()
                torch.save((schedule.state_dict(), optimizer.state_dict()), buffer)
                schedule, optimizer = make(target, interval, **args)
                states = torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
                optimizer.load_state_dict(states[1])
                before = rate(optimizer)
                schedule.load_state_dict(states[0])
                assert rate(optimizer) == before
            used.append(rate(optimizer))
            schedule.after_step()
            if step % STEPS == STEPS - 1:
                schedule.after_epoch(losses[step // STEPS])
        assert used == straight
        schedule, optimizer = make(target, interval, **args)


def test_a_state_goes_back_as_well_as_forward(make):
    """Rolling back: the best value seen since must be forgotten."""
    schedule, optimizer = make("reduce_on_plateau", patience=0, factor=0.5)
    fresh = schedule.state_dict()
    schedule.after_epoch(0.1)
    schedule.load_state_dict(fresh)
    schedule.after_epoch(5.0)
    assert rate(optimizer) == 0.1


def test_the_state_of_another_schedule_is_refused(make):
    cosine, plateau, none = (make(name)[0] for name in ("cosine", "reduce_on_plateau", "none"))
    for schedule, state in ((cosine, plateau.state_dict()), (plateau, {}), (none, cosine.state_dict())):
        with pytest.raises(ValueError, match="schedule"):
            schedule.load_state_dict(state)


@pytest.mark.parametrize(("target", "args"), EVERY)
def test_no_schedule_warns_nor_touches_optimizer_step(make, target, args):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule, optimizer = make(target, **args)
        schedule.after_step()
        schedule.after_epoch(1.0)
        rates(schedule, optimizer)
    assert "step" not in vars(optimizer)


@pytest.mark.parametrize(("target", "args"), EVERY)
def test_scaling_holds_for_the_rest_of_the_run(make, target, args):
    straight = rates(*make(target, **args), losses=[1.0] * EPOCHS)
    schedule, optimizer = make(target, **args)
    before = rates(schedule, optimizer, epochs=2)
    schedule.scale(0.1)
    after = rates(schedule, optimizer, epochs=EPOCHS - 2, losses=[1.0] * EPOCHS)
    assert before == straight[:10]
    assert after == pytest.approx([value * 0.1 for value in straight[10:]])


@pytest.mark.parametrize(
    ("target", "fixed"), [("cosine", True), ("one_cycle", True), ("linear", True), ("none", False)]
)
def test_a_schedule_laid_out_for_the_run_says_that_its_length_is_fixed(make, target, fixed):
    schedule, _ = make(target)
    assert schedule.fixed_length is fixed
    assert schedule.description[0].startswith("Type: ")


@pytest.mark.parametrize(
    ("target", "settings", "said"),
    [
        ("cosin", {}, "did you mean cosine"),
        ("exponential", {}, "gamma"),
        ("step", {"stepsize": 3}, "did you mean step_size"),
        ("linear", {"warmup_steps": 30}, "below the run's 30 optimizer steps"),
        ("linear", {"warmup_steps": 3, "warmup_fraction": 0.1}, "not both"),
        ("cosine_with_warmup", {"warmup_fraction": 1.5}, "warmup_fraction"),
        ("reduce_on_plateau", {"interval": "step"}, "interval: epoch"),
        ("reduce_on_plateau", {"factor": 2.0}, "[Ff]actor"),
        ("users_schedules:nothing", {}, "gave a int without step"),
    ],
)
def test_what_cannot_be_is_explained(make, target, settings, said):
    with pytest.raises(ModelError, match=said):
        make(target, **settings)


def test_each_parameter_group_keeps_its_own_rate(tmp_path):
    layers = nn.Linear(2, 2), nn.Linear(2, 2)
    groups = [{"params": layer.parameters(), "lr": lr} for layer, lr in zip(layers, (0.1, 0.01), strict=True)]
    for target in ("one_cycle", "linear", "cosine"):
        optimizer = torch.optim.SGD(groups, lr=0.1)
        schedule = build_schedule(
            SchedulerConfig(target=target),
            optimizer,
            epochs=2,
            steps_per_epoch=4,
            monitor_mode="min",
            folder=tmp_path,
        )
        for _ in range(3):
            schedule.after_step()
        first, second = (group["lr"] for group in optimizer.param_groups)
        assert first == pytest.approx(10 * second)
