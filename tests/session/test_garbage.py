"""The garbage collector leaves alone what stays for good: a pass over it would hold up every thread."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc
from pathlib import Path
from tui_trainer.engine.events import StepLogged
from tui_trainer.session.launching import Options, open_request
from tui_trainer.session.run_session import RunSession

for number in range(2):
    before = gc.get_freeze_count()
    overrides = ("training.epochs=1", "data.batch_size=400", "monitoring.log_every_n_steps=1")
    session = RunSession(open_request(Options(output_dir=Path(f"run{number}"), overrides=overrides)))
    reader = session.subscribe("reader")
    session.start()
    assert session.wait(200) and session.exit_code == 0, session.summary
    assert any(isinstance(event, StepLogged) for event in reader.poll(0))
    print(before, gc.get_freeze_count(), len(gc.get_objects()))
"""


def test_what_a_run_imports_is_not_gone_through_again_and_later_runs_are(tmp_path):
    """In a process of its own: freezing is for the whole process."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (none, frozen, left), (before, after, _) = (
        tuple(map(int, line.split())) for line in done.stdout.splitlines()
    )
    assert none == 0
    assert frozen > 100_000 > 10 * left  # torch and its like
    assert before == frozen >= after  # what a second run makes can be collected
