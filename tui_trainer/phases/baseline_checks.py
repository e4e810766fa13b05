"""The gate at the end of phase 2, `post_baseline`: its items, and what each makes of a run's files."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from tui_trainer.phases.gate import Finding, Item
from tui_trainer.session.wording import clean_text, format_duration, format_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tui_trainer.phases.examination import Recheck
    from tui_trainer.reports.run_files import RunFiles

GATE, TITLE = "post_baseline", "After the baseline"
SHORT_EPOCH_S = 10.0  # epochs below it say nothing about a GPU's load or steadiness
GOOD_GPU, FAIR_GPU = 60.0, 55.0  # percent
MOST_WAIT, STEADY, SMALL_FALL = 0.4, 0.2, 0.2  # shares
_RUN = ("run", "config")

ITEMS = (
    Item("completed", "The training came to its end", "Read the message; phase 3 says what to change.", rests_on=_RUN),
    Item("loss_fell", "The training loss fell", "Phase 3 looks for the reason.", rests_on=_RUN),
    Item("finite", "Every loss was finite", "See diagnostics/nan_loss.md, and phase 3.", rests_on=_RUN),
    Item(
        "utilization", "The device was busy",
        "Larger data.batch_size, more data.num_workers; or waive it with a note on why it is so.",
        rests_on=_RUN,
    ),
    Item(
        "steady", "Epochs take the same time",
        "Something else used the machine, or the data comes from a slow place: see the profile in the report.",
        rests_on=_RUN,
    ),
    Item(
        "checkpoints", "Every checkpoint loads and reproduces its metrics",
        "The data or the code changed since, or a file is damaged: mltrainer-tui verify RUN tells more.",
        rests_on=_RUN,
    ),
    Item("records", "Report, log and metrics are there", "See what could not be saved in summary.json.", rests_on=_RUN),
    Item(
        "decision", "What to do with this baseline", 'Say so: --sign decision="…", or gates.sign in the config.',
        signed=True, rests_on=("run", "targets"),
    ),
)  # fmt: skip


def completed(files: RunFiles) -> Finding:
    """Whether the run ended by itself or by its user."""
    status = str(files.summary.get("status", "unknown"))
    done = status in ("completed", "early_stopped", "stopped")
    said = clean_text(files.summary.get("message", ""), limit=200)
    return Finding(
        "passed" if done else "failed", f"{status}: {said}" if said else status, {"status": status}
    )


def loss_fell(files: RunFiles) -> Finding:
    """From the first epoch's training loss to the best after it."""
    values = [value for _, value in files.column("train_loss") if math.isfinite(value)]
    if len(values) < 2:
        return Finding("failed", "There are not two epochs to compare")
    first, best = values[0], min(values[1:])
    details = {"first": first, "best": best}
    words = f"from {format_number(first)} to {format_number(best)}"
    if best >= first:
        return Finding("failed", f"It never fell below its first epoch's {format_number(first)}", details)
    if first <= 0:
        return Finding("passed", words, details)
    fall = (first - best) / first
    remark = f"; less than {SMALL_FALL:.0%} is little" if fall < SMALL_FALL else ""
    return Finding("passed", f"{words}, by {fall:.0%}{remark}", details | {"fall": fall})


def finite(files: RunFiles) -> Finding:
    """The losses of all epochs that count."""
    bad = [
        f"{name} in epoch {epoch:.0f}"
        for name in ("train_loss", "val_loss")
        for epoch, value in files.column(name)
        if not math.isfinite(value)
    ]
    if bad:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        return Finding("failed", f"Not finite: {', '.join(bad[:5])}{more}", {"count": len(bad)})
    count = len(files.epochs)
    return Finding(
        "passed" if count else "failed", f"{count} epochs, all finite" if count else "No epoch was finished"
    )


def utilization(files: RunFiles) -> Finding:
    """The GPU's mean load; without one, how long the training waited for data."""
    if _short(files):
        return Finding("not_applicable", f"Epochs take under {SHORT_EPOCH_S:.0f} s")
    load, wait = files.number("gpu_util"), files.number("data_wait")
    if load is not None:
        words = f"GPU {load:.0f} % (more than {GOOD_GPU:.0f} % wanted)"
        if FAIR_GPU <= load <= GOOD_GPU:
            words += ": near enough with a note"
        return Finding("passed" if load > GOOD_GPU else "failed", words, {"gpu_util": load})
    if wait is None:
        return Finding("not_applicable", "No GPU, and the wait for data was not measured")
    words = f"No GPU; {wait:.0%} of the time was spent waiting for data (less than {MOST_WAIT:.0%} wanted)"
    return Finding("passed" if wait < MOST_WAIT else "failed", words, {"data_wait": wait})


def steady(files: RunFiles) -> Finding:
    """Epoch times against their median, the first one left out."""
    times = [value for _, value in files.column("epoch_time")][1:]
    if _short(files) or len(times) < 2:
        return Finding("not_applicable", f"Epochs take under {SHORT_EPOCH_S:.0f} s, or are too few")
    middle = statistics.median(times)
    worst = max(abs(value - middle) / middle for value in times)
    words = f"{format_duration(middle)} an epoch, at most {worst:.0%} off (±{STEADY:.0%} wanted)"
    return Finding("passed" if worst <= STEADY else "failed", words, {"median": middle, "worst": worst})


def _short(files: RunFiles) -> bool:
    times = [value for _, value in files.column("epoch_time")]
    return not times or statistics.median(times[1:] or times) < SHORT_EPOCH_S


def checkpoints(files: RunFiles, rechecks: Sequence[Recheck]) -> Finding:
    """Whether the files that the config asks for are there, and what looking at each again gave."""
    wanted = {
        "best_model.pt": files.setting("checkpoint.save_best"),
        "last_model.pt": files.setting("checkpoint.save_last"),
    }
    there = {item.file for item in rechecks}
    missing = [name for name, asked in wanted.items() if asked is not False and name not in there]
    broken = [item for item in rechecks if not item.ok]
    details = {
        item.file: {"ok": item.ok, "why": item.why, "recorded": item.recorded, "measured": item.measured}
        for item in rechecks
    }
    if missing:
        return Finding("failed", f"{', '.join(missing)} is not there", details)
    if broken:
        return Finding("failed", f"{broken[0].file}: {clean_text(broken[0].why, limit=300)}", details)
    return Finding("passed", f"{len(rechecks)} files load and reproduce their validation metrics", details)


def records(files: RunFiles) -> Finding:
    """The files that the phase leaves."""
    names = ("baseline_results.md", "training.log", "metrics.json", "epoch_metrics.csv")
    missing = [name for name in names if not (files.folder / name).is_file()]
    if missing:
        return Finding("failed", f"{', '.join(missing)} is not there", {"missing": missing})
    return Finding("passed", ", ".join(names))


FROM_FILES: Mapping[str, Callable[[RunFiles], Finding]] = {
    "completed": completed,
    "loss_fell": loss_fell,
    "finite": finite,
    "utilization": utilization,
    "steady": steady,
    "records": records,
}
"""The checks that need nothing but the run's files."""
