"""Metrics against scikit-learn and torchmetrics, exact resume in the middle of a pass, and clear refusals."""

from __future__ import annotations

import io
import math
import weakref
from pathlib import Path

import pytest
import torch
from sklearn import metrics as reference

from tui_trainer.config.errors import ModelError
from tui_trainer.config.schema import MetricConfig
from tui_trainer.data.dataset import Task
from tui_trainer.engine.metrics import build_metrics, default_name, higher_is_better

HERE = Path()
CPU = torch.device("cpu")
FIVE, BINARY = Task("classification", 5), Task("binary", 1)
LABELS3, REGRESSION, TWO_VALUES = Task("multilabel", 3), Task("regression", 1), Task("regression", 2)


def batches(task, count=9, size=7):
    """Outputs and targets that agree more often than not, in batches of unequal size."""
    generator = torch.Generator().manual_seed(3)
    for number in range(count):
        n = size if number < count - 1 else 3
        if task.kind == "classification":
            targets = torch.randint(0, 5, (n,), generator=generator)
            outputs = torch.randn(n, 5, generator=generator) + 1.5 * torch.nn.functional.one_hot(targets, 5)
        elif task.kind == "regression":
            targets = 1e4 + torch.randn(n, task.num_outputs, generator=generator)
            outputs = targets + 0.5 * torch.randn(n, task.num_outputs, generator=generator)
        else:
            targets = torch.randint(0, 2, (n, task.num_outputs), generator=generator).float()
            outputs = torch.randn(n, task.num_outputs, generator=generator) + 2 * targets - 1
        yield outputs, targets


def whole(task):
    outputs, targets = zip(*batches(task), strict=True)
    return torch.cat(outputs), torch.cat(targets)


def made(metrics, task, tmp_path=HERE):
    factory, names = build_metrics(metrics, task, folder=tmp_path)
    return factory(CPU), names


def run(metrics, task, tmp_path=HERE):
    metric_set, _ = made(metrics, task, tmp_path)
    for outputs, targets in batches(task):
        metric_set.update(outputs.requires_grad_(), targets)
    return metric_set.compute()


def test_classification_metrics_agree_with_scikit_learn():
    values = run(
        ["accuracy", "f1", "precision", "recall", "balanced_accuracy", "auroc", "matthews", "cohen_kappa"],
        FIVE,
    )
    outputs, targets = whole(FIVE)
    predicted, probabilities = outputs.argmax(1), outputs.softmax(1)
    wanted = {
        "accuracy": reference.accuracy_score(targets, predicted),
        "f1": reference.f1_score(targets, predicted, average="macro"),
        "precision": reference.precision_score(targets, predicted, average="macro"),
        "recall": reference.recall_score(targets, predicted, average="macro"),
        "balanced_accuracy": reference.balanced_accuracy_score(targets, predicted),
        "auroc": reference.roc_auc_score(targets, probabilities, multi_class="ovr"),
        "matthews": reference.matthews_corrcoef(targets, predicted),
        "cohen_kappa": reference.cohen_kappa_score(targets, predicted),
    }
    assert values == pytest.approx(wanted, abs=1e-6)


def test_binary_metrics_agree_with_scikit_learn():
    values = run(["accuracy", "f1", "auroc", "average_precision", "specificity"], BINARY)
    outputs, targets = whole(BINARY)
    truth, scores, predicted = targets.flatten(), outputs.detach().flatten(), (outputs > 0).flatten()
    wanted = {
        "accuracy": reference.accuracy_score(truth, predicted),
        "f1": reference.f1_score(truth, predicted),
        "auroc": reference.roc_auc_score(truth, scores),
        "average_precision": reference.average_precision_score(truth, scores),
        "specificity": reference.recall_score(truth, predicted, pos_label=0),
    }
    assert values == pytest.approx(wanted, abs=1e-6)


def test_multilabel_metrics_agree_with_scikit_learn():
    values = run(["accuracy", "f1", "exact_match"], LABELS3)
    outputs, targets = whole(LABELS3)
    predicted = outputs > 0
    wanted = {
        "accuracy": 1 - reference.hamming_loss(targets, predicted),
        "f1": reference.f1_score(targets, predicted, average="macro"),
        "exact_match": reference.accuracy_score(targets, predicted),
    }
    assert values == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("task", [REGRESSION, TWO_VALUES])
