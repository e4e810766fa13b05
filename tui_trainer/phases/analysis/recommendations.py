"""Three to five changes worth a run: what the rules offer for this run, then what helps with its primary issue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tui_trainer.config.errors import UserError
from tui_trainer.diagnostics.fix import Fix, value_at
from tui_trainer.phases.analysis.candidates import candidates
from tui_trainer.phases.analysis.evidence import UNSTABLE
from tui_trainer.reports.diagnosis_content import Recommendation
from tui_trainer.session.repair import with_changes
from tui_trainer.session.wording import clean_text, format_number, is_share

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tui_trainer.config.schema import Config
    from tui_trainer.phases.analysis.evidence import Evidence
    from tui_trainer.reports.diagnosis_content import Issue, IssueCode

FEWEST, MOST = 3, 5
ISSUE = "the issue"
Level = Literal["high", "medium", "low"]

_CODES: dict[IssueCode, tuple[str, ...]] = {
    "failed": ("out_of_memory", "crash", "hang", "memory_leak"),
    "non_finite": ("nan_loss", "exploding_gradients", "loss_spike"),
    "flat": (
        "convergence_stall", "vanishing_gradients", "dying_relu", "saturated_activation", "dead_parameters",
        "slow_convergence", "underfitting",
    ),
    "overfitting": ("overfitting",),
    "underfitting": ("underfitting", "slow_convergence", "convergence_stall"),
    "data_quality": ("data_leakage", "class_imbalance", "data_quality", "oscillating_loss", "loss_spike"),
    "resource": ("resource_inefficiency",),
    "critical": (),
    "target_met": (),
    "improvement": ("slow_convergence", "convergence_stall"),
}  # fmt: skip
"""The diagnostics whose fixes go to the heart of an issue."""

_RISKS: tuple[tuple[str, Level, str], ...] = (
    ("lower_lr", "low", "slower at first"),
    ("raise_lr", "medium", "may swing or diverge"),
    ("clip", "low", "hides a rate that is too high"),
    ("weight_decay", "low", "too much holds learning back"),
    ("dropout", "low", "training takes longer"),
    ("smaller_model", "medium", "may underfit"),
    ("larger_model", "medium", "slower, easier to overfit"),
    ("label_smoothing", "low", "losses are on another scale than before"),
    ("more_epochs", "low", "costs time; early stopping ends it"),
    ("larger_batch", "medium", "fewer steps an epoch; may need a higher rate"),
    ("smaller_batch", "low", "noisier steps, slower epochs"),
    ("adam", "medium", "another optimizer, another optimum"),
    ("cosine", "low", "cannot be extended"),
    ("new_seed", "low", "cures bad luck only"),
    ("balanced_loss", "medium", "precision of rare classes falls"),
    ("macro_f1", "low", "chooses another epoch as the best"),
    ("early_stopping", "low", "may end before a late improvement"),
    ("less_regularisation", "medium", "the gap may open"),
    ("larger_validation", "low", "fewer samples to train on"),
    ("compile", "medium", "slow first steps; results differ in the last digits"),
    ("bf16", "medium", "results differ slightly"),
    ("safer_precision", "low", "fp32 is slower"),
)
"""By the beginning of a fix's id."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """`origin`: the diagnostic that offers the fix, or the issue: its first change that can be made weighs most."""

    fix: Fix
    origin: str
    main: bool
    why: str


def recommend(issue: Issue, evidence: Evidence) -> tuple[tuple[Recommendation, ...], tuple[str, ...]]:
    """The recommendations, the best first, each with a config diff that validates; and what only a person can do.

    What most baselines gain by fills up to three; it is the whole list where nothing is wrong. Without a config there
    are none.
    """
    config = evidence.config
    if config is None:
        return (), _advice(evidence, issue)
    chosen: list[tuple[_Candidate, Level]] = []
    taken: set[str] = set()
    origins: set[str] = set()

    def choose(candidates: Iterable[_Candidate], most: int) -> None:
        for item in candidates:
            changes = _changes(item.fix, config)
            if (
                len(chosen) >= most
                or not changes
                or taken & changes.keys()
                or not _validates(config, changes)
            ):
                continue
            impact = _impact(issue, item, again=item.origin in origins, later=bool(chosen))
            taken.update(changes)
            origins.add(item.origin)
            chosen.append((item, impact))

    heart, others = _offered(issue, evidence)
    choose(heart, MOST)
    choose(_for_issue(issue, evidence, config), MOST - 1 if others else MOST)
    choose(others, MOST)
    choose(_usual(evidence, config), FEWEST)
    gain = _headroom(issue, evidence)
    found = tuple(_recommendation(item, impact, config, gain) for item, impact in chosen)
    return found, _advice(evidence, issue)


