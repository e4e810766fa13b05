"""`--mode all`: the phases one after the other, as their gates and routes say, in one project folder."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import RunFolderError
from tui_trainer.phases.gate_lines import missing_lines
from tui_trainer.session.launching import Options, load_options, newest_run
from tui_trainer.session.run_folder import new_default

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tui_trainer.phases.after_baseline import Verdict
    from tui_trainer.phases.headless import Result

MOST_REPEATS = 2
"""Baselines that are trained again by themselves after a diagnosis."""
GATE_NOT_PASSED = 3


class Pipeline:
    """`train` runs one baseline under options and a project folder; `diagnose` analyses its run; `say` takes log lines."""

    def __init__(
        self,
        options: Options,
        *,
        train: Callable[[Options, Path], tuple[Result, Verdict | None]],
        diagnose: Callable[[Path, Path], dict[str, Any]],
        say: Callable[[str], None],
    ) -> None:
        self._options, self._train, self._diagnose, self._say = options, train, diagnose, say
        self._project = _project(options)
        self._phases: list[dict[str, Any]] = []

    def run(self) -> tuple[int, dict[str, Any]]:
        """The exit code and the summary of the last run, with `phases` in it: what each came to. Raises `UserError`."""
        overrides = self._options.overrides
        for number in range(1, MOST_REPEATS + 2):
            run = self._project / _baseline(number)
            self._say(f"[PHASE] 2 Baseline: {run}")
            options = dataclasses.replace(self._options, mode="baseline", output_dir=run, overrides=overrides)
            if number > 1 and options.resume != "auto":
                options = dataclasses.replace(
                    options, resume=None
                )  # a checkpoint is for the first baseline to go on from
            result, verdict = self._train(options, self._project)
            self._note(
                "baseline", run, exit_code=result.exit_code, route=verdict.decision.route if verdict else None
            )
            if verdict is None:
                return self._end(result.exit_code, result.summary)
            if any(entry.item.signed for entry in verdict.checklist.missing):
                self._say(
                    f"The gate {verdict.checklist.gate} is not passed: {missing_lines(verdict.checklist)[-1]}"
                )
                return self._end(GATE_NOT_PASSED, result.summary)
            self._say("[PHASE] 3 Diagnose")
            diagnosis = self._diagnose(run, self._project)
            self._note("diagnose", run, decision=diagnosis["decision"], issue=diagnosis["issue"]["code"])
            if verdict.decision.route != "diagnose_and_repeat" and diagnosis["decision"] != "debug":
                return self._next_phase(verdict, result)
            changes = diagnosis["recommendations"][0]["changes"] if diagnosis["recommendations"] else {}
            if not changes or number > MOST_REPEATS:
                break
            self._say(f"[ROUTE] The baseline again, with: {diagnosis['recommendations'][0]['title']}")
            overrides = (
                *overrides,
                *(f"{key}={json.dumps(change['to'])}" for key, change in changes.items()),
            )
        self._say("The baseline failed again; what to change next takes a person: see diagnostic_report.md.")
        return self._end(GATE_NOT_PASSED, result.summary)

    def _next_phase(self, verdict: Verdict, result: Result) -> tuple[int, dict[str, Any]]:
        """Where phases 4 and 5 would begin."""
        if verdict.checklist.missing:
            for line in missing_lines(verdict.checklist):
                self._say(f"  {line}")
            self._say(f"The gate {verdict.checklist.gate} is not passed: phases 4 and 5 stay shut.")
            return self._end(GATE_NOT_PASSED, result.summary)
        phase = "5 Finalize" if verdict.decision.route == "finalize" else "4 Optimize"
        self._say(
            f"[PHASE] {phase}: not part of this version yet. Everything up to it is done, in {self._project}."
        )
        return self._end(0, result.summary)

    def _note(self, phase: str, run: Path, **what: Any) -> None:
        self._phases.append({"phase": phase, "run": str(run), **what})

    def _end(self, exit_code: int, summary: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return exit_code, summary | {
            "project": str(self._project),
            "phases": self._phases,
            "exit_code": exit_code,
        }


def _project(options: Options) -> Path:
    """The folder that the options name, else the newest project of that name where it is to go on, else a new one.
    Raises `UserError`."""
    if options.output_dir is None:
        name = load_options(options).config.name
        earlier = newest_run(name, f"*/{_baseline(1)}") if options.resume == "auto" else None
        if earlier is not None:
            return earlier.parent
    try:
        if options.output_dir is None:
            return new_default(name)
        options.output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(
            f"The project folder {options.output_dir or 'checkpoints/'} cannot be made ({error.strerror}). Name a folder that "
            "you can write to with --output-dir."
        ) from error
    return options.output_dir


def _baseline(number: int) -> str:
    """The folder of a baseline in its project."""
    return f"{number:02d}-baseline"
