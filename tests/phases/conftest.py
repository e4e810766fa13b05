"""The runs that several tests of phase 3 look at: each is trained once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.phases import trained_runs


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a run of `trained_runs`, by the name of its function. Tests leave it as it is but for reports."""
    found: dict[str, Path] = {}

    def run(name: str) -> Path:
        if name not in found:
            folder = tmp_path_factory.mktemp(name) / name
            found[name] = getattr(trained_runs, name)(folder)
        return found[name]

    return run
