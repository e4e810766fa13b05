"""Which rules watch a run: one module a code in this folder, and what the config adds by import path."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

from tui_trainer.config.errors import ConfigError
from tui_trainer.config.section import target_of
from tui_trainer.config.targets import resolve_target
from tui_trainer.config.wording import did_you_mean, shown
from tui_trainer.diagnostics.rule import Rule

if TYPE_CHECKING:
    from pathlib import Path

    from tui_trainer.diagnostics.facts import RunFacts

CODES = (
    "nan_loss", "exploding_gradients", "vanishing_gradients", "dying_relu", "saturated_activation",
    "oscillating_loss", "loss_spike", "slow_convergence", "convergence_stall", "overfitting", "underfitting",
    "data_quality", "data_leakage", "class_imbalance", "dead_parameters", "memory_leak", "out_of_memory",
    "resource_inefficiency", "hang", "crash",
)  # fmt: skip
"""Every code of our own."""


@cache
def own_rules() -> dict[str, type[Rule]]:
    """Our rules by code. Problems that are not seen in the course of training have a module, but no `Rule`."""
    package = "tui_trainer.diagnostics"
    there = {item.name for item in pkgutil.iter_modules(importlib.import_module(package).__path__)}
    found = {}
    for code in CODES:
        if code not in there:
            continue
        for value in vars(importlib.import_module(f"{package}.{code}")).values():
            if isinstance(value, type) and issubclass(value, Rule) and value.code == code:
                found[code] = value
    return found


def build_rules(facts: RunFacts, folder: Path) -> list[Rule]:
    """The rules that the config does not switch off, with its thresholds; users' rules last.

    Raises `ConfigError` for a code, threshold or target that there is not.
    """
    config = facts.config.diagnostics
    classes = dict(own_rules())
    for reference in config.rules:
        target = target_of(reference)
        found = resolve_target(target.target, builtins={}, folder=folder, what="rule", error=ConfigError)
        if not (isinstance(found, type) and issubclass(found, Rule) and found.code):
            raise ConfigError(
                f"diagnostics.rules: {shown(target.target)} is no rule; expected a class derived from "
                "tui_trainer.diagnostics.rule.Rule that has a code."
            )
        classes[found.code] = found
    known = {*CODES, *classes}
    for place, codes in (("thresholds", config.thresholds), ("disabled", config.disabled)):
        for code in codes:
            if code not in known:
                raise ConfigError(
                    f"diagnostics.{place}: there is no diagnostic {shown(code)}{did_you_mean(code, known)}."
                )
    return [
        rule(facts, config.thresholds.get(code))
        for code, rule in classes.items()
        if code not in config.disabled
    ]
