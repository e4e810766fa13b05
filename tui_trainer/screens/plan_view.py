"""What the Plan screen shows: one immutable value. The screen renders from it only."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.config.loading import LoadedConfig
    from tui_trainer.config.schema import Config
    from tui_trainer.phases.gate import Checklist, Entry
    from tui_trainer.screens.phase_header import Mark

FILE = "the file"


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan as it stands.

    `template`: what the config is compared with for the marks, called `template_name`. `busy`: items at work.
    `messages`: what the rehearsal told, by kind (see `phases.rehearsing`), `outdated` where the config was changed
    since. `error`: why data or model cannot be used. `trouble`: why the gate could not be kept on disk. `unsaved`: there
    are edits that no file has. `run`: what became of the run that was begun from here.
    """

    name: str = ""
    loaded: LoadedConfig | None = None
    template: Config | None = None
    template_name: str = FILE
    checklist: Checklist | None = None
    busy: frozenset[str] = frozenset()
    checking: bool = False
    messages: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))
    diagnostics: tuple[Mapping[str, Any], ...] = ()
    outdated: bool = False
    error: str | None = None
    trouble: str | None = None
    unsaved: bool = False
    run: Literal["none", "live", "over"] = "none"

    @property
    def read_only(self) -> bool:
        """Whether a run goes by this plan: it is only looked at then."""
        return self.run != "none"

    @property
    def passed(self) -> bool:
        """Whether the baseline may begin."""
        return self.checklist is not None and self.checklist.passed

    @property
    def mark(self) -> Mark:
        """The phase's state, for headers."""
        if self.read_only or self.passed:
            return "passed"
        failed = self.checklist is not None and any(
            entry.finding.state == "failed" for entry in self.checklist.entries
        )
        return "missing" if self.error or failed else "here"

    def entry(self, name: str) -> Entry | None:
        """The gate's item of this name."""
        entries = self.checklist.entries if self.checklist is not None else ()
        return next((entry for entry in entries if entry.item.name == name), None)

    def details(self, name: str) -> Mapping[str, Any]:
        """The numbers that were found for an item; nothing where it was not looked at."""
        entry = self.entry(name)
        return entry.finding.details if entry is not None else {}
