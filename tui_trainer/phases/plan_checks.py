"""Gate 1, `reproducibility`: its items, and what each makes of what a rehearsal saw."""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING, Any

from tui_trainer.phases.gate import Finding, Item
from tui_trainer.session.wording import format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tui_trainer.config.schema import Config
    from tui_trainer.phases.environment import Repository
    from tui_trainer.phases.gate import Entry

GATE, TITLE = "reproducibility", "Reproducibility"
KNOWN_DRAWS = {"python": 0.6394267984578837, "numpy": 0.3745401188473625}  # first draws under seed 42
MOST_SHARED = 0.01  # of a split's samples: the limit of data_leakage

_CODE = ("config", "data", "code", "environment")

ITEMS = (
    Item(
        "seeds", "All random generators follow the seed",
        "Code of yours or a library draws random numbers while it is imported, or reseeds: find it and remove it.",
        rests_on=("config", "environment"),
    ),
    Item(
        "deterministic", "Deterministic algorithms are on",
        "Set deterministic: true; waive this item where an operation of your model has no deterministic form.",
        rests_on=("config", "environment"),
    ),
    Item(
        "environment", "The environment is captured",
        "Make the project folder writable.",
        rests_on=("environment",),
    ),
    Item(
        "repository", "The code's version is captured",
        "Commit what there is; install git where the repository was copied without it; make the project folder writable.",
        rests_on=("code", "config"),
    ),
    Item(
        "data", "The data has a fingerprint", "See the message: the data could not be read.",
        rests_on=("config", "data", "code"),
    ),
    Item(
        "splits", "Train, validation and test sets are disjoint",
        "Drop repeated samples before the data is divided, or name data.group_by for samples that belong together.",
        rests_on=("config", "data", "code"),
    ),
    Item(
        "dummy_pass", "One pass gives a finite loss and reaches every parameter",
        "Register the modules named, or freeze on purpose with model.freeze; look at the loss for log or division of 0.",
        rests_on=_CODE,
    ),
    Item(
        "disk", "There is room for the planned checkpoints",
        "Free some room, name another --output-dir, or keep fewer: checkpoint.keep_last_n.",
        rests_on=("config", "checkpoint", "code"),
    ),
    Item(
        "two_runs", "Two runs from one seed are equal to the bit",
        "Look for unseeded randomness in the layer or the data named: set iteration order, time, os.urandom, threads.",
        rests_on=(*_CODE, "workers"),
    ),
    Item(
        "intended_use", "What the model is for, and what not", 'Say so: --sign intended_use="…", or gates.sign in the config.',
        signed=True, rests_on=("subject",),
    ),
    Item(
        "target_metric", "Which figure decides, and how good is good enough",
        'Say so: --sign target_metric="…", or gates.sign in the config.',
        signed=True, rests_on=("subject", "targets"),
    ),
)  # fmt: skip

REHEARSED = frozenset({"seeds", "deterministic", "data", "splits", "dummy_pass", "disk", "two_runs"})
"""Items that need a rehearsal."""


def seeds(message: Mapping[str, Any]) -> Finding:
    """From the message `seeds`."""
    wrong = [
        f"{name} gives {message['known'][name]!r} under seed 42, not {value!r}"
        for name, value in KNOWN_DRAWS.items()
        if message["known"][name] != value
    ]
    wrong += [
        f"{name} differs between two seedings"
        for name, value in message["first"].items()
        if message["second"].get(name) != value
    ]
    if wrong:
        return Finding("failed", "; ".join(wrong), dict(message))
    names = {
        "python": "Python",
        "numpy": "NumPy",
        "torch": "PyTorch",
        "cuda": "CUDA",
        "workers": "loader workers",
    }
    seeded = [names[name] for name in names if name in message["first"]]
    return Finding(
        "passed",
        f"{', '.join(seeded)} draw the same numbers twice; seed 42 gives {message['known']['python']:.4f} and "
        f"{message['known']['numpy']:.4f} as it should",
        dict(message),
    )


def deterministic(message: Mapping[str, Any]) -> Finding:
    """From the message `seeds`: flags read back from the libraries."""
    details = {
        name: message[name] for name in ("deterministic", "cudnn_deterministic", "cudnn_benchmark", "cublas")
    }
    if not message["deterministic"]:
        return Finding("failed", "Deterministic algorithms are off", details)
    if message["cudnn_benchmark"]:
        return Finding("failed", "cuDNN's benchmark mode is on: it chooses algorithms by their time", details)
    return Finding("passed", "Deterministic algorithms on, cuDNN deterministic, cuDNN benchmark off", details)


def data(message: Mapping[str, Any]) -> Finding:
    """From the message `data`."""
    sizes = ", ".join(f"{name} {count:,}" for name, count in message["sizes"].items())
    return Finding(
        "passed",
        f"{message['fingerprint']} ({sizes})",
        {name: message[name] for name in ("fingerprint", "sizes", "source")},
    )


