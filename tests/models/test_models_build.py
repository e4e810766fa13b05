"""From config to model: sizes filled in, targets checked, weights loaded, parameters frozen."""

from __future__ import annotations

import pytest
import torch
from made_up_data import data_of
from torch import nn

from tui_trainer.config.errors import ModelError
from tui_trainer.data.dataset import Task
from tui_trainer.models.build import describe_model

TWO_LAYERS = """
class Net(nn.Module):
    def __init__(self, in_features, num_classes, width=6):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(in_features, width), nn.BatchNorm1d(width))
        self.head = nn.Linear(width, num_classes)
    def forward(self, x):
        return self.head(self.encoder(x.flatten(1)))

def make(num_features, out_features=3):
    return nn.Linear(num_features, out_features)

def nothing():
    return None

def broken(num_classes):
    raise ValueError("no such backbone")

ready = nn.Linear(2, 2)
"""


def test_sizes_come_from_the_data_where_the_signature_leaves_them_open(build, user_module):
    name = user_module(TWO_LAYERS)
    model = build(f"{name}:Net", data_of(2, 3, task=Task("classification", 4)))
    assert (model.encoder[0].in_features, model.head.out_features) == (6, 4)


def test_sizes_with_a_default_or_in_args_are_left_alone(build, user_module):
    name = user_module(TWO_LAYERS)
    model = build(f"{name}:make", data_of(2, 5))
    assert (model.in_features, model.out_features) == (5, 3)
    assert build(f"{name}:Net", data_of(6), args={"num_classes": 7}).head.out_features == 7


def test_a_model_that_needs_more_than_the_data_tells_says_so(build, user_module):
    name = user_module(TWO_LAYERS)
    data = data_of(6, task=Task("custom", None))
    with pytest.raises(ModelError, match=r"num_classes.*model\.args\.num_classes"):
        build(f"{name}:Net", data)


def test_an_image_model_refuses_plain_numbers(build):
    with pytest.raises(ModelError, match=r"shape \[64\].*mlp"):
        build("cnn", data_of(64))


@pytest.mark.parametrize(
    ("attribute", "said"),
    [
        ("nothing", "gave None"),
        ("ready", "already built"),
        ("TWELVE", "is a int"),
        ("broken", r"users_model_\d+.py:\d+ in broken raised ValueError: no such backbone"),
        ("Nett", "did you mean Net"),
    ],
)
def test_what_is_no_model_is_refused_with_what_it_was(build, user_module, attribute, said):
    name = user_module(TWO_LAYERS + "\nTWELVE = 12\n")
    with pytest.raises(ModelError, match=said):
        build(f"{name}:{attribute}", data_of(6))


def test_an_unknown_name_gets_a_suggestion(build):
    with pytest.raises(ModelError, match="did you mean resnet18"):
        build("resnet8", data_of(6))


def test_freeze_takes_patterns_and_module_names(build, user_module):
    name = user_module(TWO_LAYERS)
    data = data_of(6)
    for pattern in ("encoder.*", "encoder"):
        model = build(f"{name}:Net", data, freeze=[pattern])
        trained = {key for key, item in model.named_parameters() if item.requires_grad}
        assert trained == {"head.weight", "head.bias"}
        summary = describe_model(model)
        assert (summary.architecture, summary.parameters, summary.trainable) == (
            "Net",
            6 * 6 + 6 + 12 + 70,
            70,
        )


def test_a_freeze_pattern_that_matches_nothing_is_an_error(build, user_module):
    name = user_module(TWO_LAYERS)
    with pytest.raises(ModelError, match="did you mean encoder"):
        build(f"{name}:Net", data_of(6), freeze=["encodr.*"])


def test_shared_parameters_count_once():
    layer = nn.Linear(4, 4)
    assert describe_model(nn.Sequential(layer, layer)).parameters == 20


@pytest.mark.parametrize("form", ["state dict", "checkpoint", "compiled", "safetensors"])
def test_weights_are_taken_from_files_of_every_form(build, tmp_path, form):
    data = data_of(64)
    source = build("mlp", data)
    weights = source.state_dict()
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pt")
    if form == "safetensors":
        pytest.importorskip("safetensors.torch").save_file(weights, path)
    else:
        contents = {
            "state dict": weights,
            "checkpoint": {"model_state_dict": weights, "epoch": 3},
            "compiled": {f"_orig_mod.{name}": value for name, value in weights.items()},
        }
        torch.save(contents[form], path)
    model = build("mlp", data, init_from=path.name)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), source.parameters(), strict=True))


def test_weights_of_another_model_are_refused_by_name_and_shape(build, tmp_path):
    data = data_of(64)
    torch.save(build("mlp", data, args={"hidden": [16]}).state_dict(), tmp_path / "other.pt")
    with pytest.raises(
        ModelError, match=r"layers\.0\.weight has the shape \[16, 64\] where the model has \[128, 64\]"
    ):
        build("mlp", data, init_from="other.pt")
    with pytest.raises(ModelError, match=r"lacks layers\.4\."):
        build("mlp", data, args={"hidden": [16, 10]}, init_from="other.pt")
    with pytest.raises(ModelError, match="not one tensor"):
        build("linear", data, init_from="other.pt", strict=False)


def test_without_strict_a_new_head_keeps_its_own_start_and_the_rest_is_loaded(build, tmp_path):
    old = build("mlp", data_of(64), args={"hidden": [16]})
    torch.save(old.state_dict(), tmp_path / "old.pt")
    new = build(
        "mlp",
        data_of(64, task=Task("classification", 3)),
        args={"hidden": [16]},
        init_from="old.pt",
        strict=False,
    )
    assert torch.equal(new.layers[0].weight, old.layers[0].weight)
    assert new.layers[-1].out_features == 3


def test_a_weight_file_never_runs_code(build, tmp_path):
    class Evil:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'owned')!r}, 'w')",))

    torch.save({"model_state_dict": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match="could run code"):
        build("mlp", data_of(64), init_from="evil.pt")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("damage", ["missing", "truncated", "text", "nan"])
def test_unusable_weight_files_are_explained(build, tmp_path, damage):
    data, path = data_of(64), tmp_path / "w.pt"
    weights = build("mlp", data).state_dict()
    if damage == "nan":
        weights["layers.0.weight"][3, 3] = float("nan")
    if damage != "missing":
        torch.save(weights, path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:3000])
    if damage == "text":
        path.write_text("these are no weights")
    with pytest.raises(ModelError, match="init_from"):
        build("mlp", data, init_from="w.pt")
