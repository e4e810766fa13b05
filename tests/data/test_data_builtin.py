"""The bundled data is scikit-learn's own, read without importing it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import datasets

from tui_trainer.data import builtin

ROOT = Path(__file__).parents[2]


def whole(target):
    everything = np.arange(len(target), dtype=np.int64)
    return target.prepare(everything).inputs, target.targets


def test_digits_are_sixteenths_of_pixels():
    bunch = datasets.load_digits()
    inputs, targets = whole(builtin.digits())
    assert inputs.dtype == torch.float32
    assert np.array_equal(inputs.numpy(), (bunch.data / 16).astype(np.float32))
    assert np.array_equal(targets.numpy(), bunch.target)
    assert builtin.digits().task.class_names == tuple("0123456789")


def test_digits_as_images_are_the_same_pixels():
    inputs, _ = whole(builtin.digits(image=True))
    assert inputs.shape == (1797, 1, 8, 8)
    assert torch.equal(inputs.flatten(1), whole(builtin.digits())[0])


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "diabetes"])
def test_raw_tables_equal_sklearns(name):
    bunch = getattr(datasets, f"load_{name}")(**({"scaled": False} if name == "diabetes" else {}))
    target = getattr(builtin, name)(standardize=False)
    inputs, targets = whole(target)
    assert np.array_equal(inputs.numpy(), bunch.data.astype(np.float32))
    assert np.array_equal(targets.flatten().numpy(), bunch.target)
    prepared = target.prepare(np.arange(len(target), dtype=np.int64))
    assert list(prepared.feature_names) == list(bunch.feature_names)
    if name != "diabetes":
        assert target.task.class_names == tuple(bunch.target_names)


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "wine", "diabetes"])
def test_sklearns_loaders_stand_in_for_missing_files(name, monkeypatch):
    from_files = whole(getattr(builtin, name)())
    monkeypatch.setattr(builtin, "_bundled", lambda _: None)
    from_loaders = whole(getattr(builtin, name)())
    assert all(torch.equal(a, b) for a, b in zip(from_files, from_loaders, strict=True))


def test_tasks_and_target_shapes():
    assert builtin.breast_cancer().task.kind == "binary"
    assert builtin.breast_cancer().targets.shape == (569, 1)
    assert builtin.wine().task.num_outputs == 3
    assert builtin.diabetes().targets.dtype == torch.float32
    assert builtin.diabetes().targets.shape == (442, 1)


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "diabetes"])
def test_standardisation_is_learned_from_the_train_split_alone(build, name):
    splits = build(name, test_fraction=0.15)
    train = splits.train.inputs
    assert torch.allclose(train.mean(dim=0), torch.zeros(train.shape[1]), atol=1e-5)
    assert torch.allclose(train.std(dim=0, unbiased=False), torch.ones(train.shape[1]), atol=1e-4)
    assert not torch.allclose(splits.val.inputs.mean(dim=0), torch.zeros(train.shape[1]), atol=1e-3)
    raw = build(name, {"standardize": False}, test_fraction=0.15)
    expected = (raw.val.inputs - raw.train.inputs.mean(dim=0)) / raw.train.inputs.std(dim=0, unbiased=False)
    assert torch.allclose(splits.val.inputs, expected, atol=1e-3)


def test_loading_digits_imports_neither_sklearn_nor_pandas():
    code = (
        "import sys; from pathlib import Path\n"
        "from tui_trainer.config.schema import DataConfig\n"
        "from tui_trainer.data.build import build_data\n"
        "from tui_trainer.data.quality import scan\n"
        "from tui_trainer.data.fingerprint import fingerprint\n"
        "splits = build_data(DataConfig(test_fraction=0.15), seed=1, folder=Path())\n"
        "scan(splits); fingerprint(splits)\n"
        "heavy = {'sklearn', 'pandas', 'PIL', 'scipy', 'pyarrow'} & set(sys.modules)\n"
        "print(len(splits.train), sorted(heavy))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert not done.stderr
    assert done.stdout.split(maxsplit=1) == ["1168", "[]\n"]
