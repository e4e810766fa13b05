"""The short cuts through PyTorch change no number, and step aside where they would."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from tui_trainer.engine.lean_torch import backward, bare_step


def pair():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 1))
    return model, copy.deepcopy(model)


def test_backward_gives_the_same_gradients():
    ours, theirs = pair()
    x = torch.randn(9, 5)
    backward(ours(x).pow(2).mean())
    theirs(x).pow(2).mean().backward()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


def test_backward_of_what_has_no_gradient_raises_as_torch_does():
    with pytest.raises(RuntimeError, match="does not require grad"):
        backward(torch.tensor(1.0))


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adam(p, lr=0.01, fused=True),
        lambda p: torch.optim.Adam(p, lr=0.01, fused=True, weight_decay=0.1, maximize=True),
        lambda p: torch.optim.Adam(p, lr=0.01, fused=True, amsgrad=True),
        lambda p: torch.optim.AdamW(p, lr=0.01, fused=True, betas=(0.8, 0.99), eps=1e-6),
        lambda p: torch.optim.AdamW(
            [{"params": [item], "lr": 0.01 * k} for k, item in enumerate(p)], fused=True
        ),
        lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True),
        lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True),
        lambda p: torch.optim.RMSprop(p, lr=0.01),
        lambda p: torch.optim.NAdam(p, lr=0.01),
        lambda p: torch.optim.Adagrad(p, lr=0.01),
    ],
)
def test_bare_step_updates_as_step_does(make):
    ours, theirs = pair()
    a, b = make(ours.parameters()), make(theirs.parameters())
    step = bare_step(a)
    assert step != a.step
    x = torch.randn(9, 5)
    for _ in range(5):
        for model, update, optimizer in ((ours, step, a), (theirs, b.step, b)):
            optimizer.zero_grad()
            model(x).pow(2).mean().backward()
            update()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("unused", [0, 1, 2])
def test_a_parameter_that_got_no_gradient_stays_as_it_was(unused):
    ours, theirs = pair()
    a, b = (torch.optim.Adam(model.parameters(), lr=0.01, fused=True) for model in (ours, theirs))
    step = bare_step(a)
    x = torch.randn(9, 5)
    for number in range(4):
        for model, update, optimizer in ((ours, step, a), (theirs, b.step, b)):
            optimizer.zero_grad()
            model(x).pow(2).mean().backward()
            if number == unused:
                model[0].bias.grad = None
            update()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(p, q)
    for first, second in zip(a.state.values(), b.state.values(), strict=True):
        assert first["step"] == second["step"]


def test_a_loaded_state_is_the_one_that_is_stepped():
    ours, theirs = pair()
    a, b = (torch.optim.Adam(model.parameters(), lr=0.01, fused=True) for model in (ours, theirs))
    step = bare_step(a)
    x = torch.randn(9, 5)
    for model, update, optimizer in ((ours, step, a), (theirs, b.step, b)):
        for number in range(6):
            optimizer.zero_grad()
            model(x).pow(2).mean().backward()
            update()
            if number == 2:
                kept = copy.deepcopy(optimizer.state_dict())
            if number == 4:
                kept["param_groups"][0]["lr"] = 0.02
                optimizer.load_state_dict(kept)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(p, q)


def test_hooks_registered_at_any_time_are_called():
    model, _ = pair()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step = bare_step(optimizer)
    called = []
    optimizer.register_step_post_hook(lambda *_: called.append(1))
    model(torch.randn(2, 5)).sum().backward()
    step()
    assert called == [1]


def test_a_users_optimizer_is_stepped_the_public_way():
    class Own(torch.optim.SGD):
        def step(self, closure=None):
            self.mine = True
            return super().step(closure)

    model, _ = pair()
    optimizer = Own(model.parameters(), lr=0.1)
    model(torch.randn(2, 5)).sum().backward()
    bare_step(optimizer)()
    assert optimizer.mine


def test_training_does_not_import_the_compiler(tmp_path):
    code = (
        "import sys\nfrom tui_trainer.cli import main\n"
        "assert main(['--no-ui', '--set', 'training.epochs=1', '--output-dir', 'run']) == 0\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
