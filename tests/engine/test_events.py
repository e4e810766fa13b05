"""Events survive their trip through the log, and damage is noticed."""

import math

from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.engine import events

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


def same(a, b) -> bool:
    return a == b or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))


@given(loss=NUMBERS, rate=NUMBERS, norm=st.none() | NUMBERS, step=st.integers(0, 10**12))
def test_a_step_comes_back_with_every_bit(loss, rate, norm, step):
    event = events.StepLogged(
        time=12.5,
        epoch=1,
        step=step,
        step_in_epoch=1,
        loss=loss,
        learning_rate=rate,
        grad_norm=norm,
        samples_per_second=1.0,
    )
    back = events.decode(events.encode(event))
    assert isinstance(back, events.StepLogged)
    assert same(back.loss, loss)
    assert same(back.learning_rate, rate)
    assert same(back.grad_norm, norm)
    assert back.step == step


@given(text=st.text(), values=st.dictionaries(st.text(max_size=8), NUMBERS, max_size=4))
def test_text_and_mappings_come_back(text, values):
    line = events.decode(events.encode(events.LogLine(time=1.0, level="info", text=text)))
    assert isinstance(line, events.LogLine)
    assert line.text == text
    validated = events.decode(events.encode(events.Validated(time=1.0, epoch=1, step=1, metrics=values)))
    assert isinstance(validated, events.Validated)
    assert validated.metrics.keys() == values.keys()
    assert all(same(validated.metrics[key], values[key]) for key in values)


@given(cut=st.integers(1, 60), flip=st.integers(0, 10_000))
def test_a_torn_or_damaged_line_is_no_event(cut, flip):
    line = events.encode(events.EpochStarted(time=1.0, epoch=3, step=10))
    assert events.decode(line[:-cut]) is None
    position = flip % len(line)
    changed = line[:position] + chr(ord(line[position]) ^ 1) + line[position + 1 :]
    assert events.decode(changed) is None


def test_one_event_is_one_line_of_strict_json():
    import json

    line = events.encode(events.LogLine(time=1.0, level="info", text="a\nb\u2028c"))
    assert "\n" not in line
    assert json.loads(line)["text"] == "a\nb\u2028c"
