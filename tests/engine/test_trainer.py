"""The loop: what a hand-written one would do, with the usual mistakes made impossible."""

import gc
import math

import pytest
import torch
from torch import nn

from tui_trainer.config.errors import TrainingError
from tui_trainer.engine import events
from tui_trainer.engine.checkpoints import BEST, LAST, load_checkpoint, periodic_name
from tui_trainer.engine.commands import Command


def weights(run) -> list[torch.Tensor]:
    return [p.detach().clone() for p in run.trainer.parts.model.parameters()]


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def hand_written(run, *, epochs: int, accumulate: int = 1, clip: float | None = None) -> list[torch.Tensor]:
    """The textbook loop over the very same batches and initial weights."""
    parts = run.trainer.parts
    model, loss_fn = parts.model, nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    for epoch in range(1, epochs + 1):
        batches = list(parts.train.epoch(epoch))
        for start in range(0, len(batches), accumulate):
            group = batches[start : start + accumulate]
            optimizer.zero_grad()
            for batch in group:
                (loss_fn(model(batch.inputs), batch.targets) / len(group)).backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
    return [p.detach().clone() for p in model.parameters()]


def test_weights_are_those_of_a_hand_written_loop(make_run):
    run = make_run()
    run.train()
    assert same(weights(run), hand_written(make_run(), epochs=3))


def test_accumulation_averages_micro_batches_and_finishes_a_ragged_group(make_run):
    run = make_run({"training": {"gradient_accumulation_steps": 4}})
    assert len(run.trainer.parts.train) % 4
    run.train()
    assert same(weights(run), hand_written(make_run(), epochs=3, accumulate=4))


