"""Gate 1: no baseline begins without it; what it found stays earned until something it rests on changes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.runs import train
from tui_trainer.config.loading import LoadedConfig, load_config
from tui_trainer.phases import environment, plan_checks, standing
from tui_trainer.phases.gate import Checklist, Entry
from tui_trainer.phases.gate_book import GateBook
from tui_trainer.phases.manifest import write_environment
from tui_trainer.phases.plan import PlanGate
from tui_trainer.phases.plan_checks import GATE, ITEMS, REHEARSED

SMALL: dict[str, Any] = {
    "name": "small",
    "data": {"target": "digits", "batch_size": 64, "test_fraction": 0.15},
    "model": {"target": "mlp", "args": {"hidden": [8]}},
    "training": {"epochs": 1},
    "gates": {"sign": {"intended_use": "a test", "target_metric": "none"}},
}


def load(folder: Path, **changes: Any) -> LoadedConfig:
    (folder / "c.yaml").write_text(yaml.safe_dump(SMALL | changes))
    return load_config(folder / "c.yaml")


def states(checklist: Checklist) -> dict[str, str]:
    return {entry.item.name: entry.finding.state for entry in checklist.entries}


def evidence(checklist: Checklist, name: str) -> str:
    return next(entry.finding.evidence for entry in checklist.entries if entry.item.name == name)


@pytest.fixture(scope="module")
def earned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with the gate earned."""
    folder = tmp_path_factory.mktemp("project")
    checklist = PlanGate(load(folder)).run()
    assert checklist.passed, list(checklist.missing)
    return folder


def test_the_gate_is_earned_by_checks_and_leaves_its_record(earned: Path) -> None:
    content = yaml.safe_load((earned / "gates.yaml").read_text())["gates"][GATE]
    assert content["passed"] is True
    assert content["items"]["two_runs"]["evidence"].startswith(
        "5 steps in two fresh processes: all 4 tensors"
    )
    assert content["items"]["seeds"]["details"]["known"]["numpy"] == 0.3745401188473625
    packages = (earned / "reproducibility" / "requirements.txt").read_text().splitlines()
    assert any(line.startswith("numpy==") for line in packages)
    assert any(line.startswith("torch==") and "+" not in line.split("#")[0] for line in packages)
    manifest = (earned / "reproducibility_manifest.md").read_text()
    for item in ITEMS:
        assert f"| {item.title} |" in manifest
    assert load_config(earned / "training_config.yaml").config == load_config(earned / "c.yaml").config


