"""`mltrainer-tui verify RUN`: train a run again in a fresh process, and say whether the same comes out."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tui_trainer.data.child_process import Lifeline
from tui_trainer.phases.reproducing.course import CannotVerify, Course, load_state, place_of, read_course
from tui_trainer.phases.reproducing.differences import (
    ATOL,
    RTOL,
    LogComparison,
    WeightComparison,
    compare_logs,
    compare_weights,
    read_metric_log,
    worst,
)
from tui_trainer.phases.reproducing.retraining import PLAN, RESULT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tui_trainer.phases.reproducing.changes import Change

Verdict = Literal["identical", "within_tolerance", "different", "cannot_be_verified"]

_WORDS: dict[Verdict, str] = {
    "identical": "identical",
    "within_tolerance": "within tolerance",
    "different": "DIFFERENT",
    "cannot_be_verified": "cannot be verified",
}


@dataclass(frozen=True)
class Verification:
    """What came of it. `reason`: why a run cannot be verified. `log`, `weights`: None and empty where nothing was
    trained. `remarks`: what a reader should know beside."""

    folder: Path
    name: str
    verdict: Verdict
    reason: str = ""
    epochs: int = 0
    steps: int = 0
    seconds: float = 0.0
    log: LogComparison | None = None
    weights: tuple[WeightComparison, ...] = ()
    changes: tuple[Change, ...] = ()
    replayed: tuple[str, ...] = ()
    remarks: tuple[str, ...] = field(default=())

    @property
    def exit_code(self) -> int:
        """0 where the run came out the same, be it within tolerance."""
        return 0 if self.verdict in ("identical", "within_tolerance") else 1

    @property
    def first_difference(self) -> WeightComparison | None:
        """The earliest checkpoint whose weights differ."""
        differing = [item for item in self.weights if item.likeness != "identical"]
        return min(differing, key=lambda item: (item.step, item.file), default=None)

    def to_json(self) -> dict[str, Any]:
        """One object; non-finite numbers are words, as in every file of ours."""
        from tui_trainer.engine.events import json_safe

        content = {
            "run_dir": str(self.folder),
            "name": self.name,
            "verdict": self.verdict,
            "reason": self.reason,
            "epochs": self.epochs,
            "steps": self.steps,
            "duration_seconds": self.seconds,
            "tolerance": {"rtol": RTOL, "atol": ATOL},
            "metric_log": None if self.log is None else self.log.to_json(),
            "weights": [item.to_json() for item in self.weights],
            "changed": [item.to_json() for item in self.changes],
            "replayed": list(self.replayed),
            "remarks": list(self.remarks),
            "exit_code": self.exit_code,
        }
        safe: dict[str, Any] = json_safe(content)
        return safe


def main(arguments: Sequence[str]) -> int:
    """`mltrainer-tui verify`; returns the exit code. Raises `UserError`."""
    parser = argparse.ArgumentParser(
        prog="mltrainer-tui verify",
        description="Train a run again from its own files, in a fresh process and a temporary folder, and compare metric "
        "log and weights. Nothing in the run's folder changes. Exit code 0: the same comes out; 1: it does not.",
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    found = verify(options.folder)
    print(json.dumps(found.to_json(), allow_nan=False) if options.json else "\n".join(lines_of(found)))
    return found.exit_code


def _end(number: int, _frame: object) -> None:
    """So that what is under way is cleaned up."""
    sys.exit(128 + number)


def verify(folder: Path) -> Verification:
    """Train the run in `folder` again and compare.

    Raises `RunFolderError` where there is no run, or where it goes on.
    """
    from tui_trainer.phases.reproducing.changes import changes_since

    folder = folder.resolve()
    result: dict[str, Any] = {}
    try:
        course = read_course(folder)
    except CannotVerify as error:
        return Verification(folder, folder.name, "cannot_be_verified", str(error))
    name = str(course.record.get("name", folder.name))
    out = Path(tempfile.mkdtemp(prefix="mltrainer-verify-"))
    try:
        result = _retrain(course, out)
        return _compared(course, out, result, tuple(changes_since(course, result)))
    except CannotVerify as error:
        changes = tuple(changes_since(course, {}))
        return Verification(
            folder, name, "cannot_be_verified", str(error), changes=changes, replayed=course.replayed
        )
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _retrain(course: Course, out: Path) -> dict[str, Any]:
    """Train the run's course in a fresh process; its result. Raises `CannotVerify`."""
    plan = {
        "config_folder": str(course.config_folder),
        "threads": course.threads[-1] if course.threads else None,
        "stages": [stage.to_json() for stage in course.stages],
    }
    (out / PLAN).write_text(json.dumps(plan), encoding="utf-8")
    lifeline = Lifeline()
    process = subprocess.Popen(
        [sys.executable, "-c", _BOOT, str(out), str(lifeline.end.fileno()), *sys.path],
        stdin=subprocess.DEVNULL,
        stdout=2,
        pass_fds=(lifeline.end.fileno(),),
    )
    try:
        code = process.wait()
    finally:
        lifeline.cut()
        if process.poll() is None:  # we were interrupted
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
    try:
        result: dict[str, Any] = json.loads((out / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CannotVerify(
            f"the process that trained it again ended without a result (exit code {code})."
        ) from error
    if "error" in result:
        raise CannotVerify(f"it cannot be trained again: {result['error']}")
    return result


# The import path travels along, so that the fresh process finds what this one does.
_BOOT = (
    "import sys; from pathlib import Path; _, out, lifeline, *sys.path[:] = sys.argv; del sys.argv[1:]; "
    "from tui_trainer.phases.reproducing.retraining import main; sys.exit(main(Path(out), int(lifeline)))"
)


def _compared(
    course: Course, out: Path, result: Mapping[str, Any], changes: tuple[Change, ...]
) -> Verification:
    """Raises `CannotVerify` where the retraining did not take the run's course, or its files cannot be read."""
    if result["not_reached"] or result["refused"]:
        missed = [
            f"{item['command'].replace('_', ' ')} at step {item['step']}" for item in result["not_reached"]
        ]
        raise CannotVerify(
            f"what was done to the run could not be done again: {'; '.join([*result['refused'], *missed])}."
        )
    if result["not_saved"]:
        raise CannotVerify(f"the retrained state could not be saved: {result['not_saved']}.")
    place = place_of(course.state)
    until = place.epoch if place.complete else place.epoch - 1
    try:
        was = read_metric_log(course.folder / "epoch_metrics.csv")
    except (OSError, ValueError) as error:
        raise CannotVerify(f"its epoch_metrics.csv cannot be read ({error}).") from error
    log = compare_logs(was, result["rows"], until=until)
    weights = tuple(_weights(course, out))
    return Verification(
        folder=course.folder,
        name=str(course.record.get("name", course.folder.name)),
        verdict=worst([log.likeness, *(item.likeness for item in weights)]),
        epochs=log.epochs,
        steps=result["step"],
        seconds=result["seconds"],
        log=log,
        weights=weights,
        changes=changes,
        replayed=course.replayed,
        remarks=tuple(
            _remarks(course, result, rows_left=len(was) - log.epochs if log.epochs <= until else 0)
        ),
    )


def _weights(course: Course, out: Path) -> list[WeightComparison]:
    """Each checkpoint that both have, the final one in any case. Raises `CannotVerify`."""
    from tui_trainer.engine.checkpoints import load_checkpoint

    here, there = course.folder / "checkpoints", out / "checkpoints"
    names = sorted(path.name for path in there.glob("*.pt") if (here / path.name).is_file())
    found = []
    for name in dict.fromkeys([*names, course.final]):
        was = course.state if name == course.final else load_state(course.folder, name)
        if not (there / name).is_file():
            note = "it did not come about again"
            found.append(
                WeightComparison(name, int(was["epoch"]), int(was["step"]), "different", 0, note=note)
            )
            continue
        found.append(compare_weights(name, was, load_checkpoint(there / name)))
    return sorted(found, key=lambda item: (item.step, item.file))


def _remarks(course: Course, result: Mapping[str, Any], *, rows_left: int) -> list[str]:
    remarks = []
    place = place_of(course.state)
    if not place.complete:
        remarks.append(
            f"The run ended inside epoch {place.epoch}; it was trained again up to step {place.step:,}."
        )
    if rows_left > 0:
        remarks.append(
            f"epoch_metrics.csv has {rows_left} more rows, of epochs behind its last checkpoint: not compared."
        )
    rolled_back = sum(
        item.get("command") == "roll_back"
        for attempt in course.record["attempts"]
        if isinstance(attempt, dict)
        for item in attempt.get("interventions") or ()
        if isinstance(item, dict)
    )
    if rolled_back:
        often = "once" if rolled_back == 1 else f"{rolled_back} times"
        remarks.append(f"Rolled back {often}: what that threw away is not trained again.")
    memory = (course.state.get("memory") or {}).get("training") or {}
    if memory.get("rows") != result["pieces"]:
        remarks.append(
            "Memory ran out in one of the two, so batches were taken in pieces of another size: last digits may differ."
        )
    if len(set(course.threads)) > 1:
        numbers = ", ".join(map(str, course.threads))
        remarks.append(
            f"The run went on with other numbers of CPU threads ({numbers}); last digits may differ."
        )
    if not course.threads:
        remarks.append("The run did not record its number of CPU threads, which decides last digits.")
    if not course.config.deterministic:
        remarks.append("The config has deterministic: false; small differences are to be expected.")
    return remarks


def lines_of(found: Verification) -> list[str]:
    """For people: the verdict, then what was compared, then what has changed. ASCII but for names."""
    said = _WORDS[found.verdict]
    if found.log is None:
        return [f"{said}: {found.name}: {found.reason}", *_changed(found)]
    tail = ""
    if found.verdict in ("identical", "within_tolerance") and found.changes:
        tail = f", although {found.changes[0]}"
        tail += f" (and {len(found.changes) - 1} more, see below)" if len(found.changes) > 1 else ""
    first = f"{said}: {found.name}, {found.epochs} epochs ({found.steps:,} steps) trained again"
    lines = [f"{first} in {found.seconds:.1f} s{tail}", _log_line(found.log)]
    lines += _weight_lines(found)
    if found.verdict == "within_tolerance":
        lines.append(f"  tolerance    {RTOL:g} of the value + {ATOL:g}")
    lines += [f"  done again   {item}" for item in found.replayed]
    lines += _changed(found)
    return lines + [f"  note         {item}" for item in found.remarks]


def _log_line(log: LogComparison) -> str:
    if not log.epochs and log.likeness == "identical":
        return "  metric log   none: no epoch was finished"
    if log.likeness == "identical":
        return f"  metric log   {log.epochs} rows of {log.columns} columns, equal to the last digit"
    pairs = list((log.differing or {}).items())[:3]
    cells = ["{} {} then, {} now".format(name, *_told_apart(was, now)) for name, (was, now) in pairs]
    more = len(log.differing or {}) - len(cells)
    text = f"  metric log   first differs in epoch {log.first_epoch}"
    text += f": {'; '.join(cells)}" if cells else ""
    text += f"; and {more} more columns" if more > 0 else ""
    text += f"; largest difference {_size(log.largest)}" if log.largest else ""
    return text + (f" ({log.note})" if log.note else "")


def _told_apart(was: Any, now: Any) -> tuple[str, str]:
    """Two values with as many digits as it takes to tell them apart."""
    try:
        for digits in (4, 8, 17):
            a, b = f"{float(was):.{digits}g}", f"{float(now):.{digits}g}"
            if a != b:
                return a, b
    except (TypeError, ValueError):
        pass
    return str(was), str(now)


def _weight_lines(found: Verification) -> list[str]:
    names = ", ".join(item.file for item in found.weights)
    first = found.first_difference
    if first is None:
        return [f"  weights      equal bit by bit: {names}"]
    same = [item.file for item in found.weights if item.likeness == "identical"]
    lines = [f"  weights      equal bit by bit: {', '.join(same)}"] if same else []
    if first.first_tensor is None:
        lines.append(f"  weights      {first.file}: {first.note}")
    else:
        lines.append(
            f"  weights      first differ in {first.file} (epoch {first.epoch}, step {first.step:,}): tensor "
            f"{first.first_tensor}, by up to {_size(first.first_largest)}"
            + (f" ({first.note})" if first.note else "")
        )
    last = found.weights[-1]
    if last is not first and last.largest_tensor is not None:
        lines.append(
            f"               at the end, {last.file}: up to {_size(last.largest)} in {last.largest_tensor}"
        )
    elif last is first and last.largest_tensor not in (None, last.first_tensor):
        lines.append(f"               largest difference {_size(last.largest)} in {last.largest_tensor}")
    return lines


def _size(value: float | None) -> str:
    return "no measure" if value is None or not math.isfinite(value) else f"{value:.3g}"


def _changed(found: Verification) -> list[str]:
    from tui_trainer.phases.reproducing.changes import ROOMS

    lines = []
    for room in ROOMS:
        items = [str(item) for item in found.changes if item.room == room]
        if items:
            lines += [
                f"  {title:<12} {item}"
                for title, item in zip([room, *[""] * len(items)], items, strict=False)
            ]
        elif found.log is not None:
            lines.append(f"  {room:<12} as it was")
    return lines
