"""Losses: inferred, by name, by import path; what fits is adapted, what does not is explained."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from tui_trainer.config.errors import ModelError
from tui_trainer.config.schema import LossConfig
from tui_trainer.data.dataset import Task
from tui_trainer.engine.losses import build_loss, combine

TEN = Task("classification", 10)
BINARY, REGRESSION = Task("binary", 1), Task("regression", 1)

USERS_LOSSES = """
import torch
from torch import nn

def plain(outputs, targets):
    return (outputs.squeeze() - targets).abs().mean()

def weighted(outputs, targets, factor=1.0):
    return factor * plain(outputs, targets)

def parts(outputs, targets):
    return {"near": plain(outputs, targets), "far": outputs.square().mean()}

def doubled(outputs, targets):
    return {**parts(outputs, targets), "total": plain(outputs, targets)}

def with_inputs(outputs, targets, inputs):
    return (outputs - inputs).square().mean()

def vector(outputs, targets):
    return (outputs.squeeze() - targets).abs()

def nothing(outputs, targets):
    return {}

def number(outputs, targets):
    return 3.0

def one_argument(outputs):
    return outputs.mean()

def make(power=2):
    def loss(outputs, targets):
        return (outputs.squeeze() - targets).abs().pow(power).mean()
    return loss

class Learned(nn.Module):
    def __init__(self, tasks=2):
        super().__init__()
        self.spread = nn.Parameter(torch.zeros(tasks))
    def forward(self, outputs, targets):
        return outputs.square().mean() * torch.exp(-self.spread).sum() + self.spread.sum()
