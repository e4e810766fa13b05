"""What becomes of a diagnostic, by the events of a run."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import sample_diagnostics as samples
import sample_run as sample

from tui_trainer.engine.events import CommandHandled, Resumed
from tui_trainer.screens import case_rows
from tui_trainer.screens.cases import all_cases, badge, fix_marks, open_cases
from tui_trainer.screens.panels import ASCII, UNICODE, header_row, run_rows
from tui_trainer.screens.targets import fix_targets
from tui_trainer.screens.view import RunView, advance_all
from tui_trainer.screens.wrapping import row_width

BEGUN = list(sample.events(20, until_step=500))
TOLD = samples.nan_loss()
FIXED = [TOLD, *samples.applied(TOLD, "lower_lr_10_clip", to_step=135)]


def view_of(*events):
    return advance_all(RunView(), [*BEGUN, *events])


def states(view):
    return {case.told.id: case.state for case in all_cases(view)}


def text_of(rows):
    return "\n".join("".join(part for part, _ in row) for row in rows)


def ignored(name, *, accepted=True):
    details = {"diagnostic": name, "always": False}
    return CommandHandled(
        time=sample.START, command="ignore", accepted=accepted, epoch=1, step=5, message="", details=details
    )


def test_the_worst_is_first_and_of_those_the_latest():
    told = [
        samples.overfitting(),
        samples.nan_loss(),
        samples.slow(),
        samples.overfitting(id="overfitting-2", step=480),
    ]
    assert [case.told.id for case in open_cases(view_of(*told))] == [
        "nan_loss-1",
        "overfitting-2",
        "overfitting-1",
    ]
    assert badge(view_of(*told)) == ("diagnostics: 3", "bad")
    assert badge(view_of(samples.overfitting())) == ("diagnostics: 1", "warn")
    assert badge(view_of(samples.slow())) == ("", "text")


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3), (0, 1, 2), (0, 2, 1), (0, 1, 3), (0, 3, 1)])
def test_what_was_fixed_stays_known_as_fixed_in_whatever_order_it_is_told(order):
    view = view_of(*(FIXED[number] for number in order))
    assert states(view) == {"nan_loss-1": "fixed"}
    assert open_cases(view) == ()


@pytest.mark.parametrize(("to_step", "state"), [(146, "open"), (135, "rolled back")])
def test_a_fix_that_was_taken_back_leaves_the_problem_open_unless_it_is_yet_to_come(to_step, state):
    view = view_of(*FIXED)
    assert [(mark.step, mark.words[1]) for mark in fix_marks(view)] == [(135, "fix 1")]
    view = advance_all(
        view, samples.applied(TOLD, "lower_lr_10_clip", to_step=to_step, attempt=3, undone=True)
    )
    assert states(view) == {"nan_loss-1": state}
    assert fix_marks(view) == ()
    again = advance_all(view, [replace(TOLD, time=TOLD.time + 5)])
    assert states(again) == {"nan_loss-1": "open"}


def test_fixes_are_numbered_in_the_order_in_which_they_came():
    second = samples.overfitting(step=300)
    view = view_of(*FIXED, second, *samples.applied(second, "regularise", to_step=270))
    assert [mark.words[1] for mark in fix_marks(view)] == ["fix 1", "fix 2"]
    words = {case.told.id: case.words for case in all_cases(view)}
    assert words["overfitting-1"].startswith("fix 2: weight decay")


def test_what_a_rollback_has_undone_is_in_the_list_as_such():
    back = Resumed(time=sample.START, attempt=2, epoch=2, step=90, checkpoint="checkpoint_epoch_2.pt")
    view = view_of(TOLD, back)
    assert view.diagnostics == ()
    assert states(view) == {"nan_loss-1": "rolled back"}
    assert badge(view)[0] == ""
    assert states(advance_all(view, [TOLD])) == {"nan_loss-1": "open"}  # it has come back


def test_ignoring_is_for_the_kind_and_only_where_it_was_granted():
    told = [samples.overfitting(), samples.nan_loss(), samples.overfitting(id="overfitting-2")]
    view = view_of(*told, ignored("overfitting-1"))
    assert states(view) == {"overfitting-1": "ignored", "overfitting-2": "ignored", "nan_loss-1": "open"}
    assert set(states(view_of(*told, ignored("overfitting-1", accepted=False))).values()) == {"open"}


def test_what_the_user_ignores_always_is_not_open():
    view = replace(view_of(samples.overfitting()), ignored_codes=frozenset({"overfitting"}))
    assert states(view) == {"overfitting-1": "ignored"}
    assert badge(view)[0] == ""


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_header_keeps_its_badge_in_every_width(width):
    row = header_row(view_of(TOLD, samples.overfitting()), width, UNICODE)
    assert ("diagnostics: 2", "bad") in row
    assert row_width(row) == width


def test_the_run_panel_names_open_problems_and_counts_fixes():
    assert "nan_loss" in text_of(run_rows(view_of(TOLD), 40, 30, UNICODE))
    assert "none open (1 fix)" in text_of(run_rows(view_of(*FIXED), 40, 30, UNICODE))


@pytest.mark.parametrize("width", [20, 37, 76, 110])
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_no_row_is_wider_than_the_panel(width, glyphs):
    for told in (samples.nan_loss(), samples.overfitting(), samples.slow()):
        view = view_of(told)
        case = all_cases(view)[0]
        rows = case_rows.case_rows(case, view, width)
        rows += [case_rows.spark_row(view.recorded, "loss", width, glyphs)]
        assert max(map(row_width, rows)) <= width
    rows = case_rows.list_rows(all_cases(view_of(TOLD, samples.overfitting())), max(width, 60), glyphs)
    assert max(map(row_width, rows)) <= max(width, 60)


def test_a_fix_is_told_with_diff_place_and_effect():
    view = view_of(samples.overfitting())
    text = text_of(case_rows.case_rows(all_cases(view)[0], view, 100))
    for words in (
        " 1  weight decay, dropout and augmentation",
        "optimizer.weight_decay   0 → 0.0001",
        "model.args.dropout       none → 0.3",
        "goes back to the best checkpoint (epoch 11)",
        "0.001 → what the range test finds",
        "starts again from step 0, with new weights; the rate is found by trial steps on a copy",
        "ends the run; its checkpoints stay",
        "(for you to judge)",
        "the gap between training and validation narrows",
    ):
        assert words in text


def test_evidence_reads_as_words_and_numbers():
    evidence = {"since_epoch": 3, "gap": 0.2130001, "rows": list(range(40)), "none": None, "flag": True,
                "nested": {"first": "a", "value": "NaN"}}  # fmt: skip
    text = text_of(case_rows.evidence_rows(samples.nan_loss(evidence=evidence), 90))
    assert "since epoch" in text
    assert "0.2130" in text
    assert "10, 11 … (40 in all)" in text
    assert "none" not in text
    assert "yes" in text
    assert "nested.value" in text
    assert text.endswith("NaN")


@pytest.mark.parametrize(
    ("code", "evidence", "chart"),
    [
        ("nan_loss", {}, "grad_norm"),
        ("overfitting", {"metric": "val_accuracy"}, "accuracy"),
        ("overfitting", {}, "accuracy"),
        ("memory_leak", {}, None),
        ("crash", {}, None),
        ("of_a_user", {"metric": "val_loss"}, "loss"),
    ],
)
def test_the_chart_is_that_of_what_is_wrong(code, evidence, chart):
    assert case_rows.chart_of(samples.nan_loss(code=code, evidence=evidence), view_of()) == chart


def test_the_checkpoint_of_a_fix_is_named_as_the_manifest_has_it(tmp_path):
    def entry(step, *, valid=True):
        return {"epoch": step // 45, "step": step, "valid": valid, "sha256": "x", "metrics": {}}

    files = {
        "checkpoint_epoch_1.pt": entry(45),
        "best_model.pt": entry(90),
        "checkpoint_epoch_3.pt": entry(135),
        "last_model.pt": entry(140, valid=False),
        "odd.pt": {},
    }
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "manifest.json").write_text(json.dumps({"files": files, "pending": {}}))
    fixes = [
        samples.LOWER | {"id": "valid", "since": 144},
        samples.LOWER | {"id": "earlier", "since": 100},
        samples.LOWER | {"id": "before", "checkpoint": "before", "since": 142},
        samples.LOWER | {"id": "never", "since": 3},
        samples.REGULARISE,
        samples.LOWER | {"id": "named", "checkpoint": "gone.pt"},
        samples.FIND,
    ]
    targets = fix_targets(tmp_path, samples.nan_loss(fixes=tuple(fixes)))
    assert targets == {
        "valid": "checkpoint_epoch_3.pt, epoch 3, step 135",
        "earlier": "best_model.pt, epoch 2, step 90",
        "before": "last_model.pt, epoch 3, step 140",
        "never": "there is none, so it starts again from step 0",
        "regularise": "best_model.pt, epoch 2, step 90",
        "named": "there is no checkpoint gone.pt",
    }
    view = view_of(TOLD)
    text = text_of(
        case_rows.case_rows(all_cases(view)[0], view, 120, targets={"lower_lr_10_clip": targets["valid"]})
    )
    assert "goes back to the last valid checkpoint: checkpoint_epoch_3.pt, epoch 3, step 135" in text
    assert fix_targets(None, TOLD) == fix_targets(tmp_path / "nowhere", TOLD) == {}
