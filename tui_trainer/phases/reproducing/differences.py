"""Metric logs and weights of two runs compared: equal to the bit, within a tolerance, or where they first part."""

from __future__ import annotations

import csv
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from tui_trainer.engine.events import from_json_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

RTOL, ATOL = 1e-3, 1e-5
"""Two values are within tolerance when they differ by at most `ATOL + RTOL * |value|`."""

NOT_METRICS = frozenset({"epoch_time", "samples_per_second", "gpu_util", "data_wait"})
"""Columns of `epoch_metrics.csv` that tell of time and machine: they are no part of the metric log."""

Likeness = Literal["identical", "within_tolerance", "different"]
_ORDER: tuple[Likeness, ...] = ("identical", "within_tolerance", "different")


def worst(items: Sequence[Likeness]) -> Likeness:
    """The least alike of several."""
    return max(items, key=_ORDER.index, default="identical")


@dataclass(frozen=True)
class LogComparison:
    """Two metric logs. `epochs` rows of `columns` columns were compared; `first_epoch` is where they first differ, in
    the columns `differing` (name: what it was, what it is)."""

    likeness: Likeness
    epochs: int
    columns: int
    first_epoch: int | None = None
    differing: Mapping[str, tuple[Any, Any]] | None = None
    largest: float | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def read_metric_log(path: Path) -> list[dict[str, str]]:
    """The rows of an `epoch_metrics.csv`; none where there is no file. Raises `OSError`, `ValueError`."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    except FileNotFoundError:
        return []
    except csv.Error as error:
        raise ValueError(str(error)) from error


def compare_logs(
    was: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]], *, until: int
) -> LogComparison:
    """Rows of a CSV file against rows of a history, up to epoch `until`, in the columns that the file has."""
    old = [row for row in was if (_number(row.get("epoch")) or 0) <= until]
    new = [row for row in now if (_number(row.get("epoch")) or 0) <= until]
    names = [name for name in (old[0] if old else {}) if name is not None and name not in NOT_METRICS]
    likeness: Likeness = "identical"
    first, differing, largest = None, None, 0.0
    for before, after in zip(old, new, strict=False):
        cells = {name: _compare_cells(before.get(name), after.get(name)) for name in names}
        worst_here = worst([found for found, _ in cells.values()])
        largest = max([largest, *(size for _, size in cells.values())])
        likeness = worst([likeness, worst_here])
        if worst_here != "identical" and first is None:
            first = int(_number(before.get("epoch")) or 0)
            differing = {
                name: (before.get(name), after.get(name))
                for name, (found, _) in cells.items()
                if found != "identical"
            }
    note = ""
    if len(old) != len(new):
        likeness = "different"
        note = f"{len(old)} epochs then, {len(new)} now"
        first = first or min(len(old), len(new)) + 1
    return LogComparison(
        likeness, min(len(old), len(new)), len(names), first, differing, largest if first else None, note
    )


def _compare_cells(was: Any, now: Any) -> tuple[Likeness, float]:
    """How alike two cells are, and by how much they differ (infinite where that has no measure)."""
    a, b = _number(was), _number(now)
    if a is None or b is None:
        empty = (None, "")
        same = (was in empty and now in empty) or str(was) == str(now)
        return ("identical", 0.0) if same else ("different", math.inf)
    if a == b or (math.isnan(a) and math.isnan(b)):
        return "identical", 0.0
    size = abs(a - b)
    if not math.isfinite(size):
        return "different", math.inf
    return ("within_tolerance" if size <= ATOL + RTOL * abs(a) else "different"), size


def _number(value: Any) -> float | None:
    value = from_json_number(value)
    if isinstance(value, bool) or value in (None, ""):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


@dataclass(frozen=True)
class WeightComparison:
    """The weights in one checkpoint file of both runs. `first_tensor`: the first that differs, in the model's order, at
    most by `first_largest`; `largest`: over all tensors, in `largest_tensor`; infinite where there is no measure."""

    file: str
    epoch: int
    step: int
    likeness: Likeness
    tensors: int
    first_tensor: str | None = None
    first_largest: float | None = None
    largest_tensor: str | None = None
    largest: float | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def compare_weights(file: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> WeightComparison:
    """Model (and, where it has any, loss) weights of two checkpoints' contents."""
    epoch, step = int(was["epoch"]), int(was["step"])
    old, new = _weights(was), _weights(now)
    if (epoch, step) != (now["epoch"], now["step"]):
        note = f"it is of step {step:,} (epoch {epoch}); now of step {now['step']:,} (epoch {now['epoch']})"
        return WeightComparison(file, epoch, step, "different", len(old), note=note)
    likeness: Likeness = "identical"
    first: tuple[str, float] | None = None
    most: tuple[str, float] | None = None
    note = ""
    for name in dict.fromkeys([*old, *new]):
        if name not in old or name not in new:
            found, size, why = "different", math.inf, f"{name} is in one of them only"
        else:
            found, size, why = _compare_tensors(old[name], new[name])
        if found == "identical":
            continue
        likeness = worst([likeness, found])  # type: ignore[list-item]  # one of the three words
        note = note or why
        first = first or (name, size)
        most = (name, size) if most is None or size > most[1] else most
    return WeightComparison(
        file=file,
        epoch=epoch,
        step=step,
        likeness=likeness,
        tensors=len(old),
        first_tensor=first[0] if first else None,
        first_largest=first[1] if first else None,
        largest_tensor=most[0] if most else None,
        largest=most[1] if most else None,
        note=note,
    )


def _weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    import torch

    found = dict(state["model_state_dict"])
    found |= {f"loss.{name}": value for name, value in (state.get("loss_state_dict") or {}).items()}
    return {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}


def _compare_tensors(was: Tensor, now: Tensor) -> tuple[Likeness, float, str]:
    """How alike two tensors are, their largest difference, and what there is to say where that has no measure."""
    import torch

    if was.dtype != now.dtype or was.shape != now.shape:
        kind = f"{list(was.shape)} {was.dtype} and {list(now.shape)} {now.dtype}".replace("torch.", "")
        return "different", math.inf, f"shapes differ: {kind}"
    if same_bits(was, now):
        return "identical", 0.0, ""
    wide = torch.complex128 if was.is_complex() else torch.float64
    a, b = was.to(wide), now.to(wide)
    size = (a - b).abs()
    finite = bool(torch.isfinite(size).all())
    largest = float(size.max()) if finite else math.inf
    if finite and bool((size <= ATOL + RTOL * a.abs()).all()):
        return "within_tolerance", largest, ""
    return "different", largest, ""


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one shape and type hold the same bits (NaN is equal to itself, 0 is not -0)."""
    import torch

    if a.numel() == 0:
        return True
    first, second = (item.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for item in (a, b))
    return torch.equal(first, second)
