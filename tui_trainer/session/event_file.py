"""`events.jsonl` read back: in bursts from its start, and on while it grows.

A million steps must open at once, and reading a line in full costs 10 µs: of a long stretch of step lines only those
that a chart would show are read in full, found by a look at the two numbers that curves are made of, and a few evenly
spaced ones. Raw curves keep every extreme; smoothed ones are then those of a sample.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tui_trainer.engine.events import decode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tui_trainer.engine.events import Event

BURST_BYTES = 4 << 20
LONGEST_LINE = 64 << 20
STEPS_KEPT = 1500  # in one burst, all of them up to here; of more, the extremes of groups of neighbours
GROUPS = 128
EVENLY = 3  # of each group, besides: averages over extremes alone would not be averages
SAMPLES_KEPT = 300  # the machine's, at the end of the file: screens show the latest few minutes
_STEP = re.compile(
    rb'\{"kind":"step","time":"[^"]*","epoch":\d+,"step":\d+,"step_in_epoch":\d+,"loss":([^,]+),'
    rb'"learning_rate":[^,]+,"grad_norm":([^,]+),'
)
_STEP_START, _SAMPLE_START = b'{"kind":"step",', b'{"kind":"resources",'


class EventFile:
    """A reader of one `events.jsonl`. A torn last line waits for its rest; damaged lines are counted and left out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0
        self._place = 0
        self._size = 0

    def read(self) -> list[Event]:
        """The next events, those of about `BURST_BYTES`; none at the end of the file, for now or for ever.

        Left out are, of many steps, those that are neither extreme nor non-finite nor the last (damage in these goes
        unnoticed), and the machine's older samples.
        """
        found: list[Event] = []
        while not found and (lines := self._lines()):
            left_out = self._dispensable(lines)
            for index, line in enumerate(lines):
                if index in left_out or not line:
                    continue
                event = decode(line)
                if event is None:
                    self.damaged += 1
                else:
                    found.append(event)
        return found

    def _dispensable(self, lines: Sequence[bytes]) -> set[int]:
        samples = [index for index, line in enumerate(lines) if line.startswith(_SAMPLE_START)]
        at_end = self._size - self._place < BURST_BYTES
        left_out = set(samples[: -SAMPLES_KEPT if at_end else -1])
        steps = [index for index, line in enumerate(lines) if line.startswith(_STEP_START)]
        if len(steps) > STEPS_KEPT:
            left_out |= set(steps).difference(_telling(lines, steps))
        return left_out

    def _lines(self) -> list[bytes]:
        """The next whole lines. Read, not mapped: a mapped file that somebody cuts kills the process."""
        size = BURST_BYTES
        try:
            with self.path.open("rb", buffering=0) as stream:
                self._size = stream.seek(0, 2)
                while True:
                    stream.seek(self._place)
                    data = stream.read(size)
                    end = data.rfind(b"\n") + 1
                    if end or len(data) < size or size >= LONGEST_LINE:
                        break
                    size *= 4
        except OSError:
            return []
        if not end and len(data) >= LONGEST_LINE:  # no line of ours: skip it, piece by piece
            self._place += len(data)
            return [b"?"]
        self._place += end
        return data[: end - 1].split(b"\n") if end else []


def _telling(lines: Sequence[bytes], steps: Sequence[int]) -> set[int]:
    """Which of the step lines to read in full: lowest and highest loss and norm of each group of neighbours, a few
    evenly spaced ones, every one that is not finite or looks damaged, and the last."""
    size = -(-len(steps) // GROUPS)
    telling = {steps[-1], *steps[:: max(1, size // EVENLY)]}
    losses: list[tuple[float, int]] = []
    norms: list[tuple[float, int]] = []
    match = _STEP.match
    for start in range(0, len(steps), size):
        losses.clear()
        norms.clear()
        for index in steps[start : start + size]:
            found = match(lines[index])
            try:
                loss, norm = found.groups()  # type: ignore[union-attr]  # no match is an error like any other
                losses.append((float(loss), index))
                if norm != b"null":
                    norms.append((float(norm), index))
            except (AttributeError, ValueError):  # "NaN" stands in quotes, so it is no number here
                telling.add(index)
        for values in (losses, norms):
            if values:
                telling.add(min(values)[1])
                telling.add(max(values)[1])
    return telling
