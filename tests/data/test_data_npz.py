"""NumPy archives."""

import numpy as np
import pytest
import torch

from tui_trainer.config.errors import DataError
from tui_trainer.data.quality import scan


@pytest.fixture
def npz(build, tmp_path):
    """`npz(args, data settings, **arrays)`: the splits of an archive with these arrays."""

    def npz(args=None, data=None, **arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return build("npz", {"path": "data.npz", **(args or {})}, **(data or {}))

    return npz


X = np.random.RandomState(0).normal(5, 2, (60, 3))
Y = np.arange(60) % 3


def test_arrays_are_found_by_their_usual_names(npz):
    splits = npz(x=X, y=Y)
    assert splits.train.inputs.dtype == torch.float32
    assert splits.task.num_outputs == 3
    assert torch.equal(splits.val.inputs, torch.from_numpy(X.astype(np.float32))[splits.indices["val"]])
    splits = npz({"inputs": "signal", "targets": "mood"}, signal=X, mood=Y, x=Y)
    assert splits.input_shape == (3,)


def test_an_archive_with_splits_keeps_them(npz):
    splits = npz(x_train=X, y_train=Y, x_test=X[:7], y_test=Y[:7])
    assert (len(splits.train), len(splits.val), len(splits.test)) == (48, 12, 7)
    assert torch.equal(splits.test.targets, torch.from_numpy(Y[:7]))
    splits = npz({"standardize": True}, x_train=X, y_train=Y, x_val=X[:9] + 100, y_val=Y[:9])
    assert splits.indices == {}
    assert splits.test is None
    assert abs(float(splits.train.inputs.mean())) < 1e-5
    assert float(splits.val.inputs.mean()) > 40  # measured with train's mean, not its own


@pytest.mark.parametrize(
    ("targets", "kind", "shape", "dtype"),
    [
        (Y.astype(np.int32), "classification", (), torch.int64),
        (Y[:, None].astype(np.uint8), "classification", (), torch.int64),
        (np.array(["cat", "dog", "eel"])[Y], "classification", (), torch.int64),
        ((Y % 2).astype(np.float64), "binary", (1,), torch.float32),
        (Y * 1.5, "regression", (1,), torch.float32),
        (np.stack([Y % 2, Y // 2], axis=1), "multilabel", (2,), torch.float32),
    ],
)
def test_targets_come_as_the_losses_want_them(npz, targets, kind, shape, dtype):
    splits = npz(x=X, y=targets)
    assert splits.task.kind == kind
    assert splits.train.targets.shape[1:] == shape
    assert splits.train.targets.dtype == dtype


def test_inputs_by_dtype(npz):
    image = npz(x=np.full((60, 4, 4), 255, dtype=np.uint8), y=Y)
    assert image.train.inputs.max() == 1.0
    tokens = npz(x=np.arange(600).reshape(60, 10), y=Y)
    assert tokens.train.inputs.dtype == torch.int64
    assert npz(x=X.astype(np.float16), y=Y).train.inputs.dtype == torch.float32


def test_groups_are_an_array_of_the_archive(npz):
    splits = npz(data={"group_by": "site"}, x=X, y=Y, site=np.arange(60) // 6)
    sides = [set((rows // 6).tolist()) for rows in splits.indices.values()]
    assert not sides[0] & sides[1]
    with pytest.raises(DataError, match="group_by names 'place'"):
        npz(data={"group_by": "place"}, x=X, y=Y)
    with pytest.raises(DataError, match="not divided again"):
        npz(data={"group_by": "site"}, x_train=X, y_train=Y, x_val=X, y_val=Y, site=Y)


def test_content_is_judged_not_refused(npz):
    broken, labels = X.copy(), Y.copy()
    broken[7, 1], labels[11] = np.nan, -3
    found = {finding.problem: finding for finding in scan(npz(x=broken, y=labels))}
    assert found["non_finite_features"].evidence["rows"] == [7]
    assert found["non_finite_features"].evidence["columns"] == ["[1]"]
    assert found["label_out_of_range"].evidence["rows"] == [11]


@pytest.mark.parametrize(
    ("arrays", "args", "says"),
    [
        ({"x": X, "y": Y[:-1]}, {}, "60 samples in x but 59 in y"),
        ({"a": X, "b": Y}, {}, "no array for the inputs.*Its arrays are a and b"),
        ({"x": X, "y": Y}, {"inputs": "xx"}, "no array 'xx'"),
        ({"x": np.array([[1], [1, 2]], dtype=object), "y": Y[:2]}, {}, "Python objects"),
        ({"x": np.array(3.0), "y": Y}, {}, "single value"),
        ({"x": X[:0], "y": Y[:0]}, {}, "no samples"),
        ({"x": np.array(["a"] * 60), "y": Y}, {}, "inputs x .* expected numbers"),
        ({"x": X, "y": Y.astype(complex)}, {}, "targets y .* expected numbers"),
        ({"x_train": X, "y_train": Y, "x_val": X[:, :2], "y_val": Y}, {}, "differ in type or shape"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(npz, arrays, args, says):
    with pytest.raises(DataError, match=says):
        npz(args, **arrays)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"\x93NUMPY\x01\x00", b"text"])
def test_damaged_archives_are_refused(build, tmp_path, content):
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"data\.npz is (damaged|empty)"):
        build("npz", {"path": "data.npz"})


def test_a_flipped_byte_and_a_single_array_are_refused(build, tmp_path):
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    content = bytearray((tmp_path / "data.npz").read_bytes())
    content[600] ^= 0xFF
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        build("npz", {"path": "data.npz"})
    np.save(tmp_path / "one.npy", X)
    with pytest.raises(DataError, match="single array"):
        build("npz", {"path": "one.npy"})
