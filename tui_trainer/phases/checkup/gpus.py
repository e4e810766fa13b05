"""Whether torch and the graphics cards of this machine come together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_trainer.phases.checkup.check import Check, size
from tui_trainer.telemetry.gpu import NO_DRIVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_trainer.phases.checkup.box import Box, CudaDevice
    from tui_trainer.telemetry.gpu import Gpu

_FULL = 0.10  # share of a GPU's memory in other hands that is worth a word
_CHOOSE = "choose the CUDA version on https://pytorch.org/get-started/locally"


def torch_build(box: Box) -> list[Check]:
    """Is there a torch, and what can it use?"""
    torch = box.torch
    if torch.error:
        return [
            Check("PyTorch", "problem", f"cannot be imported: {torch.error}",
                  "Install it anew: pip install --force-reinstall torch. Everything but the help needs it.")
        ]  # fmt: skip
    kind = f"CUDA {torch.cuda}" if torch.cuda else f"ROCm {torch.hip}" if torch.hip else "CPU only"
    kind += ", Metal" if torch.mps else ""
    return [Check("PyTorch", "ok", f"{torch.version} ({kind})")]


def cuda(box: Box) -> list[Check]:
    """Do torch's CUDA and the driver match, and does torch see the GPUs?"""
    if box.torch.error:
        return []
    if not box.gpus.gpus:
        return [_without_gpu(box)]
    newest = f"{box.driver.cuda[0]}.{box.driver.cuda[1]}" if box.driver.cuda else "?"
    found = f"driver {box.driver.version or '?'} (up to CUDA {newest}), PyTorch built for CUDA {box.torch.cuda or 'none'}"
    advice = _why_unusable(box, newest)
    if advice:
        return [
            Check("CUDA", "problem", f"{found}{'; ' if box.torch.unasked else ''}{box.torch.unasked}", advice)
        ]
    return [Check("CUDA", "ok", found), *_visible(box)]


def _why_unusable(box: Box, newest: str) -> str:
    """What keeps torch from the GPUs that NVML knows, and what to do; empty where nothing does."""
    torch, driver = box.torch, box.driver
    if torch.cuda is None:
        return (
            "There is a GPU, but this PyTorch cannot use it. Install a CUDA build: pip install torch --index-url "
            f"https://download.pytorch.org/whl/cuNNN; {_CHOOSE} (not above {newest})."
        )
    if torch.unasked:
        return "Look at nvidia-smi: the driver is in disorder. Reload it, or restart the machine."
    if driver.cuda is not None and _major(torch.cuda) > driver.cuda[0]:
        return (
            f"This PyTorch needs a newer driver. Update the driver, or install a PyTorch for CUDA {newest} or older: "
            f"{_CHOOSE}."
        )
    if torch.available:
        return ""
    hidden = box.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1", "none", "NoDevFiles"):
        return f"CUDA_VISIBLE_DEVICES is {hidden!r}, which hides every GPU: unset it."
    return (
        "PyTorch finds no usable GPU. Look at nvidia-smi, and at: python -c 'import torch; torch.cuda.init()', which says "
        "why. After an update of the driver, restart the machine; in a container, start that with --gpus all."
    )


def _without_gpu(box: Box) -> Check:
    problem, torch = box.gpus.problem, box.torch
    if torch.available or torch.mps:  # ROCm, Metal, or a driver that tells NVML nothing
        names = ", ".join(device.name for device in torch.devices) or "Metal"
        return Check("GPU", "ok", f"{names}; its load cannot be shown ({problem or 'NVML tells of no GPU'})")
    if box.graphics_card:
        return Check("GPU", "problem", f"an NVIDIA card is in this machine, but: {problem or 'the driver knows no GPU'}",
                     "Install the NVIDIA driver, or load it (modprobe nvidia), until nvidia-smi lists the card. In a "
                     "container, start that with --gpus all.")  # fmt: skip
    if problem and problem != NO_DRIVER:
        return Check("GPU", "problem", problem,
                     "Look at nvidia-smi; it should list your GPU. In a container, start that with --gpus all.")  # fmt: skip
    built = f"; PyTorch is built for CUDA {torch.cuda}" if torch.cuda else ""
    return Check(
        "GPU",
        "not_applicable",
        f"none here ({problem or 'no NVIDIA driver'}){built}: training runs on the CPU",
    )


