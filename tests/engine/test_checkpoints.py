"""Checkpoints: what is on disk always verifies, and what does not is never loaded."""

import json
import math
import threading

import pytest
import torch

from tui_trainer.config.errors import RunFolderError
from tui_trainer.engine import events
from tui_trainer.engine.checkpoints import (
    BEST,
    LAST,
    Checkpointer,
    load_checkpoint,
    load_newest,
    periodic_name,
)
from tui_trainer.engine.manifest import read_manifest, sha256_of
from tui_trainer.engine.writer_link import WriterLink


def state_of(value: float, *, epoch: int = 1) -> dict:
    return {
        "model_state_dict": {"weight": torch.full((4, 3), value), "count": torch.tensor(3)},
        "optimizer_state_dict": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]},
        "scheduler_state_dict": {},
        "loss_state_dict": {},
        "epoch": epoch,
        "step": epoch * 10,
        "epoch_complete": True,
        "val_loss": 0.5,
        "metrics": {},
        "config": {"name": "x"},
        "empty": torch.empty(0, 3),
    }


def entry_of(epoch: int) -> dict:
    return {"epoch": epoch, "step": epoch * 10, "metrics": {"val_loss": 0.5}, "valid": True}


@pytest.fixture(params=["writer process", "own thread"])
def checkpointer(request, tmp_path):
    link = WriterLink() if request.param == "writer process" else None
    seen: list[events.Event] = []
    made = Checkpointer(tmp_path, seen.append, link=link, pace=0.0)
    made.seen = seen
    yield made
    made.close()
    if link is not None:
        link.close()


def test_saved_state_comes_back_equal_and_verifies(checkpointer, tmp_path):
    history = [{"epoch": 1, "val_loss": 0.5}]
    checkpointer.save(state_of(2.0), history, [BEST, LAST], entry=entry_of(1), wait=True)
    checkpointer.flush()
    entries = read_manifest(tmp_path)["files"]
    for name in (BEST, LAST):
        assert entries[name]["sha256"] == sha256_of(tmp_path / name)
        loaded = torch.load(tmp_path / name, weights_only=True)
        assert torch.equal(loaded["model_state_dict"]["weight"], torch.full((4, 3), 2.0))
        assert loaded["history"] == history
        assert loaded["empty"].shape == (0, 3)
    assert (tmp_path / BEST).stat().st_ino == (tmp_path / LAST).stat().st_ino
    assert isinstance(checkpointer.seen[-1], events.CheckpointSaved)


def test_the_snapshot_is_taken_at_once(checkpointer, tmp_path):
    state = state_of(1.0)
    checkpointer.save(state, [], [LAST], entry=entry_of(1), wait=True)
    state["model_state_dict"]["weight"].fill_(99.0)
    checkpointer.flush()
    assert load_checkpoint(tmp_path / LAST)["model_state_dict"]["weight"][0, 0] == 1.0


def test_history_grows_across_checkpoints(checkpointer, tmp_path):
    history: list[dict] = []
    for epoch in range(1, 6):
        history.append({"epoch": epoch})
        checkpointer.save(state_of(epoch, epoch=epoch), history, [LAST], entry=entry_of(epoch), wait=True)
    checkpointer.flush()
    assert [row["epoch"] for row in load_checkpoint(tmp_path / LAST)["history"]] == [1, 2, 3, 4, 5]


def test_periodic_checkpoints_are_never_dropped_and_newer_last_wins(tmp_path):
    gate = threading.Event()
    saved: list[events.Event] = []
    made = Checkpointer(tmp_path, saved.append, barrier=lambda: gate.wait(30) and None, pace=0.0)
    for epoch in range(1, 31):
        names = [periodic_name(epoch), LAST] if epoch % 10 == 0 else [LAST]
        made.save(state_of(epoch, epoch=epoch), [], names, entry=entry_of(epoch), wait=True)
    gate.set()
    made.close()
    assert {path.name for path in tmp_path.glob("checkpoint_epoch_*.pt")} == {
        periodic_name(10),
        periodic_name(20),
        periodic_name(30),
    }
    assert load_checkpoint(tmp_path / LAST)["epoch"] == 30
    assert len([event for event in saved if isinstance(event, events.CheckpointSaved)]) < 30


def test_a_writer_that_rests_between_writes_lets_no_more_than_a_few_snapshots_wait(tmp_path):
    written = threading.Semaphore(0)
    made = Checkpointer(tmp_path, lambda _: written.release(), pace=3600.0)
    for epoch in range(1, 11):
        made.save(state_of(epoch, epoch=epoch), [], [periodic_name(epoch)], entry=entry_of(epoch), wait=True)
    for _ in range(8):
        assert written.acquire(timeout=30)  # the hour is not waited for
    made.close()
    assert len(list(tmp_path.glob("checkpoint_epoch_*.pt"))) == 10


