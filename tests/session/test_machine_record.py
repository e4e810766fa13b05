"""The machine's samples on disk: fewer and shorter, but what they tell is the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tui_trainer.engine.events import LogLine, ResourceSampled, RunFinished, decode, encode
from tui_trainer.screens.machine_history import MachineHistory
from tui_trainer.session.machine_record import SAMPLES, MachineRecord

PROCESS = {"pid": 4123, "name": "python", "memory": 8_000_000_000, "ours": True}


def gpu(index, util, **changes):
    values = {
        "index": index,
        "name": "NVIDIA H200",
        "ours": index == 0,
        "util": float(util),
        "memory_util": 31.0,
        "memory_used": 8_123_456_789 + 1000 * int(util),
        "memory_total": 150_754_820_096,
        "temperature": 61,
        "power": 412.345,
        "power_limit": 700.0,
        "clock": 1980,
        "processes": (PROCESS,),
    }
    return values | changes


def sample(second, gpus=(), **changes):
    values = {
        "time": 1_700_000_000.0 + second,
        "cpu_percent": 10.0 * second,
        "ram_used": 1_000_000 + second,
        "ram_total": 64_000_000_000,
        "process_rss": 3_000_000,
        "disk_free": 41_000_000_000 - second,
        "process_cpu": None,
        "gpus": tuple(gpus),
    }
    return ResourceSampled(**(values | changes))


def recorded(events, record=None):
    record = record or MachineRecord()
    return [item for event in events for item in record.take(event)]


def seconds(events):
    return [event.time - 1_700_000_000.0 for event in events]


def test_the_first_sample_is_recorded_at_once_and_then_every_fifth():
    lines = recorded(sample(second) for second in range(12))
    assert SAMPLES == 5
    assert seconds(lines) == [0, 5, 10]


def test_what_varies_is_the_mean_and_what_is_used_is_the_newest():
    samples = [sample(second, [gpu(0, 10 * second)]) for second in range(6)]
    line = recorded(samples)[1]
    assert line.cpu_percent == 30.0
    assert line.gpus[0]["util"] == 30.0
    assert line.gpus[0]["power"] == 412.3
    assert line.ram_used == samples[-1].ram_used
    assert line.gpus[0]["memory_used"] == samples[-1].gpus[0]["memory_used"]


def test_what_cannot_be_read_any_more_has_no_value():
    samples = [sample(second, [gpu(0, 50) | {"util": None if second == 5 else 50.0}]) for second in range(6)]
    assert recorded(samples)[1].gpus[0]["util"] is None


@pytest.mark.parametrize("change", [{"error": "GPU is lost"}, {"slowed": "heat"}])
def test_trouble_with_a_gpu_is_recorded_at_once_and_does_not_blur_what_was_before(change):
    samples = [sample(second, [gpu(0, 50)]) for second in range(3)]
    samples += [sample(second, [gpu(0, 90, **change)]) for second in range(3, 5)]
    lines = recorded(samples)
    assert seconds(lines) == [0, 2, 3]
    assert [line.gpus[0]["util"] for line in lines] == [50, 50, 90]
    assert change.items() <= lines[2].gpus[0].items()
    assert not change.items() <= lines[1].gpus[0].items()


def test_a_gpu_that_comes_or_goes_and_a_note_are_recorded_at_once():
    samples = [sample(0, [gpu(0, 1)]), sample(1, [gpu(0, 1), gpu(1, 1)]), sample(2, gpu_note="no driver")]
    assert seconds(recorded(samples)) == [0, 1, 2]


def test_other_events_pass_and_the_end_brings_what_waited():
    other = LogLine(time=1_700_000_002.0, level="info", text="something else")
    end = RunFinished(time=1_700_000_003.0, status="completed", message="", summary={})
    lines = recorded([sample(0), sample(1), other, sample(2), end])
    assert seconds(lines) == [0, 2, 2, 3]
    assert lines[1] is other
    assert lines[3] is end


def test_a_reader_of_the_file_sees_the_gpus_as_whoever_watched_did():
    """Names, sizes and processes are told once; a process that came meanwhile is told, and one that went."""
    samples = []
    for second in range(31):
        processes = () if second > 20 else (PROCESS,)
        whole = [gpu(k, second, processes=processes) for k in range(8)]
        if second not in (0, 21, 23):  # the sampler itself leaves out what is the same
            whole = [{key: value for key, value in item.items() if key != "processes"} for item in whole]
        samples.append(sample(second, whole))
    live = reread = MachineHistory()
    at = {}
    for item in samples:
        live = live.with_sample(item)
        at[item.time] = live.latest
    for line in recorded(samples):
        reread = reread.with_sample(decode(encode(line)))
        seen, watched = reread.latest.gpus, at[line.time].gpus
        for key in ("index", "name", "ours", "memory_used", "memory_total", "power_limit"):
            assert [item[key] for item in seen] == [item[key] for item in watched]
        assert [list(item["processes"]) for item in seen] == [list(item["processes"]) for item in watched]


def test_eight_gpus_fill_less_than_25_megabytes_a_day():
    record, size, samples = MachineRecord(), 0, 1000
    for second in range(samples):
        for line in record.take(sample(second, [gpu(k, second % 100) for k in range(8)])):
            size += len(encode(line)) + 1
    assert size / samples * 86_400 < 25e6


def test_the_history_is_the_last_ten_minutes_however_often_it_was_recorded():
    history = MachineHistory()
    for second in range(0, 1500, 5):
        history = history.with_sample(sample(second))
    assert seconds(history.samples) == list(range(900, 1500, 5))
    assert replace(history.latest, gpus=()) == sample(1495)
