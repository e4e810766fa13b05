"""A memory leak names the tensors that pile up."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from tui_trainer.diagnostics.kept_tensors import naming_what_is_kept
from tui_trainer.engine.events import DiagnosticRaised


@pytest.fixture(autouse=True)
def _others_set_aside() -> Iterator[None]:
    """As before a training: what is there already is not looked at."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def trained() -> Any:
    """A model that has taken a step, so that there are gradients and an optimizer's state."""
    model = nn.Sequential(*(nn.Linear(13, 13) for _ in range(25)))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 13)).sum().backward()
    optimizer.step()
    return SimpleNamespace(
        model=model,
        optimizer=optimizer,
        loss=SimpleNamespace(module=None),
        device=torch.device("cpu"),
    )


def leak(where: str = "process", code: str = "memory_leak") -> DiagnosticRaised:
    return DiagnosticRaised(
        time=0.0,
        id=f"{code}-1",
        code=code,
        severity="warning",
        epoch=10,
        step=500,
        message="It grows.",
        evidence={"where": where},
        playbook="",
    )


def test_what_is_kept_is_named_by_shape_and_count() -> None:
    parts = trained()
    kept = [parts.model[0].weight * 2.0 for _ in range(300)]  # as large as what is the model's own
    told = naming_what_is_kept(leak(), parts)
    assert told.evidence["kept"][0] == {
        "dtype": "float32", "shape": [13, 13], "count": len(kept), "bytes": 300 * 13 * 13 * 4, "graphs": 300,
    }  # fmt: skip
    assert told.message == (
        "It grows. Tensors that are alive: 300 of float32[13, 13] (0.2 MB), all with their graph."
    )


def test_model_gradients_and_optimizer_are_not_called_kept() -> None:
    parts = trained()
    assert "kept" not in naming_what_is_kept(leak(), parts).evidence


def test_what_grows_elsewhere_is_not_looked_for_here() -> None:
    parts = trained()
    kept = [torch.ones(3, 5) for _ in range(100)]
    assert len(kept) == 100
    assert naming_what_is_kept(leak("workers"), parts) == leak("workers")
    assert naming_what_is_kept(leak(code="hang"), parts) == leak(code="hang")
