"""One batch through model and loss before training: what does not fit is explained, and nothing changes."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
from made_up_data import batch_of, data_of
from torch import nn

from tui_trainer.config.errors import ModelError
from tui_trainer.config.schema import LossConfig
from tui_trainer.data.batches import Batch
from tui_trainer.data.dataset import Task
from tui_trainer.engine.losses import build_loss
from tui_trainer.models.build import check_fits, describe_model


def fit(model, data, loss=None, tmp_path="."):
    check_fits(model, loss or build_loss(LossConfig(), data.task, folder=tmp_path), batch_of(data), data.task)


class Restless(nn.Module):
    """Changes everything that a forward pass can change."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(8, momentum=0.5)
        self.layer = nn.Linear(8, 10)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("replaced", torch.zeros(3), persistent=False)

    def forward(self, x):
        self.calls += 1
        self.replaced = self.replaced + torch.rand(3)
        random.shuffle([1, 2, 3])
        np.random.rand()
        self.train()
        return self.layer(nn.functional.dropout(self.norm(x), 0.5))


def test_nothing_is_different_afterwards():
    model, data = Restless(), data_of(8)
    model.norm.eval()
    model.layer.weight.grad = torch.ones_like(model.layer.weight)
    slots = dict(model.named_buffers())
    before = copy.deepcopy(model.state_dict()), model.replaced.clone()
    modes = [module.training for module in model.modules()]
    generators = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    fit(model, data)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[0][name]), name
    assert torch.equal(model.replaced, before[1])
    assert all(model.get_buffer(name) is buffer for name, buffer in slots.items())
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == generators[1:]
    assert torch.equal(model.layer.weight.grad, torch.ones(10, 8))
    assert model.layer.bias.grad is None


def test_the_first_layer_that_fails_is_named_with_what_it_got_and_wanted():
    model = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(784, 12), nn.ReLU()), nn.Linear(12, 10))
    with pytest.raises(ModelError) as problem:
        fit(model, data_of(1, 8, 8))
    text = str(problem.value)
    for part in (
        "float32[40, 1, 8, 8]",
        "1.0 (Linear",
        "in_features=784",
        "float32[40, 64]",
        "float32[…, 784]",
    ):
        assert part in text


def test_a_wrong_dtype_is_told(build):
    with pytest.raises(ModelError, match=r"float64\[40, 64\].*expects float32"):
        fit(build("mlp", data_of(64)), data_of(64, dtype=torch.float64))


def test_an_error_in_the_user_s_forward_names_its_line(build, user_module):
    name = user_module(
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.layer = nn.Linear(8, 10)\n"
        "    def forward(self, x):\n        return self.layer(x.view(-1, 5))\n"
    )
    with pytest.raises(ModelError, match=rf"{name}.py:8 in forward"):
        fit(build(f"{name}:Net", data_of(8)), data_of(8))


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (nn.Linear(8, 3), "3 logits, but the data has 10 classes"),
        (nn.Sequential(nn.Linear(8, 10), nn.Flatten(0)), "one prediction for each sample"),
        (nn.Linear(8, 1), "bce_with_logits"),
    ],
)
def test_outputs_that_cannot_be_the_task_s_are_refused(layer, said):
    with pytest.raises(ModelError, match=said):
        fit(layer, data_of(8))


def test_regression_targets_are_never_broadcast_silently():
    data = data_of(8, task=Task("regression", 3))
    with pytest.raises(ModelError, match=r"float32\[40, 2\].*float32\[40, 3\]"):
        fit(nn.Linear(8, 2), data)
    with pytest.raises(ModelError, match=r"float32\[40, 1\].*float32\[40, 3\]"):
        fit(nn.Linear(8, 1), data)
    with pytest.raises(ModelError, match="target size"):  # a loss of the user's that would broadcast
        fit(nn.Linear(8, 1), data, loss=lambda outputs, targets, _: nn.functional.mse_loss(outputs, targets))


def test_a_loss_cut_off_from_the_model_is_noticed(user_module, tmp_path):
    name = user_module(
        "def loss(outputs, targets):\n    return nn.functional.cross_entropy(outputs.detach(), targets)\n"
    )
    loss = build_loss(LossConfig(target=f"{name}:loss"), Task("classification", 10), folder=tmp_path)
    with pytest.raises(ModelError, match="does not depend on any parameter"):
        fit(nn.Linear(8, 10), data_of(8), loss=loss)


def test_lazy_layers_get_their_sizes():
    model = nn.Sequential(nn.LazyLinear(6), nn.LazyBatchNorm1d(), nn.Linear(6, 10))
    assert describe_model(model).parameters == 70
    fit(model, data_of(8))
    assert describe_model(model).parameters == 8 * 6 + 6 + 12 + 70


def test_a_model_with_a_loss_of_its_own_and_dict_inputs_fits(tmp_path):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 10)

        def forward(self, values, labels):
            logits = self.layer(values)
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    values, labels = torch.rand(4, 8), torch.arange(4)
    batch = Batch({"values": values, "labels": labels}, labels, 4, 0, torch.arange(4))
    task = Task("custom")
    check_fits(Own(), build_loss(LossConfig(), task, folder=tmp_path), batch, task)


def test_a_huge_class_name_does_not_reach_the_error():
    names = {"__init__": nn.Module.__init__, "forward": lambda self, x: x.nope}
    huge = type("N" * 1_000_000, (nn.Module,), names)
    with pytest.raises(ModelError) as problem:
        fit(nn.Sequential(huge()), data_of(8))
    assert "NNN…" in str(problem.value)
    assert len(str(problem.value)) < 1500
