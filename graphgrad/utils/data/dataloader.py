"""``DataLoader``: batches of a data set, shuffled, from worker processes, fetched ahead.

for images, labels in DataLoader(digits, batch_size=64, shuffle=True, num_workers=2):
    ...
"""

from __future__ import annotations

import importlib
import itertools
import math
import multiprocessing
import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection
from typing import Any

from graphgrad.utils.data import worker
from graphgrad.utils.data.collate import default_collate, default_convert, pinned
from graphgrad.utils.data.dataset import IterableDataset
from graphgrad.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    draw_seed,
)


class DataLoader:
    """Iterates over batches of ``dataset``.

    shuffle, sampler, batch_sampler: the order, one way or another; ``generator`` seeds it.
    num_workers: processes that fetch ``prefetch_factor`` batches ahead each (0: none).
    pin_memory: the next two batches are fetched on a thread while one is worked on, and, where
        there is a CUDA device, put into page-locked memory, so that ``.to(device,
        non_blocking=True)`` copies while the host goes on.
    timeout: seconds to wait for a worker (0: for ever). persistent_workers: kept between epochs.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler[Any] | Iterable[Any] | None = None,
        batch_sampler: Sampler[list[Any]] | Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        self.is_iterable = isinstance(dataset, IterableDataset)
        if self.is_iterable:
            _check_iterable(shuffle, sampler, batch_sampler)
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, "
                    "and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None option disables auto-batching and is mutually exclusive with "
                "drop_last"
            )
        self.dataset, self.generator = dataset, generator
        self.num_workers, self.timeout = num_workers, timeout
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.pin_memory, self.pin_memory_device = pin_memory, pin_memory_device
        self.worker_init_fn, self.persistent_workers = worker_init_fn, persistent_workers
        self.multiprocessing_context, self.in_order = multiprocessing_context, in_order
        self.sampler = self._sampler(sampler, bool(shuffle))
        self.batch_size, self.drop_last = batch_size, drop_last
        if batch_size is not None:
            batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)
        self.batch_sampler = batch_sampler
        self.collate_fn = collate_fn or (default_collate if self._batched else default_convert)
        self._workers: _Workers | None = None

    def _sampler(self, sampler: Any, shuffle: bool) -> Any:
        if sampler is not None:
            return sampler
        if self.is_iterable:
            return itertools.repeat(None)
        if shuffle:
            return RandomSampler(self.dataset, generator=self.generator)
        return SequentialSampler(self.dataset)

    @property
    def _batched(self) -> bool:
        return self.batch_sampler is not None

    def _order(self) -> Iterator[Any]:
        return iter(self.batch_sampler if self.batch_sampler is not None else self.sampler)

    def _fetcher(self) -> worker.Fetcher:
        return worker.Fetcher(self.dataset, self.is_iterable, self.collate_fn, self._batched)

    def __len__(self) -> int:
        """The number of batches; of an iterable data set, what its own length says."""
        if self.is_iterable:
            size = len(self.dataset)
            if self.batch_size is None:
                return size
            share = size / self.batch_size
            return math.floor(share) if self.drop_last else math.ceil(share)
        return len(self.batch_sampler if self._batched else self.sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        seed = draw_seed(self.generator)
        batches = self._from_workers(seed) if self.num_workers else self._here()
        if not self.pin_memory:
            return batches
        pins = importlib.import_module("graphgrad.cuda").is_available()
        return _Ahead(map(pinned, batches) if pins else batches, 2)

    def _here(self) -> Iterator[Any]:
        fetcher = self._fetcher()
        for index in self._order():
            try:
                batch = fetcher.fetch(index, self.drop_last)
            except StopIteration:
                return
            yield batch

    def _from_workers(self, seed: int) -> Iterator[Any]:
        workers = self._workers or _Workers(self, seed)
        if self.persistent_workers:
            self._workers = workers
        try:
            yield from workers.epoch(self._order())
        finally:
            if workers is not self._workers:
                workers.stop()

    def __getstate__(self) -> dict[str, Any]:
        """Workers get a copy of the loader, without what belongs to the main process."""
        return self.__dict__ | {"_workers": None, "sampler": None, "generator": None}


def _check_workers(count: int, timeout: float, ahead: int | None, persistent: bool) -> None:
    if count < 0:
        raise ValueError(
            "num_workers option should be non-negative; use num_workers=0 to disable "
            "multiprocessing."
        )
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if count == 0 and ahead is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing. Let num_workers > "
            "0 to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if ahead is not None and ahead < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent and count == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")


def _check_iterable(shuffle: Any, sampler: Any, batch_sampler: Any) -> None:
    given = {"shuffle": shuffle or None, "sampler": sampler, "batch_sampler": batch_sampler}
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                "DataLoader with IterableDataset: expected unspecified "
                f"{name} option, but got {name}={value}"
            )


# ---------------------------------------------------------------------------------------- workers


class _Workers:
    """Processes, each with a queue of tasks and a pipe of results."""

    def __init__(self, loader: DataLoader, seed: int) -> None:
        method = loader.multiprocessing_context
        context: Any = method
        if method is None or isinstance(method, str):
            context = multiprocessing.get_context(method)
        self.loader = loader
        self.tasks: list[Any] = []
        self.pipes: list[connection.Connection] = []
        self.processes: list[Any] = []
        for i in range(loader.num_workers):
            tasks = context.Queue()
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=worker.run,
                args=(loader, i, loader.num_workers, seed, tasks, theirs),
                daemon=True,
            )
            process.start()
            # Only the worker holds the other end, so that its death closes the pipe.
            theirs.close()
            self.tasks.append(tasks)
            self.pipes.append(ours)
            self.processes.append(process)
        self._end = weakref.finalize(self, _stop, self.tasks, self.processes, self.pipes)
        # Batches of an epoch that was left early, which nobody wants any more.
        self.stale = 0

    def epoch(self, order: Iterator[Any]) -> Iterator[Any]:
        """All batches of one pass."""
        self._drain()
        for tasks in self.tasks:
            tasks.put((None, None))
        run = _Epoch(self, order)
        try:
            yield from run
        finally:
            self.stale = run.outstanding

    def _drain(self) -> None:
        while self.stale:
            self.receive()
            self.stale -= 1

    def receive(self) -> tuple[int, Any]:
        """The next result of any worker, in whatever order."""
        timeout = self.loader.timeout or None
        ready = connection.wait(self.pipes, timeout)
        if not ready:
            raise RuntimeError(f"DataLoader timed out after {self.loader.timeout} seconds")
        pipe: Any = ready[0]
        try:
            return pipe.recv()
        except EOFError:
            process = self.processes[self.pipes.index(pipe)]
            process.join()
            raise RuntimeError(
                f"DataLoader worker (pid {process.pid}) exited unexpectedly with exit code "
                f"{process.exitcode}"
            ) from None

    def stop(self) -> None:
        """End the processes."""
        self._end()


def _stop(tasks: list[Any], processes: list[Any], pipes: list[Any]) -> None:
    for queue_ in tasks:
        queue_.put(None)
    for pipe in pipes:
        pipe.close()
    for process in processes:
        process.join(1)
        if process.is_alive():
            process.terminate()
            process.join()
    for queue_ in tasks:
        queue_.cancel_join_thread()
        queue_.close()


class _Epoch:
    """One pass: tasks go round the workers, results come back in order (or as they come)."""

    def __init__(self, workers: _Workers, order: Iterator[Any]) -> None:
        self.workers, self.order = workers, enumerate(order)
        self.living = deque(range(len(workers.tasks)))
        self.owner: dict[int, int] = {}
        self.arrived: dict[int, Any] = {}
        # Positions that are waited for, oldest first.
        self.waited: deque[int] = deque()

    @property
    def outstanding(self) -> int:
        """How many results are still on their way."""
        return len(self.owner)

    def __iter__(self) -> Iterator[Any]:
        loader = self.workers.loader
        for _ in range((loader.prefetch_factor or 1) * loader.num_workers):
            self._send()
        while self.waited:
            position = self._next()
            result = self.arrived.pop(position)
            self.waited.remove(position)
            if isinstance(result, worker.Exhausted):
                continue
            self._send()
            if isinstance(result, worker.Failure):
                result.reraise()
            yield result

    def _next(self) -> int:
        in_order = self.workers.loader.in_order
        while True:
            if in_order and self.waited[0] in self.arrived:
                return self.waited[0]
            if not in_order and self.arrived:
                return next(iter(self.arrived))
            position, result = self.workers.receive()
            self.arrived[position] = result
            owner = self.owner.pop(position)
            if isinstance(result, worker.Exhausted) and owner in self.living:
                self.living.remove(owner)

    def _send(self) -> None:
        if not self.living:
            return
        task = next(self.order, None)
        if task is None:
            return
        number = self.living[0]
        self.living.rotate(-1)
        self.workers.tasks[number].put(task)
        self.owner[task[0]] = number
        self.waited.append(task[0])


# ------------------------------------------------------------------------------------- a thread


class _Ahead:
    """Another iterator's values, up to ``depth`` of them taken ahead, on a thread."""

    def __init__(self, source: Iterator[Any], depth: int) -> None:
        self.values: queue.Queue[Any] = queue.Queue(depth)
        self.stopped = threading.Event()
        arguments = (source, self.values, self.stopped)
        threading.Thread(target=_fill, args=arguments, daemon=True).start()
        self._end = weakref.finalize(self, self.stopped.set)

    def __iter__(self) -> _Ahead:
        return self

    def __next__(self) -> Any:
        if self.stopped.is_set():
            raise StopIteration
        value, error = self.values.get()
        if error is not None:
            self.stopped.set()
            raise error
        return value


def _fill(source: Iterator[Any], values: queue.Queue[Any], stopped: threading.Event) -> None:
    """Take values until the source ends or fails, or nobody wants them any more."""

    def put(item: Any) -> None:
        while not stopped.is_set():
            try:
                values.put(item, timeout=0.05)
                return
            except queue.Full:
                continue

    try:
        for value in source:
            put((value, None))
            if stopped.is_set():
                break
        put((None, StopIteration()))
    except BaseException as error:
        put((None, error))
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()
