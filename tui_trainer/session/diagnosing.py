"""The rules over a run that is there already: its folder is read, nothing in it changes."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import RunFolderError
from tui_trainer.diagnostics.facts import RunFacts
from tui_trainer.diagnostics.registry import build_rules
from tui_trainer.diagnostics.watch import Watch
from tui_trainer.engine.events import DiagnosticRaised, Event, Resumed, RunStarted, encode
from tui_trainer.session.event_file import EventFile
from tui_trainer.session.launching import Options, load_options
from tui_trainer.session.log_lines import lines_for
from tui_trainer.session.run_folder import CONFIG_YAML, read_run_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_trainer.diagnostics.history import History


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a run. `found`: by the rules of today over all of it. `recorded`: what it said itself and
    the rules cannot see from its folder (a crash, bad data). `epochs`: how many were looked at. `facts` and
    `history`: what the rules judged by."""

    folder: Path
    name: str
    epochs: int
    found: tuple[DiagnosticRaised, ...]
    recorded: tuple[DiagnosticRaised, ...]
    facts: RunFacts
    history: History

    def to_json(self) -> dict[str, Any]:
        """One object; a diagnostic as in `diagnostics.jsonl`."""
        both = (*self.found, *self.recorded)
        return {
            "run_dir": str(self.folder),
            "name": self.name,
            "epochs": self.epochs,
            "diagnostics": [_object(item) for item in both],
        }


def main(arguments: Sequence[str]) -> int:
    """`mltrainer-tui diagnose`; returns the exit code. Raises `UserError`."""
    parser = argparse.ArgumentParser(
        prog="mltrainer-tui diagnose",
        description="Ask every diagnostic rule about a run, finished or not. Nothing in its folder changes.",
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    diagnosis = diagnose_run(options.folder)
    print(json.dumps(diagnosis.to_json()) if options.json else "\n".join(diagnosis_lines(diagnosis)))
    return 0


def diagnose_run(folder: Path) -> Diagnosis:
    """Ask every rule about the run in `folder`, with its own config and thresholds. Raises `UserError`."""
    record = read_run_json(folder)
    if record is None:
        raise RunFolderError(
            f"{folder} holds no run (no run.json). Name a run folder, such as checkpoints/NAME-TIME."
        )
    events = _in_force(folder)
    started = next((item for item in reversed(events) if isinstance(item, RunStarted)), None)
    if started is None:
        raise RunFolderError(
            f"The run in {folder} never began to train: there is nothing to judge. Look into training.log for the reason."
        )
    loaded = load_options(Options(config=folder / CONFIG_YAML))
    facts = RunFacts(
        config=loaded.config,
        epochs=started.epochs,
        steps_per_epoch=started.steps_per_epoch,
        metrics=started.metrics,
        monitor=started.monitor,
        monitor_mode=started.monitor_mode,
        device=started.device,
        context=started.context,
    )
    watch = Watch(build_rules(facts, loaded.folder), facts)
    told = {item.id: item for item in watch.before_training(started.time)}
    recorded = {}
    for event in events:
        if isinstance(event, DiagnosticRaised):
            recorded[event.id] = event
        else:
            told |= {item.id: item for item in watch.observe(event)}
    codes = {item.code for item in told.values()}
    return Diagnosis(
        folder=folder,
        name=str(record.get("name", "")),
        epochs=len(watch.history.epochs),
        found=tuple(told.values()),
        recorded=tuple(item for item in recorded.values() if item.code not in codes),
        facts=facts,
        history=watch.history,
    )


def _in_force(folder: Path) -> list[Event]:
    """The events of the run without those that a later attempt has superseded."""
    file = EventFile(folder / "events.jsonl")
    kept: list[Event] = []
    while found := file.read():
        for event in found:
            if isinstance(event, Resumed):
                kept = [item for item in kept if _place(item) <= event.step]
            kept.append(event)
    return kept


def _place(event: Event) -> int:
    """The step that an event belongs to; 0 for what is of no step, and for diagnostics, which stay."""
    return 0 if isinstance(event, DiagnosticRaised) else int(getattr(event, "step", 0))


def _object(event: DiagnosticRaised) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(encode(event))
    return {key: value for key, value in content.items() if key not in ("kind", "crc")}


def diagnosis_lines(diagnosis: Diagnosis) -> list[str]:
    """For people: each diagnostic as the log says it, or that there is none."""
    both = (*diagnosis.found, *diagnosis.recorded)
    if not both:
        return [f"{diagnosis.name}: nothing found in {diagnosis.epochs} epochs."]
    return [line for item in both for line in lines_for(item)]
