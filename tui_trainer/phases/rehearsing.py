"""A rehearsal of a run, in a process of its own: reads data, builds the model, trains a few steps, and tells in JSON
lines what it saw. Nothing is written, nothing is kept.

`python -m tui_trainer.phases.rehearsing` reads one JSON object: `config`, `folder`, `steps` (at most; 0: none),
`seconds` (for the steps), `exactly` (that many steps, however long it takes), `look` (tell about data and model too).
`ready` is told when data and model are there, `done` at the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import sysconfig
import threading
import time
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from tui_trainer.data.dataset import DataSplits
    from tui_trainer.engine.parts import Parts

_SAMPLED_ITEMS, _SAMPLING_S = (
    20_000,
    15.0,
)  # of data sets that are read item by item, to see whether splits overlap


def main() -> int:
    """The process's exit code: 0, or that of the `UserError` that was told of."""
    from tui_trainer.config.errors import UserError

    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # prints of user code go where errors go
    lifeline = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # user code finds nothing to read
    request = json.loads(lifeline.readline())
    threading.Thread(target=_end_with_starter, args=(lifeline,), name="lifeline", daemon=True).start()
    try:
        for message in _rehearse(request):
            _say(out, message)
    except UserError as error:
        _say(out, {"kind": "error", "class": type(error).__name__, "message": str(error)})
        return error.exit_code
    _say(out, {"kind": "done"})
    return 0


def _end_with_starter(lifeline: TextIO) -> None:
    """Whoever asked is gone once its end of what was our standard input is closed; processes of ours end with us."""
    lifeline.read()
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _say(out: TextIO, message: dict[str, Any]) -> None:
    out.write(json.dumps(message, default=str) + "\n")
    out.flush()


def _rehearse(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    from tui_trainer.config.loading import parse_config
    from tui_trainer.engine.parts import assemble, load_data

    folder, look = Path(request["folder"]), request.get("look", True)
    # A compiler takes minutes, and whether steps are equal is not its business.
    config = parse_config(request["config"], source="the config", overrides=["training.compile=false"])
    before = set(sys.modules)
    if look:
        yield {"kind": "platform", **_platform()}
    data = load_data(config, folder)
    if look:
        yield {"kind": "seeds", **_seeds(config.seed)}
        yield from _look_at_data(data, config)
    parts = assemble(config, data, folder)
    try:
        yield {"kind": "ready"}
        if look:
            yield from _look_at_model(parts, folder)
        if request["steps"]:
            yield {"kind": "steps", **_train(parts, request)}
        yield {"kind": "code", "files": _own_files(before, folder)}
    finally:
        parts.close()


def _platform() -> dict[str, Any]:
    """What torch knows of this machine."""
    import torch

    cuda = torch.cuda.is_available()
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if cuda else None,  # type: ignore[no-untyped-call]
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        if cuda
        else [],
        "threads": torch.get_num_threads(),
    }


def _seeds(seed: int) -> dict[str, Any]:
    """The first draws of each generator under seed 42, twice under the run's own, and what determinism is set to."""
    import random

    import numpy as np
    import torch

    from tui_trainer.data.seeds import derive_seed, untouched_rng
    from tui_trainer.engine.seeding import seed_everything

    def draws(number: int) -> dict[str, Any]:
        seed_everything(number, deterministic=torch.are_deterministic_algorithms_enabled())
        drawn: dict[str, Any] = {
            "python": random.random(),  # noqa: S311 (that is what is looked at)
            "numpy": float(np.random.rand()),
            "torch": float(torch.rand(())),
            "workers": derive_seed(number, 1, 0),
        }
        if torch.cuda.is_available():
            drawn["cuda"] = float(torch.rand((), device="cuda"))
        return drawn

    with untouched_rng(cuda=True):
        return {
            "known": draws(42),
            "first": draws(seed),
            "second": draws(seed),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "cudnn_deterministic": torch.backends.cudnn.deterministic,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "cublas": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        }


def _look_at_data(data: DataSplits, config: Any) -> Iterator[dict[str, Any]]:
    from tui_trainer.data.fingerprint import fingerprint
    from tui_trainer.data.seeds import untouched_rng
    from tui_trainer.phases.preview import data_preview
    from tui_trainer.session.starting import scan_data

    with untouched_rng():
        yield {"kind": "data", "fingerprint": fingerprint(data), **data_preview(data)}
        raised, _, blocked = scan_data(data, config)
        for diagnostic in raised:
            yield _diagnostic(diagnostic)
        if blocked is not None:
            yield {"kind": "blocked", "message": blocked}
        yield {"kind": "splits", **overlaps(data)}


def _diagnostic(raised: Any) -> dict[str, Any]:
    return {
        "kind": "diagnostic",
        "code": raised.code,
        "severity": raised.severity,
        "message": raised.message,
    }


def overlaps(data: DataSplits) -> dict[str, Any]:
    """`pairs`: for each two splits, `shared` samples of the smaller one's `compared` whose content is in the other too;
    `same`: whether the two are one and the same data set. `sampled`: the splits that were not read whole."""
    parts = {
        name: part
        for name, part in (("train", data.train), ("val", data.val), ("test", data.test))
        if part is not None
    }
    names = list(parts)
    contents, sampled = {}, []
    for name, part in parts.items():
        contents[name], whole = _contents(part, name)
        if not whole:
            sampled.append(name)
    pairs = []
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            inside = set(contents[first])
            shared = [row for row, content in enumerate(contents[second]) if content in inside]
            pairs.append(
                {
                    "splits": [first, second],
                    "shared": len(shared),
                    "compared": len(contents[second]),
                    "distinct": len({contents[second][row] for row in shared}),
                    "same": parts[first] is parts[second],
                }
            )
    return {"pairs": pairs, "sampled": sampled}


