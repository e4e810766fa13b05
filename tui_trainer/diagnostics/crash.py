"""crash: the user's data, model, loss or metric code raised."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tui_trainer.config.user_code import exception_text, raised, user_frame
from tui_trainer.engine.events import DiagnosticRaised

if TYPE_CHECKING:
    from collections.abc import Sequence

CODE = "crash"
PLAYBOOK = "diagnostics/crash.md"
_ROWS = 64

_CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"out of memory|can't allocate memory|not enough memory|MemoryError|std::bad_alloc",
        "memory is exhausted",
        "Halve data.batch_size and double training.gradient_accumulation_steps.",
    ),
    (
        r"DataLoader worker .* (exited|is killed)|bus error|shared memory|unable to open shared memory",
        "a loader's worker process died",
        "Set data.num_workers: 0 to see its error, or give it more shared memory (/dev/shm).",
    ),
    (
        r"device-side assert|CUDA error: (an illegal|misaligned)|CUBLAS_STATUS_EXECUTION_FAILED",
        "an index out of range on the GPU, as a rule a label",
        "Run once with device: cpu, which names the line and the value.",
    ),
    (
        r"Target -?\d+ is out of bounds|index out of range|index -?\d+ is out of bounds|IndexError",
        "a label or an index is out of range",
        "Look at the labels of these rows, and at the number of classes or the size of the embedding.",
    ),
    (
        (
            r"shapes cannot be multiplied|size mismatch|must match the size|invalid for input of size|expected input .* "
            r"channels|stack expects each tensor to be equal size|Sizes of tensors must match|expected \d+D"
        ),
        "shapes do not fit each other",
        "Look for a batch size or length that is written into the code; samples of different size need a data.collate.",
    ),
    (
        (
            r"expected scalar type|Expected .* but got .*(Long|Float|Double|Half|Int)|should be the same dtype|must have the "
            r"same dtype|not implemented for '"
        ),
        "a tensor has another type than the operation takes",
        "Convert it where the data set makes it (.long() for class numbers, .float() for values).",
    ),
    (
        r"[Ee]xpected all tensors to be on the same device|is on (cpu|cuda)",
        "a tensor is on another device than the model",
        "Register constants with register_buffer, or create them with device=x.device.",
    ),
    (
        r"Expected more than 1 value per channel",
        "batch normalisation got a single sample",
        "Set data.drop_last: true, or a batch size that leaves no remainder of 1.",
    ),
    (
        r"modified by an inplace operation|backward through the graph a second time",
        "autograd's record was changed or used twice",
        "Replace in-place operations (+=, .add_()) on activations, and .detach() what is kept between steps.",
    ),
    (
        r"FileNotFoundError|No such file|PermissionError|UnidentifiedImageError|Input/output error|Stale file",
        "a file is missing, damaged or cannot be read",
        "Check the path that is named, and the disk or network share that it is on.",
    ),
    (r"No space left", "a disk is full", "Free some space, then go on with --resume auto."),
)


def diagnose(
    error: BaseException, *, epoch: int, step: int, time: float, rows: Sequence[int] = ()
) -> DiagnosticRaised:
    """What raised, in whose code, when, on which samples (`rows`: their positions in the training split), and why
    in all likelihood."""
    where = user_frame(error)
    when = f"after step {step} of epoch {epoch}" if epoch else "before training"
    cause, advice = likely_cause(error)
    shown = ", ".join(map(str, rows[:8])) + (f" … ({len(rows)})" if len(rows) > 8 else "")
    on = f", on the batch of training rows {shown}" if rows else ""
    likely = f" Likely cause: {cause}. {advice}" if cause else ""
    evidence: dict[str, Any] = {"exception": type(error).__name__, "text": exception_text(error, 2000)}
    return DiagnosticRaised(
        time=time,
        id=f"{CODE}-1",
        code=CODE,
        severity="critical",
        epoch=epoch,
        step=step,
        message=f"{raised(error)}, {when}{on}.{likely}",
        evidence=evidence | {"where": where, "cause": cause or None, "rows": list(rows[:_ROWS])},
        playbook=PLAYBOOK,
    )


def likely_cause(error: BaseException) -> tuple[str, str]:
    """Cause and advice for errors that say enough; two empty texts for others."""
    text = exception_text(error, 2000)
    for pattern, cause, advice in _CAUSES:
        if re.search(pattern, text):
            return cause, advice
    return "", ""
