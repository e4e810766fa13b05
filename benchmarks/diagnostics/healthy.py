"""Healthy trainings, hard ones included: nothing is wrong with them, and each is checked to have learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.diagnostics.case import Case, Check, Outcome
from benchmarks.diagnostics.tasks import LOSSES, MODELS, TASKS, USER, Task

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALL = tuple(TASKS)
_CLASSES = ("digits", "wine", "circles", "blobs", "tokens", "conv")


def cases() -> list[Case]:
    """All of them; every second of a family is held out."""
    counted: dict[str, int] = {}
    found = []
    for name, task, seed, changes, check in _families():
        number = counted[name] = counted.get(name, -1) + 1
        config = task.config(seed, **changes)
        found.append(
            Case(
                name=f"{name}/{task.name}-{seed}",
                task=task.name,
                seed=seed,
                config=config,
                metric=task.metric,
                held_out=number % 2 == 1,
                check=check or task.learned,
            )
        )
    return found


_Family = tuple[str, Task, int, dict[str, Any], Check | None]


def _families() -> Iterator[_Family]:
    yield from _ordinary()
    yield from _schedules()
    yield from _noisy()
    yield from _regressions()
    yield from _unusual_losses()
    yield from _long_and_short()
    yield from _models()


def _sgd(task: Task, times: float = 1.0, **args: Any) -> dict[str, Any]:
    return {"target": "sgd", "learning_rate": task.sgd * times, "args": {"momentum": 0.9} | args}


def _adam(task: Task, times: float = 1.0, target: str = "adam", **more: Any) -> dict[str, Any]:
    return {"target": target, "learning_rate": task.adam * times} | more


def _ordinary() -> Iterator[_Family]:
    for seed in (1, 2, 3):
        for name in _ALL:
            yield "adam", TASKS[name], seed, {}, None
    for seed, name in enumerate(_ALL * 2, 10):
        task = TASKS[name]
        times = 0.3 if name == "diabetes" else 1.0
        yield "sgd", task, seed, {"optimizer": _sgd(task, times, nesterov=seed % 2 == 1)}, None
    for seed, name in enumerate(_ALL, 30):
        yield (
            "adamw",
            TASKS[name],
            seed,
            {"optimizer": _adam(TASKS[name], 1, "adamw", weight_decay=0.01)},
            None,
        )
    for seed, name in enumerate(("digits", "cancer", "wine", "blobs", "circles", "conv"), 40):
        yield "rmsprop", TASKS[name], seed, {"optimizer": _adam(TASKS[name], 0.3, "rmsprop")}, None


def _schedules() -> Iterator[_Family]:
    for seed, name in enumerate(_ALL, 50):
        task = TASKS[name]
        args = {"max_lr": task.adam * 3}
        yield "one_cycle", task, seed, {"scheduler": {"target": "one_cycle", "args": args}}, None
    for seed, name in enumerate(("digits", "cancer", "wine", "tokens", "conv", "circles"), 60):
        yield "cosine", TASKS[name], seed, {"scheduler": {"target": "cosine"}}, None
    for seed, name in enumerate(("digits", "cancer", "blobs", "circles", "conv", "wine"), 70):
        task = TASKS[name]
        args = {
            "base_lr": task.adam / 10,
            "max_lr": task.adam * 3,
            "step_size_up": 20,
            "cycle_momentum": False,
        }
        yield "cyclic", task, seed, {
            "scheduler": {"target": "torch.optim.lr_scheduler:CyclicLR", "interval": "step", "args": args}
        }, None  # fmt: skip
    for seed, name in enumerate(("digits", "wine", "conv", "blobs", "tokens", "cancer"), 80):
        task = TASKS[name]
        args = {"warmup_steps": 30}
        yield "warm_up", task, seed, {
            "optimizer": _adam(task, 3),
            "scheduler": {"target": "cosine_with_warmup", "args": args},
        }, None  # fmt: skip


def _noisy() -> Iterator[_Family]:
    for seed, name in enumerate(
        ("digits", "cancer", "wine", "blobs", "circles", "tokens", "blobs", "wine"), 100
    ):
        task = TASKS[name]
        size = 8 if name in ("digits", "tokens") else 4
        yield "small_batches", task, seed, {
            "data": {"batch_size": size}, "optimizer": _adam(task, 0.3), "training": {"epochs": 12}
        }, None  # fmt: skip
    for seed, name in enumerate(
        ("digits", "cancer", "wine", "blobs", "circles", "tokens", "conv", "diabetes"), 110
    ):
        few = 0.02 if name in ("digits", "conv") else 0.06
        task = TASKS[name]
        good = task.good - 0.15
        yield "tiny_validation", task, seed, {"data": {"val_fraction": few}}, _at_least(task, good)
    blobs = TASKS["blobs"]
    for seed in range(120, 126):  # clouds that overlap: the loss has a floor that is reached soon
        data = {"target": f"{USER}:blobs", "args": {"seed": seed, "spread": 2.6, "samples": 960}}
        yield "noise_floor", blobs, seed, {"data": data | {"batch_size": 32}}, _at_least(blobs, 0.60)
    for seed, name in enumerate(("digits", "cancer", "blobs", "wine"), 130):
        task = TASKS[name]
        model = {"target": "mlp", "args": {"hidden": [32], "dropout": 0.3}}
        yield "dropout", task, seed, {"model": model, "training": {"epochs": 20}}, None


def _regressions() -> Iterator[_Family]:
    diabetes = TASKS["diabetes"]
    for seed in range(140, 146):  # starts at a norm of hundreds, with a clip or without
        clip = 100.0 if seed % 2 else None
        yield "large_norms", diabetes, seed, {
            "optimizer": _adam(diabetes, 0.6), "training": {"epochs": 25, "gradient_clip_norm": clip}
        }, None  # fmt: skip
    for seed in range(150, 156):  # a loss of 1e-6: gradients are tiny, and it learns
        data = {"target": f"{USER}:line", "args": {"seed": seed, "scale": 1e-3}, "batch_size": 32}
        yield "tiny_loss", diabetes, seed, {
            "data": data,
            "model": {"target": "linear"},
            "optimizer": {"target": "adam", "learning_rate": 1e-2},
            "scheduler": {"target": "cosine"},
            "training": {"epochs": 40},
        }, _at_least(diabetes, 0.8)  # fmt: skip
    for seed in range(160, 166):  # a line, fitted until nothing is left but noise
        data = {"target": f"{USER}:line", "args": {"seed": seed, "noise": 0.02}, "batch_size": 32}
        yield "exact_fit", diabetes, seed, {
            "data": data,
            "model": {"target": "linear"},
            "optimizer": {"target": "adam", "learning_rate": 0.05},
            "training": {"epochs": 40},
        }, _at_least(diabetes, 0.95)  # fmt: skip


def _unusual_losses() -> Iterator[_Family]:
    diabetes = TASKS["diabetes"]
    for seed in range(170, 174):  # a likelihood falls below zero
        data = {"target": f"{USER}:line", "args": {"seed": seed}, "batch_size": 32, "task": "regression"}
        yield "below_zero", diabetes, seed, {
            "data": data,
            "model": {"target": f"{MODELS}:MeanAndSpread"},
            "loss": {"target": f"{LOSSES}:likelihood"},
            "metrics": [],
            "optimizer": {"target": "adam", "learning_rate": 1e-2},
            "training": {"epochs": 30},
        }, _loss_below(-0.2)  # fmt: skip
    for seed in range(180, 184):
        data = {"target": f"{USER}:line", "args": {"seed": seed}, "batch_size": 32}
        yield "multi_task", diabetes, seed, {
            "data": data,
            "loss": {"target": f"{LOSSES}:Parts"},
            "optimizer": {"target": "adam", "learning_rate": 2e-2},
            "training": {"epochs": 30},
        }, _at_least(diabetes, 0.8)  # fmt: skip
    for seed in range(190, 196):
        data = {"target": f"{USER}:cloud", "args": {"seed": seed}, "batch_size": 48}
        yield "gan", diabetes, seed, {
            "data": data,
            "model": {"target": f"{MODELS}:Gan"},
            "loss": {"target": f"{LOSSES}:gan"},
            "metrics": [],
            "optimizer": {"target": "adam", "learning_rate": 1e-2, "args": {"betas": [0.5, 0.9]}},
            "training": {"epochs": 40},
            "early_stopping": {"enabled": False},
        }, _in_balance  # fmt: skip
    for seed, name in enumerate(("digits", "blobs", "wine", "circles"), 200):
        task = TASKS[name]
        yield "summed_loss", task, seed, {"loss": {"target": f"{LOSSES}:summed"}}, None
    for seed, name in enumerate(("digits", "blobs", "wine", "conv"), 210):
        loss = {"target": "cross_entropy", "args": {"label_smoothing": 0.2}}
        yield "label_smoothing", TASKS[name], seed, {"loss": loss}, None
    for seed, name in enumerate(
        ("blobs", "wine", "digits", "cancer"), 220
    ):  # one batch gone wrong, soon made good
        task = TASKS[name]
        loss = {"target": f"{LOSSES}:TimesAt", "args": {"at": 60, "factor": 20}}
        yield "a_bump", task, seed, {"loss": loss, "optimizer": _adam(task, 0.5)}, None


def _long_and_short() -> Iterator[_Family]:
    for seed, name in enumerate(("blobs", "wine", "cancer", "digits", "circles", "blobs"), 230):
        task = TASKS[
            name
        ]  # converged long before its end: gradients are tiny because nothing is left to learn
        stop = {"enabled": False}
        yield (
            "converged",
            task,
            seed,
            {"training": {"epochs": task.epochs + 15}, "early_stopping": stop},
            None,
        )
    for seed, name in enumerate(("blobs", "wine", "cancer", "digits", "diabetes", "conv"), 240):
        stop = {"patience": 3, "min_delta": 1e-3}
        yield "stopped_early", TASKS[name], seed, {"training": {"epochs": 40}, "early_stopping": stop}, None
    for seed, name in enumerate(("digits", "cancer", "conv", "blobs"), 250):
        yield "three_epochs", TASKS[name], seed, {"training": {"epochs": 3}}, _at_least(TASKS[name], 0.7)
    for seed, name in enumerate(("digits", "blobs", "wine", "tokens"), 260):
        yield "accumulated", TASKS[name], seed, {
            "training": {"gradient_accumulation_steps": 2, "epochs": TASKS[name].epochs + 5}
        }, None  # fmt: skip
    for seed, name in enumerate(("digits", "circles", "cancer", "conv"), 270):
        yield "often_validated", TASKS[name], seed, {"training": {"validate_every_n_steps": 7}}, None


def _models() -> Iterator[_Family]:
    for seed, name in enumerate(("digits", "circles", "blobs", "wine", "cancer", "digits"), 280):
        task, act = TASKS[name], ("tanh", "sigmoid", "tanh", "sigmoid", "tanh", "gelu")[seed - 280]
        model = {"target": "mlp", "args": {"hidden": [24, 24], "activation": act}}
        epochs = 30 if act == "sigmoid" else 20
        yield "bounded_units", task, seed, {"model": model, "training": {"epochs": epochs}}, None
    for seed, name in enumerate(("digits", "wine", "cancer", "blobs"), 290):
        model = {"target": "mlp", "args": {"hidden": [32]}, "freeze": ["layers.0.*"]}
        yield "frozen_on_purpose", TASKS[name], seed, {"model": model, "training": {"epochs": 20}}, _at_least(
            TASKS[name], TASKS[name].good - 0.15
        )  # fmt: skip
    for seed, name in enumerate(("digits", "cancer", "wine", "blobs"), 300):
        yield "linear", TASKS[name], seed, {"model": {"target": "linear"}}, None
    for seed, name in enumerate(("digits", "wine", "blobs", "cancer"), 310):
        yield "wide", TASKS[name], seed, {
            "model": {"target": f"{MODELS}:Grouped"}, "optimizer": _adam(TASKS[name], 0.5)
        }, None  # fmt: skip
    blobs = TASKS["blobs"]
    for seed in range(320, 324):  # rare, and learned all the same
        data = {
            "target": f"{USER}:imbalanced",
            "args": {"seed": seed, "major": 600, "minor": 40, "distance": 4.0},
        }
        yield "rare_class", blobs, seed, {"data": data | {"batch_size": 32}}, _at_least(blobs, 0.97)
    for seed in range(330, 334):  # few distinct inputs: the splits cannot but share them
        data = {"target": f"{USER}:xor", "args": {"seed": seed}, "batch_size": 32}
        yield "few_inputs", blobs, seed, {
            "data": data, "optimizer": {"target": "adam", "learning_rate": 3e-2}, "training": {"epochs": 20}
        }, _at_least(blobs, 0.99)  # fmt: skip
    for seed in range(340, 344):  # memory that levels off
        yield "cache", blobs, seed, {"model": {"target": f"{MODELS}:Cache"}}, None


def _at_least(task: Task, good: float) -> Check:
    def check(outcome: Outcome) -> str:
        if outcome.status not in ("completed", "early_stopped"):
            return f"{outcome.status}: {outcome.message[:200]}"
        best = outcome.best(task.metric)
        return "" if best >= good else f"{task.metric} {best:.3f}, {good:.2f} was to be reached"

    return check


def _loss_below(limit: float) -> Check:
    def check(outcome: Outcome) -> str:
        best = outcome.best("val_loss", higher=False)
        return "" if best < limit else f"val_loss {best:.3f}, not below {limit}"

    return check


def _in_balance(outcome: Outcome) -> str:
    """Neither player has won: the loss is about 2 ln 2 at the end."""
    last = outcome.column("val_loss")[-5:]
    mean = sum(last) / max(1, len(last))
    return "" if 1.0 < mean < 1.6 else f"val_loss {mean:.3f} at the end, 1.386 is the balance"