def test_regression_metrics_agree_with_scikit_learn(task):
    values = run(["mae", "mse", "rmse", "r2"], task)
    outputs, targets = (tensor.double() for tensor in whole(task))
    wanted = {
        "mae": reference.mean_absolute_error(targets, outputs),
        "mse": reference.mean_squared_error(targets, outputs),
        "rmse": math.sqrt(reference.mean_squared_error(targets, outputs)),
        "r2": reference.r2_score(targets, outputs),
    }
    assert values == pytest.approx(wanted, rel=1e-6)


def test_r2_is_exact_where_the_mean_is_far_larger_than_the_spread():
    targets = 1e6 + torch.arange(0.0, 40.0)
    outputs = targets + torch.tensor([1.0, -2.0] * 20)
    metric_set, _ = made(["r2"], REGRESSION)
    for part in torch.arange(40).split(8):
        metric_set.update(outputs[part], targets[part])
    assert metric_set.compute()["r2"] == pytest.approx(
        reference.r2_score(targets.double(), outputs.double()), rel=1e-9
    )


def test_many_batches_and_large_ones_count_in_full():
    predicted, truth = torch.arange(300_000) % 7, torch.arange(300_000) % 5
    outputs = torch.nn.functional.one_hot(predicted, 7).float()
    wanted = int((predicted == truth).sum()) / 300_000
    for size in (100, 1500, 100_000):
        metric_set, _ = made(["accuracy"], Task("classification", 7))
        for part in torch.arange(300_000).split(size):
            metric_set.update(outputs[part], truth[part])
        assert metric_set.compute() == {"accuracy": wanted}


def test_a_model_may_write_its_next_output_over_the_last():
    metric_set, _ = made(["accuracy"], Task("classification", 3))
    kept = torch.zeros(4, 3)
    for label in (0, 1, 2):
        kept.zero_()[:, label] = 1.0
        metric_set.update(kept, torch.full((4,), label))
    assert metric_set.compute() == {"accuracy": 1.0}


def test_many_batches_with_gradients_count_in_full():
    metric_set, _ = made(["accuracy"], Task("classification", 3))
    for label in range(100):
        outputs = torch.eye(3)[[label % 3, 0]].requires_grad_() * 2
        metric_set.update(outputs, torch.tensor([label % 3, 1]))
    assert metric_set.compute() == {"accuracy": 0.5}


def test_logits_that_happen_to_lie_between_0_and_1_are_still_logits():
    outputs, targets = torch.tensor([[0.2], [0.3], [0.1]]), torch.tensor([[1.0], [1.0], [0.0]])
    metric_set, _ = made(["f1", "recall"], BINARY)
    metric_set.update(outputs, targets)
    assert metric_set.compute()["recall"] == 1.0


@pytest.mark.parametrize(
    ("task", "names"),
    [
        (FIVE, ["accuracy"]),
        (BINARY, ["accuracy"]),
        (LABELS3, ["accuracy"]),
        (REGRESSION, ["mae", "r2"]),
        (Task("custom"), []),
    ],
)
def test_metrics_are_inferred_from_the_task(task, names):
    assert made(None, task)[1] == names


def test_accuracy_leaves_ignored_labels_out_and_understands_token_logits():
    metric_set, _ = made(["accuracy"], Task("classification", 3))
    outputs = torch.nn.functional.one_hot(torch.tensor([[0, 1, 2, 1], [2, 2, 0, 1]]), 3).float()
    metric_set.update(outputs, torch.tensor([[0, 1, 0, -100], [2, 0, -100, -100]]))
    assert metric_set.compute() == {"accuracy": 3 / 5}
    metric_set.reset()
    metric_set.update(outputs.movedim(-1, 1), torch.tensor([[0, 1, 0, -100], [2, 0, -100, -100]]))
    assert metric_set.compute() == {"accuracy": 3 / 5}


def test_f1_leaves_ignored_labels_out():
    outputs, targets = whole(FIVE)
    ignoring = torch.where(torch.arange(len(targets)) % 4 == 0, -100, targets)
    metric_set, _ = made(["f1"], FIVE)
    metric_set.update(outputs, ignoring)
    kept = ignoring >= 0
    wanted = reference.f1_score(targets[kept], outputs.argmax(1)[kept], average="macro")
    assert metric_set.compute()["f1"] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_binary_accuracy_takes_one_logit_or_two(shape):
    targets = torch.tensor([0.0, 1, 1, 0, 1, 0]).reshape(shape)
    logit = torch.tensor([-1.0, 2, -3, -1, 1, 4])
    for outputs in (logit, logit.unsqueeze(1), torch.stack([torch.zeros(6), logit], 1)):
        metric_set, _ = made(["accuracy"], BINARY)
        metric_set.update(outputs, targets)
        assert metric_set.compute() == {"accuracy": 4 / 6}


