"""A sample that cannot be read: while training runs it is told as a crash, with its file, likely cause and place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tests.diagnostics.synthetic import raised
from tests.session.test_roll_back import Watched

OWN = "tests.diagnostics.test_crash"
BROKEN = 17


class Fading(Dataset[tuple[Tensor, int]]):
    """Samples on a disk that breaks when one of them was read `reads` times."""

    def __init__(self, reads: int) -> None:
        self.inputs = torch.randn(120, 4, generator=torch.Generator().manual_seed(0))
        self.left = reads

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index == BROKEN:
            self.left -= 1
            if self.left < 0:
                raise OSError(5, "Input/output error", "sample-17.png")
        return self.inputs[index], int(self.inputs[index, 0] > 0)


def reading(times: int) -> dict[str, Any]:
    """Far more epochs than that."""
    return {
        "data": {"target": f"{OWN}:Fading", "args": {"reads": times}, "batch_size": 16},
        "model": {"target": "mlp", "args": {"hidden": [4]}},
        "training": {"epochs": 20},
    }


def test_a_sample_that_can_no_longer_be_read_is_named(tmp_path: Path) -> None:
    told = raised(tmp_path, reading(10))["crash"]
    assert (told.severity, told.playbook) == ("critical", "diagnostics/crash.md")
    assert told.epoch > 1
    assert told.step > 0
    assert "raised OSError: [Errno 5] Input/output error: 'sample-17.png'" in told.message
    assert told.evidence["cause"] == "a file is missing, damaged or cannot be read"
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["exit_code"]) == ("failed", 1)
    assert "crash" in summary["diagnostics"]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_one_that_cannot_be_read_before_the_first_step_is_told_in_plain_words(
    tmp_path: Path, times: int
) -> None:
    """Whatever it is wanted for just then: a look at the data, its fingerprint, a trial of the model."""
    session = Watched(tmp_path / "run", {}, **reading(times))
    session.train(exit_code=2)
    assert "sample-17.png" in str(session.error)
