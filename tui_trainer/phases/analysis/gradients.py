"""Gradient health by layer over the epochs, read from `gradient_stats.csv`."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, Literal

from tui_trainer.diagnostics.curves import finite
from tui_trainer.reports.diagnosis_content import Gradients, HeatMap, LayerGradient
from tui_trainer.reports.run_files import read_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tui_trainer.reports.diagnosis_content import Problem

FILE = "gradient_stats.csv"
TOTAL = "total_grad_norm"
LARGE, SMALL_RATIO = 100.0, 1e-3
"""A norm above the first is large; one below the second, as a share of the strongest layer's, is small: the thresholds
of `exploding_gradients` and `vanishing_gradients`."""
MOST_LAYERS, MOST_EPOCHS = 48, 60
"""Of the heat map."""
_BESIDE = ("dying_relu", "saturated_activation", "dead_parameters", "convergence_stall")
"""Diagnostics that small or missing gradients are a sign of."""
LayerVerdict = Literal["ok", "small", "zero", "large", "non_finite"]


def read_gradients(folder: Path, problems: Sequence[Problem]) -> Gradients:
    """Each layer's norms and what they mean. Small norms alone are what a run ends with that has learned all there is:
    the verdict is of the rules, where they found training to suffer."""
    rows = read_table(folder / FILE)
    names = [name for name in (rows[0] if rows else {}) if name not in ("epoch", TOTAL)]
    if not rows or not names:
        return Gradients(
            "unknown",
            f"There is no {FILE} (monitoring.gradient_stats_every_n_epochs, or no epoch was finished).",
        )
    late = rows[-math.ceil(len(rows) / 3) :]
    strongest = max((_middle([row.get(name) for row in late]) or 0.0 for name in names), default=0.0)
    layers = tuple(_layer(name, rows, late, strongest) for name in names)
    total = [row.get(TOTAL) for row in rows]
    ratio = _ratio(layers)
    verdict, reason = _verdict(layers, ratio, problems)
    return Gradients(
        verdict,
        reason,
        epochs=len(rows),
        total_first=total[0],
        total_last=total[-1],
        total_largest=max(finite(total), default=None),
        ratio=ratio,
        layers=layers,
        heat_map=_heat_map(names, rows),
    )


def _layer(
    name: str,
    rows: Sequence[dict[str, float | None]],
    late: Sequence[dict[str, float | None]],
    strongest: float,
) -> LayerGradient:
    values = [row.get(name) for row in rows]
    known = finite(values)
    now = _middle([row.get(name) for row in late])
    verdict: LayerVerdict = "ok"
    if any(value is not None and not math.isfinite(value) for value in values):
        verdict = "non_finite"
    elif known and max(known) > LARGE and max(known) >= 10 * median(known):
        verdict = "large"
    elif known and not any(known):
        verdict = "zero"
    elif now is not None and now < SMALL_RATIO * strongest:
        verdict = "small"
    return LayerGradient(
        name=name,
        first=values[0],
        last=values[-1],
        median=median(known) if known else None,
        smallest=min(known, default=None),
        largest=max(known, default=None),
        verdict=verdict,
    )


def _verdict(
    layers: Sequence[LayerGradient], ratio: float | None, problems: Sequence[Problem]
) -> tuple[Literal["healthy", "vanishing", "exploding", "uneven"], str]:
    for item in problems:
        if item.open and item.severity != "info":
            if item.code == "exploding_gradients":
                return "exploding", item.message
            if item.code == "vanishing_gradients":
                return "vanishing", item.message
    odd = {
        what: [item.name for item in layers if item.verdict == what]
        for what in ("non_finite", "zero", "large", "small")
    }
    words = {
        "non_finite": "have had a gradient that is not finite",
        "zero": "never had a gradient",
        "large": f"have had a norm above {LARGE:g}, ten times their median",
        "small": f"have less than {SMALL_RATIO:g} of the strongest layer's gradient",
    }
    told = [f"{len(names)} of {len(layers)} parameters {words[what]}" for what, names in odd.items() if names]
    if told:
        seen = next((item for item in problems if item.open and item.code in _BESIDE), None)
        so = f"see {seen.id}" if seen else "no rule found that training suffers from it"
        return "uneven", f"{'; '.join(told)}; {so}."
    depth = "" if ratio is None else f" The first layers have {ratio:.3g} times the gradient of the last."
    return "healthy", f"All {len(layers)} parameters have gradients of an ordinary size.{depth}"


def _ratio(layers: Sequence[LayerGradient]) -> float | None:
    """First third over last third of the weights, as the rule `vanishing_gradients` takes it."""
    norms = [item.last for item in layers if item.name.rpartition(".")[2].startswith("weight")]
    known = finite(norms)
    if len(known) < 2:
        return None
    third = len(known) // 3 or 1
    last = max(known[-third:])
    return max(known[:third]) / last if last else None


def _heat_map(names: Sequence[str], rows: Sequence[dict[str, float | None]]) -> HeatMap:
    layers = [names[k] for k in spread(len(names), MOST_LAYERS)]
    shown = [rows[k] for k in spread(len(rows), MOST_EPOCHS)]
    return HeatMap(
        layers=tuple(layers),
        epochs=tuple(int(row.get("epoch") or 0) for row in shown),
        values=tuple(tuple(row.get(name) for row in shown) for name in layers),
    )


def spread(count: int, most: int) -> list[int]:
    """At most `most` places of `count`, evenly, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(k * (count - 1) / (most - 1)) for k in range(most)]


def _middle(values: Sequence[float | None]) -> float | None:
    known = finite(values)
    return median(known) if known else None
