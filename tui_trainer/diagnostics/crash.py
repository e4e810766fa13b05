"""crash: the user's data, model or loss code raised."""

from __future__ import annotations

from tui_trainer.config.user_code import exception_text, raised, user_frame
from tui_trainer.engine.events import DiagnosticRaised

CODE = "crash"
PLAYBOOK = "diagnostics/crash.md"


def diagnose(error: BaseException, *, epoch: int, step: int, time: float) -> DiagnosticRaised:
    """What raised, in whose code, and when."""
    where = user_frame(error)
    when = f"after step {step} of epoch {epoch}" if epoch else "before training"
    return DiagnosticRaised(
        time=time,
        id=f"{CODE}-1",
        code=CODE,
        severity="critical",
        epoch=epoch,
        step=step,
        message=f"{raised(error)}, {when}.",
        evidence={"exception": type(error).__name__, "text": exception_text(error, 2000), "where": where},
        playbook=PLAYBOOK,
    )
