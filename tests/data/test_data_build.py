"""From the config's data section to three sets: users' data sets, transforms, collate, refusals."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import Subset

from tui_trainer.config.errors import DataError
from tui_trainer.data.dataset import ArrayDataset
from tui_trainer.data.items import MappedDataset

HEAD = """
import random
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

class Items(Dataset):
    def __init__(self, count=40):
        self.count = count
    def __len__(self):
        return self.count
    def __getitem__(self, index):
        return torch.full((3,), float(index)), index % 4

def tensors(count=40):
    return TensorDataset(torch.arange(count * 3.).view(count, 3), torch.arange(count) % 4)
"""


@pytest.fixture
def users(build, user_module):
    """`users(code, name)`: the splits of a user's target."""

    def users(code, attribute="make", args=None, **data):
        module = user_module(HEAD + code)
        references = {
            key: f"{module}:{value[1:]}" if isinstance(value, str) and value.startswith(":") else value
            for key, value in data.items()
        }
        return build(f"{module}:{attribute}", args, **references)

    return users


# --- what a target may return ---------------------------------------------------------------------------------------


def test_a_data_set_is_divided_here(users):
    splits = users("", "Items", {"count": 100}, val_fraction=0.2, test_fraction=0.1)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (70, 20, 10)
    assert splits.train[3][0][0] == splits.indices["train"][3]
    assert splits.task.kind == "classification"
    assert splits.task.num_outputs == 4
    assert splits.input_shape == (3,)
    labels = [splits.val[k][1] for k in range(20)]
    assert np.bincount(labels).tolist() == [5, 5, 5, 5]  # stratified though the targets are not shown


def test_pairs_triples_and_dicts_are_kept_as_they_are(users):
    splits = users("def make(): return Items(10), Items(4)\n", test_fraction=0.5)
    assert (len(splits.train), len(splits.val), splits.test, splits.indices) == (10, 4, None, {})
    splits = users("def make(): return [Items(10), Items(4), Items(6)]\n")
    assert len(splits.test) == 6
    splits = users("def make(): return {'train': Items(10), 'test': Items(6)}\n")
    assert (len(splits.train), len(splits.val), len(splits.test)) == (8, 2, 6)
    assert set(splits.indices) == {"train", "val"}


def test_tensors_become_arrays_that_batches_can_index(users):
    splits = users("def make(): return tensors()\n")
    assert isinstance(splits.train, ArrayDataset)
    assert torch.equal(splits.val.inputs[:, 0], splits.indices["val"] * 3.0)
    assert torch.equal(splits.val.source_rows, splits.indices["val"])
    splits = users(
        "def make(): return Subset(tensors(), range(10)), Subset(Subset(tensors(), range(5, 20)), [1, 2])\n"
    )
    assert isinstance(splits.val, ArrayDataset)
    assert splits.val.inputs[:, 0].tolist() == [18.0, 21.0]


def test_a_subclass_of_a_tensor_data_set_keeps_its_own_items(users):
    code = "class Mine(TensorDataset):\n    def __getitem__(self, k): return self.tensors[0][k] * 0, self.tensors[1][k]\n"
    splits = users(code + "def make(): return Mine(*tensors().tensors)\n")
    assert isinstance(splits.train, Subset)
    assert float(splits.train[3][0].sum()) == 0


def test_integer_labels_fit_a_stated_task(users):
    code = "def make(): return TensorDataset(torch.randn(40, 3), torch.arange(40) % 2)\n"
    splits = users(code, task="binary")
    assert splits.train.targets.dtype == torch.float32
    splits = users(
        "class Two(Items):\n    def __getitem__(self, k): return torch.zeros(3), k % 2\n",
        "Two",
        task="binary",
    )
    assert splits.train[0][1].dtype == torch.float32
    splits = users(code.replace("torch.arange(40)", "torch.arange(40, dtype=torch.int32)"))
    assert splits.train.targets.dtype == torch.int64


def test_dict_items_are_the_users_own_task(users):
    item = "{'input_ids': torch.ones(5), 'labels': k % 2, 'who': k // 4}"
    code = f"class D(Items):\n    def __getitem__(self, k): return {item}\n"
    splits = users(code, "D")
    assert splits.task.kind == "custom"
    assert splits.input_shape is None
    splits = users(code, "D", group_by="who")
    sides = [
        {splits_part[k]["who"] for k in range(len(splits_part))} for splits_part in (splits.train, splits.val)
    ]
    assert not sides[0] & sides[1]


