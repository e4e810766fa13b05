"""The facts of this machine, collected once; checks judge them and look at nothing themselves."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import stat
import sys
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_trainer.phases.checkup.logind import Logind, read_logind
from tui_trainer.telemetry.cgroup import cpu_limit, memory_limit
from tui_trainer.telemetry.gpu import NO_ANSWER, PATIENCE_SECONDS, GpuGauge, GpuReading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PACKAGES = ("textual", "plotext", "pandas", "numpy", "pydantic", "scikit-learn", "torchmetrics", "safetensors",
            "matplotlib", "psutil", "nvidia-ml-py", "pillow", "pyarrow")  # fmt: skip
OPTIONAL = {"onnx": "export to ONNX", "onnxscript": "export to ONNX", "onnxruntime": "export to ONNX",
            "optuna": "the search for settings", "transformers": "Hugging Face models"}  # fmt: skip
"""Packages that can be missing, and what each is for."""


@dataclass(frozen=True, slots=True)
class CudaDevice:
    """A GPU as torch sees it; `capability` as in (9, 0)."""

    name: str
    capability: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Torch:
    """The installed torch. `error`: why it cannot be imported. `cuda`, `hip`: what it was built with, None without.
    `unasked`: why it was not asked for GPUs."""

    version: str = ""
    error: str = ""
    cuda: str | None = None
    hip: str | None = None
    available: bool = False
    devices: tuple[CudaDevice, ...] = ()
    architectures: tuple[str, ...] = ()
    mps: bool = False
    threads: int = 1
    unasked: str = ""


@dataclass(frozen=True, slots=True)
class Driver:
    """The NVIDIA driver: its version, and the newest CUDA that it runs, as in (12, 4); None where it does not tell."""

    version: str | None = None
    cuda: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Disk:
    """A place where files go. `error`: why it cannot be used."""

    path: Path
    free: int = 0
    total: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Terminal:
    """What stdin and stdout are. `size`: columns and lines, None without a terminal. `encoding`: that of stdout."""

    is_there: bool = True
    size: tuple[int, int] | None = (80, 24)
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class Cores:
    """Processors: of the machine, those this process may use, the share of time a container is given (2.0: two cores'
    worth; None: all), and how many processes want one just now (None: not known)."""

    machine: int
    allowed: int
    quota: float | None = None
    load: float | None = None

    @property
    def usable(self) -> float:
        """How many cores' worth of time there is for us."""
        return min(float(self.allowed), self.quota or float(self.allowed))


@dataclass(frozen=True)
class Box:
    """Everything the checks judge. `limits`: soft limits by name, None without limit. `sockets`: why the folder of the
    control sockets cannot be used, empty where it can. `graphics_card`: an NVIDIA card is in the machine, driver or not.
    """

    python: tuple[int, int, int]
    executable: str
    environ: Mapping[str, str]
    torch: Torch
    gpus: GpuReading
    driver: Driver
    graphics_card: bool
    terminal: Terminal
    here: Disk
    runs: Disk
    shared_memory: Disk | None
    limits: Mapping[str, int | None]
    memory: int | None
    memory_limit: tuple[int, int] | None
    cores: Cores
    logind: Logind
    sockets: str
    socket_folder: Path
    git: str | None
    packages: Mapping[str, str | None] = field(default_factory=dict)


def look(
    folder: Path,
    *,
    environ: Mapping[str, str] = os.environ,
    root: Path = Path("/"),
    load_nvml: Callable[[], Any] | None = None,
) -> Box:
    """Collect the facts; what cannot be read is left empty. `root`: of the file system that is looked at."""
    from tui_trainer.session.run_folder import DEFAULT_ROOT

    reading, driver = ask_driver(load_nvml)
    sockets = root / "tmp" / f"mltrainer-{os.getuid()}"
    shared = root / "dev" / "shm"
    return Box(
        python=sys.version_info[:3],
        executable=sys.executable,
        environ=dict(environ),
        torch=ask_torch(hanging=reading.problem == NO_ANSWER),
        gpus=reading,
        driver=driver,
        graphics_card=_has_graphics_card(root),
        terminal=_terminal(),
        here=disk(folder),
        runs=disk(folder / DEFAULT_ROOT),
        shared_memory=disk(shared) if shared.is_dir() else None,
        limits=_limits(),
        memory=_memory(),
        memory_limit=memory_limit(),
        cores=_cores(),
        logind=read_logind(root),
        sockets=trouble_with_sockets(sockets),
        socket_folder=sockets,
        git=shutil.which("git"),
        packages={name: _version(name) for name in (*PACKAGES, *OPTIONAL)},
    )


# ── GPU and torch ───────────────────────────────────────────────────────────────────────────────────────────


