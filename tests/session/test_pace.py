"""A baseline that will take more than an hour says so once, with what to change."""

from __future__ import annotations

from typing import Any

from tests.reports.sample_run import started
from tui_trainer.config.loading import parse_config
from tui_trainer.engine.events import EpochFinished, StepLogged
from tui_trainer.session.pace import Pace


def pace(**changes: Any) -> Pace:
    watched = Pace(parse_config({"data": {"batch_size": 16}}))
    assert watched.observe(started(epochs=20, steps_per_epoch=100, **changes)) is None
    return watched


def step(number: int, time: float) -> StepLogged:
    return StepLogged(
        time=time, epoch=1, step=number, step_in_epoch=number, loss=1.0, learning_rate=0.1, grad_norm=None,
        samples_per_second=1.0,
    )  # fmt: skip


def finished(seconds: float, wait: float = 0.0) -> EpochFinished:
    return EpochFinished(
        time=0.0, epoch=1, step=100, metrics={}, learning_rate=0.1, lr_reduced=False, grad_norm=None,
        epoch_time=seconds, samples_per_second=1.0, data_wait=wait, gpu_util=None, is_best=True, best_epoch=1,
        best_value=1.0, epochs_without_improvement=0, checkpoints=(),
    )  # fmt: skip


def test_a_run_within_the_hour_says_nothing() -> None:
    watched = pace()
    assert watched.observe(finished(179.0)) is None


def test_a_longer_one_says_so_once() -> None:
    watched = pace()
    said = watched.observe(finished(240.0, wait=0.5))
    assert said is not None
    assert "1h 20m" in said
    assert "training.epochs: 15 would fit" in said
    assert "50% of the time goes by waiting for data" in said
    assert watched.observe(finished(240.0)) is None


def test_the_steps_of_a_long_epoch_tell_before_its_end() -> None:
    watched = pace()
    assert watched.observe(step(10, 100.0)) is None
    assert watched.observe(step(20, 150.0)) is None, "a minute of steps is waited for"
    said = watched.observe(step(24, 165.0))
    assert said is not None
    assert "data.batch_size: 16 → 32" in said


def test_other_phases_may_take_their_time() -> None:
    assert pace(mode="finalize").observe(finished(9_000.0)) is None
