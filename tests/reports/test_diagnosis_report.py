"""The diagnostic report: every number in it is in the JSON beside it, and those are the numbers of the run's files."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.phases.conftest import trained  # noqa: F401 (a fixture)
from tui_trainer.phases.diagnosis import diagnose_phase, write_diagnosis
from tui_trainer.reports.diagnosis import report_text
from tui_trainer.reports.heat_map import text_heat_map, write_heat_map
from tui_trainer.reports.markdown import code, fenced, plain, table
from tui_trainer.session.wording import format_bytes, format_duration, format_metric, format_number

NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?")


def leaves(value):
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from leaves(item)
    elif isinstance(value, list):
        yield len(value)
        for item in value:
            yield from leaves(item)
    else:
        yield value


def shown(value: float) -> set[str]:
    """All the ways in which the report may show a number."""
    texts = {
        format_number(value),
        format_duration(value),
        format_metric("accuracy", value),
        format_bytes(value),
    }
    texts |= {
        f"{value * 100:.1f}",
        f"{value * 100:.0f}",
        f"{value:.0f}",
        f"{value:.1f}",
        f"{value:.3f}",
        f"{value:.2g}",
    }
    texts |= {repr(value), json.dumps(value), f"{value:g}", f"{value:,}"}
    return {number for text in texts for number in NUMBER.findall(text)}


@pytest.fixture(params=["overfitting", "healthy", "exploded", "missed_class", "regression", "crashed"])
def report(request, trained):  # noqa: F811 (a fixture)
    run = trained(request.param)
    write_diagnosis(run)
    return (
        run,
        (run / "diagnostic_report.md").read_text(),
        json.loads((run / "diagnostic_report.json").read_text()),
    )


def test_every_number_of_the_report_is_in_the_json(report):
    _, text, content = report
    known: set[str] = set()
    for leaf in leaves(content):
        if isinstance(leaf, str):
            known |= set(NUMBER.findall(leaf))
        elif isinstance(leaf, (int, float)) and not isinstance(leaf, bool) and math.isfinite(leaf):
            known |= shown(leaf)
    matched = sum(item["matched"] for item in content["symptoms"])
    known |= {str(matched), "4", "5", "2"}  # names of phases
    known |= {str(number) for number in range(1, 6)}  # of recommendations and causes
    for block in re.findall(
        r"```text\n.*?```", text, re.DOTALL
    ):  # pictures; their scales have a test of their own
        text = text.replace(block, "")
    missing = [number for number in NUMBER.findall(text) if number not in known]
    assert missing == []


def rows_of(run: Path, name: str) -> list[dict[str, float]]:
    def number(text):
        return math.nan if text in ("", None) else float(text)

    return [{key: number(cell) for key, cell in row.items()} for row in csv.DictReader((run / name).open())]


def test_the_numbers_of_the_json_are_those_of_the_files(report):
    run, _, content = report
    rows = rows_of(run, "epoch_metrics.csv")
    curves, summary = content["curves"], json.loads((run / "summary.json").read_text())
    assert curves["epochs"] == len(rows)
    assert curves["best_epoch"] == summary["best_epoch"]
    for name in ("train_loss", "val_loss"):
        ends = [rows[0][name], rows[-1][name]]
        assert [float(value) for value in curves[name]] == pytest.approx(ends, nan_ok=True)
    if math.isfinite(rows[0]["val_loss"]):
        fall = (rows[0]["val_loss"] - rows[-1]["val_loss"]) / rows[0]["val_loss"]
        assert curves["val_fall"] == pytest.approx(fall)
    late = rows[len(rows) - math.ceil(len(rows) / 3) :]
    assert curves["late_from"] == late[0]["epoch"]
    if curves["spread"] is not None:
        values = [row[f"val_{curves['spread_metric']}"] for row in late]
        mean = sum(values) / len(values)
        assert curves["spread"] == pytest.approx(
            math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
        )
    times = [row["epoch_time"] for row in rows]
    assert content["profile"]["epoch_time"] == pytest.approx(sum(times) / len(times))
    assert content["profile"]["duration"] == pytest.approx(summary["duration_seconds"])
    manifest = json.loads((run / "checkpoints" / "manifest.json").read_text())["files"]
    looked = content["examination"]
    recorded = manifest[looked["checkpoint"]]["metrics"]
    assert looked["recorded"] == {key: value for key, value in recorded.items() if key.startswith("val_")}
    config = (run / "training_config.yaml").read_text()
    for item in content["preview"]["changes"]:
        assert item["old"] is None or item["key"].split(".")[-1] in config


def test_the_gradients_of_the_json_are_those_of_the_csv(report):
    run, _, content = report
    found = content["gradients"]
    if not found["layers"]:
        assert not (run / "gradient_stats.csv").exists()
        return
    rows = rows_of(run, "gradient_stats.csv")
    for layer in found["layers"]:
        values = [row[layer["name"]] for row in rows]
        assert [layer["first"], layer["last"]] == [values[0], values[-1]]
        assert [layer["smallest"], layer["largest"]] == [min(values), max(values)]
    for name, values in zip(found["heat_map"]["layers"], found["heat_map"]["values"], strict=True):
        assert values == [row[name] for row in rows]
    assert found["total_last"] == rows[-1]["total_grad_norm"]


def test_it_renders_as_tables_without_a_torn_row(report):
    _, text, _ = report
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert "<b>" not in html
    assert html.count("<h1>") == 1
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        borders = [len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()]
        assert len(set(borders)) == 1, block


def test_pictures_and_the_proposed_config_are_there(trained):  # noqa: F811 (a fixture)
    run = trained("overfitting")
    write_diagnosis(run)
    text = (run / "diagnostic_report.md").read_text()
    for name in re.findall(r"\]\(([^)]+)\)", text):
        assert (run / name).is_file(), name
    assert (run / "gradient_heat_map.png").read_bytes().startswith(b"\x89PNG")


def test_waived_items_are_shown_with_their_reasons(trained, tmp_path):  # noqa: F811 (a fixture)
    import shutil

    run = tmp_path / "waived"
    shutil.copytree(trained("healthy"), run)
    record = json.loads((run / "run.json").read_text())
    gates = {
        "reproducibility": {"git": {"state": "waived", "reason": "no | repo"}, "seeds": {"state": "passed"}}
    }
    (run / "run.json").write_text(json.dumps(record | {"gates": gates}))
    text = report_text(run, diagnose_phase(run))
    section = text[text.index("## Waived") :]
    assert "| `reproducibility` | `git` | no \\| repo |" in section
    assert "seeds" not in section
    assert "## Waived" not in report_text(run, diagnose_phase(trained("overfitting")))


def test_names_from_outside_stay_text(trained):  # noqa: F811 (a fixture)
    from dataclasses import replace

    found = diagnose_phase(trained("missed_class"))
    evil = "a | b <script>`x` ](http://e) \x1b[31m\n# head"
    first = replace(found.examination.classes[0], name=evil)
    looked = replace(
        found.examination, classes=(first, *found.examination.classes[1:]), never_predicted=(evil,)
    )
    issue = replace(found.issue, title=evil, summary="# no heading")
    text = report_text(
        trained("missed_class"), replace(found, examination=looked, issue=issue, reasons=(evil,))
    )
    assert "\x1b" not in text
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert "<script>" not in html
    assert "http://e)" not in re.findall(r'href="([^"]*)', html)
    assert "<h1>no heading" not in html
    assert html.count("<h1>") == 1


def test_a_heat_map_shades_by_the_logarithm():
    text = text_heat_map(["a", "layer.b"], [1, 2, 3], [[1e-4, 1e-2, 1.0], [0.0, None, math.nan]])
    lines = text.split("\n")
    assert lines[0] == "a       ░▓█"
    assert lines[1] == "layer.b  ·!"
    assert lines[-1] == "░ 0.0001 … █ 1 (logarithmic)"
    plain_text = text_heat_map(["a"], [1, 2], [[1e-4, 1.0]], ascii_only=True)
    assert plain_text.split("\n")[0] == "a .#"


@pytest.mark.parametrize("values", [[[None]], [[math.nan]], [[0.0]], [[1e-320, 1e300]], [[3.0, 3.0]]])
def test_heat_maps_never_fail_on_odd_numbers(tmp_path, values):
    columns = list(range(1, len(values[0]) + 1))
    text_heat_map(["layer"], columns, values)
    write_heat_map(tmp_path / "x.png", ["layer"], columns, values)
    assert (tmp_path / "x.png").stat().st_size > 0


def test_a_long_run_and_deep_model_stay_within_the_width():
    values = [[10.0 ** -(k % 7) for k in range(500)] for _ in range(3)]
    text = text_heat_map(["x" * 80, "y", "z"], list(range(1, 501)), values, width=80)
    assert max(map(len, text.split("\n"))) <= 80


def test_markdown_pieces():
    assert plain("# a") == "\\# a"
    assert plain("1. a") == "1\\. a"
    assert plain("val_loss -3.4% [1, 2]") == "val_loss -3.4% [1, 2]"
    assert plain("_a_ *b* `c` |") == "\\_a\\_ \\*b\\* \\`c\\` \\|"
    assert code("a`b|c") == "`a'b\\|c`"
    assert fenced("```\nx")[0] == "````text"
    assert table(("a", "b"), [("1", "2")], " r") == ["| a | b |", "|---|---:|", "| 1 | 2 |"]