def test_nothing_seen_gives_nan_and_reset_forgets():
    metric_set, _ = made(["accuracy", "f1"], FIVE)
    assert all(math.isnan(value) for value in metric_set.compute().values())
    metric_set.update(torch.eye(5), torch.arange(5))
    assert metric_set.compute() == {"accuracy": 1.0, "f1": 1.0}
    metric_set.reset()
    assert all(math.isnan(value) for value in metric_set.compute().values())


def test_compute_in_the_middle_does_not_disturb():
    metric_set, _ = made(["accuracy", "f1"], FIVE)
    for outputs, targets in batches(FIVE):
        metric_set.update(outputs, targets)
        metric_set.compute()
    assert metric_set.compute() == run(["accuracy", "f1"], FIVE)


@pytest.mark.parametrize(
    ("task", "metrics"),
    [
        (FIVE, ["accuracy", "f1", "auroc", "confusion_matrix"]),
        (BINARY, ["accuracy", "average_precision"]),
        (LABELS3, ["accuracy", "f1"]),
        (REGRESSION, ["mae", "rmse", "r2", "pearson", "spearman", "users_metrics:biggest"]),
        (TWO_VALUES, ["mse", "r2"]),
    ],
)
@pytest.mark.parametrize("cut", [0, 1, 5, 9])
def test_a_pass_that_is_saved_and_resumed_ends_bit_equal(task, metrics, cut, tmp_path):
    (tmp_path / "users_metrics.py").write_text("def biggest(o, t):\n    return (o - t).abs().max()\n")
    straight = run(metrics, task, tmp_path)
    first, _ = made(metrics, task, tmp_path)
    second, _ = made(metrics, task, tmp_path)
    everything = list(batches(task))
    for outputs, targets in everything[:cut]:
        first.update(outputs, targets)
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    for outputs, targets in everything[cut:]:
        first.update(outputs, targets)  # what follows must not leak into what was saved
    second.update(*everything[0])  # nor survive a load
    second.load_state_dict(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    for outputs, targets in everything[cut:]:
        second.update(outputs, targets)
    assert str(first.compute()) == str(straight)
    assert str(second.compute()) == str(straight)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
def test_a_non_finite_output_makes_the_metric_nan_but_never_enters_its_state(poison):
    metric_set, _ = made(["mae", "mse", "r2", "pearson"], REGRESSION)
    outputs, targets = whole(REGRESSION)
    metric_set.update(outputs, targets)
    bad = outputs.detach().clone()
    bad[2] = poison
    metric_set.update(bad, targets)

    def tensors(value):
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (dict, list)):
            for item in value.values() if isinstance(value, dict) else value:
                yield from tensors(item)

    state = metric_set.state_dict()
    assert all(tensor.isfinite().all() for tensor in tensors(state))
    resumed, _ = made(["mae", "mse", "r2", "pearson"], REGRESSION)
    resumed.load_state_dict(state)
    for each in (metric_set, resumed):
        assert all(math.isnan(value) for value in each.compute().values())


def test_per_class_values_and_matrices_become_columns():
    cm = MetricConfig(target="confusion_matrix")
    per_class = MetricConfig(target="F1Score", args={"average": "none"}, name="f1_of")
    values = run([cm, per_class], FIVE)
    outputs, targets = whole(FIVE)
    matrix = reference.confusion_matrix(targets, outputs.argmax(1))
    assert all(values[f"confusion_matrix_{i}_{j}"] == matrix[i, j] for i in range(5) for j in range(5))
    scores = reference.f1_score(targets, outputs.argmax(1), average=None)
    assert [values[f"f1_of_{k}"] for k in range(5)] == pytest.approx(scores.tolist(), abs=1e-6)


