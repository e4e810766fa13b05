"""Work on a run that is over, on threads of its own: one piece at a time, for it borrows the process's generators."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from tui_trainer.config.errors import UserError
from tui_trainer.config.wording import class_name
from tui_trainer.screens.diagnose_view import DiagnoseView
from tui_trainer.screens.gate_view import GateView
from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tui_trainer.phases.gate import Checklist
    from tui_trainer.reports.diagnosis_content import PhaseDiagnosis
    from tui_trainer.screens.diagnose_view import Changes, Points

View = TypeVar("View", GateView, DiagnoseView)
_ONE_AT_A_TIME = threading.Lock()
_AT_WORK: set[threading.Thread] = set()


class Answer(Protocol):
    """Keeps a person's words on an item of a gate; returns the gate with it."""

    def __call__(self, run: Path, checklist: Checklist, name: str, text: str) -> Checklist: ...


def _begin(work: Callable[..., None], *arguments: Any) -> None:
    thread = threading.Thread(target=work, args=arguments, name="examiner", daemon=True)
    _AT_WORK.difference_update([item for item in _AT_WORK if not item.is_alive()])
    thread.start()
    _AT_WORK.add(thread)


def wait_for_work(seconds: float | None = None) -> bool:
    """Whether all that examiners have begun is done, at the latest after `seconds` for each piece: a process that ends
    while one of them is in torch is aborted."""
    for thread in tuple(_AT_WORK):
        thread.join(seconds)
    return not any(thread.is_alive() for thread in _AT_WORK)


class Examiner(ABC, Generic[View]):
    """Holds an immutable `view` of a run that is over; `on_change` is told, on any thread, that there is a newer one."""

    def __init__(self, view: View) -> None:
        self.view: View = view
        self.on_change: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._run: Path | None = None
        self._round = 0

    @property
    def run(self) -> Path | None:
        """The folder of the run that was looked at last."""
        return self._run

    def start(self, run: Path, *, ended: Callable[[], object] = lambda: None, **known: Any) -> None:
        """Look at the run in this folder, once `ended` returns: its last thread is then gone. `known` goes into the view."""
        with self._lock:
            self._run = run
            self._round += 1
            number = self._round
        self._tell(busy=True, error=None, **known)
        _begin(self._work, run, number, ended)

    def again(self) -> None:
        """Look once more."""
        if self._run is not None and not self.view.busy:
            self.start(self._run)

    def forget(self) -> None:
        """Show nothing more of the run: another one begins."""
        with self._lock:
            self._round += 1
            self._run = None
        self._tell(busy=False, error=None, checklist=None, **self._nothing())

    def _work(self, run: Path, number: int, ended: Callable[[], object]) -> None:
        ended()
        try:
            with _ONE_AT_A_TIME:
                found = self._examine(run)
        except UserError as problem:
            found = {"error": str(problem)}
        except Exception as problem:  # of the user's code, or of a damaged folder: the screen says it
            found = {"error": f"{class_name(type(problem))}: {clean_text(problem, limit=600)}"}
        with self._lock:
            if number != self._round:
                return
        self._tell(busy=False, **found)

    def _tell(self, **changes: Any) -> None:
        with self._lock:
            self.view = replace(self.view, **changes)
        self.on_change()

    @abstractmethod
    def _examine(self, run: Path) -> dict[str, Any]:
        """What belongs into the view."""

    @abstractmethod
    def _nothing(self) -> dict[str, Any]:
        """What is empty in a view of nothing."""

    def _answer(self, keep: Answer, name: str, text: str) -> None:
        """Have an answer to the gate kept, and its reports written again, on a thread of its own."""
        if self._run is not None and self.view.checklist is not None:
            _begin(self._keep, self._run, self._round, keep, name, text)

    def _keep(self, run: Path, number: int, keep: Answer, name: str, text: str) -> None:
        found: dict[str, Any] = {}
        try:
            with _ONE_AT_A_TIME:
                checklist = self.view.checklist
                if checklist is not None and number == self._round:
                    found = {"trouble": None, "checklist": keep(run, checklist, name, text)}
                    found |= self._answered(run)
        except UserError as problem:
            found |= {"trouble": str(problem)}
        except OSError as problem:
            why = f"{problem.filename or run} cannot be written ({problem.strerror or problem})"
            found |= {"trouble": why}
        if found and number == self._round:
            self._tell(**found)

    def _answered(self, _run: Path) -> dict[str, Any]:
        """What else an answer changes in the view."""
        return {}


