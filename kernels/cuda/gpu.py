"""The Driver of real GPUs, over cuda.core: the one module that calls CUDA.

    gpus = open_driver()       # RuntimeError: the package, the driver or the device is missing

Work goes to the current stream of its device, at first the legacy default stream, as PyTorch's and
CuPy's does. A graph is captured on a stream of its own, for that one cannot be captured.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .driver import OutOfMemoryError, Properties
from .pool import Block, Pool

PACKAGE = "pip install 'graphgrad[cuda]'"


EMULATE = 'without one, graphgrad.config.cuda = "emulate" makes devices of host memory'


def open_driver() -> GpuDriver:
    """The Driver of this machine's GPUs. On a machine without any, no package is imported."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(library)
    except OSError as error:
        raise RuntimeError(
            f"no CUDA: NVIDIA's display driver is missing ({error}); {EMULATE}."
        ) from error
    try:
        from cuda import core
        from cuda.bindings import driver as calls
    except ImportError as error:
        raise RuntimeError(
            f"no CUDA: the package cuda-core is missing ({error}). Install it with: {PACKAGE}; "
            f"{EMULATE}."
        ) from error
    (result,) = calls.cuInit(0)
    count = calls.cuDeviceGetCount()[1] if result == calls.CUresult.CUDA_SUCCESS else 0
    if not count:
        raise RuntimeError(
            f"no CUDA: the driver finds no device ({getattr(result, 'name', result)}). Look at "
            f"nvidia-smi and CUDA_VISIBLE_DEVICES; {EMULATE}."
        )
    return GpuDriver(core, calls, int(count))


class GpuStream:
    """A queue of work on a device: a cuda.core Stream."""

    def __init__(self, owner: GpuDriver, stream: Any, index: int) -> None:
        self.owner, self.stream, self.index = owner, stream, index
        self.handle = int(stream.handle)

    def synchronize(self) -> None:
        """Wait for everything in the queue."""
        self.stream.sync()

    def query(self) -> bool:
        """Whether everything in the queue is done."""
        calls = self.owner.calls
        (result,) = calls.cuStreamQuery(self.stream.handle)
        if result == calls.CUresult.CUDA_ERROR_NOT_READY:
            return False
        self.owner.check(result)
        return True

    def wait(self, other: GpuStream | GpuEvent) -> None:
        """Later work of this queue comes after what is in ``other`` now."""
        self.stream.wait(other.stream if isinstance(other, GpuStream) else other.event)

    def wait_for_handle(self, handle: int) -> None:
        """The same for another library's stream, by address (1: the legacy default stream)."""
        if handle != self.handle and not (handle == 1 and self.handle == 0):
            self.stream.wait(self.owner.core.Stream.from_handle(handle))

    def awaited_by_handle(self, handle: int) -> None:
        """Another library's stream waits for this one."""
        if handle != self.handle and not (handle == 1 and self.handle == 0):
            self.owner.core.Stream.from_handle(handle).wait(self.stream)


class GpuEvent:
    """A moment in a queue: a cuda.core Event."""

    def __init__(self, event: Any) -> None:
        self.event = event

    def record(self, stream: GpuStream) -> None:
        """The moment when all that is in the queue now is done."""
        stream.stream.record(self.event)

    def synchronize(self) -> None:
        """Wait for the moment."""
        self.event.sync()

    def query(self) -> bool:
        """Whether it is past."""
        return bool(self.event.is_done)

    def milliseconds_until(self, end: GpuEvent) -> float:
        """Between two moments that are past; both were made with ``timing``."""
        return float(end.event - self.event)


