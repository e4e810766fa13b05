"""Faulty trainings: one thing is wrong with each, injected into a task that is healthy without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.diagnostics.case import Case, Check, Outcome, no_check, overfitted
from benchmarks.diagnostics.tasks import LOSSES, MODELS, TASKS, USER, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DIVERGED = frozenset(
    {"exploding_gradients", "oscillating_loss", "loss_spike", "nan_loss", "convergence_stall", "dying_relu",
     "underfitting"}
)  # fmt: skip
_FLAT = frozenset({"convergence_stall", "slow_convergence", "underfitting", "vanishing_gradients"})
_Variant = tuple[str, int, dict[str, Any]]


def cases() -> list[Case]:
    """All of them; every second of a family is held out."""
    return [case for family in _FAMILIES for case in family()]


def _family(
    name: str,
    code: str,
    variants: Iterator[_Variant] | list[_Variant],
    *,
    also: frozenset[str] | set[str] = frozenset(),
    hurts: bool = True,
    repairable: bool = False,
    check: Check | None = None,
    watchdog_s: float | None = None,
) -> Iterator[Case]:
    """`also`: codes that tell of the same fault. `hurts`: a run that comes out as healthy has no fault. `check`: or
    what else shows that it has one."""
    for number, (task_name, seed, changes) in enumerate(variants):
        task = TASKS[task_name]
        usual = task.suffered if hurts else no_check
        yield Case(
            name=f"{name}/{task_name}-{seed}",
            task=task_name,
            seed=seed,
            config=task.config(seed, **changes),
            metric=task.metric,
            code=code,
            expected=frozenset({code}) | also,
            held_out=number % 2 == 1,
            repairable=repairable,
            check=_trained(code, check or usual),
            watchdog_s=watchdog_s,
        )


_MAY_NOT_BEGIN = ("data_quality", "nan_loss", "crash")


def _trained(code: str, check: Check) -> Check:
    """Also refuses a run that came to no epoch where the fault is none that keeps it from one."""

    def both(outcome: Outcome) -> str:
        if not outcome.trained and code not in _MAY_NOT_BEGIN:
            return f"trained nothing: {outcome.message[:200]}"
        return check(outcome)

    return both


def _not_finite(outcome: Outcome) -> str:
    return "" if outcome.skipped else "all values were finite"


def _overfits(outcome: Outcome) -> str:
    return "" if overfitted(outcome) else "it does not overfit"


def _majority_alone(outcome: Outcome) -> str:
    """The rare class is never named: accuracy is the share of the other one, 700 of 720."""
    last = outcome.column("val_accuracy")[-1]
    return "" if abs(last - 700 / 720) < 1e-3 else f"val_accuracy {last:.4f}: the rare class is named too"


def _over(names: str, first: int, changes: Callable[[Task, int], dict[str, Any]]) -> Iterator[_Variant]:
    """A variant for each of `names`, with a seed of its own from `first` on."""
    for seed, name in enumerate(names.split(), first):
        yield name, seed, changes(TASKS[name], seed)


def _mlp(hidden: list[int], activation: str = "relu", **more: Any) -> dict[str, Any]:
    return {"model": {"target": "mlp", "args": {"hidden": hidden, "activation": activation, **more}}}


def _model(name: str, **args: Any) -> dict[str, Any]:
    return {"model": {"target": f"{MODELS}:{name}", "args": args}}


def _loss(name: str, **args: Any) -> dict[str, Any]:
    return {"loss": {"target": f"{LOSSES}:{name}", "args": args}}


def _altered(task: Task, seed: int, *, batch_size: int | None = None, **args: Any) -> dict[str, Any]:
    return {
        "data": {
            "target": f"{USER}:altered",
            "args": {"source": task.name, "seed": seed, **args},
            "batch_size": batch_size or task.batch_size,
        }
    }


def _rate(target: str, rate: float, **args: Any) -> dict[str, Any]:
    return {"optimizer": {"target": target, "learning_rate": rate, "args": args}}


# ── losses and gradients ────────────────────────────────────────────────────────────────────────────────────────


def _nan() -> Iterator[Case]:
    steps = {
        "digits": 90,
        "cancer": 60,
        "blobs": 50,
        "tokens": 40,
        "wine": 33,
        "conv": 70,
        "circles": 5,
        "diabetes": 20,
    }
    yield from _family(
        "nan_in_loss", "nan_loss",
        _over("digits cancer blobs tokens wine conv circles diabetes", 1001,
              lambda t, s: _loss("NanAt", at=steps[t.name], until=steps[t.name] + s % 3, infinite=s % 2 == 0)),
        check=_not_finite,
    )  # fmt: skip
    yield from _family(
        "nan_from_transform", "nan_loss",
        _over("blobs digits wine blobs", 1021, lambda t, _: {
            "data": {"transforms": {"train": f"{USER}:poison"}} if t.name != "digits" else {},
            **(_loss("NanAt", at=3, until=300) if t.name == "digits" else {}),
        }),
        check=_not_finite,
    )  # fmt: skip
    yield from _family(
        "overflow", "nan_loss",
        _over("digits blobs wine blobs", 1031, lambda t, _: _loss("log_of_sum") | _rate("adam", t.adam * 2)),
        check=_not_finite,
    )  # fmt: skip
    yield from _family(
        "root_of_zero", "nan_loss", _over("diabetes diabetes", 1041, lambda _, __: _loss("root_of_error")), check=_not_finite
    )  # fmt: skip


def _exploding() -> Iterator[Case]:
    yield from _family(
        "rate_far_too_high", "exploding_gradients",
        _over("digits cancer wine blobs conv tokens circles diabetes digits blobs", 1101,
              lambda t, s: _rate("sgd", t.sgd * (300 if t.name != "diabetes" else 30), momentum=0.9 if s % 2 else 0.0)),
        also=_DIVERGED, repairable=True,
    )  # fmt: skip
    yield from _family(
        "huge_targets", "exploding_gradients",
        _over("diabetes diabetes diabetes diabetes", 1121,
              lambda t, s: _altered(t, s, target_scale=1000.0) | _rate("sgd", 1e-3, momentum=0.9)),
        also=_DIVERGED | {"data_quality"}, repairable=True,
    )  # fmt: skip
    yield from _family(
        "not_normalised", "data_quality",
        _over("cancer wine cancer wine cancer wine", 1131,
              lambda t, s: {"data": {"args": {"standardize": False}}} | (_rate("sgd", t.sgd) if s % 2 else {})),
        also=_DIVERGED | _FLAT,
    )  # fmt: skip


def _vanishing() -> Iterator[Case]:
    yield from _family(
        "deep_sigmoids", "vanishing_gradients",
        _over("digits blobs wine circles cancer digits blobs wine", 1201, lambda t, s: _mlp([16] * (7 + s % 3), "sigmoid")
              | (_rate("sgd", t.sgd, momentum=0.9) if s % 2 else {})),
        also=_FLAT | {"saturated_activation"}, repairable=True,
    )  # fmt: skip
    yield from _family(
        "weights_too_small", "vanishing_gradients",
        _over("digits blobs wine circles", 1221,
              lambda t, _: _model("SmallInit", scale=0.05) | _rate("sgd", t.sgd, momentum=0.9)),
        also=_FLAT,
    )  # fmt: skip


def _units() -> Iterator[Case]:
    yield from _family(
        "dead_by_bias", "dying_relu",
        _over("digits blobs wine digits cancer digits blobs wine", 1301,
              lambda _, s: _model("DeadByBias", bias=-12.0, share=1.0 if s % 4 else 0.95)),
        also=_FLAT | {"dead_parameters"},
    )  # fmt: skip
    yield from _family(
        "dead_by_rate", "dying_relu",
        _over("digits digits conv digits", 1321,
              lambda t, _: (_mlp([32, 32]) if t.name == "digits" else {}) | _rate("adam", t.adam * 300)),
        also=_DIVERGED | _FLAT, repairable=True,
    )  # fmt: skip
    yield from _family(
        "saturated", "saturated_activation",
        _over("digits circles digits circles wine digits circles digits", 1331,
              lambda _, s: _model("Saturated", scale=40.0, activation="Tanh" if s % 2 else "Sigmoid")),
        also=_FLAT,
    )  # fmt: skip
    yield from _family(
        "saturated_by_scale", "saturated_activation",
        _over("cancer wine cancer wine", 1351,
              lambda _, __: _mlp([16, 16], "tanh") | {"data": {"args": {"standardize": False}}}),
        also=_FLAT | {"data_quality"}, hurts=False,
    )  # fmt: skip


def _swings() -> Iterator[Case]:
    yield from _family(
        "swings", "oscillating_loss",
        _over("digits conv digits tokens digits conv digits tokens conv digits", 1401,
              lambda t, s: _rate("adam", t.adam * (100 if s % 2 else 60)) if s % 3 else
              _rate("sgd", t.sgd * 30, momentum=0.95)),
        also=_DIVERGED | _FLAT, repairable=True,
    )  # fmt: skip
    yield from _family(
        "one_bad_batch", "loss_spike",
        _over("digits wine circles conv tokens digits conv circles", 1421,
              lambda t, _: _loss("TimesAt", at=(110 if t.name in ("digits", "conv") else 90), factor=1e5, until=
                                 (112 if t.name in ("digits", "conv") else 91)) | _rate("sgd", t.sgd, momentum=0.9)),
        also=_DIVERGED | _FLAT, repairable=True,
    )  # fmt: skip
    yield from _family(
        "rate_jumps", "loss_spike",
        _over("digits blobs wine conv", 1441, lambda t, _: _rate("sgd", t.sgd, momentum=0.9) | {
            "scheduler": {"target": "step", "args": {"step_size": 5, "gamma": 100.0}}}),
        also=_DIVERGED | _FLAT,
    )  # fmt: skip


def _too_slow() -> Iterator[Case]:
    yield from _family(
        "rate_too_low", "slow_convergence",
        _over("digits blobs wine circles cancer tokens conv diabetes digits blobs", 1501,
              lambda t, s: _rate("adam", t.adam / 200) if s % 2 else _rate("sgd", t.sgd / 200)),
        also=_FLAT, repairable=True,
    )  # fmt: skip
    yield from _family(
        "rate_next_to_nothing", "convergence_stall",
        _over("digits blobs wine circles cancer tokens", 1521, lambda _, s: _rate("adam", 1e-8) if s % 2 else
              _rate("sgd", 1e-7)),
        also=_FLAT, repairable=True,
    )  # fmt: skip
    yield from _family(
        "zero_weights", "convergence_stall",
        _over("digits blobs wine circles", 1531, lambda _, __: _model("ZeroInit")),
        also=_FLAT | {"dying_relu", "dead_parameters"},
    )  # fmt: skip
    yield from _family(
        "loss_without_slope", "convergence_stall",
        _over("digits blobs circles wine", 1541, lambda _, __: _loss("constant")),
        also=_FLAT | {"dead_parameters"},
    )  # fmt: skip


# ── fit and data ────────────────────────────────────────────────────────────────────────────────────────────────


def _fit() -> Iterator[Case]:
    long = {"training": {"epochs": 40}, "early_stopping": {"enabled": False}}
    few = {"digits": 60, "conv": 60, "tokens": 40}
    yield from _family(
        "few_samples", "overfitting",
        _over("digits conv digits tokens tokens conv digits tokens", 1601,
              lambda t, s: _altered(t, s, few=few[t.name], noise=0.1, batch_size=16) | long),
        also={"convergence_stall"}, check=_overfits,
    )  # fmt: skip
    yield from _family(
        "wrong_labels", "overfitting",
        _over("digits blobs wine cancer circles digits blobs wine", 1621, lambda t, s: _altered(
            t, s, noise=0.5, few=200 if t.name in ("digits", "blobs") else 100, batch_size=16) | _mlp([128, 128]) | long),
        also={"data_quality", "oscillating_loss"}, check=_overfits,
    )  # fmt: skip
    yield from _family(
        "shuffled_labels", "underfitting",
        _over("digits blobs wine cancer circles tokens", 1641, lambda t, s: _altered(t, s, noise=1.0)),
        also=_FLAT | {"overfitting", "data_quality"},
    )  # fmt: skip
    yield from _family(
        "too_small", "underfitting",
        _over("circles digits circles digits conv circles", 1651, lambda t, _: {"model": {"target": "linear"}}
              if t.name == "circles" else _mlp([1]) if t.name == "digits" else
              {"model": {"target": "cnn", "args": {"channels": [1]}}}),
        also=_FLAT,
    )  # fmt: skip
    yield from _family(
        "decayed_away", "underfitting",
        _over("digits circles tokens conv", 1661, lambda t, _: {
            "optimizer": {"target": "adamw", "learning_rate": t.adam, "weight_decay": 60.0}}),
        also=_FLAT | {"dying_relu"}, repairable=True,
    )  # fmt: skip


def _data() -> Iterator[Case]:
    yield from _family(
        "nan_in_rows", "data_quality",
        _over("digits wine cancer blobs", 1701, lambda t, s: _altered(t, s, nan_rows=3, infinite=s % 2 == 0)), hurts=False,
    )  # fmt: skip
    yield from _family(
        "labels_out_of_range", "data_quality",
        _over("digits wine blobs circles", 1711, lambda t, s: _altered(t, s, bad_labels=3 if s % 2 else 8)), hurts=False,
    )  # fmt: skip
    yield from _family(
        "one_class", "data_quality",
        _over("digits blobs", 1721, lambda t, s: _altered(t, s, one_class=True)), hurts=False,
    )  # fmt: skip
    yield from _family(
        "one_column_large", "data_quality",
        _over("wine cancer blobs diabetes", 1731, lambda t, s: _altered(t, s, column_scale=1e4)), also=_DIVERGED | _FLAT,
        hurts=False,
    )  # fmt: skip
    yield from _family(
        "leaked_rows", "data_leakage",
        _over("digits wine cancer blobs circles tokens conv digits", 1741,
              lambda t, s: _altered(t, s, leak=1.0 if s % 2 else 0.4)), hurts=False,
    )  # fmt: skip
    yield from _family(
        "rare_class_missed", "class_imbalance",
        [("blobs", seed, {"data": {"target": f"{USER}:imbalanced", "args": {"seed": seed, "major": 700, "minor": 20,
          "distance": 0.7 + 0.1 * (seed % 3)}, "batch_size": 32}} | _rate("adam", 3e-3)) for seed in range(1761, 1769)],
        check=_majority_alone,
    )  # fmt: skip


# ── model and machine ───────────────────────────────────────────────────────────────────────────────────────────


def _registration() -> Iterator[Case]:
    for number, (name, tasks) in enumerate(
        {
            "Listed": "digits blobs wine",
            "InDict": "digits cancer",
            "Unused": "digits blobs wine",
            "Detached": "blobs digits circles",
            "FrozenByAccident": "digits wine circles",
        }.items()
    ):
        yield from _family(
            f"dead_{name.lower()}", "dead_parameters",
            _over(tasks, 1801 + 10 * number, lambda _, __, name=name: _model(name)),  # type: ignore[misc]  # a default binds it; mypy counts it as an argument
            hurts=False,
        )  # fmt: skip


def _machine() -> Iterator[Case]:
    yield from _family(
        "tensors_kept", "memory_leak",
        [("blobs", seed, _model("Hoarder", megabytes=mb, seconds=0.09) | {"training": {"epochs": 12}})
         for seed, mb in enumerate((0.6, 1.0, 2.0, 3.0), 1901)],
        hurts=False,
    )  # fmt: skip
    yield from _family(
        "short_of_memory", "out_of_memory",
        _over("digits blobs wine cancer digits blobs", 1911,
              lambda _, s: _model("Hungry", most=9 + s % 9, after=(s % 2) * 30)), hurts=False, repairable=True,
    )  # fmt: skip
    yield from _family(
        "slow_loader", "resource_inefficiency",
        [("blobs", seed, {"data": {"target": f"{USER}:Slow", "args": {"seed": seed, "seconds": seconds}, "batch_size": 32},
          "training": {"epochs": 4}} | {"diagnostics": {"thresholds": {"resource_inefficiency": {"epoch_seconds": 1}}}})
         for seed, seconds in enumerate((4.5e-3, 5e-3, 6e-3, 5.5e-3), 1921)],
        hurts=False,
    )  # fmt: skip
    hang = {"diagnostics": {"thresholds": {"hang": {"seconds": 1, "factor": 3, "first_seconds": 2}}}}
    yield from _family(
        "stands_still", "hang",
        _over("digits blobs wine cancer", 1931, lambda _, s: _model("Stubborn", at=20 + s % 7, seconds=2.5)
              | hang | {"training": {"epochs": 4}}), hurts=False, watchdog_s=0.1,
    )  # fmt: skip
    kinds = ("index", "shape", "key")
    yield from _family(
        "user_code_raises", "crash",
        _over("digits blobs wine cancer", 1941, lambda _, s: _model("Crashing", at=10 + s % 20, kind=kinds[s % 3])),
        hurts=False,
    )  # fmt: skip
    yield from _family(
        "sample_unreadable", "crash",
        [("blobs", seed, {"data": {"target": f"{USER}:Raising", "args": {"seed": seed, "after": after},
          "batch_size": 32}}) for seed, after in ((1951, 6), (1952, 9))],
        hurts=False,
    )  # fmt: skip


_FAMILIES = (_nan, _exploding, _vanishing, _units, _swings, _too_slow, _fit, _data, _registration, _machine)
