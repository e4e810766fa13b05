"""A batch that is left out names the samples that hold NaN themselves, wherever the batch still is."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils.data import Dataset

from tui_trainer.config.errors import TrainingError
from tui_trainer.data.dataset import ArrayDataset, DataSplits, Task
from tui_trainer.engine import events
from tui_trainer.engine.bad_data import described, look_up

OWN = "tests.engine.test_bad_data"


class Some(Dataset):
    """200 samples of three features; sample 70 has a NaN in feature 1, sample 120 an infinite target."""

    def __len__(self):
        return 200

    def __getitem__(self, index):
        inputs = torch.arange(3.0) + index / 200
        if index == 70:
            inputs[1] = math.nan
        return inputs, torch.tensor([math.inf if index == 120 else index / 200])


def some():
    return Some()


def test_the_samples_and_columns_are_named(make_run):
    run = make_run(
        {"data": {"target": f"{OWN}:some", "batch_size": 10, "val_fraction": 0.2}, "training": {"epochs": 1}}
    )
    run.train()
    rows = run.trainer.parts.data.train.indices
    found = [skip.bad_data for skip in run.of(events.NonFiniteSkipped)]
    named = {source: item for item in found for source in item["source_rows"]}
    expected = {70, 120} & set(rows)
    assert set(named) == expected
    for source, item in named.items():
        assert [rows[row] for row in item["rows"]] == item["source_rows"]
        assert item["places"] == (["inputs"] if source == 70 else ["targets"])
        assert item["columns"] == (["feature_1"] if source == 70 else [])
    assert expected, "the split keeps at least one of the two for training"


def test_nothing_is_named_where_the_loss_is_at_fault(make_run):
    def poisoned(parts):
        loss = parts.loss

        class Poisoned:
            module, name = loss.module, loss.name

            def __call__(self, outputs, targets, inputs=None):
                return loss(outputs, targets, inputs) * math.nan

        parts.loss = Poisoned()

    run = make_run({"training": {"epochs": 1}}, before=poisoned)
    with pytest.raises(TrainingError, match="10 batches in a row"):
        run.train()
    skips = run.of(events.NonFiniteSkipped)
    assert skips
    assert all(skip.bad_data == {} and skip.overflows == 0 for skip in skips)


def test_data_in_memory_is_looked_up_where_the_batch_is_gone():
    inputs = torch.zeros(6, 2)
    inputs[4, 1] = math.nan
    data = ArrayDataset(inputs, torch.zeros(6, 1), torch.tensor([10, 11, 12, 13, 14, 15]))
    splits = DataSplits(
        data,
        data,
        None,
        Task("regression", 1),
        input_shape=(2,),
        feature_names=("age", "weight"),
        row_name="line",
    )
    found = look_up(data, torch.tensor([3, 4]))
    assert described(found, splits) == {
        "places": ["inputs"],
        "rows": [4],
        "source_rows": [14],
        "row_name": "line",
        "columns": ["weight"],
    }
    assert described(look_up(data, torch.tensor([0, 1])), splits) == {}
    assert described(look_up(Some(), torch.tensor([0, 1])), splits) == {}, "not known, and not asked for"


def test_an_event_with_bad_data_survives_its_file():
    event = events.NonFiniteSkipped(
        time=1.0, epoch=1, step=3, loss=math.nan, parameter=None, consecutive=1, batch_rows=(1, 2),
        bad_data={"places": ["inputs"], "rows": [2], "source_rows": [7], "row_name": "row", "columns": []}, overflows=4,
    )  # fmt: skip
    again = events.decode(events.encode(event))
    assert isinstance(again, events.NonFiniteSkipped)
    assert (again.bad_data, again.overflows) == (event.bad_data, 4)
