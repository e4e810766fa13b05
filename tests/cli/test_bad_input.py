"""Whatever is wrong with what a user gives: one paragraph that says where, what, and what to do; never a traceback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.runs import ENVIRONMENT, train

SHORT = "data: {target: digits, batch_size: 256}\ntraining: {epochs: 1}\n"

# ── configs and flags ───────────────────────────────────────────────────────────────────────────────────────

CONFIGS = {
    "empty": ("", ["config.yaml is empty"]),
    "only comments": ("# nothing\n", ["config.yaml is empty"]),
    "a list": ("- a\n- b\n", ["mapping of settings"]),
    "a duplicate key": ("name: a\nseed: 1\nseed: 2\n", ["config.yaml:3", "'seed'", "line 2"]),
    "an unknown key": ("name: a\ntraining: {epoch: 3}\n", ["config.yaml:2", "training.epoch", "did you mean training.epochs?"]),
    "an unknown section": ("optimiser: {target: adam}\n", ["config.yaml:1", "did you mean optimizer?"]),
    "a wrong type": ("name: a\n\ntraining:\n  epochs: many\n", ["config.yaml:4", "training.epochs is 'many'", "a whole number"]),
    "out of range": ("data: {batch_size: 0}\n", ["config.yaml:1", "data.batch_size is 0", "at least 1"]),
    "no epochs": ("training: {epochs: 0}\n", ["training.epochs is 0", "at least 1"]),
    "a negative rate": ("optimizer: {learning_rate: -1}\n", ["optimizer.learning_rate is -1", "above 0"]),
    "no metric name": ("metrics: [3]\n", ["metrics.0 is 3", "must be text"]),
    "fractions": ("data: {val_fraction: 0.7, test_fraction: 0.5}\n", ["leaves nothing to train on", "0.7", "0.5"]),
    "not UTF-8": ("name: é\n".encode("latin-1"), ["config.yaml:1", "0xe9", "UTF-8"]),
    "binary": (b"\x00\x01\x02", ["NUL", "YAML"]),
    "a folder name": ("name: ../x\n", ["name is '../x'", "folder name"]),
    "a device": ("device: gpu\n", ["device is 'gpu'", "cuda"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CONFIGS)
def test_a_config_that_is_wrong_is_refused_by_line_and_key(command, case):
    content, words = CONFIGS[case]
    command(content).refused(*words)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("model: {target: mlp\ntraining:\n  epochs: 3\n", 2),
        ("training:\n\tepochs: 3\n", 2),
        ("seed: 1\nname: 'a\n", 2),
    ],
)
def test_a_yaml_mistake_is_shown_with_its_line(command, content, line):
    done = command(content)
    assert done.code == 2
    assert done.err.startswith("mltrainer-tui: ")
    done.says("is not valid YAML", f"config.yaml:{line}")
    assert "^" in done.err
    assert not done.run.exists()


def test_a_config_that_is_not_there_is_named_with_the_nearest_one(command):
    command.write("churn.yaml", "name: a\n")
    command(None, "--config", "chrun.yaml").refused("chrun.yaml does not exist", "did you mean churn.yaml?")
    command(None, "--config", ".").refused("is a folder", "churn.yaml")


FLAGS = {
    "no value": (["--set", "training.epochs"], ["--set training.epochs", "there is no `=`"]),
    "no key": (["--set", "=3"], ["--set =3", "no key"]),
    "an unknown key": (["--set", "trainin.epochs=3"], ["trainin", "did you mean training?"]),
    "a section": (["--set", "training=3"], ["--set training=3", "must be a mapping"]),
    "a range": (["--set", "training.epochs=-1"], ["--set training.epochs=-1", "at least 1"]),
    "sign": (["--sign", "x"], ['--sign takes ITEM="text"', "'x'"]),
    "sign nothing": (["--sign", "x="], ["--sign"]),
    "waive": (["--waive", "=why"], ["--waive", "'=why'"]),
    "resume a name": (["--resume", "nope.pt"], ["--resume nope.pt", "no such checkpoint"]),
    "resume a folder": (["--resume", "/usr"], ["--resume /usr", "holds no run"]),
    "resume text": (["--resume", "/etc/passwd"], ["/etc/passwd", "no PyTorch checkpoint"]),
}


@pytest.mark.parametrize("case", FLAGS)
def test_a_flag_that_is_wrong_is_refused_by_its_name(command, case):
    arguments, words = FLAGS[case]
    command(None, *arguments).refused(*words)


def test_a_flag_that_does_not_exist_is_refused(command):
    done = command(None, "--epochs", "3")
    assert done.code == 2
    done.says("unrecognized arguments: --epochs 3")


def test_a_mode_that_is_yet_to_come_says_so(command):
    done = command(None, "--mode", "optimize")
    assert done.code == 1
    done.says(
        "Phase 4 (Optimize) is not part of this version yet", "--mode plan, baseline, diagnose and all are"
    )
    assert not done.run.exists()


# ── targets ─────────────────────────────────────────────────────────────────────────────────────────────────

TARGETS = {
    "data set": ("data: {target: digit}\n", ["data set 'digit'", "did you mean digits?"]),
    "model": ("model: {target: mpl}\n", ["model 'mpl'", "did you mean mlp?"]),
    "loss": ("loss: {target: crossentropy}\n", ["loss 'crossentropy'", "did you mean cross_entropy?"]),
    "metric": ("metrics: [acuracy]\n", ["metric 'acuracy'", "did you mean accuracy?"]),
    "optimizer": ("optimizer: {target: adan}\n", ["optimizer 'adan'", "did you mean adam?"]),
    "scheduler": ("scheduler: {target: cosin}\n", ["scheduler 'cosin'", "did you mean cosine?"]),
    "model argument": ("model: {target: mlp, args: {hiden: [3]}}\n", ["'hiden'", "did you mean hidden?"]),
    "optimizer argument": ("optimizer: {target: adam, args: {beta: 3}}\n", ["'beta'", "did you mean betas?"]),
    "scheduler argument": ("scheduler: {target: step, args: {step_sizes: 3}}\n", ["did you mean step_size?"]),
    "loss argument": ("loss: {target: cross_entropy, args: {foo: 3}}\n", ["no argument 'foo'", "It takes"]),
    "target metric": ("targets: {metric: val_acuracy, at_least: 0.5}\n", ["targets.metric", "Did you mean val_accuracy?"]),
    "early stopping": ("early_stopping: {monitor: val_los}\n", ["early_stopping.monitor is 'val_los'", "Did you mean val_loss?"]),
    "checkpoint": ("checkpoint: {monitor: val_f1}\n", ["checkpoint.monitor is 'val_f1'", "It has: train_loss"]),
    "two metrics of one name": ("metrics: [accuracy, accuracy]\n", ["Two metrics would be called accuracy"]),
    "a metric of another task": ("metrics: [r2]\n", ["The metric r2", "classification"]),
    "cuda": ("device: cuda\n", ["device is cuda", "Set device to auto or cpu"]),
    "a batch too large": ("data: {batch_size: 5000, drop_last: true}\n", ["1438 samples", "batch_size 5000", "drop_last"]),
    "no validation": ("data: {val_fraction: 0.0001}\n", ["val_fraction 0.0001", "0 for validation"]),
    "weights of nowhere": ("model: {target: mlp, init_from: nope.pt}\n", ["model.init_from is nope.pt", "no file"]),
    "weights of no kind": ("model: {target: mlp, init_from: config.yaml}\n", ["config.yaml", "no PyTorch file"]),
    "freezing nothing": ("model: {target: mlp, freeze: ['encoder.*']}\n", ["'encoder.*'", "matches no parameter"]),
    "freezing all": ("model: {target: mlp, freeze: ['*']}\n", ["does not depend on any parameter that is trained"]),
    "lbfgs": ("optimizer: {target: lbfgs}\n", ["'lbfgs'", "such as adam"]),
    "images wanted": ("model: {target: cnn}\n", ["Model cnn takes images", "[64]", "image: true"]),
}  # fmt: skip


@pytest.mark.parametrize("case", TARGETS)
def test_what_does_not_exist_or_fit_is_refused(command, case):
    content, words = TARGETS[case]
    command(content).refused(*words)


# ── the user's own code ─────────────────────────────────────────────────────────────────────────────────────

OWN = """
import os, sys
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset, TensorDataset