def _visible(box: Box) -> list[Check]:
    seen, there = len(box.torch.devices), len(box.gpus.gpus)
    if seen >= there:
        return []
    hidden = box.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None:
        found = f"{seen} of {there} (CUDA_VISIBLE_DEVICES={hidden})"
        return [
            Check(
                "Visible GPUs",
                "ok",
                found,
                "The others are hidden on purpose; unset the variable to use them.",
            )
        ]
    advice = "PyTorch does not see all GPUs that the driver lists; nvidia-smi tells which one is in trouble."
    return [Check("Visible GPUs", "warning", f"{seen} of {there}", advice)]


def cards(box: Box) -> list[Check]:
    """Each GPU: does it answer, is its kind one that torch was built for, is it free?"""
    checks = []
    for gpu in box.gpus.gpus:
        name = f"GPU {gpu['index']}"
        if gpu["error"]:
            checks.append(
                Check(name, "problem", f"{gpu['name'] or 'unknown'}: {gpu['error']}",
                      "It does not answer. Restart the machine; where that does not help, it may be broken.")
            )  # fmt: skip
        else:
            checks.append(_card(name, gpu))
    for device in dict.fromkeys(box.torch.devices):
        if not runs_on(device, box.torch.architectures):
            found = f"{device.name} has compute capability {device.capability[0]}.{device.capability[1]}"
            checks.append(
                Check("GPU kind", "problem", f"{found}; PyTorch is built for {', '.join(box.torch.architectures)}",
                      f"Kernels for this GPU are not in this PyTorch. Install a build that has them: {_CHOOSE}. For cards "
                      "that are too old, an earlier PyTorch may have them.")
            )  # fmt: skip
    return checks


def _card(name: str, gpu: Gpu) -> Check:
    used, total = gpu["memory_used"], gpu["memory_total"]
    found = f"{gpu['name'] or 'unknown'}"
    if used is not None and total:
        found += f", {size(total - used)} of {size(total)} free"
    others = [item for item in gpu["processes"] if not item["ours"]]
    if gpu["slowed"]:
        return Check(name, "warning", f"{found}; slowed down by {gpu['slowed']}",
                     "It runs below its speed. Look at its cooling and its power supply.")  # fmt: skip
    if used is not None and total and used > _FULL * total:
        names = ", ".join(f"{item['name'] or 'process'} {item['pid']}" for item in others[:3])
        return Check(name, "warning", f"{found}; in use by {names or 'processes that cannot be seen from here'}",
                     "Its memory may be too small beside them, and all get slower. device: auto takes the freest GPU; "
                     "device: cuda:N names one.")  # fmt: skip
    return Check(name, "ok", found)


def runs_on(device: CudaDevice, architectures: Sequence[str]) -> bool:
    """Whether a build for `architectures` (such as sm_90, compute_90) has code for a GPU.

    Binary code (sm_) runs on its own major version from its minor version on, PTX (compute_) is translated for any
    newer GPU (CUDA C++ Programming Guide, "Application Compatibility"). A letter behind the number means that very GPU.
    """
    major, minor = device.capability
    for name in architectures:
        kind, _, number = name.partition("_")
        digits = number.rstrip("abcdefghijklmnopqrstuvwxyz")
        if not digits.isdigit():
            return True  # not NVIDIA's names (gfx90a): nothing to be said
        built = int(digits[:-1]), int(digits[-1])
        if digits != number:
            if built == (major, minor):
                return True
        elif kind == "compute":
            if built <= (major, minor):
                return True
        elif built[0] == major and built[1] <= minor:
            return True
    return not architectures


def _major(version: str) -> int:
    first = version.partition(".")[0]
    return int(first) if first.isdigit() else 0
