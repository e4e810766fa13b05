"""Work on a run that is over: on threads of its own, one piece at a time, told as views."""

from __future__ import annotations

import threading
from dataclasses import replace

import sample_diagnoses
import sample_gates

from tui_trainer.config.errors import ConfigError
from tui_trainer.phases.gate import Finding
from tui_trainer.screens.examiner import Diagnoser, Judge

CHANGES = sample_diagnoses.WEIGHT_DECAY.changes


def over(examiner):
    """Wait until nothing is under way."""
    for thread in threading.enumerate():
        if thread.name == "examiner":
            thread.join(60)
    assert not examiner.view.busy
    return examiner.view


def diagnosis(_run):
    return sample_diagnoses.OVERFITTING, sample_diagnoses.checklist(sample_diagnoses.OVERFITTING)


def test_a_baseline_is_judged_once_its_last_thread_is_gone(tmp_path):
    gone, asked = threading.Event(), []

    def judge(run):
        asked.append((run, gone.is_set()))
        return sample_gates.checklist(), sample_gates.SHORT

    examiner = Judge(judge=judge)
    seen = []
    examiner.on_change = lambda: seen.append(examiner.view.busy)
    examiner.start(tmp_path, ended=gone.wait)
    assert examiner.view.busy
    assert asked == []
    gone.set()
    view = over(examiner)
    assert asked == [(tmp_path, True)]
    assert (view.checklist, view.decision) == (sample_gates.checklist(), sample_gates.SHORT)
    assert seen == [True, False]


def test_what_goes_wrong_is_told_in_words(tmp_path):
    def judge(_run):
        raise ConfigError("training_config.yaml is damaged: line 3")

    examiner = Judge(judge=judge)
    examiner.start(tmp_path)
    assert over(examiner).error == "training_config.yaml is damaged: line 3"

    def fails(_run):
        raise ValueError("what nobody expected \x1b[31m")

    examiner = Judge(judge=fails)
    examiner.start(tmp_path)
    assert over(examiner).error == "ValueError: what nobody expected "


def test_judging_and_diagnosing_wait_for_each_other(tmp_path):
    together, most, free = [], [], threading.Event()

    def work(found):
        def run(_run):
            together.append(1)
            most.append(len(together))
            free.wait(60)
            together.pop()
            return found

        return run

    judge = Judge(judge=work((sample_gates.checklist(), sample_gates.SHORT)))
    diagnoser = Diagnoser(lambda _: None, diagnose=work(diagnosis(tmp_path)))
    judge.start(tmp_path)
    diagnoser.start(tmp_path)
    free.set()
    over(judge)
    over(diagnoser)
    assert most == [1, 1]


def test_what_was_found_of_a_run_that_was_left_is_not_shown(tmp_path):
    free = threading.Event()

    def judge(run):
        free.wait(60)
        return sample_gates.checklist(), sample_gates.MET if run.name == "two" else sample_gates.SHORT

    examiner = Judge(judge=judge)
    examiner.start(tmp_path / "one")
    examiner.start(tmp_path / "two")
    free.set()
    assert over(examiner).decision == sample_gates.MET
    examiner.forget()
    assert not examiner.view.begun


def test_a_signature_is_kept_and_shown(tmp_path):
    kept = []

    def sign(run, checklist, name, text):
        kept.append((run, name, text))
        return replace(checklist, entries=sample_gates.PASSED.checklist.entries)

    examiner = Judge(judge=lambda _: (sample_gates.checklist(), sample_gates.SHORT), sign=sign)
    examiner.start(tmp_path)
    over(examiner)
    examiner.sign("decision", "good enough")
    over(examiner)
    assert kept == [(tmp_path, "decision", "good enough")]
    assert examiner.view.checklist.passed


def test_an_answer_that_cannot_be_kept_is_said(tmp_path):
    def waive(*_):
        raise PermissionError(13, "Permission denied", "/work/gates.yaml")

    failing = sample_gates.checklist(steady=Finding("failed", "12s, at most 40% off"))
    examiner = Judge(judge=lambda _: (failing, sample_gates.SHORT), waive=waive)
    examiner.start(tmp_path)
    over(examiner)
    examiner.waive("steady", "shared machine")
    over(examiner)
    assert examiner.view.trouble == "/work/gates.yaml cannot be written (Permission denied)"
    assert examiner.view.checklist == failing


def test_a_diagnosis_brings_the_losses_of_the_run(tmp_path):
    (tmp_path / "epoch_metrics.csv").write_text("epoch,train_loss,val_loss\n1,0.5,0.6\n2,0.4,NaN\n")
    diagnoser = Diagnoser(lambda _: None, diagnose=diagnosis)
    diagnoser.start(tmp_path, name="digits")
    view = over(diagnoser)
    assert view.diagnosis is sample_diagnoses.OVERFITTING
    assert view.losses["train_loss"] == ((1.0, 0.5), (2.0, 0.4))
    assert view.losses["val_loss"][0] == (1.0, 0.6)
    assert view.folder == tmp_path


def test_a_waiver_is_told_in_the_diagnosis(tmp_path):
    failing = sample_diagnoses.checklist(sample_diagnoses.OVERFITTING, causes="No cause is named.")

    def waive(_run, checklist, name, text):
        entries = [
            replace(entry, finding=Finding("waived", text)) if entry.item.name == name else entry
            for entry in checklist.entries
        ]
        return replace(checklist, entries=tuple(entries))

    diagnoser = Diagnoser(
        lambda _: None,
        diagnose=lambda _: (sample_diagnoses.OVERFITTING, failing),
        waive=waive,
        retell=lambda _run, found: replace(found, waivers=()),
    )
    diagnoser.start(tmp_path)
    over(diagnoser)
    diagnoser.waive("causes", "known")
    view = over(diagnoser)
    assert view.checklist.passed
    assert view.diagnosis.waivers == ()


def test_what_was_carried_stays_known_and_what_was_refused_does_not(tmp_path):
    refusals = iter([None, "no such setting", None])
    diagnoser = Diagnoser(lambda _: next(refusals), diagnose=diagnosis)
    diagnoser.start(tmp_path)
    over(diagnoser)
    assert diagnoser.carry(CHANGES) is None
    assert diagnoser.view.holds(sample_diagnoses.WEIGHT_DECAY)
    assert diagnoser.carry(sample_diagnoses.DROPOUT.changes) == "no such setting"
    assert not diagnoser.view.holds(sample_diagnoses.DROPOUT)
    diagnoser.carry({"optimizer.weight_decay": {"from": 0.0, "to": 0.01}})
    assert not diagnoser.view.holds(sample_diagnoses.WEIGHT_DECAY)  # another value took its place
