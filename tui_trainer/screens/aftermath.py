"""What follows a run in the app: once it is over it is judged, then diagnosed, and the screens are told."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tui_trainer.screens.diagnose_view import DiagnoseDesk
from tui_trainer.screens.examiner import Diagnoser, Judge
from tui_trainer.screens.gate_view import GateDesk
from tui_trainer.session.run_folder import read_run_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui_trainer.screens.app import MLTrainerApp
    from tui_trainer.screens.baseline import BaselineScreen
    from tui_trainer.screens.diagnose import DiagnoseScreen
    from tui_trainer.screens.diagnose_view import Changes
    from tui_trainer.session.protocol import RunHandle


class Aftermath:
    """Judge and diagnoser of an app's runs, one run after the other. `carry` takes a recommendation's changes into the
    next run's config and returns why that failed. `baseline` and `diagnose` are the screens to tell."""

    def __init__(
        self,
        app: MLTrainerApp,
        carry: Callable[[Changes], str | None],
        *,
        judge: Judge | None = None,
        diagnoser: Diagnoser | None = None,
    ) -> None:
        self._app = app
        self.judge, self.diagnoser = judge or Judge(), diagnoser or Diagnoser(carry)
        self.judge.on_change = lambda: self._later(self._judged)
        self.diagnoser.on_change = lambda: self._later(self.show)
        self.baseline: BaselineScreen | None = None
        self.diagnose: DiagnoseScreen | None = None
        self._name = ""

    @property
    def busy(self) -> bool:
        """Whether the run that is over is still being looked at: no other may begin beside that."""
        return self.judge.view.busy or self.diagnoser.view.busy

    @property
    def gate_desk(self) -> GateDesk:
        """Whom the gate of the Baseline screen turns to."""
        return GateDesk(self.judge.sign, self.judge.waive, self.judge.again)

    @property
    def diagnose_desk(self) -> DiagnoseDesk:
        """Whom the Diagnose screen turns to."""
        return DiagnoseDesk(
            carry=self.diagnoser.carry, waive=self.diagnoser.waive, again=self.diagnoser.again
        )

    def run_is_over(self, handle: RunHandle, name: str) -> None:
        """Judge the run, once; a folder that holds no run is let be."""
        folder = handle.folder
        if self.judge.run == folder or read_run_json(folder) is None:
            return
        self._name = name
        self.judge.start(folder, ended=handle.wait)

    def forget(self) -> None:
        """Another run begins."""
        self.judge.forget()
        self.diagnoser.forget()
        self.baseline, self.diagnose = None, None

    def _judged(self) -> None:
        folder = self.judge.run
        if folder is not None and not self.judge.view.busy and self.diagnoser.run != folder:
            self.diagnoser.start(folder, name=self._name)
        self.show()

    def show(self) -> None:
        """Have the screens show what is known."""
        if self.baseline is not None and self.baseline.is_mounted:
            self.baseline.show_gate(self.judge.view)
        if self.diagnose is not None:
            self.diagnose.show(self.diagnoser.view)

    def _later(self, what: Callable[[], None]) -> None:
        """On the app's thread, as long as there is one."""
        with contextlib.suppress(RuntimeError):
            if self._app.is_running:
                self._app.call_later(what)
