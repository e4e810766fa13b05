"""Fixtures of the screen tests; the sample run of the report tests serves here too."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from idle import wait_for_idle

sys.path.append(str(Path(__file__).parent.parent / "reports"))


@pytest.fixture(autouse=True)
def idle_means_idle(monkeypatch):
    """Keys and pictures wait for what came before them, however busy the machine is."""
    for module in ("app", "pilot"):
        monkeypatch.setattr(f"textual.{module}.wait_for_idle", wait_for_idle)


@pytest.fixture(autouse=True)
def cursors_do_not_blink(monkeypatch):
    """A picture taken half a second later is the same."""
    monkeypatch.setattr("textual.widgets.Input._toggle_cursor", lambda _: None)


@pytest.fixture(autouse=True)
def notes_stay(monkeypatch):
    """What the app tells is there when a test on a busy machine comes to look."""
    monkeypatch.setattr("textual.app.App.NOTIFICATION_TIMEOUT", 3600)
    monkeypatch.setattr("tui_trainer.screens.app.WELCOME_SECONDS", 3600)


@pytest.fixture(autouse=True)
def one_time_zone(monkeypatch):
    """The log pane shows local time; pictures must be the same everywhere."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("NO_COLOR", raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
