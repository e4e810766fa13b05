"""From `device: auto` to the device that a run uses."""

from __future__ import annotations

import torch

from tui_trainer.config.errors import ConfigError


def choose_device(wanted: str) -> torch.device:
    """The device of the config's `device`; `auto` takes the GPU with the most free memory.

    Raises `ConfigError` when a device is asked for that this machine, or this build of torch, does not have.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            free = [torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())]
            return torch.device("cuda", free.index(max(free)))
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda":
        _require_cuda(wanted, device)
        return torch.device("cuda", device.index or 0)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device is mps, but this machine has no Metal device. Set device to auto or cpu.")
    return device


def _require_cuda(wanted: str, device: torch.device) -> None:
    if not torch.cuda.is_available():
        build = (
            "has CUDA, but finds no usable GPU or driver" if torch.version.cuda else "is built without CUDA"
        )
        raise ConfigError(
            f"device is {wanted}, but the installed torch {torch.__version__} {build}. "
            "Set device to auto or cpu, or install a CUDA build of torch and check nvidia-smi."
        )
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        raise ConfigError(
            f"device is {wanted}, but this machine has {count} GPU(s): cuda:0 to cuda:{count - 1}. "
            "Name one of these, or set device to auto."
        )
