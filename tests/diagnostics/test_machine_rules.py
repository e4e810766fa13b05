"""Rules about the machine: memory that is short or grows, and time that is lost."""

from __future__ import annotations

import math
import random

import pytest

from tui_trainer.config.loading import parse_config
from tui_trainer.diagnostics import crash
from tui_trainer.diagnostics.facts import RunFacts
from tui_trainer.diagnostics.growth import steady_growth
from tui_trainer.diagnostics.history import History
from tui_trainer.diagnostics.memory_leak import MemoryLeak
from tui_trainer.diagnostics.out_of_memory import OutOfMemory
from tui_trainer.diagnostics.resource_inefficiency import ResourceInefficiency
from tui_trainer.engine.events import EpochFinished, MemoryShortage, ResourceSampled

GB = 10**9
MB = 10**6


def facts(*, epochs: int = 100, device: str = "cpu", context=None, **changes) -> RunFacts:
    config = parse_config(
        {"name": "m", "device": "cpu", "data": {"target": "digits", "batch_size": 64}} | changes
    )
    return RunFacts(config, epochs, 20, (), "val_loss", "min", device=device, context=context or {})


def sampled(time: float, **values) -> ResourceSampled:
    usual = {"cpu_percent": 50.0, "process_cpu": 40.0, "ram_used": 8 * GB, "ram_total": 32 * GB, "gpus": ()}
    return ResourceSampled(time=time, **(usual | {"process_rss": GB, "disk_free": GB} | values))


def finished(
    epoch: int, *, wait: float = 0.01, util: float | None = None, seconds: float = 60
) -> EpochFinished:
    return EpochFinished(
        time=float(epoch),
        epoch=epoch,
        step=20 * epoch,
        metrics={},
        learning_rate=0.1,
        lr_reduced=False,
        grad_norm=1.0,
        epoch_time=seconds,
        samples_per_second=100.0,
        data_wait=wait,
        gpu_util=util,
        is_best=True,
        best_epoch=epoch,
        best_value=1.0,
        epochs_without_improvement=0,
        checkpoints=(),
    )


def gpu(**values) -> dict:
    return {"index": 0, "ours": True, "memory_used": 10 * GB, "memory_total": 80 * GB} | values


# ── memory that grows ───────────────────────────────────────────────────────────────────────────────────────────

CURVES = {
    "a leak": lambda k: 500 + 10 * k,
    "a leak with noise": lambda k: 500 + 10 * k + random.Random(k).uniform(-8, 8),
    "a slow leak": lambda k: 500 + 2.5 * k,
}
HARMLESS = {
    "level": lambda k: 500.0,
    "noise": lambda k: 500 + random.Random(k).uniform(-20, 20),
    "a cache that fills up": lambda k: 500 + 200 * (1 - math.exp(-k / 6)),
    "a slow logarithm": lambda k: 500 + 60 * math.log1p(k),
    "a step": lambda k: 500 if k < 15 else 700,
    "collected now and then": lambda k: 500 + 10 * (k % 6),
    "the first epochs": lambda k: 500 + 40 * min(k, 3),
    "little": lambda k: 5000 + 1.0 * k,
}


def curve(shape, epochs: int = 30) -> list[tuple[int, float]]:
    return [(k, MB * shape(k)) for k in range(1, epochs + 1)]


@pytest.mark.parametrize("name", CURVES)
def test_growth_that_goes_on_is_seen(name):
    found = steady_growth(curve(CURVES[name]))
    assert found is not None
    rate = 2.5 if "slow" in name else 10
    assert found.per_epoch == pytest.approx(rate * MB, rel=0.15)
    assert found.first_epoch == 3


@pytest.mark.parametrize("name", HARMLESS)
def test_what_levels_off_is_none(name):
    shape = HARMLESS[name]
    assert [end for end in range(1, 60) if steady_growth(curve(shape, end))] == []


@pytest.mark.parametrize("name", [*CURVES, *HARMLESS])
def test_epochs_without_a_sample_of_their_own_change_no_verdict(name):
    """Epochs about as long as the time between two samples: every third has none."""
    shape = (CURVES | HARMLESS)[name]
    found = [end for end in range(1, 60) if steady_growth([p for p in curve(shape, end) if p[0] % 3])]
    assert bool(found) == (name in CURVES)


def leaking(rule: MemoryLeak, shape, *, where: str = "process", epochs: int = 30):
    history, told = History(), []
    for epoch in range(1, epochs + 1):
        grown = int(MB * shape(epoch))
        values = {
            "process": {"process_rss": grown, "ram_used": 8 * GB + grown},
            "device": {"gpus": (gpu(memory_used=grown),)},
            "workers": {"ram_used": 8 * GB + grown},
        }[where]
        history.take(sampled(epoch, **values))
        history.take(finished(epoch))
        told += rule.on_epoch(history)
    return told


