"""Stand-ins for what the app talks to: a run that obeys without training, a painter in this process."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import sample_diagnostics
import sample_run as sample

from tui_trainer.engine.events import CommandHandled, DiagnosticRaised
from tui_trainer.screens.canvas import draw
from tui_trainer.screens.case_rows import chart_of
from tui_trainer.screens.chart import Chart
from tui_trainer.screens.diagnosis import CHART_HEIGHT, LEAST_BESIDE_CHART, DiagnosisPanel
from tui_trainer.screens.evidence_chart import EvidenceChart
from tui_trainer.screens.log_pane import LogPane


class FakeRun:
    """A run whose events are given; it answers commands with events, and "stop" with its end."""

    def __init__(self, events=(), folder: Path | None = None, *, obeys_stop: bool = True) -> None:
        self.folder = folder or Path("/nowhere")
        self.summary: dict[str, Any] | None = None
        self.accepts = True
        self.commands: list[tuple[str, dict[str, Any]]] = []
        self.diagnostics: dict[str, DiagnosticRaised] = {}
        self.applied: list[tuple[str, str]] = []
        self._obeys_stop = obeys_stop
        self._events: deque[Any] = deque()
        self._changed = threading.Condition()
        self._over = threading.Event()
        self.emit(*events)

    def emit(self, *events) -> None:
        self.diagnostics |= {event.id: event for event in events if isinstance(event, DiagnosticRaised)}
        with self._changed:
            self._events.extend(events)
            self._changed.notify_all()
            if any(event.kind == "run_finished" for event in events):
                self._over.set()

    def subscribe(self, name: str) -> FakeRun:
        return self

    def poll(self, timeout: float | None) -> list[Any]:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._events), timeout)
            taken = list(self._events)
            self._events.clear()
            return taken

    def close(self) -> None:
        pass

    def send(self, command: str, **details: Any) -> None:
        self.commands.append((command, details))
        if command != "stop":
            self.emit(
                CommandHandled(
                    time=sample.START,
                    command=command,
                    accepted=self.accepts,
                    epoch=1,
                    step=5,
                    message="done" if self.accepts else "not now",
                    details=details,
                )
            )
        if command == "apply_fix" and self.accepts:
            self._change_course(details["diagnostic"], details["fix"])
        if command == "undo_fix" and self.accepts and self.applied:
            self._change_course(*self.applied[-1], undone=True)
        if command == "stop" and self._obeys_stop:
            self.emit(sample.finished(status="interrupted" if details else "stopped", message="by request"))

    def _change_course(self, diagnostic: str, fix: str, *, undone: bool = False) -> None:
        told = self.diagnostics[diagnostic]
        self.emit(*sample_diagnostics.applied(told, fix, to_step=135, undone=undone))
        if undone:
            self.applied.pop()
        else:
            self.applied.append((diagnostic, fix))

    def stop_for_signal(self, name: str) -> None:
        self.send("stop", signal=name)

    def wait(self, timeout: float | None = None) -> bool:
        return self._over.wait(timeout)


def saved_run(folder: Path) -> Path:
    """A run folder with the checkpoints of two states in four files, and one that is gone."""
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir(parents=True)
    files: dict[str, Any] = {"gone.pt": {"epoch": 3, "step": 9, "metrics": {}, "sha256": "x"}}
    for epoch, names in (
        (2, ["checkpoint_epoch_2.pt"]),
        (4, ["checkpoint_epoch_4.pt", "best_model.pt", "last_model.pt"]),
    ):
        for name in names:
            (checkpoints / name).touch()
            files[name] = {
                "epoch": epoch,
                "step": 45 * epoch,
                "epoch_complete": True,
                "metrics": {"val_loss": 1.0 / epoch},
                "sha256": f"{epoch}",
                "saved_at": f"2025-10-09T08:5{epoch}:00.000Z",
            }
    (checkpoints / "manifest.json").write_text(json.dumps({"files": files, "pending": {}}))
    return folder


class InlinePainter:
    """Draws at once, in this thread."""

    def __init__(self) -> None:
        self.on_painted = None
        self.alive = True
        self.pictures: dict[str, Any] = {}

    def request(self, key, picture) -> None:
        self.pictures[key] = picture
        if self.on_painted is not None:
            self.on_painted(key, draw(picture))

    def close(self) -> None:
        pass


async def until(pilot, condition, seconds: float = 60.0) -> None:
    """Let the app work until `condition()` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        await pilot.pause(0.01)


async def workers_done(pilot) -> None:
    """Wait until nothing works in the background any more, finished or broken off."""
    await until(pilot, lambda: all(worker.is_finished for worker in pilot.app.workers))


async def settle(pilot):
    """Wait until charts and log stand."""
    screen = pilot.app.screen_stack[0]

    def stands() -> bool:
        charts = [chart for chart in screen.query(Chart) if chart.size.height]
        log = screen.query_one(LogPane)
        return (
            all(_drawn(chart) for chart in charts)
            and panel_stands(screen.diagnosis)
            and (log.max_scroll_y == log.scroll_y > 0 or not pilot.app.view.log)
        )

    await until(pilot, stands)
    await pilot.pause()


def panel_stands(panel: DiagnosisPanel) -> bool:
    """Whether the diagnostics panel, if it is open, has the chart that there is room for."""
    if panel.mode != "one" or panel.case is None:
        return True
    chart = panel.query_one(EvidenceChart)
    room = panel.query_one("#beside").size.height >= CHART_HEIGHT + LEAST_BESIDE_CHART
    wanted = room and chart_of(panel.case.told, panel._view) is not None
    return _drawn(chart) if wanted else not chart.size.height


def _drawn(chart: Chart) -> bool:
    """Whether the chart shows a picture of its present size."""
    widths = {sum(len(text) for text, _ in row) for row in chart.rows}
    return len(chart.rows) == chart.size.height and widths == {chart.size.width}