def test_an_earned_gate_is_not_checked_again(earned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_trainer.phases.plan.Rehearsal", None)  # a rehearsal would fail
    assert PlanGate(load(earned)).run().passed


@pytest.mark.parametrize(
    ("changes", "reopened"),
    [
        ({"name": "other", "diagnostics": {"on_trigger": "stop"}}, set()),
        ({"monitoring": {"log_every_n_steps": 3}}, set()),
        ({"targets": {"metric": "val_accuracy", "at_least": 0.9}}, {"target_metric"}),
        ({"checkpoint": {"checkpoint_every_n_epochs": 1}}, {"disk"}),
        ({"data": {**SMALL["data"], "num_workers": 2}}, {"two_runs"}),
        (
            {"optimizer": {"learning_rate": 0.01}},
            {item.name for item in ITEMS if "config" in item.rests_on},
        ),
    ],
)
def test_a_change_reopens_exactly_what_rests_on_it(
    earned: Path, changes: dict[str, Any], reopened: set[str]
) -> None:
    signed = {"gates": {"sign": {}}} if "targets" in changes else {}
    look = PlanGate(load(earned, **changes, **signed)).look()
    load(earned)
    assert {entry.item.name for entry in look.missing} == reopened


def test_what_was_signed_for_one_model_does_not_count_for_another(tmp_path: Path) -> None:
    waive = {item.name: "-" for item in ITEMS if not item.signed}
    gate = PlanGate(load(tmp_path, gates={"waive": waive}))
    gate.run()
    gate.sign("intended_use", "a test")
    assert gate.sign("target_metric", "none").passed
    assert PlanGate(load(tmp_path, gates={"waive": waive}, optimizer={"learning_rate": 0.01})).look().passed
    for other in ({"name": "other"}, {"model": {"target": "linear"}}):
        missing = PlanGate(load(tmp_path, gates={"waive": waive}, **other)).look().missing
        assert {entry.item.name for entry in missing} == {"intended_use", "target_metric"}


def test_a_change_of_the_projects_own_code_reopens_the_gate(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path_factory.mktemp("library")  # code of one's own may lie anywhere
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(library), *sys.path]))
    (tmp_path / "net_for_gate.py").write_text(
        "from torch import nn\nimport parts_for_gate\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, in_features, num_classes):\n"
        "        super().__init__()\n"
        "        self.layer = nn.Linear(in_features, num_classes)\n"
        "    def forward(self, x):\n"
        "        return self.layer(x)\n"
    )
    (library / "parts_for_gate.py").write_text("WIDTH = 1\n")
    loaded = load(tmp_path, model={"target": "net_for_gate:Net"})
    assert PlanGate(loaded).run().passed
    assert PlanGate(loaded).look().passed
    (library / "parts_for_gate.py").write_text("WIDTH = 2\n")
    missing = {entry.item.name for entry in PlanGate(loaded).look().missing}
    assert {"two_runs", "dummy_pass", "data"} <= missing
    assert "seeds" not in missing


UNSEEDED = """
import os
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, in_features, num_classes):
        super().__init__()
        self.first = nn.Linear(in_features, 8)
        self.second = nn.Linear(8, num_classes)
        generator = torch.Generator().manual_seed(int.from_bytes(os.urandom(4), "little"))
        self.second.weight.data.normal_(generator=generator)

    def forward(self, x):
        return self.second(self.first(x).relu())
"""


def test_runs_that_differ_fail_and_the_first_tensor_is_named(tmp_path: Path) -> None:
    (tmp_path / "unseeded_net.py").write_text(UNSEEDED)
    checklist = PlanGate(load(tmp_path, model={"target": "unseeded_net:Net"})).run()
    assert [entry.item.name for entry in checklist.missing] == ["two_runs"]
    assert "tensor first.weight differs, losses from batch 1 on" in evidence(checklist, "two_runs")


@pytest.mark.parametrize(
    ("val", "test", "said"),
    [
        ("x[200:250], y[200:250]", "x[170:230], y[170:230]", "30 of 60 samples are in both train and test"),
        ("x[:200], y[:200]", "x[250:], y[250:]", "The val set lies whole in the train set"),
        ("x[150:250], y[150:250]", "x[250:], y[250:]", "50 of 100 validation samples"),
    ],
)
def test_overlapping_sets_fail_with_their_numbers(tmp_path: Path, val: str, test: str, said: str) -> None:
    (tmp_path / "leaky_data.py").write_text(
        "import torch\nfrom torch.utils.data import TensorDataset\n"
        "def make():\n"
        "    x = torch.randn(300, 6, generator=torch.Generator().manual_seed(0))\n"
        "    y = (x[:, 0] > 0).long()\n"
        f"    return TensorDataset(x[:200], y[:200]), TensorDataset({val}), TensorDataset({test})\n"
    )
    loaded = load(
        tmp_path, data={"target": "leaky_data:make", "batch_size": 32}, gates={"waive": {"two_runs": "-"}}
    )
    checklist = PlanGate(loaded).run()
    assert states(checklist)["splits"] == "failed"
    assert said in evidence(checklist, "splits")


UNSEEDED_WORKER = """
import os
import torch
from torch.utils.data import Dataset

class Noisy(Dataset):
    def __len__(self):
        return 200

    def __getitem__(self, index):
        noise = int.from_bytes(os.urandom(2), "little") / 65536
        return torch.full((4,), index / 200) + noise, index % 2

def make():
    return Noisy()
"""


