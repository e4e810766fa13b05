"""Phase 3, Diagnose: what a run's files say about it, what to do first, and the config that does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import RunFolderError, UserError
from tui_trainer.phases.analysis.causes import causes_of
from tui_trainer.phases.analysis.curves import read_curves
from tui_trainer.phases.analysis.evidence import Evidence
from tui_trainer.phases.analysis.fit import read_facts, read_fit
from tui_trainer.phases.analysis.gradients import read_gradients
from tui_trainer.phases.analysis.preview import preview_config
from tui_trainer.phases.analysis.profile import read_data_facts, read_profile
from tui_trainer.phases.analysis.recommendations import recommend
from tui_trainer.phases.analysis.symptoms import symptoms_of
from tui_trainer.phases.analysis.verdict import decide_phase, primary_issue
from tui_trainer.phases.examination import examine
from tui_trainer.reports.decision import target_met
from tui_trainer.reports.diagnosis import write_diagnostic_report
from tui_trainer.reports.diagnosis_content import Examination, PhaseDiagnosis, Problem
from tui_trainer.reports.run_files import read_run
from tui_trainer.reports.waivers import waivers_of
from tui_trainer.session.diagnosing import Diagnosis, diagnose_run
from tui_trainer.session.launching import Options, load_options
from tui_trainer.session.run_folder import CONFIG_YAML, GOING_ON, is_live
from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from pathlib import Path

    from tui_trainer.config.schema import Config
    from tui_trainer.reports.run_files import RunFiles

Offers = tuple[tuple[Problem, dict[str, Any]], ...]


def diagnose_phase(run: Path, *, examination: Examination | None = None) -> PhaseDiagnosis:
    """Analyse the run in `run`, finished, crashed or without an epoch: what is missing is said, never raised.

    `examination`: that of its best checkpoint where it was made already. Raises `RunFolderError` where the folder holds
    no run. Not beside a training of the same process, whose generators the examination borrows.
    """
    evidence = gather(run, examination)
    issue = primary_issue(evidence)
    recommendations, advice = recommend(issue, evidence)
    decision, reasons = decide_phase(evidence, issue)
    files = evidence.files
    return PhaseDiagnosis(
        run=run.name,
        name=clean_text(files.run.get("name") or files.setting("name") or run.name, limit=100),
        status=evidence.status,
        message=evidence.message,
        missing=files.missing,
        issue=issue,
        symptoms=symptoms_of(issue.code, evidence),
        causes=causes_of(issue.code, evidence),
        recommendations=recommendations,
        advice=advice,
        preview=preview_config(evidence.config, recommendations),
        decision=decision,
        reasons=reasons,
        curves=evidence.curves,
        fit=evidence.fit,
        gradients=evidence.gradients,
        profile=evidence.profile,
        data=evidence.data,
        examination=evidence.examination,
        problems=evidence.problems,
        waivers=waivers_of(files.run),
    )


def write_diagnosis(run: Path) -> PhaseDiagnosis:
    """Analyse a run and leave the phase's artifacts in its folder. Raises `RunFolderError`, `OSError`."""
    diagnosis = diagnose_phase(run)
    write_diagnostic_report(run, diagnosis)
    return diagnosis


def gather(run: Path, examination: Examination | None = None) -> Evidence:
    """The analyses that a verdict is drawn from. Raises `RunFolderError` where there is no run."""
    files = read_run(run)
    if not files.run and not files.summary and not files.epochs:
        raise RunFolderError(
            f"{run} holds no run (no run.json). Name a run folder, such as checkpoints/NAME-TIME."
        )
    judged = _judged(run)
    problems, fixes = _problems(files, judged)
    facts = read_facts(judged)
    return Evidence(
        files=files,
        status=_status(files),
        message=clean_text(files.summary.get("message") or "", limit=600),
        config=_config(run),
        curves=read_curves(files, learned=facts.learned, target_met=target_met(files)[0]),
        fit=read_fit(files, facts, problems),
        fit_facts=facts,
        gradients=read_gradients(run, problems),
        profile=read_profile(files, judged, problems),
        data=read_data_facts(judged, problems),
        examination=examination or examine(run),
        problems=problems,
        fixes=fixes,
    )


def _judged(run: Path) -> Diagnosis | None:
    """The rules over the whole run; None where it never began to train, or its events cannot be read."""
    try:
        return diagnose_run(run)
    except Exception:  # records of another version, a rule of the user's own: the files still tell most
        return None


def _config(run: Path) -> Config | None:
    try:
        return load_options(Options(config=run / CONFIG_YAML)).config
    except (UserError, OSError):
        return None


def _status(files: RunFiles) -> str:
    """Of the record; a run that says it goes on, and that nobody trains, has died."""
    status = str(files.run.get("status") or files.summary.get("status") or "unknown")
    if status in GOING_ON and not is_live(files.folder):
        return "died"
    return clean_text(status, limit=40)


def _problems(files: RunFiles, judged: Diagnosis | None) -> tuple[tuple[Problem, ...], Offers]:
    """The diagnostics of the run, and what they offer: those of today's rules, and those on record that the rules
    cannot see from the folder."""
    items: list[dict[str, Any]] = list(files.diagnostics)
    if judged is not None:
        objects = judged.to_json()["diagnostics"]
        known = {item["id"] for item in objects}
        codes = {item.code for item in judged.found}
        items = [
            *objects,
            *(item for item in items if item.get("id") not in known and item.get("code") not in codes),
        ]
    order = {"critical": 0, "warning": 1, "info": 2}
    items.sort(key=lambda item: order.get(str(item.get("severity")), 3))
    problems, fixes = [], []
    for item in items:
        problem = _problem(item)
        problems.append(problem)
        offered = item.get("fixes")
        fixes += (
            [(problem, fix) for fix in offered if isinstance(fix, dict)] if isinstance(offered, list) else []
        )
    return tuple(problems), tuple(fixes)


def _problem(item: dict[str, Any]) -> Problem:
    epoch = item.get("epoch")
    return Problem(
        id=clean_text(item.get("id", ""), limit=100),
        code=clean_text(item.get("code", ""), limit=100),
        severity=clean_text(item.get("severity", ""), limit=20),
        epoch=epoch if isinstance(epoch, int) else 0,
        message=clean_text(item.get("message", ""), limit=600),
        open=item.get("applied") is None,
        playbook=clean_text(item.get("playbook") or "", limit=200),
    )
