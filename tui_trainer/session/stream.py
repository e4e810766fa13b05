"""One stream of events, many readers, and a writer that never waits for any of them."""

from __future__ import annotations

import threading
from collections import deque

from tui_trainer.engine.events import Event, ResourceSampled, StepLogged

_BUFFER = 20_000  # events a slow reader may leave unread before intermediate points are thinned out


class StreamSubscription:
    """A reader's buffer. When it overflows, every other intermediate point goes; the newest and all else stay."""

    def __init__(self, stream: EventStream, name: str) -> None:
        self.name = name
        self._stream = stream
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._waiting = False

    def poll(self, timeout: float | None) -> list[Event]:
        """The events since the last call; waits up to `timeout` seconds (None: for ever) for the first."""
        with self._changed:
            if not self._events and timeout != 0:
                self._waiting = True
                self._changed.wait_for(lambda: bool(self._events), timeout)
                self._waiting = False
            taken, self._events = list(self._events), deque()
        return taken

    def close(self) -> None:
        """Stop listening."""
        self._stream.remove(self)

    def put(self, event: Event) -> None:
        """Called by the stream for each event."""
        with self._changed:
            self._events.append(event)
            if len(self._events) > _BUFFER:
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


class EventStream:
    """Hands each event to every subscription, and the ones so far to a reader that comes later."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers: list[StreamSubscription] = []
        self._past: list[Event] = []

    def emit(self, event: Event) -> None:
        """Called by any thread; never blocks for a reader."""
        with self._lock:
            self._past.append(event)
            if len(self._past) > 2 * _BUFFER:
                self._past = [
                    item for item in self._past[:-100] if not isinstance(item, (StepLogged, ResourceSampled))
                ] + self._past[-100:]
            for reader in self._readers:
                reader.put(event)

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
