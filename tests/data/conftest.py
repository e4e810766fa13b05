"""What the tests of the data room share: building data as a config does, and modules as users write them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tui_trainer.config.schema import DataConfig
from tui_trainer.data.build import build_data

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tui_trainer.data.dataset import DataSplits

_module_numbers = itertools.count()


class Build(Protocol):
    def __call__(
        self, target: str, args: dict[str, Any] | None = None, *, seed: int = 42, **data: Any
    ) -> DataSplits: ...


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """`build(target, args, seed=…, val_fraction=… …)`: the data of a config that lies in `tmp_path`."""

    def build(target: str, args: dict[str, Any] | None = None, *, seed: int = 42, **data: Any) -> DataSplits:
        config = DataConfig.model_validate({"target": target, "args": args or {}, **data})
        return build_data(config, seed=seed, folder=tmp_path)

    return build


@pytest.fixture
def user_module(tmp_path: Path) -> Callable[[str], str]:
    """Write a user's module beside the config; returns its name."""

    def write(code: str) -> str:
        name = f"users_data_{next(_module_numbers)}"
        (tmp_path / f"{name}.py").write_text(code)
        return name

    return write