def test_a_loader_worker_with_randomness_of_its_own_is_found(tmp_path: Path) -> None:
    (tmp_path / "noisy_worker.py").write_text(UNSEEDED_WORKER)
    data = {"target": "noisy_worker:make", "batch_size": 16, "num_workers": 1}
    checklist = PlanGate(load(tmp_path, data=data)).run()
    assert states(checklist)["two_runs"] == "failed"
    assert "losses from batch 1 on" in evidence(checklist, "two_runs")


ODD_NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, in_features, num_classes, unused=False, broken=False):
        super().__init__()
        self.used = nn.Linear(in_features, num_classes)
        self.forgotten = nn.Linear(3, 3) if unused else None
        self.broken = broken

    def forward(self, x):
        outputs = self.used(x)
        return outputs * torch.log(torch.tensor(-1.0)) if self.broken and self.training else outputs
"""


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"unused": True}, "2 parameters get no gradient: forgotten.weight"),
        ({"broken": True}, "The loss of one pass is nan"),
    ],
)
def test_the_dummy_pass_finds_what_could_not_train(tmp_path: Path, args: dict[str, bool], said: str) -> None:
    (tmp_path / "odd_net.py").write_text(ODD_NET)
    loaded = load(tmp_path, model={"target": "odd_net:Net", "args": args}, gates={"waive": {"two_runs": "-"}})
    checklist = PlanGate(loaded).run()
    assert states(checklist)["dummy_pass"] == "failed"
    assert said in evidence(checklist, "dummy_pass")


def test_too_little_room_for_the_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(tmp_path, training={"epochs": 20}).config
    message = {"checkpoint_bytes": 10**15}
    finding = plan_checks.disk(message, config, tmp_path)
    assert finding.state == "failed"
    assert finding.details["checkpoints"] == 4 + 1 + 1
    found = plan_checks.disk({"checkpoint_bytes": 1000}, config, tmp_path / "to" / "come")
    assert found.state == "passed"
    item = next(item for item in ITEMS if item.name == "disk")
    assert not plan_checks.too_full(Entry(item, found), tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=6999))
    assert plan_checks.too_full(Entry(item, found), tmp_path)


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=A", "-c", "user.email=a@b.c")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def test_the_code_version_is_commit_and_patch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plan_checks.repository(environment.repository(tmp_path)).state == "not_applicable"
    git(tmp_path, "init", "-q")
    (tmp_path / "net.py").write_text("one = 1\n")
    with pytest.raises(environment.NoAnswer, match="none was made yet"):
        environment.repository(tmp_path)
    git(tmp_path, "add", "net.py")
    git(tmp_path, "commit", "-q", "-m", "first")
    (tmp_path / "net.py").write_text("two = 2\n")
    (tmp_path / "new.py").touch()
    found = environment.repository(tmp_path)
    assert found is not None
    assert "+two = 2" in found.patch
    assert found.untracked == 1
    write_environment(tmp_path, "numpy==1\n", found)
    assert "+two = 2" in (tmp_path / "reproducibility" / "uncommitted.patch").read_text()
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(environment.NoAnswer, match="no git command"):
        environment.repository(tmp_path)


def test_a_repository_that_cannot_be_asked_shuts_the_gate(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")  # without a commit
    waived = {"waive": {item.name: "-" for item in ITEMS if item.name != "repository"}}
    checklist = PlanGate(load(tmp_path, gates=waived)).run()
    assert [entry.item.name for entry in checklist.missing] == ["repository"]


def test_waiving_needs_a_reason_which_stays_on_record(tmp_path: Path) -> None:
    (tmp_path / "unseeded_net.py").write_text(UNSEEDED)
    model = {"target": "unseeded_net:Net"}
    gates = {**SMALL["gates"], "waive": {"two_runs": "known: random start on purpose"}}
    checklist = PlanGate(load(tmp_path, model=model, gates=gates)).run()
    assert checklist.passed
    assert states(checklist)["two_runs"] == "waived"
    assert "known: random start on purpose" in (tmp_path / "reproducibility_manifest.md").read_text()


def test_determinism_switched_off_is_not_passed_over(tmp_path: Path) -> None:
    checklist = PlanGate(load(tmp_path, deterministic=False)).run()
    assert [entry.item.name for entry in checklist.missing] == ["deterministic"]


def test_a_rehearsal_that_dies_fails_the_item_it_was_at_and_says_how(tmp_path: Path) -> None:
    (tmp_path / "deadly_net.py").write_text(
        "import os\nfrom torch import nn\n"
        "class Net(nn.Linear):\n"
        "    def __init__(self, in_features, num_classes):\n"
        "        super().__init__(in_features, num_classes)\n"
        "        print('about to die', flush=True)\n"
        "        os.kill(os.getpid(), 9)\n"
    )
    checklist = PlanGate(load(tmp_path, model={"target": "deadly_net:Net"})).run()
    found = states(checklist)
    assert (found["data"], found["dummy_pass"], found["two_runs"]) == ("passed", "failed", "open")
    assert "by signal 9: about to die" in evidence(checklist, "dummy_pass")


def test_a_step_that_hangs_does_not_hold_the_gate_up_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hanging_net.py").write_text(
        "import time\nfrom torch import nn\n"
        "class Net(nn.Linear):\n"
        "    def __init__(self, in_features, num_classes):\n"
        "        super().__init__(in_features, num_classes)\n"
        "    def forward(self, x):\n"
        "        if self.training:\n"
        "            time.sleep(3600)\n"
        "        return super().forward(x)\n"
    )
    monkeypatch.setattr("tui_trainer.phases.rehearsal.READY_S", 0.5)
    checklist = PlanGate(load(tmp_path, model={"target": "hanging_net:Net"})).run()
    assert not checklist.passed
    assert "a step hangs" in evidence(checklist, "dummy_pass")


LINGERING = """
import os, sys, time
import torch
from torch.utils.data import TensorDataset

