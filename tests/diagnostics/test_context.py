"""What is measured before the first step: yardsticks, copies across the split, parameters out of reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tui_trainer.config.loading import parse_config
from tui_trainer.data.dataset import ArrayDataset
from tui_trainer.diagnostics.context import measure
from tui_trainer.diagnostics.copies import content_hashes, exact_copies, near_copies
from tui_trainer.diagnostics.dummy_pass import unreached
from tui_trainer.diagnostics.yardsticks import Space
from tui_trainer.engine.parts import Parts, assemble, load_data

OWN = "tests.diagnostics.test_context"


def parts_of(**changes: Any) -> Parts:
    config = parse_config({"name": "measured", "device": "cpu", "seed": 1} | changes)
    return assemble(config, load_data(config, Path()), Path())


def with_model(name: str, **model: Any) -> Parts:
    return parts_of(model={"target": f"{OWN}:{name}"} | model)


# --- yardsticks ---------------------------------------------------------------------------------------------


def test_simple_predictors_are_measured_on_classes() -> None:
    found = measure(parts_of())
    assert sum(found["class_counts"]) == found["train_samples"]
    assert found["trivial"]["val_accuracy"] < 0.15
    assert 0.9 < found["linear"]["val_accuracy"] < 1
    assert 0.95 < found["neighbours"]["val_accuracy"] < 1


def test_simple_predictors_are_measured_on_numbers() -> None:
    found = measure(parts_of(data={"target": "diabetes"}, loss={"target": "mse"}))
    assert found["trivial"]["val_r2"] == pytest.approx(0, abs=0.05)
    assert 0.35 < found["linear"]["val_r2"] < 0.6
    assert found["linear"]["val_loss"] == found["linear"]["val_mse"] < found["trivial"]["val_mse"]


@pytest.mark.parametrize("data", ["breast_cancer", "wine"])
def test_a_linear_model_does_well_on_what_is_linear(data: str) -> None:
    assert measure(parts_of(data={"target": data}))["linear"]["val_accuracy"] > 0.93


# --- copies -------------------------------------------------------------------------------------------------


def two_sets(copied: int = 0, noise: float = 0.0) -> tuple[ArrayDataset, ArrayDataset]:
    generator = torch.Generator().manual_seed(0)
    train, val = torch.randn(200, 6, generator=generator), torch.randn(60, 6, generator=generator)
    val[:copied] = train[40 : 40 + copied] + noise * torch.randn(copied, 6, generator=generator)
    return ArrayDataset(train, torch.arange(200) % 3), ArrayDataset(val, torch.arange(60) % 3)


def test_copies_across_the_split_are_found_and_named() -> None:
    found = exact_copies(*two_sets(copied=9))
    assert (found["copies"], found["contents"], found["compared"]) == (9, 9, 60)
    assert found["rows"][:3] == [0, 1, 2]
    assert found["of"][:3] == [40, 41, 42]
    assert found["disagree"] == 9  # the targets at 40 … are others than those at 0 …


def test_how_many_inputs_there_could_be() -> None:
    bits = torch.randint(0, 2, (200, 3), generator=torch.Generator().manual_seed(0)).float()
    few = ArrayDataset(bits, torch.zeros(200))
    assert exact_copies(few, few)["possible"] == 8
    assert exact_copies(*two_sets())["possible"] == 10**9


def test_what_only_looks_alike_is_no_copy() -> None:
    train, val = two_sets(copied=9, noise=1e-4)
    assert exact_copies(train, val)["copies"] == 0
    assert near_copies(Space(train, val))["near"] == 9
    assert near_copies(Space(*two_sets()))["near"] == 0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64, torch.float32, torch.float64])
def test_hashes_tell_contents_apart(dtype: torch.dtype) -> None:
    values = torch.randint(0, 2, (300, 31), generator=torch.Generator().manual_seed(1)).to(dtype)
    values[7] = values[3]
    hashes = content_hashes(values)
    assert hashes[7] == hashes[3]
    assert len(torch.unique(hashes)) == len(torch.unique(values.to(torch.int64), dim=0))


def test_zeros_of_both_signs_are_the_same_content() -> None:
    hashes = content_hashes(torch.tensor([[0.0, 1.0], [-0.0, 1.0]]))
    assert hashes[0] == hashes[1]


# --- parameters out of reach --------------------------------------------------------------------------------


class Base(nn.Module):
    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(in_features, 16), nn.Linear(16, num_classes)
        self.normal = nn.BatchNorm1d(16)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.normal(torch.relu(self.first(x))))
        return out


class Unused(Base):
    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        self.spare = nn.Linear(16, 16)


class Detached(Base):
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.normal(torch.relu(self.first(x))).detach())
        return out


class Listed(Base):
    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        self.blocks = [nn.Linear(16, 16), nn.Linear(16, 16)]
        self.known = [self.first]

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.first(x))
        for block in self.blocks:
            hidden = torch.relu(block(hidden))
        out: Tensor = self.last(self.normal(hidden))
        return out


class Teacher(Base):
    """Keeps a model away from the optimizer on purpose: nothing flows back into it."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        self.teacher = [nn.Linear(in_features, 16)]

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            hint = self.teacher[0](x)
        out: Tensor = self.last(self.normal(torch.relu(self.first(x)) + 0.0 * hint))
        return out


