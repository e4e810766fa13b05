"""Batches in a seeded order that can be entered at any position.

Every source answers `epoch(number, start)` with the batches from position `start` on. The order of an epoch is a
permutation seeded by (seed, epoch), and fetching batch *b* of epoch *e* runs under seeds derived from
(seed, e, b), so random augmentation is the same whether a run was interrupted or not, with and without workers.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import queue
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from tui_trainer.config.errors import DataError
from tui_trainer.config.user_code import exception_text, raised
from tui_trainer.config.wording import class_name
from tui_trainer.data.child_process import Lifeline, end_with, signals_held_back
from tui_trainer.data.dataset import ArrayDataset
from tui_trainer.data.seeds import derive_seed, seed_cpu_generators, untouched_rng

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

TARGET_KEYS = ("labels", "label", "targets", "target")
EVALUATION_FACTOR = 4  # no gradients are kept, so batches may hold more without taking more memory
_DIGEST_ROWS = 4096  # enough to tell one permutation from another
_WAIT_S = 0.1  # for a worker, before somebody else is asked
_IN_MEMORY_SHARE = 0.1  # of the device's free memory that a data set may take to live there
_GATHERED_BYTES = 1 << 20  # picked out of the data at once: small enough for a core's cache
_GATHERED_BATCHES = 64
_ALIGNMENT = 64  # bytes, of all memory that PyTorch hands out


@dataclass(slots=True)
class Batch:
    """One batch on the device. `inputs` is a tensor, or the whole dict where items are dicts.

    `rows` are the samples' positions in the split (int64[size], on the CPU).
    """

    inputs: Any
    targets: Any
    size: int
    position: int
    rows: Tensor


class BatchSource(Protocol):
    """What the trainer asks of its data."""

    samples: int
    batch_size: int

    def __len__(self) -> int: ...

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of epoch `number` (from 1), from position `start` on."""

    def order_digest(self, number: int) -> str:
        """A fingerprint of the epoch's sample order, kept in checkpoints."""

    def close(self) -> None:
        """Stop worker processes, if any."""


class _Order:
    """The sample order of each epoch: shuffled by (seed, epoch), or as it stands."""

    def __init__(self, samples: int, batch_size: int, seed: int, *, shuffle: bool, drop_last: bool) -> None:
        self.samples, self.batch_size, self.seed, self.shuffle = samples, batch_size, seed, shuffle
        self.batches = samples // batch_size if drop_last else -(-samples // batch_size)
        self._known: tuple[int, Tensor] = (0, torch.arange(samples))

    def rows(self, number: int) -> Tensor:
        if self.shuffle and self._known[0] != number:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, number))
            self._known = number, torch.randperm(self.samples, generator=generator)
        return self._known[1]

    def batch_rows(self, number: int) -> list[Tensor]:
        return list(torch.split(self.rows(number), self.batch_size))[: self.batches]

    def digest(self, number: int) -> str:
        head = self.rows(number)[:_DIGEST_ROWS].numpy().tobytes()
        return hashlib.blake2b(head + str(self.samples).encode(), digest_size=8).hexdigest()