def test_clipping_limits_the_global_norm(make_run):
    run = make_run({"training": {"gradient_clip_norm": 0.05}})
    run.train()
    for ours, theirs in zip(weights(run), hand_written(make_run(), epochs=3, clip=0.05), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert all(event.grad_norm > 0.05 for event in run.of(events.StepLogged)), (
        "the norm is told as it was before clipping"
    )


def test_reported_losses_and_accuracy_are_those_of_the_model(make_run):
    run = make_run()
    run.train()
    parts, last = run.trainer.parts, run.of(events.EpochFinished)[-1]
    model = parts.model.eval()
    with torch.no_grad():
        outputs = model(parts.data.val.inputs)
    loss = nn.functional.cross_entropy(outputs, parts.data.val.targets).item()
    accuracy = (outputs.argmax(1) == parts.data.val.targets).double().mean().item()
    assert last.metrics["val_loss"] == pytest.approx(loss, rel=1e-5)
    assert last.metrics["val_accuracy"] == pytest.approx(accuracy)


# ── the four failures of hand-written loops ─────────────────────────────────────────────────────────────────────


def test_failure_1_validation_never_sees_training_samples(make_run):
    run = make_run()
    data = run.trainer.parts.data
    assert not set(data.indices["train"].tolist()) & set(data.indices["val"].tolist())
    run.train()
    first = run.of(events.EpochFinished)[0].metrics
    assert first["train_loss"] != first["val_loss"]


def test_failure_2_a_checkpoint_resumes_optimizer_and_schedule(make_run):
    changes = {
        "training": {"epochs": 6},
        "optimizer": {"target": "sgd", "learning_rate": 0.1, "args": {"momentum": 0.9}},
        "scheduler": {"target": "cosine"},
        "checkpoint": {"checkpoint_every_n_epochs": 3},
    }
    straight = make_run(changes)
    straight.train()
    resumed = make_run(changes)
    resumed.trainer.load(load_checkpoint(straight.folder / periodic_name(3)))
    assert resumed.trainer.learning_rate == pytest.approx(0.05)
    resumed.train()
    assert same(weights(straight), weights(resumed))
    assert [row["val_loss"] for row in straight.trainer.history] == [
        row["val_loss"] for row in resumed.trainer.history
    ]


def test_failure_3_every_epoch_is_validated_in_eval_mode_without_gradients(make_run):
    seen = []

    def watch(parts):
        def hook(module, _inputs, output):
            seen.append((module.training, torch.is_grad_enabled()))

        parts.model.register_forward_hook(hook)

    run = make_run({"monitoring": {"probe_every_n_epochs": 0}}, before=watch)
    run.train()
    assert set(seen) == {(True, True), (False, False)}
    assert seen.count((False, False)) == 3 * len(run.trainer.parts.val)
    assert all("val_loss" in event.metrics for event in run.of(events.EpochFinished))


def test_failure_4_nothing_is_kept_alive_between_steps(make_run):
    # Without checkpoints: a snapshot's buffers are made when they are needed, which may be late.
    none = {"save_best": False, "save_last": False, "checkpoint_every_n_epochs": None}
    probed = {"probe_every_n_epochs": 1}  # all epochs alike
    run = make_run({"training": {"epochs": 12}, "checkpoint": none, "monitoring": probed})
    counts = []

    def count(event):
        if isinstance(event, events.EpochFinished):
            gc.collect()
            counts.append(sum(1 for item in gc.get_objects() if issubclass(type(item), torch.Tensor)))

    run.trainer.emit = count
    run.train()
    assert max(counts[3:]) - min(counts[3:]) <= 2


# ── best, early stopping, checkpoints ───────────────────────────────────────────────────────────────────────────


def test_best_is_the_best_by_the_monitored_metric(make_run):
    run = make_run(
        {"training": {"epochs": 5}, "checkpoint": {"monitor": "val_accuracy", "monitor_mode": "max"}}
    )
    run.train()
    values = [row["val_accuracy"] for row in run.trainer.history]
    best = load_checkpoint(run.folder / BEST)
    assert best["epoch"] == values.index(max(values)) + 1
    assert best["metrics"]["val_accuracy"] == max(values)


def test_early_stopping_counts_epochs_without_improvement(make_run):
    run = make_run(
        {
            "training": {"epochs": 50},
            "optimizer": {"learning_rate": 1e-9},
            "early_stopping": {"enabled": True, "patience": 3, "min_delta": 0.1},
        }
    )
    outcome = run.train()
    assert outcome.status == "early_stopped"
    assert run.trainer.epoch == 4
    assert load_checkpoint(run.folder / LAST)["epoch"] == 4


def test_the_best_few_and_every_nth_epoch_keep_their_files(make_run):
    run = make_run(
        {
            "training": {"epochs": 9},
            "optimizer": {"learning_rate": 0.02},
            "checkpoint": {"checkpoint_every_n_epochs": 4, "keep_best_n": 3},
        }
    )
    run.train()
    losses = {row["epoch"]: row["val_loss"] for row in run.trainer.history}
    best = sorted(losses, key=losses.__getitem__)[:3]
    files = {path.name for path in run.folder.glob("checkpoint_epoch_*.pt")}
    assert files == {periodic_name(epoch) for epoch in {*best, 4, 8}}


# ── non-finite batches ──────────────────────────────────────────────────────────────────────────────────────────

GUARDED = {
    "plain": {},
    "batch norm": {
        "data": {"args": {"image": True}},
        "model": {"target": "cnn", "args": {"batch_norm": True}},
    },
    "rmsprop": {"optimizer": {"target": "rmsprop"}},
    "sgd momentum": {"optimizer": {"target": "sgd", "args": {"momentum": 0.9}}},
    "clipping": {"training": {"gradient_clip_norm": 1.0}},
    "bf16": {"training": {"precision": "bf16"}},
    "fp16 scaler": {"training": {"precision": "fp16"}},
}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("case", GUARDED)
@pytest.mark.parametrize("trust_device", [False, True])
def test_a_non_finite_batch_leaves_no_trace(make_run, case, bad, trust_device):
    """Weights, buffers and optimizer state after the bad batch are those from before it."""
    run = make_run(
        GUARDED[case], trust_device=trust_device and case in {"plain", "batch norm", "sgd momentum"}
    )
    trainer = run.trainer
    parts, runner = trainer.parts, trainer.step_runner
    batches = list(parts.train.epoch(1))

    def everything():
        found = [*parts.model.state_dict().values()]
        for state in parts.optimizer.state_dict()["state"].values():
            found += [value for value in state.values() if isinstance(value, torch.Tensor)]
        found += [torch.tensor(float(value)) for value in parts.precision.state_dict().values()]
        return [item.detach().clone() for item in found]

    for number, batch in enumerate(batches[:6]):
        if number in {0, 3}:
            before = everything()
            poisoned = batch.inputs.clone()
            poisoned[2] = bad
            batch.inputs, clean = poisoned, batch.inputs
            result = runner.run([batch], measure=False, on_outputs=lambda *_: None)
            assert bool(result.skipped)
            after = everything()
            if number:  # before the first step there is no optimizer state to compare
                assert same(before, after)
            assert all(torch.isfinite(item).all() for item in after if item.is_floating_point())
            batch.inputs = clean
        result = runner.run([batch], measure=False, on_outputs=lambda *_: None)
        assert not bool(result.skipped)
    run.checkpointer.close()


def poison(*steps: int):
    """Make the loss of these training batches (counted from 1) NaN."""

    def apply(parts):
        loss, count = parts.loss, iter(range(1, 10**9))

        class Poisoned:
            module, name = loss.module, loss.name

            def __call__(self, outputs, targets, inputs=None):
                value = loss(outputs, targets, inputs)
                return value * math.nan if torch.is_grad_enabled() and next(count) in steps else value

        parts.loss = Poisoned()

    return apply


def test_a_skipped_batch_is_logged_raw_and_counted(make_run):
    run = make_run(before=poison(7))
    run.train()
    (skip,) = run.of(events.NonFiniteSkipped)
    assert (skip.step, skip.epoch, skip.consecutive) == (7, 1, 1)
    assert math.isnan(skip.loss)
    first, second = run.of(events.EpochFinished)[:2]
    assert math.isnan(first.metrics["train_loss"]), "never averaged away"
    assert math.isfinite(second.metrics["train_loss"])
    state = load_checkpoint(run.folder / LAST)
    assert all(torch.isfinite(v).all() for v in state["model_state_dict"].values() if v.is_floating_point())
    assert state["history"][0]["train_loss"] == "NaN"


def test_ten_skips_in_a_row_end_the_run_with_advice(make_run):
    run = make_run(before=poison(*range(5, 100)))
    with pytest.raises(TrainingError, match="10 batches in a row"):
        run.train()
    assert run.trainer.step == 14


def test_checkpoints_after_an_anomaly_are_not_called_valid(make_run):
    import json

    run = make_run(
        {"checkpoint": {"checkpoint_every_n_epochs": 1}}, before=poison(len(range(0, 1437, 64)) + 2)
    )
    run.train()
    files = json.loads((run.folder / "manifest.json").read_text())["files"]
    assert files[periodic_name(1)]["valid"] is True
    assert files[periodic_name(2)]["valid"] is False


def two_part_loss(parts):
    loss = parts.loss

    class Parted:
        module, name = loss.module, loss.name

        def __call__(self, outputs, targets, inputs=None):
            return {"fit": loss(outputs, targets, inputs), "size": outputs.pow(2).mean() * 0.01}

    parts.loss = Parted()


def test_loss_components_are_those_of_every_step_wherever_the_host_looks(make_run):
    """With fused optimizers on a GPU the host reads figures only every few steps; nothing may get lost between."""
    rows = []
    for trust_device in (False, True):
        run = make_run({"optimizer": {"target": "sgd"}}, before=two_part_loss, trust_device=trust_device)
        run.train()
        rows.append([event.row for event in run.of(events.SeriesRow) if event.series == "loss_components"])
    assert rows[0] == rows[1]
    for row in rows[0]:
        assert row["loss_fit"] + row["loss_size"] == pytest.approx(row["total_loss"], rel=1e-5)


def test_a_learning_rate_that_is_no_number_never_reaches_a_weight(make_run):
    def breaks(parts):
        def after_epoch(_value):
            parts.optimizer.param_groups[0]["lr"] = math.nan

        parts.schedule.after_epoch = after_epoch

    run = make_run(before=breaks)
    with pytest.raises(TrainingError, match="learning rate to nan"):
        run.train()
    assert all(torch.isfinite(item).all() for item in weights(run))


def test_a_checkpoint_taken_during_validation_resumes_before_it(make_run):
    """A model that draws random numbers in eval mode: validation is repeated, and training goes on, as if straight."""

    class Noisy(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return nn.functional.dropout(self.inner(x), 0.3, training=True)

    def noisy(parts):
        parts.model.layers.append(Noisy(nn.Identity()))

    straight = make_run(before=noisy)
    straight.train()
    stopped = make_run(before=noisy)
    evaluated = iter(range(10**6))
    forward = stopped.trainer.parts.model.forward

    def watching(x):
        if not torch.is_grad_enabled() and next(evaluated) == 1:
            stopped.trainer.commands.put(Command("checkpoint"))
            stopped.trainer.commands.put(Command("stop"))
        return forward(x)

    stopped.trainer.parts.model.forward = watching
    stopped.train()
    resumed = make_run(before=noisy)
    resumed.trainer.load(load_checkpoint(stopped.folder / LAST))
    resumed.train()
    assert [row["val_loss"] for row in straight.trainer.history] == [
        row["val_loss"] for row in resumed.trainer.history
    ]
    assert same(weights(straight), weights(resumed))


# ── commands ────────────────────────────────────────────────────────────────────────────────────────────────────


def on_step(run, step: int, *commands: Command) -> None:
    """Send commands when `step` has been logged."""
    emit = run.trainer.emit

    def watching(event):
        emit(event)
        if isinstance(event, events.StepLogged) and event.step == step:
            for command in commands:
                run.trainer.commands.put(command)

    run.trainer.emit = watching


def test_stop_saves_the_very_batch_it_stopped_at(make_run):
    run = make_run()
    on_step(run, 10, Command("stop"))
    outcome = run.train()
    assert outcome.status == "stopped"
    state = load_checkpoint(run.folder / LAST)
    assert (state["step"], state["step_in_epoch"], state["epoch_complete"]) == (10, 10, False)


def test_stop_after_the_epoch_finishes_it(make_run):
    run = make_run()
    on_step(run, 10, Command("stop", {"when": "epoch"}))
    run.train()
    state = load_checkpoint(run.folder / LAST)
    assert (state["epoch"], state["epoch_complete"]) == (1, True)


def test_pause_waits_for_resume_and_answers_both(make_run):
    run = make_run()
    on_step(run, 10, Command("pause"), Command("resume"))
    assert run.train().status == "completed"
    assert [(e.command, e.accepted) for e in run.of(events.CommandHandled)] == [
        ("pause", True),
        ("resume", True),
    ]


def test_learning_rate_is_set_and_nonsense_refused(make_run):
    run = make_run({"scheduler": {"target": "none"}})
    on_step(
        run,
        5,
        Command("set_learning_rate", {"learning_rate": 0.02}),
        Command("set_learning_rate", {"learning_rate": -1}),
    )
    run.train()
    assert [event.accepted for event in run.of(events.CommandHandled)] == [True, False]
    assert run.of(events.EpochFinished)[-1].learning_rate == pytest.approx(0.02)


def test_a_rate_that_somebody_set_is_not_called_reduced(make_run):
    run = make_run({"scheduler": {"target": "none"}, "training": {"epochs": 3}})

    def lower(event):
        if isinstance(event, events.EpochFinished) and event.epoch == 1:
            run.trainer.commands.put(
                Command("set_learning_rate", {"learning_rate": event.learning_rate / 10})
            )

    emit = run.trainer.emit
    run.trainer.emit = lambda event: (emit(event), lower(event))
    run.train()
    told = [(event.lr_reduced, event.lr_set) for event in run.of(events.EpochFinished)]
    assert told == [(False, False), (False, True), (False, False)]


def test_more_epochs_are_refused_where_the_schedule_has_a_fixed_length(make_run):
    open_ended, fixed = make_run(), make_run({"scheduler": {"target": "cosine"}})
    for run in (open_ended, fixed):
        on_step(run, 5, Command("extend", {"epochs": 4}))
        run.train()
    assert open_ended.trainer.epoch == 4
    assert fixed.trainer.epoch == 3
    (answer,) = fixed.of(events.CommandHandled)
    assert "fixed length" in answer.message


class Stubborn:
    """A schedule of the user's that takes the learning rate from a table of its own."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    def step(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = 0.1

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def test_a_learning_rate_that_the_schedule_would_undo_is_refused(make_run):
    run = make_run({"scheduler": {"target": "tests.engine.test_trainer:Stubborn"}})
    on_step(run, 5, Command("set_learning_rate", {"learning_rate": 0.02}))
    run.train()
    (answer,) = run.of(events.CommandHandled)
    assert not answer.accepted
    assert "Stubborn sets the learning rate in a way of its own" in answer.message


def test_interventions_are_in_the_checkpoint_before_they_are_answered(make_run):
    run = make_run({"training": {"epochs": 2}})
    on_step(run, 5, Command("set_learning_rate", {"learning_rate": 0.02}), Command("extend", {"epochs": 3}))
    known = []
    emit = run.trainer.emit

    def watching(event):
        emit(event)
        if isinstance(event, events.CommandHandled):
            known.append(load_checkpoint(run.folder / LAST)["interventions"])

    run.trainer.emit = watching
    run.train()
    rate = {"learning_rate": 0.02, "epoch": 1, "step": 5, "command": "set_learning_rate"}
    more = {"epochs": 3, "epoch": 1, "step": 5, "command": "extend"}
    assert known == [[rate], [rate, more]]


def test_the_heart_beats_in_steps_and_rests_in_all_that_may_take_its_time(make_run):
    beats = {"step": set(), "validation": set(), "checkpoint": set(), "pause": set()}

    def watch(parts):
        def hook(module, _inputs):
            beats["step" if module.training else "validation"].add(run.trainer.heartbeat)

        parts.model.register_forward_pre_hook(hook)

    run = make_run({"training": {"epochs": 1}}, before=watch)
    write, wait, queue = run.checkpointer.save, run.trainer.commands.wait, run.trainer.commands

    def save(*args, **options):
        beats["checkpoint"].add(run.trainer.heartbeat)
        return write(*args, **options)

    def paused():
        beats["pause"].add(run.trainer.heartbeat)
        queue.put(Command("resume"))
        return wait()

    run.checkpointer.save, queue.wait = save, paused
    queue.put(Command("pause"))
    run.train()
    assert len(beats.pop("step")) == len(run.trainer.parts.train)
    assert set().union(*beats.values()) == {None}
    assert all(beats.values())


def test_a_step_that_fails_names_its_samples(make_run):
    def fail_at_the_fifth(parts):
        passes = iter(range(1000))

        def hook(module, _inputs):
            if module.training and next(passes) == 4:
                raise KeyError("fifth")

        parts.model.register_forward_pre_hook(hook)

    run = make_run(before=fail_at_the_fifth)
    runner = run.trainer.step_runner
    assert runner.rows_in_hand == []
    with pytest.raises(KeyError, match="fifth"):
        run.train()
    fifth = list(run.trainer.parts.train.epoch(1))[4]
    assert runner.rows_in_hand == fifth.rows.tolist()
    runner.undo()
    assert runner.rows_in_hand == fifth.rows.tolist(), "still known once the state is saved"
