"""What the data check finds, and what it leaves alone."""

import random
import time

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from tui_trainer.config.errors import DataError
from tui_trainer.data.dataset import ArrayDataset, DataSplits, Task
from tui_trainer.data.fingerprint import fingerprint
from tui_trainer.data.quality import scan


def arrays(inputs, targets, kind="classification", outputs=3, **known):
    """Four fifths for training, the rest for validation."""
    everything = ArrayDataset(torch.as_tensor(inputs), torch.as_tensor(targets))
    shape = tuple(everything.inputs.shape[1:])
    cut = len(everything) * 4 // 5
    rows = torch.arange(len(everything))
    return DataSplits(
        everything.take(rows[:cut]),
        everything.take(rows[cut:]),
        None,
        Task(kind, outputs),
        shape,
        **known,
    )


def clean(count=200, columns=4):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, columns, generator=generator), torch.arange(count) % 3


def problems(splits, **options):
    return {finding.problem: finding for finding in scan(splits, **options)}


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "wine", "diabetes"])
@pytest.mark.parametrize("seed", [0, 42])
def test_the_bundled_data_is_clean(build, name, seed):
    found = scan(build(name, test_fraction=0.15, seed=seed))
    assert [finding.message for finding in found if finding.severity != "info"] == []


def test_clean_data_has_no_findings():
    assert scan(arrays(*clean())) == []


@pytest.mark.parametrize(
    ("value", "name"), [(float("nan"), "NaN"), (float("inf"), "Infinity"), (-float("inf"), "-Infinity")]
)
def test_non_finite_inputs_are_named_by_row_column_and_split(value, name):
    inputs, targets = clean()
    inputs[7, 2] = inputs[190, 0] = value
    found = problems(arrays(inputs, targets, feature_names=("a", "b", "c", "d")))["non_finite_features"]
    assert (found.severity, found.blocks_training) == ("critical", True)
    assert found.evidence["rows"] == [7, 190]
    assert sorted(found.evidence["columns"]) == ["a", "c"]
    assert found.evidence["splits"]["val"] == {"count": 1, "rows": [190]}
    assert found.evidence["examples"][0] == {
        "row": 7,
        "column": "c",
        "value": {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)],
    }
    assert "train row 7; val row 190" in found.message


def test_many_bad_rows_are_counted_and_ten_named():
    inputs, targets = clean()
    inputs[:60, 1] = float("nan")
    found = problems(arrays(inputs, targets))["non_finite_features"]
    assert found.evidence["count"] == 60
    assert len(found.evidence["rows"]) == 10
    assert "and 55 more" in found.message
    assert len(found.message) < 300


def test_huge_finite_values_are_not_infinite():
    inputs, targets = clean()
    inputs[:, 1] *= 3e38 / inputs[:, 1].abs().max()
    assert "non_finite_features" not in problems(arrays(inputs, targets))


@pytest.mark.parametrize(
    ("kind", "targets", "row"),
    [
        ("classification", [0, 1, 2, 3] * 10, 3),
        ("classification", [0, 1, 2, 0] * 9 + [0, 1, -1, 0], 38),
        ("binary", [0.0, 1.0] * 19 + [2.0, 0.0], 38),
        ("binary", [0.0, 1.0] * 19 + [float("nan"), 0.0], 38),
        ("multilabel", [[0.0, 1.0, 1.0]] * 20 + [[1.0, 0.0, 0.0]] * 19 + [[0.0, -1.0, 0.0]], 39),
        ("regression", [0.5, 7.0] * 19 + [float("inf"), 0.0], 38),
    ],
)
def test_labels_out_of_range_block_training(kind, targets, row):
    found = problems(arrays(torch.randn(40, 2), targets, kind, 3 if kind != "binary" else 1))[
        "label_out_of_range"
    ]
    assert (found.severity, found.blocks_training) == ("critical", True)
    assert found.evidence["rows"][0] == row


def test_a_stated_number_of_outputs_narrows_the_range():
    assert "label_out_of_range" in problems(arrays(*clean()), num_outputs=2)
    assert "label_out_of_range" not in problems(arrays(*clean()), num_outputs=5)


def test_labels_that_cross_entropy_ignores_are_only_mentioned():
    inputs, targets = clean()
    targets[5] = -100
    (found,) = scan(arrays(inputs, targets))
    assert (found.problem, found.severity) == ("label_out_of_range", "info")
    assert (found.blocks_training, found.evidence["rows"]) == (False, [5])


def test_one_class_blocks_training_but_in_val_is_a_warning():
    inputs, targets = clean()
    found = problems(arrays(inputs, torch.ones_like(targets)))["one_class"]
    assert (found.severity, found.blocks_training) == ("critical", True)
    targets[160:] = 2
    found = problems(arrays(inputs, targets))["one_class"]
    assert (found.severity, found.blocks_training) == ("warning", False)
    assert problems(arrays(inputs, torch.ones(200, 1), "binary", 1))["one_class"].blocks_training


def test_targets_that_never_change():
    inputs, _ = clean()
    found = problems(arrays(inputs, torch.full((200, 1), 3.5), "regression", 1))["constant_labels"]
    assert (found.severity, found.blocks_training) == ("critical", False)
    labels = torch.stack([torch.arange(200) % 2, torch.zeros(200)], dim=1).float()
    assert problems(arrays(inputs, labels, "multilabel", 2))["constant_labels"].severity == "warning"


