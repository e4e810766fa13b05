"""For all tests: nobody's own settings take part."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_preferences(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config"))
