"""Number formats of the forward and backward pass: fp32, or autocast to bf16 or fp16 with loss scaling."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch

PrecisionName = Literal["fp32", "bf16", "fp16"]


class Precision:
    """Autocast context and, for fp16, the gradient scaler (Micikevicius et al. 2018, "Mixed Precision Training")."""

    def __init__(self, name: PrecisionName, device: torch.device) -> None:
        self.name, self._device = name, device
        self._dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
        self.scaler = torch.amp.GradScaler(device.type) if name == "fp16" else None

    @property
    def plain(self) -> bool:
        """True when there is nothing to do around a forward pass."""
        return self._dtype is None

    def autocast(self) -> AbstractContextManager[Any]:
        """The context to run forward and loss in."""
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self._device.type, dtype=self._dtype)

    def state_dict(self) -> dict[str, Any]:
        return self.scaler.state_dict() if self.scaler else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.scaler and state:
            self.scaler.load_state_dict(state)