def _impact(issue: Issue, item: _Candidate, *, again: bool, later: bool) -> Level:
    """What a rule puts first against a problem that was found weighs most. Where nothing is wrong, no change can promise
    much."""
    if not item.main:
        return "low"
    if issue.code in ("target_met", "improvement") and item.origin == ISSUE:
        return "low" if later else "medium"
    return "medium" if again or (later and item.origin == ISSUE) else "high"


def _changes(fix: Fix, config: Config) -> dict[str, Any]:
    """What the fix would really change."""
    return {key: value for key, value in fix.changes.items() if value_at(config, key) != value}


def _recommendation(item: _Candidate, impact: Level, config: Config, gain: str) -> Recommendation:
    fix = item.fix
    return Recommendation(
        id=fix.id,
        title=_title(fix),
        effect=fix.effect,
        impact=impact,
        effort=_effort(fix),
        risk=_risk(fix),
        gain=_gain(impact, gain),
        why=item.why,
        changes={
            key: {"from": value_at(config, key), "to": value} for key, value in _changes(fix, config).items()
        },
    )


def _offered(issue: Issue, evidence: Evidence) -> tuple[list[_Candidate], list[_Candidate]]:
    """Fixes of the run's own diagnostics, in the order of their rules: those of the issue, and the others that are more
    than remarks."""
    codes = _codes(issue, evidence)
    heart, others = [], []
    for problem, fix in evidence.fixes:
        made = _from_json(fix)
        if made is None or made.range_test or not problem.open:
            continue
        item = _Candidate(
            made, problem.id, problem.code in codes, f"offered by {clean_text(problem.id, limit=60)}"
        )
        if problem.code in codes:
            heart.append((codes.index(problem.code), item))
        elif problem.severity != "info":
            others.append(item)
    heart.sort(key=lambda pair: pair[0])
    return [item for _, item in heart], others


def _codes(issue: Issue, evidence: Evidence) -> tuple[str, ...]:
    """The diagnostics at the heart of the issue."""
    return tuple(item.code for item in evidence.critical) if issue.code == "critical" else _CODES[issue.code]


def _for_issue(issue: Issue, evidence: Evidence, config: Config) -> Iterator[_Candidate]:
    """What helps with such an issue, whatever the rules said. Its first weighs most where they offered nothing; no
    setting cures leaking data."""
    cures = issue.code != "critical" and evidence.told("data_leakage") is None
    for fix in candidates(issue.code, evidence, config):
        yield _Candidate(fix, ISSUE, main=cures, why=issue.title if cures else "a usual next step")


def _usual(evidence: Evidence, config: Config) -> Iterator[_Candidate]:
    for fix in candidates("improvement", evidence, config):
        yield _Candidate(fix, "usual", main=False, why="a usual next step")


def _from_json(fix: dict[str, Any]) -> Fix | None:
    """A fix as the rules recorded it; None where it is of another form."""
    diff = fix.get("config_diff")
    if not isinstance(diff, dict) or not all(
        isinstance(item, dict) and "to" in item for item in diff.values()
    ):
        return None
    return Fix(
        id=str(fix.get("id", "")),
        title=clean_text(fix.get("title", ""), limit=200),
        effect=clean_text(fix.get("effect", ""), limit=300),
        changes={str(key): item["to"] for key, item in diff.items()},
        range_test=bool(fix.get("range_test")),
    )


def _validates(config: Config, changes: dict[str, Any]) -> bool:
    try:
        with_changes(config, changes)
    except (UserError, ValueError, TypeError):
        return False
    return True


def _title(fix: Fix) -> str:
    """Without the place that a running training would go on from: here a new run is planned."""
    return clean_text(fix.title.partition(", from ")[0], limit=200)


