"""The machine on a page of its own: every GPU with its processes, the host, ten minutes of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.containers import VerticalScroll
from textual.screen import Screen

from tui_trainer.screens import machine
from tui_trainer.screens.gauges import Gauge, bar, spark
from tui_trainer.screens.key_bar import KeyBar
from tui_trainer.screens.keys import MACHINE_BINDINGS
from tui_trainer.screens.resizing import outdated
from tui_trainer.screens.rows import Rows
from tui_trainer.session.wording import clean_text, crop

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.events import Resize

    from tui_trainer.engine.events import ResourceSampled
    from tui_trainer.screens.canvas import Row, Run
    from tui_trainer.screens.panels import Glyphs
    from tui_trainer.screens.view import RunView

NAME, FACTS = 12, 14  # cells
PROCESSES_SHOWN = 8


class MachineScreen(Screen[None]):
    """Everything that is known of the machine, from the same view as the panel."""

    shows_own_run = True

    help_bindings = (*MACHINE_BINDINGS,)
    BINDINGS: ClassVar[list[BindingType]] = [*MACHINE_BINDINGS]

    def __init__(self, glyphs: Glyphs, view: RunView) -> None:
        super().__init__()
        self._glyphs = glyphs
        self._view = view

    def compose(self) -> ComposeResult:
        """One column of rows that scrolls."""
        with VerticalScroll(id="page"):
            yield Rows(id="machine-page")
        yield KeyBar()

    def on_mount(self) -> None:
        """Show what is known so far."""
        self.call_after_refresh(lambda: self.show(self._view))

    def on_resize(self, event: Resize) -> None:
        """Lay the rows out for the new width."""
        if not outdated(self, event):
            self.call_after_refresh(lambda: self.show(self._view))

    def show(self, view: RunView) -> None:
        """Show a newer view."""
        self._view = view
        page = self.query_one("#machine-page", Rows)
        width = self.query_one("#page").scrollable_content_region.width
        rows = page_rows(view, width, self._glyphs)
        self.query_one("#page").border_title = machine.machine_title(view)
        page.styles.height = len(rows)
        page.set_rows(rows)

    def action_close(self) -> None:
        """Back to the run."""
        self.dismiss()


def page_rows(view: RunView, width: int, glyphs: Glyphs) -> list[Row]:
    """All readings with their histories, a block a GPU."""
    latest = view.machine.latest
    if latest is None:
        return [(("The first reading comes a second after the data and the model are ready.", "dim"),)]
    rows: list[Row] = []
    note = clean_text(latest.gpu_note, limit=300)
    if not latest.gpus:
        rows += [(("No GPU to be read" + (f": {note}" if note else ""), "strong"),), ()]
    elif note:
        rows += [((crop(f"Note: {note}", width), "warn"),), ()]
    for gpu in latest.gpus:
        rows += [*_gpu_rows(view, gpu, width, glyphs), ()]
    return [*rows, *_host_rows(view, latest, width, glyphs)]


def _gpu_rows(view: RunView, gpu: dict[str, Any], width: int, glyphs: Glyphs) -> list[Row]:
    index = int(gpu.get("index", 0))
    name = clean_text(gpu.get("name") or "", limit=80)
    head: list[Run] = [(f"GPU {index}  ", "strong"), (crop(name, max(0, width - 40)), "strong")]
    if gpu.get("ours"):
        head.append((f"  {glyphs.here} this run trains here", "good"))
    why = clean_text(gpu.get("error") or "", limit=200)
    if why:
        return [tuple(head), (("  n/a: ", "bad"), (crop(why, max(0, width - 7)), "bad"))]
    used, total = gpu.get("memory_used"), gpu.get("memory_total")
    history = view.machine
    share = used / total * 100 if used is not None and total else None
    util = gpu.get("util")
    load = Gauge("load", util, _percent(util), history.gpu(index, "util"))
    course = history.gpu(index, "memory_used")
    memory = Gauge("memory", share, machine.gibs(used, total), course, float(total or 0))
    return [
        tuple(head),
        _row(load, width, glyphs),
        _row(memory, width, glyphs),
        _gpu_facts(gpu, width, glyphs),
        *_process_rows(gpu, width),
    ]


def _gpu_facts(gpu: dict[str, Any], width: int, glyphs: Glyphs) -> Row:
    degrees = " C" if glyphs.ascii else " °C"
    heat, power, limit = gpu.get("temperature"), gpu.get("power"), gpu.get("power_limit")
    hot = heat is not None and heat >= machine.HOT_CELSIUS
    watts = "n/a" if power is None else f"{power:.0f}" + ("" if limit is None else f"/{limit:.0f}") + " W"
    clock, bus, slowed = gpu.get("clock"), gpu.get("memory_util"), gpu.get("slowed")
    row: list[Run] = [
        ("  heat".ljust(NAME), "dim"), ("n/a" if heat is None else f"{heat:.0f}{degrees}", "warn" if hot else "text"),
        ("   power ", "dim"), (watts, "text"),
    ]  # fmt: skip
    if clock is not None:
        row += [("   clock ", "dim"), (f"{clock:.0f} MHz", "text")]
    if bus is not None and width >= 78:
        row += [("   memory busy ", "dim"), (f"{bus:.0f}%", "text")]
    if slowed:
        row.append((f"   slowed by {clean_text(slowed, limit=20)}", "warn"))
    return tuple(row)


def _process_rows(gpu: dict[str, Any], width: int) -> list[Row]:
    processes = gpu.get("processes") or ()
    if not processes:
        return [(("  processes".ljust(NAME), "dim"), ("  none that can be seen", "dim"))]
    rows: list[Row] = []
    for process in sorted(processes, key=lambda item: -(item.get("memory") or 0))[:PROCESSES_SHOWN]:
        used = process.get("memory")
        memory = "n/a" if used is None else machine.gibs(used, None)
        name = clean_text(process.get("name") or "not visible from here", limit=60)
        ours = "  (this run)" if process.get("ours") else ""
        label = "  process" if not rows else ""
        text = f"{memory:>10}  pid {process.get('pid')}  {name}{ours}"
        rows.append(
            ((label.ljust(NAME), "dim"), (crop(text, max(0, width - NAME)), "strong" if ours else "text"))
        )
    if len(processes) > PROCESSES_SHOWN:
        rows.append(((" " * NAME + f"and {len(processes) - PROCESSES_SHOWN} more", "dim"),))
    return rows


def _host_rows(view: RunView, latest: ResourceSampled, width: int, glyphs: Glyphs) -> list[Row]:
    history = view.machine
    cpu, used, total = latest.cpu_percent, latest.ram_used, latest.ram_total
    share = used / total * 100 if used is not None and total else None
    waits = [row.data_wait * 100 for row in view.epochs]
    wait = machine.data_wait(view)
    own, rss = latest.process_cpu, latest.process_rss
    load = Gauge("CPU", cpu, _percent(cpu), history.host("cpu_percent"))
    ram = Gauge("RAM", share, machine.gibs(used, total), history.host("ram_used"), float(total or 0))
    limit = " (a limit set on this container)" if latest.ram_limited else ""
    rows: list[Row] = [
        ((f"Host{limit}", "strong"),),
        _row(load, width, glyphs),
        _row(ram, width, glyphs),
        (
            ("  this run".ljust(NAME), "dim"),
            (f"{_percent(own)} of the CPU, {machine.gibs(rss, None)} of memory", "text"),
        ),
        (("  disk".ljust(NAME), "dim"), (f"{machine.disk_text(latest.disk_free)} free", "text")),
    ]
    if wait is not None:
        rows.append(_row(Gauge("data wait", wait * 100, f"{wait * 100:.0f}%", waits), width, glyphs))
    rows += [
        (),
        ((crop("At the right: the last ten minutes; of data wait: the last epochs.", width), "dim"),),
    ]
    return rows


def _row(gauge: Gauge, width: int, glyphs: Glyphs) -> Row:
    rest = max(0, width - NAME - FACTS - 3)
    size = min(24, rest // 3)
    share = None if gauge.percent is None else gauge.percent / 100
    room = rest - size
    course = spark(gauge.values, min(len(gauge.values), room), top=gauge.top, ascii=glyphs.ascii)
    return (
        (f"  {gauge.label}".ljust(NAME)[:NAME], gauge.label_role),
        *bar(share, size, ascii=glyphs.ascii),
        (f" {gauge.facts:<{FACTS}} ", gauge.role),
        (course.rjust(room), "train"),
    )


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.0f}%"
