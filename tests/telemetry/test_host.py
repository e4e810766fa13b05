"""The host's gauges, a container's memory limit, and the sampler that tells of them."""

from __future__ import annotations

import queue

import pytest
from fake_nvml import FakeNvml, process

from tui_trainer.engine.events import ResourceSampled, decode, encode
from tui_trainer.telemetry import host
from tui_trainer.telemetry.cgroup import memory_limit
from tui_trainer.telemetry.gpu import GpuGauge
from tui_trainer.telemetry.host import HostGauge
from tui_trainer.telemetry.sampler import ResourceSampler


def test_the_host_is_read(tmp_path):
    reading = HostGauge(tmp_path).read()
    assert 0 < reading["ram_used"] <= reading["ram_total"]
    assert reading["process_rss"] > 0
    assert reading["disk_free"] > 0
    assert 0 <= reading["process_cpu"] <= 100


def test_a_reading_that_fails_is_none_and_the_rest_stays(tmp_path):
    reading = HostGauge(tmp_path / "gone").read()
    assert reading["disk_free"] is None
    assert reading["ram_total"] > 0


def test_a_containers_limit_is_the_memory_there_is(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "memory_limit", lambda: (3 * 2**20, 4 * 2**20))
    reading = HostGauge(tmp_path).read()
    assert (reading["ram_used"], reading["ram_total"], reading["ram_limited"]) == (3 * 2**20, 4 * 2**20, True)


@pytest.fixture
def groups(tmp_path):
    def write(folder, **files):
        place = tmp_path / folder
        place.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (place / name.replace("__", ".")).write_text(text)

    return tmp_path, write


def test_the_tightest_group_above_this_process_counts(groups):
    root, write = groups
    write("a", memory__max="1000\n", memory__current="900\n", memory__stat="anon 1\ninactive_file 100\n")
    write("a/b", memory__max="max\n", memory__current="500\n")
    write("me", x="0::/a/b\n")
    assert memory_limit(root, root / "me" / "x") == (800, 1000)


def test_version_one_groups_are_understood_and_no_limit_is_none(groups):
    root, write = groups
    write("memory/docker", memory__limit_in_bytes="2000", memory__usage_in_bytes="700")
    write("me", x="5:cpu:/docker\n4:memory:/docker\n0::/\n", none="0::/\n")
    assert memory_limit(root, root / "me" / "x") == (700, 2000)
    write("memory/docker", memory__limit_in_bytes=str(2**63 - 4096))
    assert memory_limit(root, root / "me" / "x") is None
    assert memory_limit(root, root / "me" / "none") is None
    assert memory_limit(root, root / "nothing") is None


def sampler_for(folder, nvml, **options):
    samples: queue.Queue = queue.Queue()
    gauge = GpuGauge("00000001", load=lambda: nvml)
    sampler = ResourceSampler(folder, samples.put, lambda: 5.0, gauge=gauge, interval=0.001, **options)
    return sampler, samples


def with_gpus(samples):
    while True:
        sample = samples.get(timeout=20)
        if sample.gpus:
            return sample


def test_samples_tell_all_and_survive_the_file(tmp_path):
    nvml = FakeNvml(2)
    nvml.processes[1] = [process(1)]
    sampler, samples = sampler_for(tmp_path, nvml)
    sample = with_gpus(samples)
    assert [gpu["ours"] for gpu in sample.gpus] == [False, True]
    assert sample.gpus[1]["processes"][0]["pid"] == 1
    assert decode(encode(sample)).gpus[1]["util"] == 15.0
    sampler.close()
    assert sampler.gpu_utilization() == 15.0


def test_processes_are_told_again_when_they_change(tmp_path):
    nvml = FakeNvml(1)
    sampler, samples = sampler_for(tmp_path, nvml)
    while "processes" in with_gpus(samples).gpus[0]:
        pass
    nvml.processes[0] = [process(1)]
    while not with_gpus(samples).gpus[0].get("processes"):
        pass
    sampler.close()


def test_a_torch_without_cuda_is_said_beside_the_gpus(tmp_path):
    sampler, samples = sampler_for(tmp_path, FakeNvml(1), unused="torch is built without CUDA")
    assert with_gpus(samples).gpu_note == "torch is built without CUDA"
    sampler.close()


def test_lines_of_an_older_version_are_still_read():
    event = ResourceSampled(
        time=1.0, cpu_percent=1.0, ram_used=1, ram_total=2, process_rss=1, disk_free=1, gpus=()
    )
    import json
    import zlib

    content = json.loads(encode(event))
    for name in ("process_cpu", "ram_limited", "gpu_note", "crc"):
        content.pop(name)
    body = json.dumps(content, separators=(",", ":"))[:-1]
    assert decode(f'{body},"crc":"{zlib.crc32(body.encode()):08x}"}}') == event