def _effort(fix: Fix) -> str:
    if fix.id in ("more_epochs", "larger_model", "larger_model_in_code"):
        return "medium: a config change; a longer run"
    return "low: a config change; one run"


def _risk(fix: Fix) -> str:
    for start, level, text in _RISKS:
        if fix.id.startswith(start):
            return f"{level}: {text}"
    return "low: one setting, taken back as easily"


_OUTCOMES: dict[IssueCode, str] = {
    "failed": "the next run ends, or says where it fails and loses less",
    "non_finite": "a run that ends with finite numbers",
}


def _gain(impact: Level, headroom: str) -> str:
    if headroom in _OUTCOMES.values():
        return f"{ {'high': 'likely', 'medium': 'perhaps', 'low': 'hardly'}[impact] }: {headroom}"
    return f"{ {'high': 'up to', 'medium': 'part of', 'low': 'a little of'}[impact] } {headroom}"


def _headroom(issue: Issue, evidence: Evidence) -> str:
    """What there is to gain, in words with this run's numbers."""
    if issue.code in _OUTCOMES:
        return _OUTCOMES[issue.code]
    if issue.code == "resource":
        return _lost_time(evidence)
    return _of_issue(issue, evidence) or _to_target(evidence)


def _lost_time(evidence: Evidence) -> str:
    profile = evidence.profile
    if profile.bottleneck == "data" and profile.data_wait is not None:
        return f"the {profile.data_wait * 100:.0f}% of the time that waits for data"
    if profile.bottleneck == "gpu" and profile.gpu_util is not None:
        return f"the {100 - profile.gpu_util:.0f}% of the GPU that are idle"
    return "the time that is lost"


def _of_issue(issue: Issue, evidence: Evidence) -> str | None:
    curves, fit = evidence.curves, evidence.fit
    if issue.code == "overfitting" and curves.gap is not None and curves.gap.final > 0:
        return f"the gap of {_points(curves.gap.metric, curves.gap.final)} in {curves.gap.metric}"
    if issue.code in ("flat", "underfitting") and fit.simple is not None and fit.val is not None:
        ahead = abs(fit.simple - fit.val)
        return f"the {_points(fit.metric or '', ahead)} in val_{fit.metric} to {fit.simple_name}, or more"
    if issue.code != "data_quality":
        return None
    if curves.spread is not None and curves.spread_metric and curves.spread > UNSTABLE:
        return f"the scatter of {_points(curves.spread_metric, curves.spread)} in validation"
    weakest = min(
        (item for item in evidence.examination.classes if item.recall is not None and item.support),
        key=lambda item: item.recall or 0.0,
        default=None,
    )
    if weakest is not None and evidence.told("class_imbalance"):
        return (
            f"the {(1 - (weakest.recall or 0.0)) * 100:.1f} points of recall that class {weakest.name} lacks"
        )
    return None


def _to_target(evidence: Evidence) -> str:
    fit = evidence.fit
    metric = fit.metric or "loss"
    if fit.short_of_target:
        target = str(evidence.setting("targets.metric") or metric)
        return f"the {_points(target, fit.short_of_target)} to the target"
    if fit.val is not None and is_share(metric) and 0 <= fit.val < 1:
        return f"the {_points(metric, 1 - fit.val)} in val_{metric} that are left"
    return "what is left to gain"


def _points(metric: str, value: float) -> str:
    return f"{value * 100:.1f} points" if is_share(metric) else format_number(value)


def _advice(evidence: Evidence, issue: Issue) -> tuple[str, ...]:
    """What the rules advise that no setting can do, for the issue's diagnostics and all that are critical."""
    codes = _codes(issue, evidence)
    found = []
    for problem, fix in evidence.fixes:
        if not problem.open or not (problem.code in codes or problem.severity != "info"):
            continue
        if (not fix.get("config_diff") and fix.get("action") != "stop") or str(fix.get("id")) in _NOT_ADVICE:
            continue
        if not fix.get("config_diff"):
            found.append(f"{clean_text(fix.get('title'), limit=300)} ({clean_text(problem.id, limit=60)})")
        elif fix.get("range_test"):
            found.append("find the learning rate by a range test (a fix of a running training)")
    return tuple(dict.fromkeys(found))[:8]


_NOT_ADVICE = ("stop", "skip_batches", "ignore")