def _contents(data: Any, split: str) -> tuple[list[Any], bool]:
    """A hash of each sample's content, and whether all were read."""
    from tui_trainer.data.dataset import ArrayDataset
    from tui_trainer.data.items import MappedDataset, sample_items, samples_in
    from tui_trainer.diagnostics.copies import content_hashes

    while isinstance(data, MappedDataset):  # what it was made from: augmented samples are never equal
        data = data.data
    if isinstance(data, ArrayDataset):
        return content_hashes(data.inputs).tolist(), True
    hashes = [
        _item_hash(item) for _, item in sample_items(data, split, limit=_SAMPLED_ITEMS, seconds=_SAMPLING_S)
    ]
    return hashes, len(hashes) == samples_in(data)


def _item_hash(item: Any) -> str:
    from tui_trainer.data.fingerprint import content_digest

    return content_digest(item[0] if isinstance(item, (tuple, list)) and item else item)


def _look_at_model(parts: Parts, folder: Path) -> Iterator[dict[str, Any]]:
    from tui_trainer.data.seeds import untouched_rng
    from tui_trainer.diagnostics.context import measure
    from tui_trainer.diagnostics.facts import RunFacts
    from tui_trainer.diagnostics.registry import build_rules
    from tui_trainer.diagnostics.watch import Watch
    from tui_trainer.phases.preview import model_preview
    from tui_trainer.session.starting import checkpoint_bytes, refuse_non_finite_weights

    refuse_non_finite_weights(parts)
    with untouched_rng(cuda=True):
        yield {"kind": "model", "checkpoint_bytes": checkpoint_bytes(parts), **model_preview(parts)}
        context = measure(parts)
    config = parts.config
    facts = RunFacts(
        config=config,
        epochs=config.training.epochs,
        steps_per_epoch=parts.steps_per_epoch,
        metrics=parts.metric_names,
        monitor=config.checkpoint.monitor,
        monitor_mode=config.checkpoint.monitor_mode,
        device=str(parts.device),
        context=context,
    )
    for diagnostic in Watch(build_rules(facts, folder), facts).before_training(time.time()):
        yield _diagnostic(diagnostic)
    yield {"kind": "pass", **_dummy_pass(parts), "unreached": context.get("unreached", {})}


def _dummy_pass(parts: Parts) -> dict[str, Any]:
    """The loss of one forward and backward pass on validation samples, and the parameters whose `grad` stays None."""
    import torch

    from tui_trainer.engine.losses import combine
    from tui_trainer.engine.watching import left_as_found
    from tui_trainer.models.outputs import call_model

    trained = {name: item for name, item in parts.model.named_parameters() if item.requires_grad}
    try:
        with left_as_found(parts.model, parts.loss.module), torch.enable_grad():
            parts.model.train()
            batch = next(iter(parts.val.epoch(1)))
            with parts.precision.autocast():
                loss, _ = combine(
                    parts.loss(call_model(parts.model, batch.inputs), batch.targets, batch.inputs)
                )
            torch.autograd.backward(loss)
        missing = [name for name, item in trained.items() if item.grad is None]
    finally:
        for item in parts.model.parameters():
            item.grad = None
    return {"loss": float(loss.detach()), "no_gradient": missing[:20], "count": len(missing)}


def _train(parts: Parts, request: dict[str, Any]) -> dict[str, Any]:
    """A few optimizer steps: the `losses` as hexadecimal floats, and a digest of each tensor of the model after them."""
    runner = parts.training_step()
    parts.model.train()
    if parts.loss.module is not None:
        parts.loss.module.train()
    losses: list[str] = []
    end = time.monotonic() + request.get("seconds", float("inf"))
    steps = 0
    for group in chain.from_iterable(parts.groups(epoch) for epoch in count(1)):
        result = runner.run(group, measure=False, on_outputs=None)
        losses += [float(loss).hex() for loss in result.losses]
        steps += 1
        if parts.schedule.per_step:
            parts.schedule.after_step()
        if steps >= request["steps"] or (not request.get("exactly") and time.monotonic() > end):
            break
    return {"steps": steps, "losses": losses, "tensors": _digests(parts.model)}


def _digests(model: nn.Module) -> dict[str, str]:
    return {name: _digest(tensor) for name, tensor in model.state_dict().items()}


def _digest(tensor: Tensor) -> str:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    content = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _own_files(before: set[str], folder: Path) -> list[str]:
    """Files of one's own that were imported, wherever they lie, relative to the config's folder: neither installed
    packages nor Python itself, whose versions are part of the environment."""
    installed = [
        Path(path).resolve()
        for name, path in sysconfig.get_paths().items()
        if name.endswith(("lib", "stdlib"))
    ]
    found = set()
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if not file or "site-packages" in file or name.split(".")[0] == "tui_trainer":
            continue
        path = Path(file).resolve()
        if not any(path.is_relative_to(place) for place in installed):
            found.add(os.path.relpath(path, folder.resolve()))
    return sorted(found)


if __name__ == "__main__":
    sys.exit(main())
