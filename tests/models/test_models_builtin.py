"""The built-in models: sizes, shapes, and that they can learn."""

from __future__ import annotations

import pytest
import torch
from made_up_data import data_of
from torch import nn

from tui_trainer.config.errors import ModelError
from tui_trainer.data.dataset import Task
from tui_trainer.models.build import describe_model

SHAPES = [
    ("linear", (64,), {}),
    ("linear", (1, 8, 8), {}),
    ("mlp", (64,), {"hidden": [32, 16], "dropout": 0.1}),
    ("mlp", (3, 4, 4), {"hidden": 24, "activation": "gelu"}),
    ("cnn", (1, 8, 8), {}),
    ("cnn", (3, 32, 32), {"channels": [8, 16, 32], "dropout": 0.2, "batch_norm": False}),
    ("resnet18", (1, 8, 8), {"stem": "small", "width": 8, "layers": [1, 1]}),
    ("resnet18", (3, 64, 64), {"width": 4}),
    ("lstm", (12, 5), {"hidden_size": 16}),
    ("lstm", (12, 5), {"hidden_size": 16, "num_layers": 2, "bidirectional": True, "dropout": 0.1}),
    ("lstm", (64,), {"hidden_size": 16, "num_features": 8}),
]


@pytest.mark.parametrize(("target", "shape", "args"), SHAPES)
def test_every_model_gives_one_logit_a_class_and_a_gradient_for_every_parameter(build, target, shape, args):
    data = data_of(*shape)
    model = build(target, data, args=args)
    outputs = model(data.train.inputs)
    assert outputs.shape == (40, 10)
    nn.functional.cross_entropy(outputs, data.train.targets).backward()
    still = [name for name, item in model.named_parameters() if item.grad is None or not item.grad.any()]
    assert still == []


@pytest.mark.parametrize("target", ["linear", "mlp", "cnn", "resnet18"])
def test_models_learn_to_tell_two_kinds_of_images_apart(build, target):
    torch.manual_seed(0)
    data = data_of(1, 8, 8, task=Task("classification", 2))
    inputs, targets = data.train.inputs.clone(), torch.arange(40) % 2
    inputs[targets == 1, :, 2:6, 2:6] += 1.0
    args = {"stem": "small", "width": 8, "layers": [1, 1]} if target == "resnet18" else {}
    model = build(target, data, args=args)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    assert (model(inputs).argmax(1) == targets).float().mean() > 0.9


def test_resnet18_has_the_parameters_of_the_paper_s_imagenet_model(build):
    model = build("resnet18", data_of(3, 32, 32, task=Task("classification", 1000)))
    assert describe_model(model).parameters == 11_689_512
    assert model(torch.rand(1, 3, 224, 224)).shape == (1, 1000)


def test_resnet18_names_its_parameters_as_torchvision_does(build):
    names = build("resnet18", data_of(3, 32, 32)).state_dict().keys()
    assert {
        "conv1.weight",
        "bn1.running_mean",
        "layer1.0.conv1.weight",
        "layer2.0.downsample.1.bias",
        "fc.bias",
    } <= names
    assert len(names) == 122


def test_a_resnet_of_a_third_of_a_million_parameters_keeps_the_resolution_of_8x8_images(build):
    model = build("resnet18", data_of(1, 8, 8), args={"stem": "small", "width": 32, "layers": [2, 1, 1]})
    assert 250_000 < describe_model(model).parameters < 350_000
    assert model.conv1(torch.rand(1, 1, 8, 8)).shape[2:] == (8, 8)


@pytest.mark.parametrize(("stem", "size", "left"), [("imagenet", 224, 7), ("small", 32, 4)])
def test_each_stage_of_a_resnet_halves_the_resolution(build, stem, size, left):
    model = build("resnet18", data_of(3, 32, 32), args={"stem": stem, "width": 4})
    seen = []
    model.avgpool.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    model(torch.rand(1, 3, size, size))
    assert seen == [(1, 32, left, left)]


def test_mlp_starts_from_torch_s_default_initialisation(build):
    torch.manual_seed(7)
    model = build("mlp", data_of(64), args={"hidden": [128]})
    torch.manual_seed(7)
    reference = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_dropout_acts_in_training_only(build):
    data = data_of(64)
    model = build("mlp", data, args={"hidden": [64], "dropout": 0.5})
    assert not torch.equal(model(data.train.inputs), model(data.train.inputs))
    model.eval()
    assert torch.equal(model(data.train.inputs), model(data.train.inputs))


def test_lstm_reads_tokens_and_leaves_padding_out(build):
    data = data_of(6, dtype=torch.int64)
    model = build(
        "lstm", data, args={"vocab_size": 20, "embedding_size": 8, "hidden_size": 16, "padding_id": 0}
    )
    short = torch.tensor([[5, 3, 7, 0, 0, 0]])
    assert torch.allclose(model(short), model(torch.tensor([[5, 3, 7]])), atol=1e-6)
    assert not torch.allclose(model(short), model(torch.tensor([[5, 3, 7, 2, 0, 0]])), atol=1e-4)
    assert model(torch.zeros(2, 6, dtype=torch.int64)).isfinite().all()


def test_a_bidirectional_lstm_sees_the_start_of_a_sequence_as_well_as_its_end(build):
    model = build("lstm", data_of(9, 4), args={"hidden_size": 8, "bidirectional": True})
    sequence = torch.rand(1, 9, 4)
    for position in (0, 8):
        changed = sequence.clone()
        changed[:, position] += 1
        assert not torch.allclose(model(sequence), model(changed), atol=1e-4)
    assert model.head.in_features == 16


@pytest.mark.parametrize(
    ("target", "args", "named"),
    [
        ("mlp", {"hidden": [0]}, "hidden"),
        ("mlp", {"hidden": "big"}, "hidden"),
        ("mlp", {"hidden": [128.0]}, "hidden"),
        ("mlp", {"activation": "rellu"}, "did you mean relu"),
        ("mlp", {"dropout": 1.0}, "dropout"),
        ("mlp", {"hiden": [5]}, "did you mean hidden"),
        ("resnet18", {"stem": "tiny"}, "stem"),
        ("resnet18", {"layers": []}, "layers"),
        ("lstm", {"vocab_size": 5, "padding_id": 9}, "padding_id"),
        ("cnn", {"channels": []}, "channels"),
    ],
)
def test_wrong_arguments_are_named(build, target, args, named):
    with pytest.raises(ModelError, match=named):
        build(target, data_of(1, 8, 8), args=args)
