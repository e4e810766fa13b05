"""One stream of events, many readers, and a writer that never waits for any of them."""

from __future__ import annotations

import threading
from collections import deque

from tui_trainer.engine.events import Event, ResourceSampled, SeriesRow, StepLogged

_BUFFER = 20_000  # events a slow reader may leave unread before intermediate points are thinned out
_NEWEST = 100  # events of the past that are kept whatever they are


class StreamSubscription:
    """A reader's buffer. When it overflows, every other intermediate point goes; the newest and all else stay."""

    def __init__(self, stream: EventStream, name: str) -> None:
        self.name = name
        self._stream = stream
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._waiting = False
        self._thin_at = _BUFFER

    def poll(self, timeout: float | None) -> list[Event]:
        """The events since the last call; waits up to `timeout` seconds (None: for ever) for the first."""
        with self._changed:
            if not self._events and timeout != 0:
                self._waiting = True
                self._changed.wait_for(lambda: bool(self._events), timeout)
                self._waiting = False
            taken, self._events = list(self._events), deque()
            self._thin_at = _BUFFER
        return taken

    def close(self) -> None:
        """Stop listening."""
        self._stream.remove(self)

    def put(self, event: Event) -> None:
        """Called by the stream for each event."""
        with self._changed:
            self._events.append(event)
            if len(self._events) > self._thin_at:
                self._thin_out()
            if self._waiting:
                self._changed.notify()

    def _thin_out(self) -> None:
        kept: deque[Event] = deque()
        odd = False
        for event in self._events:
            if isinstance(event, (StepLogged, ResourceSampled)):
                odd = not odd
                if odd and event is not self._events[-1]:
                    continue
            kept.append(event)
        self._events = kept
        self._thin_at = max(
            _BUFFER, 2 * len(kept)
        )  # what cannot be thinned out must not be gone through each time


class EventStream:
    """Hands each event to every subscription, and the ones so far to a reader that comes later."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers: list[StreamSubscription] = []
        self._past: list[Event] = []
        self._forget_at = 2 * _BUFFER

    def emit(self, event: Event) -> None:
        """Called by any thread; never blocks for a reader."""
        with self._lock:
            self._past.append(event)
            if len(self._past) > self._forget_at:
                self._forget()
            for reader in self._readers:
                reader.put(event)

    def _forget(self) -> None:
        """Leave out what a late reader can do without: old points, and rows, which are in their files."""
        old, newest = self._past[:-_NEWEST], self._past[-_NEWEST:]
        kept = [item for item in old if not isinstance(item, (StepLogged, ResourceSampled, SeriesRow))]
        self._past = kept + newest
        self._forget_at = max(2 * _BUFFER, 2 * len(self._past))

    def subscribe(self, name: str) -> StreamSubscription:
        """A new reader, starting with what was emitted before."""
        reader = StreamSubscription(self, name)
        with self._lock:
            for event in self._past:
                reader.put(event)
            self._readers.append(reader)
        return reader

    def remove(self, reader: StreamSubscription) -> None:
        """Stop handing events to `reader`."""
        with self._lock:
            if reader in self._readers:
                self._readers.remove(reader)
