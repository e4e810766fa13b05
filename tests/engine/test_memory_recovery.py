"""Memory that runs out: the same batch again, fewer samples at a time, with the loss and gradient of the whole."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.runs import differences
from tui_trainer.config.errors import TrainingError
from tui_trainer.data.batches import Batch
from tui_trainer.engine import events
from tui_trainer.engine.checkpoints import load_checkpoint, periodic_name
from tui_trainer.engine.losses import Loss
from tui_trainer.engine.memory_recovery import even_parts, is_memory_shortage, requested_memory
from tui_trainer.engine.pieces import Indivisible, LossShares, pieces_of, take_rows

OWN = "tests.engine.test_memory_recovery"
CUDA = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB"
CPU = "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 1048576 bytes."


def first_tensor(content):
    if isinstance(content, dict):
        content = list(content.values())
    return first_tensor(content[0]) if isinstance(content, (list, tuple)) else content


def holds(limit: int, *, phase: bool = True, error=torch.OutOfMemoryError, text: str = CUDA, after: int = 0):
    """Memory for `limit` samples in training (or, `phase` False, in validation), from pass `after` on."""
    passes = iter(range(1_000_000))

    def before(parts):
        def check(module, args, kwargs):
            rows = len(first_tensor([*args, *kwargs.values()]))
            if module.training is phase and next(passes) >= after and rows > limit:
                torch.rand(3)  # what a failed attempt drew must not be missed
                raise error(text)

        parts.model.register_forward_pre_hook(check, with_kwargs=True)

    return before


def shortages(run) -> list[tuple[str, int, int | None]]:
    found = run.of(events.MemoryShortage)
    return [(event.phase, event.micro_batch, event.next_micro_batch) for event in found]


def logged(run) -> list[float]:
    return [event.loss for event in run.of(events.StepLogged)]


def assert_like_a_run_with_memory(make_run, changes, *, limit: int, tolerance: float = 1e-6, **injected):
    """Losses of every step, and of the epochs, are those of a run that memory held out for."""
    every = changes | {"monitoring": {"log_every_n_steps": 1}}
    free, short = make_run(every), make_run(every, before=holds(limit, **injected))
    free.train()
    short.train()
    assert shortages(short)
    assert logged(short) == pytest.approx(logged(free), abs=tolerance)
    for a, b in zip(free.trainer.history, short.trainer.history, strict=True):
        for name in ("train_loss", "val_loss"):
            assert b[name] == pytest.approx(a[name], abs=tolerance)
    return free, short


SGD = {"optimizer": {"target": "sgd", "learning_rate": 0.1}, "training": {"epochs": 1}}


# ── the same result ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("limit", [32, 20, 7, 1])
def test_losses_are_those_of_a_run_with_enough_memory(make_run, limit):
    _, short = assert_like_a_run_with_memory(make_run, SGD, limit=limit)
    last = shortages(short)[-1]
    assert last[2] is not None
    assert last[2] <= limit


def test_adam_reaches_the_same_losses(make_run):
    assert_like_a_run_with_memory(
        make_run, {"training": {"epochs": 1}, "optimizer": {"target": "adam"}}, limit=16
    )


def test_accumulated_batches_count_as_before(make_run):
    changes = {
        "optimizer": SGD["optimizer"],
        "training": {"epochs": 1, "gradient_accumulation_steps": 3},
    }
    _, short = assert_like_a_run_with_memory(make_run, changes, limit=16, after=2)
    assert shortages(short) == [("training", 64, 32), ("training", 32, 16)], (
        "the third batch of a group failed"
    )


def test_clipping_sees_the_gradient_of_the_whole_batch(make_run):
    changes = SGD | {"training": {"epochs": 1, "gradient_clip_norm": 0.1}}
    assert_like_a_run_with_memory(make_run, changes, limit=16)


def test_fp16_with_a_gradient_scaler(make_run):
    changes = SGD | {"training": {"epochs": 1, "precision": "fp16"}}
    free, short = assert_like_a_run_with_memory(make_run, changes, limit=16, tolerance=5e-3)
    assert short.trainer.overflowed == free.trainer.overflowed


def test_validation_in_pieces_gives_the_same_values(make_run):
    free, short = assert_like_a_run_with_memory(make_run, SGD, limit=100, phase=False)
    assert shortages(short) == [("validation", 256, 128), ("validation", 128, 64)]
    assert short.trainer.history[-1]["val_accuracy"] == free.trainer.history[-1]["val_accuracy"]
    for a, b in zip(
        free.trainer.parts.model.parameters(), short.trainer.parts.model.parameters(), strict=True
    ):
        assert torch.equal(a, b)


def test_a_validation_that_failed_midway_counts_no_sample_twice(make_run):
    changes = SGD | {"data": {"val_fraction": 0.5}}
    free, short = assert_like_a_run_with_memory(make_run, changes, limit=100, phase=False, after=2)
    assert short.trainer.history[-1]["val_accuracy"] == free.trainer.history[-1]["val_accuracy"]


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, pair, scale=1.0):
        return {"logits": self.layer(torch.cat(list(pair), 1)) * scale}


class Keyed(TwoInputs):
    def forward(self, left, right, label, name, scale):
        assert len(name) == len(left) == len(label)
        return super().forward((left, right), scale)


def samples() -> list[tuple[torch.Tensor, torch.Tensor, int]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(2, generator=generator), torch.randn(4, generator=generator), k % 3) for k in range(90)
    ]


class Items(torch.utils.data.Dataset):
    def __init__(self, items) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def nested() -> Items:
    return Items([((left, right), label) for left, right, label in samples()])


def keyed() -> Items:
    return Items(
        [
            {"left": left, "right": right, "label": label, "name": f"sample {label}"}
            for left, right, label in samples()
        ]
    )


def with_scale(items):
    return torch.utils.data.default_collate(items) | {"scale": torch.tensor(2.0)}


@pytest.mark.parametrize(
    ("model", "data"),
    [
        ("TwoInputs", {"target": f"{OWN}:nested"}),
        ("Keyed", {"target": f"{OWN}:keyed", "collate": f"{OWN}:with_scale"}),
    ],
)
def test_batches_of_tuples_and_dicts_are_cut_through(make_run, model, data):
    changes = SGD | {
        "data": {"batch_size": 32, "task": "classification"} | data,
        "model": {"target": f"{OWN}:{model}", "args": {}},
        "loss": {"target": "cross_entropy"},
    }
    assert_like_a_run_with_memory(make_run, changes, limit=10)


# ── what the loss is a mean of ──────────────────────────────────────────────────────────────────────────────────


def sum_of_squares(outputs, targets):
    return ((outputs - functional.one_hot(targets, 10)) ** 2).sum()


def mean_of_squares(outputs, targets):
    return ((outputs - functional.one_hot(targets, 10)) ** 2).mean()


def in_parts(outputs, targets):
    return {"fit": mean_of_squares(outputs, targets), "size": 0.01 * outputs.square().mean()}


def contrast(outputs, targets):
    return -torch.log_softmax(outputs @ outputs.T / 10, dim=1).diagonal().mean()


@pytest.mark.parametrize(
    "loss",
    [
        {"target": "cross_entropy", "args": {"weight": [1, 2, 3, 4, 5, 1, 1, 1, 9, 1]}},
        {"target": "cross_entropy", "args": {"ignore_index": 3, "label_smoothing": 0.1}},
        {"target": "cross_entropy", "args": {"reduction": "sum"}},
        {"target": f"{OWN}:mean_of_squares"},
        {"target": f"{OWN}:sum_of_squares"},
        {"target": f"{OWN}:in_parts"},
    ],
    ids=lambda loss: f"{loss['target'].rpartition(':')[2]} {[*loss.get('args', {})]}",
)
def test_pieces_count_by_what_the_mean_is_taken_over(make_run, loss):
    summed = "sum" in str(loss)
    changes = SGD | {"loss": loss, "optimizer": {"target": "sgd", "learning_rate": 1e-4 if summed else 0.1}}
    _, short = assert_like_a_run_with_memory(make_run, changes, limit=20, tolerance=1e-3 if summed else 1e-6)
    assert not [line for line in short.of(events.LogLine) if line.level == "warning"]


def test_components_of_a_loss_are_those_of_the_whole_batch(make_run):
    changes = SGD | {"loss": {"target": f"{OWN}:in_parts"}}
    free, short = assert_like_a_run_with_memory(make_run, changes, limit=20)
    rows = [
        [row.row for row in run.of(events.SeriesRow) if row.series == "loss_components"]
        for run in (free, short)
    ]
    assert len(rows[0]) == 2
    for one, other in zip(*rows, strict=True):
        assert {"loss_fit", "loss_size"} < one.keys()
        assert other == pytest.approx(one, abs=1e-6)


def test_a_loss_that_compares_samples_is_said_to_change(make_run):
    run = make_run(SGD | {"loss": {"target": f"{OWN}:contrast"}}, before=holds(16))
    run.train()
    (warning,) = [line.text for line in run.of(events.LogLine) if line.level == "warning"]
    assert "contrast is neither a mean nor a sum" in warning


def test_a_piece_without_a_target_that_counts_is_left_out():
    loss = Loss("cross_entropy", functional.cross_entropy)
    targets = torch.tensor([-100, -100, 1, 2])
    batch = Batch(torch.zeros(4, 3), targets, 4, 0, torch.arange(4))
    assert LossShares(loss).of(pieces_of(batch, 2)) == [0.0, 1.0]
    assert LossShares(loss).of(pieces_of(batch, 3)) == [0.0, 1.0]


# ── what stays of it ────────────────────────────────────────────────────────────────────────────────────────────

DROPPING = {
    "model": {"target": "mlp", "args": {"hidden": [32], "dropout": 0.3}},
    "training": {"epochs": 4},
    "checkpoint": {"checkpoint_every_n_epochs": 2},
}


def test_it_stays_for_the_rest_of_the_run_and_is_told_once(make_run):
    run = make_run(before=holds(40))
    run.train()
    assert shortages(run) == [("training", 64, 32)]
    assert run.trainer.step_runner.memory.rows == 32
    event = run.of(events.MemoryShortage)[0]
    assert (event.epoch, event.step, event.requested, event.device) == (1, 1, "2.00 GiB", "cpu")


@pytest.mark.parametrize("after", [0, 60])
def test_a_resumed_run_ends_with_the_same_bits(make_run, after):
    """`after`: memory runs out before, or after the checkpoint that is resumed from (2 epochs of 23 steps)."""
    straight = make_run(DROPPING, before=holds(20, after=after))
    straight.train()
    resumed = make_run(DROPPING, before=holds(20, after=max(0, after - 46)))
    resumed.trainer.load(load_checkpoint(straight.folder / periodic_name(2)))
    resumed.train()
    ends = [load_checkpoint(run.folder / "last_model.pt") for run in (straight, resumed)]
    assert differences(*ends) == []


def test_the_failed_attempt_leaves_no_trace(make_run):
    """Generators and buffers stand where they would had the smaller batch been taken at once."""
    noted = []

    def draws(parts):
        parts.model.register_buffer("passes", torch.zeros(()))

        def draw(module, args):
            module.passes += 1
            noted.append((random.random(), torch.rand(()).item()))

        parts.model.register_forward_pre_hook(draw)
        holds(20)(parts)

    from_start = make_run(SGD, before=draws)
    from_start.trainer.step_runner.memory.rows = 16
    from_start.train()
    expected, noted[:] = list(noted), []
    failing = make_run(SGD, before=draws)
    failing.train()
    assert shortages(failing) == [("training", 64, 32), ("training", 32, 16)]
    assert noted[2:] == expected, "but for the two that failed"
    assert torch.equal(from_start.trainer.parts.model.passes, failing.trainer.parts.model.passes)


def test_batch_normalisation_never_sees_one_sample(make_run):
    changes = SGD | {"data": {"batch_size": 33}, "model": {"target": f"{OWN}:Normed", "args": {}}}
    run = make_run(changes, before=holds(3))
    run.train()
    assert shortages(run)[-1] == ("training", 5, 3)
    assert run.trainer.history
    with pytest.raises(TrainingError, match="2 samples at a time"):
        run.trainer.step_runner.memory.shrink(MemoryError(), 2)


class Normed(nn.Sequential):
    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(nn.Linear(in_features, 8), nn.BatchNorm1d(8), nn.Linear(8, num_classes))


# ── where it cannot be helped ───────────────────────────────────────────────────────────────────────────────────


def test_one_sample_that_does_not_fit_ends_the_run_with_advice(make_run):
    run = make_run(before=holds(0, error=RuntimeError, text=CPU))
    weights = [item.detach().clone() for item in run.trainer.parts.model.parameters()]
    with pytest.raises(TrainingError, match=r"one sample at a time.*out_of_memory\.md"):
        run.train()
    assert shortages(run)[-1] == ("training", 1, None)
    assert [size for _, size, _ in shortages(run)] == [64, 32, 16, 8, 4, 2, 1]
    run.trainer.step_runner.undo()
    assert all(torch.equal(a, b) for a, b in zip(weights, run.trainer.parts.model.parameters(), strict=True))


def test_other_errors_are_not_taken_for_it(make_run):
    run = make_run(before=holds(0, error=RuntimeError, text="mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1"):
        run.train()
    assert shortages(run) == []


def time_major(items):
    inputs, labels = torch.utils.data.default_collate(items)
    return {"steps": inputs.T.contiguous(), "label": labels}


class ByTime(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 3)

    def forward(self, steps, label):
        return self.layer(steps.T)


def flat() -> Items:
    return Items([(left, label) for left, _, label in samples()])


def test_a_batch_that_cannot_be_cut_is_named(make_run):
    changes = SGD | {
        "data": {
            "target": f"{OWN}:flat",
            "task": "classification",
            "collate": f"{OWN}:time_major",
            "batch_size": 30,
        },
        "model": {"target": f"{OWN}:ByTime", "args": {}},
    }
    run = make_run(changes, before=holds(0))
    with pytest.raises(
        TrainingError, match=r"cannot be cut by samples: it holds float32\[2, 30\] beside 30 samples"
    ):
        run.train()


def test_inputs_changed_in_place_are_not_used_again(make_run):
    def before(parts):
        parts.model.register_forward_pre_hook(lambda module, args: (args[0].mul_(0.5),))
        holds(20)(parts)

    run = make_run(SGD, before=before)
    with pytest.raises(TrainingError, match="changes its inputs in place"):
        run.train()


@pytest.mark.parametrize("fails", [1, 2])
def test_an_optimizer_that_cannot_make_its_state_gets_what_can_be_freed(make_run, fails):
    run = make_run({"training": {"epochs": 1}})
    optimizer = run.trainer.parts.optimizer
    update, left = optimizer.step, iter(range(fails))

    def step(*args):
        if next(left, None) is not None:
            optimizer.state[next(run.trainer.parts.model.parameters())]["step"] = torch.zeros(())
            raise torch.OutOfMemoryError(CUDA)
        return update(*args)

    run.trainer.step_runner._apply = step
    weights = [item.detach().clone() for item in run.trainer.parts.model.parameters()]
    if fails == 1:
        run.train()
        assert run.trainer.history
        return
    with pytest.raises(TrainingError, match="does not hold the state of the optimizer Adam"):
        run.train()
    assert not optimizer.state
    assert all(torch.equal(a, b) for a, b in zip(weights, run.trainer.parts.model.parameters(), strict=True))


def test_weights_of_a_broken_update_are_not_called_those_before_it(make_run):
    run = make_run(SGD)

    def half(*_):
        next(run.trainer.parts.model.parameters()).data.add_(1)
        raise RuntimeError("amid the update")

    run.trainer.step_runner._apply = half
    with pytest.raises(RuntimeError, match="amid"):
        run.train()
    with pytest.raises(TrainingError, match="neither old nor new"):
        run.trainer.step_runner.undo()


def test_only_a_step_that_was_broken_off_is_undone(make_run):
    """What fails between two steps (data, validation) finds buffers and generators as the last step left them."""
    changes = DROPPING | {"model": {"target": f"{OWN}:Normed", "args": {}}}
    run = make_run(changes | {"training": {"epochs": 1}})
    run.train()
    model = run.trainer.parts.model
    before = {name: item.clone() for name, item in model.state_dict().items()}, torch.get_rng_state()
    run.trainer.step_runner.undo()
    assert all(torch.equal(item, before[0][name]) for name, item in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before[1])


# ── small parts ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_shortages_are_told_from_other_errors():
    wrapped = ValueError("the metric failed")
    wrapped.__cause__ = MemoryError()
    for error in (torch.OutOfMemoryError(CUDA), MemoryError(), RuntimeError(CPU), wrapped):
        assert is_memory_shortage(error)
    for error in (RuntimeError("shapes"), ValueError("out of memory"), KeyError("memory")):
        assert not is_memory_shortage(error)
    assert requested_memory(RuntimeError(CPU)) == "1.00 MiB"


@pytest.mark.parametrize(
    ("rows", "at_most", "smallest"), [(64, 32, 1), (33, 32, 2), (10, 4, 1), (3, 1, 2), (1, 1, 1)]
)
def test_parts_are_even_and_leave_out_nothing(rows, at_most, smallest):
    parts = list(even_parts(rows, at_most, smallest))
    assert [start for start, _ in parts] == [0, *(stop for _, stop in parts)][:-1]
    assert parts[-1][1] == rows
    sizes = [stop - start for start, stop in parts]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= smallest
    assert max(sizes) <= at_most or smallest > 1


def test_what_is_no_sample_stays_and_what_is_none_is_refused():
    content = {
        "x": torch.arange(4),
        "pair": (torch.zeros(4, 2), ["a", "b", "c", "d"]),
        "k": 3,
        "mask": torch.ones(1, 7),
    }
    cut = take_rows(content, 1, 3, 4)
    assert cut["x"].tolist() == [1, 2]
    assert cut["pair"][1] == ["b", "c"]
    assert cut["mask"].shape == (1, 7)
    for odd in (torch.zeros(3, 4), torch.eye(4).to_sparse(), object()):
        with pytest.raises(Indivisible):
            take_rows(odd, 0, 2, 4)
