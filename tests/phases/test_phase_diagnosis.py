"""Phase 3 on real runs: the primary issue, its evidence, what is recommended, and the decision."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.phases.trained_runs import crashed, overfitting, train_run
from tui_trainer.config.errors import RunFolderError
from tui_trainer.config.hashing import differing_keys
from tui_trainer.config.loading import load_config, parse_config
from tui_trainer.phases.diagnosis import diagnose_phase, write_diagnosis
from tui_trainer.phases.diagnosis_gate import ITEMS
from tui_trainer.reports.diagnosis_content import Examination
from tui_trainer.session.launching import Options, load_options

NOT_LOOKED = Examination(why_not="not looked at")


def findings(diagnosis):
    return {item.name: check(diagnosis) for item, check in ITEMS}


def states(diagnosis):
    return {name: found.state for name, found in findings(diagnosis).items()}


def signs(diagnosis):
    return {item.sign for item in diagnosis.symptoms if item.matched}


@pytest.fixture
def copied(trained, tmp_path):
    def copy(name):
        shutil.copytree(trained(name), tmp_path / name)
        return tmp_path / name

    return copy


def test_a_run_that_met_its_target_is_deployed(trained):
    found = diagnose_phase(trained("healthy"))
    assert (found.issue.code, found.decision) == ("target_met", "deploy")
    assert found.fit.verdict == "good"
    assert found.gradients.verdict == "healthy"
    assert set(states(found).values()) <= {"passed", "not_applicable"}


def test_overfitting_is_seen_dated_and_answered_with_regularisation(trained):
    run = trained("overfitting")
    found = diagnose_phase(run)
    assert (found.issue.code, found.decision) == ("overfitting", "optimize")
    rows = list(csv.DictReader((run / "epoch_metrics.csv").open()))
    gaps = [float(row["train_accuracy"]) - float(row["val_accuracy"]) for row in rows]
    gap = found.curves.gap
    assert gap.final == pytest.approx(gaps[-1])
    assert gap.largest == pytest.approx(max(gaps))
    assert all(value > gaps[-1] / 2 for value in gaps[gap.opened - 1 :])
    assert gaps[gap.opened - 2] <= gaps[-1] / 2
    best = min(range(len(rows)), key=lambda k: float(rows[k]["val_loss"])) + 1
    assert found.curves.wasted_epochs == len(rows) - best
    assert found.curves.wasted_seconds == pytest.approx(sum(float(row["epoch_time"]) for row in rows[best:]))
    assert "training better than validation by more than 15 points" in signs(found)
    assert found.causes[0].likelihood == "likely"
    ids = [item.id for item in found.recommendations]
    assert ids[0] == "weight_decay"
    assert "larger_model" not in ids
    assert set(states(found).values()) == {"passed"}


def test_underfitting_is_answered_with_capacity(trained):
    found = diagnose_phase(trained("underfitting"))
    assert (found.issue.code, found.decision) == ("underfitting", "optimize")
    assert "larger_model" in [item.id for item in found.recommendations]
    assert "smaller_model" not in [item.id for item in found.recommendations]
    assert set(states(found).values()) == {"passed"}


def test_a_loss_that_is_not_finite_comes_first(trained):
    found = diagnose_phase(trained("exploded"))
    assert (found.issue.code, found.decision) == ("non_finite", "debug")
    assert found.recommendations[0].id == "lower_lr_10_clip"
    assert found.recommendations[0].changes["optimizer.learning_rate"] == {"from": 1.0, "to": 0.1}
    assert found.causes[0].text == "the learning rate is too high"
    assert set(states(found).values()) == {"passed"}


def test_a_flat_loss_is_mended_before_anything_else(tmp_path):
    target = {"metric": "val_accuracy", "at_least": 0.9}
    rate = {"learning_rate": 1e-6}
    run = train_run(tmp_path / "flat", optimizer=rate, training={"epochs": 8}, targets=target)
    found = diagnose_phase(run, examination=NOT_LOOKED)
    assert (found.issue.code, found.decision) == ("flat", "debug")
    assert found.recommendations[0].id == "raise_lr_10"
    assert found.causes[0].text == "the learning rate is too low"
    assert found.curves.verdict == "plateau"


def test_a_class_that_is_missed_is_a_question_of_the_data(trained):
    found = diagnose_phase(trained("missed_class"))
    assert found.issue.code == "data_quality"
    assert "a class is never predicted" in signs(found)
    assert found.recommendations[0].id == "balanced_loss"
    assert set(states(found).values()) == {"passed"}


def with_rows(run: Path, change) -> Path:
    """The run with other numbers in its metric log."""
    path = run / "epoch_metrics.csv"
    rows = list(csv.DictReader(path.open()))
    for number, row in enumerate(rows, 1):
        row.update(change(number, row))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return run


def test_a_validation_metric_that_scatters_is_instability(copied):
    def swing(number, row):
        return {"val_accuracy": 0.5 + 0.4 * (number % 2), "train_accuracy": 0.6}

    found = diagnose_phase(with_rows(copied("healthy"), swing), examination=NOT_LOOKED)
    assert found.issue.code == "data_quality"
    assert found.curves.spread > 0.08
    assert "standard deviation" in found.issue.summary


def summary(run: Path, **changes) -> Path:
    content = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(content | changes))
    return run


def long_epochs(number, row):
    return {"epoch_time": 60.0}


def test_waiting_for_data_is_a_matter_of_resources_only_when_epochs_are_long(copied):
    run = summary(copied("healthy"), data_wait=0.55)
    assert diagnose_phase(run, examination=NOT_LOOKED).issue.code == "target_met"
    found = diagnose_phase(with_rows(run, long_epochs), examination=NOT_LOOKED)
    assert (found.issue.code, found.profile.bottleneck) == ("resource", "data")
    assert found.decision == "deploy"
    assert any("resources" in text or "machine" in text for text in found.reasons)
    assert found.recommendations[0].id == "more_workers"


def test_an_idle_gpu_is_a_matter_of_resources(copied):
    run = with_rows(summary(copied("healthy"), gpu_util=45.0), long_epochs)
    found = diagnose_phase(run, examination=NOT_LOOKED)
    assert (found.issue.code, found.profile.bottleneck) == ("resource", "gpu")
    assert "45%" in found.issue.summary


def test_a_target_that_is_met_does_not_hide_a_critical_diagnostic(copied):
    run = copied("healthy")
    line = {
        "id": "own-1",
        "code": "own",
        "severity": "critical",
        "epoch": 3,
        "step": 9,
        "message": "x",
        "fixes": [],
        "applied": None,
    }
    (run / "diagnostics.jsonl").write_text(json.dumps(line) + "\n")
    found = diagnose_phase(run, examination=NOT_LOOKED)
    assert (found.issue.code, found.decision) == ("critical", "debug")
    assert found.reasons[-1] == "Open critical diagnostics: own."
    assert set(states(found).values()) == {"passed"}
    line["applied"] = "some_fix"
    (run / "diagnostics.jsonl").write_text(json.dumps(line) + "\n")
    assert diagnose_phase(run, examination=NOT_LOOKED).decision == "deploy"


@pytest.mark.parametrize(
    "name",
    ["overfitting", "underfitting", "exploded", "missed_class", "regression", "binary", "lstm", "healthy"],
)
def test_recommendations_are_changes_that_validate_and_the_preview_is_all_of_them(trained, name):
    run = trained(name)
    found = diagnose_phase(run, examination=NOT_LOOKED)
    assert 3 <= len(found.recommendations) <= 5
    old = load_config(run / "training_config.yaml").config
    wanted = {}
    for item in found.recommendations:
        assert item.changes
        assert all(change["from"] != change["to"] for change in item.changes.values())
        assert all((item.title, item.impact, item.effort, item.risk, item.gain, item.effect, item.why))
        wanted |= {key: change["to"] for key, change in item.changes.items()}
    new = parse_config(found.preview.text)
    content = new.model_dump(mode="json", by_alias=True)
    for key, value in wanted.items():
        inner = content
        for part in key.split("."):
            inner = inner[part]
        assert inner == value, key
    assert {item.key for item in found.preview.changes} == wanted.keys()
    for key in differing_keys(old, new):
        assert key in wanted or key.rpartition(".")[0] in wanted
    for item in found.preview.changes:
        assert item.mark == ("NEW" if item.old is None else "CHANGED")
        line = next(
            line
            for line in found.preview.text.split("\n")
            if line.lstrip().startswith(f"{item.key.split('.')[-1]}:") and "#" in line
        )
        assert f"# {item.mark}" in line


def test_the_proposed_config_trains_from_the_run_folder(trained):
    run = trained("overfitting")
    write_diagnosis(run)
    loaded = load_options(Options(config=run / "optimization_config.yaml"))
    assert loaded.folder == run.parent  # where noise.npz lies


def test_a_crashed_run_is_diagnosed(trained):
    found = diagnose_phase(trained("crashed"))
    assert (found.issue.code, found.decision) == ("failed", "debug")
    assert "broke" in found.issue.summary
    assert found.causes[0].text == "code of the data set, model or loss raised"
    assert set(states(found).values()) == {"passed"}


def test_a_run_without_an_epoch_is_diagnosed(tmp_path):
    run = crashed(tmp_path / "early", limit=3)
    found = diagnose_phase(run)
    assert (found.issue.code, found.decision) == ("failed", "debug")
    assert found.issue.title == "No epoch was finished"
    assert found.curves.verdict == "none"
    assert set(states(found).values()) == {"passed"}


def test_a_run_that_never_began_is_diagnosed(tmp_path):
    run = train_run(tmp_path / "none", data={"target": "npz", "args": {"path": "missing.npz"}})
    if not (run / "run.json").exists():  # a session takes a folder back in which nothing was trained
        run.mkdir(exist_ok=True)
        (run / "run.json").write_text(
            json.dumps({"id": "x", "name": "none", "status": "failed", "attempts": []})
        )
    found = write_diagnosis(run)
    assert found.issue.code == "failed"
    assert found.missing
    assert states(found)["primary_issue"] == "passed"


@pytest.mark.parametrize(
    "name",
    [
        "summary.json",
        "epoch_metrics.csv",
        "training_config.yaml",
        "run.json",
        "events.jsonl",
        "gradient_stats.csv",
        "diagnostics.jsonl",
    ],
)
@pytest.mark.parametrize("content", [b"", b"\xff\xfe{: [torn", None])
def test_a_damaged_file_costs_only_itself(copied, name, content):
    run = copied("healthy")
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_bytes(content)
    found = write_diagnosis(run)
    assert (run / "diagnostic_report.md").read_text()
    json.loads((run / "diagnostic_report.json").read_text())
    if name == "training_config.yaml":
        assert found.preview.error
        assert findings(found)["preview"].state in ("failed", "not_applicable")


def test_a_run_whose_process_died_is_said_to_have_died(copied):
    run = copied("healthy")
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"status": "running"}))
    found = diagnose_phase(run, examination=NOT_LOOKED)
    assert (found.status, found.issue.code, found.decision) == ("died", "failed", "debug")


def test_a_met_target_without_a_checkpoint_is_not_deployed(copied):
    run = copied("healthy")
    shutil.rmtree(run / "checkpoints")
    found = diagnose_phase(run)
    assert found.decision == "debug"
    assert "nothing to deploy" in found.reasons[-1]


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match="holds no run"):
        diagnose_phase(tmp_path)


def test_gradients_that_die_out_are_seen_by_layer(copied):
    run = copied("healthy")
    rows = list(csv.DictReader((run / "gradient_stats.csv").open()))
    first = list(rows[0])[2]
    for row in rows:
        row[first] = 1e-9
    with (run / "gradient_stats.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    found = diagnose_phase(run, examination=NOT_LOOKED).gradients
    assert found.layers[0].verdict == "small"
    assert found.verdict == "uneven"
    assert found.ratio < 1e-6


def test_the_gate_fails_where_something_is_missing(trained):
    from dataclasses import replace

    found = diagnose_phase(trained("overfitting"), examination=NOT_LOOKED)
    few = replace(found, recommendations=found.recommendations[:2])
    assert states(few)["recommendations"] == "failed"
    assert states(replace(found, causes=()))["causes"] == "failed"
    unmatched = tuple(replace(item, matched=False) for item in found.symptoms)
    assert states(replace(found, symptoms=unmatched))["evidence"] == "failed"
    broken = replace(found.preview, text="optimizer: {learning_rate: -1}")
    assert states(replace(found, preview=broken))["preview"] == "failed"
    assert states(replace(found, reasons=()))["next_step"] == "failed"
    met = replace(diagnose_phase(trained("healthy"), examination=NOT_LOOKED), recommendations=(), causes=())
    assert set(states(met).values()) <= {"passed", "not_applicable"}


def test_the_items_of_the_gate_are_those_of_no_other():
    """Signatures and waivers go by the item's name alone."""
    from tui_trainer.phases import baseline_checks, plan_checks

    others = {item.name for item in (*baseline_checks.ITEMS, *plan_checks.ITEMS)}
    assert not others & {item.name for item, _ in ITEMS}


def test_the_configs_own_threshold_says_what_a_wide_gap_is(tmp_path):
    thresholds = {"overfitting": {"gap": 0.9, "rise": 9}}
    run = overfitting(tmp_path / "wide", diagnostics={"thresholds": thresholds})
    assert diagnose_phase(run, examination=NOT_LOOKED).fit.verdict != "overfitting"
