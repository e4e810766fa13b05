"""To which checkpoint a fix would go back, as the run's manifest has it now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_trainer.config.errors import RunFolderError
from tui_trainer.engine.manifest import read_manifest
from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tui_trainer.engine.events import DiagnosticRaised

NONE_YET = "there is none, so it starts again from step 0"


def fix_targets(run: Path | None, told: DiagnosticRaised) -> Mapping[str, str]:
    """By fix id: the file, its epoch and step. Nothing where the run's folder is not known."""
    if run is None:
        return {}
    entries = {
        name: entry
        for name, entry in read_manifest(run / "checkpoints")["files"].items()
        if isinstance(entry.get("step"), int)
    }
    if not entries:
        return {}
    from tui_trainer.engine.repair import target_file  # imports torch, which a run with checkpoints has done

    found: dict[str, str] = {}
    for fix in told.fixes:
        if fix.get("action") != "restart_from":
            continue
        try:
            file = target_file(str(fix.get("checkpoint")), entries, fix.get("since"))
        except RunFolderError as error:
            found[str(fix.get("id"))] = clean_text(error, limit=200)
            continue
        found[str(fix.get("id"))] = NONE_YET if file is None else _words(file, entries[file])
    return found


def _words(file: str, entry: Mapping[str, object]) -> str:
    return f"{clean_text(file, limit=80)}, epoch {entry.get('epoch')}, step {entry['step']:,}"
