"""The command line called in this process: what a subprocess would show, without its seconds of imports."""

from __future__ import annotations

import itertools
import json
import os
import signal
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.runs import WAIVED
from tui_trainer import cli
from tui_trainer.phases import after_baseline, baseline
from tui_trainer.session import run_session

_numbers = itertools.count()


@dataclass
class Outcome:
    """How a command ended: exit code, what it printed, and the run folder it was given."""

    code: int
    out: str
    err: str
    run: Path

    def refused(self, *words: str) -> None:
        """Exit 2, one line on stderr that holds `words`, and nothing left on disk."""
        assert self.code == 2, self.err
        said = self.err.strip().splitlines()
        assert said[0].startswith("mltrainer-tui: "), self.err
        assert len(said) == 1, self.err
        self.says(*words)
        assert not self.run.exists()

    def says(self, *words: str) -> None:
        for word in words:
            assert word in self.err, f"{word!r} is not in:\n{self.err}"

    def diagnostics(self) -> list[dict[str, Any]]:
        lines = (self.run / "diagnostics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def summary(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.run / "summary.json").read_text())
        return content


class Command:
    """`mltrainer-tui --no-ui` in a folder of its own. `OWN` in texts stands for the module that `own` holds.

    `reports`: write them as well, at half a second a run. `gate`: with the gate's checks.
    """

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capture = folder, capture
        self.reports = self.gate = False
        self._module = f"own_{os.getpid()}_{next(_numbers)}"

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name.replace("OWN", self._module)
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(textwrap.dedent(content).replace("OWN", self._module), encoding="utf-8")
        return path

    def own(self, code: str) -> None:
        """The user's module."""
        self.write("OWN.py", code)

    def __call__(
        self, config: str | bytes | None, *arguments: str | Path, output: str | Path | None = "run"
    ) -> Outcome:
        given = [str(item).replace("OWN", self._module) for item in arguments]
        if config is not None:
            given += ["--config", str(self.write("config.yaml", config))]
        if output is not None:
            given += ["--output-dir", str(output)]
        self._capture.readouterr()
        stdout = os.dup(1)
        try:
            code = cli.main(["--no-ui", *([] if self.gate else WAIVED), *given])
        except SystemExit as ended:  # argparse
            code = int(ended.code or 0)
        finally:
            os.dup2(stdout, 1)
            os.close(stdout)
        out, err = self._capture.readouterr()
        assert "Traceback (most recent call last)" not in err, err
        return Outcome(code, out, err.replace(self._module, "OWN"), self.folder / (output or "no-run"))


def _no_writer(*_: Any, **__: Any) -> None:
    raise OSError("tests in one process write their checkpoints themselves: starting a writer takes seconds")


@pytest.fixture
def command(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_session, "WriterLink", _no_writer)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    made, write_report = Command(tmp_path, capfd), baseline._write_report
    for module, name in ((baseline, "_write_report"), (after_baseline, "write_baseline_results")):
        monkeypatch.setattr(module, name, lambda folder, **_: write_report(folder) if made.reports else None)
    yield made
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    for number, handler in handlers.items():
        signal.signal(number, handler)
