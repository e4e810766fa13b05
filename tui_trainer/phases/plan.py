"""Phase 1, Plan: the gate `reproducibility`, without which no baseline begins, and its record on disk."""

from __future__ import annotations

import dataclasses
import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import TrainingError, UserError
from tui_trainer.engine.events import iso_time
from tui_trainer.phases import environment, plan_checks
from tui_trainer.phases.gate import Checklist, Entry, Finding, Item
from tui_trainer.phases.gate_book import GateBook
from tui_trainer.phases.plan_checks import GATE, ITEMS, REHEARSED, TITLE
from tui_trainer.phases.rehearsal import Rehearsal
from tui_trainer.phases.signing import answered, signed, waived
from tui_trainer.phases.standing import aspects, changed_since

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tui_trainer.config.loading import LoadedConfig

STEPS, STEPS_S = 5, 20.0  # of each of the two trial runs, and for how long the first may go on


class GateNotPassed(UserError):
    """A gate's items are missing."""

    exit_code = 3


class PlanGate:
    """Earns the gate `reproducibility` for a config: what still holds is kept, what does not is checked.

    `run` may take a minute and belongs on a thread of its own; `on_change` gets the checklist and the names of the
    items at work, there; `on_message` gets what the rehearsal tells (see `rehearsing`). `blocked`: why the data
    cannot be trained on at all. `diagnostics`: what the rules found wrong before training. `project`: where
    `gates.yaml` is kept, the config's folder if left out. `run`: the run folder, where the checkpoints will be; it will hold
    the environment's record too, so that a project folder that cannot be written to stops nothing.
    """

    def __init__(
        self,
        loaded: LoadedConfig,
        *,
        project: Path | None = None,
        run: Path | None = None,
        on_change: Callable[[Checklist, frozenset[str]], None] = lambda *_: None,
        on_message: Callable[[Mapping[str, Any]], None] = lambda _: None,
    ) -> None:
        self.loaded = loaded
        self.blocked: str | None = None
        self.diagnostics: list[Mapping[str, Any]] = []
        self.messages: dict[str, Mapping[str, Any]] = {}
        self._on_change, self._on_message = on_change, on_message
        self.project = project or loaded.folder
        self._run = run
        self._room = run or self.project
        self._book = GateBook(self.project)
        self._code = self._book.code_of(GATE)
        self._stood: Mapping[str, str] = {}  # the aspects, with those code files, that the entries rest on
        self._stood_code = self._code
        self._opened = time.time()
        self._entries: dict[str, Entry] = {}
        self._busy: frozenset[str] = frozenset()
        self._rehearsal: Rehearsal | None = None
        self._cancelled = threading.Event()
        self._lock = threading.RLock()  # a person may sign while the checks go on

    @property
    def trouble(self) -> str | None:
        """Why the gate could not be kept on disk: it then holds for this process only."""
        return self._book.trouble

    def checklist(self) -> Checklist:
        """The gate as it stands."""
        return Checklist(
            GATE,
            TITLE,
            tuple(self._entries.get(item.name, Entry(item, Finding("open", ""))) for item in ITEMS),
        )

    def look(self) -> Checklist:
        """The gate as far as it is known without checking anything: milliseconds."""
        self._open_book()
        return self.checklist()

    def _open_book(self) -> Mapping[str, Entry]:
        """Take in what still holds and what the config answers; returns what still holds."""
        opened, stood, code = time.time(), aspects(self.loaded, self._code), self._code
        kept = self._book.entries(GATE, ITEMS, stood)
        with self._lock:
            self._opened, self._stood, self._stood_code = opened, stood, code
            self._entries = {}
            for item in ITEMS:
                entry = answered(item, kept.get(item.name), self.loaded.config.gates)
                if entry is not None and not (
                    item.name == "disk" and plan_checks.too_full(entry, self._room)
                ):
                    self._entries[item.name] = entry
        return kept

    def sign(self, name: str, note: str) -> Checklist:
        """Sign an item, for good."""
        return self._take(signed(_item(name), note))

    def waive(self, name: str, reason: str) -> Checklist:
        """Let an item be, though it failed."""
        found = self._entries.get(name)
        return self._take(waived(_item(name), reason, found.finding if found else None))

    def _take(self, entry: Entry) -> Checklist:
        with self._lock:
            self._entries[entry.item.name] = entry
            self._keep()
        self._tell()
        return self.checklist()

    def run(self) -> Checklist:
        """Check whatever is open. Raises the `UserError` that the run itself would meet (data or model that cannot be read)."""
        kept = self._open_book()
        self._tell()
        try:
            self._check({item.name for item in ITEMS if not item.signed and not self._granted(item.name)})
        finally:
            self._busy = frozenset()
            with self._lock:
                if not self._cancelled.is_set() and self._entries != kept:
                    self._keep()
            self._tell()
        return self.checklist()

    def preview(self) -> None:
        """Tell `on_message` of data and model, and check nothing. Raises `UserError` as `run` does."""
        self._messages(set())

    def leave_record(self, run: Path) -> None:
        """Put the environment's record into a run folder: that of the project, else a new one. Raises `OSError`."""
        from tui_trainer.phases.manifest import FOLDER, REQUIREMENTS, write_environment

        kept = self.project / FOLDER
        if (kept / REQUIREMENTS).is_file():
            shutil.copytree(kept, run / FOLDER, dirs_exist_ok=True)
            return
        try:
            found = environment.repository(self.loaded.folder)
        except environment.NoAnswer:
            found = None
        write_environment(run, environment.requirements(), found)

    def cancel(self) -> None:
        """End the checks, from any thread."""
        self._cancelled.set()
        if self._rehearsal is not None:
            self._rehearsal.cancel()

    # ── checking ────────────────────────────────────────────────────────────────────────────────────────────

    def _granted(self, name: str) -> bool:
        return name in self._entries and self._entries[name].granted

    def _check(self, wanted: set[str]) -> None:
        if wanted & REHEARSED:
            self._rehearse(wanted)
        if self.blocked is not None or self._cancelled.is_set():
            return
        if wanted & {"environment", "repository"}:
            self._record(wanted)

    def _rehearse(self, wanted: set[str]) -> None:
        """Two trial runs, one after the other, each in a process of its own."""
        trials = "two_runs" in wanted
        self._work_on(wanted & REHEARSED)
        try:
            first = self._messages(
                wanted,
                steps=STEPS if trials else 0,
                seconds=STEPS_S,
                look=bool((wanted & REHEARSED) - {"two_runs"}),
            )
            if self.blocked is not None or self._cancelled.is_set() or not trials or first is None:
                return
            self._work_on({"two_runs"})
            second = self._messages(set(), steps=first["steps"], exactly=True, look=False)
        except TrainingError as error:  # the process died: the message says how
            self._found(self._stage(), Finding("failed", str(error)))
            return
        if second is not None:
            self._found("two_runs", plan_checks.two_runs(first, second))

    def _stage(self) -> str:
        """The item that a rehearsal was at when it died; those after it stay open."""
        if "data" not in self.messages:
            return "data"
        return "two_runs" if "pass" in self.messages else "dummy_pass"

    def _messages(self, wanted: set[str], **how: Any) -> Mapping[str, Any] | None:
        """Take in what a rehearsal tells; returns its message `steps`."""
        self._rehearsal = Rehearsal(self.loaded, **how)
        if self._cancelled.is_set():
            self._rehearsal.cancel()
        steps = None
        for message in self._rehearsal:
            kind = message["kind"]
            if kind == "steps":
                steps = message
            elif kind == "diagnostic":
                self.diagnostics.append(message)
            elif kind == "blocked":
                self.blocked = str(message["message"])
                self._rehearsal.cancel()
            elif kind == "code":
                self._code = tuple(message["files"])
            self.messages[kind] = message
            self._on_message(message)
            self._judge(kind, message, wanted)
        return steps

    def _judge(self, kind: str, message: Mapping[str, Any], wanted: set[str]) -> None:
        config = self.loaded.config
        found: dict[str, Finding] = {}
        if kind == "seeds":
            found = {"seeds": plan_checks.seeds(message), "deterministic": plan_checks.deterministic(message)}
        elif kind == "data":
            found = {"data": plan_checks.data(message)}
        elif kind == "model":
            found = {"disk": plan_checks.disk(message, config, self._room)}
        elif kind == "pass":
            found = {
                "dummy_pass": plan_checks.dummy_pass(message),
                "splits": plan_checks.splits(self.messages["splits"], self.diagnostics),
            }
        for name, finding in found.items():
            if name in wanted:
                self._found(name, finding)

    def _record(self, wanted: set[str]) -> None:
        """Write the environment and the code's version beside the config."""
        from tui_trainer.phases.manifest import write_environment

        self._work_on(wanted & {"environment", "repository"})
        machine, packages = environment.machine(), environment.requirements()
        found, why_not = None, ""
        try:
            found = environment.repository(self.loaded.folder)
        except environment.NoAnswer as error:
            why_not = str(error)
        try:
            write_environment(self.project, packages, found)
        except OSError as error:
            if self._run is not None:
                self._judge_record(wanted, machine, packages, found, why_not)
                return
            failed = Finding(
                "failed", f"{error.filename or self.project} cannot be written ({error.strerror})"
            )
            for name in ("environment", "repository"):
                if name in wanted:
                    self._found(name, failed)
            return
        self._judge_record(wanted, machine, packages, found, why_not)

    def _judge_record(
        self,
        wanted: set[str],
        machine: Mapping[str, Any],
        packages: str,
        found: environment.Repository | None,
        why_not: str,
    ) -> None:
        if "environment" in wanted:
            count = sum(not line.startswith("#") for line in packages.splitlines())
            platform = {
                key: value for key, value in self.messages.get("platform", {}).items() if key != "kind"
            }
            self._found("environment", plan_checks.environment(machine, platform, count))
        if "repository" in wanted:
            failed = Finding("failed", why_not)
            self._found("repository", failed if why_not else plan_checks.repository(found))

    # ── keeping ─────────────────────────────────────────────────────────────────────────────────────────────

    def _found(self, name: str, finding: Finding) -> None:
        with self._lock:
            if name not in self._entries or self._entries[name].finding.state != "waived":
                self._entries[name] = Entry(_item(name), finding, at=iso_time(time.time()))
        self._busy -= {name}
        self._tell()

    def _work_on(self, names: set[str]) -> None:
        self._busy = frozenset(names)
        self._tell()

    def _tell(self) -> None:
        self._on_change(self.checklist(), self._busy)

    def _keep(self) -> None:
        """Write gates.yaml, and the phase's artifacts where the gate is earned."""
        from tui_trainer.phases.manifest import withdraw_plan, write_plan

        resting = self._resting()
        self._stood, self._stood_code = resting, self._code
        self._entries = {
            name: dataclasses.replace(entry, rested_on={key: resting[key] for key in entry.item.rests_on})
            for name, entry in self._entries.items()
        }
        checklist = self.checklist()
        if self._book.write(checklist, code=self._code):
            try:
                if checklist.passed:
                    write_plan(self.loaded, checklist, self.project)
                else:
                    withdraw_plan(self.project)
            except OSError as error:
                self._book.trouble = f"{error.filename or self.project} cannot be written ({error.strerror})"

    def _resting(self) -> Mapping[str, str]:
        """What the items were found for: what has changed since then stays as it was, so that the items resting on it
        are open the next time."""
        now = aspects(self.loaded, self._code)
        if self._code == self._stood_code:
            return {name: self._stood.get(name, now[name]) for name in now}
        still = aspects(self.loaded, self._stood_code)
        resting = {name: now[name] if still[name] == self._stood[name] else self._stood[name] for name in now}
        if changed_since(self.loaded.folder, self._code, self._opened):
            resting["code"] = "changed while it was checked"
        return resting


def _item(name: str) -> Item:
    return next(item for item in ITEMS if item.name == name)
