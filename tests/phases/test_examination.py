"""Checkpoints looked at again: they reproduce their metrics or it is said why not, and their mistakes are counted rightly."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch import nn

from tests.phases.trained_runs import train_run
from tui_trainer.config.errors import UserError
from tui_trainer.data.dataset import Task
from tui_trainer.engine.manifest import read_manifest, sha256_of, write_manifest
from tui_trainer.phases.examination import examine, recheck_checkpoints
from tui_trainer.phases.reassembly import reassembled


@pytest.fixture
def copied(trained, tmp_path):
    """A run of its own for a test that damages it."""

    def copy(name):
        shutil.copytree(trained(name), tmp_path / name)
        return tmp_path / name

    return copy


def predictions(run):
    """Targets and logits of the best checkpoint on the validation set, in the plainest way."""
    with reassembled(run) as pieces:
        pieces.load("best_model.pt")
        model, data = pieces.parts.model.eval(), pieces.parts.data
        with torch.no_grad():
            return data.val.targets, model(data.val.inputs), data


def test_every_checkpoint_of_a_run_reproduces_its_metrics(trained):
    found = recheck_checkpoints(trained("healthy"))
    names = ["best_model.pt", *(f"checkpoint_epoch_{n}.pt" for n in (2, 4, 6, 8)), "last_model.pt"]
    assert [item.file for item in found] == names
    assert all(item.ok and item.why == "" and item.difference == 0 for item in found)
    assert all(item.measured == item.recorded for item in found)
    assert found[0].recorded.keys() == {"val_loss", "val_accuracy"}


def test_a_deleted_and_a_damaged_checkpoint_are_named(copied):
    run = copied("healthy")
    (run / "checkpoints" / "checkpoint_epoch_4.pt").unlink()
    (run / "checkpoints" / "last_model.pt").write_bytes(b"torn")
    found = {item.file: item for item in recheck_checkpoints(run)}
    assert [name for name, item in found.items() if not item.ok] == ["checkpoint_epoch_4.pt", "last_model.pt"]
    assert found["checkpoint_epoch_4.pt"].why == "the file is not there"
    assert found["checkpoint_epoch_4.pt"].epoch == 4
    assert "damaged" in found["last_model.pt"].why


def forge(run, name, change):
    """Change a checkpoint, and its manifest with it, as no accident does."""
    path = run / "checkpoints" / name
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)
    content = read_manifest(path.parent)
    content["files"][name] |= {"sha256": sha256_of(path), "size": path.stat().st_size}
    write_manifest(path.parent, content)


def test_a_best_checkpoint_that_does_not_reproduce_its_metric_is_found(copied):
    run = copied("healthy")
    recorded = json.loads((run / "checkpoints" / "manifest.json").read_text())["files"]["best_model.pt"][
        "metrics"
    ]

    def flatter(state):
        state["metrics"]["val_accuracy"] += 0.01

    forge(run, "best_model.pt", flatter)
    (best, *others) = recheck_checkpoints(run)
    assert not best.ok
    assert all(item.ok for item in others)
    assert best.difference == pytest.approx(0.01)
    assert f"val_accuracy was recorded as {recorded['val_accuracy'] + 0.01:.6g}" in best.why
    assert f"and is now {recorded['val_accuracy']:.6g}" in best.why


def test_weights_of_another_training_are_found(copied):
    run = copied("healthy")

    def other(state):
        for tensor in state["model_state_dict"].values():
            tensor.mul_(1.01)

    forge(run, "checkpoint_epoch_6.pt", other)
    assert [item.file for item in recheck_checkpoints(run) if not item.ok] == ["checkpoint_epoch_6.pt"]


def test_metrics_of_a_state_inside_an_epoch_are_not_compared(trained):
    found = {item.file: item for item in recheck_checkpoints(trained("crashed"))}
    last = found["last_model.pt"]
    assert last.ok
    assert last.difference is None
    assert "middle of an epoch" in last.why


def test_a_run_whose_data_is_gone_cannot_be_rechecked(copied):
    run = copied("overfitting")
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"config_folder": str(run)}))
    with pytest.raises(UserError, match=r"noise\.npz"):
        recheck_checkpoints(run)
    found = examine(run)
    assert "noise.npz" in found.why_not


def test_looking_leaves_generators_settings_and_the_folder_alone(trained):
    run = trained("healthy")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(not deterministic)
    try:
        for generator in (random.seed, np.random.seed, torch.manual_seed):
            generator(123)
        expected = (random.random(), np.random.rand(), float(torch.rand(())))
        for generator in (random.seed, np.random.seed, torch.manual_seed):
            generator(123)
        examine(run)
        assert (random.random(), np.random.rand(), float(torch.rand(()))) == expected
        assert torch.are_deterministic_algorithms_enabled() is not deterministic
    finally:
        torch.use_deterministic_algorithms(deterministic)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_scores_by_class_are_those_of_scikit_learn(trained):
    run = trained("healthy")
    targets, logits, _ = predictions(run)
    predicted = logits.argmax(1)
    found = examine(run)
    precision, recall, f1, support = precision_recall_fscore_support(
        targets, predicted, labels=range(10), zero_division=0
    )
    assert [item.support for item in found.classes] == support.tolist()
    assert [item.precision or 0 for item in found.classes] == pytest.approx(precision.tolist())
    assert [item.recall or 0 for item in found.classes] == pytest.approx(recall.tolist())
    assert [item.f1 or 0 for item in found.classes] == pytest.approx(f1.tolist())
    matrix = confusion_matrix(targets, predicted, labels=range(10))
    assert [list(row) for row in found.matrix] == matrix.tolist()
    wrong = Counter(
        (str(a), str(b)) for a, b in zip(targets.tolist(), predicted.tolist(), strict=True) if a != b
    )
    assert {(item.target, item.predicted): item.count for item in found.pairs}.items() <= wrong.items()
    assert found.pairs[0].count == max(wrong.values())
    assert found.samples == len(targets) == sum(map(sum, found.matrix))
    assert found.recorded == found.measured


def test_the_worst_samples_are_those_of_the_highest_loss(trained):
    run = trained("healthy")
    targets, logits, data = predictions(run)
    losses = nn.functional.cross_entropy(logits, targets, reduction="none")
    ranked = losses.argsort(descending=True, stable=True)[:10]
    found = examine(run).worst
    assert [item.loss for item in found] == pytest.approx(losses[ranked].tolist(), rel=1e-5)
    assert [item.row for item in found] == data.val.source_rows[ranked].tolist()
    assert [item.target for item in found] == [str(number) for number in targets[ranked].tolist()]
    assert [item.predicted for item in found] == [str(n) for n in logits.argmax(1)[ranked].tolist()]
    assert [item.confidence for item in found] == pytest.approx(
        logits.softmax(1).amax(1)[ranked].tolist(), rel=1e-5
    )


def test_a_class_that_is_never_predicted_is_named(trained):
    found = examine(trained("missed_class"))
    assert found.never_predicted == ("2",)
    rare = found.classes[2]
    assert (rare.predicted, rare.recall, rare.precision) == (0, 0.0, None)
    assert rare.support > 0


def test_residuals_of_a_regression(trained):
    run = trained("regression")
    targets, outputs, data = predictions(run)
    errors = (outputs.flatten() - targets.flatten()).double().numpy()
    found = examine(run)
    assert found.residuals["median"] == pytest.approx(np.median(errors))
    assert found.residuals["p95"] == pytest.approx(np.quantile(errors, 0.95))
    (column,) = found.targets
    assert column.mae == pytest.approx(np.abs(errors).mean())
    assert column.rmse == pytest.approx(np.sqrt((errors**2).mean()))
    assert column.bias == pytest.approx(errors.mean())
    worst = int(np.abs(errors).argmax())
    assert column.largest == pytest.approx(errors[worst])
    assert column.worst_row == int(data.val.source_rows[worst]) == found.worst[0].row
    assert found.classes == ()


def test_binary_and_lstm_runs_have_scores_by_class(trained):
    binary, lstm = examine(trained("binary")), examine(trained("lstm"))
    assert [item.name for item in binary.classes] == ["malignant", "benign"]
    assert len(lstm.classes) == 2
    for found in (binary, lstm):
        assert found.why_not == ""
        assert sum(item.correct for item in found.classes) / found.samples == pytest.approx(
            found.measured["val_accuracy"]
        )


def test_a_damaged_best_checkpoint_is_passed_over(copied):
    run = copied("healthy")
    (run / "checkpoints" / "best_model.pt").write_bytes(b"no checkpoint")
    found = examine(run)
    assert found.checkpoint == "last_model.pt"
    assert found.why_not == ""
    assert "best_model.pt was passed over" in found.notes[0]


def test_without_a_checkpoint_it_says_so(copied):
    run = copied("healthy")
    shutil.rmtree(run / "checkpoints")
    assert examine(run).why_not == "The run has no checkpoint that could be loaded."


def test_a_loss_of_ones_own_is_asked_for_each_sample(tmp_path):
    (tmp_path / "own_loss.py").write_text(
        "import torch\n"
        "def own(outputs, targets):\n"
        "    return ((outputs.softmax(1) - torch.eye(10)[targets]) ** 2).mean()\n"
    )
    run = train_run(tmp_path / "own", loss={"target": "own_loss:own"}, training={"epochs": 2})
    targets, logits, _ = predictions(run)
    losses = ((logits.softmax(1) - torch.eye(10)[targets]) ** 2).mean(1)
    found = examine(run)
    assert [item.loss for item in found.worst] == pytest.approx(losses.topk(10).values.tolist(), rel=1e-5)


def test_names_of_classes_are_printed_on_one_line():
    from tui_trainer.phases.analysis.mistakes import class_name

    assert class_name(Task("classification", 2, ("a\nb\x1b[31m", "c")), 0) == "a b?[31m"
    assert class_name(Task("classification", 3, None), 2) == "2"


ODD = '''
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

def numbers(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))

class Dicts(Dataset):
    """Items as Hugging Face models take them."""
    inputs = numbers(120, 5)
    def __len__(self):
        return len(self.inputs)
    def __getitem__(self, place):
        return {"x": self.inputs[place], "labels": (self.inputs[place].sum() > 0).long()}

class OwnLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 2)
    def forward(self, x, labels=None):
        logits = self.layer(x)
        return {"logits": logits, "loss": nn.functional.cross_entropy(logits, labels)}

def positions():
    inputs = numbers(100, 4, 10)
    return TensorDataset(inputs, inputs[:, :3].argmax(1))

def several():
    inputs = numbers(120, 5)
    return TensorDataset(inputs, inputs[:, :3] * torch.tensor([1.0, 50.0, 5.0]))

def labels():
    inputs = numbers(120, 5)
    return TensorDataset(inputs, (inputs[:, :3] > 0).float())

class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)
    def forward(self, x):
        return self.layer(x)

class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv1d(4, 3, 3, padding=1)
    def forward(self, x):
        return self.layer(x)

def whole_batches(outputs, targets):
    assert len(outputs) > 1
    return ((outputs - targets) ** 2).mean()
'''


@pytest.fixture
def examined(tmp_path):
    def run(data, model, **changes):
        name = f"odd_{data.lower()}"
        (tmp_path / f"{name}.py").write_text(ODD)
        folder = train_run(
            tmp_path / "run",
            data={"target": f"{name}:{data}"},
            model={"target": f"{name}:{model}"},
            training={"epochs": 2},
            **changes,
        )
        assert all(item.ok for item in recheck_checkpoints(folder))
        return examine(folder)

    return run


def test_models_with_a_loss_of_their_own_have_scores_by_class(examined):
    found = examined("Dicts", "OwnLoss")
    assert found.task == "custom"
    assert sum(item.support for item in found.classes) == found.samples == 24
    assert len(found.worst) == 10
    assert found.worst[0].loss >= found.worst[1].loss


def test_classes_by_position_are_counted_by_position(examined):
    found = examined("positions", "Conv", metrics=[])
    assert sum(item.support for item in found.classes) == 10 * found.samples
    assert "by position" in found.notes[0]
    assert found.worst[0].predicted == ""


def test_targets_of_several_columns_are_ranked_by_their_error(examined):
    found = examined("several", "Layer")
    assert [item.name for item in found.targets] == ["target 1", "target 2", "target 0"]


def test_labels_that_go_together_are_scored_one_by_one(examined):
    found = examined("labels", "Layer")
    assert found.task == "multilabel"
    assert len(found.classes) == 3
    assert found.matrix == ()
    right = sum(item.support + item.predicted - 2 * item.correct for item in found.classes)
    assert 1 - right / (3 * found.samples) == pytest.approx(found.measured["val_accuracy"])


def test_a_loss_of_whole_batches_has_no_worst_samples(tmp_path):
    (tmp_path / "odd_batches.py").write_text(ODD)
    folder = train_run(
        tmp_path / "run",
        data={"target": "odd_batches:several"},
        model={"target": "odd_batches:Layer"},
        loss={"target": "odd_batches:whole_batches"},
        training={"epochs": 1},
    )
    found = examine(folder)
    assert found.worst == ()
    assert "whole batches" in found.notes[0]
    assert len(found.targets) == 3