class Items(Dataset):
    def __init__(self, n=120):
        self.x = torch.randn(n, 6, generator=torch.Generator().manual_seed(1))
        self.y = self.x[:, :3].argmax(1)
    def __len__(self):
        return len(self.x)
    def __getitem__(self, index):
        return self.x[index], self.y[index]

class Net(nn.Module):
    def __init__(self, in_features, num_classes):
        super().__init__()
        self.layer = nn.Linear(in_features, num_classes)
    def forward(self, x):
        return self.layer(x)

"""  # what each case adds begins on line 23

ITEMS_THAT = """
class X(Items):
    reads = 0
    def __getitem__(self, i):
        X.reads += 1
        if {when}:
            {does}
        return super().__getitem__(i)
"""
OWN_DATA = {
    "an import that fails": ("import not_there", ["OWN.py:23", "No module named 'not_there'", "Install not_there"]),
    "an exception": ("1 / 0", ["OWN.py:23", "ZeroDivisionError"]),
    "a syntax error": ("def f(:", ["OWN.py:23", "SyntaxError"]),
    "an exit": ("sys.exit(3)", ["OWN.py:23", "asked the program to end"]),
    "an interrupt": ("raise KeyboardInterrupt", ["OWN.py:23", "KeyboardInterrupt"]),
    "no such name": ("", ["has no 'X'"]),
    "a number": ("def X():\n    return 3", ["returned an int", "expected a torch Dataset"]),
    "nothing": ("def X():\n    return None", ["returned None", "expected a torch Dataset"]),
    "a generator": ("def X():\n    yield 1, 2", ["can only be iterated", "__getitem__"]),
    "an iterable": ("class X(IterableDataset):\n    def __iter__(self):\n        yield 1, 2", ["can only be iterated"]),
    "an exit in a function": ("def X():\n    sys.exit(4)", ["OWN.py:24", "asked the program to end"]),
    "empty": ("def X():\n    return Items(0)", ["without a single sample"]),
    "empty validation": ("def X():\n    return Items(), Items(0)", ["for val", "without a single sample"]),
    "one sample": ("def X():\n    return Items(1)", ["1 sample;", "0 for validation"]),
    "four sets": ("def X():\n    return (Items(),) * 4", ["a tuple of 4", "(train, val, test)"]),
    "no length": ("class X(Dataset):\n    def __getitem__(self, i):\n        return 1, 2", ["has no __len__"]),
    "a length that lies": ("class X(Items):\n    def __len__(self):\n        return 500", ["Item 120", "OWN.py:14"]),
    "row 17": (
        ITEMS_THAT.format(when="i == 17", does="raise OSError('bad file')"),
        ["Item 17", "OWN.py:29", "OSError: bad file"],
    ),
    "row 17 ends the program": (
        ITEMS_THAT.format(when="i == 17", does="sys.exit(5)"),
        ["Item 17", "OWN.py:29", "asked the program to end"],
    ),
    "an exception that cannot be shown": (
        ITEMS_THAT.format(when="True", does="raise E") + "class E(Exception):\n    def __str__(self): raise ValueError",
        ["Item 0", "OWN.py:29", "cannot be shown"],
    ),
    "three parts": ("class X(Items):\n    def __getitem__(self, i): return 1, 2, 3", ["a tuple of 3 parts", "a pair"]),
    "shapes that differ": (
        "class X(Items):\n    def __getitem__(self, i): return torch.zeros(3 + i % 2), i % 2",
        ["differ in shape", "[3]", "[4]", "data.collate"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OWN_DATA)
def test_a_data_set_that_cannot_be_used_is_refused_by_its_line(command, case):
    code, words = OWN_DATA[case]
    command.own(OWN + code)
    command("data: {target: 'OWN:X', batch_size: 8}\n").refused(*words)


@pytest.mark.parametrize(
    ("target", "words"),
    [("nowhere:X", ["no module nowhere"]), ("./OWN.py:X", ["file path", "OWN:X"]), ("OWN:", ["import path"])],
)
def test_an_import_path_that_leads_nowhere_is_refused(command, target, words):
    command.own(OWN)
    command(f"data: {{target: '{target}'}}\n").refused(*words)


OWN_HOOKS = {
    "transform": ("transforms: {train: 'OWN:f'}", "def f(x): return x.nope", ["Item 0 of train", "OWN.py:23 in f"]),
    "val transform": ("transforms: {val: 'OWN:f'}", "def f(x): return x.nope", ["Item 0 of val", "OWN.py:23 in f"]),
    "no return": ("transforms: {train: 'OWN:f'}", "def f(x): x + 1", ["of train is None", "a return that is missing"]),
    "collate": ("collate: 'OWN:f'", "def f(items): return items.nope", ["Collating val rows 0, 1, 2", "OWN.py:23 in f", "nope"]),
    "collate gives nothing": ("collate: 'OWN:f'", "def f(items): pass", ["A batch", "NoneType", "data.collate"]),
    "no function": ("collate: 'OWN:f'", "f = 3", ["data.collate", "expected a function"]),
    "no group": ("group_by: patient", "", ["data.group_by names 'patient'"]),
}  # fmt: skip


@pytest.mark.parametrize("case", OWN_HOOKS)
def test_a_function_on_the_data_that_fails_is_refused_by_its_line(command, case):
    setting, code, words = OWN_HOOKS[case]
    command.own(OWN + code)
    command(f"data: {{target: 'OWN:Items', batch_size: 8, {setting}}}\n").refused(*words)


OWN_MODELS = {
    "a number": ("def X(): return 3", ["gave an int", "torch.nn.Module"]),
    "a class": ("def X(): return Net", ["the class Net itself"]),
    "a module": ("X = Net(64, 10)", ["already built"]),
    "an exception": ("def X(): raise ValueError('no')", ["OWN.py:23 in X", "ValueError: no"]),
    "an exit": ("def X(): sys.exit(3)", ["OWN.py:23 in X", "asked the program to end"]),
    "no super().__init__()": ("class X(Net):\n    def __init__(self): self.a = nn.Linear(1, 1)", ["OWN.py:24"]),
    "an argument": ("class X(Net):\n    def __init__(self, depth): pass", ["needs the argument depth"]),
    "a layer too narrow": (
        "class X(Net):\n    def __init__(self): super().__init__(32, 10)",
        ["float32[", "64]", "layer layer (Linear: in_features=32", "expects float32[…, 32]", "OWN.py:21"],
    ),
    "too few outputs": ("class X(Net):\n    def __init__(self): super().__init__(64, 5)", ["5 logits", "10 classes"]),
    "a failing forward": ("class X(Net):\n    def forward(self, x): return x.nope", ["OWN.py:24 in forward", "nope"]),
    "an exit in forward": ("class X(Net):\n    def forward(self, x): sys.exit(3)", ["OWN.py:24 in forward", "end"]),
    "an interrupt in forward": ("class X(Net):\n    def forward(self, x): raise KeyboardInterrupt", ["OWN.py:24"]),
    "no gradient": ("class X(Net):\n    def forward(self, x): return self.layer(x).detach()", [".detach()"]),
    "no output": ("class X(Net):\n    def forward(self, x): pass", ["the model gave None"]),
    "no weights": ("class X(nn.Module):\n    def forward(self, x): return x[:, :10]", ["any parameter"]),
    "NaN from the start": (
        "class X(Net):\n    def __init__(self):\n        super().__init__(64, 10); self.layer.bias.data[3] = float('nan')",
        ["layer.bias", "NaN", "initialises"],
    ),
    "names that cannot be shown": (
        """
