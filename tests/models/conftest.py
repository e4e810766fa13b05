"""What the tests of the model room share: data of any shape, and modules as users write them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from tui_trainer.config.schema import ModelConfig
from tui_trainer.models.build import build_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import nn

    from tui_trainer.data.dataset import DataSplits

_module_numbers = itertools.count()


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., nn.Module]:
    """`build(target, data, args=…, freeze=…)`: the model of a config that lies in `tmp_path`."""

    def build(target: str, data: DataSplits, **config: Any) -> nn.Module:
        return build_model(ModelConfig.model_validate({"target": target, **config}), data, folder=tmp_path)

    return build


@pytest.fixture
def user_module(tmp_path: Path) -> Callable[[str], str]:
    """Write a user's module beside the config; returns its name."""

    def write(code: str) -> str:
        name = f"users_model_{next(_module_numbers)}"
        (tmp_path / f"{name}.py").write_text(f"import torch\nfrom torch import nn\n{code}")
        return name

    return write