@pytest.mark.parametrize("where", ["process", "device", "workers"])
def test_a_leak_is_told_with_its_growth_per_epoch(where):
    rule = MemoryLeak(facts(data={"target": "digits", "num_workers": 2}))
    megabytes = 50 if where == "workers" else 10  # beside the 8 GB that the machine uses anyway
    told = leaking(rule, lambda k: 500 + megabytes * k, where=where)
    first = next(problem for problem in told if problem.subject == where)
    assert first.severity == "warning"
    assert first.evidence["bytes_per_epoch"] == pytest.approx(megabytes * MB, rel=0.01)
    assert f"{megabytes}.0 MB an epoch" in first.message
    assert first.evidence["since_epoch"] == 3
    ids = [fix.id for fix in first.fixes]
    assert ids[0] == ("no_workers" if where == "workers" else "find_what_is_kept")


def test_a_leak_that_ends_the_run_is_critical():
    told = leaking(MemoryLeak(facts(epochs=5000)), lambda k: 500 + 100 * k)
    assert told[-1].severity == "critical"
    assert told[-1].evidence["epochs_left"] < 5000
    assert "none left after" in told[-1].message


def test_many_epochs_to_a_sample_are_no_growth():
    """Epochs of a hundredth of a second see the same sample again and again."""
    history, rule = History(), MemoryLeak(facts())
    for epoch in range(1, 500):
        if epoch % 100 == 1:
            history.take(sampled(epoch, process_rss=int(500 * MB + epoch * MB)))
        history.take(finished(epoch, seconds=0.01))
        assert rule.on_epoch(history) == []


# ── memory that is short ────────────────────────────────────────────────────────────────────────────────────────


def shortage(**values) -> MemoryShortage:
    usual = {"epoch": 2, "step": 40, "phase": "training", "micro_batch": 64, "next_micro_batch": 32}
    return MemoryShortage(**({"time": 0.0, "requested": "2.00 GiB", "device": "cuda:0"} | usual | values))


def short(event: MemoryShortage, *, history: History | None = None, **changes):
    history = history or History()
    history.take(event)
    return OutOfMemory(facts(device="cuda:0", **changes)).on_shortage(history)


FULL = {"allocated": 76 * GB, "reserved": 78 * GB, "total": 80 * GB}
FRAGMENTED = {"allocated": 50 * GB, "reserved": 78 * GB, "total": 80 * GB}


def test_what_is_too_large_is_taken_in_pieces():
    problem = short(shortage(**FULL))
    assert problem.evidence["cause"] == "too large"
    assert problem.severity == "warning"
    assert problem.again
    assert "32 at a time" in problem.message
    (batch, bf16, *_) = problem.fixes
    assert batch.changes == {"data.batch_size": 32, "training.gradient_accumulation_steps": 2}
    assert bf16.id == "bf16"


def test_fragmentation_is_told_from_a_leak_by_what_is_reserved_and_not_allocated():
    problem = short(shortage(**FRAGMENTED))
    assert problem.evidence["cause"] == "fragmentation"
    assert problem.evidence["fragmented_share"] == 0.35
    assert "28.00 GB without a tensor" in problem.message
    assert problem.fixes[0].id == "expandable_segments"
    assert "expandable_segments:True" in problem.fixes[0].title


def test_fragments_smaller_than_what_is_asked_for_are_not_the_cause():
    assert short(shortage(**FRAGMENTED, requested="40.00 GiB")).evidence["cause"] == "too large"


def test_a_leak_is_told_from_fragmentation_by_growth_over_epochs():
    history = History()
    for epoch in range(1, 20):
        history.take(sampled(epoch, gpus=(gpu(memory_used=40 * GB + epoch * 2 * GB),)))
        history.take(finished(epoch))
    problem = short(shortage(**FULL), history=history)
    assert problem.evidence["cause"] == "leak"
    assert problem.fixes[0].id == "find_what_is_kept"


def test_other_processes_on_the_device_are_named():
    history = History()
    others = (
        {"pid": 1, "name": "x", "memory": 30 * GB, "ours": False},
        {"pid": 2, "memory": 40 * GB, "ours": True},
    )
    history.take(sampled(1, gpus=(gpu(processes=others),)))
    problem = short(shortage(**FULL), history=history)
    assert problem.evidence["cause"] == "other processes"
    assert "30.00 GB" in problem.message
    assert problem.fixes[0].id == "free_device"


def test_one_sample_that_does_not_fit_is_critical():
    problem = short(shortage(micro_batch=1, next_micro_batch=None, device="cpu", requested=""))
    assert problem.severity == "critical"
    assert "the run ends" in problem.message
    assert [fix.id for fix in problem.fixes] == ["smaller_model"]


def test_batch_normalisation_is_said_to_see_fewer_samples():
    assert "sees 32 samples now" in short(shortage(), context={"batch_norm": True}).message
    assert "normalisation" not in short(shortage()).message


# ── time that is lost ───────────────────────────────────────────────────────────────────────────────────────────


