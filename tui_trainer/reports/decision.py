"""What a baseline's numbers suggest to do next, and why (the routing of phase 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tui_trainer.reports.run_files import RunFiles, is_finite
from tui_trainer.session.wording import clean_text, format_metric, format_number, is_share

if TYPE_CHECKING:
    from collections.abc import Sequence

OVERFIT_GAP = 0.15  # training metric above the validation metric, in points of a fraction
LOW_GPU_UTIL = 40.0  # percent
SMALL_FALL = 0.2  # share of the first training loss


Route = Literal["finalize", "diagnose", "diagnose_and_repeat", "by_hand"]
"""Where a baseline leads: to phase 5; to phase 3; to phase 3 and back to 2; nowhere by itself (there is no target)."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Where to go: a verdict, the route, the recommended next phase in words, and the reasons with their numbers."""

    verdict: str
    next_phase: str
    reasons: tuple[str, ...]
    route: Route


def decide(files: RunFiles) -> Decision:
    """The decision for a finished baseline."""
    failed = _failures(files)
    if failed:
        again = "Phase 3 (Diagnose), then train the baseline again"
        return Decision("FAILED", again, tuple(failed), "diagnose_and_repeat")
    met, sentence = target_met(files)
    critical = [item for item in files.diagnostics if item.get("severity") == "critical"]
    if met and not critical:
        return Decision("ACCEPTABLE", "Phase 5 (Finalize)", (sentence,), "finalize")
    reasons = [sentence]
    reasons += [f"Open critical diagnostic: {clean_text(item.get('code'))}." for item in critical]
    reasons += _weaknesses(files)
    if met is None and not critical and len(reasons) == 1:
        by_hand = "Set `targets` in the config, or decide by hand"
        return Decision("NOT JUDGED", by_hand, tuple(reasons), "by_hand")
    return Decision("INSUFFICIENT", "Phase 3 (Diagnose)", tuple(reasons), "diagnose")


def target_met(files: RunFiles) -> tuple[bool | None, str]:
    """Whether the config's target was met (None: there is none), and the sentence that says so."""
    target = files.setting("targets")
    if not isinstance(target, dict) or not target.get("metric"):
        return None, "The config sets no target, so nothing says whether this is good enough."
    name = str(target["metric"])
    best = files.number(f"best_{name}")
    final = files.number(f"final_{name}")
    value = best if best is not None else final
    low, high = target.get("at_least"), target.get("at_most")
    points = [y for _, y in files.column(name)]
    if value is None and points:
        value = max(points) if low is not None else min(points)
    shown = clean_text(name)
    if value is None:
        return False, f"The target's metric {shown} was not measured."
    bound, word = (low, "at least") if low is not None else (high, "at most")
    if not isinstance(bound, (int, float)):
        return None, f"The target for {shown} has no bound."
    met = is_finite(value) and (value >= bound if low is not None else value <= bound)
    verdict = "met" if met else "missed"
    return met, (
        f"Target {verdict}: best {shown} {format_metric(name, value)}, "
        f"asked for {word} {format_metric(name, float(bound))}."
    )


def _failures(files: RunFiles) -> list[str]:
    reasons = []
    status = str(files.summary.get("status", "unknown"))
    if status in ("failed", "died", "unknown"):
        reasons.append(f"The run did not complete (status {clean_text(status)}).")
    losses = [("training", files.column("train_loss")), ("validation", files.column("val_loss"))]
    for name, points in losses:
        broken = [int(epoch) for epoch, value in points if not is_finite(value)]
        if broken:
            reasons.append(f"The {name} loss was not finite in {_epochs(broken)}.")
    training = [value for _, value in losses[0][1] if is_finite(value)]
    if len(training) > 1 and min(training[1:]) >= training[0]:
        reasons.append(
            f"The training loss never fell below its first epoch's {format_number(training[0])}: "
            "nothing was learned."
        )
    util = files.number("gpu_util")
    if util is not None and util < LOW_GPU_UTIL:
        reasons.append(f"GPU utilization was {util:.0f}%, below {LOW_GPU_UTIL:.0f}%.")
    return reasons


def _epochs(numbers: Sequence[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:8])
    more = f" and {len(numbers) - 8} more" if len(numbers) > 8 else ""
    return f"epoch{'s' if len(numbers) > 1 else ''} {shown}{more}"


def _weaknesses(files: RunFiles) -> list[str]:
    reasons = []
    last = files.epochs[-1] if files.epochs else {}
    for name, value in last.items():
        training = last.get(f"train_{name[4:]}") if name.startswith("val_") else None
        if value is None or training is None or not is_share(name):
            continue
        gap = training - value
        if gap > OVERFIT_GAP:
            reasons.append(
                f"{clean_text(name[4:])} is {gap * 100:.1f} points better in training than in validation: "
                "overfitting."
            )
    losses = [value for _, value in files.column("train_loss") if is_finite(value)]
    if len(losses) > 1 and losses[0] > 0 and (losses[0] - losses[-1]) / losses[0] < SMALL_FALL:
        fall = (losses[0] - losses[-1]) / losses[0]
        reasons.append(f"The training loss fell by only {fall * 100:.0f}%.")
    return reasons
