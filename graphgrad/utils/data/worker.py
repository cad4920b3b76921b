"""Processes that fetch batches: one pipe of results each, so that a dead one is noticed at once."""

from __future__ import annotations

import random
import traceback
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any

import numpy as np

import graphgrad as gg


@dataclass(frozen=True)
class WorkerInfo:
    """What ``get_worker_info()`` tells inside a worker."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """Number, count, seed and data set of the worker that asks; None in the main process."""
    return _info


@dataclass(frozen=True)
class Failure:
    """An exception on its way to the main process."""

    kind: type[BaseException]
    text: str

    @classmethod
    def of(cls, error: BaseException, where: str) -> Failure:
        """The exception, with its traceback as text."""
        lines = "".join(traceback.format_exception(error))
        return cls(type(error), f"Caught {type(error).__name__} {where}.\nOriginal {lines}")

    def reraise(self) -> None:
        """Raise it again; RuntimeError where its type cannot be made from a text."""
        try:
            error = self.kind(self.text)
        except TypeError:
            error = RuntimeError(self.text)
        raise error


class Exhausted:
    """Says that a worker's iterable data set has ended."""


class Fetcher:
    """Batches of a data set: by lists of numbers, or the next ones of an iterator."""

    def __init__(self, dataset: Any, is_iterable: bool, collate: Any, batched: bool) -> None:
        self.dataset, self.collate, self.batched = dataset, collate, batched
        self.iterator = iter(dataset) if is_iterable else None

    def fetch(self, index: Any, drop_last: bool = False) -> Any:
        """The batch for ``index``; StopIteration when an iterable data set has ended."""
        if self.iterator is not None:
            return self.collate(
                self._next(len(index), drop_last) if self.batched else next(self.iterator)
            )
        if not self.batched:
            return self.collate(self.dataset[index])
        many = getattr(self.dataset, "__getitems__", None)
        return self.collate(many(index) if callable(many) else [self.dataset[i] for i in index])

    def _next(self, count: int, drop_last: bool) -> list[Any]:
        assert self.iterator is not None
        # zip looks at the numbers first, so no sample is taken and lost.
        samples = [sample for _, sample in zip(range(count), self.iterator, strict=False)]
        if not samples or (drop_last and len(samples) < count):
            raise StopIteration
        return samples


def run(
    loader: Any,
    number: int,
    count: int,
    base_seed: int,
    tasks: Any,
    results: connection.Connection,
) -> None:
    """The life of a worker: a task is (position, index), (None, None) a new epoch, None the end."""
    global _info
    _seed(base_seed + number)
    _info = WorkerInfo(number, count, base_seed + number, loader.dataset)
    where = f"in DataLoader worker process {number}"
    fetcher, failed = None, None
    try:
        if loader.worker_init_fn is not None:
            loader.worker_init_fn(number)
    except Exception as error:
        failed = Failure.of(error, where)
    while (task := tasks.get()) is not None:
        position, index = task
        if position is None:
            fetcher = None
            continue
        try:
            fetcher = fetcher or loader._fetcher()
            result = failed or fetcher.fetch(index, loader.drop_last)
        except StopIteration:
            result = Exhausted()
        except Exception as error:
            result = Failure.of(error, where)
        if not _sent(results, (position, result), where):
            return


def _sent(results: connection.Connection, item: tuple[int, Any], where: str) -> bool:
    """Send a result (or why it cannot be sent); False when nobody reads any more."""
    try:
        results.send(item)
    except OSError:
        return False
    except Exception as error:
        results.send((item[0], Failure.of(error, where)))
    return True


def _seed(seed: int) -> None:
    random.seed(seed)
    gg.manual_seed(seed)
    np.random.seed(seed % 2**32)
