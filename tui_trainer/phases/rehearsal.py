"""A rehearsal as its owner sees it: a process of its own that tells, message by message, what the run would meet.

Data, model and torch itself are loaded there: this process keeps its memory, its GPU and a screen that never stutters.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, Any

from tui_trainer.config import errors
from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tui_trainer.config.loading import LoadedConfig

READY_S = 90.0
"""For everything after data and model are there: a dummy pass and a few steps. More means that something hangs."""
_ERROR = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt|Warning)\b")  # how a traceback ends
_LAST_WORDS = 4_000  # bytes of what a process that died said last


class Rehearsal:
    """One rehearsal process. Iterating gives its messages (see `rehearsing`); `cancel` ends it from any thread."""

    def __init__(
        self,
        loaded: LoadedConfig,
        *,
        steps: int = 0,
        seconds: float | None = None,
        exactly: bool = False,
        look: bool = True,
    ) -> None:
        request = {
            "config": loaded.config.model_dump(mode="json", by_alias=True),
            "folder": str(loaded.folder),
            "steps": steps,
            "exactly": exactly,
            "look": look,
        }
        if seconds is not None:
            request["seconds"] = seconds
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 (closed when the messages end)
        self._cancelled, self._late = threading.Event(), threading.Event()
        self._patience = threading.Timer(READY_S, self._give_up)
        self._patience.daemon = True
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tui_trainer.phases.rehearsing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self._watch = threading.Thread(target=self._clear_up_after, name="rehearsal", daemon=True)
        self._watch.start()
        with contextlib.suppress(BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()  # left open: its end tells the process that we are gone

    def cancel(self) -> None:
        """End the process; the messages end then."""
        self._cancelled.set()
        self._kill()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Messages as they come. Raises the `UserError` that the run would meet, `TrainingError` where the process died."""
        finished = False
        try:
            assert self._process.stdout is not None
            for line in self._process.stdout:
                message: dict[str, Any] = json.loads(line)
                if message["kind"] == "error":
                    raise _error(message)
                if message["kind"] == "done":
                    finished = True  # what user code does as its process ends may take for ever
                    break
                if message["kind"] == "ready":
                    self._patience.start()
                else:
                    yield message
            if self._late.is_set():
                raise errors.TrainingError(
                    f"A trial of the run in a process of its own was not done {READY_S:.0f} s after data and model were "
                    "there: a step hangs, or takes very long."
                )
            if not finished and not self._cancelled.is_set():
                raise errors.TrainingError(self._death())
        finally:
            self.close()

    def _give_up(self) -> None:
        self._late.set()
        self._kill()

    def _kill(self) -> None:
        """End the process and whatever user code started in it."""
        if (
            self._process.returncode is None
        ):  # its number is its own as long as nobody asked for its exit code
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _clear_up_after(self) -> None:
        """Once the process has ended: those that it left behind keep its pipe open, and us waiting."""
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
            self._kill()

    def close(self) -> None:
        """End the process where it still runs."""
        self._patience.cancel()
        self._kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._words.close()

    def _death(self) -> str:
        self._watch.join()
        code = self._process.wait()
        self._words.seek(0, 2)
        self._words.seek(max(0, self._words.tell() - _LAST_WORDS))
        said = self._words.read().decode("utf-8", "replace").strip().splitlines()
        error = next((line for line in reversed(said) if _ERROR.match(line)), said[-1] if said else "")
        last = clean_text(error, limit=300) or "it said nothing"
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return f"A trial of the run in a process of its own ended {how}: {last}."


def _error(message: dict[str, Any]) -> errors.UserError:
    kind = getattr(errors, str(message.get("class")), errors.TrainingError)
    if not (isinstance(kind, type) and issubclass(kind, errors.UserError)):
        kind = errors.TrainingError
    return kind(str(message.get("message", "")))
