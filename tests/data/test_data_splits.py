"""Splits: seeded, of the asked size, stratified, with whole groups on one side."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_trainer.config.errors import DataError
from tui_trainer.data.splits import split_rows


def parts(rows):
    return [set(part.tolist()) for part in rows.values()]


@settings(max_examples=150, deadline=None)
@given(
    samples=st.integers(10, 400),
    val=st.floats(0.1, 0.45),
    test=st.sampled_from([0.0, 0.1, 0.3]),
    classes=st.integers(0, 12),
    seed=st.integers(0, 2**40),
)
def test_every_sample_is_in_exactly_one_split_of_the_asked_size(samples, val, test, classes, seed):
    labels = np.random.RandomState(seed % 1000).randint(0, classes, samples) if classes else None
    rows = split_rows(samples, val_fraction=val, test_fraction=test, seed=seed, labels=labels)
    assert sorted(np.concatenate(list(rows.values()))) == list(range(samples))
    assert len(rows["val"]) == int(samples * val + 0.5)
    assert len(rows.get("test", [])) == int(samples * test + 0.5)
    again = split_rows(samples, val_fraction=val, test_fraction=test, seed=seed, labels=labels)
    assert all(np.array_equal(rows[name], again[name]) for name in rows)


def test_another_seed_gives_another_split():
    first, second = (split_rows(1000, val_fraction=0.2, seed=seed)["val"] for seed in (1, 2))
    assert not np.array_equal(first, second)
    assert len(set(first) & set(second)) < 100


def test_the_split_of_a_seed_never_changes():
    rows = split_rows(20, val_fraction=0.2, test_fraction=0.2, seed=42, labels=np.arange(20) % 2)
    assert rows["test"].tolist() == [0, 8, 15, 17]
    assert rows["val"].tolist() == [1, 5, 16, 18]


def test_classes_keep_their_shares():
    labels = np.repeat([0, 1, 2], [700, 250, 50])
    rows = split_rows(1000, val_fraction=0.2, test_fraction=0.1, seed=3, labels=labels)
    assert np.bincount(labels[rows["val"]]).tolist() == [140, 50, 10]
    assert np.bincount(labels[rows["test"]]).tolist() == [70, 25, 5]


def test_a_class_of_two_is_in_train_and_in_val():
    labels = np.array([0] * 95 + [1, 1] + [2, 2, 2])
    rows = split_rows(100, val_fraction=0.1, test_fraction=0.1, seed=0, labels=labels)
    assert set(labels[rows["train"]]) == {0, 1, 2}
    assert set(labels[rows["val"]]) == {0, 1, 2}
    assert set(labels[rows["test"]]) == {0, 2}


def test_a_class_of_one_stays_in_train():
    labels = np.array([0] * 50 + [1] * 49 + [2])
    for seed in range(10):
        rows = split_rows(100, val_fraction=0.3, seed=seed, labels=labels)
        assert 99 in rows["train"]


def test_labels_that_never_repeat_are_divided_at_random():
    labels = np.arange(100)
    rows = split_rows(100, val_fraction=0.2, seed=0, labels=labels)
    assert rows["val"].max() > 50
    assert rows["val"].min() < 50


@pytest.mark.parametrize("kind", [str, int, float, object])
def test_no_group_is_on_two_sides(kind):
    numbers = np.random.RandomState(0).randint(0, 40, 600)
    groups = np.array(
        [kind(n) if kind is not object else (None if n == 7 else f"g{n}") for n in numbers], dtype=kind
    )
    rows = split_rows(600, val_fraction=0.2, test_fraction=0.2, seed=5, labels=numbers % 3, groups=groups)
    held = [set(groups[part].tolist()) for part in rows.values()]
    assert not held[0] & held[1]
    assert not held[0] & held[2]
    assert not held[1] & held[2]
    assert 80 <= len(rows["val"]) <= 160
    assert 80 <= len(rows["test"]) <= 160
    assert set((numbers % 3)[rows["val"]]) == {0, 1, 2}


def test_groups_are_drawn_by_seed():
    groups = np.arange(300) // 3
    first, second, again = (
        split_rows(300, val_fraction=0.2, seed=seed, groups=groups)["val"] for seed in (1, 2, 1)
    )
    assert np.array_equal(first, again)
    assert len(set(first) & set(second)) < 30


def test_samples_without_a_group_stay_together():
    groups = np.array([1.0, np.nan, 2.0, np.nan, 3.0, 4.0] * 5)
    rows = split_rows(30, val_fraction=0.3, seed=0, groups=groups)
    sides = [name for name, part in rows.items() if np.isnan(groups[part]).any()]
    assert len(sides) == 1


def test_few_groups_still_fill_every_split():
    rows = split_rows(30, val_fraction=0.1, test_fraction=0.1, seed=0, groups=np.repeat([0, 1, 2], 10))
    assert [len(part) for part in rows.values()] == [10, 10, 10]


def test_fewer_groups_than_splits_are_refused():
    with pytest.raises(DataError, match="1 group"):
        split_rows(30, val_fraction=0.2, seed=0, groups=np.zeros(30))


@pytest.mark.parametrize(
    ("samples", "val", "test"), [(4, 0.1, 0.0), (3, 0.9, 0.0), (10, 0.2, 0.01), (5, 0.0, 0.2)]
)
def test_a_fraction_that_leaves_nothing_is_refused_with_the_numbers(samples, val, test):
    with pytest.raises(DataError, match=f"{samples} samples; data.val_fraction {val:g}"):
        split_rows(samples, val_fraction=val, test_fraction=test, seed=0)


def test_global_generators_are_left_alone():
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    split_rows(100, val_fraction=0.2, seed=0, labels=np.arange(100) % 5, groups=np.arange(100) // 2)
    assert random.getstate() == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert torch.equal(torch.get_rng_state(), before[2])