def splits(message: Mapping[str, Any], diagnostics: Sequence[Mapping[str, Any]]) -> Finding:
    """From the message `splits`, and what data_leakage made of train and validation."""
    details = dict(message)
    for pair in message["pairs"]:
        first, second = pair["splits"]
        if pair["same"] or (pair["compared"] and pair["shared"] == pair["compared"]):
            return Finding("failed", f"The {second} set lies whole in the {first} set", details)
    leaks = [item for item in diagnostics if item["code"] == "data_leakage" and item["severity"] != "info"]
    if leaks:
        return Finding("failed", str(leaks[0]["message"]), details)
    known = any(item["code"] == "data_leakage" for item in diagnostics)  # repetition that lies in the task
    parts = []
    for pair in message["pairs"]:
        if not pair["shared"]:
            continue
        share, words = pair["shared"] / pair["compared"], " and ".join(pair["splits"])
        parts.append(f"{pair['shared']} of {pair['compared']} samples are in both {words}")
        if "test" in pair["splits"] and share >= MOST_SHARED and pair["distinct"] >= 4 and not known:
            return Finding("failed", parts[-1], details)
    sampled = f" (of {', '.join(message['sampled'])}, a sample was read)" if message["sampled"] else ""
    return Finding(
        "passed",
        ("; ".join(parts) + ": by chance or nature" if parts else "No content in two sets") + sampled,
        details,
    )


def dummy_pass(message: Mapping[str, Any]) -> Finding:
    """From the message `pass`."""
    details = dict(message)
    if not math.isfinite(message["loss"]):
        return Finding("failed", f"The loss of one pass is {message['loss']}", details)
    if message["count"]:
        names = ", ".join(message["no_gradient"][:5]) + (" …" if message["count"] > 5 else "")
        return Finding("failed", f"{message['count']} parameters get no gradient: {names}", details)
    unreached = message.get("unreached") or {}
    for kind, words in (
        ("not_registered", "are used but not registered"),
        ("not_optimized", "were not given to the optimizer"),
    ):
        if unreached.get(kind):
            return Finding("failed", f"{', '.join(unreached[kind][:5])} {words}", details)
    return Finding("passed", f"Loss {message['loss']:.4g}; every trained parameter gets a gradient", details)


def disk(message: Mapping[str, Any], config: Config, folder: Path) -> Finding:
    """From the message `model`: what the planned checkpoints take, against what is free."""
    size = int(message["checkpoint_bytes"])
    count = planned_checkpoints(config)
    need = size * (count + 1)  # a new file stands beside the old one for a moment
    free = _free(folder)
    details = {"checkpoint_bytes": size, "checkpoints": count, "needed_bytes": need, "free_bytes": free}
    words = f"{count} checkpoints of {format_bytes(size)}, {format_bytes(free)} free"
    return Finding("passed" if need < free else "failed", words, details)


def too_full(entry: Entry, folder: Path) -> bool:
    """Whether the room that `disk` once found is taken by now."""
    needed = entry.finding.details.get("needed_bytes")
    return entry.finding.state == "passed" and isinstance(needed, int) and _free(folder) <= needed


def _free(folder: Path) -> int:
    """Free bytes where `folder` is, or will be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def planned_checkpoints(config: Config) -> int:
    """How many checkpoint files a whole run keeps at most."""
    keep = config.checkpoint
    every = keep.checkpoint_every_n_epochs
    periodic = config.training.epochs // every if every else 0
    if keep.keep_last_n is not None:
        periodic = min(periodic, keep.keep_last_n)
    return periodic + int(keep.save_last) + (keep.keep_best_n if keep.save_best else 0)


def two_runs(first: Mapping[str, Any], second: Mapping[str, Any]) -> Finding:
    """From two messages `steps`, each from a process of its own."""
    steps = first["steps"]
    words = f"{steps} step{'s' if steps > 1 else ''} in two fresh processes"
    tensors = [name for name, value in first["tensors"].items() if second["tensors"].get(name) != value]
    losses = [
        number
        for number, (a, b) in enumerate(zip(first["losses"], second["losses"], strict=False), 1)
        if a != b
    ]
    details = {
        "steps": steps,
        "tensors": len(first["tensors"]),
        "different": tensors[:20],
        "first_loss": losses[:1],
    }
    if not tensors and not losses and len(first["losses"]) == len(second["losses"]):
        return Finding(
            "passed", f"{words}: all {len(first['tensors'])} tensors and losses are equal", details
        )
    where = f"tensor {tensors[0]} differs" if tensors else "the weights are equal"
    since = f", losses from batch {losses[0]} on" if losses else ""
    return Finding("failed", f"{words}: {where}{since}", details)


def environment(machine: Mapping[str, Any], platform: Mapping[str, Any], packages: int) -> Finding:
    """From what `environment.machine` and the message `platform` say."""
    gpus = platform.get("gpus") or [gpu["name"] for gpu in machine["gpus"]]
    shown = f"{len(gpus)} × {gpus[0]}" if gpus else "no GPU"
    torch = platform.get("torch")
    words = f"Python {machine['python']}{f', torch {torch}' if torch else ''}, {packages} packages, {shown}"
    return Finding("passed", words, {**machine, **platform, "packages": packages})


def repository(found: Repository | None) -> Finding:
    """From what `environment.repository` says."""
    if found is None:
        return Finding("not_applicable", "Not in a git repository: the code has no version")
    details = {
        "commit": found.commit,
        "branch": found.branch,
        "patch_bytes": len(found.patch),
        "untracked": found.untracked,
    }
    dirty = "a patch of uncommitted changes is kept" if found.patch else "nothing uncommitted"
    new = f", {found.untracked} new files are not in it" if found.untracked else ""
    return Finding("passed", f"{found.commit[:12]} on {found.branch}, {dirty}{new}", details)
