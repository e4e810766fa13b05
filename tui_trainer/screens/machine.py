"""The machine panel: GPUs, CPU, memory, disk, and how long the training waits for data. Pure rows, like `panels`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tui_trainer.screens.gauges import Gauge, bar, spark
from tui_trainer.session.wording import cell_width, clean_text, crop

if TYPE_CHECKING:
    from tui_trainer.engine.events import ResourceSampled
    from tui_trainer.screens.canvas import Row, Run
    from tui_trainer.screens.machine_history import MachineHistory
    from tui_trainer.screens.panels import Glyphs
    from tui_trainer.screens.view import RunView

GIB = 2**30
LABEL, FACTS = 5, 15  # cells of a row's name, and of its numbers
HOT_CELSIUS = 85
FULL = 0.95  # memory
LOW_DISK, VERY_LOW_DISK = 10e9, 2e9  # bytes
OLD_SECONDS = 15.0  # a reading this far behind the run's newest event is no reading of now


def machine_title(view: RunView) -> str:
    """The panel's name, and whether its readings are of now."""
    latest = view.machine.latest
    if latest is None:
        return "Machine"
    if view.is_over:
        return "Machine, as the run ended"
    behind = view.progress.now - latest.time
    if behind > OLD_SECONDS:
        return f"Machine, {behind:.0f} s ago"
    return f"Machine: {len(latest.gpus)} GPUs" if len(latest.gpus) > 1 else "Machine"


def machine_rows(view: RunView, width: int, height: int, glyphs: Glyphs) -> list[Row]:
    """What fits: every GPU with its memory, else all of them two in a row, else the run's own; then the host."""
    latest = view.machine.latest
    if height <= 0 or width <= 0:
        return []
    if latest is None:
        return [(("no reading yet", "dim"),)]
    draw = _Drawer(view, latest, width, glyphs)
    for gpus in draw.gpu_layouts():
        for host in draw.host_layouts():
            if len(gpus) + len(host) <= height:
                return [*gpus, *host]
    return [*draw.gpu_layouts()[-1], *draw.host_layouts()[-1]][:height]


