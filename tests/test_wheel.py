"""What users install: sdist, then the wheel built from it, in a clean environment, away from this checkout."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from the sdist as `pip install` of a published sdist would."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT],
        check=True,
        capture_output=True,
    )
    with tarfile.open(next(out.glob("*.tar.gz"))) as sdist:
        names = sdist.getnames()
    assert any(name.endswith("tui_trainer/configs/baseline_template.yaml") for name in names)
    return next(out.glob("*.whl"))


def test_wheel_holds_templates_playbooks_styles_and_screens_and_nothing_else_at_the_top(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "tui_trainer/configs/baseline_template.yaml",
        "tui_trainer/configs/tuning_template.yaml",
        "tui_trainer/configs/production_template.yaml",
        "tui_trainer/diagnostics/nan_loss.md",
        "tui_trainer/diagnostics/data_quality.md",
        "tui_trainer/phases/project_files/data.py",
        "tui_trainer/phases/project_files/gitignore.txt",
        "tui_trainer/screens/app.tcss",
        "tui_trainer/screens/app.py",
        "tui_trainer/py.typed",
    ):
        assert needed in names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"tui_trainer"}


def test_installed_wheel_trains_digits_from_another_folder(wheel, tmp_path):
    environment = tmp_path / "venv"
    # The heavy dependencies are those of this environment; what is tested is our own package, clean.
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    site = next((environment / "lib").glob("python*/site-packages"))
    (site / "dependencies.pth").write_text(f"import site; site.addsitedir({_site_packages()!r})\n")
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", wheel], check=True)
    where = tmp_path / "elsewhere"
    where.mkdir()
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    origin = subprocess.run(
        [python, "-c", "import tui_trainer; print(tui_trainer.__file__)"],
        cwd=where,
        env=clean,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert str(environment) in origin, "the installed wheel must be what runs, not the checkout"
    done = subprocess.run(
        [environment / "bin" / "mltrainer-tui", "--no-ui", "--json", "--output-dir", "run"],
        cwd=where,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["best_val_accuracy"] >= 0.96


def _site_packages() -> str:
    return str(Path(pytest.__file__).parent.parent)
