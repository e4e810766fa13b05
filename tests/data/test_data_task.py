"""The task that targets call for."""

import pytest
import torch

from tui_trainer.config.errors import DataError
from tui_trainer.data.task import infer_task


@pytest.mark.parametrize(
    ("targets", "kind", "outputs"),
    [
        (torch.tensor([0, 2, 1, 2]), "classification", 3),
        (torch.tensor([0, 1, 1, 0]), "classification", 2),
        (torch.tensor([0, 1, -1, 0]), "classification", 2),
        (torch.tensor([True, False]), "classification", 2),
        (torch.tensor([0.0, 1.0, 1.0]), "binary", 1),
        (torch.tensor([[0.0], [1.0]]), "binary", 1),
        (torch.tensor([0.0, 1.0, float("nan")]), "binary", 1),
        (torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]), "multilabel", 3),
        (torch.tensor([[0, 1], [1, 1]]), "multilabel", 2),
        (torch.tensor([0.5, 2.0]), "regression", 1),
        (torch.tensor([[0.5, 2.0], [1.0, 0.0]]), "regression", 2),
        (torch.tensor([[3, 1], [0, 2]]), "classification", 4),
        (torch.tensor([float("nan"), float("nan")]), "regression", 1),
        (torch.empty(0, dtype=torch.int64), "classification", 1),
        (None, "custom", None),
    ],
)
def test_targets_call_for_a_task(targets, kind, outputs):
    task = infer_task(targets)
    assert (task.kind, task.num_outputs) == (kind, outputs)


def test_a_stated_task_wins():
    assert infer_task(torch.tensor([0, 1, 1]), "binary").num_outputs == 1
    assert infer_task(torch.tensor([0, 5, 9]), "regression").kind == "regression"
    assert infer_task(torch.tensor([0.0, 2.0]), "classification").num_outputs == 3
    assert infer_task(torch.tensor([0, 1]), "custom").num_outputs is None


def test_fractions_are_no_classes():
    with pytest.raises(DataError, match=r"hold 0\.5"):
        infer_task(torch.tensor([0.0, 0.5]), "classification")


def test_named_classes_count_even_where_no_sample_has_them():
    assert infer_task(torch.tensor([0, 1]), class_names=("a", "b", "c")).num_outputs == 3


def test_a_few_labels_far_above_the_rest_are_no_classes():
    labels = torch.arange(300) % 3
    labels[7] = 999
    assert infer_task(labels).num_outputs == 3
    labels[:60] = 999
    assert infer_task(labels).num_outputs == 1000
    sparse = torch.tensor([0, 1, 2, 3, 5] * 20)
    assert infer_task(sparse).num_outputs == 6
