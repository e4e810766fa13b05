"""data_quality: what is wrong with the content of the data, found before training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_trainer.diagnostics import remedies
from tui_trainer.diagnostics.rule import Problem
from tui_trainer.engine.events import DiagnosticRaised

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tui_trainer.config.schema import Config
    from tui_trainer.data.quality import Finding
    from tui_trainer.diagnostics.fix import Fix

CODE = "data_quality"
PLAYBOOK = "diagnostics/data_quality.md"
FIX_IDS = (
    "repair_values", "drop_rows", "declare_categorical", "remap_labels", "other_split", "check_label_column",
    "drop_columns", "standardize", "normalise_inputs", "drop_copies", "split_by_group",
)  # fmt: skip
"""Every id that a fix of this problem can have."""


def problems(findings: Sequence[Finding], config: Config) -> dict[str, Problem]:
    """One problem a finding by the diagnostic's id, the worst first."""
    order = {"critical": 0, "warning": 1, "info": 2}
    return {
        f"{CODE}-{number}": Problem(
            severity=finding.severity,
            message=finding.message,
            evidence={"problem": finding.problem} | finding.evidence,
            fixes=fixes(finding, config),
            subject=finding.problem,
        )
        for number, finding in enumerate(sorted(findings, key=lambda item: order[item.severity]), 1)
    }


def diagnose(found: Mapping[str, Problem], config: Config, *, time: float) -> list[DiagnosticRaised]:
    """The diagnostics that tell of `problems`."""
    return [
        DiagnosticRaised(
            time=time,
            id=name,
            code=CODE,
            severity=problem.severity,
            epoch=0,
            step=0,
            message=problem.message,
            evidence=problem.evidence,
            fixes=tuple(fix.to_json(config) for fix in problem.fixes),
            playbook=PLAYBOOK,
        )
        for name, problem in found.items()
    ]


def fixes(finding: Finding, config: Config) -> tuple[Fix, ...]:
    """What to do about a finding, the best first. Only scales can be mended by a setting; the data is the user's."""
    if finding.problem == "unnormalised":
        return (remedies.normalise_inputs(config),)
    if finding.problem == "one_class":
        return (_other_split(config), _advice("check_label_column"))
    return tuple(map(_advice, _ADVICE[finding.problem]))


def _other_split(config: Config) -> Fix:
    return remedies.advice(
        "other_split",
        f"divide the data differently: seed {config.seed} → {config.seed + 1}, from the start",
        "all classes on both sides; results are not comparable with earlier runs",
        changes={"seed": config.seed + 1},
    )


def _advice(name: str) -> Fix:
    return remedies.advice(name, *_WORDS[name])


_ADVICE = {
    "non_finite_features": ("repair_values", "drop_rows"),
    "non_numeric": ("repair_values", "declare_categorical"),
    "label_out_of_range": ("remap_labels", "drop_rows"),
    "constant_labels": ("check_label_column",),
    "constant_feature": ("drop_columns",),
    "duplicates": ("drop_copies", "split_by_group"),
}
_WORDS = {
    "repair_values": (
        "repair the named cells at the source, or fill them in (the column's median)",
        "nothing is lost; filling in biases a little",
    ),
    "drop_rows": ("drop the named rows", "fewer samples; biased where they are not random"),
    "declare_categorical": (
        "name the column in data.args.categorical, where its text is a category",
        "each category becomes an input",
    ),
    "remap_labels": (
        "number the classes from 0, or drop samples without a label",
        "labels that the loss can take",
    ),
    "check_label_column": (
        "look whether the right column is the label, and whether a filter or a sorted file dropped the rest",
        "something to learn",
    ),
    "drop_columns": ("drop the named columns", "fewer weights; nothing is lost"),
    "drop_copies": (
        "drop repeated samples before the data is divided",
        "no copy of a train sample in validation; fewer samples",
    ),
    "split_by_group": (
        "data.group_by: a column that is equal for samples that belong together",
        "related samples stay in one set",
    ),
}