"""


@pytest.fixture
def loss(tmp_path):
    (tmp_path / "users_losses.py").write_text(USERS_LOSSES)

    def build(target=None, task=REGRESSION, **args):
        return build_loss(LossConfig(target=target, args=args), task, folder=tmp_path)

    return build


def grads(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).requires_grad_()


@pytest.mark.parametrize(
    ("task", "outputs", "targets", "reference"),
    [
        (TEN, grads(8, 10), torch.arange(8), functional.cross_entropy),
        (
            BINARY,
            grads(8, 1),
            torch.tensor([0.0, 1.0] * 4).unsqueeze(1),
            functional.binary_cross_entropy_with_logits,
        ),
        (Task("multilabel", 3), grads(8, 3), torch.ones(8, 3), functional.binary_cross_entropy_with_logits),
        (REGRESSION, grads(8, 1), torch.linspace(0, 1, 8).unsqueeze(1), functional.mse_loss),
    ],
)
def test_each_task_has_its_usual_loss(loss, task, outputs, targets, reference):
    total, parts = combine(loss(task=task)(outputs, targets))
    assert torch.equal(total, reference(outputs, targets))
    assert parts == {}


@pytest.mark.parametrize(
    "name", ["mse", "l1", "huber", "smooth_l1", "poisson_nll", "bce", "bce_with_logits", "soft_margin"]
)
def test_a_column_and_a_row_of_targets_mean_the_same_and_are_not_broadcast(loss, name):
    outputs, targets = grads(8, 1), torch.tensor([0.0, 1.0] * 4)
    flat, column = loss(name)(outputs, targets), loss(name)(outputs, targets.unsqueeze(1))
    assert torch.equal(flat, column)
    assert torch.equal(flat, loss(name)(outputs.squeeze(1), targets.unsqueeze(1)))


def test_integer_and_double_targets_are_brought_to_the_outputs_type(loss):
    outputs = grads(4, 1)
    wanted = functional.binary_cross_entropy_with_logits(outputs, torch.tensor([[0.0], [1.0], [1.0], [0.0]]))
    for dtype in (torch.int64, torch.bool, torch.float64):
        result = loss(task=BINARY)(outputs, torch.tensor([0, 1, 1, 0]).to(dtype))
        assert result.dtype == torch.float32
        assert torch.equal(result, wanted)


def test_class_numbers_of_any_whole_type_and_shape_are_taken(loss):
    outputs, classes = grads(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    wanted = functional.cross_entropy(outputs, classes)
    for targets in (classes.to(torch.int32), classes.to(torch.uint8), classes.unsqueeze(1)):
        assert torch.equal(loss("cross_entropy", TEN)(outputs, targets), wanted)


def test_cross_entropy_over_two_logits_takes_binary_float_targets(loss):
    outputs = grads(4, 2)
    result = loss("cross_entropy", BINARY)(outputs, torch.tensor([[0.0], [1.0], [1.0], [0.0]]))
    assert torch.equal(result, functional.cross_entropy(outputs, torch.tensor([0, 1, 1, 0])))


def test_token_logits_with_classes_last_are_understood(loss):
    outputs, targets = grads(2, 5, 3), torch.randint(0, 3, (2, 5))
    wanted = functional.cross_entropy(outputs.reshape(10, 3), targets.reshape(10))
    assert torch.allclose(loss("cross_entropy", TEN)(outputs, targets), wanted)


def test_class_probabilities_stay_probabilities(loss):
    outputs, targets = grads(4, 3), torch.softmax(torch.randn(4, 3), 1)
    assert torch.equal(
        loss("cross_entropy", TEN)(outputs, targets), functional.cross_entropy(outputs, targets)
    )


@pytest.mark.parametrize(
    ("name", "outputs", "targets"),
    [
        ("mse", (8, 1), (8, 3)),
        ("mse", (8, 2), (8,)),
        ("mse", (8, 8), (8,)),
        ("l1", (1, 8), (8, 1)),
        ("bce", (8, 2), (8, 1)),
    ],
)
def test_shapes_that_do_not_match_are_refused_with_both_shapes(loss, name, outputs, targets):
    with pytest.raises(ModelError) as problem:
        loss(name)(grads(*outputs), torch.zeros(*targets))
    assert str(list(outputs)) in str(problem.value)
    assert str(list(targets)) in str(problem.value)


def test_fewer_class_numbers_than_rows_are_refused(loss):
    with pytest.raises(ModelError, match=r"float32\[8, 3\].*int64\[7\]"):
        loss("cross_entropy", TEN)(grads(8, 3), torch.zeros(7, dtype=torch.int64))


def test_class_weights_become_tensors_that_move_and_are_saved_with_the_loss(loss):
    weights = [1.0, 2.0, 0.5]
    weighted = loss("cross_entropy", Task("classification", 3), weight=weights)
    outputs, targets = grads(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    assert torch.equal(
        weighted(outputs, targets), functional.cross_entropy(outputs, targets, torch.tensor(weights))
    )
    assert torch.equal(weighted.module.state_dict()["weight"], torch.tensor(weights))
    assert loss("cross_entropy", TEN).module is None
    scalar = loss("bce_with_logits", BINARY, pos_weight=3)
    assert scalar(torch.zeros(2, 1, requires_grad=True), torch.ones(2, 1)).item() == pytest.approx(
        3 * 0.6931, rel=1e-3
    )


@pytest.mark.parametrize("weight", [[1.0, 2.0], ["a"] * 10, [float("nan")] * 10, [-1.0] * 10, []])
def test_unusable_class_weights_are_refused(weight, tmp_path):
    config = LossConfig.model_construct(target="cross_entropy", args={"weight": weight})
    with pytest.raises(ModelError, match="weight"):
        build_loss(config, TEN, folder=tmp_path)


def test_arguments_reach_the_loss(loss):
    outputs, targets = grads(6, 3), torch.tensor([0, 1, 2, 2, -100, 0])
    assert torch.equal(
        loss("cross_entropy", TEN, label_smoothing=0.1)(outputs, targets),
        functional.cross_entropy(outputs, targets, label_smoothing=0.1),
    )
    assert torch.equal(loss("mse", reduction="sum")(outputs, outputs.detach() + 1), torch.tensor(18.0))


def test_wrong_arguments_are_named(loss):
    with pytest.raises(ModelError, match="did you mean label_smoothing"):
        loss("cross_entropy", TEN, label_smooting=0.1)
    with pytest.raises(ModelError, match="reduction none"):
        loss("mse", reduction="none")
    with pytest.raises(ModelError, match="factr"):
        loss("users_losses:weighted", factr=2)
    with pytest.raises(ModelError, match="did you mean cross_entropy"):
        loss("crossentropy", TEN)


def test_functions_factories_and_classes_of_the_user_s_are_losses(loss):
    outputs, targets = grads(8, 1), torch.linspace(0, 1, 8)
    plain = loss("users_losses:plain")(outputs, targets)
    assert torch.equal(loss("users_losses:weighted", factor=3.0)(outputs, targets), 3 * plain)
    assert torch.allclose(loss("users_losses:make", power=1)(outputs, targets), plain)
    inputs = torch.ones(8, 1)
    assert torch.equal(
        loss("users_losses:with_inputs")(outputs, targets, inputs), (outputs - 1).square().mean()
    )


def test_torch_losses_by_import_path_are_adapted_too(loss):
    outputs, targets = grads(8, 1), torch.linspace(0, 1, 8)
    for path in ("torch.nn:MSELoss", "torch.nn.functional:mse_loss"):
        assert torch.equal(loss(path)(outputs, targets), functional.mse_loss(outputs.squeeze(1), targets))
        with pytest.raises(ModelError, match="never broadcast"):
            loss(path)(outputs, torch.zeros(8, 2))


def test_learned_parameters_of_a_loss_are_offered_for_training(loss):
    learned = loss("users_losses:Learned", tasks=3)
    assert [name for name, _ in learned.module.named_parameters()] == ["spread"]
    learned(grads(4, 1), torch.zeros(4)).backward()
    assert learned.module.spread.grad.shape == (3,)


def test_named_components_are_summed_and_kept_by_name(loss):
    total, parts = combine(loss("users_losses:parts")(grads(8, 1), torch.zeros(8)))
    assert list(parts) == ["near", "far"]
    assert torch.equal(total, parts["near"] + parts["far"])
    total.backward()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("vector", r"float32\[8\]"),
        ("nothing", "an empty dict"),
        ("number", "a float"),
        ("doubled", "would count twice"),
        ("one_argument", r"takes \(outputs\); expected a function \(outputs, targets\)"),
    ],
)
def test_what_cannot_be_minimised_is_refused(loss, target, said):
    with pytest.raises(ModelError, match=said):
        combine(loss(f"users_losses:{target}")(grads(8, 1), torch.zeros(8)))


def test_a_model_s_own_loss_is_used_where_none_is_named(loss):
    own = torch.tensor(2.5, requires_grad=True)

    class Output:
        loss = own
        logits = grads(4, 10)

    assert loss(task=Task("custom"))(Output(), None) is own
    assert loss(task=TEN)(Output(), torch.arange(4)) is own
    named = loss("cross_entropy", TEN)(Output(), torch.arange(4))
    assert torch.equal(named, functional.cross_entropy(Output.logits, torch.arange(4)))
    with pytest.raises(ModelError, match=r"loss\.target"):
        loss(task=Task("custom"))(grads(4, 10), None)


@pytest.mark.parametrize("target", ["kl_div", "nll"])
def test_losses_over_log_probabilities(loss, target):
    outputs = functional.log_softmax(grads(5, 4), 1)
    if target == "kl_div":
        targets = torch.softmax(torch.randn(5, 4), 1)
        wanted = functional.kl_div(outputs, targets, reduction="batchmean")
    else:
        targets = torch.tensor([0, 1, 2, 3, 0])
        wanted = functional.nll_loss(outputs, targets)
    assert torch.equal(loss(target, Task("classification", 4))(outputs, targets), wanted)


def test_a_loss_module_has_the_same_value_as_torch_s_own_call(loss):
    """The shortcut around nn.Module must not lose a setting."""
    outputs = grads(6, 4)
    for name, module, targets in (
        (
            "cross_entropy",
            nn.CrossEntropyLoss(ignore_index=2, label_smoothing=0.2, reduction="sum"),
            torch.arange(6) % 4,
        ),
        ("l1", nn.L1Loss(reduction="sum"), torch.zeros(6, 4)),
        ("bce", nn.BCEWithLogitsLoss(reduction="sum"), torch.ones(6, 4)),
    ):
        keys = ("ignore_index", "label_smoothing", "reduction")
        args = {key: getattr(module, key) for key in keys if hasattr(module, key)}
        assert torch.equal(
            loss(name, Task("classification", 4), **args)(outputs, targets), module(outputs, targets)
        )
