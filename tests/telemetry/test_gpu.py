"""GPU gauges: read where there is a driver, n/a where it fails, back when it recovers; a call that hangs holds nobody."""

from __future__ import annotations

import os
import time

import pytest
from fake_nvml import FakeNvml, NVMLError_LibraryNotFound, process

from tui_trainer.telemetry.gpu import (
    NO_ANSWER,
    NO_DRIVER,
    PATIENCE_SECONDS,
    RETRY_SECONDS,
    GpuGauge,
    GpuWatch,
)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def gauge_for(nvml, clock=None, uuid=None):
    return GpuGauge(uuid, load=lambda: nvml, clock=clock or Clock())


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


def test_every_gpu_is_read():
    reading = gauge_for(FakeNvml(8)).read()
    assert reading.problem == ""
    assert [gpu["index"] for gpu in reading.gpus] == list(range(8))
    third = reading.gpus[2]
    assert (third["name"], third["util"], third["memory_used"], third["memory_total"]) == (
        "NVIDIA H200", 25.0, 3 * 2**30, 24 * 2**30,
    )  # fmt: skip
    assert (third["temperature"], third["power"], third["power_limit"], third["clock"]) == (
        42,
        212,
        700,
        1980,
    )
    assert (reading.gpus[1]["slowed"], third["slowed"]) == ("heat", None)


def test_the_runs_gpu_is_found_by_its_uuid_whatever_the_order():
    reading = gauge_for(FakeNvml(4), uuid="00000003-aaaa").read()
    assert [gpu["ours"] for gpu in reading.gpus] == [False, False, False, True]
    assert not any(gpu["ours"] for gpu in gauge_for(FakeNvml(4)).read().gpus)


def test_processes_are_named_where_they_can_be_seen():
    nvml = FakeNvml(1)
    nvml.processes[0] = [process(os.getpid()), process(2**22 + 1, None)]
    seen = gauge_for(nvml).read().gpus[0]["processes"]
    assert [(item["pid"], item["memory"], item["ours"]) for item in seen] == [
        (os.getpid(), 2**30, True),
        (2**22 + 1, None, False),
    ]
    assert seen[0]["name"]
    assert seen[1]["name"] is None


def test_without_a_driver_there_are_no_gpus_and_it_says_so(clock):
    def missing():
        raise NVMLError_LibraryNotFound

    reading = GpuGauge(load=missing, clock=clock).read()
    assert (reading.gpus, reading.problem) == ((), NO_DRIVER)


def test_a_driver_without_gpus_says_so():
    assert gauge_for(FakeNvml(0)).read().problem == "the driver knows no GPU"


def test_what_a_gpu_does_not_support_is_none_and_the_rest_stays():
    nvml = FakeNvml(1)
    nvml.unsupported = {"nvmlDeviceGetUtilizationRates", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetClockInfo"}
    gpu = gauge_for(nvml).read().gpus[0]
    assert (gpu["util"], gpu["power"], gpu["clock"], gpu["error"]) == (None, None, None, "")
    assert gpu["memory_used"] == 2**30


def test_a_lost_gpu_is_na_its_neighbour_is_not_and_it_comes_back(clock):
    nvml = FakeNvml(2)
    gauge = gauge_for(nvml, clock)
    assert gauge.read().gpus[0]["util"] == 5.0
    nvml.broken = {0: "GPU is lost"}
    lost, fine = gauge.read().gpus
    assert (lost["error"], lost["util"], lost["name"]) == ("GPU is lost", None, "NVIDIA H200")
    assert fine["util"] == 15.0
    nvml.broken = {}
    assert gauge.read().gpus[0]["error"] == "GPU is lost"  # handles of before the loss are worth nothing
    clock.now += RETRY_SECONDS
    assert gauge.read().gpus[0]["util"] == 5.0
    assert nvml.inits == 2


def test_a_driver_that_fails_is_na_and_comes_back(clock):
    nvml = FakeNvml(2)
    gauge = gauge_for(nvml, clock)
    gauge.read()
    nvml.down = "Driver/library version mismatch"
    assert {gpu["error"] for gpu in gauge.read().gpus} == {nvml.down}
    clock.now += RETRY_SECONDS
    reading = gauge.read()
    assert reading.problem == nvml.down
    assert len(reading.gpus) == 2
    nvml.down = ""
    clock.now += RETRY_SECONDS
    reading = gauge.read()
    assert (reading.problem, reading.gpus[1]["util"]) == ("", 15.0)


def test_a_call_that_hangs_becomes_na_and_recovers(clock):
    nvml = FakeNvml(1)
    watch = GpuWatch(gauge_for(nvml, clock), interval=0.001, clock=clock)
    until(lambda: watch.latest().gpus)
    nvml.hang.clear()

    def hanging():
        clock.now += PATIENCE_SECONDS + 1
        return watch.latest().problem == NO_ANSWER

    until(hanging)
    gpu = watch.latest().gpus[0]
    assert (gpu["error"], gpu["util"], gpu["index"], gpu["processes"]) == (NO_ANSWER, None, 0, ())
    nvml.hang.set()
    until(lambda: watch.latest().problem == "")
    assert watch.latest().gpus[0]["util"] == 5.0
    watch.close()


def test_closing_leaves_a_hanging_call_behind(clock):
    nvml = FakeNvml(1)
    nvml.hang.clear()
    watch = GpuWatch(gauge_for(nvml, clock), clock=clock)
    watch.close()
    assert watch._thread.is_alive()
    nvml.hang.set()
    watch._thread.join(20)
