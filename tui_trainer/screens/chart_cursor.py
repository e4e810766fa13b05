"""The cursor of a chart: which recorded point it stands on, and what the curves say there."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from tui_trainer.screens.quantities import value_text
from tui_trainer.session.wording import cell_width, crop, format_duration

if TYPE_CHECKING:
    from tui_trainer.screens.chart_scene import Scene
    from tui_trainer.screens.series import Series


def cursor_column(scene: Scene, columns: int) -> int | None:
    """The column, of `columns`, in which the cursor stands; None when there is none in the window."""
    if scene.options.cursor is None or columns <= 0:
        return None
    left, right = scene.x_range()
    x = scene.ruler.of_step(scene.options.cursor)
    if not left <= x <= right:
        return None
    return min(columns - 1, int((x - left) / (right - left) * columns))


def step_at_column(scene: Scene, column: int, columns: int) -> float | None:
    """The recorded step nearest to the middle of a column; None when nothing is recorded."""
    left, right = scene.x_range()
    step = scene.ruler.step_of(left + (column + 0.5) / max(1, columns) * (right - left))
    steps = _places(scene)
    if not steps:
        return None
    index = bisect_left(steps, step)
    return min(steps[max(0, index - 1) : index + 1], key=lambda place: abs(place - step))


def move(scene: Scene, columns: int, *, forward: bool) -> float | None:
    """Where the cursor stands after one column to a side: on the first recorded point that is not nearer.

    Without a cursor it begins on the newest point shown. None when nothing is recorded.
    """
    steps, cursor = _places(scene), scene.options.cursor
    low, high = scene.window
    if not steps:
        return None
    if cursor is None:
        return steps[max(0, bisect_right(steps, high) - 1)]
    column = (high - low) / max(1, columns)
    if forward:
        return steps[min(bisect_left(steps, cursor + column), len(steps) - 1)]
    return steps[max(0, bisect_right(steps, cursor - column) - 1)]


def reading(scene: Scene, width: int) -> str:
    """The place of the cursor and every curve's recorded value nearest to it, as text of at most `width` columns.

    A value that was recorded elsewhere says where.
    """
    cursor, recorded = scene.options.cursor, scene.recorded
    if cursor is None:
        return ""
    words = [f"epoch {cursor / recorded.steps_per_epoch:.2f}", f"step {cursor:.0f}"]
    words.append(format_duration(recorded.clock.at(cursor) or 0.0))
    words.insert(0, words.pop(("epoch", "step", "time").index(scene.options.axis)))
    values = _values(scene, scene.ruler.of_step(cursor))
    for kept in (words, words[:2], words[:1]):
        text = " · ".join([*kept, *values])
        if cell_width(text) <= width:
            return text
    while len(values) > 1 and cell_width(" · ".join([words[0], *values])) > width:
        values.pop()
    return crop(" · ".join([words[0], *values]), max(0, width))


def _values(scene: Scene, x: float) -> list[str]:
    """Each curve with its value nearest to `x`; the run's own first, what is dim behind them last."""
    values: list[str] = []
    in_order = sorted(scene.placed_lines(), key=lambda pair: (bool(pair[0].label), pair[0].style == "faint"))
    for line, ruler in in_order:
        at = ruler.step_of(x)
        if line.timed:
            at = ruler.clock.at(at) or 0.0
        if (found := _nearest(line.series, line.raw, at)) is None:
            continue
        place, value = found
        text = f"{line.label or line.words} {value_text(scene.chart, value)}".strip()
        if not line.timed and abs(place - at) >= 0.5:
            text += f" @{ruler.of_step(place):.4g}"
        values.append(text)
    return values


def _nearest(series: Series, raw: Series, at: float) -> tuple[float, float] | None:
    """The nearest point; a place that was not finite says so."""
    if at in raw.broken:
        return at, float("nan")
    return series.nearest(at)


def _places(scene: Scene) -> list[float]:
    """The steps at which anything of this chart was recorded, in order."""
    ruler = scene.ruler
    steps: set[float] = set()
    for trace in scene.recorded.of(scene.chart).values():
        places = (*trace.raw.xs, *trace.raw.broken)
        steps.update(map(ruler.step_at, places) if trace.timed else places)
    return sorted(steps)