def efficiency(epochs, samples=(), *, device: str = "cpu", **changes):
    history = History()
    for number, values in enumerate(samples):
        history.take(sampled(number, **values))
    for epoch in epochs:
        history.take(epoch)
    rule = ResourceInefficiency(facts(device=device, **changes))
    return {problem.subject: problem for problem in rule.on_epoch(history)}


def test_a_healthy_run_is_left_in_peace():
    healthy = [finished(k, util=92.0) for k in range(1, 6)]
    assert efficiency(healthy, [{"gpus": (gpu(util=92.0),)}] * 10, device="cuda:0") == {}
    on_cpu = [{"cpu_percent": 100.0, "process_cpu": 97.0}] * 10
    assert efficiency([finished(k) for k in range(1, 6)], on_cpu) == {}


def test_the_first_epoch_says_nothing():
    assert efficiency([finished(1, wait=0.9), finished(2)]) == {}
    assert efficiency([finished(1, wait=0.9), finished(2, wait=0.9)]) == {}


def test_waiting_for_data_names_what_is_slow_and_what_it_costs():
    problem = efficiency([finished(k, wait=0.6, seconds=100) for k in range(1, 5)])["data"]
    assert problem.severity == "warning"
    assert "60% of each epoch" in problem.message
    assert "would take 40 s, not 100 s" in problem.message
    assert problem.fixes[0].id == "more_workers"
    assert problem.fixes[0].changes["data.num_workers"] >= 2
    assert problem.acts


def test_more_workers_are_no_cure_for_a_cpu_that_is_full():
    busy = [{"cpu_percent": 98.0, "process_cpu": 90.0}] * 10
    data = {"target": "digits", "num_workers": 4}
    problem = efficiency([finished(k, wait=0.6) for k in range(1, 5)], busy, data=data)["data"]
    assert "the CPU is full (98 %)" in problem.message
    assert [fix.id for fix in problem.fixes] == ["in_memory"]


@pytest.mark.parametrize(("util", "severity"), [(20.0, "critical"), (60.0, "warning")])
def test_an_idle_gpu_is_told(util, severity):
    problem = efficiency([finished(k, util=util) for k in range(1, 5)], device="cuda:0")["gpu"]
    assert problem.severity == severity
    assert {fix.id for fix in problem.fixes} == {"larger_batch", "bf16", "compile"}
    assert not any(fix.by_itself for fix in problem.fixes), "all of them change results"
    assert not problem.acts, "nor does a run end for it"


def test_an_idle_gpu_that_waits_for_data_is_one_problem():
    assert list(efficiency([finished(k, util=20.0, wait=0.7) for k in range(1, 5)], device="cuda:0")) == [
        "data"
    ]


def test_epochs_of_seconds_are_worth_a_word_only():
    found = efficiency([finished(k, wait=0.6, util=10.0, seconds=2) for k in range(1, 5)], device="cuda:0")
    assert {problem.severity for problem in found.values()} == {"info"}


def test_machine_troubles_are_named():
    epochs = [finished(k, util=95.0) for k in range(1, 5)]
    shared = efficiency(epochs, [{"cpu_percent": 99.0, "process_cpu": 20.0}] * 10)
    assert shared["cpu"].severity == "info"
    hot = efficiency(epochs, [{"gpus": (gpu(slowed="heat"),)}] * 10, device="cuda:0")
    assert "too hot" in hot["heat"].message
    full = efficiency(epochs, [{"ram_used": 31.5 * GB, "process_rss": 20 * GB}] * 10)
    assert full["ram"].severity == "warning"


# ── crash ───────────────────────────────────────────────────────────────────────────────────────────────────────

ERRORS = {
    "shapes": RuntimeError("mat1 and mat2 shapes cannot be multiplied (32x30 and 32x10)"),
    "label or an index": IndexError("Target 10 is out of bounds."),
    "another type": RuntimeError("expected scalar type Long but found Float"),
    "another device": RuntimeError("Expected all tensors to be on the same device, but found at least two"),
    "single sample": ValueError(
        "Expected more than 1 value per channel when training, got input size [1, 8]"
    ),
    "file is missing": FileNotFoundError("[Errno 2] No such file or directory: 'a.png'"),
    "worker process died": RuntimeError("DataLoader worker (pid 4) exited unexpectedly"),
    "memory is exhausted": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    "index out of range on the GPU": RuntimeError("CUDA error: device-side assert triggered"),
}


@pytest.mark.parametrize("cause", ERRORS)
def test_a_crash_names_its_likely_cause_and_the_samples(cause):
    told = crash.diagnose(ERRORS[cause], epoch=1, step=44, time=0.0, rows=[5, 9, 11])
    assert cause in told.evidence["cause"]
    assert "on the batch of training rows 5, 9, 11. Likely cause:" in told.message
    assert told.evidence["rows"] == [5, 9, 11]


def test_a_crash_of_its_own_kind_gets_no_made_up_cause():
    told = crash.diagnose(ZeroDivisionError("division by zero"), epoch=1, step=4, time=0.0)
    assert told.evidence["cause"] is None
    assert "Likely" not in told.message
