"""Probes: shares of units and outputs that pass no gradient on, and predictions by class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tui_trainer.data.batches import Batch
from tui_trainer.data.dataset import Task
from tui_trainer.engine import events
from tui_trainer.engine.precision import Precision
from tui_trainer.engine.probes import Probe, due

PLAIN = Precision("fp32", torch.device("cpu"))


def looked_at(model: nn.Module, inputs: Tensor) -> dict[str, dict[str, Any]]:
    probe = Probe(Task("custom"), 1, 1000)
    probe.take(Batch(inputs, None, len(inputs), 0, torch.arange(len(inputs))))
    return {str(row["layer"]): dict(row) for row in probe.activation_rows(model, PLAIN)}


def biased(linear: nn.Linear, units: int, bias: float) -> nn.Linear:
    with torch.no_grad():
        linear.bias[:units] = bias
    return linear


@pytest.mark.parametrize(
    ("epoch", "last", "every", "expected"),
    [(1, 20, 5, True), (3, 20, 5, True), (4, 20, 5, False), (10, 20, 5, True), (19, 19, 5, True), (1, 5, 0, False)],
)  # fmt: skip
def test_some_epochs_are_looked_at(epoch: int, last: int, every: int, expected: bool) -> None:
    assert due(epoch, last, every) is expected


def test_a_relu_unit_that_no_sample_activates_is_dead() -> None:
    model = nn.Sequential(biased(nn.Linear(4, 8), 6, -1000.0), nn.ReLU(), nn.Linear(8, 2))
    rows = looked_at(model, torch.randn(64, 4))
    assert rows["1"] == {
        "layer": "1",
        "kind": "ReLU",
        "units": 8,
        "samples": 64,
        "dead": 0.75,
        "saturated": 0.0,
    }


def test_tanh_and_sigmoid_outputs_at_their_ends_are_counted() -> None:
    model = nn.Sequential(
        biased(nn.Linear(4, 8), 4, 50.0), nn.Tanh(), biased(nn.Linear(8, 10), 10, -50.0), nn.Sigmoid(),
        nn.Linear(10, 2),
    )  # fmt: skip
    rows = looked_at(model, 0.01 * torch.randn(64, 4))
    assert (rows["1"]["dead"], rows["1"]["saturated"]) == (0.5, 0.5)
    assert (rows["3"]["dead"], rows["3"]["saturated"]) == (1.0, 1.0)


def test_what_makes_the_output_is_not_judged() -> None:
    assert looked_at(nn.Sequential(nn.Linear(4, 2), nn.Sigmoid(), nn.Flatten()), torch.randn(64, 4)) == {}


@pytest.mark.parametrize(
    ("model", "shape", "units"),
    [
        (nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 2, 1)), (3, 8, 8), 5),
        (nn.Sequential(nn.Conv1d(3, 5, 3), nn.ReLU(), nn.Conv1d(5, 2, 1)), (3, 9), 5),
        (nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 2)), (9, 6), 7),
        (nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 2)), (4, 9, 6), 7),
    ],
)
def test_units_are_channels(model: nn.Module, shape: tuple[int, ...], units: int) -> None:
    (row,) = looked_at(model, torch.randn(40, *shape)).values()
    assert row["units"] == units


def test_a_module_that_is_called_twice_has_two_rows() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.third = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
            self.act = nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.third(self.act(self.second(self.act(self.first(x)))))
            return out

    assert list(looked_at(Twice(), torch.randn(40, 4))) == ["act", "act (2)"]


def test_a_model_that_raises_gives_no_rows() -> None:
    class Fussy(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError(len(x))

    model = Fussy(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    assert looked_at(model, torch.randn(40, 4)) == {}
    assert not model[1]._forward_hooks


def test_predictions_are_counted_by_class(make_run: Callable[..., Any]) -> None:
    run = make_run({"monitoring": {"probe_every_n_epochs": 2}, "training": {"epochs": 6}})
    run.train()
    rows = [event for event in run.of(events.SeriesRow) if event.series == "prediction_stats"]
    assert sorted({event.epoch for event in rows}) == [1, 2, 3, 4, 6]
    last = [event.row for event in rows if event.epoch == 6]
    finished = run.of(events.EpochFinished)[-1]
    samples = run.trainer.parts.val.samples
    assert [row["class"] for row in last] == [str(number) for number in range(10)]
    assert sum(row["samples"] for row in last) == sum(row["predicted"] for row in last) == samples
    assert sum(row["correct"] for row in last) == round(finished.metrics["val_accuracy"] * samples)


def test_labels_that_do_not_count_are_left_out() -> None:
    probe = Probe(Task("classification", 3), 1, 100)
    take = probe.beside(lambda outputs, targets: None)
    take(torch.eye(3)[[0, 1, 1, 2]], torch.tensor([0, 1, 2, -100]))
    assert [(row["samples"], row["predicted"], row["correct"]) for row in probe.prediction_rows()] == [
        (1, 1, 1), (1, 2, 1), (1, 0, 0),
    ]  # fmt: skip


def test_a_probe_takes_samples_from_the_whole_pass() -> None:
    probe = Probe(Task("custom"), 50, 1000)
    for position in range(50):
        inputs = torch.full((40, 4), float(position))
        probe.take(Batch(inputs, None, 40, position, torch.arange(40)))
    kept = torch.cat(probe._samples)
    assert len(kept) == 64
    assert len(kept[:, 0].unique()) >= 25
