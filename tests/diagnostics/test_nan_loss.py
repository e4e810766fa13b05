"""nan_loss names the data where the data is at fault, and else what the history of the run speaks for."""

from __future__ import annotations

import math

import torch
from torch.utils.data import Dataset

from tests.diagnostics.synthetic import facts_of, raised, skip, steps, told

CODE = "nan_loss"
OWN = "tests.diagnostics.test_nan_loss"
BAD = {"places": ["inputs"], "rows": [4], "source_rows": [17], "row_name": "row", "columns": ["age"]}


class Holed(Dataset):
    """Every fortieth sample holds a NaN from its eighth visit on, when the scan before training has long been."""

    def __init__(self):
        self.visits = [0] * 200

    def __len__(self):
        return 200

    def __getitem__(self, index):
        inputs = torch.randn(3, generator=torch.Generator().manual_seed(index))
        label = int(inputs[0] > 0)
        self.visits[index] += 1
        if index % 40 == 7 and self.visits[index] > 7:
            inputs[2] = math.nan
        return inputs, label


def holed():
    return Holed()


def ids(found) -> list[str]:
    return [fix["id"] for fix in found.fixes]


def test_data_is_named_first() -> None:
    (found,) = told(CODE, facts_of(), [skip(12, bad_data=BAD)])
    assert "row 17 of the data, in age" in found.message
    assert found.evidence["bad_data"] == BAD
    assert ids(found) == ["repair_data", "skip_batches"]
    assert not any(fix["by_itself"] for fix in found.fixes), "no setting mends data"


def test_divergence_is_answered_by_a_lower_rate_from_the_last_valid_checkpoint() -> None:
    (found,) = told(CODE, facts_of(), [*steps([2.0, 2.1]), skip(25)])
    assert ids(found)[0] == "lower_lr_10_clip"
    assert found.fixes[0]["checkpoint"] == "last valid"
    assert found.evidence["first_step"] == 25


def test_a_rate_cannot_be_at_fault_before_the_first_step() -> None:
    (found,) = told(CODE, facts_of(), [skip(1)])
    assert ids(found)[0] == "guard_operation"


def test_clipping_is_not_offered_twice() -> None:
    (found,) = told(CODE, facts_of({"training": {"gradient_clip_norm": 0.5}}), [skip(30)])
    assert ids(found)[:2] == ["lower_lr_10", "lower_lr_100"]


def test_fp16_is_suspected_first_and_its_overflows_are_counted_apart() -> None:
    half = facts_of({"training": {"precision": "fp16"}})
    (found,) = told(CODE, half, [skip(30, overflows=3)])
    assert ids(found)[0] == "safer_precision"
    assert found.fixes[0]["config_diff"] == {"training.precision": {"from": "fp16", "to": "fp32"}}
    assert (found.evidence["fp16_overflows"], found.evidence["skipped"]) == (3, 1)


def test_each_skip_adds_to_the_one_diagnostic() -> None:
    found = told(CODE, facts_of(), [skip(20 + n, consecutive=n + 1) for n in range(4)])
    assert {item.id for item in found} == {"nan_loss-1"}
    assert [item.evidence["skipped"] for item in found] == [1, 2, 3, 4]
    assert {item.evidence["first_step"] for item in found} == {20}


def test_an_automatic_fix_waits_for_batches_in_a_row() -> None:
    from tests.diagnostics.synthetic import watch

    for thresholds, expected in ((None, [False, False, True]), ({"consecutive": 1}, [True, True, True])):
        watching = watch(CODE, facts_of(), thresholds)
        acts = []
        for n in range(3):
            (found,) = watching.observe(skip(20 + n, consecutive=n + 1))
            acts.append(watching.problems[found.id].acts)
        assert acts == expected


def test_bad_samples_are_named_in_training(tmp_path) -> None:
    found = raised(
        tmp_path,
        {"data": {"target": f"{OWN}:holed", "batch_size": 16}, "training": {"epochs": 12}},
    )
    bad = found[CODE].evidence["bad_data"]
    assert bad["columns"] == ["feature_2"]
    assert all(row % 40 == 7 for row in bad["source_rows"])
    assert "exploding_gradients" not in found