def test_constant_and_unlike_features():
    inputs, targets = clean()
    inputs[:, 1] = 0.1
    found = problems(arrays(inputs, targets))["constant_feature"]
    assert (found.severity, found.evidence["columns"]) == ("info", ["[1]"])
    inputs[:, 2] = inputs[:, 2] * 5e4 + 2e5
    found = problems(arrays(inputs, targets))["unnormalised"]
    assert (found.severity, found.evidence["columns"]) == ("warning", ["[2]"])
    assert problems(arrays(torch.ones(200, 3), targets))["constant_feature"].severity == "critical"


def test_pixels_are_not_called_unnormalised():
    images = torch.randint(0, 256, (100, 1, 6, 6)).float()
    images[:, :, 0, :] = 0
    assert "unnormalised" not in problems(arrays(images, torch.arange(100) % 3))


def test_repeated_rows_are_mentioned():
    inputs, targets = clean()
    inputs[50] = inputs[3]
    inputs[51] = inputs[3]
    found = problems(arrays(inputs, targets))["duplicates"]
    assert (found.severity, found.evidence["count"]) == ("info", 2)
    assert set(found.evidence["rows"]) <= {3, 50, 51}


def test_whole_numbers_and_odd_shapes_are_no_trouble():
    assert scan(arrays(torch.randint(0, 9, (50, 7)), torch.arange(50) % 3)) == []
    assert problems(arrays(torch.randn(50), torch.arange(50) % 3)) == {}
    assert scan(arrays(torch.randn(50, 3).half(), torch.arange(50) % 3)) == []
    maps = torch.randint(0, 3, (50, 4, 4))
    maps[9, 1, 1] = 7
    assert problems(arrays(torch.randn(50, 1, 4, 4), maps))["label_out_of_range"].evidence["rows"] == [9]
    assert scan(arrays(torch.randn(50, 2), torch.randn(50, 2) * float("nan"), "custom", None)) == []


class Random(Dataset):
    """Items drawn from every global generator."""

    def __init__(self, bad=None, count=60):
        self.bad, self.count = bad, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        inputs = torch.randn(3) + random.gauss(0, 1) + np.random.rand()
        if index == self.bad:
            inputs[1] = float("nan")
        return inputs, index % 3


class Unread(Random):
    def __getitem__(self, index):
        if index == self.bad:
            raise KeyError("no such file")
        return {"image": torch.full((2, 2), float("nan") if index == 4 else 1.0), "labels": index % 2}


def items(train, val=None, kind="classification", outputs=3):
    return DataSplits(train, val or Random(count=9), None, Task(kind, outputs), (3,))


def test_looking_changes_nothing():
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    scan(items(Random()))
    fingerprint(items(Random()))
    assert random.getstate() == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert torch.equal(torch.get_rng_state(), before[2])


def test_item_data_sets_are_read_item_by_item():
    found = problems(items(Random(bad=17)))["non_finite_features"]
    assert found.evidence["rows"] == [17]
    assert found.evidence["columns"] == ["[1]"]
    found = problems(items(Unread(), Unread(count=4), "custom", None))["non_finite_features"]
    assert (found.evidence["rows"], found.evidence["columns"]) == ([4], ["image"])
    with pytest.raises(DataError, match="Item 11 of train"):
        scan(items(Unread(bad=11)))


def test_rows_of_a_divided_item_data_set_are_those_of_the_whole(build, user_module):
    module = user_module(
        "import torch\nfrom torch.utils.data import Dataset\n"
        "class Items(Dataset):\n    def __len__(self): return 50\n"
        "    def __getitem__(self, k): return torch.tensor([1.0, float('nan') if k == 33 else float(k)]), k % 2\n"
    )
    splits = build(f"{module}:Items")
    assert problems(splits)["non_finite_features"].evidence["rows"] == [33]


def test_slow_items_are_sampled_within_a_time_bound(monkeypatch):
    clock = iter(np.arange(0, 1000, 0.5))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    read = []

    class Slow(Random):
        def __getitem__(self, index):
            read.append(index)
            return torch.randn(2), index % 3

    scan(items(Slow(count=5000)))
    assert len(read) < 20


# --- the fingerprint ------------------------------------------------------------------------------------------------


def test_equal_data_has_equal_fingerprints(build):
    assert fingerprint(build("wine")) == fingerprint(build("wine"))
    assert fingerprint(build("wine")) != fingerprint(build("wine", seed=1))
    assert len(fingerprint(build("wine"))) == 32


def test_any_changed_number_changes_the_fingerprint():
    inputs, targets = clean()
    before = fingerprint(arrays(inputs, targets))
    changed = inputs.clone()
    changed[150, 3] += 1e-6
    assert fingerprint(arrays(changed, targets)) != before
    assert fingerprint(arrays(inputs.double(), targets)) != before
    targets = targets.clone()
    targets[199] = 0
    assert fingerprint(arrays(inputs, targets)) != before


def test_transforms_do_not_change_the_fingerprint(build, user_module):
    module = user_module("import torch\ndef noise(x): return x + torch.randn_like(x)\n")
    assert fingerprint(build("wine", transforms={"train": f"{module}:noise"})) == fingerprint(build("wine"))


def test_random_items_have_one_fingerprint():
    first = fingerprint(items(Random()))
    random.seed(5)
    torch.manual_seed(5)
    np.random.seed(5)
    assert fingerprint(items(Random())) == first
    assert fingerprint(items(Random())) != fingerprint(items(Random(bad=0)))