class X(Net):
    def __init__(self): super().__init__(64, 10)
    def __repr__(self): raise ValueError
    def forward(self, x): return self.layer(x[:, :3])
""",
        ["OWN.py:27 in forward", "3]"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OWN_MODELS)
def test_a_model_that_cannot_be_used_is_refused_by_its_line(command, case):
    code, words = OWN_MODELS[case]
    command.own(OWN + code)
    command(f"{SHORT}model: {{target: 'OWN:X'}}\n").refused(*words)


OWN_PARTS = {
    "loss raises": ("loss: {target: 'OWN:f'}", "def f(o, t): raise ValueError('x')", ["OWN.py:23 in f", "float32[", "int64["]),
    "loss exits": ("loss: {target: 'OWN:f'}", "def f(o, t): sys.exit(1)", ["OWN.py:23 in f", "end"]),
    "loss gives nothing": ("loss: {target: 'OWN:f'}", "def f(o, t): pass", ["returned None", "a scalar tensor"]),
    "loss gives many": ("loss: {target: 'OWN:f'}", "def f(o, t): return o.sum(1)", ["expected one number"]),
    "loss is detached": ("loss: {target: 'OWN:f'}", "def f(o, t): return o.sum().detach()", [".detach()"]),
    "loss gives an empty dict": ("loss: {target: 'OWN:f'}", "def f(o, t): return {}", ["an empty dict"]),
    "loss of another shape": ("loss: {target: mse}", "", ["The loss mse", "float32[", "int64["]),
    "metric is a class": ("metrics: ['OWN:f']", "class f: pass", ["is the class f", "torchmetrics.Metric"]),
    "optimizer raises": ("optimizer: {target: 'OWN:f'}", "def f(params, lr): raise ValueError('x')", ["OWN.py:23 in f"]),
    "optimizer is none": ("optimizer: {target: 'OWN:f'}", "def f(params, lr): pass", ["torch.optim.Optimizer"]),
    "scheduler raises": ("scheduler: {target: 'OWN:f'}", "def f(optimizer): raise ValueError('x')", ["OWN.py:23 in f"]),
    "scheduler is none": ("scheduler: {target: 'OWN:f'}", "def f(optimizer): pass", ["Scheduler"]),
    "statistic": ("monitoring: {statistics: ['OWN:nope']}", "", ["has no 'nope'"]),
}  # fmt: skip


@pytest.mark.parametrize("case", OWN_PARTS)
def test_a_part_that_cannot_be_used_is_refused(command, case):
    setting, code, words = OWN_PARTS[case]
    command.own(OWN + code)
    command(f"{SHORT}{setting}\n").refused(*words)


def test_what_cannot_be_sent_to_loader_workers_is_refused(command):
    command.own(
        OWN + "class X(Items):\n    def __init__(self):\n        super().__init__(); self.f = lambda x: x"
    )
    done = command("data: {target: 'OWN:X', batch_size: 8, num_workers: 2}\n")
    done.refused("data.num_workers is 2", "lambda", "num_workers to 0")
    command.own(OWN + "f = lambda x: x + 1")
    hook = "transforms: {train: 'OWN:f'}"
    done = command(f"data: {{target: 'OWN:Items', batch_size: 8, num_workers: 2, {hook}}}\n")
    done.refused("data.num_workers is 2", "lambda", "num_workers to 0")


# ── failures while training: exit 1, the line, what was kept ────────────────────────────────────────────────

NET_THAT = """
class X(Net):
    batches = 0
    def forward(self, x):
        X.batches += 1
        if X.batches > 4:
            {does}
        return self.layer(x)
