"""A run without a screen: what it prints, what it leaves, and that it can be repeated, resumed and branched."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tests.runs import ENVIRONMENT, WAIVED, differences, load_last, metric_log, read_json
from tui_trainer.engine import events
from tui_trainer.engine.optimizers import BUILTIN_OPTIMIZERS
from tui_trainer.engine.schedulers import BUILTIN_SCHEDULERS

NOISY = """
import os
import torch
from torch import nn

print("hello from the import")

class Loud(nn.Module):
    def __init__(self, in_features, num_classes):
        super().__init__()
        print("hello from Python")
        os.write(1, b"hello from a descriptor\\n")
        os.system("echo hello from a child")
        self.layer = nn.Linear(in_features, num_classes)
    def forward(self, x):
        return self.layer(x)
"""


# ── the bundled baseline, as a newcomer runs it ─────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def baseline(tmp_path_factory):
    """`mltrainer-tui --no-ui --json` with nothing else, and the folder it was called in."""
    folder = tmp_path_factory.mktemp("baseline")
    done = subprocess.run(
        [sys.executable, "-m", "tui_trainer", "--no-ui", "--json"],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (run,) = (folder / "checkpoints").iterdir()
    return done, run


def test_without_arguments_the_digits_reach_96_percent(baseline):
    done, run = baseline
    assert done.stdout.count("\n") == 1
    summary = json.loads(done.stdout)
    assert summary["best_val_accuracy"] >= 0.96
    assert summary["final_val_accuracy"] >= 0.96
    assert (summary["status"], summary["exit_code"], summary["not_saved"]) == ("completed", 0, {})
    assert summary == read_json(run / "summary.json")
    assert run.name.startswith("digits-baseline-")
    assert "[EPOCH 20/20]" in done.stderr
    assert "Training complete" in done.stderr


def test_a_run_folder_has_every_file_and_they_agree(baseline):
    check_run(baseline[1])


def check_run(run, began_with_epochs=None):
    """Every file of a finished run is there, and each fact is the same wherever it stands.

    `began_with_epochs`: what a run that was extended had been asked for first.
    """
    for name in (
        "run.json", "training_config.yaml", "events.jsonl", "training.log", "epoch_metrics.csv", "gradient_stats.csv",
        "metrics.json", "summary.json", "diagnostics.jsonl", "baseline_results.md", "learning_curves.png",
    ):  # fmt: skip
        assert (run / name).stat().st_size > 0 or name == "diagnostics.jsonl", name
    summary, record = read_json(run / "summary.json"), read_json(run / "run.json")
    config = yaml.safe_load((run / "training_config.yaml").read_text())
    with (run / "epoch_metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    columns = {name: [float(row[name]) for row in rows] for name in rows[0] if rows[0][name] != ""}
    epochs = [int(value) for value in columns["epoch"]]
    assert epochs == list(range(1, summary["epochs"] + 1))

    # summary: recomputed from the table
    monitor = config["checkpoint"]["monitor"]
    assert summary["best_epoch"] == epochs[columns[monitor].index(min(columns[monitor]))]
    for name, values in columns.items():
        if name.startswith(("train_", "val_")):
            best = min(values) if name.endswith("loss") else max(values)
            assert (summary[f"best_{name}"], summary[f"final_{name}"]) == (best, values[-1])
    assert summary["training_seconds"] == pytest.approx(sum(columns["epoch_time"]))

    # metrics.json holds the same table
    content = read_json(run / "metrics.json")["epochs"]
    assert [{k: v for k, v in row.items() if v is not None} for row in content] == [
        {name: (int if name == "epoch" else float)(value) for name, value in row.items() if value != ""}
        for row in rows
    ]

    # run.json
    assert (record["id"], record["name"], record["status"]) == (
        summary["run_id"],
        config["name"],
        summary["status"],
    )
    assert [item["status"] for item in record["attempts"]][-1] == summary["status"]
    assert record["versions"]["torch"] == torch.__version__
    assert summary["run_dir"] == str(run.resolve())

    # events: every line whole, in order, with the epochs and the summary in it
    decoded = [events.decode(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert all(event is not None for event in decoded)
    finished = [event for event in decoded if isinstance(event, events.EpochFinished)]
    assert [event.epoch for event in finished][-1] == epochs[-1]
    last = {event.epoch: event for event in finished}
    for name, values in columns.items():
        if name.startswith(("train_", "val_")):
            assert [last[epoch].metrics[name] for epoch in epochs] == values
    assert isinstance(decoded[-1], events.RunFinished)
    assert {**decoded[-1].summary, "exit_code": 0} == {**summary, "exit_code": 0}

    # checkpoints: the manifest's hashes, and content that belongs to the epoch they claim
    manifest = read_json(run / "checkpoints" / "manifest.json")
    assert manifest["pending"] == {}
    assert manifest["files"].keys() == {path.name for path in (run / "checkpoints").glob("*.pt")}
    every = config["checkpoint"]["checkpoint_every_n_epochs"]
    periodic = {f"checkpoint_epoch_{epoch}.pt" for epoch in epochs if every and epoch % every == 0}
    assert manifest["files"].keys() == {"best_model.pt", "last_model.pt"} | periodic
    for name, entry in manifest["files"].items():
        raw = (run / "checkpoints" / name).read_bytes()
        assert (hashlib.sha256(raw).hexdigest(), len(raw)) == (entry["sha256"], entry["size"])
        state = load_last(run, name)
        assert (state["epoch"], state["step"]) == (entry["epoch"], entry["step"])
        assert state["val_loss"] == columns["val_loss"][state["epoch"] - 1] == entry["metrics"]["val_loss"]
        assert [row["epoch"] for row in state["history"]] == epochs[: state["epoch"]]
        if state["epoch"] > (began_with_epochs or 0):
            assert state["config"] == config
            assert state["config_hash"] == record["config_hash"]
        assert all(torch.isfinite(value).all() for value in state["model_state_dict"].values())
    assert manifest["files"]["best_model.pt"]["epoch"] == summary["best_epoch"]
    assert manifest["files"]["last_model.pt"]["epoch"] == epochs[-1]
    if f"checkpoint_epoch_{epochs[-1]}.pt" in periodic:
        periodic_state = load_last(run, f"checkpoint_epoch_{epochs[-1]}.pt")
        assert differences(periodic_state, load_last(run)) == []


def test_user_code_prints_to_stderr_and_json_alone_stands_on_stdout(tmp_path):
    (tmp_path / "loud.py").write_text(NOISY)
    (tmp_path / "c.yaml").write_text(
        "model: {target: 'loud:Loud'}\ntraining: {epochs: 1}\ndata: {batch_size: 256}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "tui_trainer", *WAIVED, "--config", "c.yaml", "--json", "--output-dir", "run"],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["exit_code"] == 0
    assert done.stdout.count("\n") == 1
    for source in ("the import", "Python", "a descriptor", "a child"):
        assert f"hello from {source}" in done.stderr


# ── repeat, resume, roll back, branch ───────────────────────────────────────────────────────────────────────

SMALL = """
name: small
data: {target: digits, batch_size: 64}
model: {target: mlp, args: {hidden: [16], dropout: 0.2}}
optimizer: {target: sgd, learning_rate: 0.1, args: {momentum: 0.9}}
training: {epochs: 4}
early_stopping: {enabled: false}
checkpoint: {checkpoint_every_n_epochs: 1}
monitoring: {log_every_n_steps: 5}
"""


def same(a, b):
    assert differences(load_last(a), load_last(b)) == []
    assert metric_log(a) == metric_log(b)
    assert differences(load_last(a, "best_model.pt"), load_last(b, "best_model.pt")) == []


def test_one_seed_gives_one_result_and_another_seed_another(command):
    runs = [command(SMALL, output=name).run for name in ("a", "b")]
    same(*runs)
    other = command(SMALL, "--set", "seed=43", output="c").run
    assert differences(load_last(runs[0])["model_state_dict"], load_last(other)["model_state_dict"]) != []


def test_a_runs_own_config_repeats_it_from_anywhere_with_the_users_module(command, tmp_path, monkeypatch):
    command.own(NOISY)
    np.savez(command.folder / "d.npz", x=np.random.default_rng(0).normal(size=(90, 4)), y=np.arange(90) % 3)
    text = "data: {target: npz, args: {path: d.npz}, batch_size: 8}\nmodel: {target: 'OWN:Loud'}\ntraining: {epochs: 2}\n"
    first = command(text, "--set", "optimizer.learning_rate=0.05")
    assert first.code == 0, first.err
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    again = command(None, "--config", first.run / "training_config.yaml", output=tmp_path / "again")
    assert again.code == 0, again.err
    same(first.run, again.run)
    assert (again.run / "training_config.yaml").read_text() == (
        first.run / "training_config.yaml"
    ).read_text()
    thrice = command(None, "--config", again.run / "training_config.yaml", output=tmp_path / "thrice")
    assert thrice.code == 0, thrice.err


def test_a_config_in_another_folder_finds_its_data_beside_itself(command):
    command.write("project/d.csv", "a,b,y\n" + "".join(f"{i},{i % 5},{i % 2}\n" for i in range(60)))
    text = "data: {target: table, args: {path: d.csv, label: y}, batch_size: 8}\ntraining: {epochs: 1}\n"
    config = command.write("project/conf.yaml", text)
    assert command(None, "--config", config).code == 0


def test_a_finished_run_is_done_at_once_and_goes_on_when_more_is_asked_for(command):
    command.reports = True
    run = command(SMALL).run
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    done = command(None, "--resume", "auto", "--json")
    assert done.code == 0
    done.says("is finished (completed)")
    assert json.loads(done.out) == read_json(run / "summary.json")
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    assert command(SMALL, "--resume", "auto").code == 0

    more = command(None, "--resume", "auto", "--set", "training.epochs=6")
    assert more.code == 0
    more.says("Training from last_model.pt (epoch 4", "attempt 2", "[EPOCH 6/6]")
    assert "[EPOCH 4/6]" not in more.err
    whole = command(SMALL, "--set", "training.epochs=6", output="whole").run
    same(run, whole)
    check_run(run, began_with_epochs=4)


def test_more_epochs_are_refused_where_the_schedule_is_laid_out_for_fewer(command):
    text = SMALL + "scheduler: {target: one_cycle}\n"
    assert command(text).code == 0
    done = command(None, "--resume", "auto", "--set", "training.epochs=6")
    assert done.code == 2
    done.says("one_cycle", "laid out for 4 epochs", "model.init_from")


def test_going_back_to_an_older_checkpoint_sets_aside_what_came_later(command):
    command.reports = True
    run = command(SMALL).run
    whole = command(SMALL, output="whole").run
    later = (run / "checkpoints" / "checkpoint_epoch_4.pt").read_bytes()
    done = command(None, "--resume", run / "checkpoints" / "checkpoint_epoch_2.pt", output=None)
    assert done.code == 0, done.err
    done.says("Training from checkpoint_epoch_2.pt (epoch 2")
    attic = run / "attempts" / "1"
    assert (attic / "checkpoint_epoch_4.pt").read_bytes() == later
    with (attic / "epoch_metrics.csv").open(newline="") as stream:
        assert [row["epoch"] for row in csv.DictReader(stream)] == ["3", "4"]
    same(run, whole)
    check_run(run)
    record = read_json(run / "run.json")
    assert [item["resumed_from"] for item in record["attempts"]] == [None, "checkpoint_epoch_2.pt"]


def test_a_branch_goes_on_in_a_folder_of_its_own_and_leaves_its_parent_alone(command):
    run = command(SMALL).run
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    point = run / "checkpoints" / "checkpoint_epoch_2.pt"
    done = command(None, "--resume", point, output="branch")
    assert done.code == 0, done.err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert read_json(done.run / "run.json")["lineage"] == str(point)
    assert [row["epoch"] for row in metric_log(done.run)] == ["1", "2", "3", "4"]
    assert differences(load_last(run)["model_state_dict"], load_last(done.run)["model_state_dict"]) == []
    refused = command(None, "--resume", point, "--set", "optimizer.learning_rate=0.3", output="other")
    refused.refused("optimizer.learning_rate")


def test_all_flags_are_accepted(command):
    done = command(
        SMALL, "--mode", "baseline", "--set", "training.epochs=1", "--on-trigger", "report", "--sign", "intended_use=a test",
        "--waive", "all=no need", "--run", "nowhere", "--verbose", "--json", "--resume", "auto",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert json.loads(done.out)["exit_code"] == 0
    config = yaml.safe_load((done.run / "training_config.yaml").read_text())
    assert config["gates"] == {"sign": {"intended_use": "a test"}, "waive": {"all": "no need"}}
    done.says("  step 5 (epoch 1): loss", "[CHECKPOINT] saved")


def test_stopping_early_is_a_good_end(command):
    done = command(SMALL.replace("enabled: false", "patience: 1, min_delta: 100"))
    assert done.code == 0
    assert done.summary()["status"] == "early_stopped"
    done.says("Early stopping: no improvement of val_loss for 1 epochs")
    assert command(None, "--resume", "auto").code == 0


# ── every part by its short name ────────────────────────────────────────────────────────────────────────────

ONE = "training: {epochs: 1}\n"


def trains(done, *metrics):
    """The run went well, and measured `metrics` as finite numbers."""
    assert done.code == 0, done.err
    summary = done.summary()
    for name in ("train_loss", "val_loss", *metrics):
        assert math.isfinite(summary[f"final_{name}"]), name
    return summary


@pytest.mark.parametrize(
    ("data", "model", "metric"),
    [
        ("target: digits", "target: linear", "val_accuracy"),
        ("target: digits, args: {image: true}", "target: cnn", "val_accuracy"),
        (
            "target: digits, args: {image: true}",
            "target: resnet18, args: {stem: small, width: 8, layers: [1, 1]}",
            "val_accuracy",
        ),
        ("target: digits, args: {image: true}", "target: lstm", "val_accuracy"),
        ("target: breast_cancer", "target: mlp", "val_accuracy"),
        ("target: wine", "target: mlp, args: {hidden: [8, 8], activation: gelu}", "val_accuracy"),
        ("target: diabetes", "target: linear", "val_mae"),
        ("target: diabetes", "target: mlp", "val_mae"),
    ],
)
def test_built_in_data_and_models(command, data, model, metric):
    trains(command(f"{ONE}data: {{{data}, batch_size: 128}}\nmodel: {{{model}}}\n"), metric)


@pytest.mark.parametrize("name", sorted(set(BUILTIN_OPTIMIZERS) - {"lbfgs"}))
def test_every_optimizer_trains_and_resumes(command, name):
    text = f"{ONE}data: {{batch_size: 256}}\nmodel: {{target: linear}}\noptimizer: {{target: {name}}}\n"
    run = command(text, "--set", "training.epochs=2", output="whole").run
    trains(command(text))
    trains(command(None, "--resume", "auto", "--set", "training.epochs=2"))
    same(run, command.folder / "run")


SCHEDULES = dict.fromkeys(BUILTIN_SCHEDULERS, "") | {"exponential": ", args: {gamma: 0.9}"}


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_every_schedule_trains_and_resumes(command, name):
    text = (
        f"data: {{batch_size: 256}}\nmodel: {{target: linear}}\nscheduler: {{target: {name}{SCHEDULES[name]}}}\n"
        "training: {epochs: 3}\ncheckpoint: {checkpoint_every_n_epochs: 1}\n"
    )
    run = command(text, output="whole").run
    trains(command(text))
    point = command.folder / "run" / "checkpoints" / "checkpoint_epoch_1.pt"
    assert command(None, "--resume", point, output=None).code == 0
    same(run, command.folder / "run")


@pytest.mark.parametrize("name", ["step", "cosine", "exponential", "multistep"])
def test_schedules_that_advance_each_step(command, name):
    trains(
        command(
            f"{ONE}model: {{target: linear}}\nscheduler: {{target: {name}{SCHEDULES[name]}, interval: step}}\n"
        )
    )


TASKS = """
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