def test_torchmetrics_classes_are_found_by_name_and_path_and_take_arguments():
    values = run(
        [
            "MulticlassF1Score",
            "torchmetrics.classification:MulticlassRecall",
            MetricConfig(target="accuracy", args={"top_k": 2}, name="top_2"),
        ],
        FIVE,
    )
    outputs, targets = whole(FIVE)
    assert values["multiclass_f1_score"] == pytest.approx(run(["f1"], FIVE)["f1"])
    assert values["multiclass_recall"] == pytest.approx(run(["recall"], FIVE)["recall"])
    assert values["top_2"] == pytest.approx(reference.top_k_accuracy_score(targets, outputs.detach(), k=2))


def test_functions_of_the_user_s_are_averaged_by_batch_size(tmp_path):
    (tmp_path / "my_metrics.py").write_text(
        "def bias(outputs, targets, scale=1.0):\n    return scale * (outputs - targets).mean()\n"
        "def label(outputs, targets):\n    return 'high'\n"
        "def wrong(outputs, targets):\n    return outputs.no_such_thing\n"
    )
    config = MetricConfig(target="my_metrics:bias", args={"scale": 2.0})
    outputs, targets = whole(REGRESSION)
    wanted = 2 * float((outputs.double() - targets.double()).mean())
    assert run([config], REGRESSION, tmp_path)["bias"] == pytest.approx(wanted, rel=1e-3)
    with pytest.raises(ModelError, match="label returned a str"):
        run(["my_metrics:label"], REGRESSION, tmp_path)
    with pytest.raises(ModelError, match=r"my_metrics\.py:6 in wrong"):
        run(["my_metrics:wrong"], REGRESSION, tmp_path)


@pytest.mark.parametrize(
    ("metrics", "task", "said"),
    [
        (["accurcy"], FIVE, "did you mean accuracy"),
        (["accuracy"], REGRESSION, "mae"),
        (["mae"], FIVE, "task is classification"),
        (["auroc"], REGRESSION, "task is regression"),
        (["pearson"], FIVE, "task is classification"),
        (["accuracy", "accuracy"], FIVE, "name of its own"),
        ([MetricConfig(target="f1", name="loss")], FIVE, "not loss"),
        ([MetricConfig(target="f1", name="a b")], FIVE, "letters"),
        ([MetricConfig(target="f1", args={"averge": "micro"})], FIVE, "averge"),
        ([MetricConfig(target="f1", args={"average": "weird"})], FIVE, "weird|average"),
        (["torch.nn:Linear"], FIVE, "torchmetrics.Metric"),
        (["confusion_matrix"], Task("classification", 30), "900 values"),
    ],
)
def test_metrics_that_cannot_be_are_explained(metrics, task, said):
    with pytest.raises(ModelError, match=said):
        build_metrics(metrics, task, folder=HERE)


@pytest.mark.parametrize(
    ("task", "outputs", "targets"),
    [(FIVE, (4, 5), (3,)), (BINARY, (4, 3), (4, 1)), (LABELS3, (4, 2), (4, 3)), (REGRESSION, (4, 2), (4, 1))],
)
def test_outputs_and_targets_that_do_not_match_are_refused(task, outputs, targets):
    metric_set, _ = made(None, task)
    dtype = torch.int64 if task.kind == "classification" else torch.float32
    with pytest.raises(ModelError, match="cannot compare"):
        metric_set.update(torch.zeros(outputs), torch.zeros(targets, dtype=dtype))


def test_structured_outputs_are_read_by_their_logits():
    class Output:
        logits = torch.eye(5)

    for outputs in (Output(), {"loss": torch.tensor(1.0), "logits": torch.eye(5)}, (torch.eye(5), None)):
        metric_set, _ = made(None, FIVE)
        metric_set.update(outputs, torch.arange(5))
        assert metric_set.compute() == {"accuracy": 1.0}


def test_nothing_keeps_the_graph_of_a_batch_alive():
    metric_set, _ = made(["accuracy", "f1"], FIVE)
    outputs = torch.randn(4, 5, requires_grad=True) * 2
    metric_set.update(outputs, torch.arange(4))
    freed = []
    weakref.finalize(outputs, freed.append, True)
    del outputs
    assert freed == [True]


def test_names():
    assert default_name("torchmetrics.classification:MulticlassF1Score") == "multiclass_f1_score"
    assert default_name("package.module:AUROC") == "auroc"
    assert default_name("my_metrics:bias") == "bias"
    better = {"val_accuracy", "f1", "train_r2", "auroc"}
    worse = {"val_loss", "train_mae", "mse", "mean_absolute_error", "val_rmse", "hamming_distance"}
    assert all(map(higher_is_better, better))
    assert not any(map(higher_is_better, worse))