def test_a_best_is_on_disk_before_any_checkpoint_that_names_it(tmp_path):
    order: list[tuple[str, ...]] = []
    gate = threading.Event()
    made = Checkpointer(
        tmp_path, lambda event: order.append(event.files), barrier=lambda: gate.wait(30) and None, pace=0.0
    )
    made.save(state_of(1, epoch=1), [], [BEST, LAST], entry=entry_of(1), wait=True)
    made.save(state_of(2, epoch=2), [], [BEST, LAST], entry=entry_of(2), wait=True)
    made.save(state_of(3, epoch=3), [], [periodic_name(3), LAST], entry=entry_of(3), wait=True)
    made.save(state_of(4, epoch=4), [], [BEST, LAST], entry=entry_of(4), wait=True)
    gate.set()
    made.close()
    assert order.index((periodic_name(3), LAST)) > 0
    assert order[-1] == (BEST, LAST)
    before = order[: order.index((periodic_name(3), LAST))]
    assert any(BEST in files for files in before)


def test_retired_epochs_are_removed_with_their_manifest_entries(tmp_path):
    made = Checkpointer(tmp_path, lambda event: None, pace=0.0)
    for epoch in range(1, 6):
        retired = [epoch - 2] if epoch > 2 else []
        made.save(
            state_of(epoch, epoch=epoch),
            [],
            [periodic_name(epoch)],
            entry=entry_of(epoch),
            wait=True,
            retired=retired,
        )
    made.close()
    assert {path.name for path in tmp_path.glob("*.pt")} == {periodic_name(4), periodic_name(5)}
    assert set(read_manifest(tmp_path)["files"]) == {periodic_name(4), periodic_name(5)}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_non_finite_weight_is_never_written(checkpointer, tmp_path, bad):
    checkpointer.save(state_of(1.0), [], [LAST], entry=entry_of(1), wait=True)
    checkpointer.flush()
    broken = state_of(1.0, epoch=2)
    broken["model_state_dict"]["weight"][1, 1] = bad
    checkpointer.save(broken, [], [LAST], entry=entry_of(2), wait=True)
    checkpointer.flush()
    failed = checkpointer.seen[-1]
    assert isinstance(failed, events.CheckpointFailed)
    assert "weight" in failed.reason
    assert load_checkpoint(tmp_path / LAST)["epoch"] == 1
    assert LAST in checkpointer.failed


def test_losing_the_writer_process_loses_no_checkpoint(tmp_path):
    link = WriterLink()
    made = Checkpointer(tmp_path, lambda event: None, link=link, pace=0.0)
    made.save(state_of(1.0), [], [LAST], entry=entry_of(1), wait=True)
    made.flush()
    link._process.kill()
    link._process.wait()
    made.save(state_of(2.0, epoch=2), [{"epoch": 2}], [LAST], entry=entry_of(2), wait=True)
    made.close()
    assert load_checkpoint(tmp_path / LAST)["epoch"] == 2
    link.close()


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "zero"])
def test_damage_is_found_and_the_newest_good_file_taken(tmp_path, damage):
    made = Checkpointer(tmp_path, lambda event: None, pace=0.0)
    made.save(state_of(1.0, epoch=1), [], [periodic_name(1)], entry=entry_of(1), wait=True)
    made.save(state_of(2.0, epoch=2), [], [LAST], entry=entry_of(2), wait=True)
    made.close()
    raw = bytearray((tmp_path / LAST).read_bytes())
    if damage == "truncate":
        raw = raw[: len(raw) // 2]
    elif damage == "flip":
        raw[len(raw) // 2] ^= 1
    elif damage == "empty":
        raw = bytearray()
    else:
        raw[:] = bytes(len(raw))
    (tmp_path / LAST).unlink()
    (tmp_path / LAST).write_bytes(raw)
    loaded = load_newest(tmp_path)
    assert loaded is not None
    assert loaded.path.name == periodic_name(1)
    assert any(LAST in reason for reason in loaded.rejected)


def test_only_damaged_checkpoints_are_refused_with_advice(tmp_path):
    (tmp_path / LAST).write_bytes(b"not a checkpoint")
    with pytest.raises(RunFolderError, match="damaged"):
        load_newest(tmp_path)


def test_a_pickle_in_disguise_is_never_executed(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    torch.save({"model_state_dict": Evil()}, tmp_path / LAST)
    with pytest.raises(RunFolderError):
        load_checkpoint(tmp_path / LAST)
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(RunFolderError):
        load_checkpoint(tmp_path / "raw.pt")
    assert not (tmp_path / "owned").exists()


def test_a_crash_between_manifest_and_rename_is_settled(tmp_path):
    made = Checkpointer(tmp_path, lambda event: None, pace=0.0)
    made.save(state_of(1.0, epoch=1), [], [LAST], entry=entry_of(1), wait=True)
    made.save(state_of(2.0, epoch=2), [], [periodic_name(2)], entry=entry_of(2), wait=True)
    made.close()
    content = json.loads((tmp_path / "manifest.json").read_text())
    new = content["files"].pop(periodic_name(2))
    # As after a crash right behind the rename: last_model.pt holds the new content, the manifest still says pending.
    (tmp_path / periodic_name(2)).replace(tmp_path / LAST)
    content["pending"] = {LAST: new}
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    (tmp_path / ".checkpoint.abc.tmp").write_bytes(b"half")
    loaded = load_newest(tmp_path)
    assert loaded is not None
    assert loaded.state["epoch"] == 2
    assert not list(tmp_path.glob(".*.tmp"))