class ArrayBatches:
    """Batches of an in-memory data set, on the device where the data fits there.

    Several batches are picked by one `index_select`, where each still begins as aligned as one picked by itself would
    (kernels may round otherwise elsewhere), and always the same ones together, wherever an epoch is entered.
    """

    def __init__(self, data: ArrayDataset, order: _Order, device: torch.device) -> None:
        self.samples, self.batch_size = len(data), order.batch_size
        self._order, self._device = order, device
        self._inputs, self._targets = data.inputs, data.targets
        self._resident = device.type == "cpu" or _fits_on(device, data)
        if self._resident:
            self._inputs, self._targets = self._inputs.to(device), self._targets.to(device)
        self._slices: list[Batch] | None = None
        self._together = self._batches_at_once()

    def __len__(self) -> int:
        return self._order.batches

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        if not self._order.shuffle:
            if self._slices is None:
                self._slices = list(self._gathered(number, 0))
            yield from self._slices[start:]
            return
        yield from self._gathered(number, start)

    def order_digest(self, number: int) -> str:
        return self._order.digest(number)

    def close(self) -> None:
        pass

    def _gathered(self, number: int, start: int) -> Iterator[Batch]:
        order, size, together = self._order, self.batch_size, self._together
        rows = order.rows(number)
        for first in range(start - start % together, order.batches, together):
            some = rows[first * size : min(first + together, order.batches) * size]
            where = some.to(self._device) if self._resident and self._device.type != "cpu" else some
            inputs, targets = self._inputs.index_select(0, where), self._targets.index_select(0, where)
            if not self._resident:
                inputs, targets = inputs.to(self._device), targets.to(self._device)
            # unsafe_split: what a user's code does to one batch in place is nothing to the others.
            parts = zip(*(torch.unsafe_split(item, size) for item in (inputs, targets, some)), strict=True)
            for position, (batch, labels, positions) in enumerate(parts, start=first):
                if position >= start:
                    yield Batch(batch, labels, len(positions), position, positions)

    def _batches_at_once(self) -> int:
        batch_bytes = [
            item[:1].numel() * item.element_size() * self.batch_size for item in (self._inputs, self._targets)
        ]
        if any(size % _ALIGNMENT for size in batch_bytes):
            return 1
        return max(1, min(_GATHERED_BATCHES, _GATHERED_BYTES // max(1, *batch_bytes)))


def _fits_on(device: torch.device, data: ArrayDataset) -> bool:
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return data.inputs.nbytes + data.targets.nbytes <= free * _IN_MEMORY_SHARE


class WaitBroken(Exception):
    """Fetching a batch was given up because something else came first; fetched again, it is the same."""


@dataclass(frozen=True)
class _FetchFailed:
    """What a worker sends instead of a batch when the user's data set raised."""

    message: str


class _SeededFetch(Dataset[Any]):
    """Turns a key (epoch, position, rows) into a collated batch, under that batch's own seeds."""

    def __init__(
        self, data: Dataset[Any], collate: Callable[[list[Any]], Any], seed: int, split: str
    ) -> None:
        self.data, self.collate, self.seed, self.split = data, collate, seed, split

    def __getitem__(self, key: tuple[int, int, list[int]]) -> Any:
        return self.fetch(key, lambda: False)

    def fetch(self, key: tuple[int, int, list[int]], interrupt: Callable[[], bool]) -> Any:
        """The batch of `key`. Raises `WaitBroken` where `interrupt` says so between two items."""
        number, position, rows = key
        with untouched_rng():
            seed_cpu_generators(derive_seed(self.seed, number, position, 1))
            row: int | None = None
            try:
                items = []
                for row in rows:
                    _heed(interrupt)
                    items.append(self.data[row])
                row = None
                return self.collate(items)
            except WaitBroken:
                raise
            except (Exception, SystemExit, KeyboardInterrupt) as error:
                if row is None:
                    shown = f"{', '.join(map(str, rows[:5]))}{' …' if len(rows) > 5 else ''}"
                    return _FetchFailed(
                        f"Collating {self.split} rows {shown} failed: {raised(error)}. Mend data.collate, or the samples."
                    )
                return _FetchFailed(
                    f"Item {row} of {self.split} cannot be read: {raised(error)}. Mend the data set's __getitem__ (or "
                    "its transform), or drop that sample."
                )


def _heed(interrupt: Callable[[], bool]) -> None:
    if interrupt():
        raise WaitBroken


class _Keys(Sampler[tuple[int, int, list[int]]]):
    """The keys of one epoch, from a position on; set before each pass."""

    def __init__(self) -> None:
        self.keys: list[tuple[int, int, list[int]]] = []

    def __iter__(self) -> Iterator[tuple[int, int, list[int]]]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)


def _begin_worker(lifeline: Connection, _: int) -> None:
    """Workers leave signals to the main process: Ctrl-C must save a checkpoint, not kill the loader.

    They start with signals held back; a fork server that was there before may not have been.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    end_with(lifeline)


class ItemBatches:
    """Batches of an item-by-item data set, in the process itself or through PyTorch's loader workers.

    `interrupt`, asked while an epoch's next batch is waited for, may break that off with `WaitBroken`.
    """

    def __init__(
        self,
        data: Dataset[Any],
        order: _Order,
        device: torch.device,
        *,
        collate: Callable[[list[Any]], Any] | None,
        num_workers: int,
        pin_memory: bool,
        split: str,
    ) -> None:
        self.samples, self.batch_size = order.samples, order.batch_size
        self._order, self._device = order, device
        self._fetch = _SeededFetch(data, collate or default_collate, order.seed, split)
        self._pinned = pin_memory and device.type == "cuda"
        self._keys = _Keys()
        self._loader: DataLoader[Any] | None = None
        self._lifeline: Lifeline | None = None
        self._workers = num_workers
        self.interrupt: Callable[[], bool] = lambda: False
        if num_workers:
            self._refuse_what_cannot_be_sent()

    def __len__(self) -> int:
        return self._order.batches

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        seeds_epoch = number if self._order.shuffle else 0
        batch_rows = self._order.batch_rows(number)
        self._keys.keys = [
            (seeds_epoch, position, batch_rows[position].tolist())
            for position in range(start, len(batch_rows))
        ]
        fetched = (
            self._awaited(self._from_workers())
            if self._workers
            else (self._fetch.fetch(key, self.interrupt) for key in self._keys.keys)
        )
        for (_, position, _), content in zip(list(self._keys.keys), fetched, strict=True):
            if isinstance(content, _FetchFailed):
                raise DataError(content.message)
            yield self._to_batch(content, position, batch_rows[position])

    def order_digest(self, number: int) -> str:
        return self._order.digest(number)

    def close(self) -> None:
        """Stop the workers; they are started again when needed."""
        loader, self._loader = self._loader, None
        iterator = getattr(loader, "_iterator", None)
        if iterator is not None:
            iterator._shutdown_workers()  # noqa: SLF001 (PyTorch offers no public way to stop persistent workers)
        if self._lifeline is not None:
            self._lifeline.cut()
            self._lifeline = None

    def _from_workers(self) -> Iterator[Any]:
        if self._loader is not None:
            return iter(self._loader)
        lifeline = self._lifeline = Lifeline()
        loader = self._loader = self._make_loader(lifeline)
        resource_tracker.ensure_running()  # not below: its own start lets signals through again
        with signals_held_back():
            fetched = iter(loader)
        lifeline.cut_at_exit()
        return fetched

    def _awaited(self, fetched: Any) -> Iterator[Any]:
        """What workers deliver, asking `interrupt` while nothing comes."""
        while True:
            while _nothing_there(fetched) and not _comes(fetched, _WAIT_S):
                _heed(self.interrupt)
                if not all(worker.is_alive() for worker in fetched._workers):  # noqa: SLF001 (no public way to ask)
                    break  # the loader itself says so
            try:
                content = next(fetched)
            except StopIteration:
                return
            yield content

    def _make_loader(self, lifeline: Lifeline) -> DataLoader[Any]:
        return DataLoader(
            self._fetch,
            batch_size=None,
            sampler=self._keys,
            num_workers=self._workers,
            persistent_workers=True,
            pin_memory=self._pinned,
            multiprocessing_context="forkserver",
            worker_init_fn=functools.partial(_begin_worker, lifeline.end),
            generator=torch.Generator().manual_seed(0),
        )

    def _refuse_what_cannot_be_sent(self) -> None:
        try:
            pickle.dumps(self._fetch)
        except Exception as error:
            raise DataError(
                f"data.num_workers is {self._workers}, but the data set cannot be sent to worker processes "
                f"({exception_text(error)}). Define its classes and functions at the top level of a module (no lambdas, "
                "no open files or sockets), or set data.num_workers to 0."
            ) from error

    def _to_batch(self, content: Any, position: int, rows: Tensor) -> Batch:
        content = move(content, self._device, non_blocking=self._pinned)
        if isinstance(content, Mapping):
            targets = next((content[key] for key in TARGET_KEYS if key in content), None)
            return Batch(content, targets, len(rows), position, rows)
        if isinstance(content, (list, tuple)) and len(content) == 2:
            return Batch(content[0], content[1], len(rows), position, rows)
        raise DataError(
            f"A batch of the data set is {_describe(content)}; expected (input, target) pairs or dicts. "
            "Return one of these from __getitem__, or shape the batch in data.collate."
        )


def _nothing_there(fetched: Any) -> bool:
    """Whether a loader's next batch is under way, and not among those that came too early."""
    number = fetched._rcvd_idx  # noqa: SLF001 (PyTorch offers no public way to ask)
    return number < fetched._send_idx and len(fetched._task_info.get(number, ())) < 2  # noqa: SLF001 (as above)


def _comes(fetched: Any, seconds: float) -> bool:
    """Whether something arrives within `seconds`: from the workers, or from the thread that pins their memory."""
    arrivals = fetched._data_queue  # noqa: SLF001 (PyTorch offers no public way to wait for a while)
    if isinstance(arrivals, queue.Queue):
        with arrivals.not_empty:
            return arrivals.not_empty.wait_for(lambda: bool(arrivals.queue), seconds)
    return bool(arrivals._reader.poll(seconds))  # noqa: SLF001 (nor do multiprocessing's queues)


def _describe(content: Any) -> str:
    if isinstance(content, (list, tuple)):
        return f"a {class_name(type(content))} of {len(content)} parts"
    return f"a {class_name(type(content))}"


def move(content: Any, device: torch.device, *, non_blocking: bool = False) -> Any:
    """`content` with every tensor in it (in dicts, lists, tuples) on `device`."""
    if isinstance(content, Tensor):
        return content.to(device, non_blocking=non_blocking)
    if isinstance(content, Mapping):
        return {key: move(item, device, non_blocking=non_blocking) for key, item in content.items()}
    if isinstance(content, tuple) and hasattr(content, "_fields"):
        return type(content)(*(move(item, device, non_blocking=non_blocking) for item in content))
    if isinstance(content, (list, tuple)):
        return type(content)(move(item, device, non_blocking=non_blocking) for item in content)
    return content


def make_batches(
    data: Dataset[Any],
    *,
    split: str,
    batch_size: int,
    seed: int,
    device: torch.device,
    shuffle: bool,
    drop_last: bool = False,
    num_workers: int = 0,
    pin_memory: bool = False,
    collate: Callable[[list[Any]], Any] | None = None,
) -> BatchSource:
    """The batches of one split: by index where the data is in memory, item by item otherwise.

    Without shuffling (evaluation) batches in memory hold `EVALUATION_FACTOR` times as many samples. Raises `DataError`
    when not a single batch results.
    """
    samples = len(data)  # type: ignore[arg-type]  # Dataset declares no __len__; build_data has checked it
    in_memory = isinstance(data, ArrayDataset) and collate is None
    if in_memory and not shuffle:
        batch_size *= EVALUATION_FACTOR
    order = _Order(samples, batch_size, seed, shuffle=shuffle, drop_last=drop_last)
    if order.batches == 0:
        raise DataError(
            f"The {split} split has {samples} samples: not one batch of data.batch_size {batch_size} with "
            "data.drop_last on. Lower the batch size, or set data.drop_last to false."
        )
    if isinstance(data, ArrayDataset) and in_memory:
        return ArrayBatches(data, order, device)
    return ItemBatches(
        data, order, device, collate=collate, num_workers=num_workers, pin_memory=pin_memory, split=split
    )
