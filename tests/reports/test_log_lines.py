"""Events as log lines: prefixes, numbers for people, nothing hidden, nothing dangerous."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import sample_run as sample
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.engine.events import (
    CheckpointFailed,
    CheckpointSaved,
    CommandHandled,
    LogLine,
    MemoryShortage,
    NonFiniteSkipped,
    Resumed,
    Validated,
)
from tui_trainer.session.log_lines import epoch_line, lines_for
from tui_trainer.session.wording import (
    cell_width,
    clean_text,
    crop,
    format_bytes,
    format_duration,
    format_metric,
    format_number,
)


def test_sections_of_the_start_come_in_the_workflows_order():
    lines = lines_for(sample.started())
    prefixes = list(dict.fromkeys(line.split("]")[0] + "]" for line in lines))
    assert prefixes == [
        "[CONFIG]",
        "[REPRODUCIBILITY]",
        "[DATA]",
        "[MODEL]",
        "[OPTIMIZER]",
        "[SCHEDULER]",
        "[CRITERION]",
    ]
    assert "[MODEL] Parameters: 9,610" in lines


def test_an_epoch_is_a_block_with_percentages_and_a_reduced_learning_rate():
    event = sample.epoch_finished(5, lr_reduced=True, learning_rate=1e-4, gpu_util=72.4, epoch_time=135.0)
    block = lines_for(event, epochs=20)
    assert block[0] == "[EPOCH 5/20]"
    assert "Train Loss: " in block[1]
    assert "Train Acc: 93.6%" in block[1]
    assert "Val Acc: 92.6%" in block[2]
    assert "  LR: 1.00e-04 (reduced) | Grad norm: 0.8000" in block
    assert "  GPU Util: 72% | Time: 2m 15s | Data wait: 3% | Samples/s: 1545" in block
    assert "  Checkpoint: best_model.pt, last_model.pt" in block


def test_a_learning_rate_that_was_set_is_said_to_be():
    event = sample.epoch_finished(5, lr_set=True, learning_rate=1e-4)
    assert "  LR: 1.00e-04 (set) | Grad norm: 0.8000" in lines_for(event, epochs=20)
    assert "LR 1.00e-04 (set)" in epoch_line(event)


def test_without_a_gpu_its_utilization_is_not_available():
    assert any("GPU Util: n/a" in line for line in lines_for(sample.epoch_finished(1)))


def test_a_diagnostic_names_its_playbook_and_actions():
    lines = lines_for(sample.diagnostic())
    assert lines[0].startswith("[DIAGNOSTIC] critical nan_loss (epoch 4, step 146): ")
    assert "  loss: NaN" in lines
    assert "[AUTO-LOAD] diagnostics/nan_loss.md" in lines
    actions = lines[lines.index("[ACTIONS]") + 1 :]
    assert "optimizer.learning_rate = 0.0001" in actions[0]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(math.nan, "NaN"), (math.inf, "inf"), (-math.inf, "-inf")],
    ids=["nan", "inf", "-inf"],
)
def test_values_that_are_not_finite_are_shown_as_such(value, shown):
    event = sample.epoch_finished(3, metrics={"train_loss": value, "val_loss": value, "val_accuracy": value})
    text = "\n".join(lines_for(event, epochs=20))
    assert f"Train Loss: {shown}" in text
    assert f"Val Acc: {shown}" in text


def test_other_events_have_their_lines():
    time = sample.START
    assert lines_for(Resumed(time=time, attempt=2, epoch=4, step=180, checkpoint="best_model.pt")) == [
        "[RESTART] Training from best_model.pt (epoch 4, step 180, attempt 2)"
    ]
    skipped = NonFiniteSkipped(
        time=time,
        epoch=4,
        step=146,
        loss=math.nan,
        parameter="a.b",
        consecutive=3,
        batch_rows=tuple(range(20)),
    )
    assert "loss NaN; first non-finite gradient: a.b" in lines_for(skipped)[0]
    assert "(20 in all)" in lines_for(skipped)[1]
    failed = CheckpointFailed(time=time, files=("best_model.pt",), epoch=1, step=45, reason="No space left.")
    assert "NOT saved: best_model.pt" in lines_for(failed)[0]
    saved = CheckpointSaved(time=time, files=("a.pt",), epoch=1, step=45, size_bytes=44_000_000, seconds=0.5)
    assert "44.0 MB, 500ms" in lines_for(saved)[0]
    refused = CommandHandled(
        time=time, command="extend", accepted=False, epoch=1, step=9, message="fixed length"
    )
    assert lines_for(refused) == ["[COMMAND] extend refused (epoch 1, step 9): fixed length"]
    assert lines_for(Validated(time=time, epoch=2, step=70, metrics={"val_loss": 0.5}))[0].startswith(
        "[VALIDATION]"
    )
    assert lines_for(sample.step(5)) == []


def test_a_shortage_of_memory_says_what_is_tried_next():
    shortage = MemoryShortage(
        time=sample.START,
        epoch=2,
        step=60,
        phase="training",
        micro_batch=64,
        next_micro_batch=32,
        requested="2.00 GiB",
        device="cuda:0",
        allocated=70_000_000_000,
        reserved=78_000_000_000,
        total=80_000_000_000,
    )
    (line,) = lines_for(shortage)
    assert line == (
        "[MEMORY] epoch 2, step 60, training on cuda:0: not enough for 64 samples at a time (2.00 GiB asked for; tensors "
        "hold 70.0 GB, PyTorch 78.0 GB of 80.0 GB); the same batch again, 32 at a time and with the same effect"
    )
    last = replace(shortage, device="cpu", allocated=None, requested="", micro_batch=1, next_micro_batch=None)
    assert lines_for(last)[0].endswith("not enough for 1 samples at a time; fewer cannot be taken")


def test_the_end_says_how_it_ended():
    assert lines_for(sample.finished(), epochs=20)[-1] == "Training complete (20/20 epochs, 21.4s)"
    early = lines_for(
        sample.finished(status="early_stopped", message="no improvement for 10 epochs"), epochs=20
    )
    assert early[0] == "Early stopping: no improvement for 10 epochs"
    assert early[-1].startswith("Training complete")
    assert lines_for(sample.finished(status="failed", message="boom"))[-1].startswith("Training failed: boom")


def test_escape_sequences_and_control_characters_of_outside_text_are_gone():
    nasty = "\x1b[31mred\x1b[0m \x1b]0;title\x07bell\x07 \x9b2J back\x08 \u202eevil\x00 \ud800 [/red] [00]"
    text = lines_for(LogLine(time=0.0, level="warning", text=nasty))[0]
    assert text == "[WARNING] red bell  back evil  [/red] [00]"


@given(st.text(max_size=300))
def test_cleaned_text_holds_no_control_character_and_can_be_written(text):
    cleaned = clean_text(text)
    assert not [char for char in cleaned if ord(char) < 32 or 0x7F <= ord(char) < 0xA0]
    cleaned.encode("utf-8")


def test_a_ten_megabyte_name_is_cut():
    assert len(clean_text("x" * 10_000_000)) == 2000


def test_an_object_that_cannot_be_printed_is_named():
    class Bad:
        def __str__(self) -> str:
            raise RuntimeError

    assert clean_text(Bad()) == "<unprintable Bad: RuntimeError>"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.5214, "0.5214"),
        (2.145, "2.145"),
        (1545.2, "1545"),
        (1e-7, "1.00e-07"),
        (1e30, "1.00e+30"),
        (0.0, "0.0000"),
    ],
)
def test_numbers_have_about_four_digits(value, shown):
    assert format_number(value) == shown


def test_units():
    assert [format_duration(s) for s in (0.85, 12.34, 135, 3725, 270_000, None, math.inf)] == [
        "850ms", "12.3s", "2m 15s", "1h 02m", "3d 03h", "n/a", "n/a",
    ]  # fmt: skip
    assert [format_bytes(b) for b in (812, 44_100_000, 2.5e12)] == ["812 B", "44.1 MB", "2.5 TB"]
    assert format_metric("val_accuracy", 0.789) == "78.9%"
    assert format_metric("val_loss", 0.789) == "0.7890"
    assert format_metric("val_f1", 7.0) == "7.000"


@given(st.text(max_size=40), st.integers(0, 30))
def test_cropped_text_fits(text, width):
    assert cell_width(crop(text, width)) <= max(width, 0)
