"""Optimizers: the same arithmetic as PyTorch's, the right parameters, clear refusals."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from tui_trainer.config.errors import ModelError
from tui_trainer.config.schema import OptimizerConfig
from tui_trainer.engine.lean_torch import bare_step
from tui_trainer.engine.optimizers import build_optimizer, supports_found_inf

USERS = """
import torch
class Slow(torch.optim.SGD):
    pass
class Strange(torch.optim.Optimizer):
    def __init__(self, params, learning_rate, twist=1):
        super().__init__(params, {"lr": learning_rate, "twist": twist})
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for item in group["params"]:
                item -= group["lr"] * group["twist"] * item.grad
class Searching(torch.optim.SGD):
    def step(self, closure):
        closure()
def factory(params, lr, weight_decay=0.0):
    return torch.optim.SGD(params, lr=lr, weight_decay=weight_decay, momentum=0.9)
def wrong(params, lr):
    return "an optimizer"
"""


def net(*, bias=True):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8, bias=bias), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


@pytest.fixture
def build(tmp_path):
    (tmp_path / "users_optimizers.py").write_text(USERS)

    def build(target="adam", model=None, learning_rate=0.01, weight_decay=0.0, **args):
        config = OptimizerConfig(
            target=target, learning_rate=learning_rate, weight_decay=weight_decay, args=args
        )
        return build_optimizer(config, net() if model is None else model, folder=tmp_path)

    return build


def train(model, step, optimizer, steps=5):
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(16, 6, generator=generator)).square().mean().backward()
        step()
    return [item.detach().clone() for item in model.parameters()]


@pytest.mark.parametrize(
    ("target", "reference", "args"),
    [
        ("adam", torch.optim.Adam, {"betas": [0.8, 0.9]}),
        ("adamw", torch.optim.AdamW, {"amsgrad": True}),
        ("sgd", torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        ("rmsprop", torch.optim.RMSprop, {}),
        ("adagrad", torch.optim.Adagrad, {}),
        ("adadelta", torch.optim.Adadelta, {}),
        ("adamax", torch.optim.Adamax, {}),
        ("nadam", torch.optim.NAdam, {}),
        ("radam", torch.optim.RAdam, {}),
    ],
)
def test_short_names_train_as_torch_s_own_do(build, target, reference, args):
    # A bias before BatchNorm has no gradient but rounding errors, which Adam makes steps of: no two kernels would agree.
    ours, theirs = net(bias=False), net(bias=False)
    optimizer = build(target, ours, weight_decay=0.01, **args)
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in args.items()}
    other = reference(theirs.parameters(), lr=0.01, weight_decay=0.01, **plain)
    got, wanted = train(ours, optimizer.step, optimizer), train(theirs, other.step, other)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(got, wanted, strict=True))


@pytest.mark.parametrize(
    "target", ["adam", "sgd", "rmsprop", "users_optimizers:Strange", "users_optimizers:Slow"]
)
def test_the_bare_step_is_the_step(build, target):
    results = []
    for bare in (False, True):
        model = net()
        optimizer = build(target, model)
        results.append(train(model, bare_step(optimizer) if bare else optimizer.step, optimizer))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_the_bare_step_honours_hooks_and_needs_no_gradients_of_its_own(build):
    model = net()
    optimizer = build("sgd", model)
    step, seen = bare_step(optimizer), []
    train(model, step, optimizer, 1)
    handle = optimizer.register_step_post_hook(lambda *_: seen.append(1))
    train(model, step, optimizer, 2)
    handle.remove()
    train(model, step, optimizer, 1)
    assert seen == [1, 1]
    assert torch.is_grad_enabled()


def test_fused_kernels_are_used_where_they_exist_and_the_user_has_not_chosen(build):
    for target, fused in (("adam", True), ("adamw", True), ("sgd", True), ("rmsprop", False)):
        optimizer = build(target)
        assert bool(optimizer.param_groups[0].get("fused")) is fused
        assert supports_found_inf(optimizer) is fused
    for choice in ({"fused": False}, {"foreach": True}, {"capturable": False}):
        assert not build("adam", **choice).param_groups[0]["fused"]
        assert not supports_found_inf(build("adam", **choice))


def test_found_inf_leaves_a_step_out_exactly_when_we_say_it_does(build):
    for target in ("adam", "adamw", "sgd"):
        model = net()
        optimizer = build(target, model)
        train(model, optimizer.step, optimizer, 1)
        before = [item.detach().clone() for item in model.parameters()]
        optimizer.grad_scale, optimizer.found_inf = None, torch.ones(())
        optimizer.step()
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))


def test_sparse_gradients_are_not_given_to_fused_kernels(build):
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(10, 4, sparse=True)

    model = Words()
    optimizer = build("sgd", model)
    model.table(torch.tensor([1, 2])).sum().backward()
    optimizer.step()
    assert not optimizer.param_groups[0]["fused"]


def test_only_trained_parameters_are_given_to_the_optimizer(build):
    model = net()
    model[0].requires_grad_(False)
    held = [id(item) for group in build(model=model).param_groups for item in group["params"]]
    assert held == [id(item) for item in model.parameters() if item.requires_grad]
    model.requires_grad_(False)
    with pytest.raises(ModelError, match="frozen"):
        build(model=model)
    with pytest.raises(ModelError, match="none at all"):
        build(model=nn.ReLU())


def spared(model, optimizer):
    names = {id(item): name for name, item in model.named_parameters()}
    return {
        names[id(item)]
        for group in optimizer.param_groups
        if group["weight_decay"] == 0
        for item in group["params"]
    }


def test_parameters_can_be_spared_weight_decay_by_pattern_or_kind(build):
    model = net()
    by_kind = build("adamw", model, weight_decay=0.1, exclude_bias_and_norm=True)
    assert spared(model, by_kind) == {"0.bias", "1.weight", "1.bias", "3.bias"}
    by_pattern = build("adamw", model, weight_decay=0.1, no_decay=["3.*", "0.bias"])
    assert spared(model, by_pattern) == {"3.weight", "3.bias", "0.bias"}
    assert sum(len(group["params"]) for group in by_pattern.param_groups) == 6
    assert len(build("adamw", model, exclude_bias_and_norm=True).param_groups) == 1


def test_a_loss_with_parameters_is_trained_along_and_patterns_keep_the_model_s_names(tmp_path):
    class Spread(nn.Module):
        def __init__(self):
            super().__init__()
            self.spread = nn.Parameter(torch.zeros(2))

    model, loss = net(), Spread()
    args = {"no_decay": ["3.*", "loss.*"]}
    config = OptimizerConfig(target="adamw", weight_decay=0.1, args=args)
    optimizer = build_optimizer(config, model, folder=tmp_path, loss_module=loss)
    with_decay, without = (group["params"] for group in optimizer.param_groups)
    assert [id(item) for item in without] == [id(model[3].weight), id(model[3].bias), id(loss.spread)]
    assert len(with_decay) == 4
    model.requires_grad_(False)
    with pytest.raises(ModelError, match="frozen"):
        build_optimizer(config, model, folder=tmp_path, loss_module=loss)


def test_shared_parameters_are_trained_once(build):
    layer = nn.Linear(6, 6)
    optimizer = build("sgd", nn.Sequential(layer, layer))
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 2


def test_import_paths_of_classes_and_factories(build):
    assert build("users_optimizers:Strange", twist=3).param_groups[0]["lr"] == 0.01
    made = build("users_optimizers:factory", weight_decay=0.5)
    assert (made.param_groups[0]["momentum"], made.param_groups[0]["weight_decay"]) == (0.9, 0.5)
    assert isinstance(build("torch.optim:Adam"), torch.optim.Adam)


@pytest.mark.parametrize(
    ("target", "settings", "said"),
    [
        ("lbfgs", {}, "closure"),
        ("torch.optim:LBFGS", {}, "closure"),
        ("users_optimizers:Searching", {}, "closure"),
        ("users_optimizers:wrong", {}, "gave a str"),
        ("adamm", {}, "did you mean adam"),
        ("adam", {"momentum": 0.9}, "has no argument 'momentum'"),
        ("adam", {"beta": [0.9, 0.9]}, "did you mean betas"),
        ("adam", {"betas": [2.0, 0.9]}, "Invalid beta"),
        ("adam", {"lr": 0.1}, "optimizer.learning_rate"),
        ("rprop", {"weight_decay": 0.1}, "has no weight decay"),
        ("adamw", {"weight_decay": 0.1, "no_decay": ["4.*"]}, "matches no trained parameter"),
        ("adamw", {"weight_decay": 0.1, "no_decay": "bias"}, "expected a list"),
    ],
)
def test_what_cannot_be_is_explained(build, target, settings, said):
    with pytest.raises(ModelError, match=said):
        build(target, **settings)


def test_a_usual_run_imports_neither_the_compiler_nor_torchmetrics():
    """Each takes more than a second."""
    code = """
