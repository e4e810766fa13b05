"""Diagnoses as phase 3 makes them, for pictures and keys: an overfitted run, one that met its target, a crashed one,
a regression; and the checklists that go with them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from tui_trainer.phases.diagnosis_gate import GATE, ITEMS, TITLE
from tui_trainer.phases.gate import Checklist, Entry, Finding
from tui_trainer.reports.diagnosis_content import (
    Cause,
    Change,
    ClassScore,
    Confusion,
    Curves,
    DataFacts,
    Examination,
    Fit,
    Gap,
    Gradients,
    HeatMap,
    Issue,
    LayerGradient,
    PhaseDiagnosis,
    Preview,
    Problem,
    Profile,
    Recommendation,
    Sample,
    Symptom,
    TargetError,
    Waiver,
)
from tui_trainer.screens.diagnose_view import DiagnoseView

FOLDER = Path("/work/digits/checkpoints/digits-baseline-20251009-085320")
WHERE = "epoch_metrics.csv"


def recommendation(name, title, changes, impact="medium", **words) -> Recommendation:
    texts = {
        "effect": "smaller weights: the gap between training and validation narrows",
        "effort": "low: a config change; one run",
        "risk": "low: too much holds learning back",
        "gain": "part of the gap of 31.7 points in accuracy",
        "why": "offered by overfitting-1",
    }
    diff = {key: {"from": old, "to": new} for key, (old, new) in changes.items()}
    return Recommendation(id=name, title=title, impact=impact, changes=diff, **(texts | words))


WEIGHT_DECAY = recommendation(
    "weight_decay",
    "weight decay 0 → 0.0001",
    {"optimizer.weight_decay": (0.0, 0.0001)},
    "high",
    gain="most of the gap of 31.7 points in accuracy",
)
DROPOUT = recommendation(
    "dropout",
    "dropout 0 → 0.3",
    {"model.args.dropout": (None, 0.3)},
    effect="units cannot rely on each other: less is learned by heart; training takes longer",
    risk="low: training takes longer",
)
SMALLER = recommendation(
    "hidden",
    "hidden layers [1024, 1024, 512, 512, 256] → [256, 256]",
    {"model.args.hidden": ([1024, 1024, 512, 512, 256], [256, 256])},
    effect="less room to learn by heart; too small shows as underfitting",
    risk="medium: may underfit",
    effort="medium: a config change; one run",
)
STOPPING = recommendation(
    "early_stopping",
    "early stopping: off → patience 5",
    {"early_stopping.enabled": (False, True), "early_stopping.patience": (10, 5)},
    effect="the run ends by itself, 5 epochs after its best; the best state is kept",
    risk="low: may end before a late improvement",
)
SMOOTHING = recommendation(
    "label_smoothing",
    "label smoothing 0 → 0.1",
    {"loss.args.label_smoothing": (None, 0.1)},
    "low",
    risk="high: losses are on another scale than before",
    why="Overfitting",
)

LAYERS = tuple(f"layers.{index}.{kind}" for index in (0, 2, 4, 6, 8) for kind in ("weight", "bias"))


def norms(layer: int, epoch: int) -> float:
    return (0.6 if layer % 2 == 0 else 0.08) * math.exp(-epoch / 18) * (1 + 0.5 * math.sin(layer + epoch / 2))


def gradients(epochs: int = 20) -> Gradients:
    values = tuple(tuple(norms(k, epoch) for epoch in range(1, epochs + 1)) for k in range(len(LAYERS)))
    layers = tuple(
        LayerGradient(name, row[0], row[-1], sorted(row)[len(row) // 2], min(row), max(row), "ok")
        for name, row in zip(LAYERS, values, strict=True)
    )
    return Gradients(
        "healthy",
        "All 10 parameters have gradients of an ordinary size. The first layers have 1.68 times the gradient of the last.",
        epochs,
        0.6629,
        0.2052,
        1.262,
        1.677,
        layers,
        HeatMap(LAYERS, tuple(range(1, epochs + 1)), values),
    )


def sick_gradients() -> Gradients:
    """One layer without gradient, one that was not finite, one that came late."""
    good = gradients(90)
    assert good.heat_map is not None
    values = [list(row) for row in good.heat_map.values]
    values[0] = [0.0] * 90
    values[2] = [value * 1e-4 for value in values[2]]
    values[3][60] = math.nan
    values[9][:30] = [None] * 30
    layers = [
        replace(good.layers[0], last=0.0, verdict="zero"),
        good.layers[1],
        replace(good.layers[2], last=2.3e-7, verdict="small"),
        replace(good.layers[3], last=math.nan, verdict="non_finite"),
        *good.layers[4:],
    ]
    return replace(
        good,
        verdict="vanishing",
        reason="1 parameter has no gradient at all (layers.0.weight); 1 has one below 1e-6 (layers.2.weight).",
        epochs=90,
        layers=tuple(layers),
        heat_map=replace(good.heat_map, values=tuple(map(tuple, values))),
    )


def classes(names, scores) -> tuple[ClassScore, ...]:
    return tuple(
        ClassScore(name, 36, 30, 25, None if score is None else score + 0.02, score, score)
        for name, score in zip(names, scores, strict=True)
    )


EXAMINED = Examination(
    checkpoint="best_model.pt",
    epoch=4,
    task="classification",
    samples=360,
    recorded={"val_loss": 0.5936, "val_accuracy": 0.663},
    measured={"val_loss": 0.5936, "val_accuracy": 0.663},
    classes=classes("0123456789", (0.97, 0.84, 0.91, 0.62, 0.95, 0.88, 0.93, 0.71, 0.41, 0.66)),
    pairs=(
        Confusion("8", "3", 11, 0.31),
        Confusion("9", "7", 8, 0.22),
        Confusion("3", "8", 5, 0.14),
        Confusion("7", "9", 4, 0.11),
    ),
    worst=tuple(
        Sample(row, str(row % 10), str((row + 5) % 10), 5.9 - place * 0.41, 0.99 - place * 0.03)
        for place, row in enumerate((201, 97, 1145, 115, 206, 25, 1167, 33, 15, 242))
    ),
)

PROBLEM = Problem(
    "overfitting-1",
    "overfitting",
    "warning",
    7,
    "train_accuracy 0.9295 is 0.285 above val_accuracy 0.6442 (limit 0.15; chance ±0.14), for 3 epochs. The best epoch was 4.",
    True,
    "diagnostics/overfitting.md",
)

OVERFITTING = PhaseDiagnosis(
    run=FOLDER.name,
    name="digits-baseline",
    status="completed",
    message="All 20 epochs are done.",
    missing=(),
    issue=Issue(
        "overfitting",
        "Overfitting",
        "In the last epoch train_accuracy is 31.7 points above val_accuracy: more than 15 points.",
    ),
    symptoms=(
        Symptom(
            "training better than validation by more than 15 points",
            True,
            "31.7 points in accuracy, last epoch",
            WHERE,
        ),
        Symptom("the gap opened at some point and stayed", True, "open since epoch 5", WHERE),
        Symptom("the training set is known by heart", True, "train 100.0%", WHERE),
        Symptom("some class is never predicted", False, "all 10 are", "best_model.pt"),
        Symptom(
            "validation loss ends 10% or more above its lowest",
            True,
            "54.9% above its lowest in the last epoch",
            WHERE,
        ),
    ),
    causes=(
        Cause(
            "the model has far more capacity than the data needs",
            "likely",
            "1,871,682 parameters for 1,437 train samples",
        ),
        Cause("too little regularisation", "likely", "weight decay 0, and no dropout in the config"),
        Cause("no augmentation", "likely", "data.transforms.train is null"),
        Cause("training and validation data come from different sources", "possible", ""),
    ),
    recommendations=(WEIGHT_DECAY, DROPOUT, SMALLER, STOPPING, SMOOTHING),
    advice=("more data, or random changes that keep the target (data.transforms.train) (overfitting-1)",),
    preview=Preview(
        (
            Change("optimizer.weight_decay", "CHANGED", 0.0, 0.0001),
            Change("model.args.dropout", "NEW", None, 0.3),
            Change("model.args.hidden", "CHANGED", [1024, 1024, 512, 512, 256], [256, 256]),
        ),
        ("label smoothing 0 → 0.1",),
        "name: x\n",
    ),
    decision="optimize",
    reasons=(
        "Overfitting: In the last epoch train_accuracy is 31.7 points above val_accuracy: more than 15 points.",
        "Target missed: best val_accuracy 71.2%, asked for at least 95.0%.",
    ),
    curves=Curves(
        "converged",
        "Validation loss gained nothing from epoch 14 on, after the run had learned what it could.",
        20,
        20,
        "val_loss",
        4,
        0.5936,
        0.9198,
        16,
        134.0,
        (0.6857, 0.0346),
        (0.6416, 0.9198),
        0.95,
        -0.434,
        14,
        -0.368,
        "accuracy",
        0.011,
        Gap("accuracy", 0.317, 0.144, 0.337, 14, 5),
    ),
    fit=Fit(
        "overfitting",
        "In the last epoch train_accuracy is 31.7 points above val_accuracy: more than 15 points.",
        "accuracy",
        1.0,
        0.683,
        0.112,
        0.712,
        "a linear model",
        "Target missed: best val_accuracy 71.2%, asked for at least 95.0%.",
        False,
        0.238,
    ),
    gradients=gradients(),
    profile=Profile(
        "data",
        "The device waited for data 46% of the time: more than 40%.",
        "NVIDIA H100 80GB HBM3",
        271.5,
        12.8,
        11.9,
        15.2,
        0.18,
        1120.0,
        0.46,
        38.0,
        0.029,
        1_240_000_000,
    ),
    data=DataFacts(
        "1 diagnostic speaks of the data.",
        1437,
        360,
        "classification",
        10,
        (143, 146, 142, 12, 145, 146, 145, 143, 139, 144),
        tuple("0123456789"),
        12.2,
        (
            Problem(
                "class_imbalance-1",
                "class_imbalance",
                "warning",
                0,
                "12.2 samples of the most frequent class (1) for one of the rarest (3).",
                True,
            ),
        ),
    ),
    examination=EXAMINED,
    problems=(PROBLEM,),
    waivers=(
        Waiver(
            "post_baseline",
            "utilization",
            "shared machine, the other job ends tonight",
        ),
    ),
)

LONG_WORDS = "a-name-without-any-space-that-does-not-fit-into-its-column-" * 2
LONG = replace(
    OVERFITTING,
    name=LONG_WORDS,
    issue=replace(
        OVERFITTING.issue, summary=OVERFITTING.issue.summary + " [/red] \x1b[31m" + "and more, " * 30
    ),
    examination=replace(
        EXAMINED,
        classes=classes(
            [f"{LONG_WORDS}{k}" for k in range(58)] + ["雪の結晶の種類が多い", "[/bold]"],
            [k / 60 for k in range(1, 60)] + [None],
        ),
        never_predicted=("[/bold]",),
        worst=tuple(
            replace(sample, row=sample.row * 10_000, target=LONG_WORDS, predicted="雪の結晶の種類が多い")
            for sample in EXAMINED.worst
        ),
    ),
    gradients=sick_gradients(),
)

MET = replace(
    OVERFITTING,
    issue=Issue("target_met", "None: the target is met", "Target met: best val_accuracy 97.6%, asked for at least 95.0%."),
    symptoms=(
        Symptom("the target is met", True, "97.6%, asked for at least 95.0%", WHERE),
        Symptom("all losses are finite", True, "0 epochs are not", WHERE),
        Symptom("a gap of no more than 15 points", True, "1.7 points in accuracy", WHERE),
        Symptom("every class is predicted", True, "10 of 10", "best_model.pt"),
    ),
    causes=(Cause("the baseline suits the task", "likely", "best val_loss 0.0822 with settings that nobody has searched"),),
    recommendations=(),
    advice=(),
    preview=Preview(error="The target was met: nothing has to be changed."),
    decision="deploy",
    reasons=(
        "Target met: best val_accuracy 97.6%, asked for at least 95.0%.",
        "No critical diagnostic is open: on to phase 5.",
    ),
    curves=replace(
        OVERFITTING.curves, verdict="improving", reason="Validation loss still falls in the last third.",
        best_epoch=19, best_value=0.0822, final_value=0.0831, wasted_epochs=1, wasted_seconds=12.0,
        gap=Gap("accuracy", 0.017, 0.015, 0.021, 3, None), val_fall=0.92, val_loss=(1.02, 0.0831),
    ),
    fit=Fit("good", "Training and validation are 1.7 points apart.", "accuracy", 0.993, 0.976, 0.112, 0.953,
            "nearest neighbours", "Target met: best val_accuracy 97.6%, asked for at least 95.0%.", True, None),
    profile=replace(OVERFITTING.profile, bottleneck=None, reason="The GPU was busy.", data_wait=0.02, gpu_util=91.0),
    data=replace(OVERFITTING.data, problems=(), imbalance=1.05, reason="Nothing was found wrong with the content of the data."),
    examination=replace(EXAMINED, classes=classes("0123456789", [0.95 + k / 250 for k in range(10)])),
    problems=(),
    waivers=(),
)  # fmt: skip

CRASH = (
    "Status failed. /work/digits/model.py:14 in forward raised RuntimeError: the model broke, after step 60 of epoch 3, "
    "on the batch of training rows 625, 1360, 816, 1164, 980, 554, 1013, 562 … (64)."
)
CRASHED = replace(
    OVERFITTING,
    status="failed",
    message=CRASH,
    missing=("gradient_stats.csv", "baseline_results.md"),
    issue=Issue("failed", "The run did not complete", CRASH),
    symptoms=(
        Symptom("the run did not complete", True, "status failed", "run.json"),
        Symptom("a crash, a hang or a shortage of memory was recorded", True, "crash-1, epoch 3", "diagnostics.jsonl"),
        Symptom("no epoch was finished", False, "2 epochs", WHERE),
        Symptom("no checkpoint can be looked at", True, "best_model.pt is not there", "checkpoints/"),
    ),
    causes=(
        Cause("code of the data set, model or loss raised", "likely", CRASH.removeprefix("Status failed. ")),
        Cause("memory ran out", "possible", ""),
        Cause("the process was killed from outside (memory, scheduler, power)", "possible", ""),
    ),
    recommendations=(
        recommendation("batch", "batch size 64 → 32", {"data.batch_size": (64, 32)}, "high",
                       effect="half the memory for activations", gain="most of the way to a run that ends",
                       risk="low: noisier steps, slower epochs", why="The run did not complete"),
        recommendation("log", "log every 10 → 1 steps", {"monitoring.log_every_n_steps": (10, 1)},
                       effect="the log ends at the very step that fails", gain="part of the way to a run that ends"),
        recommendation("saves", "a checkpoint every minute", {"checkpoint.checkpoint_every_n_minutes": (10, 1)}, "low",
                       effect="less is lost when it fails again", gain="part of the way to a run that ends"),
    ),
    advice=(),
    preview=Preview((Change("data.batch_size", "CHANGED", 64, 32),), (), "name: x\n"),
    decision="debug",
    reasons=(f"The run did not complete: {CRASH}", "Mend that, then train the baseline again (phase 2)."),
    curves=Curves("too_short", "2 epochs say nothing about convergence yet.", 2, 20, "val_loss", 2, 1.21, 1.21),
    fit=Fit("unknown", "There are not enough epochs to tell."),
    gradients=Gradients("unknown", "gradient_stats.csv is missing or cannot be read."),
    profile=Profile(None, "Too short to tell.", "cpu", 3.1, 1.2, 1.1, 1.3),
    data=replace(OVERFITTING.data, problems=(), reason="Nothing was found wrong with the content of the data."),
    examination=Examination(why_not="There is no checkpoint that can be loaded: best_model.pt is not there."),
    problems=(Problem("crash-1", "crash", "critical", 3, CRASH, True, "diagnostics/crash.md"),),
    waivers=(),
)  # fmt: skip

REGRESSION = replace(
    OVERFITTING,
    issue=Issue("flat", "The loss is flat: nothing is learned", "The training loss went from 29692 to 29417 in 6 epochs."),
    symptoms=(
        Symptom("the training loss fell by less than 2% of its first value", True, "0.9%", WHERE),
        Symptom("neither set is better than a predictor without inputs", True,
                "val_r2 -3.908, where a linear model reaches 0.4547 and -0.01347 needs no inputs", "events.jsonl"),
        Symptom("gradients die out towards the first layers", False, "first over last layers 0.42", "gradient_stats.csv"),
    ),
    causes=(Cause("the learning rate is too low", "likely", "the training loss fell in every epoch, by 0.9% in all"),),
    recommendations=(
        recommendation("lr", "LR 0.001 → 0.01", {"optimizer.learning_rate": (0.001, 0.01)}, "high",
                       effect="larger steps: faster progress", risk="medium: may swing or diverge",
                       gain="most of the 4.350 in val_r2 to a linear model, or more", why="offered by slow_convergence-1"),
        recommendation("epochs", "epochs 6 → 18", {"training.epochs": (6, 18)},
                       effort="medium: a config change; a longer run"),
        recommendation("schedule", "schedule reduce_on_plateau → none",
                       {"scheduler.target": ("reduce_on_plateau", "none"),
                        "scheduler.args": ({"patience": 5, "factor": 0.5, "min_lr": 1e-06}, {})}),
    ),
    preview=Preview((Change("optimizer.learning_rate", "CHANGED", 0.001, 0.01),), (), "name: x\n"),
    decision="debug",
    reasons=("The loss is flat: nothing is learned: The training loss went from 29692 to 29417 in 6 epochs.",),
    curves=replace(OVERFITTING.curves, verdict="plateau", reason="Validation loss gained no more than 0.5%.", epochs=6,
                   planned=6, best_epoch=6, best_value=25210.0, final_value=25210.0, wasted_epochs=0, gap=None,
                   train_loss=(29692.0, 29417.0), val_loss=(25337.0, 25210.0), train_fall=0.009, val_fall=0.005,
                   late_gain=0.005, late_from=5, spread_metric=None, spread=None),
    fit=Fit("underfitting", "Neither set is better than what needs no training.", "r2", -3.95, -3.908, -0.01347, 0.4547,
            "a linear model", "Target missed: best val_r2 -3.908, asked for at least 0.4000.", False, 4.308),
    profile=Profile(None, "Epochs of 0.02 s are too short for a bottleneck to matter.", "cpu", 2.2, 0.018, 0.009, 0.032,
                    0.72, 9913.0, 0.019),
    data=DataFacts("Nothing was found wrong with the content of the data.", 353, 89, "regression"),
    examination=Examination(
        checkpoint="best_model.pt", epoch=6, task="regression", samples=89,
        recorded={"val_loss": 25210.0, "val_r2": -3.908}, measured={"val_loss": 25210.0, "val_r2": -3.871},
        residuals={"5%": -291.4, "25%": -203.1, "median": -140.2, "75%": -91.7, "95%": -52.4},
        targets=(TargetError("progression", 148.2, 158.8, -148.1, -341.0, 256),),
        worst=tuple(Sample(row, f"{341 - row % 40}", f"{row % 7}.{row % 9}1", 116281.0 - 3000 * k)
                    for k, row in enumerate((256, 12, 402, 77, 118))),
    ),
    problems=(),
    waivers=(),
)  # fmt: skip


def checklist(diagnosis: PhaseDiagnosis, **failed: str) -> Checklist:
    """The gate of a diagnosis; `failed`: what is wrong with these items."""
    entries = []
    for item, check in ITEMS:
        finding = Finding("failed", failed[item.name]) if item.name in failed else check(diagnosis)
        entries.append(Entry(item, finding, at="2025-10-09T09:04:11.000Z"))
    return Checklist(GATE, TITLE, tuple(entries), run=str(FOLDER))


def losses(epochs: int = 20) -> dict[str, tuple[tuple[float, float], ...]]:
    return {
        "train_loss": tuple((float(k), 0.03 + 0.7 * math.exp(-k / 5)) for k in range(1, epochs + 1)),
        "val_loss": tuple(
            (float(k), 0.59 + 0.02 * (k - 4) ** 2 / (1 + abs(k - 4) / 3)) for k in range(1, epochs + 1)
        ),
    }


def view(diagnosis: PhaseDiagnosis, epochs: int = 20, **failed: str) -> DiagnoseView:
    return DiagnoseView(
        name=diagnosis.name,
        folder=FOLDER,
        diagnosis=diagnosis,
        checklist=checklist(diagnosis, **failed),
        losses=losses(epochs),
    )


BUSY = DiagnoseView(name="digits-baseline", folder=FOLDER, busy=True)
ERROR = DiagnoseView(
    name="digits-baseline",
    folder=FOLDER,
    error=f"{FOLDER}/training_config.yaml cannot be read (Permission denied). Diagnose needs the run's own config: make "
    "the file readable, then look again. [/red]",
)
