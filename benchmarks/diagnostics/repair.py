"""Runs that mend themselves (`on_trigger: fix`), beside a search that changes settings at random, with equal budget."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.diagnostics.case import Case, Settings, merged
from benchmarks.diagnostics.detection import share
from benchmarks.diagnostics.tasks import TASKS
from benchmarks.diagnostics.training import run, run_config

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Record = dict[str, Any]
_OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop")


def measure(case: Case, shift: int = 0) -> Record:
    """Let a case repair itself; `shift` gives it another seed.

    Repaired: a fix was applied (out of memory: the run went on by itself), and the best epoch of what the run delivers
    is within the task's tolerance of a healthy run of the same seed. `cost`: epochs trained in all, the steps of range
    tests included, ÷ epochs of a run.
    """
    case = reseeded(case, shift)
    task = TASKS[case.task]
    wanted = _reference(case) - task.near
    outcome = run(case, on_trigger="fix")
    reached = outcome.best(case.metric)
    epochs = int(case.config["training"]["epochs"])
    acted = bool(outcome.fixes) or case.code == "out_of_memory"
    spent = outcome.trained + outcome.tried
    by_chance, trials = _search(case, wanted, max(epochs, round(spent)))
    return {
        "kind": "repair",
        "case": case.name,
        "code": case.code,
        "task": case.task,
        "seed": case.seed,
        "held_out": case.held_out,
        "wanted": wanted,
        "reached": reached,
        "repaired": acted and reached >= wanted,
        "needed": not _without_fixes(case, wanted),
        "fixes": list(outcome.fixes),
        "raised": sorted({code for code, severity, _ in outcome.raised if severity != "info"}),
        "cost": spent / epochs,
        "by_chance": by_chance,
        "trials": trials,
        "status": outcome.status,
        "seconds": round(outcome.seconds, 2),
        "message": outcome.message[:200],
    }


def reseeded(case: Case, shift: int) -> Case:
    """The case under another seed of the same parity of held-out."""
    if not shift:
        return case
    seed = case.seed + 5000 * shift
    config = merged(case.config, {"seed": seed})
    if "seed" in config["data"].get("args", {}):
        config = merged(config, {"data": {"args": {"seed": seed}}})
    return replace(case, seed=seed, config=config, name=f"{case.family}/{case.task}-{seed}")


def _reference(case: Case) -> float:
    """What a healthy run reaches; short of memory, it is the same model with enough of it."""
    if case.code == "out_of_memory":
        return run_config(merged(case.config, {"model": {"args": {"most": 10**9}}})).best(case.metric)
    return _healthy(case.task, case.seed)


@cache
def _healthy(task: str, seed: int) -> float:
    return run_config(TASKS[task].config(seed)).best(TASKS[task].metric)


def _without_fixes(case: Case, wanted: float) -> bool:
    """Whether the run would have come out well by itself: then there was nothing to repair."""
    if case.code == "out_of_memory":
        return False
    return run(case).best(case.metric) >= wanted


def _search(case: Case, wanted: float, budget: int) -> tuple[bool, int]:
    """Whether random settings reach `wanted` within `budget` epochs, and how many were tried."""
    draw = np.random.default_rng(case.seed)
    trials, epochs = 0, int(case.config["training"]["epochs"])
    while budget > 0:
        changed = _changed(case.config, draw, min(budget, epochs))
        outcome = run_config(changed)
        budget -= max(1, outcome.trained)
        trials += 1
        if outcome.best(case.metric) >= wanted:
            return True, trials
    return False, trials


def _changed(config: Settings, draw: np.random.Generator, epochs: int) -> Settings:
    """Another learning rate (by a factor of 1e-3 to 1e3), clip and optimizer."""
    rate = float(config["optimizer"]["learning_rate"]) * 10 ** draw.uniform(-3, 3)
    target = _OPTIMIZERS[int(draw.integers(len(_OPTIMIZERS)))]
    clip = None if draw.random() < 0.5 else 1.0
    training: Settings = {"epochs": epochs, "gradient_clip_norm": clip}
    changes: Settings = {"optimizer": {"target": target, "learning_rate": rate}, "training": training}
    return merged(config, changes)


def table(records: Iterable[Record]) -> str:
    """Markdown: repaired by the program and by chance, by code and in all; what was not repaired."""
    kept = [item for item in records if item.get("kind") == "repair"]
    needed = [item for item in kept if item["needed"]]
    lines = [
        "| code | runs to repair | repaired (95 % interval) | random search, equal budget | median cost, runs |",
        "|---|---|---|---|---|",
    ]
    by_code: defaultdict[str, list[Record]] = defaultdict(list)
    for item in needed:
        by_code[item["code"]].append(item)
    lines += [_row(code, by_code[code]) for code in sorted(by_code)]
    lines.append(_row("**held out**", [item for item in needed if item["held_out"]]))
    lines.append(_row("**all**", needed))
    lines += ["", "Not repaired:", ""]
    lines += [
        f"- {item['case']}: {item['code']}, told {', '.join(item['raised']) or 'nothing'}; fixes "
        f"{', '.join(item['fixes']) or 'none'}; {_number(item['reached'])}, {_number(item['wanted'])} wanted"
        f" ({item['status']}{': ' + item['message'] if item['status'] == 'failed' else ''})"
        for item in needed
        if not item["repaired"]
    ] or ["- none"]
    if len(kept) > len(needed):
        lines += ["", f"{len(kept) - len(needed)} runs came out well by themselves and do not count."]
    return "\n".join(lines)


def _row(label: str, some: Sequence[Record]) -> str:
    done = [item for item in some if item["repaired"]]
    cost = f"{statistics.median(item['cost'] for item in done):.2f}" if done else "–"
    chance = sum(item["by_chance"] for item in some)
    return f"| {label} | {len(some)} | {share(len(done), len(some))} | {share(chance, len(some))} | {cost} |"


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "no value"
