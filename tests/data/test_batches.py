"""Batches of data in memory: always the same ones, wherever an epoch is entered and whatever was done to others."""

import queue
from types import SimpleNamespace

import pytest
import torch

from tui_trainer.data.batches import ArrayBatches, _comes, make_batches
from tui_trainer.data.dataset import ArrayDataset

SAMPLES = 1003


def batches(columns: int, batch_size: int, **options) -> ArrayBatches:
    inputs = torch.arange(SAMPLES * columns, dtype=torch.float32).reshape(SAMPLES, columns)
    source = make_batches(
        ArrayDataset(inputs, torch.arange(SAMPLES)),
        split="train",
        batch_size=batch_size,
        seed=3,
        device=torch.device("cpu"),
        **{"shuffle": True} | options,
    )
    assert isinstance(source, ArrayBatches)
    return source


@pytest.mark.parametrize("columns", [16, 13])  # batches that may be gathered together, and ones that may not
@pytest.mark.parametrize("start", [0, 1, 5, 99, 125])
def test_an_epoch_entered_anywhere_gives_the_batches_that_are_left(columns, start):
    whole = list(batches(columns, 8).epoch(2))
    left = list(batches(columns, 8).epoch(2, start))
    assert [batch.position for batch in left] == list(range(start, 126))
    for batch, other in zip(left, whole[start:], strict=True):
        assert torch.equal(batch.inputs, other.inputs)
        assert torch.equal(batch.targets, batch.rows)
        assert torch.equal(batch.inputs[:, 0].long(), batch.rows * columns)
        assert batch.size == len(batch.inputs)
    assert sorted(torch.cat([batch.rows for batch in whole]).tolist()) == list(range(SAMPLES))


@pytest.mark.parametrize(("columns", "batch_size"), [(16, 8), (13, 8), (1, 3), (64, 32)])
def test_every_batch_begins_where_memory_of_its_own_would(columns, batch_size):
    for batch in batches(columns, batch_size).epoch(1):
        assert batch.inputs.data_ptr() % 64 == 0
        assert batch.targets.data_ptr() % 64 == 0


def test_drop_last_leaves_the_short_batch_out():
    sizes = [batch.size for batch in batches(16, 8, drop_last=True).epoch(1)]
    assert sizes == [8] * 125


def test_a_model_that_changes_its_inputs_in_place_changes_nothing_else():
    weight = torch.full((), 2.0, requires_grad=True)
    source = batches(16, 8)
    expected = list(source.epoch(1))
    for batch, other in zip(source.epoch(1), expected, strict=True):
        assert torch.equal(batch.inputs, other.inputs)
        before = batch.inputs.clone()
        batch.inputs.mul_(weight).sum().backward()
        assert not other.inputs.requires_grad
        assert torch.equal(other.inputs, before)
    assert weight.grad is not None


def test_waiting_for_pinned_batches_ends_when_one_comes_or_the_time_is_over():
    arrivals: queue.Queue[int] = queue.Queue()
    fetched = SimpleNamespace(_data_queue=arrivals)
    assert not _comes(fetched, 0.0)
    arrivals.put(1)
    assert _comes(fetched, 60.0)
    assert arrivals.get_nowait() == 1
