"""What tests of live runs leave behind when they fail is ended here."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from tests.session.processes import LiveRun


@pytest.fixture(autouse=True)
def _no_run_is_left() -> Iterator[None]:
    yield
    while LiveRun.started:
        run = LiveRun.started.pop()
        if run.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.process.pid, signal.SIGKILL)
            run.process.communicate()
