"""Events as the lines of the human log (`training.log`, the headless printer, the app's log pane).

Prefixes as in the baseline workflow: `[CONFIG]` … `[CRITERION]`, a block per epoch, `[DIAGNOSTIC]`,
`[AUTO-LOAD]`, `[ACTIONS]`, `[RESTART]`, `Training complete`. Everything here is pure. Text from outside
(names, exceptions, prints) passes `clean_text`; numbers that are not finite are written as such.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tui_trainer.engine.events import (
    CheckpointFailed,
    CheckpointSaved,
    CommandHandled,
    DiagnosticRaised,
    EpochFinished,
    FixApplied,
    LogLine,
    MemoryShortage,
    NonFiniteSkipped,
    Resumed,
    RunFinished,
    RunStarted,
    Validated,
    from_json_number,
)
from tui_trainer.session.wording import (
    clean_text,
    format_bytes,
    format_duration,
    format_metric,
    format_number,
    format_rate,
    metric_label,
)

if TYPE_CHECKING:
    from tui_trainer.engine.events import Event

REFUSED = 2  # exit code of bad usage, config, data or model: nothing was trained
SECTIONS = ("CONFIG", "REPRODUCIBILITY", "DATA", "MODEL", "OPTIMIZER", "SCHEDULER", "CRITERION")


def lines_for(event: Event, *, epochs: int | None = None, repeated: bool = False) -> list[str]:
    """The log lines of one event; none for steps, samples and rows. `epochs`: how many are planned.

    `repeated`: a diagnostic whose id was shown before; its first line is enough then.
    """
    formatter = _FORMATTERS.get(type(event))
    lines = formatter(event, epochs) if formatter else []
    return lines[:1] if repeated and isinstance(event, DiagnosticRaised) else lines


def _run_started(event: RunStarted, _epochs: int | None) -> list[str]:
    known = [section for section in SECTIONS if section in event.facts]
    other = [section for section in event.facts if section not in SECTIONS]
    return [
        f"[{clean_text(section, limit=40)}] {clean_text(line)}"
        for section in (*known, *other)
        for line in event.facts[section]
    ]


def _resumed(event: Resumed, _epochs: int | None) -> list[str]:
    place = f"epoch {event.epoch}, step {event.step}, attempt {event.attempt}"
    return [f"[RESTART] Training from {clean_text(event.checkpoint)} ({place})"]


def _group(metrics: Mapping[str, float], prefix: str) -> str:
    chosen = [name for name in metrics if name.startswith(prefix)]
    return " | ".join(f"{metric_label(name)}: {format_metric(name, metrics[name])}" for name in chosen)


def _epoch_finished(event: EpochFinished, epochs: int | None) -> list[str]:
    lines = [f"[EPOCH {event.epoch}/{epochs}]" if epochs else f"[EPOCH {event.epoch}]"]
    rest = {name: value for name, value in event.metrics.items() if not name.startswith(("train_", "val_"))}
    groups = (_group(event.metrics, "train_"), _group(event.metrics, "val_"), _group(rest, ""))
    lines.extend(f"  {text}" for text in groups if text)
    norm = "" if event.grad_norm is None else f" | Grad norm: {format_number(event.grad_norm)}"
    lines.append(f"  LR: {shown_rate(event)}{norm}")
    util = "n/a" if event.gpu_util is None else f"{event.gpu_util:.0f}%"
    wait = (
        f"{event.data_wait * 100:.0f}%" if math.isfinite(event.data_wait) else format_number(event.data_wait)
    )
    took = format_duration(event.epoch_time)
    speed = format_number(event.samples_per_second)
    lines.append(f"  GPU Util: {util} | Time: {took} | Data wait: {wait} | Samples/s: {speed}")
    if event.checkpoints:
        lines.append(f"  Checkpoint: {', '.join(clean_text(name) for name in event.checkpoints)}")
    if event.epochs_without_improvement > 0 and event.best_epoch > 0:
        since = event.epochs_without_improvement
        lines.append(
            f"  No improvement for {since} epoch{'s' if since > 1 else ''} "
            f"(best: epoch {event.best_epoch}, {format_number(event.best_value)})"
        )
    return lines


def shown_rate(event: EpochFinished) -> str:
    """The epoch's learning rate, and whether it had come down or was set by somebody: `1.00e-04 (reduced)`."""
    how = " (set)" if event.lr_set else " (reduced)" if event.lr_reduced else ""
    return f"{format_rate(event.learning_rate)}{how}"


