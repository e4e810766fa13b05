"""A run's checkpoints looked at once more: do they load and reproduce their metrics, and what does the best one get wrong?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tui_trainer.config.errors import RunFolderError
from tui_trainer.config.wording import printable
from tui_trainer.engine.checkpoints import BEST
from tui_trainer.phases.analysis.mistakes import Witness, mistakes
from tui_trainer.phases.reassembly import Reassembled, State, in_words, reassembled, recorded_metrics
from tui_trainer.reports.diagnosis_content import NO_CHECKPOINT, Examination

if TYPE_CHECKING:
    from pathlib import Path

WORST = 10  # samples
SAME_DEVICE, OTHER_DEVICE = 1e-5, 5e-3
"""By how much, relative to the recorded value (at least 1), a metric may differ and count as reproduced. Kernels of
another kind of device round otherwise, and single predictions then change."""


@dataclass(frozen=True, slots=True)
class Recheck:
    """One checkpoint of the manifest, looked at. `ok`: it verifies, loads, and its metrics come out as recorded.

    `why`: what is wrong, or what was not compared. `recorded` and `measured` hold the validation metrics by name, empty
    where it does not load. `difference`: the largest between them, None where nothing was compared.
    """

    file: str
    epoch: int | None
    ok: bool
    why: str
    recorded: dict[str, float]
    measured: dict[str, float]
    difference: float | None = None


def recheck_checkpoints(run: Path) -> list[Recheck]:
    """Every checkpoint that the run's manifest names: that it is there, is intact, loads, and reproduces its metrics.

    One set of pieces serves all. Raises `UserError` where the run cannot be put together again (no config, no data).
    Not beside a training of the same process.
    """
    try:
        with reassembled(run) as pieces:
            names = {*pieces.entries, *pieces.by_worth()}
            order = sorted(names, key=lambda name: (name != BEST, pieces.step_of(name), name))
            return [_recheck(pieces, name) for name in order]
    except (OSError, ValueError, RuntimeError, TypeError) as error:  # user code of data or model, run anew
        raise RunFolderError(
            f"The run in {run} cannot be put together again to check its checkpoints ({in_words(error)}). Its data and "
            "code must be where they were."
        ) from error


def examine(run: Path, *, worst: int = WORST) -> Examination:
    """What the best checkpoint of a run makes of the validation set: scores by class, errors, the worst samples.

    Falls back to the last one, then to the newest that verifies. Nothing changes in the run's folder, nor in the
    process's generators. Never raises for what a run may lack: `why_not` says it. Not beside a training of the same
    process.
    """
    try:
        with reassembled(run) as pieces:
            return _examined(pieces, worst)
    except Exception as error:  # missing data, a user's model that needs something, memory
        return Examination(why_not=printable(in_words(error), 400))


def _examined(pieces: Reassembled, worst: int) -> Examination:
    notes: list[str] = []
    for name in pieces.by_worth():
        try:
            state = pieces.load(name)
            break
        except Exception as error:  # damaged, or of another model
            notes.append(f"{name} was passed over: {printable(in_words(error), 300)}")
    else:
        return Examination(why_not=NO_CHECKPOINT, task=_task(pieces), notes=tuple(notes))
    parts = pieces.parts
    witness = Witness(parts.loss, parts.data.task)
    measured = pieces.validate(state, witness)
    found = mistakes(witness, parts.data, worst)
    return Examination(
        checkpoint=name,
        epoch=int(state["epoch"]),
        task=_task(pieces),
        samples=parts.val.samples,
        recorded=recorded_metrics(state),
        measured=measured,
        row_name=parts.data.row_name,
        notes=(*notes, *found.notes),
        classes=found.classes,
        matrix=found.matrix,
        pairs=found.pairs,
        never_predicted=found.never_predicted,
        residuals=found.residuals,
        targets=found.targets,
        worst=found.worst,
    )


def _task(pieces: Reassembled) -> str:
    return str(pieces.parts.data.task.kind)


def _recheck(pieces: Reassembled, name: str) -> Recheck:
    entry = pieces.entries.get(name, {})
    epoch = entry.get("epoch")
    if not (pieces.folder / "checkpoints" / name).is_file():
        return Recheck(name, epoch, ok=False, why="the file is not there", recorded={}, measured={})
    try:
        state = pieces.load(name)
        measured = pieces.validate(state)
    except Exception as error:  # damaged, of another model, or the model fails on it
        return Recheck(name, epoch, ok=False, why=printable(in_words(error), 300), recorded={}, measured={})
    recorded = recorded_metrics(state)
    epoch = int(state["epoch"])
    if not _measured_here(name, state):
        why = "taken in the middle of an epoch: its metrics are those of the validation before, and are not compared"
        return Recheck(name, epoch, ok=True, why=why, recorded=recorded, measured=measured)
    return _compared(pieces, name, epoch, recorded, measured)


def _measured_here(name: str, state: State) -> bool:
    """Whether the metrics in a checkpoint are those of its weights: a best one is taken where it was validated."""
    return bool(state.get("epoch_complete", True)) or name == BEST


def _compared(
    pieces: Reassembled, name: str, epoch: int, recorded: dict[str, float], measured: dict[str, float]
) -> Recheck:
    limit = SAME_DEVICE if _same_device(pieces) else OTHER_DEVICE
    if not recorded:
        why = "no validation metric was recorded in it"
        return Recheck(name, epoch, ok=False, why=why, recorded=recorded, measured=measured)
    differences = {key: _difference(value, measured.get(key)) for key, value in recorded.items()}
    worst = max(differences, key=lambda key: differences[key] / max(1.0, abs(_finite(recorded[key]))))
    beyond = [
        key for key, value in differences.items() if value > limit * max(1.0, abs(_finite(recorded[key])))
    ]
    why = ""
    if beyond:
        key = worst if worst in beyond else beyond[0]
        now = measured.get(key, math.nan)
        why = f"{printable(key, 60)} was recorded as {recorded[key]:.6g} and is now {now:.6g}"
    return Recheck(name, epoch, not beyond, why, recorded, measured, differences[worst])


def _difference(recorded: float, measured: float | None) -> float:
    if measured is None:
        return math.inf
    if recorded == measured or (math.isnan(recorded) and math.isnan(measured)):
        return 0.0
    difference = abs(recorded - measured)
    return difference if math.isfinite(difference) else math.inf


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _same_device(pieces: Reassembled) -> bool:
    """Whether this is the kind of device that the run was on; taken for so where that is not known."""
    from tui_trainer.reports.run_files import read_run

    files = read_run(pieces.folder)
    device = str(files.summary.get("device") or files.run.get("device") or pieces.parts.device)
    return device.partition(":")[0] == pieces.parts.device.type