def make(end):
    assert sys.stdin.read() == os.read(0, 9).decode() == ""
    if os.fork() == 0:
        time.sleep(600)
    if end:
        os._exit(5)
    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, (x[:, 0] > 0).long())
"""


@pytest.mark.parametrize("end", [False, True])
def test_user_code_that_reads_or_leaves_processes_behind_holds_nothing_up(tmp_path: Path, end: bool) -> None:
    (tmp_path / "lingering.py").write_text(LINGERING)
    data = {"target": "lingering:make", "args": {"end": end}}
    gates = {"waive": {"two_runs": "-"}, **SMALL["gates"]}
    checklist = PlanGate(load(tmp_path, data=data, gates=gates)).run()
    assert checklist.passed is not end
    if end:
        assert "ended with exit code 5" in evidence(checklist, "data")


def test_a_damaged_gates_file_counts_as_nothing_earned(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    perfect = "gates: {reproducibility: {items: {seeds: {state: perfect}}}}"
    for content in ("", "[1, 2]", "gates: {reproducibility: 3}", "gates: [", "\x00\xff", perfect):
        (tmp_path / "gates.yaml").write_text(content, encoding="latin-1")
        assert set(states(PlanGate(loaded).look()).values()) == {"open", "signed"}


def test_a_project_folder_that_cannot_be_written_stops_no_run_but_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "run").mkdir()
    waived = {"waive": dict.fromkeys(REHEARSED, "-"), **SMALL["gates"]}
    loaded = load(tmp_path / "project", gates=waived)

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system", str(loaded.folder))

    monkeypatch.setattr("tui_trainer.phases.gate_book.write_atomically", refuse)
    monkeypatch.setattr("tui_trainer.phases.manifest.write_environment", refuse)
    assert {entry.item.name for entry in PlanGate(loaded).run().missing} >= {"environment"}
    gate = PlanGate(loaded, run=tmp_path / "run")
    assert gate.run().passed
    assert gate.trouble is not None
    assert "Read-only" in gate.trouble
    monkeypatch.undo()
    gate.leave_record(tmp_path / "run")
    assert "numpy==" in (tmp_path / "run" / "reproducibility" / "requirements.txt").read_text()


def test_a_persons_own_file_is_left_alone_and_no_manifest_outlives_its_gate(tmp_path: Path) -> None:
    own, waive = tmp_path / "training_config.yaml", {item.name: "-" for item in ITEMS}
    own.write_text("name: mine\n")
    assert PlanGate(load(tmp_path, gates={"waive": waive})).run().passed
    manifest = tmp_path / "reproducibility_manifest.md"
    assert own.read_text() == "name: mine\n"
    assert "**Config**: c.yaml, hash" in manifest.read_text()
    own.unlink()
    for seed in (1, 2):  # what we wrote ourselves is renewed
        assert PlanGate(load(tmp_path, seed=seed, gates={"waive": waive})).run().passed
        assert load_config(own).config.seed == seed
    del waive["deterministic"]
    assert not PlanGate(load(tmp_path, deterministic=False, gates={"waive": waive})).run().passed
    assert not manifest.exists()


def edit(project: Path, item: str, **content: Any) -> None:
    """What somebody types into gates.yaml."""
    path = project / "gates.yaml"
    gates = yaml.safe_load(path.read_text())
    gates["gates"][GATE]["items"].setdefault(item, {}).update(content)
    path.write_text(yaml.safe_dump(gates))


def test_what_is_typed_into_gates_yaml_does_not_count(earned: Path, tmp_path: Path) -> None:
    shutil.copytree(earned, tmp_path, dirs_exist_ok=True)
    loaded = load(tmp_path, gates={})
    book, items = GateBook(tmp_path), [item for item in ITEMS if item.name in ("two_runs", "intended_use")]
    now = standing.aspects(load(earned), book.code_of(GATE))
    assert set(book.entries(GATE, items, now)) == {"two_runs", "intended_use"}
    edit(tmp_path, "two_runs", evidence="it is fine")
    edit(tmp_path, "intended_use", state="passed")
    assert not book.entries(GATE, items, now)
    assert not PlanGate(loaded).look().passed


def test_an_item_that_stayed_open_may_be_waived_later(tmp_path: Path) -> None:
    waive = {item.name: "-" for item in ITEMS if not item.signed}
    assert not PlanGate(load(tmp_path, gates={"waive": waive})).run().passed
    assert PlanGate(load(tmp_path, gates={"waive": waive | {"all": "no time"}})).look().passed


def test_a_new_reason_takes_the_place_of_the_old(tmp_path: Path) -> None:
    def reasons(**waive: str) -> set[str]:
        return {entry.reason for entry in PlanGate(load(tmp_path, gates={"waive": waive})).run().entries}

    everything = {item.name: "old" for item in ITEMS}
    assert reasons(**everything) == {"old"}
    assert reasons(two_runs="new") == {"old", "new"}
    assert reasons(all="later") == {"old", "new"}


def test_a_signature_does_not_renew_what_has_changed_since(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("1")
    waive = {item.name: "-" for item in ITEMS if item.name != "intended_use"}
    loaded = load(tmp_path, data={"target": "digits", "args": {"path": "rows"}}, gates={"waive": waive})
    gate = PlanGate(loaded)
    assert not gate.run().passed
    (tmp_path / "rows").write_text("2")
    assert gate.sign("intended_use", "a test").passed
    again = PlanGate(load(tmp_path, data={"target": "digits", "args": {"path": "rows"}}, gates={})).look()
    resting = {item.name for item in ITEMS if "data" in item.rests_on}
    assert {entry.item.name for entry in again.missing} == resting


@pytest.mark.parametrize("change", ["swap", "rename", "same_date", "linked"])
def test_data_files_that_change_by_name_or_content_are_noticed(tmp_path: Path, change: str) -> None:
    (tmp_path / "kept.png").write_text("0")
    for name in ("cat", "dog"):
        (tmp_path / "d" / name).mkdir(parents=True)
        (tmp_path / "d" / name / "1.png").write_text(name)
    (tmp_path / "d" / "dog" / "2.png").symlink_to(tmp_path / "kept.png")
    config = load(tmp_path, data={"target": "digits", "args": {"root": "d"}}).config
    before = standing.data_files(config, tmp_path)
    cat, dog = tmp_path / "d" / "cat" / "1.png", tmp_path / "d" / "dog" / "1.png"
    if change == "swap":
        cat.rename(tmp_path / "aside")
        dog.rename(cat)
        (tmp_path / "aside").rename(dog)
    elif change == "rename":
        cat.rename(cat.with_name("3.png"))
    elif change == "same_date":
        date = cat.stat().st_mtime_ns
        cat.write_text("tac")
        os.utime(cat, ns=(date, date))
    else:
        (tmp_path / "kept.png").write_text("1")
    assert standing.data_files(config, tmp_path) != before


def test_two_gates_are_kept_side_by_side(tmp_path: Path) -> None:
    book = GateBook(tmp_path)
    assert book.write(Checklist("one", "One", ()))
    assert book.write(Checklist("two", "Two", (), run="a-run"))
    assert book.run_of("two") == "a-run"
    assert set(yaml.safe_load(book.path.read_text())["gates"]) == {"one", "two"}


# ── the command line ────────────────────────────────────────────────────────────────────────────────────────


def test_without_signatures_the_baseline_does_not_start(tmp_path: Path) -> None:
    load(tmp_path, gates={})
    done = train("--config", "c.yaml", "--output-dir", "run", "--json", cwd=tmp_path, expect=3, gate=True)
    assert json.loads(done.stdout)["exit_code"] == 3
    assert "intended_use" in done.stderr
    assert "--sign target_metric=" in done.stderr
    assert not (tmp_path / "run").exists()
    signed = ("--sign", "intended_use=a test", "--sign", "target_metric=none")
    done = train("--config", "c.yaml", "--output-dir", "run", *signed, cwd=tmp_path, gate=True)
    assert "[GATE] Reproducibility: passed (11 items)" in done.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["gates"][GATE]["two_runs"]["state"] == "passed"
    assert (tmp_path / "run" / "reproducibility" / "requirements.txt").is_file()


def test_what_is_wrong_with_the_data_is_on_record_before_the_refusal(tmp_path: Path) -> None:
    (tmp_path / "leaking_data.py").write_text(
        "import torch\nfrom torch.utils.data import TensorDataset\n"
        "def make():\n"
        "    x = torch.randn(300, 6, generator=torch.Generator().manual_seed(0))\n"
        "    y = (x[:, 0] > 0).long()\n"
        "    return TensorDataset(x[:200], y[:200]), TensorDataset(x[100:300], y[100:300])\n"
    )
    load(tmp_path, data={"target": "leaking_data:make", "batch_size": 32})
    train("--config", "c.yaml", "--output-dir", "run", cwd=tmp_path, expect=3, gate=True)
    lines = (tmp_path / "run" / "diagnostics.jsonl").read_text().splitlines()
    assert "data_leakage" in {json.loads(line)["code"] for line in lines}
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["exit_code"], summary["epochs"]) == ("failed", 3, 0)
    # The mended command may use the folder again.
    done = train(
        "--config", "c.yaml", "--output-dir", "run", "--waive", "splits=on purpose", cwd=tmp_path, gate=True
    )
    assert "[GATE] WAIVED splits: on purpose" in done.stderr