def epoch_line(event: EpochFinished, *, epochs: int | None = None) -> str:
    """An epoch in one short line, for places where five are too many."""
    head = f"[EPOCH {event.epoch}/{epochs}]" if epochs else f"[EPOCH {event.epoch}]"
    facts = []
    for name, word in (("train_loss", "loss"), ("val_loss", "val")):
        if name in event.metrics:
            facts.append(f"{word} {format_metric(name, event.metrics[name])}")
    facts += [
        f"{clean_text(name, limit=60)} {format_metric(name, value)}"
        for name, value in event.metrics.items()
        if not name.startswith("train_") and name != "val_loss"
    ]
    if event.lr_reduced or event.lr_set:
        facts.append(f"LR {shown_rate(event)}")
    if event.is_best:
        facts.append("best")
    return f"{head} {', '.join(facts)}"


def _validated(event: Validated, _epochs: int | None) -> list[str]:
    return [f"[VALIDATION] epoch {event.epoch}, step {event.step}: {_group(event.metrics, '')}"]


def _non_finite(event: NonFiniteSkipped, _epochs: int | None) -> list[str]:
    where = (
        f"; first non-finite gradient: {clean_text(event.parameter, limit=200)}" if event.parameter else ""
    )
    row = f" ({event.consecutive} in a row)" if event.consecutive > 1 else ""
    place = f"epoch {event.epoch}, step {event.step}"
    verdict = f"batch skipped, weights unchanged{row}"
    lines = [f"[NON-FINITE] {place}: loss {format_number(event.loss)}{where}; {verdict}"]
    if event.batch_rows:
        shown = ", ".join(str(index) for index in event.batch_rows[:16])
        more = f" … ({len(event.batch_rows)} in all)" if len(event.batch_rows) > 16 else ""
        lines.append(f"  Training rows in the batch: {shown}{more}")
    return lines


def _memory_shortage(event: MemoryShortage, _epochs: int | None) -> list[str]:
    asked = f"{clean_text(event.requested, limit=40)} asked for" if event.requested else ""
    held = ""
    if event.allocated is not None and event.reserved is not None and event.total is not None:
        held = (
            f"tensors hold {format_bytes(event.allocated)}, PyTorch {format_bytes(event.reserved)} of "
            f"{format_bytes(event.total)}"
        )
    figures = f" ({'; '.join(filter(None, (asked, held)))})" if asked or held else ""
    following = "fewer cannot be taken"
    if event.next_micro_batch is not None:
        following = f"the same batch again, {event.next_micro_batch} at a time and with the same effect"
    where = f"epoch {event.epoch}, step {event.step}, {event.phase} on {clean_text(event.device, limit=40)}"
    return [f"[MEMORY] {where}: not enough for {event.micro_batch} samples at a time{figures}; {following}"]


def _checkpoint_saved(event: CheckpointSaved, _epochs: int | None) -> list[str]:
    files = ", ".join(clean_text(name) for name in event.files)
    cost = f"{format_bytes(event.size_bytes)}, {format_duration(event.seconds)}"
    return [f"[CHECKPOINT] saved: {files} (epoch {event.epoch}, step {event.step}, {cost})"]


def _checkpoint_failed(event: CheckpointFailed, _epochs: int | None) -> list[str]:
    files = ", ".join(clean_text(name) for name in event.files)
    place = f"epoch {event.epoch}, step {event.step}"
    reason = clean_text(event.reason).rstrip(".")
    return [f"[CHECKPOINT] NOT saved: {files} ({place}): {reason}. What was saved before is still there."]


