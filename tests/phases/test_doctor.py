"""`mltrainer-tui doctor`: each fact of a machine is judged for the right reason, and the advice says what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.runs import ENVIRONMENT
from tests.telemetry.fake_nvml import FakeNvml, NVMLError_LibraryNotFound, process
from tui_trainer.phases.checkup.box import (
    OPTIONAL,
    PACKAGES,
    Box,
    Cores,
    CudaDevice,
    Disk,
    Driver,
    Terminal,
    Torch,
    ask_driver,
    disk,
    look,
    trouble_with_sockets,
)
from tui_trainer.phases.checkup.check import Check, size
from tui_trainer.phases.checkup.gpus import runs_on
from tui_trainer.phases.checkup.logind import Logind, read_logind
from tui_trainer.phases.doctor import examine, exit_code, lines_of, summary
from tui_trainer.telemetry.cgroup import cpu_limit
from tui_trainer.telemetry.gpu import NO_ANSWER, NO_DRIVER, GpuGauge, GpuReading

GIB = 2**30
H200 = CudaDevice("NVIDIA H200", (9, 0))
CUDA_TORCH = Torch("2.13.0+cu128", cuda="12.8", available=True, devices=(H200, H200),
                   architectures=("sm_80", "sm_90", "sm_100"), threads=8)  # fmt: skip
CPU_TORCH = Torch("2.13.0+cpu", threads=8)
DRIVER = Driver("570.86", (12, 8))


def reading(**changes: Any) -> GpuReading:
    nvml = FakeNvml()
    found = GpuGauge(load=lambda: nvml).read()
    return GpuReading(tuple(gpu | {"slowed": None, "memory_used": GIB} | changes for gpu in found.gpus))


READING = reading()
GOOD = Box(
    python=(3, 11, 2),
    executable="/venv/bin/python",
    environ={"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "en_US.UTF-8",
             "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"},
    torch=CUDA_TORCH,
    gpus=READING,
    driver=DRIVER,
    graphics_card=True,
    terminal=Terminal(size=(120, 34)),
    here=Disk(Path("/work"), 100 * GIB, 200 * GIB),
    runs=Disk(Path("/work/checkpoints"), 100 * GIB, 200 * GIB),
    shared_memory=Disk(Path("/dev/shm"), 16 * GIB, 16 * GIB),
    limits={"open files": 4096, "processes": None, "locked memory": 8 * 2**20},
    memory=64 * GIB,
    memory_limit=None,
    cores=Cores(8, 8, load=0.4),
    logind=Logind(is_there=True, kills=False),
    sockets="",
    socket_folder=Path("/tmp/mltrainer-1000"),
    git="/usr/bin/git",
    packages=dict.fromkeys((*PACKAGES, *OPTIONAL), "1.0"),
)  # fmt: skip


def check(name: str, **changes: Any) -> Check:
    """The check of that name on the good machine with `changes`; no other one has become a problem."""
    found = examine(replace(GOOD, **changes))
    (one,) = [item for item in found if item.name == name]
    assert [item.name for item in found if item.state == "problem"] == [name] * (one.state == "problem")
    return one


def test_a_good_machine_is_ready() -> None:
    checks = examine(GOOD)
    assert {item.state for item in checks} == {"ok"}
    assert [item.advice for item in checks] == [""] * len(checks)
    assert lines_of(checks, 100)[-1] == "This machine is ready."
    assert exit_code(checks) == 0


# ── PyTorch and GPUs ────────────────────────────────────────────────────────────────────────────────────────


def test_a_torch_that_cannot_be_imported_is_a_problem() -> None:
    one = check("PyTorch", torch=Torch(error="OSError: libcudart.so.12: cannot open shared object file"))
    assert one.state == "problem"
    assert "libcudart.so.12" in one.found


def test_a_torch_without_cuda_beside_a_gpu_is_a_problem() -> None:
    one = check("CUDA", torch=CPU_TORCH)
    assert one.state == "problem"
    assert "Install a CUDA build" in one.advice
    assert "not above 12.8" in one.advice


def test_a_torch_newer_than_the_driver_is_a_problem_and_a_minor_step_is_none() -> None:
    old = check(
        "CUDA", driver=Driver("470.1", (11, 4)), torch=replace(CUDA_TORCH, available=False, devices=())
    )
    assert old.state == "problem"
    assert "needs a newer driver" in old.advice
    assert check("CUDA", driver=Driver("525.1", (12, 0))).state == "ok"


def test_gpus_that_torch_cannot_use_are_a_problem_with_its_reason() -> None:
    blind = replace(CUDA_TORCH, available=False, devices=())
    assert "--gpus all" in check("CUDA", torch=blind).advice
    hidden = check("CUDA", torch=blind, environ=GOOD.environ | {"CUDA_VISIBLE_DEVICES": ""})
    assert "CUDA_VISIBLE_DEVICES is '', which hides every GPU" in hidden.advice


def test_gpus_that_are_hidden_on_purpose_are_named() -> None:
    one = replace(CUDA_TORCH, devices=(H200,))
    assert check("Visible GPUs", torch=one).state == "warning"
    chosen = check("Visible GPUs", torch=one, environ=GOOD.environ | {"CUDA_VISIBLE_DEVICES": "1"})
    assert (chosen.state, chosen.found) == ("ok", "1 of 2 (CUDA_VISIBLE_DEVICES=1)")


def test_without_a_gpu_nothing_is_wrong_whatever_torch_was_built_for() -> None:
    nothing = GpuReading((), NO_DRIVER)
    for torch in (CPU_TORCH, replace(CUDA_TORCH, available=False, devices=())):
        one = check("GPU", gpus=nothing, driver=Driver(), torch=torch, graphics_card=False)
        assert one.state == "not_applicable"
        assert one.found.endswith("training runs on the CPU")


def test_a_card_without_a_driver_is_a_problem() -> None:
    one = check("GPU", gpus=GpuReading((), NO_DRIVER), driver=Driver(), torch=CPU_TORCH)
    assert one.state == "problem"
    assert "Install the NVIDIA driver" in one.advice


def test_a_driver_in_disorder_is_a_problem() -> None:
    mismatch = GpuReading((), "Driver/library version mismatch")
    one = check("GPU", gpus=mismatch, driver=Driver(), torch=CPU_TORCH, graphics_card=False)
    assert (one.state, one.found) == ("problem", "Driver/library version mismatch")


def test_other_peoples_cards_are_left_in_peace() -> None:
    amd = Torch("2.9.0+rocm6", hip="6.3", available=True, devices=(CudaDevice("MI300", (9, 4)),),
                architectures=("gfx942",), threads=8)  # fmt: skip
    one = check("GPU", gpus=GpuReading((), NO_DRIVER), driver=Driver(), torch=amd, graphics_card=False)
    assert (one.state, one.found[:5]) == ("ok", "MI300")


def test_a_kind_of_gpu_that_torch_was_not_built_for_is_a_problem() -> None:
    old = CudaDevice("Tesla P100", (6, 0))
    one = check("GPU kind", torch=replace(CUDA_TORCH, devices=(old, old)))
    assert one.state == "problem"
    assert one.found == "Tesla P100 has compute capability 6.0; PyTorch is built for sm_80, sm_90, sm_100"


@pytest.mark.parametrize(
    ("capability", "architectures", "expected"),
    [
        ((8, 6), ("sm_80",), True),  # a minor step up
        ((8, 0), ("sm_86",), False),  # and none down
        ((9, 0), ("sm_86",), False),
        ((12, 0), ("sm_90", "compute_90"), True),  # translated
        ((8, 9), ("compute_90",), False),
        ((9, 0), ("sm_90a",), True),
        ((10, 3), ("sm_100a",), False),  # for that very GPU
        ((9, 4), ("gfx942",), True),
        ((9, 0), (), True),
    ],
)
def test_code_for_one_gpu_runs_on_another_as_cuda_says(
    capability: tuple[int, int], architectures: tuple[str, ...], expected: bool
) -> None:
    assert runs_on(CudaDevice("x", capability), architectures) is expected


def test_a_gpu_in_other_hands_is_a_warning_that_names_them() -> None:
    busy = process(4242, 20 * GIB)
    other = {"pid": busy.pid, "name": "python", "memory": busy.usedGpuMemory, "ours": False}
    one = check("GPU 1", gpus=reading(memory_used=20 * GIB, processes=(other,)))
    assert one.state == "warning"
    assert one.found == "NVIDIA H200, 4.0 GiB of 24 GiB free; in use by python 4242"
    assert check("GPU 1", gpus=reading(memory_used=20 * GIB)).found.endswith("cannot be seen from here")


def test_a_gpu_that_is_slowed_down_or_lost_is_told() -> None:
    assert check("GPU 0", gpus=reading(slowed="heat")).state == "warning"
    lost = READING.gpus[0] | {"error": "GPU is lost"}
    one = check("GPU 0", gpus=GpuReading((lost, READING.gpus[1])))
    assert (one.state, one.found) == ("problem", "NVIDIA H200: GPU is lost")


def test_the_driver_is_asked_and_one_that_hangs_is_left_alone() -> None:
    nvml = FakeNvml(gpus=1)
    told = {
        "nvmlSystemGetDriverVersion": lambda: b"570.86",
        "nvmlSystemGetCudaDriverVersion_v2": lambda: 12080,
    }
    nvml.__dict__ |= told
    found, driver = ask_driver(lambda: nvml)
    assert (len(found.gpus), driver) == (1, Driver("570.86", (12, 8)))
    nvml.hang = threading.Event()
    found, driver = ask_driver(lambda: nvml, patience_s=0.05)
    assert (found, driver) == (GpuReading((), NO_ANSWER), Driver())
    nvml.hang.set()

    def no_library() -> Any:
        raise NVMLError_LibraryNotFound

    assert ask_driver(no_library)[0].problem == NO_DRIVER


# ── the machine ─────────────────────────────────────────────────────────────────────────────────────────────


def test_python_and_packages() -> None:
    assert check("Python", python=(3, 10, 9)).state == "problem"
    one = check("Packages", packages=GOOD.packages | {"plotext": None})
    assert (one.state, one.advice) == ("problem", "pip install plotext")
    spare = check("Optional packages", packages=GOOD.packages | {"onnx": None})
    assert spare.state == "not_applicable"
    assert "for export to ONNX: pip install onnx." in spare.advice
    assert check("git", git=None).state == "warning"


def test_threads_that_spin_are_warned_of_and_what_the_program_sets_is_not() -> None:
    spinning = check(
        "Thread waiting", environ=GOOD.environ | {"OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": "1000"}
    )
    assert spinning.state == "warning"
    assert "unset OMP_WAIT_POLICY GOMP_SPINCOUNT" in spinning.advice
    bare = {key: value for key, value in GOOD.environ.items() if "OMP" not in key}
    assert check("Thread waiting", environ=bare).state == "ok"


def test_more_threads_than_a_container_has_cores_are_warned_of() -> None:
    one = check("PyTorch threads", cores=Cores(64, 64, quota=2.0))
    assert (one.state, one.found) == ("warning", "8, on 2 cores")
    assert "OMP_NUM_THREADS=2" in one.advice
    assert check("PyTorch threads", cores=Cores(64, 8)).state == "ok"
    assert check("Processors", cores=Cores(64, 8)).found == "8 of 64 cores for this process"
    assert check("Processors", cores=Cores(8, 8, load=11.2)).state == "warning"


def test_the_share_of_processors_of_a_container_is_read(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/cpu.max").write_text("150000 100000\n")
    (tmp_path / "a/b/cpu.max").write_text("max 100000\n")
    (tmp_path / "me").write_text("0::/a/b\n")
    assert cpu_limit(tmp_path, tmp_path / "me") == 1.5
    (tmp_path / "cpu/docker").mkdir(parents=True)
    (tmp_path / "cpu/docker/cpu.cfs_quota_us").write_text("400000")
    (tmp_path / "cpu/docker/cpu.cfs_period_us").write_text("100000")
    (tmp_path / "old").write_text("4:cpu,cpuacct:/elsewhere\n3:cpu:/docker\n")
    assert cpu_limit(tmp_path, tmp_path / "old") == 4.0
    assert cpu_limit(tmp_path, tmp_path / "gone") is None


def test_disks() -> None:
    full = Disk(Path("/work"), GIB // 4, 200 * GIB)
    assert check("Disk, here", here=full, runs=full).state == "problem"
    assert (
        check("Disk, here", here=replace(full, free=2 * GIB), runs=replace(full, free=2 * GIB)).state
        == "warning"
    )
    other = check("Disk, runs", runs=Disk(Path("/data/checkpoints"), error="/data cannot be written to"))
    assert other.state == "problem"
    docker = check("Shared memory", shared_memory=Disk(Path("/dev/shm"), 2**26, 2**26))
    assert docker.state == "warning"
    assert "--shm-size" in docker.advice
    assert check("Shared memory", shared_memory=None).state == "not_applicable"


def test_a_place_that_is_not_there_yet_has_the_room_of_the_folder_above(tmp_path: Path) -> None:
    found = disk(tmp_path / "a" / "b")
    assert found.error == ""
    assert found.total > 0
    (tmp_path / "file").write_text("")
    assert "cannot be written to" in disk(tmp_path / "file" / "x").error


def test_memory_and_limits() -> None:
    assert check("Memory").found == "64 GiB"
    tight = check("Memory", memory_limit=(7 * GIB + GIB // 2, 8 * GIB))
    assert (tight.state, tight.found) == ("warning", "512 MiB of 8.0 GiB free, the limit of this container")
    assert check("Memory", memory=None).state == "not_applicable"
    one = check("Limit: open files", limits={"open files": 256})
    assert (one.state, one.found) == ("warning", "256")
    assert "ulimit -n 8192" in one.advice
    assert check("Limit: processes", limits={"processes": 100}).state == "warning"


@pytest.mark.parametrize(("amount", "text"), [(512, "512 bytes"), (1536, "1.5 KiB"), (24 * GIB, "24 GiB"),
                                              (5 * 2**40, "5.0 TiB")])  # fmt: skip
def test_sizes_are_told_in_the_unit_that_fits(amount: int, text: str) -> None:
    assert size(amount) == text


# ── the terminal ────────────────────────────────────────────────────────────────────────────────────────────


def test_terminals() -> None:
    environ = dict(GOOD.environ)
    assert check("Terminal", environ=environ | {"TERM": "dumb"}).state == "warning"
    assert check("Terminal", environ=environ | {"TMUX": "/tmp/tmux"}).found == "xterm-256color, inside tmux"
    assert check("Terminal", terminal=Terminal(is_there=False, size=None)).state == "not_applicable"
    small = check("Terminal size", terminal=Terminal(size=(79, 30)))
    assert (small.state, small.found) == ("warning", "79x30")
    assert check("Colours", environ=environ | {"NO_COLOR": "1"}).found == "none, as NO_COLOR asks"
    del environ["COLORTERM"]
    assert check("Colours", environ=environ).found == "256"
    assert "xterm-256color" in check("Colours", environ=environ | {"TERM": "xterm"}).advice
    ascii_only = check("Characters", environ=environ | {"LC_ALL": "C"})
    assert ascii_only.found == "ASCII (locale C)"
    assert "LANG=C.UTF-8" in ascii_only.advice


def test_logging_out_ends_training_where_logind_says_so() -> None:
    one = check("Logout", logind=Logind(is_there=True, kills=True))
    assert one.state == "warning"
    assert "loginctl enable-linger" in one.advice
    assert "systemd-run --user --scope tmux" in one.advice
    assert check("Logout", logind=Logind()).state == "not_applicable"
    assert check("Logout", logind=Logind(is_there=True)).state == "warning"


@pytest.fixture
def systemd(tmp_path: Path) -> Callable[..., None]:
    (tmp_path / "run/systemd/system").mkdir(parents=True)

    def write(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_d_", ".d/").replace("_conf", ".conf")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"[Login]\n{text}\n")

    return write


def test_logind_is_read_as_it_reads_itself(systemd: Callable[..., None], tmp_path: Path) -> None:
    def kills(user: str = "ada") -> bool | None:
        return read_logind(tmp_path, user).kills

    assert kills() is None
    systemd(usr__lib__systemd__logind_conf="#KillUserProcesses=yes")  # the built-in default
    assert kills() is True
    assert kills("root") is False  # spared by default
    systemd(etc__systemd__logind_conf="#KillUserProcesses=yes\nKillUserProcesses=no")
    assert kills() is False
    systemd(etc__systemd__logind_conf_d_50_conf="KillUserProcesses = on\nKillOnlyUsers=ada bob")
    assert kills() is True
    assert kills("eve") is False
    systemd(run__systemd__logind_conf_d_60_conf="KillUserProcesses=no")  # by name, wherever it lies
    assert kills() is False
    (tmp_path / "var/lib/systemd/linger").mkdir(parents=True)
    (tmp_path / "var/lib/systemd/linger/ada").touch()
    assert read_logind(tmp_path, "ada").lingering is True
    assert read_logind(tmp_path / "nowhere", "ada") == Logind()


def test_the_folder_of_the_sockets_must_be_ours_alone(tmp_path: Path) -> None:
    folder = tmp_path / "mltrainer-1"
    assert trouble_with_sockets(folder) == ""  # will be made
    folder.mkdir(mode=0o700)
    assert trouble_with_sockets(folder) == ""
    folder.chmod(0o755)
    assert trouble_with_sockets(folder) == "others may look into it (mode 0755, expected 0700)"
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert trouble_with_sockets(link) == "something else than a folder has that name"
    one = check("Control sockets", sockets="it belongs to user 0")
    assert one.state == "problem"


# ── the whole ───────────────────────────────────────────────────────────────────────────────────────────────


def test_rows_are_aligned_narrow_and_ascii() -> None:
    poor = replace(
        GOOD, torch=CPU_TORCH, git=None, executable="/home/jürgen/python", limits={"open files": 64}
    )
    checks = examine(poor)
    lines = lines_of(checks, 80)
    assert max(map(len, lines)) <= 80
    assert all(line.isascii() for line in lines)
    column = lines[0].index("3.11.2")
    rows = [line for line in lines if line.startswith(("ok ", "warning ", "PROBLEM "))]
    assert len(rows) == len(checks)
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in rows)
    assert lines[-1] == "1 problem and 2 warnings."
    told = summary(checks)
    assert (told["problems"], told["warnings"], told["exit_code"]) == (1, 2, 1)
    assert json.loads(json.dumps(told)) == told


def test_this_machine_can_be_looked_at(tmp_path: Path) -> None:
    checks = examine(look(tmp_path, environ={}, root=tmp_path))
    assert {"Python", "PyTorch", "Memory", "Disk, here", "Terminal", "Logout"} <= {
        item.name for item in checks
    }


def test_the_command_prints_one_object_and_ends_with_the_verdict(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tui_trainer", "doctor", "--json"],
        cwd=tmp_path,
        env=ENVIRONMENT | {"GOMP_SPINCOUNT": "50"},
        capture_output=True,
        text=True,
        check=False,
    )
    told = json.loads(done.stdout)
    assert done.returncode == told["exit_code"], done.stderr
    (waiting,) = [item for item in told["checks"] if item["name"] == "Thread waiting"]
    assert waiting["found"] == "set in your environment: GOMP_SPINCOUNT=50"


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "tui_trainer", "doctor"],
        cwd=tmp_path, env=ENVIRONMENT, stdout=write, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(write)
    assert done.stderr == ""
