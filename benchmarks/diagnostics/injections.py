"""NaN and infinity in inputs, losses and gradients at random steps: none may reach the weights or a checkpoint."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.diagnostics.training import Recorded, scratch
from tui_trainer.engine import events

if TYPE_CHECKING:
    from pathlib import Path

Place = Literal["inputs", "loss", "gradients"]
PLACES: tuple[Place, ...] = ("inputs", "loss", "gradients")
_VALUES = (float("nan"), float("inf"), float("-inf"))
_OPTIMIZERS = ("adam", "sgd", "adamw", "rmsprop")
_STEPS_PER_EPOCH = 23
_MOST_IN_A_ROW = 3


@dataclass
class Plan:
    """Where what goes wrong in a run, by training step (from 1). `state`: weights and buffers before the last bad step.

    `touched`: bad steps after which weights or buffers were not as before.
    """

    bad: dict[int, tuple[Place, float]]
    step: int = 0
    state: list[Tensor] | None = None
    touched: list[int] = field(default_factory=list)

    @classmethod
    def random(cls, draw: random.Random, count: int, steps: int) -> Plan:
        """`count` bad steps among `steps`, at most three in a row: many more end a run, as they should."""
        chosen: set[int] = set()
        while len(chosen) < count:
            step = draw.randrange(2, steps)
            if not all(step - back in chosen for back in range(1, _MOST_IN_A_ROW + 1)):
                chosen.add(step)
        runs_too_long = [s for s in chosen if all(s + k in chosen for k in range(_MOST_IN_A_ROW + 1))]
        if runs_too_long:
            return cls.random(draw, count, steps)
        return cls({step: (draw.choice(PLACES), draw.choice(_VALUES)) for step in chosen})

    def begin(self, tensors: list[Tensor]) -> tuple[Place, float] | None:
        """A training step begins: see that the last one, if it was bad, left no trace; what goes wrong in this one."""
        self.check(tensors)
        self.step += 1
        found = self.bad.get(self.step)
        self.state = [item.detach().clone() for item in tensors] if found else None
        return found

    def check(self, tensors: list[Tensor]) -> None:
        """Note a bad step whose traces are in `tensors`."""
        before, self.state = self.state, None
        if before is not None and not all(torch.equal(a, b) for a, b in zip(before, tensors, strict=True)):
            self.touched.append(self.step)


PLANS: dict[str, Plan] = {}
"""By the name that a config gives; a run that is watched from here lives in this process."""


class Injected(nn.Module):
    """A small net with batch normalisation, whose training steps go wrong as its plan says."""

    def __init__(self, in_features: int, num_classes: int, plan: str) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_features, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, num_classes)
        )
        self.plan = PLANS[plan]
        self.wrong: tuple[Place, float] | None = None
        self.layers[3].weight.register_hook(self._spoil)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.wrong = self.plan.begin([*self.parameters(), *self.buffers()])
            if self.wrong and self.wrong[0] == "inputs":
                x = x.clone()
                x[0, 0] = self.wrong[1]
        output: Tensor = self.layers(x)
        if self.training and self.wrong and self.wrong[0] == "loss":
            output = output * self.wrong[1]
        return output

    def _spoil(self, gradient: Tensor) -> Tensor:
        if self.wrong and self.wrong[0] == "gradients":
            gradient = gradient.clone()
            gradient[0, 0] = self.wrong[1]
        return gradient


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy, by a path of its own."""
    return functional.cross_entropy(outputs, targets)