def flatten(value: Mapping[Any, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """A nested mapping as ("a.b", value) pairs, as a config diff is shown."""
    pairs: list[tuple[str, Any]] = []
    for key, item in value.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(item, Mapping) and item:
            pairs.extend(flatten(item, path))
        else:
            pairs.append((path, item))
    return pairs


def fix_line(fix: Mapping[str, Any]) -> str:
    """One fix in a line: its title, the config keys it changes, and what it then does."""
    title = clean_text(fix.get("title") or fix.get("id") or "fix")
    diff = fix.get("config_diff")
    changes = "; ".join(_change(*item) for item in diff.items()) if isinstance(diff, Mapping) else ""
    return f"{title} ({changes})" if changes else title


def _change(key: Any, change: Any) -> str:
    """One key of a config diff: its old and new value, or only the new one."""
    name = clean_text(key, limit=80)
    if isinstance(change, Mapping) and change.keys() == {"from", "to"}:
        return f"{name}: {clean_text(change['from'], limit=80)} → {clean_text(change['to'], limit=80)}"
    return "; ".join(
        f"{name}{path and '.' + path} = {clean_text(value)}" for path, value in flatten({"": change})
    )


def _diagnostic(event: DiagnosticRaised, _epochs: int | None) -> list[str]:
    place = (
        "before training"
        if event.epoch == 0 and event.step == 0
        else f"epoch {event.epoch}, step {event.step}"
    )
    code = clean_text(event.code, limit=80)
    lines = [f"[DIAGNOSTIC] {event.severity} {code} ({place}): {clean_text(event.message)}"]
    for path, value in flatten(event.evidence)[:12]:
        shown = format_number(value, 6) if isinstance(value, float) else clean_text(value, limit=160)
        lines.append(f"  {clean_text(path, limit=80)}: {shown}")
    lines.append(f"[AUTO-LOAD] {clean_text(event.playbook) if event.playbook else f'diagnostics/{code}.md'}")
    if event.fixes:
        lines.append("[ACTIONS]")
        for fix in event.fixes:
            done = " [applied]" if event.applied is not None and fix.get("id") == event.applied else ""
            lines.append(f"  - {fix_line(fix)}{done}")
    return lines


def _fix_applied(event: FixApplied, _epochs: int | None) -> list[str]:
    what = "taken back" if event.undone else "applied"
    who = "automatically " if event.automatic else ""
    title = clean_text(event.title, limit=200)
    lines = [f"[RESTART] fix {who}{what} for {clean_text(event.diagnostic, limit=80)}: {title}"]
    lines += [f"  {_change(key, change)}" for key, change in event.config_diff.items()]
    lost = event.step - event.to_step
    back = f", {lost:,} step{'' if lost == 1 else 's'} back" if lost else ""
    lines.append(f"  goes on from {clean_text(event.checkpoint, limit=80)} (step {event.to_step:,}{back})")
    return lines


def _command(event: CommandHandled, _epochs: int | None) -> list[str]:
    verdict = "" if event.accepted else " refused"
    place = f"epoch {event.epoch}, step {event.step}"
    return [
        f"[COMMAND] {clean_text(event.command, limit=80)}{verdict} ({place}): {clean_text(event.message)}"
    ]


def _log_line(event: LogLine, _epochs: int | None) -> list[str]:
    prefix = {"warning": "[WARNING] ", "error": "[ERROR] "}.get(event.level, "")
    return [
        f"{prefix}{line.rstrip()}" for line in clean_text(event.text, lines=True, limit=20_000).split("\n")
    ]


def _run_finished(event: RunFinished, epochs: int | None) -> list[str]:
    summary = event.summary
    trained = summary.get("epochs")
    took = summary.get("duration_seconds")
    facts = []
    if isinstance(trained, int):
        facts.append(f"{trained}/{epochs} epochs" if epochs else f"{trained} epochs")
    if isinstance(took, (int, float)):
        facts.append(format_duration(took))
    tail = f" ({', '.join(facts)})" if facts else ""
    message = clean_text(event.message)
    said = f": {message}" if message else ""
    best = _best_line(summary)
    match event.status:
        case "completed":
            return [*best, f"Training complete{tail}"]
        case "early_stopped":
            reason = message[:1].lower() + message[1:] or "no further improvement"
            return [f"Early stopping: {reason}", *best, f"Training complete{tail}"]
        case "failed" if summary.get("exit_code") == REFUSED or summary.get("steps") == 0:
            return [f"Training could not begin{said}"]
        case "failed" | "died":
            return [*best, f"Training failed{said}{tail}"]
        case status:
            return [*best, f"Training {status}{said}{tail}"]


def _best_line(summary: Mapping[str, Any]) -> list[str]:
    epoch, loss = summary.get("best_epoch"), from_json_number(summary.get("best_val_loss"))
    if not isinstance(epoch, int) or epoch < 1:
        return []
    value = f" (best val_loss {format_number(float(loss))})" if isinstance(loss, (int, float)) else ""
    return [f"Best epoch: {epoch}{value}"]


_FORMATTERS: dict[type[Event], Any] = {
    RunStarted: _run_started,
    Resumed: _resumed,
    EpochFinished: _epoch_finished,
    Validated: _validated,
    NonFiniteSkipped: _non_finite,
    MemoryShortage: _memory_shortage,
    CheckpointSaved: _checkpoint_saved,
    CheckpointFailed: _checkpoint_failed,
    DiagnosticRaised: _diagnostic,
    FixApplied: _fix_applied,
    CommandHandled: _command,
    LogLine: _log_line,
    RunFinished: _run_finished,
}