"""
LATE = {
    "the model": (
        "model: {target: 'OWN:X'}",
        NET_THAT.format(does="raise ValueError('late')"),
        ["OWN.py:29 in forward", "late"],
    ),
    "an exit": (
        "model: {target: 'OWN:X'}",
        NET_THAT.format(does="sys.exit(9)"),
        ["OWN.py:29 in forward", "asked the program to end"],
    ),
    "an interrupt": (
        "model: {target: 'OWN:X'}",
        NET_THAT.format(does="raise KeyboardInterrupt"),
        ["OWN.py:29 in forward", "KeyboardInterrupt"],
    ),
    "what cannot be shown": (
        "model: {target: 'OWN:X'}",
        NET_THAT.format(does="raise E") + "class E(Exception):\n    def __str__(self): raise ValueError",
        ["OWN.py:29 in forward", "cannot be shown"],
    ),
    "the loss": (
        "loss: {target: 'OWN:f'}",
        """
calls = []
def f(outputs, targets):
    calls.append(1)
    if len(calls) > 4: raise ValueError('late')
    return nn.functional.cross_entropy(outputs, targets)
""",
        ["OWN.py:27 in f", "late"],
    ),
    "a metric": (
        "metrics: ['OWN:X']",
        """
import torchmetrics
class X(torchmetrics.Metric):
    def update(self, outputs, targets): pass
    def compute(self): raise ValueError('late')