def inject(count: int, seed: int) -> dict[str, Any]:
    """Train once with `count` bad steps. Returns how many there were, and what went wrong with how we dealt with them."""
    draw = random.Random(seed)  # noqa: S311 (no secret)
    steps = count * 6
    name = f"plan-{seed}"
    plan = PLANS[name] = Plan.random(draw, count, steps)
    config = {
        "name": "injected",
        "seed": seed,
        "device": "cpu",
        "data": {"target": "digits", "batch_size": 64},
        "model": {"target": f"{__name__}:Injected", "args": {"plan": name}},
        "loss": {"target": f"{__name__}:loss"},
        "optimizer": {"target": _OPTIMIZERS[seed % len(_OPTIMIZERS)], "learning_rate": 1e-3},
        "training": {"epochs": -(-steps // _STEPS_PER_EPOCH) + 1},
        "early_stopping": {"enabled": False},
        "checkpoint": {"checkpoint_every_n_epochs": 1},
    }
    with scratch() as folder:
        session = Recorded(config, folder / "run")
        emit = session.stream.emit

        def begins(event: events.Event) -> None:
            if isinstance(event, events.RunStarted):
                plan.step, plan.state = 0, None  # what passed before was no training
            emit(event)

        session.stream.emit = begins  # type: ignore[method-assign]  # by the training thread, at once
        session.start()
        session.wait()
        model = session._trainer.parts.model if session._trainer else None  # noqa: SLF001 (to compare weights)
        if model is not None:
            plan.check([*model.parameters(), *model.buffers()])
        return {
            "injected": len(plan.bad),
            "reached": plan.step >= max(plan.bad),
            "exit_code": session.exit_code,
            "touched": plan.touched,
            "bad_checkpoints": _bad_checkpoints(folder / "run"),
            "checkpoints": len(list((folder / "run" / "checkpoints").glob("*.pt"))),
            "not_in_log": sorted(set(plan.bad) - _logged(folder / "run")),
            "not_raised": len(plan.bad) - _raised(session),
            "weights": model is not None and all(bool(torch.isfinite(p).all()) for p in model.parameters()),
        }


def _logged(folder: Path) -> set[int]:
    """Steps that the raw log has as left out."""
    found = set()
    for line in (folder / "events.jsonl").read_text().splitlines():
        event = events.decode(line)
        if isinstance(event, events.NonFiniteSkipped):
            found.add(event.step)
    return found


def _raised(session: Recorded) -> int:
    """The most skipped batches that a nan_loss diagnostic tells of; each that comes is told."""
    told = {
        event.evidence.get("skipped")
        for event in session.seen
        if isinstance(event, events.DiagnosticRaised) and event.code == "nan_loss"
    }
    return len(told)


def _bad_checkpoints(folder: Path) -> list[str]:
    return [
        path.name
        for path in sorted((folder / "checkpoints").glob("*.pt"))
        if not _finite({**torch.load(path, weights_only=True), "config": None, "history": None})
    ]


def _finite(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value).all())
    if isinstance(value, dict):
        return all(
            _finite(item)
            for key, item in value.items()
            if str(key).endswith("state_dict")
            or not isinstance(key, str)
            or isinstance(item, (dict, list, Tensor))
        )
    return all(map(_finite, value)) if isinstance(value, (list, tuple)) else True


def faults_of(result: dict[str, Any]) -> list[str]:
    """What a run with injections did wrong; empty where nothing."""
    found = []
    if result["exit_code"] or not result["reached"]:
        found.append(f"ended early with {result['exit_code']}")
    for key, words in (
        ("touched", "weights or buffers changed by the bad steps"),
        ("bad_checkpoints", "checkpoints with a non-finite value:"),
        ("not_in_log", "not in events.jsonl:"),
    ):
        if result[key]:
            found.append(f"{words} {result[key]}")
    if result["not_raised"]:
        found.append(f"{result['not_raised']} were not raised")
    if not result["weights"]:
        found.append("weights are not finite at the end")
    return found


def main(count: int) -> int:
    """`count` injections, a hundred a run; 1 where one came through."""
    done, checkpoints, wrong = 0, 0, []
    for seed in range(-(-count // 100)):
        result = inject(min(100, count - done), seed)
        done += result["injected"]
        checkpoints += result["checkpoints"]
        wrong += [f"run {seed}: {text}" for text in faults_of(result)]
    print(
        f"{done} injections of NaN and infinity into inputs, losses and gradients, {checkpoints} checkpoints: "
        + (
            "; ".join(wrong)
            or "no step was taken on them, no checkpoint holds one, each is logged and raised."
        )
    )
    return 1 if wrong else 0
