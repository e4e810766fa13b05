"""A gate that is earned with a run: its items are checked against that run's files, its state goes into `gates.yaml`
and the run's own `run.json`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from typing import TYPE_CHECKING

from tui_trainer.engine.events import iso_time
from tui_trainer.engine.manifest import write_atomically
from tui_trainer.phases.gate import Checklist, Entry, Finding
from tui_trainer.phases.gate_book import GateBook
from tui_trainer.phases.signing import answered
from tui_trainer.phases.standing import aspects, digest
from tui_trainer.session.run_folder import RUN_JSON, read_run_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tui_trainer.config.loading import LoadedConfig
    from tui_trainer.phases.gate import Item

METRIC_FILES = ("epoch_metrics.csv", "metrics.json")


@dataclasses.dataclass(frozen=True, slots=True)
class RunGate:
    """One gate of one run. `loaded`: the run's config, its `folder` is where imports and paths start; `project`: where
    `gates.yaml` is kept."""

    name: str
    title: str
    items: Sequence[Item]
    loaded: LoadedConfig
    run: Path
    project: Path

    def settle(self, check: Callable[[str], Finding]) -> Checklist:
        """Check what is open (`check` gives the finding of an item by name), take in signatures and waivers.

        What was earned with this very run is not checked again, what is waived not at all.
        """
        book, now = GateBook(self.project), self._aspects()
        known = book.entries(self.name, self.items, now)
        entries = []
        for item in self.items:
            entry = answered(item, known.get(item.name), self.loaded.config.gates)
            if entry is None and not item.signed:
                entry = Entry(item, check(item.name), at=iso_time(time.time()))
            entry = entry or Entry(item, Finding("open", ""))
            entries.append(dataclasses.replace(entry, rested_on={key: now[key] for key in item.rests_on}))
        return Checklist(self.name, self.title, tuple(entries), run=str(self.run))

    def keep(self, checklist: Checklist, **more: str) -> bool:
        """Write the gate into `gates.yaml` and, with `more`, into the run's `run.json`, as far as the disk allows.

        False where the run's record says all of it already; then nothing is written.
        """
        record = read_run_json(self.run) or {}
        told = {"gates": {**record.get("gates", {}), **as_record(checklist)}, **more}
        if GateBook(self.project).run_of(self.name) == str(self.run) and told.items() <= record.items():
            return False
        GateBook(self.project).write(checklist)
        if record:
            with contextlib.suppress(OSError):
                write_atomically(self.run / RUN_JSON, json.dumps(record | told, indent=1, default=str) + "\n")
        return True

    def _aspects(self) -> Mapping[str, str]:
        record = read_run_json(self.run) or {}
        files = {}
        for path in [*(self.run / "checkpoints").glob("*.pt"), *map(self.run.joinpath, METRIC_FILES)]:
            with contextlib.suppress(OSError):
                facts = path.stat()
                files[path.name] = [facts.st_size, facts.st_mtime_ns]
        return aspects(self.loaded, run=digest([record.get("id"), len(record.get("attempts", [])), files]))


def as_record(checklist: Checklist) -> dict[str, dict[str, dict[str, str]]]:
    """A gate as `run.json` holds it: state, title, evidence and reason of each item, for reports."""
    return {
        checklist.gate: {
            entry.item.name: {
                "state": entry.finding.state,
                "title": entry.item.title,
                "evidence": entry.finding.evidence,
                "reason": entry.reason,
            }
            for entry in checklist.entries
        }
    }
