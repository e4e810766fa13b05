"""The first row of every phase's screen: program, what is worked on, the five phases with their state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tui_trainer.session.wording import cell_width, crop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_trainer.screens.canvas import Row, Run
    from tui_trainer.screens.panels import Glyphs

PHASES = ("Plan", "Baseline", "Diagnose", "Optimize", "Finalize")

Mark = Literal["passed", "here", "later", "missing"]
Marks = tuple[Mark, ...]
RUN_ALONE: Marks = ("later", "here", "later", "later", "later")
"""Of an app that was opened on a run, without a plan."""


def sign(mark: Mark, glyphs: Glyphs) -> str:
    """How a phase's state is drawn."""
    signs = {"passed": glyphs.passed, "here": glyphs.here, "later": glyphs.other, "missing": glyphs.missing}
    return signs[mark]


def phase_row(
    name: str, right: Sequence[Run], width: int, glyphs: Glyphs, *, marks: Marks = RUN_ALONE, here: int = 2
) -> Row:
    """The header in `width` cells; `here` is the phase in front. What has no room is left out, the phases last of all."""
    phases: list[Run] = [
        (f"F{number} {phase} {sign(mark, glyphs)}  ", "strong" if number == here else "dim")
        for number, (phase, mark) in enumerate(zip(PHASES, marks, strict=True), start=1)
    ]
    short: list[Run] = [
        (
            f"F{number}{f' {phase}' if number == here else ''}{sign(mark, glyphs) if marks != RUN_ALONE else ''} ",
            "strong" if number == here else "dim",
        )
        for number, (phase, mark) in enumerate(zip(PHASES, marks, strict=True), start=1)
    ]
    for phase_runs, brand in ((phases, " mltrainer "), (short, " mltrainer "), (short, " "), ([], " ")):
        taken = sum(cell_width(text) for text, _ in (*phase_runs, *right)) + len(brand) + 4
        room = width - taken
        if room >= min(12, cell_width(name)) or not phase_runs:
            shown = crop(name, max(0, room))
            left: list[Run] = [(brand, "brand"), (f"{shown}  ", "strong"), *phase_runs]
            gap = width - sum(cell_width(text) for text, _ in (*left, *right))
            return (*left, (" " * max(1, gap), "text"), *right)
    return ((" mltrainer", "brand"),)