def test_shown_targets_save_reading_the_items(users):
    code = """
class Known(Items):
    classes = ["a", "b", "c", "d", "e"]
    targets = [k % 4 for k in range(5000)]
    read = []
    def __getitem__(self, index):
        self.read.append(index)
        return torch.zeros(2, index + 1), index % 4
"""
    splits = users(code, "Known", {"count": 5000}, batch_size=1)
    assert splits.task.class_names == ("a", "b", "c", "d", "e")
    assert splits.task.num_outputs == 5
    assert len(splits.train.dataset.read) < 20
    assert splits.input_shape is None  # inputs of varying shape


def test_groups_may_be_an_attribute_or_a_column(users):
    code = "class G(Items):\n    who = [k // 5 for k in range(40)]\n"
    splits = users(code, "G", group_by="who")
    sides = [set((rows // 5).tolist()) for rows in splits.indices.values()]
    assert not sides[0] & sides[1]
    splits = users(
        "def make(): return TensorDataset(torch.arange(40.)[:, None] // 5, torch.zeros(40))\n", group_by="0"
    )
    assert not set(splits.train.inputs.flatten().tolist()) & set(splits.val.inputs.flatten().tolist())
    for name, says in (("whom", "no such attribute"), ("count", "expected one value for each")):
        with pytest.raises(DataError, match=says):
            users(code, "G", group_by=name)
    with pytest.raises(DataError, match="not divided again"):
        users("def make(): return Items(), Items()\n", group_by="who")


# --- transforms and collate -----------------------------------------------------------------------------------------

TRANSFORMS = """
def double(x): return x * 2
def scale(x, by): return x * by
def scaler(by): return lambda x: x * by
class Add:
    def __init__(self, what=1): self.what = what
    def __call__(self, x): return x + self.what
number = 3
def broken(x): raise RuntimeError('no such picture')
def together(items): return torch.stack([a for a, _ in items]) * 7, torch.tensor([b for _, b in items])
"""


def test_transforms_change_inputs_of_their_split_only(users, user_module):
    module = user_module(HEAD + TRANSFORMS)
    plain = users("", "Items", {"count": 40}, test_fraction=0.2)
    for reference, expected in (
        (f"{module}:double", lambda x: x * 2),
        (f"{module}:Add", lambda x: x + 1),
        ({"target": f"{module}:Add", "args": {"what": 5}}, lambda x: x + 5),
        ({"target": f"{module}:scale", "args": {"by": 3}}, lambda x: x * 3),
        ({"target": f"{module}:scaler", "args": {"by": 4}}, lambda x: x * 4),
    ):
        splits = users("", "Items", test_fraction=0.2, transforms={"train": reference})
        assert torch.equal(splits.train[5][0], expected(plain.train[5][0]))
        assert torch.equal(splits.val[5][0], plain.val[5][0])
        splits = users("", "Items", test_fraction=0.2, transforms={"val": reference})
        assert torch.equal(splits.val[5][0], expected(plain.val[5][0]))
        assert torch.equal(splits.test[5][0], expected(plain.test[5][0]))
        assert torch.equal(splits.train[5][0], plain.train[5][0])
    splits = users("def make(): return tensors()\n", transforms={"train": f"{module}:double"})
    assert isinstance(splits.train, MappedDataset)
    assert isinstance(splits.val, ArrayDataset)


def test_transforms_that_cannot_work_are_named(users, user_module):
    module = user_module(HEAD + TRANSFORMS)
    with pytest.raises(DataError, match=r"data\.transforms\.train .*number is an int; expected a function"):
        users("", "Items", transforms={"train": f"{module}:number"})
    with pytest.raises(
        DataError, match=r"Item 0 of train .*:\d+ in broken raised RuntimeError: no such picture"
    ):
        users("", "Items", transforms={"train": f"{module}:broken"})
    with pytest.raises(DataError, match="has no 'doubel'; did you mean double"):
        users("", "Items", transforms={"train": f"{module}:doubel"})


def test_collate_is_resolved(users):
    splits = users(TRANSFORMS, "Items", collate=":together")
    inputs, targets = splits.collate([splits.train[0], splits.train[1]])
    assert inputs.shape == (2, 3)
    assert targets.shape == (2,)


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def make(): return None", "returned None; expected a torch Dataset"),
        ("def make(): return 7", "returned an int"),
        ("def make(): return Items", "the class Items itself"),
        ("def make(): return torch.zeros(3, 2)", "returned a Tensor.*TensorDataset"),
        ("def make(): return np.zeros(3)", "returned a ndarray"),
        ("def make(): return [1, 2, 3]", "returned a list"),
        ("def make(): return (torch.zeros(9, 2), torch.zeros(9))", "for train a Tensor"),
        ("def make(): return Items(), 3", "for val an int"),
        ("def make(): return ()", "tuple of 0"),
        ("def make(): return Items(), Items(), Items(), Items()", "tuple of 4"),
        ("def make(): return None, Items()", "None in place of its train set"),
        ("def make(): return {'training': Items()}", "keys training; expected train"),
        ("def make(): return DataLoader(Items())", "a DataLoader; expected the Dataset"),
        (
            "class S(IterableDataset):\n    def __iter__(self): yield 1\ndef make(): return S()",
            "no positions.*resumes exactly",
        ),
        ("def make(): return (x for x in range(3))", "only be iterated"),
        (
            "class N(Dataset):\n    def __getitem__(self, k): return k\ndef make(): return N()",
            "a N, which has no __len__",
        ),
        ("def make(): return Items(0)", "without a single sample"),
        ("def make(): return Items(), Items(0)", "for val an Items without a single sample"),
        (
            "class L(Items):\n    def __len__(self): raise OSError('disk gone')\ndef make(): return L()",
            "__len__ raised OSError: disk gone",
        ),
        ("class L(Items):\n    def __len__(self): return 'ten'\ndef make(): return L()", "TypeError"),
        (
            "class E(Items):\n    def __getitem__(self, k): return 1 / (k - 5), 0\ndef make(): return E()",
            r"Item 5 of .*py:\d+ in __getitem__ raised ZeroDivisionError",
        ),
        (
            "class E(Items):\n    def __getitem__(self, k): return 1, 2, 3\ndef make(): return E()",
            r"Item 0 of .* tuple of 3 parts \(int, int, int\)",
        ),
        (
            "class E(Items):\n    def __getitem__(self, k): return torch.zeros(4)\ndef make(): return E()",
            r"tensor of shape \(4,\) with no target",
        ),
        (
            "class E(Items):\n    def __getitem__(self, k): return None\ndef make(): return E()",
            "Item 0 .* is None",
        ),
        ("def make(): raise ValueError('no key')", "make raised ValueError: no key"),
        ("def make(a): return Items()", "needs the argument a"),
        ("def make(): return Items(2)", "2 samples; data.val_fraction 0.2 would leave"),
        (
            "from PIL.Image import new\nclass P(Items):\n    def __getitem__(self, k): return new('L', (2, 2)), 0\nmake = P",
            "PIL image",
        ),
        (
            "from tui_trainer.data.builtin import wine\ndef make(): return wine(), wine()",
            "several built-in data sets",
        ),
    ],
)
def test_what_is_no_data_set_is_refused_in_one_paragraph(users, code, says):
    with pytest.raises(DataError, match=says) as caught:
        users(code + "\n")
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_unknown_targets_and_arguments(build):
    with pytest.raises(DataError, match="did you mean digits"):
        build("digist")
    with pytest.raises(DataError, match="no argument 'imag'; did you mean image"):
        build("digits", {"imag": True})
    with pytest.raises(DataError, match="no module no_such_module"):
        build("no_such_module:data")


# --- seeds and paths ------------------------------------------------------------------------------------------------


def test_building_twice_gives_the_same_data_and_leaves_generators_alone(users):
    code = "def make(): return TensorDataset(torch.randn(50, 2), torch.tensor([random.random() for _ in range(50)]))\n"
    random.seed(1)
    torch.manual_seed(2)
    np.random.seed(3)
    before = random.getstate(), torch.get_rng_state(), np.random.get_state()[1].copy()
    first = users(code)
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert np.array_equal(np.random.get_state()[1], before[2])
    torch.manual_seed(99)
    second = users(code)
    assert torch.equal(first.train.inputs, second.train.inputs)
    assert torch.equal(first.val.targets, second.val.targets)
    assert not torch.equal(users(code, seed=7).train.inputs, first.train.inputs)


def test_relative_paths_are_seen_from_the_config_then_from_the_working_directory(
    users, tmp_path, monkeypatch
):
    code = "def make(path, root=None, name='x'):\n    data = Items()\n    data.seen = (path, root, name)\n    return data\n"
    (tmp_path / "beside").mkdir()
    here = tmp_path / "elsewhere"
    (here / "below").mkdir(parents=True)
    monkeypatch.chdir(here)
    splits = users(code, args={"path": "beside", "root": "below", "name": "beside"})
    path, root, name = splits.train.dataset.seen
    assert path == str(tmp_path / "beside")
    assert (here / root).resolve() == here / "below"
    assert name == "beside"


def test_the_same_splits_with_any_number_of_workers(build):
    one, two = (build("digits", num_workers=workers, test_fraction=0.1) for workers in (0, 2))
    assert torch.equal(one.train.inputs, two.train.inputs)
    assert torch.equal(one.indices["val"], two.indices["val"])