class _Drawer:
    """One view's rows at one width."""

    def __init__(self, view: RunView, latest: ResourceSampled, width: int, glyphs: Glyphs) -> None:
        self._view, self._latest, self._width = view, latest, width
        self._history: MachineHistory = view.machine
        self._ascii = glyphs.ascii
        self._here = glyphs.here
        rest = max(0, width - LABEL - FACTS - 3)
        self._bar = max(4, rest // 2)
        self._spark = max(0, width - LABEL - FACTS - 2 - self._bar)

    # ── GPUs ────────────────────────────────────────────────────────────────────────────────────────────────

    def gpu_layouts(self) -> list[list[Row]]:
        """From all that is known of all GPUs to the run's own in one row."""
        gpus, note = self._latest.gpus, clean_text(self._latest.gpu_note, limit=200)
        if not gpus:
            return [[self._note("GPU", f"none: {note}" if note else "none")]]
        said = [self._note("", note)] if note else []
        detailed = [row for gpu in gpus for row in self._in_detail(gpu)]
        single = [self._load_and_memory(gpu) for gpu in gpus]
        pairs = self._pairs(gpus)
        ours = next((gpu for gpu in gpus if gpu.get("ours")), gpus[0])
        own = [self._load_and_memory(ours)]
        layouts = [[*detailed, *said]] if len(gpus) <= 2 else []
        if len(gpus) > 1:
            layouts.append([*single, *said])
        if len(gpus) > 2:  # two in one row would not say what they are
            layouts.append([*pairs, *said])
        return [*layouts, [*own, *said], own]

    def _in_detail(self, gpu: dict[str, Any]) -> list[Row]:
        return [self._load(gpu), self._memory(gpu)] if _alive(gpu) else [self._lost(gpu)]

    def _load(self, gpu: dict[str, Any]) -> Row:
        facts = f"{_percent(gpu.get('util')):<5}{self._heat(gpu):<5}{_watts(gpu):>5}"
        role = "warn" if _trouble(gpu) else "text"
        values = self._history.gpu(int(gpu.get("index", 0)), "util")
        label_role = self._label_role(gpu)
        return self._row(Gauge(_label(gpu), gpu.get("util"), facts, values, role=role, label_role=label_role))

    def _memory(self, gpu: dict[str, Any]) -> Row:
        used, total = gpu.get("memory_used"), gpu.get("memory_total")
        share = _share(used, total)
        role = "warn" if share is not None and share > FULL else "text"
        values = self._history.gpu(int(gpu.get("index", 0)), "memory_used")
        percent = None if share is None else share * 100
        return self._row(Gauge("VRAM", percent, gibs(used, total), values, float(total or 0), role))

    def _load_and_memory(self, gpu: dict[str, Any]) -> Row:
        """A GPU in one row: load, memory and heat; power where there is room."""
        if not _alive(gpu):
            return self._lost(gpu)
        memory = gibs(gpu.get("memory_used"), gpu.get("memory_total"))
        facts = f" {_percent(gpu.get('util')):>4}  {memory:<13} {self._heat(gpu):>5}"
        if self._width >= LABEL + 6 + len(facts) + 6:
            facts += f" {_watts(gpu):>5}"
        room = self._width - LABEL - cell_width(facts)
        if room < 4:
            facts = facts.replace("  ", " ")
            room = self._width - LABEL - cell_width(facts)
        return (
            (_label(gpu).ljust(LABEL), self._label_role(gpu)),
            *bar(_share(gpu.get("util"), 100), min(room, 24), ascii=self._ascii),
            (facts, "warn" if _trouble(gpu) else "text"),
        )

    def _pairs(self, gpus: tuple[dict[str, Any], ...]) -> list[Row]:
        """Two GPUs a row: number, load, memory in use."""
        half = max(0, (self._width - 2) // 2)
        rows: list[Row] = []
        for start in range(0, len(gpus), 2):
            cells = [self._cell(gpu, half) for gpu in gpus[start : start + 2]]
            rows.append((*cells[0], ("  ", "text"), *(cells[1] if len(cells) > 1 else ())))
        return rows

    def _cell(self, gpu: dict[str, Any], width: int) -> list[Run]:
        name = f"{gpu.get('index', 0):>2} "
        if not _alive(gpu):
            return [(name, self._label_role(gpu)), (crop("n/a", width - 3).ljust(width - 3), "bad")]
        used = gpu.get("memory_used")
        memory = "n/a" if used is None else _short_gib(used)
        facts = f" {_percent(gpu.get('util')):>4} {memory:>4}"
        gauge = bar(_share(gpu.get("util"), 100), max(0, width - 3 - len(facts)), ascii=self._ascii)
        return [(name, self._label_role(gpu)), *gauge, (facts, "warn" if _trouble(gpu) else "text")]

    def _lost(self, gpu: dict[str, Any]) -> Row:
        why = clean_text(gpu.get("error") or "", limit=200)
        text = f"n/a: {why}" if why else "n/a"
        label = (_label(gpu).ljust(LABEL), self._label_role(gpu))
        return (label, (crop(text, max(0, self._width - LABEL)), "bad"))

    def _label_role(self, gpu: dict[str, Any]) -> str:
        return "strong" if gpu.get("ours") else "dim"

    def _heat(self, gpu: dict[str, Any]) -> str:
        heat = gpu.get("temperature")
        return "n/a" if heat is None else f"{heat:.0f}{'C' if self._ascii else '°C'}"

    # ── the host ────────────────────────────────────────────────────────────────────────────────────────────

    def host_layouts(self) -> list[list[Row]]:
        """CPU, memory, disk and data wait in three rows, in two, in one."""
        latest = self._latest
        cpu, own = latest.cpu_percent, latest.process_cpu
        share = _share(latest.ram_used, latest.ram_total)
        ram_role = "warn" if share is not None and share > FULL else "text"
        memory = gibs(latest.ram_used, latest.ram_total)
        facts = f"{_percent(cpu):<5}" + ("" if own is None else f"run {_percent(own)}")
        total = float(latest.ram_total or 0)
        percent = None if share is None else share * 100
        three = [
            self._row(Gauge("CPU", cpu, facts, self._history.host("cpu_percent"))),
            self._row(Gauge("RAM", percent, memory, self._history.host("ram_used"), total, ram_role)),
            self._disk_and_wait(long=True),
        ]
        both: Row = (
            ("CPU  ", "dim"), (f"{_percent(cpu):<5} ", "text"), ("RAM ", "dim"), (memory, ram_role),
        )  # fmt: skip
        in_one: Row = (
            ("CPU ", "dim"), (f"{_percent(cpu)} ", "text"),
            ("RAM ", "dim"), (f"{_percent(percent)} ", ram_role), *self._disk_and_wait(long=False),
        )  # fmt: skip
        return [three, [both, self._disk_and_wait(long=True)], [in_one]]

    def _disk_and_wait(self, *, long: bool) -> Row:
        free = self._latest.disk_free
        role = "text"
        if free is not None and free < LOW_DISK:
            role = "bad" if free < VERY_LOW_DISK else "warn"
        wait = data_wait(self._view)
        left = disk_text(free) + (" free" if long and free is not None else "")
        row: list[Run] = [("disk ", "dim"), (left, role)]
        if wait is not None:
            slow = "warn" if wait > 0.3 else "text"
            row += [("  data wait " if long else " wait ", "dim"), (f"{wait * 100:.0f}%", slow)]
        return tuple(row)

    # ── parts ───────────────────────────────────────────────────────────────────────────────────────────────

    def _row(self, gauge: Gauge) -> Row:
        """Name, bar, numbers, and the last minutes."""
        course = spark(gauge.values[-4 * self._spark :], self._spark, top=gauge.top, ascii=self._ascii)
        return (
            (gauge.label.ljust(LABEL)[:LABEL], gauge.label_role),
            *bar(_share(gauge.percent, 100), self._bar, ascii=self._ascii),
            (f" {gauge.facts:<{FACTS}} ", gauge.role),
            (course, "train"),
        )

    def _note(self, label: str, text: str) -> Row:
        return ((label.ljust(LABEL), "dim"), (crop(text, max(0, self._width - LABEL)), "dim"))


def data_wait(view: RunView) -> float | None:
    """The share of the last epoch that was spent waiting for data; None before the first."""
    wait = view.epochs[-1].data_wait if view.epochs else math.nan
    return wait if math.isfinite(wait) else None


def gibs(used: float | None, total: float | None) -> str:
    """Memory used of how much: "8.1/24 GiB"."""
    if used is None:
        return "n/a"
    of = "" if not total else f"/{total / GIB:.0f}"
    return f"{used / GIB:.1f}{of} GiB"


def disk_text(free: float | None) -> str:
    """Room on a disk: "41 GB", "812 MB"."""
    if free is None:
        return "n/a"
    if free < 1e9:
        return f"{free / 1e6:.0f} MB"
    return f"{free / 1e9:.1f} GB" if free < LOW_DISK else f"{free / 1e9:.0f} GB"


def _label(gpu: dict[str, Any]) -> str:
    return f"GPU{gpu.get('index', 0)}"


def _alive(gpu: dict[str, Any]) -> bool:
    if gpu.get("error"):
        return False
    return any(gpu.get(name) is not None for name in ("util", "memory_used", "temperature", "power"))


def _trouble(gpu: dict[str, Any]) -> bool:
    heat = gpu.get("temperature")
    share = _share(gpu.get("memory_used"), gpu.get("memory_total"))
    return bool(gpu.get("slowed")) or (heat is not None and heat >= HOT_CELSIUS) or (share or 0) > FULL


def _share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.0f}%"


def _watts(gpu: dict[str, Any]) -> str:
    power = gpu.get("power")
    return "n/a" if power is None else f"{power:.0f}W"


def _short_gib(used: float) -> str:
    return f"{used / GIB:.1f}G" if used < 9.95 * GIB else f"{used / GIB:.0f}G"