def _x(n=120):
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(1))

def regression():
    return TensorDataset(_x(), _x()[:, :2].sum(1))

def several_numbers():
    return TensorDataset(_x(), _x()[:, :2] * 3)

def binary():
    return TensorDataset(_x(), (_x()[:, 0] > 0).long())

def multilabel():
    return TensorDataset(_x(), (_x()[:, :3] > 0).float())

class Dicts(Dataset):
    def __len__(self):
        return 120
    def __getitem__(self, i):
        return {"features": _x()[i], "labels": (_x()[i, :3]).argmax()}

class OnDicts(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)
    def forward(self, features, labels=None):
        return self.layer(features)

class OwnLoss(OnDicts):
    def forward(self, features, labels=None):
        logits = self.layer(features)
        return {"logits": logits, "loss": nn.functional.cross_entropy(logits, labels)}

def two_losses(outputs, targets):
    return {"fit": nn.functional.cross_entropy(outputs, targets), "size": 1e-3 * outputs.pow(2).mean()}

def norms(context):
    return {"weight_norm": float(sum(p.norm() for p in context.model.parameters()))}

def twice(x):
    return x * 2

def jitter(x):
    return x + 0.01 * torch.randn_like(x)

def stack(items):
    return torch.stack([x for x, _ in items]), torch.stack([y for _, y in items])

