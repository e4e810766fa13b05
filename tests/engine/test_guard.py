"""The non-finite guard: what was not finite leaves no trace in buffers."""

import math

import pytest
import torch
from torch import nn

from tui_trainer.engine.guard import BufferKeeper, FiniteCheck, first_non_finite


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_check_finds_one_bad_value_in_any_type(bad, dtype):
    tensors = [torch.ones(5, dtype=dtype), torch.ones(3, 4, dtype=dtype)]
    check = FiniteCheck(torch.device("cpu"))
    assert check.look(tensors).item() == 0
    tensors[1][2, 3] = bad
    assert check.look(tensors).item() == 1


def test_an_answer_says_nothing_about_the_next():
    check, good, bad = FiniteCheck(torch.device("cpu")), [torch.ones(3)], [torch.full((3,), math.nan)]
    assert [check.any_bad(item) for item in (good, bad, good, good, bad)] == [False, True, False, False, True]
    assert check.look(bad).item() == 1
    assert not check.any_bad(good)


def test_check_changes_no_value_and_handles_mixed_types():
    tensors = [torch.randn(7), torch.randn(3, dtype=torch.float64), torch.randn(2, dtype=torch.bfloat16)]
    before = [tensor.clone() for tensor in tensors]
    assert FiniteCheck(torch.device("cpu")).look(tensors).item() == 0
    assert all(torch.equal(a, b) for a, b in zip(before, tensors, strict=True))


def test_check_sees_sparse_gradients():
    embedding = nn.Embedding(5, 3, sparse=True)
    (embedding(torch.tensor([1])) * math.inf).sum().backward()
    assert FiniteCheck(torch.device("cpu")).look([embedding.weight.grad]).item() == 1
    assert first_non_finite(list(embedding.named_parameters())) == "weight"


def test_batch_norm_statistics_are_put_back():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3))
    model(torch.randn(8, 3))
    keeper = BufferKeeper([model])
    keeper.keep()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model(torch.full((8, 3), math.nan))
    assert not torch.isfinite(model[0].running_mean).all()
    keeper.restore()
    assert all(torch.equal(before[name], buffer) for name, buffer in model.named_buffers())


def test_buffers_are_followed_over_many_steps():
    model = nn.BatchNorm1d(3)
    keeper = BufferKeeper([model])
    for _ in range(3):
        keeper.keep()
        model(torch.randn(8, 3))
    keeper.keep()
    before = model.running_mean.clone()
    model(torch.full((8, 3), math.nan))
    keeper.restore()
    assert torch.equal(before, model.running_mean)
    assert model.num_batches_tracked.item() == 3


def test_a_buffer_replaced_by_assignment_is_put_back():
    class Averaging(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(3))

        def forward(self, x):
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
            return x

    model = Averaging()
    keeper = BufferKeeper([model])
    keeper.keep()
    model(torch.ones(2, 3))
    keeper.keep()
    before = model.mean.clone()
    model(torch.full((2, 3), math.nan))
    keeper.restore()
    assert torch.equal(model.mean, before)


@pytest.mark.parametrize("found", [0.0, 1.0])
def test_restoring_can_be_decided_on_the_device(found):
    model = nn.BatchNorm1d(3)
    keeper = BufferKeeper([model])
    keeper.keep()
    before = model.running_mean.clone()
    model(torch.full((4, 3), math.nan if found else 2.0))
    after = model.running_mean.clone()
    keeper.restore_where(torch.tensor(found))
    assert torch.equal(model.running_mean, before if found else after)
