"""What may lie behind each primary issue, ranked by what of this run speaks for it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tui_trainer.diagnostics.fit_remedies import is_held_back
from tui_trainer.diagnostics.usual_rates import is_hot
from tui_trainer.reports.diagnosis_content import Cause
from tui_trainer.session.wording import clean_text, format_number, format_rate

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui_trainer.phases.analysis.evidence import Evidence
    from tui_trainer.reports.diagnosis_content import IssueCode

MOST = 5
SLOW = 0.2
"""Share of the first training loss; a fall of less over a whole run, epoch by epoch, comes of small steps."""
COLD = 1e-4
"""A learning rate below that is small for every common optimizer."""
FEW_PER_PARAMETER, FEW_TRAIN = 1.0, 1_000


def causes_of(code: IssueCode, evidence: Evidence) -> tuple[Cause, ...]:
    """Likely ones (with evidence) first, then the possible ones, in the order of how often they are it."""
    found = [(text, speaks(evidence)) for text, speaks in CAUSES[code]]
    likely = [Cause(text, "likely", clean_text(why, limit=300)) for text, why in found if why]
    return (*likely, *(Cause(text, "possible", "") for text, why in found if not why))[:MOST]


def _hot(e: Evidence) -> str:
    if e.config is None or not is_hot(e.config):
        return ""
    return f"learning rate {format_rate(e.config.optimizer.learning_rate)} with {e.config.optimizer.target}"


def _cold(e: Evidence) -> str:
    rates = [value for _, value in e.files.column("learning_rate")]
    if rates and max(rates) < COLD:
        return f"the learning rate was never above {format_rate(max(rates))}"
    losses = [value for _, value in e.files.column("train_loss")]
    fall = e.curves.train_fall
    if len(losses) > 2 and fall is not None and all(b < a for a, b in itertools.pairwise(losses)):
        return f"the training loss fell in every epoch, by {fall * 100:.1f}% in all" if fall < SLOW else ""
    return ""


def _decayed(e: Evidence) -> str:
    rates = [value for _, value in e.files.column("learning_rate")]
    if rates and rates[-1] <= 0.01 * max(rates) and e.setting("scheduler.target") != "none":
        return (
            f"the schedule took the learning rate from {format_rate(max(rates))} to {format_rate(rates[-1])}"
        )
    return ""


def _unscaled(e: Evidence) -> str:
    return _content(e, "not normalised", "unnormalised", "scale")


def _bad_values(e: Evidence) -> str:
    return _content(e, "NaN", "infinit", "no number", "non-finite")


def _any_content(e: Evidence) -> str:
    problem = e.told("data_quality")
    return problem.message if problem else ""


def _content(e: Evidence, *words: str) -> str:
    for item in e.data.problems:
        if item.code == "data_quality" and any(word in item.message for word in words):
            return item.message
    return ""


def _half(e: Evidence) -> str:
    return "training.precision is fp16" if e.setting("training.precision") == "fp16" else ""


def _no_clip(e: Evidence) -> str:
    largest = e.gradients.total_largest
    if e.setting("training.gradient_clip_norm") is None and largest is not None and largest > 10:
        return f"gradient norms up to {format_number(largest)}, and no clipping"
    return ""


def _crashed(e: Evidence) -> str:
    return _of(e, "crash")


def _memory(e: Evidence) -> str:
    return _of(e, "out_of_memory", "memory_leak")


def _hung(e: Evidence) -> str:
    return _of(e, "hang")


def _killed(e: Evidence) -> str:
    return "the run ended without a word (status died)" if e.status == "died" else ""


def _vanishing(e: Evidence) -> str:
    return _of(e, "vanishing_gradients")


def _dead(e: Evidence) -> str:
    return _of(e, "dying_relu", "saturated_activation", "dead_parameters")


def _labels(e: Evidence) -> str:
    return _content(e, "label", "target", "class")


def _held_back(e: Evidence) -> str:
    if e.config is None or not is_held_back(e.config):
        return ""
    return (
        f"weight decay {e.config.optimizer.weight_decay:g}, dropout {e.config.model.args.get('dropout', 0.0)} in "
        f"{e.config.model.target}"
    )


def _too_large(e: Evidence) -> str:
    parameters, samples = e.files.summary.get("parameters"), e.data.train_samples
    if isinstance(parameters, int) and samples and parameters > FEW_PER_PARAMETER * samples:
        return f"{parameters:,} parameters for {samples:,} train samples"
    return ""


def _unregularised(e: Evidence) -> str:
    dropout = e.setting("model.args.dropout")
    if e.setting("optimizer.weight_decay") == 0 and not dropout:
        return "weight decay 0, and no dropout in the config"
    return ""


def _few_samples(e: Evidence) -> str:
    samples = e.data.train_samples
    return f"{samples:,} train samples" if samples and samples < FEW_TRAIN else ""


def _no_augmentation(e: Evidence) -> str:
    return "data.transforms.train is null" if e.setting("data.transforms.train") is None else ""


def _too_long(e: Evidence) -> str:
    wasted = e.curves.wasted_epochs
    if wasted is None or wasted < 3:
        return ""
    return f"the best epoch was {e.curves.best_epoch}; {wasted} more were trained"


def _too_small(e: Evidence) -> str:
    now = e.fit_facts.standing
    if now is not None and now.simple_name == "neighbours" and now.short_by() > 0:
        return f"the five nearest train samples reach {format_number(now.simple)} in val_{now.metric}"
    return "the model is linear" if e.setting("model.target") == "linear" else ""


def _too_short(e: Evidence) -> str:
    gain = e.curves.late_gain
    if e.curves.verdict == "improving" and gain is not None:
        return f"the lowest validation loss still fell by {gain * 100:.1f}% of the first in the last third"
    return ""


def _imbalance(e: Evidence) -> str:
    ratio = e.data.imbalance
    return (
        f"{ratio:.1f} samples of the most frequent class for each of the rarest"
        if ratio and ratio > 3
        else ""
    )


def _leak(e: Evidence) -> str:
    return _of(e, "data_leakage")


def _few_val(e: Evidence) -> str:
    samples = e.data.val_samples
    return f"{samples} validation samples" if samples is not None and samples < 200 else ""


def _small_batch(e: Evidence) -> str:
    size = e.setting("data.batch_size")
    return f"batches of {size}" if isinstance(size, int) and size < 16 else ""


def _swings(e: Evidence) -> str:
    return _of(e, "oscillating_loss", "loss_spike")


def _loader(e: Evidence) -> str:
    if e.profile.bottleneck != "data":
        return ""
    return f"data.num_workers is {e.setting('data.num_workers')}"


def _tiny_batch(e: Evidence) -> str:
    return f"batches of {e.setting('data.batch_size')}" if e.profile.bottleneck == "gpu" else ""


def _others(e: Evidence) -> str:
    return e.profile.reason if e.profile.bottleneck in ("cpu", "ram", "heat") else ""


def _nothing(_: Evidence) -> str:
    return ""


def _settings(e: Evidence) -> str:
    return (
        f"best {e.curves.monitor} {format_number(e.curves.best_value)} with settings that nobody has searched"
    )


def _plateau(e: Evidence) -> str:
    return e.curves.reason if e.curves.verdict in ("plateau", "converged") else ""


def _weak_classes(e: Evidence) -> str:
    scores = sorted((item.f1 or 0.0, item.name) for item in e.examination.classes if item.support)
    if not scores or len(scores) < 3:
        return ""
    mean = sum(value for value, _ in scores) / len(scores)
    low, name = scores[0]
    return f"class {name} has an F1 of {low:.3f}, the mean is {mean:.3f}" if low < mean - 0.1 else ""


def _named(e: Evidence) -> str:
    return e.critical[0].message if e.critical else ""


def _of(e: Evidence, *codes: str) -> str:
    problem = e.told(*codes)
    return problem.message if problem else ""


CAUSES: dict[IssueCode, tuple[tuple[str, Callable[[Evidence], str]], ...]] = {
    "failed": (
        ("code of the data set, model or loss raised", _crashed),
        ("memory ran out", _memory),
        ("a step never ended", _hung),
        ("the process was killed from outside (memory, scheduler, power)", _killed),
        ("the data or the config does not fit", _any_content),
    ),
    "non_finite": (
        ("bad values in the data", _bad_values),
        ("the learning rate is too high", _hot),
        ("fp16 overflows", _half),
        ("single batches with huge gradients, and no clipping", _no_clip),
        ("inputs that are not normalised", _unscaled),
        ("log, sqrt, exp or a division in model or loss without a guard", _nothing),
    ),
    "flat": (
        ("the learning rate is too high: the first steps threw the weights away", _hot),
        ("the learning rate is too low", _cold),
        ("the schedule ended learning too early", _decayed),
        ("gradients vanish on their way to the first layers", _vanishing),
        ("dead units, or parameters that take no part", _dead),
        ("regularisation holds everything back", _held_back),
        ("labels do not belong to their inputs", _labels),
    ),
    "overfitting": (
        ("the model has far more capacity than the data needs", _too_large),
        ("too little regularisation", _unregularised),
        ("too few train samples", _few_samples),
        ("training went on after the best epoch", _too_long),
        ("no augmentation", _no_augmentation),
    ),
    "underfitting": (
        ("regularisation holds the model back", _held_back),
        ("the model is too small for the task", _too_small),
        ("training ended too early", _too_short),
        ("the learning rate is too low", _cold),
        ("the learning rate is too high to settle", _hot),
        ("the inputs do not tell enough", _nothing),
    ),
    "data_quality": (
        ("validation samples are in the train set", _leak),
        ("bad or constant values in the data", _any_content),
        ("classes of very different size", _imbalance),
        ("the validation set is small: chance moves the metric", _few_val),
        ("steps that are too large", _swings),
        ("very small batches", _small_batch),
    ),
    "resource": (
        ("loading data takes longer than training on it", _loader),
        ("batches too small to fill the GPU", _tiny_batch),
        ("something else uses the machine", _others),
        ("slow storage or costly transforms", _nothing),
    ),
    "critical": (
        ("parameters or units that take no part", _dead),
        ("gradients vanish on their way to the first layers", _vanishing),
        ("memory runs out", _memory),
        ("steps that are too large", _swings),
        ("what the diagnostic itself names", _named),
    ),
    "target_met": (
        ("the baseline suits the task", _settings),
    ),
    "improvement": (
        ("training ended while it still improved", _too_short),
        ("the baseline's settings are conservative, not tuned", _settings),
        ("capacity or features limit what can be learned", _plateau),
        ("some classes are hard to tell apart", _weak_classes),
    ),
}  # fmt: skip
"""By issue, the more frequent first."""
