"""Diagnostics as the rules of the program raise them, for pictures and keys."""

from __future__ import annotations

import math
from dataclasses import replace

import sample_run as sample

from tui_trainer.engine.events import FixApplied, Resumed

LOWER = {
    "id": "lower_lr_10_clip",
    "title": "LR 0.001 → 0.0001, clip gradients at 1, from the last valid checkpoint",
    "effect": "smaller steps: divergence and swings end; training is slower at first",
    "config_diff": {
        "optimizer.learning_rate": {"from": 0.001, "to": 0.0001},
        "training.gradient_clip_norm": {"from": None, "to": 1.0},
    },
    "action": "restart_from",
    "checkpoint": "last valid",
    "range_test": False,
    "by_itself": True,
}
LOWER_MORE = LOWER | {
    "id": "lower_lr_100_clip",
    "title": "LR 0.001 → 1e-05, clip gradients at 1, from the last valid checkpoint",
    "config_diff": LOWER["config_diff"] | {"optimizer.learning_rate": {"from": 0.001, "to": 1e-05}},
}
FIND = {
    "id": "find_lr",
    "title": "find the learning rate by a range test, from the start",
    "effect": "up to 100 trial steps on a copy; then the rate at which the loss fell fastest",
    "config_diff": {"optimizer.learning_rate": {"from": 0.001, "to": 0.001}},
    "action": "restart_fresh",
    "checkpoint": None,
    "range_test": True,
    "by_itself": True,
}
REGULARISE = {
    "id": "regularise",
    "title": "weight decay, dropout and augmentation, from the best checkpoint",
    "effect": "the gap between training and validation narrows; training itself gets slower and its accuracy a little lower",
    "config_diff": {
        "optimizer.weight_decay": {"from": 0.0, "to": 0.0001},
        "model.args.dropout": {"from": None, "to": 0.3},
        "data.transforms.train": {"from": None, "to": "tui_trainer.data.images:flip_and_crop"},
        "data.args.augment": {"from": None, "to": {"flip": True, "crop": 4, "rotate": 10}},
        "scheduler.args.patience": {"from": 5, "to": 3},
        "early_stopping.patience": {"from": 10, "to": 6},
    },
    "action": "restart_from",
    "checkpoint": "best",
    "range_test": False,
    "by_itself": True,
}
STOP = {
    "id": "stop",
    "title": "stop now and keep the best checkpoint",
    "effect": "the best checkpoint is kept",
    "config_diff": {},
    "action": "stop",
    "checkpoint": None,
    "range_test": False,
    "by_itself": True,
}
ADVICE = STOP | {
    "id": "relabel",
    "title": "look at the 40 samples with the highest loss: are their labels right?",
    "effect": "wrong labels cannot be learned, only memorised",
    "by_itself": False,
}


def nan_loss(**changes):
    values = {
        "time": sample.START + 3.3,
        "id": "nan_loss-1",
        "message": (
            "Non-finite gradient of net.0.weight at step 146 (epoch 4); the batch was left out, the weights are as "
            "before it. 3 in this run, 3 in a row."
        ),
        "evidence": {
            "loss": math.nan,
            "parameter": "net.0.weight",
            "skipped": 3,
            "consecutive": 3,
            "first_step": 144,
            "rows": [3, 17, 240, 391, 402, 417, 513, 587, 600, 734, 871, 990, 1021, 1200],
        },
        "fixes": (LOWER, LOWER_MORE),
    }
    return sample.diagnostic(**(values | changes))


def overfitting(**changes):
    values = {
        "time": sample.START + 10,
        "id": "overfitting-1",
        "code": "overfitting",
        "severity": "warning",
        "epoch": 10,
        "step": 450,
        "message": "Training accuracy is 21.3 points above validation, for 4 epochs now, and the validation loss rises.",
        "evidence": {
            "gap": 21.3,
            "threshold": 15.0,
            "since_epoch": 7,
            "metric": "val_accuracy",
            "train": 0.992,
            "val": 0.779,
        },
        "fixes": (REGULARISE, FIND, STOP, ADVICE),
        "playbook": "diagnostics/overfitting.md",
    }
    return sample.diagnostic(**(values | changes))


def slow(**changes):
    values = {
        "time": sample.START + 12,
        "id": "resource_inefficiency-1",
        "code": "resource_inefficiency",
        "severity": "info",
        "epoch": 12,
        "step": 540,
        "message": "Epochs take under two seconds: nothing is to be gained here.",
        "evidence": {"epoch_time": 0.93},
        "fixes": (),
        "playbook": "diagnostics/resource_inefficiency.md",
    }
    return sample.diagnostic(**(values | changes))


def applied(told, fix, *, to_step, step=None, attempt=2, undone=False):
    """What the run says when a fix was applied to `told`, or taken back: the run goes on at `to_step`."""
    place = told.step if step is None else step
    chosen = next(item for item in told.fixes if item["id"] == fix)
    yield Resumed(
        time=told.time + 1,
        attempt=attempt,
        epoch=to_step // 45,
        step=to_step,
        checkpoint="checkpoint_epoch_3.pt",
    )
    yield FixApplied(
        time=told.time + 1,
        diagnostic=told.id,
        fix=fix,
        title=chosen["title"],
        epoch=told.epoch,
        step=place,
        to_step=to_step,
        checkpoint="checkpoint_epoch_3.pt",
        attempt=attempt,
        config_diff=chosen["config_diff"],
        undone=undone,
    )
    yield replace(told, applied=None if undone else fix, time=told.time + 1)