""",
        ["OWN.py:27 in compute", "late"],
    ),
    "the scheduler": (
        "scheduler: {target: 'OWN:X'}",
        """
class X(torch.optim.lr_scheduler.LRScheduler):
    def get_lr(self):
        if self.last_epoch: raise ValueError('late')
        return [0.1]
""",
        ["OWN.py:26 in get_lr", "late"],
    ),
    "a statistic": (
        "monitoring: {statistics: ['OWN:f']}",
        "def f(context): raise ValueError('late')",
        ["OWN.py:23 in f", "late"],
    ),
}


@pytest.mark.parametrize("case", LATE)
def test_a_failure_while_training_names_the_line_and_keeps_what_was_trained(command, case):
    setting, code, words = LATE[case]
    command.own(OWN + code)
    done = command(f"{SHORT}{setting}\n")
    assert done.code == 1
    done.says("Training failed: ", "--resume auto", *words)
    assert "Traceback" in (done.run / "training.log").read_text()
    assert (done.run / "checkpoints" / "last_model.pt").exists()
    summary = done.summary()
    assert (summary["status"], summary["exit_code"]) == ("failed", 1)
    assert summary["steps"] > 0


def test_a_row_that_fails_after_some_batches_ends_in_exit_1(command):
    command.own(OWN + ITEMS_THAT.format(when="X.reads > 600", does="raise OSError('gone')"))
    done = command("data: {target: 'OWN:X', batch_size: 8}\ntraining: {epochs: 9}\n")
    assert done.code == 1
    done.says("OSError: gone", "OWN.py:29", " of train cannot be read")
    assert done.summary()["epochs"] > 0


# ── content ─────────────────────────────────────────────────────────────────────────────────────────────────

TABLE = "a,b,kind,y\n" + "".join(
    f"{i % 7},{i * 0.5},{'red' if i % 2 else 'blue'},{i % 3}\n" for i in range(90)
)
TABLE_CONFIG = "data: {target: table, args: {path: d.csv, label: y}, batch_size: 8}\ntraining: {epochs: 1}\n"

BAD_FILES = {
    "missing": (None, TABLE_CONFIG, ["there is no", "d.csv", "beside the config"]),
    "empty": ("", TABLE_CONFIG, ["d.csv is empty"]),
    "a header alone": ("a,b,y\n", TABLE_CONFIG, ["no rows"]),
    "a column that is not there": (TABLE, TABLE_CONFIG.replace("label: y", "label: z"), ["'z'", "a, b, kind and y"]),
    "no label": (TABLE, TABLE_CONFIG.replace(", label: y", ""), ["needs the argument label"]),
    "a group that is not there": (TABLE, TABLE_CONFIG.replace("batch_size", "group_by: who, batch_size"), ["'who'"]),
    "cells too many": (TABLE + "1,2,3,4,5\n", TABLE_CONFIG, ["line 92"]),
    "binary": (bytes(range(128, 256)), TABLE_CONFIG, ["encoding"]),
    "labels alone": ("y\n0\n1\n0\n1\n", TABLE_CONFIG, ["no feature column"]),
    "names twice": ("a,a,y\n1,2,0\n3,4,1\n", TABLE_CONFIG, ["column name 'a' at positions 1 and 2"]),
    "no archive": (b"junk", TABLE_CONFIG.replace("table", "npz").replace(", label: y", ""), ["d.csv"]),
    "no pictures": (None, "data: {target: image_folder, args: {path: pics}}\n", ["there is no", "pics"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_file_that_cannot_be_read_is_refused(command, case):
    content, config, words = BAD_FILES[case]
    if content is not None:
        command.write("d.csv", content)
    command(config).refused(*words)


def _cell(old: str, new: str) -> str:
    assert old in TABLE
    return TABLE.replace(old, new, 1)


CONTENT = {
    "NaN": (_cell("4,19.5,", "4,nan,"), "non_finite_features", [41], ["b"], ["NaN in column b", "line 41"]),
    "an empty cell": (_cell("4,19.5,", "4,,"), "non_finite_features", [41], ["b"], ["column b", "line 41"]),
    "infinity": (_cell("4,19.5,", "inf,19.5,"), "non_finite_features", [41], ["a"], ["Infinity in column a"]),
    "text among numbers": (_cell("4,19.5,", "4,oops,"), "non_numeric", [41], ["b"], ["'oops'", "line 41", "column b"]),
    "no label": (TABLE + "1,2,red,\n", "label_out_of_range", [92], ["y"], ["missing", "line 92", "0, 1, 2"]),
    "one class": ("a,b,y\n" + "".join(f"{i},{i * 2},1\n" for i in range(40)), "one_class", None, None, ["same class"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTENT)
def test_wrong_content_is_a_diagnostic_that_names_rows_and_columns(command, case):
    content, problem, rows, columns, words = CONTENT[case]
    command.write("d.csv", content)
    done = command(TABLE_CONFIG)
    assert done.code == 1
    done.says("[DIAGNOSTIC] critical data_quality (before training)", "Nothing was trained", *words)
    assert "To go on" not in done.err
    (found,) = [item for item in done.diagnostics() if item["severity"] == "critical"]
    assert (found["code"], found["epoch"], found["evidence"]["problem"]) == ("data_quality", 0, problem)
    assert rows is None or (found["evidence"]["rows"], found["evidence"]["columns"]) == (rows, columns)
    summary = done.summary()
    assert (summary["steps"], summary["exit_code"], summary["diagnostics"]) == (0, 1, ["data_quality"])


def test_labels_out_of_range_in_arrays_and_data_sets_are_a_diagnostic(command):
    np.savez(
        command.folder / "d.npz", x=np.random.default_rng(0).normal(size=(60, 4)), y=np.arange(60) % 3 - 1
    )
    done = command("data: {target: npz, args: {path: d.npz}, batch_size: 8}\n")
    assert done.code == 1
    done.says("20 labels are none of what is expected", "expected classes 0 to 1")
    command.own(OWN + "def X(): return TensorDataset(torch.randn(60, 4), torch.arange(60) % 4 - 1)")
    done = command("data: {target: 'OWN:X', batch_size: 8}\n", output="second")
    assert done.code == 1
    done.says("15 labels are none of what is expected: -1", "expected classes 0 to 2")


def test_mended_data_trains_in_the_same_folder_with_the_words_that_were_shown(command):
    command.write("d.csv", _cell("4,19.5,", "4,nan,"))
    assert command(TABLE_CONFIG).code == 1
    command.write("d.csv", TABLE)
    assert command(TABLE_CONFIG).code == 2  # holds a run: never overwritten
    done = command(TABLE_CONFIG, "--resume", "auto")
    assert done.code == 0
    assert done.summary()["epochs"] == 1


# ── output folders ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("output", ["file", "file/run", "file/a/b", "/proc/1/run", "/sys/run", "x" * 300])
def test_an_output_folder_that_cannot_be_written_is_refused(command, output):
    command.write("file", "text")
    done = command(SHORT, output=output)
    assert done.code == 2
    done.says("cannot be made", "--output-dir")
    assert (command.folder / "file").read_text() == "text"


def test_a_folder_that_holds_a_run_or_a_file_of_its_name_is_never_written_over(command):
    assert command(SHORT).code == 0
    before = {path: path.read_bytes() for path in command.folder.glob("run/**/*") if path.is_file()}
    done = command(SHORT)
    assert done.code == 2
    done.says("already holds a run", "never overwritten", "--resume auto")
    assert {path: path.read_bytes() for path in command.folder.glob("run/**/*") if path.is_file()} == before
    mine = command.write("mine/training_config.yaml", "seed: 3\n")
    done = command(SHORT, output="mine")
    assert done.code == 2
    done.says("training_config.yaml", "write over")
    assert mine.read_text() == "seed: 3\n"


def test_a_refused_command_leaves_no_folder_behind_not_even_those_above(command):
    command("model: {target: nope}\n", output="a/b/run").refused("nope")
    assert not (command.folder / "a").exists()
    command.write("b/notes.txt", "mine")
    assert command("model: {target: nope}\n", output="b").code == 2
    assert [path.name for path in (command.folder / "b").iterdir()] == ["notes.txt"]
    done = command("name: x\nmodel: {target: nope}\n", output=None)
    assert done.code == 2
    assert not (command.folder / "checkpoints").exists()


# ── checkpoints ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def trained(command):
    assert command(SHORT).code == 0
    return command


def _contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_refused_resume_leaves_the_run_as_it_was(trained):
    run = trained.folder / "run"
    before = _contents(run)
    more = ("--set", "training.epochs=2")
    done = trained(None, "--resume", "auto", *more, "--set", "optimizer.learning_rate=0.5")
    assert done.code == 2
    done.says("other settings", "optimizer.learning_rate", "A resumed run goes on exactly as it began")
    assert _contents(run) == before
    done = trained(None, "--resume", "auto", *more, "--set", "model.args.hidden=[3]")
    assert done.code == 2
    done.says("model.args")
    assert _contents(run) == before


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_checkpoint_is_refused_and_passed_over_by_auto(trained, damage):
    path = trained.folder / "run" / "checkpoints" / "last_model.pt"
    raw = bytearray(path.read_bytes())
    if damage == "flipped":
        raw[len(raw) // 2] ^= 1
    damaged = bytes(raw if damage == "flipped" else raw[: len(raw) // 2] if damage == "truncated" else b"")
    path.unlink()  # best_model.pt may be a hard link to it
    path.write_bytes(damaged)
    before = _contents(trained.folder / "run")
    done = trained(None, "--resume", path, "--set", "training.epochs=2", output=None)
    assert done.code == 2
    done.says("last_model.pt is damaged", "--resume auto finds the newest good one")
    assert _contents(trained.folder / "run") == before
    done = trained(None, "--resume", "auto", "--set", "training.epochs=2")
    assert done.code == 0
    done.says("passed over a damaged checkpoint: last_model.pt", "Training from best_model.pt")
    assert done.summary()["epochs"] == 2


def test_a_checkpoint_of_another_model_is_refused(trained):
    source = trained.folder / "run" / "checkpoints" / "best_model.pt"
    alone = trained.folder / "alone.pt"
    shutil.copy(source, alone)
    trained(f"{SHORT}model: {{target: linear}}\n", "--resume", alone, output="other").refused(
        "other settings", "model"
    )
    trained(f"{SHORT}model: {{target: linear, init_from: alone.pt}}\n", output="other").refused(
        "does not match the model"
    )


def test_a_damaged_run_record_is_refused(trained):
    (trained.folder / "run" / "run.json").write_text('{"id": ')
    for resume in ([], ["--resume", "auto"]):
        done = trained(SHORT, *resume)
        assert done.code == 2
        done.says("run.json cannot be read", "--output-dir")


# ── the process itself ──────────────────────────────────────────────────────────────────────────────────────


MODULE = f"'{sys.executable}' -m tui_trainer --no-ui --waive all=tested-elsewhere"
RUN = f"{MODULE} --set training.epochs=1 --output-dir"


def test_a_refusal_from_the_shell(tmp_path):
    done = train("--config", "no.yaml", cwd=tmp_path, expect=2)
    assert done.stdout == ""
    assert done.stderr == "mltrainer-tui: The config file no.yaml does not exist.\n"
    done = train("--set", "seed=x", "--json", cwd=tmp_path, expect=2)
    assert json.loads(done.stdout)["exit_code"] == 2
    assert done.stdout.count("\n") == 1
    unread = f"set -o pipefail; {MODULE} --config no.yaml 2>&1 | true"
    assert subprocess.run(["bash", "-c", unread], cwd=tmp_path, env=ENVIRONMENT, check=False).returncode == 2
    closed = f"{MODULE} --config no.yaml >&- 2>&- <&-"
    assert subprocess.run(["bash", "-c", closed], cwd=tmp_path, env=ENVIRONMENT, check=False).returncode == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line", [f"{RUN} a --json >&- 2>&- <&-", f"set -o pipefail; {RUN} a --json 2>&1 | head -c 1"]
)
def test_a_closed_stream_never_ends_a_run(tmp_path, line):
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=ENVIRONMENT, timeout=240, check=False)
    assert done.returncode == 0
    assert json.loads((tmp_path / "a" / "summary.json").read_text())["status"] == "completed"
    for name in ("events.jsonl", "epoch_metrics.csv"):  # a print went into none of the files that were opened
        assert "[CONFIG]" not in (tmp_path / "a" / name).read_text().replace('"[CONFIG]', "")


@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="needs root to mount")
def test_read_only_folders_no_home_and_names_with_letters_of_all_kinds(tmp_path):
    """In a mount namespace of its own, where root too finds the working directory read-only."""
    disk, run = tmp_path / "only read", tmp_path / "läufe und 日本"
    disk.mkdir()
    script = (
        f"mount -t tmpfs -o size=1m none '{disk}' && mount -o remount,ro '{disk}' && cd '{disk}' && "
        f"{{ {RUN} run; echo first $?; {RUN} '{run}'; echo second $?; }}"
    )
    kept = {
        name: value for name, value in ENVIRONMENT.items() if name not in ("HOME", "USER", "LANG", "LC_ALL")
    }
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        env=kept | {"LC_ALL": "C"},
        capture_output=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    if "first" not in done.stdout:
        pytest.skip(f"no mount namespaces here: {done.stderr[:200]}")
    assert "Traceback" not in done.stderr
    assert "Read-only file system" in done.stderr
    assert done.stdout.split() == ["first", "2", "second", "0"], done.stderr
    assert (run / "checkpoints" / "best_model.pt").exists()