import sys, torch
from pathlib import Path
from tui_trainer.config.schema import LossConfig, OptimizerConfig, SchedulerConfig
from tui_trainer.data.dataset import Task
from tui_trainer.engine.losses import build_loss, combine
from tui_trainer.engine.metrics import build_metrics
from tui_trainer.engine.lean_torch import bare_step
from tui_trainer.engine.optimizers import build_optimizer
from tui_trainer.engine.schedulers import build_schedule
for task in (Task("classification", 4), Task("regression", 4)):
    model = torch.nn.Linear(4, 4)
    loss = build_loss(LossConfig(), task, folder=Path())
    optimizer = build_optimizer(OptimizerConfig(), model, folder=Path())
    schedule = build_schedule(SchedulerConfig(target="one_cycle"), optimizer, epochs=2, steps_per_epoch=4,
                              monitor_mode="min", folder=Path())
    metrics = build_metrics(None, task, folder=Path())[0](torch.device("cpu"))
    step = bare_step(optimizer)
    targets = torch.arange(2) if task.kind == "classification" else torch.ones(2, 4)
    for _ in range(2):
        outputs = model(torch.ones(2, 4))
        combine(loss(outputs, targets))[0].backward()
        step()
        schedule.after_step()
        metrics.update(outputs, targets)
    optimizer.load_state_dict(optimizer.state_dict())
    metrics.compute()
print([name for name in ("torch._dynamo", "torchmetrics", "sklearn") if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
