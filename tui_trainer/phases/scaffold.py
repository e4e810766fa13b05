"""`mltrainer-tui init`: a project folder that trains at once and waits for one's own data and model."""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from tui_trainer.config.errors import ConfigError
from tui_trainer.config.wording import listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TEMPLATES = ("baseline", "tuning", "production")

_FILES = {
    "data.py": "data.py",
    "model.py": "model.py",
    "README.md": "README.md",
    ".gitignore": "gitignore.txt",
}
"""What is written, beside the config, and the file of `project_files/` that it comes from."""

_COMMENT_COLUMN = 34
_NOTES = """\
    intended_use: Not stated yet; write what the model is for, and what it must not be used for.
    target_metric: Not stated yet; write why the target above is good enough.
    decision: The report's own route is followed."""
_OWN = (
    (r"^# Copy this file .*\n|^# As it is, it trains .*\n", "", ""),
    (r"^name: \S+ *(#.*)?$", "name: {name}", "# part of the run folders' names"),
    (r"^  target: digits *(#.*)?$", "  target: data:make_data", "# make_data in data.py, beside this file"),
    (r"^  target: mlp *(#.*)?$", "  target: model:Net", "# the class Net in model.py"),
    (
        r"^  args: \{hidden: \[128\]\} *(#.*)?$",
        "  args: {hidden: 128}",
        "# input and output sizes come from the data",
    ),
    (r"^  sign: \{\}.*$", "  sign:", f"# stand in every report: say it in your own words\n{_NOTES}"),
)
"""What turns a template into the config of a project with code of its own: pattern, setting, comment."""


def main(arguments: Sequence[str]) -> int:
    """`mltrainer-tui init`; returns the exit code. Raises `UserError`."""
    parser = argparse.ArgumentParser(
        prog="mltrainer-tui init",
        description="Write a project that trains at once: config, data and model module, README. Nothing is overwritten.",
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="default: the working directory",
    )
    parser.add_argument("--name", help="name of the runs; default: the folder's")
    parser.add_argument(
        "--template", choices=TEMPLATES, default="baseline", help="which settings to begin with (default: baseline)"
    )  # fmt: skip
    options = parser.parse_args(arguments)
    written = write_project(options.folder, name=options.name, template=options.template)
    print("\n".join(f"wrote {path}" for path in written))
    config = shlex.quote(str(options.folder / "config.yaml"))
    print(f"\nTrain it:        mltrainer-tui --config {config}")
    print(f"In a script:     mltrainer-tui --no-ui --config {config}")
    print("Make it yours:   data.py, model.py, and the notes under gates: sign: in config.yaml")
    return 0


def write_project(folder: Path, *, name: str | None = None, template: str = "baseline") -> list[Path]:
    """Write the files of a project into `folder`, which is made where it is not there; returns their paths.

    Raises `ConfigError`, and then has written nothing: for a name that is none, for files that are there already (all
    of them are named), for a folder that cannot be written to.
    """
    from tui_trainer.config.loading import parse_config

    name = name if name is not None else _name_from(folder)
    texts = {"config.yaml": project_config(name, template)} | {
        target: _project_file(source).replace("{name}", name) for target, source in _FILES.items()
    }
    parse_config(
        texts["config.yaml"], source="--name"
    )  # a name that is none is told before anything is written
    existing = [file for file in texts if (folder / file).exists() or (folder / file).is_symlink()]
    if existing:
        raise ConfigError(
            f"{folder} already holds {listed(existing)}, and nothing is ever overwritten. Name another folder, or move "
            f"{'it' if len(existing) == 1 else 'them'} away."
        )
    return _write(folder, texts)


def project_config(name: str, template: str) -> str:
    """The YAML of a project's config: the template with the project's own data, model and notes to be filled in."""
    path = resources.files("tui_trainer") / "configs" / f"{template}_template.yaml"
    text = path.read_text(encoding="utf-8")
    for pattern, setting, comment in _OWN:
        line = setting.replace("{name}", name)
        if line:
            line = f"{line:<{_COMMENT_COLUMN - 1}} {comment}"
        text = re.sub(pattern, line.replace("\\", r"\\"), text, flags=re.MULTILINE)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def _name_from(folder: Path) -> str:
    """The folder's own name, as far as it can be a run's."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-.")[:100]
    return name or "my-project"


def _project_file(name: str) -> str:
    path = resources.files("tui_trainer") / "phases" / "project_files" / name
    return path.read_text(encoding="utf-8")


def _write(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Raises `ConfigError`; what was written until then is removed again."""
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            path = folder / name
            with path.open("x", encoding="utf-8") as stream:
                written.append(path)
                stream.write(text)
    except OSError as error:
        for path in written:
            with contextlib.suppress(OSError):
                path.unlink()
        raise ConfigError(
            f"The project cannot be written into {folder} ({error.strerror}). Name a folder that you can write to."
        ) from error
    return written
