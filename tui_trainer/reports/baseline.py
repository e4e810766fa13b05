"""`baseline_results.md`: what a baseline run did, from its files, for the person who has to decide on it."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tui_trainer.engine.events import from_json_number
from tui_trainer.reports.decision import decide
from tui_trainer.reports.plots import text_plot, write_learning_curves
from tui_trainer.reports.run_files import RunFiles, read_run
from tui_trainer.session.log_lines import fix_line
from tui_trainer.session.wording import (
    clean_text,
    format_bytes,
    format_duration,
    format_metric,
    format_number,
    format_rate,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

REPORT = "baseline_results.md"
CURVES = "learning_curves.png"


def write_baseline_results(folder: Path, *, redraw: bool = True) -> Path:
    """Write the report and its picture into the run folder; returns the report's path. `redraw` False: a picture that is
    there stays.

    All numbers come from the run's files. Raises OSError when the report cannot be written; a picture that
    cannot be is said so in the report.
    """
    files = read_run(folder)
    picture = None if not redraw and (folder / CURVES).exists() else _write_picture(files)
    sections = [
        _head(files),
        _configuration(files),
        _metrics(files),
        _profile(files),
        _checkpoints(files),
        _curves(files, picture),
        _diagnostics(files),
        *gates_sections(files),
        _decision(files),
    ]
    path = folder / REPORT
    temporary = folder / f".{REPORT}.tmp"
    temporary.write_text("\n".join(line for section in sections for line in (*section, "")), encoding="utf-8")
    os.replace(temporary, path)  # noqa: PTH105 (says that it replaces)
    return path


def _head(files: RunFiles) -> list[str]:
    last = int(files.epochs[-1]["epoch"] or 0) if files.epochs else 0
    planned = files.setting("training.epochs")
    status = str(files.summary.get("status", "unknown"))
    ended = {
        "completed": "completed",
        "early_stopped": "early stopped",
        "stopped": "stopped by the user",
        "interrupted": "interrupted",
    }.get(status, status)
    lines = [
        "# Baseline Training Results",
        "",
        f"- **Run**: {_text(files.run.get('name') or files.setting('name') or files.folder.name)}",
        f"- **Date**: {_text(_date(files))}",
        f"- **Duration**: {format_duration(files.number('duration_seconds'))}",
        f"- **Final epoch**: {last}/{planned if planned is not None else '?'} ({_text(ended)})",
    ]
    attempts = files.run.get("attempts")
    count = len(attempts) if isinstance(attempts, list) else attempts
    if isinstance(count, int) and count > 1:
        lines.append(f"- **Attempts**: {count}")
    if files.missing:
        lines += ["", f"Missing or damaged, and therefore not reported: {', '.join(files.missing)}."]
    return lines


def _date(files: RunFiles) -> str:
    for source in (files.summary, files.run):
        for key in ("finished_at", "ended_at", "started_at", "created_at", "time"):
            if isinstance(source.get(key), str):
                return str(source[key])
    for name in ("summary.json", "epoch_metrics.csv"):
        path = files.folder / name
        if path.exists():
            moment = datetime.fromtimestamp(path.stat().st_mtime).astimezone()
            return moment.isoformat(timespec="seconds")
    return "unknown"


def _configuration(files: RunFiles) -> list[str]:
    rows = [
        ("Data", _target(files, "data")),
        ("Model", _target(files, "model")),
        ("Loss", _target(files, "loss")),
        ("Optimizer", _target(files, "optimizer")),
        ("Learning rate", _rate(files.setting("optimizer.learning_rate"))),
        ("Weight decay", files.setting("optimizer.weight_decay")),
        ("Scheduler", _target(files, "scheduler")),
        ("Batch size", files.setting("data.batch_size")),
        ("Epochs", files.setting("training.epochs")),
        ("Precision", files.setting("training.precision")),
        ("Seed", files.setting("seed")),
        ("Device", files.summary.get("device") or files.run.get("device") or files.setting("device")),
    ]
    lines = ["## Configuration", "", "| setting | value |", "|---|---|"]
    lines += [f"| {name} | {_text(value)} |" for name, value in rows if value is not None]
    return [*lines, "", "Complete: [training_config.yaml](training_config.yaml)"]


def _target(files: RunFiles, section: str) -> str | None:
    target = files.setting(f"{section}.target")
    args = files.setting(f"{section}.args")
    if target is None:
        return None
    shown = ", ".join(f"{key}={value}" for key, value in args.items()) if isinstance(args, dict) else ""
    return f"{target}({shown})" if shown else str(target)


def _rate(value: Any) -> str | None:
    return format_rate(float(value)) if isinstance(value, (int, float)) else None


def _metrics(files: RunFiles) -> list[str]:
    lines = ["## Final and best metrics", ""]
    if not files.epochs:
        return [*lines, "No epoch was finished."]
    names = metric_names(files)
    last = files.epochs[-1]
    best_epoch = files.summary.get("best_epoch")
    best = next((row for row in files.epochs if row.get("epoch") == best_epoch), {})
    chosen = f"epoch {best_epoch}" if best else "unknown"
    head = f"| metric | final train | final validation | best epoch's validation ({chosen}) | best of all epochs |"
    lines += [head, "|---|---:|---:|---:|---:|"]
    for name in names:
        extreme = files.number(f"best_val_{name}")
        cells = (last.get(f"train_{name}"), last.get(f"val_{name}"), best.get(f"val_{name}"), extreme)
        shown = " | ".join("–" if value is None else format_metric(name, value) for value in cells)
        lines.append(f"| {_text(name)} | {shown} |")
    lines += [
        "",
        f"Final epoch: {int(last['epoch'] or 0)}. All epochs: [epoch_metrics.csv](epoch_metrics.csv)",
    ]
    first = next((value for _, value in files.column("train_loss")), None)
    final = last.get("train_loss")
    if first and final is not None and first > 0:
        fall = (first - final) / first * 100
        lines.append(
            f"Training loss went from {format_number(first)} (first epoch) to {format_number(final)}: "
            f"{'down' if fall >= 0 else 'up'} by {abs(fall):.1f}%."
        )
    return lines


def metric_names(files: RunFiles) -> list[str]:
    """The metrics that the CSV has for training or validation, loss first."""
    columns = files.epochs[0] if files.epochs else {}
    names = [name.partition("_")[2] for name in columns if name.startswith(("train_", "val_"))]
    return sorted(dict.fromkeys(names), key=lambda name: name != "loss")


def _profile(files: RunFiles) -> list[str]:
    times = [value for _, value in files.column("epoch_time")]
    util = files.number("gpu_util")
    if util is None:
        seen = [value for _, value in files.column("gpu_util")]
        util = sum(seen) / len(seen) if seen else None
    speed = files.number("samples_per_second")
    if speed is None:
        speeds = [value for _, value in files.column("samples_per_second")]
        speed = sum(speeds) / len(speeds) if speeds else None
    wait = files.number("data_wait")
    hours = files.number("gpu_hours")
    duration = files.number("duration_seconds")
    if hours is None and util is not None and duration is not None:
        hours = duration / 3600
    rows = [
        ("Time per epoch (mean)", format_duration(sum(times) / len(times)) if times else "n/a"),
        (
            "Time per epoch (shortest, longest)",
            f"{format_duration(min(times))}, {format_duration(max(times))}",
        )
        if times
        else ("Time per epoch (shortest, longest)", "n/a"),
        ("Samples per second", "n/a" if speed is None else format_number(speed)),
        ("Time spent waiting for data", "n/a" if wait is None else f"{wait * 100:.1f}%"),
        ("GPU utilization (mean)", "n/a" if util is None else f"{util:.0f}%"),
        ("GPU hours", "n/a" if hours is None else f"{hours:.3f}"),
    ]
    return [
        "## Training profile",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
    ]


def _checkpoints(files: RunFiles) -> list[str]:
    lines = ["## Checkpoints", ""]
    if not files.checkpoints:
        return [*lines, "None was saved."]
    lines += ["| file | epoch | step | val_loss | size | sha256 |", "|---|---:|---:|---:|---:|---|"]
    for name, entry in sorted(files.checkpoints.items(), key=_best_last_then_epochs):
        metrics = entry.get("metrics")
        loss = from_json_number(metrics.get("val_loss")) if isinstance(metrics, dict) else None
        size = entry.get("size")
        state = "" if entry.get("valid", True) else " (taken after an anomaly: not valid)"
        cells = (
            f"`checkpoints/{_text(name)}`{state}",
            _text(entry.get("epoch", "–")),
            _text(entry.get("step", "–")),
            format_number(float(loss)) if isinstance(loss, (int, float)) else "–",
            format_bytes(size) if isinstance(size, (int, float)) else "–",
            f"`{_text(entry.get('sha256', '–'))}`",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _best_last_then_epochs(item: tuple[str, dict[str, Any]]) -> tuple[int, int, str]:
    name, entry = item
    epoch = entry.get("epoch")
    place = {"best_model.pt": 0, "last_model.pt": 1}.get(name, 2)
    return place, epoch if isinstance(epoch, int) else 0, name


def _losses(files: RunFiles) -> dict[str, list[tuple[float, float]]]:
    return {name: files.column(name) for name in ("train_loss", "val_loss") if files.column(name)}


def _first_metric(files: RunFiles) -> tuple[str, dict[str, list[tuple[float, float]]]]:
    name = next((name for name in metric_names(files) if name != "loss"), "")
    columns = (f"train_{name}", f"val_{name}")
    return name, {column: files.column(column) for column in columns if name and files.column(column)}


def _write_picture(files: RunFiles) -> str | None:
    """Write the PNG; None when it worked, else why not."""
    best = files.summary.get("best_epoch")
    name, metric = _first_metric(files)
    try:
        write_learning_curves(
            files.folder / CURVES,
            _losses(files),
            metric,
            metric_name=name,
            best_epoch=best if isinstance(best, int) else None,
            title=str(files.run.get("name") or files.setting("name") or ""),
        )
    except Exception as error:  # a plot that cannot be drawn is named in the report
        return f"{type(error).__name__}: {clean_text(error, limit=200)}"
    return None


def _curves(files: RunFiles, trouble: str | None) -> list[str]:
    lines = ["## Learning curves", ""]
    if trouble is None:
        lines += [f"![Learning curves]({CURVES})", ""]
    else:
        lines += [f"The picture could not be drawn ({_text(trouble)}).", ""]
    lines += ["```text", text_plot(_losses(files)), "```"]
    _, metric = _first_metric(files)
    if metric:
        lines += ["", "```text", text_plot(metric), "```"]
    return lines


def _diagnostics(files: RunFiles) -> list[str]:
    lines = ["## Diagnostics and fixes", ""]
    if not files.diagnostics:
        return [*lines, "None was raised."]
    for item in files.diagnostics:
        place = f"epoch {item.get('epoch')}, step {item.get('step')}"
        lines.append(f"- **{_text(item.get('code'))}** ({_text(item.get('severity'))}, {_text(place)}): "
                     f"{_text(item.get('message'))}")  # fmt: skip
        applied = item.get("applied")
        fixes = item.get("fixes") if isinstance(item.get("fixes"), list) else []
        done = next((fix for fix in fixes or [] if isinstance(fix, dict) and fix.get("id") == applied), None)
        if applied is None:
            lines.append("  - no fix was applied")
        else:
            lines.append(f"  - fix applied: {_text(fix_line(done) if done else applied)}")
        if item.get("playbook"):
            lines.append(f"  - playbook: `{_text(item['playbook'])}`")
    return lines


def gates_sections(files: RunFiles) -> list[list[str]]:
    """The gates that were earned for this run and with it, as `run.json` has them; whatever was waived with its reason."""
    gates = files.run.get("gates")
    if not isinstance(gates, dict):
        return []
    lines = ["## Gates", ""]
    waived = []
    for gate, items in gates.items():
        if not isinstance(items, dict):
            continue
        lines += [f"### {_text(gate)}", "", "| item | state | evidence |", "|---|---|---|"]
        for name, item in items.items():
            if not isinstance(item, dict):
                continue
            state = str(item.get("state"))
            shown = f"**{_text(state)}**" if state in ("failed", "waived", "open") else _text(state)
            lines.append(
                f"| {_text(item.get('title') or name)} | {shown} | {_text(item.get('evidence') or '')} |"
            )
            if state == "waived":
                waived.append(f"- **{_text(name)}** ({_text(gate)}): {_text(item.get('reason'))}")
        lines.append("")
    return [[*lines, *(["Waived:", "", *waived] if waived else ["Nothing was waived."])]]


def _decision(files: RunFiles) -> list[str]:
    decision = decide(files)
    lines = ["## Decision", "", f"**Performance: {decision.verdict}**", ""]
    lines += [f"- {_text(reason)}" for reason in decision.reasons]
    return [*lines, "", f"Recommendation: {decision.next_phase}."]


def _text(value: Mapping[str, Any] | object) -> str:
    """Outside text in Markdown: no line breaks, no cell borders, no HTML."""
    return clean_text(value, limit=500).replace("|", "\\|").replace("<", "&lt;")