class Judge(Examiner[GateView]):
    """Judges a baseline that is over by the gate `post_baseline`."""

    def __init__(
        self,
        *,
        judge: Callable[[Path], tuple[Any, Any]] | None = None,
        sign: Answer | None = None,
        waive: Answer | None = None,
    ) -> None:
        super().__init__(GateView())
        self._judge, self._keep_sign, self._keep_waive = judge or _judge, sign or _sign, waive or _waive

    def _examine(self, run: Path) -> dict[str, Any]:
        checklist, decision = self._judge(run)
        return {"checklist": checklist, "decision": decision, "trouble": None}

    def _nothing(self) -> dict[str, Any]:
        return {"decision": None, "trouble": None}

    def sign(self, name: str, note: str) -> None:
        """Sign an item."""
        self._answer(self._keep_sign, name, note)

    def waive(self, name: str, reason: str) -> None:
        """Waive an item."""
        self._answer(self._keep_waive, name, reason)


class Diagnoser(Examiner[DiagnoseView]):
    """Diagnoses a run that is over, and carries its recommendations into the next run's config.

    `carry` takes changes into the plan and returns why that failed.
    """

    def __init__(
        self,
        carry: Callable[[Changes], str | None],
        *,
        diagnose: Callable[[Path], tuple[Any, Any]] | None = None,
        waive: Answer | None = None,
        retell: Callable[[Path, Any], Any] | None = None,
    ) -> None:
        super().__init__(DiagnoseView())
        self._carry, self._diagnose = carry, diagnose or _diagnose
        self._keep_waive, self._retell = waive or _waive, retell or _retell

    def _examine(self, run: Path) -> dict[str, Any]:
        diagnosis, checklist = self._diagnose(run)
        return {
            "diagnosis": diagnosis,
            "checklist": checklist,
            "losses": read_losses(run),
            "folder": run,
            "name": diagnosis.name,
            "trouble": None,
        }

    def _nothing(self) -> dict[str, Any]:
        empty: MappingProxyType[str, Any] = MappingProxyType({})
        return {"diagnosis": None, "losses": empty, "folder": None, "carried": empty, "trouble": None}

    def _answered(self, run: Path) -> dict[str, Any]:
        found = self.view.diagnosis
        return {"diagnosis": self._retell(run, found)} if found is not None else {}

    def carry(self, changes: Changes) -> str | None:
        """Take a recommendation's changes into the next run's config; returns why that failed."""
        problem = self._carry(changes)
        if problem is None:
            new = {key: change["to"] for key, change in changes.items()}
            self._tell(carried=MappingProxyType({**self.view.carried, **new}))
        return problem

    def waive(self, name: str, reason: str) -> None:
        """Waive an item; the report tells of it."""
        self._answer(self._keep_waive, name, reason)


def read_losses(run: Path) -> MappingProxyType[str, Points]:
    """The losses of a run's epochs."""
    from tui_trainer.reports.run_files import read_run

    files = read_run(run)
    names = ("train_loss", "val_loss")
    return MappingProxyType({name: tuple(files.column(name)) for name in names})


def _judge(run: Path) -> tuple[Any, Any]:
    from tui_trainer.phases.after_baseline import judge_baseline

    verdict = judge_baseline(run)
    return verdict.checklist, verdict.decision


def _diagnose(run: Path) -> tuple[Any, Any]:
    from tui_trainer.phases.after_diagnosis import complete_diagnosis

    return complete_diagnosis(run)


def _sign(run: Path, checklist: Checklist, name: str, text: str) -> Checklist:
    from tui_trainer.phases.answering import sign_item

    return sign_item(run, checklist, name, text)


def _waive(run: Path, checklist: Checklist, name: str, text: str) -> Checklist:
    from tui_trainer.phases.answering import waive_item

    return waive_item(run, checklist, name, text)


def _retell(run: Path, diagnosis: PhaseDiagnosis) -> PhaseDiagnosis:
    from tui_trainer.phases.answering import with_waivers

    return with_waivers(run, diagnosis)