def ask_driver(
    load: Callable[[], Any] | None = None, patience_s: float = PATIENCE_SECONDS
) -> tuple[GpuReading, Driver]:
    """What NVML tells; a driver that does not answer in time is left alone."""
    found: list[tuple[GpuReading, Driver]] = []

    def ask() -> None:
        gauge = GpuGauge(load=load) if load is not None else GpuGauge()
        found.append((gauge.read(), _driver(load)))

    thread = threading.Thread(target=ask, name="nvml", daemon=True)
    thread.start()
    thread.join(patience_s)
    return found[0] if found else (GpuReading((), NO_ANSWER), Driver())


def _driver(load: Callable[[], Any] | None) -> Driver:
    """Of a driver that was asked before, so that NVML is ready."""
    try:
        if load is None:
            import pynvml as nvml
        else:
            nvml = load()
        version = nvml.nvmlSystemGetDriverVersion()
        number = int(nvml.nvmlSystemGetCudaDriverVersion_v2())
    except Exception:  # whatever a driver raises, there is nothing to be told then
        return Driver()
    text = version.decode("utf-8", "replace") if isinstance(version, bytes) else str(version)
    return Driver(text, (number // 1000, number % 1000 // 10))


def ask_torch(*, hanging: bool = False) -> Torch:
    """What the installed torch can do. `hanging`: the driver does not answer, so torch must not ask it either."""
    try:
        import torch
    except Exception as error:  # a library that is missing shows as OSError, a broken install as anything
        return Torch(error=f"{type(error).__name__}: {error}"[:300])
    cuda, hip = torch.version.cuda, getattr(torch.version, "hip", None)
    facts = Torch(str(torch.__version__), cuda=cuda, hip=hip, threads=torch.get_num_threads())
    if hanging:
        return replace(facts, unasked=NO_ANSWER)
    try:
        available = torch.cuda.is_available()
        devices = tuple(
            CudaDevice(torch.cuda.get_device_name(index), torch.cuda.get_device_capability(index))
            for index in range(torch.cuda.device_count() if available else 0)
        )
        architectures = tuple(torch.cuda.get_arch_list())
    except Exception as error:  # a driver in disorder
        return replace(facts, unasked=f"{type(error).__name__}: {error}"[:300])
    return replace(
        facts,
        available=available,
        devices=devices,
        architectures=architectures,
        mps=torch.backends.mps.is_available(),
    )


def _has_graphics_card(root: Path) -> bool:
    """An NVIDIA card on the PCI bus: vendor 0x10de, class 0x03 (display)."""
    for device in (root / "sys/bus/pci/devices").glob("*"):
        with contextlib.suppress(OSError):
            vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
            if vendor == "0x10de" and kind.startswith("0x03"):
                return True
    return False


# ── machine ─────────────────────────────────────────────────────────────────────────────────────────────────


def disk(path: Path) -> Disk:
    """Room at `path`, or at the nearest folder above it that is there, and whether one can write there."""
    place = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    try:
        usage = shutil.disk_usage(place)
    except OSError as error:
        return Disk(path, error=str(error.strerror))
    usable = place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    return Disk(path, usage.free, usage.total, "" if usable else f"{place} cannot be written to")


def _limits() -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for name, number in (
        ("open files", resource.RLIMIT_NOFILE),
        ("processes", resource.RLIMIT_NPROC),
        ("locked memory", resource.RLIMIT_MEMLOCK),
    ):
        soft = resource.getrlimit(number)[0]
        found[name] = None if soft == resource.RLIM_INFINITY else soft
    return found


def _memory() -> int | None:
    import psutil

    try:
        return int(psutil.virtual_memory().total)
    except (psutil.Error, OSError, ValueError):
        return None


def _cores() -> Cores:
    machine = os.cpu_count() or 1
    allowed, load = machine, None
    with contextlib.suppress(AttributeError, OSError):
        allowed = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError):
        load = os.getloadavg()[0]
    return Cores(machine, allowed, cpu_limit(), load)


def _terminal() -> Terminal:
    encoding = str(getattr(sys.stdout, "encoding", "") or "")
    try:
        there = sys.stdin.isatty() and sys.stdout.isatty()
        found = os.get_terminal_size(sys.stdout.fileno()) if there else None
    except (AttributeError, OSError, ValueError):
        return Terminal(is_there=False, size=None, encoding=encoding)
    return Terminal(there, (found.columns, found.lines) if found else None, encoding)


def trouble_with_sockets(folder: Path) -> str:
    """Why the folder of the control sockets cannot be used: it must be ours and nobody else's. Empty where it can."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        above = folder.parent
        return "" if os.access(above, os.W_OK | os.X_OK) else f"{above} cannot be written to"
    except OSError as error:
        return str(error.strerror)
    if not stat.S_ISDIR(found.st_mode):
        return "something else than a folder has that name"
    if found.st_uid != os.getuid():
        return f"it belongs to user {found.st_uid}"
    if found.st_mode & 0o077:
        return f"others may look into it (mode {stat.S_IMODE(found.st_mode):04o}, expected 0700)"
    return "" if os.access(folder, os.W_OK | os.X_OK) else "it cannot be written to"


def _version(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
