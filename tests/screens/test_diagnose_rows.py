"""What the sections of the Diagnose screen say: pure functions from content to rows."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import sample_diagnoses as samples

from tui_trainer.reports.diagnosis_content import Fit, Gradients, HeatMap
from tui_trainer.screens import diagnose_rows
from tui_trainer.screens.diagnose_errors import error_rows, worst_rows
from tui_trainer.screens.diagnose_sections import curve_rows, data_rows, fit_rows, machine_profile_rows
from tui_trainer.screens.heat_rows import gradient_rows, heat_rows
from tui_trainer.screens.panels import ASCII, UNICODE
from tui_trainer.screens.wrapping import row_width

WIDTHS = (20, 40, 58, 76, 118)
DIAGNOSES = {
    "overfitting": samples.OVERFITTING,
    "long": samples.LONG,
    "met": samples.MET,
    "crashed": samples.CRASHED,
    "regression": samples.REGRESSION,
}


def sections(diagnosis, width, glyphs):
    view = samples.view(diagnosis)
    yield "issue", diagnose_rows.issue_rows(view, width, glyphs, verdict_width=width)
    yield "verdict", diagnose_rows.verdict_rows(view, width, glyphs)
    yield "curves", curve_rows(diagnosis.curves, width, glyphs)
    yield "fit", fit_rows(diagnosis.fit, width, glyphs)
    yield "gradients", gradient_rows(diagnosis.gradients, width, glyphs)
    yield "machine", machine_profile_rows(diagnosis.profile, width, glyphs)
    yield "errors", error_rows(diagnosis.examination, width, glyphs)
    yield "worst", worst_rows(diagnosis.examination, width, glyphs)
    yield "data", data_rows(diagnosis.data, width, glyphs)
    for number, item in enumerate(diagnosis.recommendations, 1):
        row = diagnose_rows.recommendation_row(item, number, carried=True, width=width, glyphs=glyphs)
        yield "recommendation", [row]
        yield "diff", diagnose_rows.recommendation_rows(item, number, carried=False, width=width)
    yield "preview", diagnose_rows.preview_rows(diagnosis.preview, width, glyphs)


@pytest.mark.parametrize("name", DIAGNOSES)
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_its_place_and_no_escape_gets_through(name, width):
    for section, rows in sections(DIAGNOSES[name], width, UNICODE):
        for row in rows:
            assert not any(sign in text for text, _ in row for sign in "\x1b\n")
            if width >= 58:
                assert row_width(row) <= width, (section, row)


def words(rows):
    return [" ".join("".join(text for text, _ in row).split()) for row in rows]


def layer_row(values, width, glyphs=UNICODE):
    """One layer as the heat map draws it, without its name, beside one that spans the scale; and all rows."""
    epochs = tuple(range(1, len(values) + 1))
    other = (0.001, *[1.0] * (len(values) - 1))
    found = Gradients(
        "healthy", "", len(values), heat_map=HeatMap(("w", "x"), epochs, (tuple(values), other))
    )
    rows = heat_rows(found, width, glyphs)
    return "".join(text for text, _ in rows[0]).removeprefix("w").strip(), words(rows)


def test_shades_grow_with_the_logarithm():
    drawn, _ = layer_row([0.001, 0.01, 0.1, 1.0], 7)
    assert drawn == "░▒▓█"


def test_the_legend_says_how_far_each_shade_goes():
    _, rows = layer_row([0.001, 0.01, 0.1, 1.0], 90)
    assert rows[-1] == "gradient norm ░░ to 0.0056 ▒▒ to 0.032 ▓▓ to 0.18 ██ to 1"


def test_a_spike_survives_where_epochs_share_a_column():
    values = [0.001] * 200
    values[77] = 1.0
    drawn, rows = layer_row(values, 58)
    assert drawn.count("█") == 1
    assert "largest of up to" in " ".join(rows)


def test_what_is_zero_missing_or_broken_is_told_apart():
    drawn, _ = layer_row([0.0, None, math.nan, 1.0], 7)
    assert drawn == "0·!█"
    drawn, _ = layer_row([0.0, None, math.inf, 1.0], 7, ASCII)
    assert drawn == "0.!#"


def test_gradients_of_one_size_are_neither_small_nor_large():
    found = Gradients("healthy", "", 2, heat_map=HeatMap(("w",), (1, 2), ((0.5, 0.5),)))
    assert "▒" in "".join(text for text, _ in heat_rows(found, 30, UNICODE)[0])


def test_no_gradients_are_no_picture():
    rows = gradient_rows(Gradients("unknown", "gradient_stats.csv is missing."), 60, UNICODE)
    assert words(rows) == ["UNKNOWN gradient_stats.csv is missing."]


def test_the_worst_class_comes_first_and_one_never_predicted_before_it():
    rows = words(error_rows(samples.LONG.examination, 76, UNICODE))
    first = rows.index("By class, the worst first") + 2
    assert rows[first].startswith("[/bold]")
    assert any(row.startswith("Never predicted: [/bold]") for row in rows)


def test_a_checkpoint_that_measures_something_else_says_what_it_recorded():
    rows = words(error_rows(samples.REGRESSION.examination, 118, UNICODE))
    assert "val_r2 -3.871 (recorded: -3.908)" in rows[0]


def test_the_decision_tells_what_the_issue_does_not():
    issue, decision = words(diagnose_rows.verdict_rows(samples.view(samples.OVERFITTING), 200, UNICODE))
    assert issue.startswith("▲ Overfitting In the last epoch")
    assert decision == (
        "→ OPTIMIZE: on to phase 4 (Optimize). Target missed: best val_accuracy 71.2%, asked for at least 95.0%."
    )


def test_where_the_verdict_is_cut_the_section_has_all_of_it():
    view = samples.view(samples.CRASHED)
    text = " ".join(words(diagnose_rows.issue_rows(view, 58, UNICODE, verdict_width=76)))
    assert samples.CRASH in text.split("Evidence")[0]
    short = samples.view(samples.OVERFITTING)
    assert words(diagnose_rows.issue_rows(short, 58, UNICODE, verdict_width=200))[0].startswith("Evidence")


def test_sections_in_which_something_is_wrong_stand_out():
    view = samples.view(samples.LONG)
    warned = {name for _, name in diagnose_rows.SECTIONS if diagnose_rows.section_role(view, name) == "warn"}
    assert warned == {"Issue", "Fit", "Gradients", "Machine", "Errors", "Data"}
    met = samples.view(samples.MET)
    assert all(diagnose_rows.section_role(met, name) == "text" for _, name in diagnose_rows.SECTIONS)


def test_negative_scores_are_no_bars():
    rows = fit_rows(samples.REGRESSION.fit, 76, UNICODE)
    assert not any("█" in text or "·" in text for row in rows for text, _ in row)


def test_a_fit_that_nobody_knows_is_a_sentence():
    assert words(fit_rows(Fit("unknown", "Too few epochs."), 76, UNICODE)) == ["UNKNOWN Too few epochs."]


def test_epochs_after_the_best_are_counted_with_their_time():
    rows = words(curve_rows(samples.OVERFITTING.curves, 76, UNICODE))
    assert "after the best 16 epochs, 2m 14s: nothing came of them" in rows
    none = replace(samples.OVERFITTING.curves, wasted_epochs=0)
    assert not any("after the best" in row for row in words(curve_rows(none, 76, UNICODE)))
