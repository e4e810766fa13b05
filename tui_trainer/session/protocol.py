"""What a screen or a printer may ask of a run, whoever runs it: this process or another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from tui_trainer.engine.events import Event


class Subscription(Protocol):
    """One reader's bounded view of the events of a run.

    Intermediate `StepLogged` events may be dropped for a slow reader; the last one, diagnostics and
    everything else never are.
    """

    def poll(self, timeout: float | None) -> list[Event]:
        """The events since the last call; waits up to `timeout` seconds (None: for ever) for the first."""
        ...

    def close(self) -> None:
        """Stop listening."""
        ...


class RunHandle(Protocol):
    """A run that may still be going, or is over."""

    @property
    def folder(self) -> Path:
        """The run folder."""
        ...

    @property
    def summary(self) -> dict[str, Any] | None:
        """The content of `summary.json`; None while the run goes on."""
        ...

    def subscribe(self, name: str) -> Subscription:
        """A new reader, called `name` in debug output; it gets all events from the start of the attempt."""
        ...

    def send(self, command: str, **details: Any) -> None:
        """Ask for "stop", "pause", "resume", "checkpoint" …; the answer is a `CommandHandled` event."""
        ...

    def stop_for_signal(self, name: str) -> None:
        """Checkpoint and end because of "SIGINT" or "SIGTERM"; safe to call from a signal handler."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """True when the run has finished; False when `timeout` seconds passed first."""
        ...