class Frozen(Base):
    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        self.first.requires_grad_(False)


class Moody(Base):
    """Leaves a layer out at random, counts its calls, and draws numbers."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        self.extra, self.calls = nn.Linear(16, 16), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        hidden = torch.relu(self.first(x))
        if self.calls % 3 == 1 or not self.training:
            hidden = self.extra(hidden)
        torch.rand(3)
        out: Tensor = self.last(self.normal(hidden))
        return out


class Failing(Base):
    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            raise ValueError(x.shape)
        return super().forward(x)


@pytest.mark.parametrize("name", ["Base", "Teacher", "Moody", "Failing"])
def test_nothing_is_said_of_a_sound_model(name: str) -> None:
    assert unreached(with_model(name)) == {}


@pytest.mark.parametrize(
    ("name", "kind", "names"),
    [
        ("Unused", "no_gradient", ["spare.weight", "spare.bias"]),
        ("Detached", "no_gradient", ["first.weight", "first.bias", "normal.weight", "normal.bias"]),
        ("Listed", "not_registered", ["blocks"]),
        ("Frozen", "frozen", ["first.weight", "first.bias"]),
    ],
)
def test_what_training_would_not_change_is_named(name: str, kind: str, names: list[str]) -> None:
    found = unreached(with_model(name))
    assert found[kind] == names
    assert found[f"{kind}_count"] == len(names)
    assert found[f"{kind}_numbers"] > 0


def test_freezing_that_the_config_asks_for_is_fine() -> None:
    assert unreached(with_model("Frozen", freeze=["first"])) == {}


def test_looking_leaves_the_model_as_it_was() -> None:
    parts = with_model("Moody")
    state = {name: value.clone() for name, value in parts.model.state_dict().items()}
    calls, drawn = parts.model.calls, torch.get_rng_state()
    parts.model.first.weight.grad = torch.ones_like(parts.model.first.weight)
    measure(parts)
    assert all(torch.equal(value, state[name]) for name, value in parts.model.state_dict().items())
    assert parts.model.calls == calls
    assert parts.model.training
    assert torch.equal(torch.get_rng_state(), drawn)
    gradients = {name for name, item in parts.model.named_parameters() if item.grad is not None}
    assert gradients == {"first.weight"}
    assert torch.equal(parts.model.first.weight.grad, torch.ones_like(parts.model.first.weight))


# --- data for real trainings --------------------------------------------------------------------------------


def repeated() -> ArrayDataset:
    """Every sample three times, before the data is divided."""
    inputs = torch.randn(60, 6, generator=torch.Generator().manual_seed(0)).repeat(3, 1)
    return ArrayDataset(inputs, (inputs[:, 0] > 0).long())


def mislabelled() -> tuple[ArrayDataset, ArrayDataset]:
    """Sixty train samples whose labels are chance, which can only be learned by heart."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(460, 20, generator=generator)
    targets = torch.randint(0, 2, (460,), generator=generator)
    return ArrayDataset(inputs[:60], targets[:60]), ArrayDataset(inputs[60:], targets[60:])


def lopsided() -> ArrayDataset:
    """Forty samples of one class to one of the other, which no input tells apart."""
    inputs = torch.randn(820, 6, generator=torch.Generator().manual_seed(0))
    return ArrayDataset(inputs, (torch.arange(820) % 41 == 0).long())
