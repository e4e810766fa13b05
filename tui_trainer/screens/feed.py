"""The thread between a run and the screen: takes events in bursts, hands on the newest view."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from tui_trainer.engine.events import RunStarted
from tui_trainer.screens.captured import OUTPUT_LOG
from tui_trainer.screens.view import RunView, advance_all, with_output

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui_trainer.screens.captured import OutputTail
    from tui_trainer.session.protocol import RunHandle

TICK_SECONDS = 0.25
BURST = 500  # so many events at once are a past that is read back: its rest does not wait for the next tick


class Feed(threading.Thread):
    """Starts the run, then folds its events into a view at most four times a second.

    Everything is reported by call-backs on this thread: `on_started(handle)`, `on_view(view)`, and
    `on_error(error)` when the run could not be started.
    """

    def __init__(
        self,
        start: Callable[[], RunHandle],
        *,
        on_started: Callable[[RunHandle], None],
        on_view: Callable[[RunView], None],
        on_error: Callable[[BaseException], None],
        tail: OutputTail | None = None,
        name: str = "",
    ) -> None:
        """`name`: of the run, as long as it has not said its own."""
        super().__init__(name="screen-feed", daemon=True)
        self._start_run = start
        self._on_started = on_started
        self._on_view = on_view
        self._on_error = on_error
        self._tail = tail
        self._name = name
        self._stop = threading.Event()

    def run(self) -> None:
        """Start the run and follow it until it is over or nobody watches any more."""
        try:
            handle = self._start_run()
        except BaseException as error:
            self._on_error(error)
            return
        self._on_started(handle)
        subscription = handle.subscribe("screen")
        view = shown = RunView(name=self._name)
        shown_at = -TICK_SECONDS
        began = False
        try:
            while not self._stop.is_set():
                over = handle.wait(0)
                events = subscription.poll(TICK_SECONDS)
                if not began and any(isinstance(event, RunStarted) for event in events):
                    began = True
                    self._keep_output(handle)
                view = self._with_prints(advance_all(view, events))
                due = len(events) < BURST or view.is_over or time.monotonic() - shown_at >= TICK_SECONDS
                if view is not shown and due:
                    self._on_view(view)
                    shown, shown_at = view, time.monotonic()
                if over and not events and not view.is_over:
                    return  # died without a last word; the app asks the handle
                self._stop.wait(TICK_SECONDS if 0 < len(events) < BURST else 0)
        finally:
            subscription.close()

    def stop(self) -> None:
        """Watch no longer; the run goes on."""
        self._stop.set()

    def _keep_output(self, handle: RunHandle) -> None:
        """From the run's beginning on its folder is its own: what is printed belongs there."""
        if self._tail is not None:
            self._tail.continue_in(handle.folder / OUTPUT_LOG)

    def _with_prints(self, view: RunView) -> RunView:
        if self._tail is None:
            return view
        lines = self._tail.read()
        return with_output(view, lines, time.time()) if lines else view
