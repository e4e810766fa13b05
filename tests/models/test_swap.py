"""Swapped activations: every module of the class, the weights untouched, and refused where it would mean nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tui_trainer.config.errors import ModelError
from tui_trainer.models.swap import swap_modules


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU(inplace=True)
        self.blocks = nn.Sequential(nn.Linear(4, 4), self.act, nn.Linear(4, 4), nn.ReLU())

    def forward(self, x):
        return self.act(self.blocks(x))


def test_every_module_of_the_class_is_replaced_and_weights_stay():
    model = Shared().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    names = swap_modules(model, {"ReLU": "LeakyReLU"})
    assert sorted(names) == ["act", "blocks.1", "blocks.3"]
    assert model.act is model.blocks[1]
    assert not model.act.training
    assert not any(isinstance(item, nn.ReLU) for item in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (model(torch.full((1, 4), -5.0)) != 0).all()


def test_it_can_be_taken_back():
    torch.manual_seed(0)
    model, x = Shared(), torch.randn(8, 4)
    before = model(x)
    swap_modules(model, {"ReLU": "GELU"})
    assert not torch.equal(model(x), before)
    swap_modules(model, {"GELU": "ReLU"})
    assert torch.equal(model(x), before)


@pytest.mark.parametrize(
    ("swaps", "said"),
    [
        ({"ReLU": "Linear"}, "cannot be swapped"),
        ({"Tanh": "ReLU"}, "has no Tanh"),
        ({"Relu": "GELU"}, "ReLU"),
    ],
)
def test_what_makes_no_sense_is_refused(swaps, said):
    with pytest.raises(ModelError, match=said):
        swap_modules(Shared(), swaps)
