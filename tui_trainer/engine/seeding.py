"""Everything that must be fixed for two runs from one seed to be equal."""

from __future__ import annotations

import os
import random

import numpy as np
import torch

from tui_trainer.engine.lean_torch import keep_compiler_out, set_deterministic

CUBLAS_WORKSPACE = ":4096:8"


def seed_everything(seed: int, *, deterministic: bool) -> None:
    """Fix all generators and, where asked, deterministic algorithms; before CUDA starts and the model is built.

    Source: PyTorch's notes on reproducibility (`CUBLAS_WORKSPACE_CONFIG` is cuBLAS's own requirement).
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACE)
    keep_compiler_out()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = False
    set_deterministic(deterministic)
    # Filling fresh memory costs a pass over every `torch.empty`; determinism of ours never depends on it.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # set through the module


def reproducibility_facts(seed: int) -> list[str]:
    """The `[REPRODUCIBILITY]` lines, read back from the libraries rather than repeated from the config."""
    return [
        f"Python random seed: {seed}",
        f"NumPy seed: {seed}",
        f"PyTorch manual seed: {torch.initial_seed()}",
        f"PyTorch CUDA seed: {seed if torch.cuda.is_available() else 'n/a (no CUDA device)'}",
        f"Deterministic algorithms: {torch.are_deterministic_algorithms_enabled()}",
        f"CUDNN deterministic: {torch.backends.cudnn.deterministic}",
        f"CUDNN benchmark: {torch.backends.cudnn.benchmark}",
        "DataLoader workers: seeded by (seed, epoch, batch)",
    ]
