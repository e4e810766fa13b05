"""Fixes of a running session: applied, undone, refused, found again after a crash, and tried without asking."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.runs import assert_same_run, differences, load_last, metric_log, read_json
from tests.session.test_roll_back import CONFIG, PER_EPOCH, Watched, _one_thread, straight  # noqa: F401 (fixtures)
from tui_trainer.config.hashing import config_hash
from tui_trainer.config.loading import LoadedConfig, load_config, parse_config
from tui_trainer.engine import events, lr_range_test
from tui_trainer.engine.trainer import Trainer
from tui_trainer.session.run_folder import reopen
from tui_trainer.session.run_session import RunRequest, RunSession

RULE = '''
from dataclasses import replace

from tui_trainer.diagnostics.fix import BEST, Fix
from tui_trainer.diagnostics.rule import Problem, Rule

class Sick(Rule):
    """Raised at the end of epoch 2, and as long as the learning rate is above `most`."""
    code = "sick"
    thresholds = {"most": 0.0}
    def on_epoch(self, history):
        if history.epoch < 2 or history.epochs[-1].learning_rate <= self.limit.most:
            return None
        rate = {"optimizer.learning_rate": 0.02}
        return Problem("warning", "It is sick.", {"learning_rate": history.epochs[-1].learning_rate}, (
            Fix("here", "from here", "", rate),
            Fix("best", "from the best", "", {"training.gradient_clip_norm": 1.0}, "restart_from", BEST),
            Fix("fresh", "from the start", "", {"model.args.hidden": [8], **rate}, "restart_fresh"),
            Fix("data", "other batches", "", {"data.batch_size": 64}, "continue"),
            Fix("stop", "stop", "", {}, "stop"),
            Fix("swap", "another activation", "", {"model.swap": {"ReLU": "LeakyReLU"}}, "continue"),
            Fix("find", "find a rate", "", {"optimizer.learning_rate": 0.2}, "restart_fresh", range_test=True),
            Fix("find_here", "find a rate", "", {"optimizer.learning_rate": 0.2}, "continue", range_test=True),
            Fix("bad", "no such key", "", {"model.args.hidden": "many"}, "continue"),
        ))

class Hopeless(Sick):
    code = "hopeless"
    def on_epoch(self, history):
        problem = super().on_epoch(history)
        return problem and replace(problem, fixes=problem.fixes[:2])

class Broken(Rule):
    code = "broken"
    def on_epoch(self, history):
        raise ZeroDivisionError("of a rule")
'''
SECOND_EPOCH = 2 * PER_EPOCH


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sick_rules.py").write_text(RULE)
    return tmp_path


def watched(
    folder: Path, *, name: str = "run", most: float = 0.0, rule: str = "Sick", **changes: Any
) -> Watched:
    diagnostics = {
        "rules": [f"sick_rules:{rule}"],
        "thresholds": {"sick": {"most": most}} if rule == "Sick" else {},
    }
    return Watched(folder / name, {}, diagnostics=diagnostics | changes.pop("diagnostics", {}), **changes)


def apply_when_raised(session: Watched, fix: str, *, undo_at: int | None = None) -> None:
    """Answer the first diagnostic with `fix`; with `undo_at`, take it back at that step."""
    asked: list[bool] = []

    def answer(event: events.Event) -> None:
        if isinstance(event, events.DiagnosticRaised) and event.code == "sick" and not asked:
            asked.append(True)
            session.send("apply_fix", diagnostic=event.id, fix=fix)
        if isinstance(event, events.StepLogged) and event.step == undo_at and len(asked) == 1:
            asked.append(True)
            session.send("undo_fix")

    session.on = answer


def applied(session: Watched) -> list[events.FixApplied]:
    return [event for event in session.seen if isinstance(event, events.FixApplied)]


def diagnostics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "diagnostics.jsonl").read_text().splitlines()]


def test_a_fix_from_here_changes_the_config_and_nothing_else(folder: Path) -> None:
    session = watched(folder)
    apply_when_raised(session, "here")
    session.train()
    run = folder / "run"
    (fix,) = applied(session)
    assert (fix.step, fix.to_step, fix.attempt, fix.undone) == (SECOND_EPOCH, SECOND_EPOCH, 2, False)
    assert fix.config_diff == {"optimizer.learning_rate": {"from": 0.2, "to": 0.02}}
    before = load_last(run, "before_fix_1.pt")
    assert before["step"] == SECOND_EPOCH
    assert before["config"]["optimizer"]["learning_rate"] == 0.2
    after = load_config(run / "training_config.yaml").config
    assert after.optimizer.learning_rate == 0.02
    record = read_json(run / "run.json")
    assert record["config_hash"] == config_hash(after)
    assert [attempt["status"] for attempt in record["attempts"]] == ["rolled_back", "completed"]
    assert record["fixes"][0]["fix"] == record["interventions"][0]["fix"] == "here"
    assert {item["applied"] for item in diagnostics(run) if item["id"] == "sick-1"} == {None, "here"}
    rates = [float(row["learning_rate"]) for row in metric_log(run)]
    assert rates[:2] == [0.2, 0.2]
    assert all(rate <= 0.02 for rate in rates[2:])
    assert len(rates) == 6


@pytest.mark.parametrize("fix", ["here", "best", "fresh", "data", "swap"])
def test_an_undone_fix_leaves_a_run_as_if_it_had_never_been(folder: Path, straight: Path, fix: str) -> None:  # noqa: F811
    session = watched(folder)
    apply_when_raised(session, fix, undo_at=SECOND_EPOCH + 5)
    session.train()
    run = folder / "run"
    assert [event.undone for event in applied(session)] == [False, True]
    assert read_json(run / "run.json")["fixes"] == []
    assert metric_log(run) == metric_log(straight)
    assert differences(load_last(run)["model_state_dict"], load_last(straight)["model_state_dict"]) == []
    assert (
        differences(load_last(run)["optimizer_state_dict"], load_last(straight)["optimizer_state_dict"]) == []
    )
    mine, other = (load_config(path / "training_config.yaml").config for path in (run, straight))
    assert config_hash(mine) == config_hash(other)


def test_a_fix_from_a_checkpoint_goes_back_to_its_weights(folder: Path) -> None:
    session = watched(folder)
    apply_when_raised(session, "best")
    session.train()
    (fix,) = applied(session)
    assert fix.checkpoint == "best_model.pt"
    assert fix.to_step in (PER_EPOCH, SECOND_EPOCH)
    assert load_config(folder / "run" / "training_config.yaml").config.training.gradient_clip_norm == 1.0
    assert [row["epoch"] for row in metric_log(folder / "run")] == [str(epoch) for epoch in range(1, 7)]


def test_a_fresh_start_is_a_run_of_the_new_config(folder: Path) -> None:
    session = watched(folder)
    apply_when_raised(session, "fresh")
    session.train()
    model = CONFIG["model"] | {"args": CONFIG["model"]["args"] | {"hidden": [8]}}
    other = watched(
        folder, name="other", optimizer=CONFIG["optimizer"] | {"learning_rate": 0.02}, model=model
    )
    other.train()
    assert metric_log(folder / "run") == metric_log(folder / "other")
    states = [load_last(folder / name)["model_state_dict"] for name in ("run", "other")]
    assert differences(*states) == []


@pytest.mark.parametrize(("fix", "to_step"), [("find", 0), ("find_here", SECOND_EPOCH)])
def test_a_range_test_finds_the_learning_rate(folder: Path, fix: str, to_step: int) -> None:
    session = watched(folder)
    apply_when_raised(session, fix)
    session.train()
    (done,) = applied(session)
    rate = done.config_diff["optimizer.learning_rate"]["to"]
    assert 1e-5 < rate < 10
    assert f"{rate:.3g}" in done.title
    assert done.to_step == to_step
    assert load_config(folder / "run" / "training_config.yaml").config.optimizer.learning_rate == rate


@pytest.mark.parametrize(("now", "to"), [(0.2, None), (1e-6, 0.2)], ids=["none to go on with", "a guess"])
def test_where_a_range_test_finds_nothing_the_rate_that_a_fix_has_in_mind_stands(
    folder: Path, monkeypatch: pytest.MonkeyPatch, now: float, to: float | None
) -> None:
    monkeypatch.setattr(
        lr_range_test,
        "learning_rate_range_test",
        lambda _: lr_range_test.judged([1e-6 * 1.2**k for k in range(90)], [2.3] * 90, diverged=None),
    )
    session = watched(folder, optimizer=CONFIG["optimizer"] | {"learning_rate": now})
    apply_when_raised(session, "find")
    session.train()
    assert ("apply_fix", to is not None) in session.answers()
    assert [event.config_diff["optimizer.learning_rate"]["to"] for event in applied(session)] == (
        [] if to is None else [to]
    )
    assert all("a usual one" in event.title for event in applied(session))


@pytest.mark.parametrize(("fix", "done"), [("fresh", True), ("best", True), ("here", False)])
def test_a_problem_of_the_last_epoch_is_mended_before_the_run_ends(
    folder: Path, fix: str, *, done: bool
) -> None:
    """With no epoch left there is nothing that going on from here could change."""
    session = watched(folder, training={"epochs": 2})
    apply_when_raised(session, fix)
    session.train()
    assert [event.fix for event in applied(session)] == ([fix] if done else [])
    assert session.answers() == [("apply_fix", done)]
    assert session.summary is not None
    assert (session.summary["status"], session.summary["epochs"]) == ("completed", 2)


def test_a_fix_comes_before_the_end_that_early_stopping_would_make(folder: Path) -> None:
    stopping = {"patience": 1, "min_delta": 10.0}
    session = watched(folder, early_stopping=stopping)
    apply_when_raised(session, "here")
    session.train()
    assert [event.fix for event in applied(session)] == ["here"]
    assert session.summary is not None
    assert (session.summary["status"], session.summary["epochs"]) == ("early_stopped", 3), "patience anew"


def test_other_batches_begin_with_the_next_epoch(folder: Path) -> None:
    session = watched(folder)
    apply_when_raised(session, "data")
    session.train()
    assert session.summary is not None
    assert session.summary["steps"] == SECOND_EPOCH + 4 * -(-1437 // 64)


def test_a_fix_that_cannot_be_is_refused_and_training_goes_on_as_if_nothing_was_asked(
    folder: Path,
    straight: Path,  # noqa: F811
) -> None:
    session = watched(folder)
    apply_when_raised(session, "bad")
    session.train()
    assert ("apply_fix", False) in session.answers()
    assert applied(session) == []
    assert metric_log(folder / "run") == metric_log(straight)
    assert differences(load_last(folder / "run")["rng"], load_last(straight)["rng"]) == []


def test_what_there_is_not_is_refused(folder: Path) -> None:
    session = watched(folder)
    session.script = {3: [("undo_fix", {}), ("apply_fix", {"diagnostic": "sick-9", "fix": "here"})]}
    session.train()
    assert session.answers() == [("undo_fix", False), ("apply_fix", False)]


def test_a_stop_ends_the_run(folder: Path) -> None:
    session = watched(folder)
    apply_when_raised(session, "stop")
    session.train()
    assert session.summary is not None
    assert (session.summary["status"], session.summary["epochs"]) == ("early_stopped", 2)
    assert session.answers() == [("stop", True), ("apply_fix", True)], "a fix is answered as a fix"
    told = [item["applied"] for item in diagnostics(folder / "run") if item["id"] == "sick-1"]
    assert told == [None, "stop"]


@pytest.mark.parametrize("fix", ["here", "fresh"])
def test_a_crash_after_a_fix_forgets_nothing_of_it(folder: Path, fix: str) -> None:
    whole = watched(folder, name="whole")
    apply_when_raised(whole, fix)
    whole.train()
    broken = watched(folder, name="broken")
    apply_when_raised(broken, fix)
    broken_at = SECOND_EPOCH + 17 if fix == "here" else 17
    answer = broken.on

    def stop_too(event: events.Event) -> None:
        answer(event)
        if isinstance(event, events.StepLogged) and event.step == broken_at and applied(broken):
            broken.send("stop")

    broken.on = stop_too
    broken.train()
    resume(folder / "broken", parse_config(CONFIG | {"diagnostics": {"rules": ["sick_rules:Sick"]}}))
    assert_same_run(folder / "whole", folder / "broken")
    assert read_json(folder / "broken" / "run.json")["fixes"][0]["fix"] == fix


def test_a_crash_before_a_fix_is_on_disk_leaves_the_run_without_it(
    folder: Path,
    straight: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = watched(folder)
    apply_when_raised(session, "here")

    def power_cut(*_: Any, **__: Any) -> None:
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save_last", power_cut)
        session.train(exit_code=1)
    resume(folder / "run", parse_config(CONFIG | {"diagnostics": {"rules": ["sick_rules:Sick"]}}))
    assert read_json(folder / "run" / "run.json")["fixes"] == []
    assert metric_log(folder / "run") == metric_log(straight)


def resume(run: Path, config: Any) -> RunSession:
    """Go on in `run` with the config as its owner first wrote it."""
    session = RunSession(RunRequest(loaded=LoadedConfig(config, None, run.parent, ""), folder=reopen(run)))
    session.start()
    assert session.wait(120)
    assert session.exit_code == 0, session.summary
    return session


def test_going_back_to_before_a_fix_takes_its_config_back_too(folder: Path, straight: Path) -> None:  # noqa: F811
    session = watched(folder)
    apply_when_raised(session, "here")
    session.script = {SECOND_EPOCH + 5: [("roll_back", {"file": "before_fix_1.pt"})]}
    session.train()
    assert metric_log(folder / "run") == metric_log(straight)
    assert read_json(folder / "run" / "run.json")["fixes"] == []
    assert load_config(folder / "run" / "training_config.yaml").config.optimizer.learning_rate == 0.2


UNSCALED: dict[str, Any] = {
    "data": {"target": "wine", "args": {"standardize": False}},
    "model": {"target": "mlp", "args": {"hidden": [16]}},
    "optimizer": {"target": "adam", "learning_rate": 0.01},
    "training": {"epochs": 3},
}


def test_what_is_wrong_with_the_data_is_mended_without_asking(tmp_path: Path) -> None:
    """Told before any rule watches, and before there is a trainer to go on with."""
    session = Watched(tmp_path / "run", {}, **UNSCALED, diagnostics={"on_trigger": "fix"})
    session.train()
    (fix,) = [event for event in applied(session) if event.fix == "standardize"]
    assert (fix.diagnostic, fix.step, fix.automatic, fix.undone) == ("data_quality-1", 0, True, False)
    assert load_config(tmp_path / "run" / "training_config.yaml").config.data.args == {"standardize": True}
    assert [row["epoch"] for row in metric_log(tmp_path / "run")] == ["1", "2", "3"]


def test_a_run_that_goes_on_is_not_begun_anew_for_its_data(tmp_path: Path) -> None:
    session = Watched(tmp_path / "run", {5: [("stop", {})]}, **UNSCALED)
    session.train()
    config = parse_config(CONFIG | UNSCALED | {"diagnostics": {"on_trigger": "fix"}})
    resume(tmp_path / "run", config)
    assert not any(item["fix"] == "standardize" for item in read_json(tmp_path / "run" / "run.json")["fixes"])


def test_fixes_are_tried_one_by_one_and_taken_back_where_they_do_not_help(folder: Path) -> None:
    """The first leaves the learning rate at 0.02, which is too high still; so does going back to the best."""
    session = watched(folder, rule="Hopeless", diagnostics={"on_trigger": "fix"})
    session.train(exit_code=4)
    said = [(event.fix, event.undone, event.automatic) for event in applied(session)]
    assert said == [("here", False, True), ("here", True, True), ("best", False, True)]
    assert session.summary is not None
    assert (session.summary["status"], session.summary["diagnostics"]) == ("stopped", ["hopeless"])


def test_a_fix_that_helps_stays(folder: Path) -> None:
    session = watched(folder, most=0.02, diagnostics={"on_trigger": "fix"})
    session.train()
    assert [event.fix for event in applied(session)] == ["here"]
    assert any(isinstance(event, events.LogLine) and "holds" in event.text for event in session.seen)


def test_a_rule_that_raises_is_asked_no_more(folder: Path, straight: Path) -> None:  # noqa: F811
    session = watched(folder, rule="Broken")
    session.train()
    told = [
        event.text for event in session.seen if isinstance(event, events.LogLine) and "broken" in event.text
    ]
    assert len(told) == 1
    assert "ZeroDivisionError" in told[0]
    assert metric_log(folder / "run") == metric_log(straight)


def test_what_is_ignored_is_not_told(folder: Path) -> None:
    session = watched(folder)
    session.request.ignored = frozenset({"sick"})
    session._judge._ignored = {"sick"}
    session.train()
    assert not any(
        isinstance(event, events.DiagnosticRaised) and event.code == "sick" for event in session.seen
    )


def test_the_app_s_run_waits_for_an_answer_to_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    session = Watched(
        tmp_path / "run",
        {},
        data={"target": "diabetes"},
        model={"target": "mlp"},
        optimizer={"target": "sgd", "learning_rate": 1.0},
        training={"epochs": 2},
        diagnostics={"disabled": ["exploding_gradients"]},
    )
    session.request.interactive = True
    paused: list[str] = []

    def answer(event: events.Event) -> None:
        if isinstance(event, events.CommandHandled) and event.command == "pause":
            paused.append("yes")
            session.send("ignore", diagnostic="nan_loss-1")

    session.on = answer
    session.train(exit_code=1)  # ignored: it went on, and no batch could be trained on
    assert paused == ["yes"]
    assert session.answers()[:3] == [("pause", True), ("ignore", True), ("resume", True)]


def test_divergence_is_repaired_without_asking(tmp_path: Path) -> None:
    session = Watched(
        tmp_path / "run",
        {},
        data={"target": "diabetes"},
        model={"target": "mlp"},
        optimizer={"target": "sgd", "learning_rate": 1.0},
        training={"epochs": 5},
        diagnostics={"on_trigger": "fix"},
    )
    session.train()
    assert [event.fix for event in applied(session)][:1] == ["lower_lr_10_clip"]
    assert all(
        torch.isfinite(value).all() for value in load_last(tmp_path / "run")["model_state_dict"].values()
    )
    assert session.summary is not None
    assert {"exploding_gradients", "nan_loss"} & set(session.summary["diagnostics"]), (
        "whichever was seen first"
    )