class GpuGraph:
    """Launches that were recorded once and are launched as one."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph

    def launch(self, stream: GpuStream) -> None:
        """Put all of it into a queue."""
        self.graph.launch(stream.stream)


class GpuDriver:
    """The Driver protocol over cuda.core."""

    emulated = False

    def __init__(self, core: Any, calls: Any, count: int) -> None:
        self.core, self.calls, self._count = core, calls, count
        self._here = threading.local()
        self._devices: dict[int, Any] = {}
        self._pools: dict[int, Pool] = {}
        self._defaults: dict[int, GpuStream] = {}
        self._kernels: dict[tuple[int, str, str], Any] = {}
        self._pinned: list[Any] = []

    def check(self, result: Any) -> None:
        """Raise what a driver call reports."""
        if result != self.calls.CUresult.CUDA_SUCCESS:
            raise RuntimeError(f"CUDA error: {getattr(result, 'name', result)}")

    def _use(self, index: int) -> Any:
        """Make a device the current one of this thread."""
        if not 0 <= index < self._count:
            raise RuntimeError(f"CUDA error: invalid device ordinal {index} of {self._count}")
        if getattr(self._here, "index", None) != index:
            device = self._devices.get(index)
            if device is None:
                device = self._devices[index] = self.core.Device(index)
            self.core.Device(index).set_current()
            self._here.index = index
        return self._devices[index]

    # ---- what there is

    def count(self) -> int:
        return self._count

    def properties(self, index: int) -> Properties:
        device = self._use(index)
        has = device.properties
        capability = device.compute_capability
        return Properties(
            device.name,
            capability.major,
            capability.minor,
            self.memory_info(index)[1],
            has.multiprocessor_count,
            has.warp_size,
            has.max_threads_per_multiprocessor,
            has.max_shared_memory_per_block,
            has.l2_cache_size,
        )

    def arch(self, index: int) -> str:
        """The architecture that kernels are compiled for."""
        capability = self._use(index).compute_capability
        return f"sm_{capability.major}{capability.minor}"

    def memory_info(self, index: int) -> tuple[int, int]:
        self._use(index)
        result, free, total = self.calls.cuMemGetInfo()
        self.check(result)
        return int(free), int(total)

    # ---- memory

    def _pool(self, index: int) -> Pool:
        pool = self._pools.get(index)
        if pool is None:
            pool = self._pools.setdefault(index, Pool(lambda nbytes: self._raw(nbytes, index)))
        return pool

    def _raw(self, nbytes: int, index: int) -> tuple[int, Any]:
        """New memory of the device, which lives as long as the Buffer does."""
        device = self._use(index)
        stream = self.current_stream(index).stream
        try:
            buffer = device.memory_resource.allocate(nbytes, stream=stream)
        except Exception as error:
            if "OUT_OF_MEMORY" in str(error):
                raise MemoryError(str(error)) from error
            raise
        return int(buffer.handle), buffer

    def allocate(self, nbytes: int, index: int) -> Block:
        pool = self._pool(index)
        try:
            return pool.take(nbytes, self.current_stream(index).handle)
        except MemoryError as error:
            free, total = self.memory_info(index)
            raise OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {nbytes:,} bytes on cuda:{index}, which "
                f"has {total:,} bytes, {free:,} of them free; {pool.allocated:,} are in use here."
            ) from error

    def statistics(self, index: int) -> Pool:
        return self._pool(index)

    def empty_cache(self) -> None:
        for index, pool in self._pools.items():
            self.synchronize(index)
            pool.empty()

    def pinned(self, nbytes: int) -> np.ndarray:
        """Page-locked host memory, kept until the process ends or the array is let go."""
        self._use(getattr(self._here, "index", 0))
        buffer = self.core.LegacyPinnedMemoryResource().allocate(max(nbytes, 1))
        return np.asarray(_Pinned(buffer, nbytes))

    # ---- copies

    def copy_in(self, target: int, source: np.ndarray, index: int, wait: bool = True) -> None:
        self._copy(target, source.ctypes.data, source.nbytes, index)
        if wait:
            self.current_stream(index).synchronize()

    def copy_out(self, target: np.ndarray, source: int, index: int) -> None:
        self._copy(target.ctypes.data, source, target.nbytes, index)
        self.current_stream(index).synchronize()

    def copy(self, target: int, source: int, nbytes: int, index: int) -> None:
        self._copy(target, source, nbytes, index)

    def _copy(self, target: int, source: int, nbytes: int, index: int) -> None:
        self._use(index)
        stream = self.current_stream(index).stream.handle
        (result,) = self.calls.cuMemcpyAsync(target, source, nbytes, stream)
        self.check(result)

    # ---- order

    def synchronize(self, index: int) -> None:
        self._use(index).sync()

    def default_stream(self, index: int) -> GpuStream:
        stream = self._defaults.get(index)
        if stream is None:
            made = GpuStream(self, self._use(index).default_stream, index)
            stream = self._defaults.setdefault(index, made)
        return stream

    def current_stream(self, index: int) -> GpuStream:
        chosen = getattr(self._here, "streams", None)
        return (chosen and chosen.get(index)) or self.default_stream(index)

    def set_stream(self, stream: GpuStream, index: int) -> None:
        if not hasattr(self._here, "streams"):
            self._here.streams = {}
        self._here.streams[index] = stream

    def new_stream(self, index: int, priority: int = 0) -> GpuStream:
        # As in PyTorch, neither it nor the default stream waits for the other unless it is told to.
        options = self.core.StreamOptions(nonblocking=True, priority=priority)
        return GpuStream(self, self._use(index).create_stream(options=options), index)

    def new_event(self, index: int, timing: bool, blocking: bool = False) -> GpuEvent:
        options = {"timing_enabled": timing, "blocking_sync": blocking}
        return GpuEvent(self._use(index).create_event(options=self.core.EventOptions(**options)))

    # ---- kernels

    def load(self, code: bytes, entry: str, index: int) -> Any:
        """The kernel ``entry`` of a cubin, loaded once a device."""
        key = (index, hashlib.sha256(code).hexdigest(), entry)
        kernel = self._kernels.get(key)
        if kernel is None:
            self._use(index)
            module = self.core.ObjectCode.from_cubin(code, name=entry)
            kernel = self._kernels.setdefault(key, module.get_kernel(entry))
        return kernel

    def config(self, grid: int, block: int) -> Any:
        """A one-dimensional launch configuration."""
        return self.core.LaunchConfig(grid=grid, block=block)

    def launch(self, kernel: Any, config: Any, arguments: Sequence[Any], queue: Any) -> None:
        """Put one launch into a queue, or into a graph that is being captured."""
        self.core.launch(queue, config, kernel, *arguments)

    def queue(self, index: int) -> Any:
        """What ``launch`` takes to put work into the current stream."""
        self._use(index)
        return self.current_stream(index).stream

    def capture(self, record: Callable[[Any], None], index: int) -> GpuGraph:
        """A graph of what ``record(queue)`` launches; nothing runs."""
        with self._recorded(record, index) as builder:
            return GpuGraph(builder.complete())

    def recapture(self, graph: GpuGraph, record: Callable[[Any], None], index: int) -> None:
        """Replace the arguments of a graph's launches by those that ``record`` gives them now."""
        with self._recorded(record, index) as builder:
            graph.graph.update(builder)

    @contextlib.contextmanager
    def _recorded(self, record: Callable[[Any], None], index: int) -> Iterator[Any]:
        builder = self._use(index).create_graph_builder()
        try:
            builder.begin_building("thread_local")
            try:
                record(builder)
            finally:
                builder.end_building()
            yield builder
        finally:
            builder.close()


class _Pinned:
    """Bytes of page-locked memory; the array over them keeps this, and this the Buffer."""

    def __init__(self, buffer: Any, nbytes: int) -> None:
        self.buffer = buffer
        where = int(buffer.handle), False
        self.__array_interface__ = {
            "version": 3,
            "shape": (nbytes,),
            "typestr": "|u1",
            "data": where,
        }
