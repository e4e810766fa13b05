"""What must not be imported, proved in fresh processes by looking at `sys.modules`."""

import json
import subprocess
import sys

import pytest


def modules_after(code: str, cwd=None) -> set[str]:
    # A headless run sends all later prints to stderr, so the answer goes through a descriptor of its own.
    answer = "with os.fdopen(out, 'w') as stream:\n    stream.write('\\n' + json.dumps(sorted(sys.modules)))"
    script = f"import sys, json, os\nout = os.dup(1)\n{code}\n{answer}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=cwd)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_imports_nothing_heavy():
    code = "from tui_trainer.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"
    heavy = {"torch", "pandas", "numpy", "textual", "plotext", "pydantic", "yaml", "sklearn", "matplotlib"}
    assert not heavy & modules_after(code)


def test_a_headless_run_never_imports_textual(tmp_path):
    code = (
        "from tui_trainer.cli import main\n"
        "assert main(['--no-ui', '--set', 'training.epochs=1', '--output-dir', 'run']) == 0"
    )
    loaded = modules_after(code, cwd=tmp_path)
    assert "torch" in loaded
    assert not {"textual", "optuna", "onnx", "sklearn", "torchmetrics"} & loaded


@pytest.mark.parametrize(
    "room",
    ["config", "data", "models", "engine", "telemetry", "diagnostics", "session", "reports", "phases"],
)
def test_no_room_but_screens_imports_textual(room):
    code = (
        f"import pkgutil, importlib, tui_trainer.{room} as room\n"
        "for item in pkgutil.iter_modules(room.__path__):\n"
        f"    importlib.import_module('tui_trainer.{room}.' + item.name)"
    )
    assert "textual" not in modules_after(code)
