"""A run as its folder tells it: finished, or going on in another process. Whoever shows a live run can show this."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import RunFolderError
from tui_trainer.engine.events import (
    CommandHandled,
    Event,
    LogLine,
    Resumed,
    RunFinished,
    RunStarted,
    json_safe,
)
from tui_trainer.session.event_file import EventFile
from tui_trainer.session.run_folder import GOING_ON, is_live, read_run_json

if TYPE_CHECKING:
    from pathlib import Path

LOOK_S = 0.25  # between looks at a file that grows
READ_ONLY = "this run is shown from its folder, read only: it takes no commands from here"
DIED = "Its process is gone: killed, or the machine went down. Go on with it: mltrainer-tui --resume {}"


class RunReplay:
    """Implements `session.protocol.RunHandle` over a run folder. Reads only; nothing in the folder changes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._readers: list[ReplaySubscription] = []

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self._folder

    @property
    def summary(self) -> dict[str, Any] | None:
        """The content of `summary.json`; None while there is none, or none that can be read."""
        try:
            content = json.loads((self._folder / "summary.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def subscribe(self, name: str) -> ReplaySubscription:
        """A new reader; it gets all events of all attempts. Superseded ones come before the `Resumed` that says so."""
        reader = ReplaySubscription(self, name)
        self._readers.append(reader)
        return reader

    def send(self, command: str, **details: Any) -> None:
        """Refuse: every reader gets a `CommandHandled` that says why."""
        refusal = CommandHandled(
            time=time.time(),
            command=command,
            accepted=False,
            epoch=0,
            step=0,
            message=READ_ONLY,
            details=json_safe(details),
        )
        for reader in self._readers:
            reader.put(refusal)

    def stop_for_signal(self, name: str) -> None:
        """Do nothing: this process only watches."""

    def wait(self, timeout: float | None = None) -> bool:
        """True when no process has the run; False when `timeout` seconds passed first."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._is_over():
            left = LOOK_S if deadline is None else min(LOOK_S, deadline - time.monotonic())
            if left <= 0:
                return False
            time.sleep(left)
        return True

    def _is_over(self) -> bool:
        """By its record, so that the lock is not asked about a run that has ended."""
        try:
            record = read_run_json(self._folder)
        except RunFolderError:
            record = None
        return record is None or record.get("status") not in GOING_ON or not is_live(self._folder)

    def remove(self, reader: ReplaySubscription) -> None:
        """Forget a reader."""
        if reader in self._readers:
            self._readers.remove(reader)


class ReplaySubscription:
    """One reader's place in the events of a run folder.

    Where the record ends without an end and nobody holds the folder, a `RunFinished` follows that says "died", or what
    `summary.json` says where the record lost it; a later attempt of the run comes behind it as usual.
    """

    def __init__(self, run: RunReplay, name: str) -> None:
        self.name = name
        self._run = run
        self._file = EventFile(run.folder / "events.jsonl")
        self._told_damaged = 0
        self._began: float | None = None
        self._ended = False
        self._last_time = 0.0
        self._put: list[Event] = []
        self._changed = threading.Condition()
        self._closed = False

    def poll(self, timeout: float | None) -> list[Event]:
        """The events since the last call, those of a few MB at most; waits up to `timeout` seconds for the first."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            found = self._taken() + self._next()
            left = LOOK_S if deadline is None else min(LOOK_S, deadline - time.monotonic())
            if found or left <= 0:
                return found
            with self._changed:
                if self._closed:
                    return []
                self._changed.wait_for(lambda: self._closed or bool(self._put), left)

    def close(self) -> None:
        """Stop listening; a poll that waits returns."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._run.remove(self)

    def put(self, event: Event) -> None:
        """Add an event that stands in no file."""
        with self._changed:
            self._put.append(event)
            self._changed.notify_all()

    def _taken(self) -> list[Event]:
        with self._changed:
            taken, self._put = self._put, []
        return taken

    def _next(self) -> list[Event]:
        found = self._read()
        if found or self._ended:
            return found
        if is_live(self._run.folder):
            return []
        found = self._read()  # what was written between the last look and its end
        if found:
            return found
        self._ended = True
        return [*self._damage(), self._ending()]

    def _read(self) -> list[Event]:
        found = self._file.read()
        for event in found:
            if isinstance(event, (RunStarted, Resumed)):
                self._ended, self._began = False, event.time
            elif isinstance(event, RunFinished):
                self._ended = True
        if found:
            self._last_time = found[-1].time
        return found if found or not self._ended else self._damage()

    def _damage(self) -> list[Event]:
        """A word on lines that could not be read, once the end is reached."""
        new = self._file.damaged - self._told_damaged
        if not new:
            return []
        self._told_damaged = self._file.damaged
        lines = "1 line is" if new == 1 else f"{new} lines are"
        text = f"{lines} left out: torn or damaged in events.jsonl, or of another version."
        return [LogLine(time=self._last_time, level="warning", text=text)]

    def _ending(self) -> RunFinished:
        """The end that the record lacks."""
        summary = self._run.summary
        if summary is not None and not self._is_older(summary):
            status, message = summary.get("status"), str(summary.get("message", ""))
            return RunFinished(
                time=self._last_time or time.time(),
                status=status if isinstance(status, str) else "died",  # type: ignore[arg-type]  # a word of summary.json
                message=message,
                summary=summary,
            )
        took = self._last_time - self._began if self._began is not None else None
        return RunFinished(
            time=self._last_time or time.time(),
            status="died",
            message=DIED.format(self._run.folder),
            summary={} if took is None else {"duration_seconds": took},
        )

    def _is_older(self, summary: dict[str, Any]) -> bool:
        """Whether `summary` is that of an attempt before the last one (resuming moves it away; a kill may come between)."""
        try:
            record = read_run_json(self._run.folder)
        except RunFolderError:
            return False
        return record is not None and summary.get("attempt") not in (None, len(record["attempts"]))
