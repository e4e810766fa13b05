"""`diagnostic_report.md`: what was found in a run, with `diagnostic_report.json` of the same numbers beside it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tui_trainer.engine.manifest import write_atomically
from tui_trainer.reports import diagnosis_errors
from tui_trainer.reports.heat_map import text_heat_map, write_heat_map
from tui_trainer.reports.markdown import code, fenced, plain, table
from tui_trainer.reports.plots import text_plot
from tui_trainer.reports.run_files import read_run
from tui_trainer.session.run_folder import OPTIMIZATION_YAML
from tui_trainer.session.wording import (
    clean_text,
    format_bytes,
    format_duration,
    format_metric,
    format_number,
    is_share,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tui_trainer.reports.diagnosis_content import PhaseDiagnosis

REPORT, DATA, HEAT_MAP = "diagnostic_report.md", "diagnostic_report.json", "gradient_heat_map.png"
_LAYERS = 20
DECISIONS = {
    "deploy": "on to phase 5 (Finalize)",
    "optimize": "on to phase 4 (Optimize)",
    "debug": "mend it, then train the baseline again (phase 2)",
}


def write_diagnostic_report(folder: Path, diagnosis: PhaseDiagnosis) -> Path:
    """Write the report, its numbers, its picture and the proposed config into the run folder; returns the report's path.

    What an earlier diagnosis proposed goes where this one proposes nothing. Raises OSError when a file cannot be
    written; a picture that cannot be drawn is said so in the report.
    """
    trouble = _write_picture(folder, diagnosis)
    text = report_text(folder, diagnosis, picture_trouble=trouble)
    write_atomically(folder / DATA, json.dumps(diagnosis.to_json(), indent=1, allow_nan=False) + "\n")
    if diagnosis.preview.text:
        write_atomically(folder / OPTIMIZATION_YAML, diagnosis.preview.text)
    else:
        (folder / OPTIMIZATION_YAML).unlink(missing_ok=True)
    write_atomically(folder / REPORT, text)
    return folder / REPORT


def report_text(folder: Path, diagnosis: PhaseDiagnosis, *, picture_trouble: str | None = None) -> str:
    """The report as Markdown. `picture_trouble`: why there is no picture of the gradients."""
    sections = [
        _head(diagnosis),
        _decision(diagnosis),
        _issue(diagnosis),
        _recommendations(diagnosis),
        _preview(diagnosis),
        _curves(folder, diagnosis),
        _fit(diagnosis),
        _gradients(diagnosis, picture_trouble),
        _profile(diagnosis),
        _data(diagnosis),
        diagnosis_errors.section(diagnosis.examination),
        _problems(diagnosis),
        _waived(diagnosis),
    ]
    return "\n".join(line for section in sections if section for line in (*section, ""))


def _head(d: PhaseDiagnosis) -> list[str]:
    lines = [
        "# Diagnostic Report",
        "",
        f"- **Run**: {plain(d.name)} ({code(d.run)}), {plain(d.status)}",
        f"- **Decision**: {d.decision.upper()}",
        f"- **Primary issue**: {plain(d.issue.title)}",
        f"- **Learning curves**: {d.curves.verdict.replace('_', ' ')}",
        f"- **Fit**: {d.fit.verdict}",
        f"- **Gradients**: {d.gradients.verdict}",
    ]
    if d.message:
        lines.append(f"- **The run's last words**: {plain(d.message)}")
    if d.missing:
        lines += ["", f"Missing or damaged, and therefore not reported: {', '.join(map(plain, d.missing))}."]
    return lines


def _decision(d: PhaseDiagnosis) -> list[str]:
    return [
        "## Decision",
        "",
        f"**{d.decision}**: {DECISIONS[d.decision]}.",
        "",
        *(f"- {plain(reason)}" for reason in d.reasons),
    ]


def _issue(d: PhaseDiagnosis) -> list[str]:
    matched = sum(item.matched for item in d.symptoms)
    lines = ["## Primary issue", "", f"**{plain(d.issue.title)}**", "", plain(d.issue.summary), ""]
    lines += ["### Evidence", "", f"{matched} of {len(d.symptoms)} symptoms match.", ""]
    rows = [
        ("yes" if item.matched else "no", plain(item.sign), plain(item.found), code(item.source))
        for item in d.symptoms
    ]
    lines += table(("match", "symptom", "this run", "from"), rows)
    lines += ["", "### Likely causes", ""]
    for number, cause in enumerate(d.causes, 1):
        why = f": {plain(cause.evidence)}" if cause.evidence else ""
        lines.append(f"{number}. *{cause.likelihood}*: {plain(cause.text)}{why}")
    return lines


def _recommendations(d: PhaseDiagnosis) -> list[str]:
    lines = ["## Recommendations", ""]
    if not d.recommendations:
        lines.append("None: " + plain(d.preview.error or "nothing in the config would help."))
    for number, item in enumerate(d.recommendations, 1):
        lines += [
            f"### {number}. {plain(item.title)}",
            "",
            f"- **Impact**: {item.impact}",
            f"- **Effort**: {plain(item.effort)}",
            f"- **Risk**: {plain(item.risk)}",
            f"- **Expected gain**: {plain(item.gain)}",
            f"- **Effect**: {plain(item.effect)}",
            f"- **Why**: {plain(item.why)}",
            "",
            *fenced(
                "\n".join(
                    line
                    for key, change in item.changes.items()
                    for line in (f"- {_setting(key, change['from'])}", f"+ {_setting(key, change['to'])}")
                ),
                "diff",
            ),
            "",
        ]
    if d.advice:
        lines += ["What only a person can do:", "", *(f"- {plain(item)}" for item in d.advice)]
    return lines


def _setting(key: str, value: Any) -> str:
    return clean_text(f"{key}: {json.dumps(value, default=str)}", limit=300)


def _preview(d: PhaseDiagnosis) -> list[str]:
    lines = ["## Config for phase 4", ""]
    if not d.preview.text:
        return [*lines, plain(d.preview.error)]
    lines += [f"Complete: [{OPTIMIZATION_YAML}]({OPTIMIZATION_YAML})", ""]
    rows = [
        (
            code(item.key),
            item.mark,
            code(json.dumps(item.old, default=str)),
            code(json.dumps(item.new, default=str)),
        )
        for item in d.preview.changes
    ]
    lines += table(("setting", "mark", "was", "is"), rows)
    if d.preview.left_out:
        lines += ["", f"Not together with these: {'; '.join(map(plain, d.preview.left_out))}."]
    return lines


def _curves(folder: Path, d: PhaseDiagnosis) -> list[str]:
    curves = d.curves
    lines = ["## Learning curves", "", f"**{curves.verdict.replace('_', ' ')}**: {plain(curves.reason)}"]
    if not curves.epochs:
        return lines
    rows = [
        ("Epochs", f"{curves.epochs} of {curves.planned if curves.planned is not None else '?'}"),
        (
            f"Best {plain(curves.monitor)}",
            f"{_metric(curves.monitor, curves.best_value)} (epoch {curves.best_epoch})",
        ),
        (f"Final {plain(curves.monitor)}", _metric(curves.monitor, curves.final_value)),
        ("Epochs after the best", _count(curves.wasted_epochs)),
        ("Time after the best", format_duration(curves.wasted_seconds)),
        ("Training loss, first and last", " → ".join(map(format_number, curves.train_loss))),
        ("Validation loss, first and last", " → ".join(map(format_number, curves.val_loss))),
        ("Training loss fell by", _share(curves.train_fall)),
        ("Validation loss fell by", _share(curves.val_fall)),
        (f"Gain of validation loss from epoch {curves.late_from} on", _share(curves.late_gain)),
    ]
    if curves.spread_metric is not None:
        spread = _difference(curves.spread_metric, curves.spread)
        rows.append(
            (f"Scatter of val_{plain(curves.spread_metric)} from epoch {curves.late_from} on", spread)
        )
    if gap := curves.gap:
        rows += [
            (f"Gap in {plain(gap.metric)}, last epoch", _difference(gap.metric, gap.final)),
            (f"Gap in {plain(gap.metric)}, best epoch", _difference(gap.metric, gap.at_best)),
            (
                f"Largest gap in {plain(gap.metric)}",
                f"{_difference(gap.metric, gap.largest)} (epoch {gap.largest_epoch})",
            ),
            ("The gap opened in epoch", "–" if gap.opened is None else str(gap.opened)),
        ]
    if curves.non_finite:
        rows.append(("Epochs with a loss that is not finite", ", ".join(map(str, curves.non_finite[:20]))))
    files = read_run(folder)
    losses = {name: files.column(name) for name in ("train_loss", "val_loss") if files.column(name)}
    lines += ["", *table(("", ""), rows), ""]
    if (folder / "learning_curves.png").is_file():
        lines += ["![Learning curves](learning_curves.png)", ""]
    return [*lines, *fenced(text_plot(losses))]


def _fit(d: PhaseDiagnosis) -> list[str]:
    fit = d.fit
    lines = [
        "## Over- and underfitting",
        "",
        f"**{fit.verdict}**: {plain(fit.reason)}",
        "",
        plain(fit.target),
    ]
    if fit.metric is None or fit.train is None:
        return lines
    rows = [
        ("training, last epoch", _metric(fit.metric, fit.train)),
        ("validation, last epoch", _metric(fit.metric, fit.val)),
    ]
    if fit.simple is not None:
        rows.append((plain(fit.simple_name), _metric(fit.metric, fit.simple)))
    if fit.trivial is not None:
        rows.append(("without looking at the inputs", _metric(fit.metric, fit.trivial)))
    return [*lines, "", *table(("", plain(fit.metric)), rows, " r")]


def _gradients(d: PhaseDiagnosis, trouble: str | None) -> list[str]:
    gradients = d.gradients
    lines = ["## Gradient health", "", f"**{gradients.verdict}**: {plain(gradients.reason)}"]
    picture = gradients.heat_map
    if picture is None or not picture.layers:
        return lines
    total = (
        f"Mean norm of all gradients: {format_number(gradients.total_first)} in the first epoch, "
        f"{format_number(gradients.total_last)} in the last, at most {format_number(gradients.total_largest)}. First "
        f"over last layers: {format_number(gradients.ratio)}."
    )
    lines += [
        "",
        total,
        "",
        *fenced(text_heat_map(picture.layers, picture.epochs, picture.values)),
        "",
        f"![Gradient norms by layer]({HEAT_MAP})"
        if trouble is None
        else f"The picture could not be drawn ({plain(trouble)}).",
        "",
    ]
    order = {"non_finite": 0, "large": 1, "zero": 2, "small": 3, "ok": 4}
    ranked = sorted(gradients.layers, key=lambda item: order[item.verdict])[:_LAYERS]
    rows = [
        (
            code(item.name),
            *map(format_number, (item.first, item.last, item.smallest, item.median, item.largest)),
            item.verdict.replace("_", " "),
        )
        for item in ranked
    ]
    lines += table(("parameter", "first", "last", "smallest", "median", "largest", ""), rows, " rrrrr")
    left = len(gradients.layers) - len(ranked)
    return (
        [*lines, "", f"{left} more are ok or alike: [gradient_stats.csv](gradient_stats.csv)."]
        if left
        else lines
    )


def _profile(d: PhaseDiagnosis) -> list[str]:
    profile = d.profile
    rows = [
        ("Device", "n/a" if profile.device is None else plain(profile.device)),
        ("Duration", format_duration(profile.duration)),
        ("Time per epoch (mean)", format_duration(profile.epoch_time)),
        (
            "Time per epoch (shortest, longest)",
            f"{format_duration(profile.epoch_shortest)}, {format_duration(profile.epoch_longest)}",
        ),
        ("Largest deviation from the median epoch, the first left out", _share(profile.spread)),
        ("Samples per second", format_number(profile.samples_per_second)),
        ("Time spent waiting for data", _share(profile.data_wait)),
        ("GPU utilization (mean)", "n/a" if profile.gpu_util is None else f"{profile.gpu_util:.0f}%"),
        ("GPU hours", "n/a" if profile.gpu_hours is None else f"{profile.gpu_hours:.3f}"),
        ("Memory of the process (largest)", _bytes(profile.memory)),
        ("Memory of the GPU (largest)", _bytes(profile.gpu_memory)),
    ]
    name = "none" if profile.bottleneck is None else profile.bottleneck
    return [
        "## Resource profile",
        "",
        f"**Bottleneck: {name}**. {plain(profile.reason)}",
        "",
        *table(("", ""), rows),
    ]


def _data(d: PhaseDiagnosis) -> list[str]:
    data = d.data
    lines = ["## Data quality", "", plain(data.reason), ""]
    rows = [("Train samples", _count(data.train_samples)), ("Validation samples", _count(data.val_samples))]
    if data.task:
        rows.append(("Task", plain(data.task)))
    if data.classes is not None:
        rows.append(("Classes", str(data.classes)))
    if data.imbalance is not None:
        rows.append(("Most frequent to rarest class", f"{data.imbalance:.1f} to 1"))
    lines += table(("", ""), rows)
    if data.problems:
        lines += ["", *(f"- {item.severity}: {plain(item.message)}" for item in data.problems)]
    return lines


def _problems(d: PhaseDiagnosis) -> list[str]:
    lines = ["## Diagnostics", ""]
    if not d.problems:
        return [*lines, "None was raised."]
    rows = [
        (
            code(item.id),
            plain(item.severity),
            str(item.epoch),
            "open" if item.open else "fixed",
            plain(item.message),
            code(item.playbook),
        )
        for item in d.problems
    ]
    head = ("diagnostic", "severity", "epoch", "state", "message", "playbook")
    return [*lines, *table(head, rows, "  r")]


def _waived(d: PhaseDiagnosis) -> list[str]:
    if not d.waivers:
        return []
    rows = [(code(item.gate), code(item.item), plain(item.reason)) for item in d.waivers]
    return [
        "## Waived",
        "",
        "These checks failed and were waved through:",
        "",
        *table(("gate", "item", "reason"), rows),
    ]


def _write_picture(folder: Path, d: PhaseDiagnosis) -> str | None:
    """Draw the heat map; None when it worked or there is nothing to draw, else why not."""
    picture = d.gradients.heat_map
    if picture is None or not picture.layers:
        (folder / HEAT_MAP).unlink(missing_ok=True)
        return None
    try:
        write_heat_map(
            folder / HEAT_MAP, picture.layers, picture.epochs, picture.values, title=f"{d.name}: gradients"
        )
    except Exception as error:  # a picture that cannot be drawn is named in the report
        return f"{type(error).__name__}: {clean_text(error, limit=200)}"
    return None


def _metric(name: str, value: float | None) -> str:
    return "n/a" if value is None else format_metric(name, value)


def _share(value: float | None) -> str:
    return "n/a" if value is None else f"{value * 100:.1f}%"


def _difference(metric: str, value: float | None) -> str:
    if value is None:
        return "n/a"
    return f"{value * 100:.1f} points" if is_share(metric) else format_number(value)


def _count(value: int | None) -> str:
    return "n/a" if value is None else f"{value:,}"


def _bytes(value: int | None) -> str:
    return "n/a" if value is None else format_bytes(value)