class Grouped(TensorDataset):
    def __init__(self):
        super().__init__(_x(), (_x()[:, 0] > 0).long())
        self.patient = [i // 10 for i in range(120)]
"""


@pytest.mark.parametrize(
    ("data", "more", "metrics"),
    [
        ("regression", "", ["val_mae"]),
        ("several_numbers", "", ["val_mae"]),
        ("binary", "metrics: [accuracy, f1, auroc]\n", ["val_accuracy", "val_f1", "val_auroc"]),
        ("multilabel", "metrics: [accuracy, f1]\n", ["val_accuracy", "val_f1"]),
        ("Dicts", "model: {target: 'OWN:OnDicts'}\nloss: {target: cross_entropy}\n", []),
        ("Dicts", "model: {target: 'OWN:OwnLoss'}\n", []),
    ],
)
def test_tasks_are_inferred(command, data, more, metrics):
    command.own(TASKS)
    trains(command(f"{ONE}data: {{target: 'OWN:{data}', batch_size: 16}}\n{more}"), *metrics)


def test_named_losses_and_the_users_statistics_get_files_of_their_own(command):
    command.own(TASKS)
    done = command(
        "data: {batch_size: 128}\nloss: {target: 'OWN:two_losses'}\ntraining: {epochs: 2}\n"
        "monitoring: {statistics: ['OWN:norms'], feature_stats_every_n_epochs: 1}\n"
    )
    trains(done)
    with (done.run / "loss_components.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["epoch"], row["phase"]) for row in rows] == [
        ("1", "train"),
        ("1", "val"),
        ("2", "train"),
        ("2", "val"),
    ]
    for row in rows:
        assert float(row["loss_fit"]) + float(row["loss_size"]) == pytest.approx(
            float(row["total_loss"]), rel=1e-5
        )
    with (done.run / "norms.csv").open(newline="") as stream:
        assert [float(row["weight_norm"]) > 0 for row in csv.DictReader(stream)] == [True, True]
    assert (done.run / "feature_stats.csv").read_text().count("\n") == 1 + 2 * 2 * 64


def test_groups_transforms_and_a_collate_of_ones_own(command):
    command.own(TASKS)
    done = command(
        f"{ONE}data: {{target: 'OWN:Grouped', group_by: patient, batch_size: 16, collate: 'OWN:stack', "
        "transforms: {train: 'OWN:jitter', val: 'OWN:twice'}}\n"
    )
    trains(done, "val_accuracy")


def test_tables_of_every_kind_train_alike(command):
    import pandas as pd

    frame = pd.DataFrame(
        {"a": np.arange(80) % 7, "b": np.arange(80) * 0.5, "kind": ["x", "y"] * 40, "y": np.arange(80) % 3}
    )
    frame.to_csv(command.folder / "d.csv", index=False)
    frame.to_parquet(command.folder / "d.parquet")
    frame.to_json(command.folder / "d.jsonl", orient="records", lines=True)
    logs = []
    for suffix in ("csv", "parquet", "jsonl"):
        text = f"{ONE}data: {{target: table, args: {{path: d.{suffix}, label: y}}, batch_size: 16}}\n"
        done = command(text, output=suffix)
        trains(done, "val_accuracy")
        logs.append(metric_log(done.run))
    assert logs[0] == logs[1] == logs[2]


def test_folders_of_pictures_and_archives(command):
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        for number in range(12):
            path = command.folder / "pictures" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(path)
    text = f"{ONE}data: {{target: image_folder, args: {{path: pictures}}, batch_size: 4}}\nmodel: {{target: cnn}}\n"
    trains(command(text), "val_accuracy")
    np.savez(command.folder / "d.npz", x=random.normal(size=(60, 4)), y=np.arange(60) % 3)
    trains(
        command(f"{ONE}data: {{target: npz, args: {{path: d.npz}}, batch_size: 8}}\n", output="npz"),
        "val_accuracy",
    )


@pytest.mark.parametrize("setting", [
    "training.precision=bf16", "training.precision=fp16", "training.gradient_accumulation_steps=3",
    "training.validate_every_n_steps=4", "training.gradient_clip_norm=0.5",
    "data.drop_last=true", "metrics=[f1, precision, recall]",
    "loss={target: cross_entropy, args: {label_smoothing: 0.1}}", "deterministic=false", "device=cpu",
])  # fmt: skip
def test_settings_that_change_the_step(command, setting):
    done = command(f"{ONE}data: {{batch_size: 100}}\n", "--set", setting)
    trains(done)
    if "validate_every" in setting:
        done.says("[VALIDATION] epoch 1, step 4")


def test_a_compiled_model_trains_to_the_same_result(command):
    text = f"{ONE}data: {{batch_size: 719}}\nmodel: {{target: linear}}\n"  # two batches of one size: one compilation
    done, plain = command(text, "--set", "training.compile=true"), command(text, output="plain")
    assert trains(done, "val_accuracy")["final_val_loss"] == pytest.approx(
        trains(plain)["final_val_loss"], rel=1e-3
    )
    assert load_last(done.run)["model_state_dict"].keys() == load_last(plain.run)["model_state_dict"].keys()


def test_fine_tuning_starts_from_weights_and_leaves_the_frozen_ones(command):
    run = command(SMALL).run
    text = f"""
    data: {{batch_size: 64}}
    model:
      target: mlp
      args: {{hidden: [16], dropout: 0.2}}
      init_from: {run}/checkpoints/best_model.pt
      freeze: ['layers.0.*']
    training: {{epochs: 1}}
    """
    done = command(text, output="tuned")
    trains(done, "val_accuracy")
    before, after = (
        load_last(run, "best_model.pt")["model_state_dict"],
        load_last(done.run)["model_state_dict"],
    )
    frozen = [name for name in after if name.startswith("layers.0.")]
    assert frozen
    assert all(torch.equal(before[name], after[name]) == (name in frozen) for name in after)
    assert done.summary()["final_val_accuracy"] > 0.8


def test_the_bundled_environment_is_left_as_it_was(command):
    before = dict(os.environ)
    trains(command("data: {batch_size: 256}\nmodel: {target: linear}\n" + ONE))
    changed = {name for name in os.environ if os.environ[name] != before.get(name)}
    assert changed <= {"CUBLAS_WORKSPACE_CONFIG", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "PYTHONHASHSEED"}
