"""cuda.core and the driver's calls without a GPU: what GpuDriver sees in tests.

    gpu = fake_driver()                      # a GpuDriver over it
    with installed(gpu): ...                 # as if this machine had one

Device memory is host memory, kernels are the emulated ones. Queues are as lazy as a GPU may be:
nothing in a stream runs before somebody waits for it, page-locked memory is read when a copy runs,
and memory that was given back is filled with garbage. So a missing wait, or a graph that is
replayed after its memory moved, gives wrong numbers here too. Every call is recorded in ``log``.
"""

from __future__ import annotations

import contextlib
import ctypes
import pickle
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from graphgrad.kernels import cache
from graphgrad.kernels.cuda import compiler
from graphgrad.kernels.cuda import driver as drivers
from graphgrad.kernels.cuda.gpu import GpuDriver
from graphgrad.kernels.cuda.runner import arenas
from graphgrad.kernels.layout import KERNEL_TYPE
from graphgrad.kernels.memory import array_at, new_block

from graphgrad.compile import _memo
from graphgrad.config import config
from graphgrad.optim import update

log: list[tuple[Any, ...]] = []
BYTES = np.dtype(np.uint8)


def _at(address: int, nbytes: int) -> np.ndarray:
    return array_at(address, (nbytes,), BYTES)


# ---- kernels -------------------------------------------------------------------------------------


def machine_code(kernel: Any, arch: str) -> bytes:
    """In place of the compiler's: code that only this module can read."""
    assert arch == "sm_90"
    log.append(("compile", kernel.name))
    return pickle.dumps(kernel)


def compilers() -> tuple[str, ...]:
    """Such code is kept under names of its own."""
    return ("fake_cuda",)


class Kernel:
    """A grid kernel that runs on the CPU, block after block."""

    def __init__(self, grid: Any) -> None:
        self.grid = grid
        source, self.arrays = grid.emulation
        self.loaded = cache.load_kernel(grid.name, source)

    def run(self, blocks: int, arguments: tuple[Any, ...]) -> None:
        pairs = zip(self.grid.signature, arguments, strict=True)
        words = [_word(kind, x) for kind, x in pairs]
        if not self.grid.grouped:
            self.run_slots(blocks, words)
            return
        table, tables = words
        width = len(self.grid.parameters)
        whole = array_at(table, (tables * (1 + width),), np.dtype(np.int64)).tolist()
        stops = [*whole[1:tables], blocks]
        for t, (start, stop) in enumerate(zip(whole, stops, strict=False)):
            first = tables + t * width
            self.run_slots(stop - start, whole[first : first + width])

    def run_slots(self, blocks: int, words: list[int]) -> None:
        """Over one table of slots."""
        words = list(words)
        scratch = [new_block(max(n, 64)) for n in self.arrays]
        words += [block.address for block in scratch]
        table = (ctypes.c_int64 * len(words))(*words)
        KERNEL_TYPE(self.loaded.address)(table, 0, blocks, 0)


CTYPES = {
    "i32": ctypes.c_int32,
    "i64": ctypes.c_int64,
    "f32": ctypes.c_float,
    "f64": ctypes.c_double,
}


def _word(kind: str, x: Any) -> int:
    if kind == "ptr":
        assert type(x) is int, f"a pointer is passed as int, not {x!r}"
        return x
    assert type(x) is CTYPES[kind], f"{kind} is passed as {CTYPES[kind]}, not {x!r}"
    if isinstance(x.value, float):
        return struct.unpack("<q", struct.pack("<d", x.value))[0]
    return x.value


class ObjectCode:
    def __init__(self, code: bytes) -> None:
        self.code = code

    @staticmethod
    def from_cubin(module: bytes, *, name: str = "", symbol_mapping: Any = None) -> ObjectCode:
        log.append(("load", name))
        return ObjectCode(module)

    def get_kernel(self, name: str) -> Kernel:
        kernel = pickle.loads(self.code)
        assert kernel.name == name
        return Kernel(kernel)


# ---- queues --------------------------------------------------------------------------------------


class Stream:
    """Work that waits until somebody waits for it."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.waiting: list[Callable[[], None]] = []

    def put(self, work: Callable[[], None]) -> None:
        self.waiting.append(work)

    def sync(self) -> None:
        log.append(("sync", self.handle))
        self.drain()

    def drain(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()

    def wait(self, event_or_stream: Any) -> None:
        log.append(("wait", self.handle))
        if isinstance(event_or_stream, Stream):
            other = event_or_stream
            self.put(other.drain)
        else:
            self.put(event_or_stream.sync)

    def record(self, event: Event | None = None, options: Any = None) -> Event:
        assert event is not None
        event.done = False
        event.stream = self

        def reached() -> None:
            event.done, event.at = True, time.perf_counter()

        self.put(reached)
        return event


class Event:
    def __init__(self, options: Any) -> None:
        self.options, self.done, self.at = options, True, 0.0
        self.stream: Stream | None = None

    def sync(self) -> None:
        while not self.done and self.stream is not None and self.stream.waiting:
            self.stream.waiting.pop(0)()

    @property
    def is_done(self) -> bool:
        return self.done

    def __sub__(self, other: Event) -> float:
        assert self.options.timing_enabled and other.options.timing_enabled
        assert self.done and other.done, "an event is asked before it is past"
        return 1e3 * (self.at - other.at)


@dataclass
class Graph:
    """Launches recorded by a builder."""

    nodes: list[tuple[Any, Any, tuple[Any, ...]]] = field(default_factory=list)

    def launch(self, stream: Stream) -> None:
        log.append(("graph", len(self.nodes)))
        nodes = list(self.nodes)
        stream.put(lambda: [_execute(*node) for node in nodes])

    def update(self, source: Builder) -> None:
        assert [node[1] for node in source.nodes] == [node[1] for node in self.nodes]
        log.append(("update", len(self.nodes)))
        self.nodes = list(source.nodes)


class Builder:
    """A graph builder: what is launched into it does not run."""

    def __init__(self) -> None:
        self.nodes: list[tuple[Any, Any, tuple[Any, ...]]] = []
        self.state = "new"

    def begin_building(self, mode: str = "relaxed") -> Builder:
        assert self.state == "new" and mode in ("global", "thread_local", "relaxed")
        self.state = "building"
        return self

    def end_building(self) -> Builder:
        assert self.state == "building"
        self.state = "built"
        return self

    def complete(self, options: Any = None) -> Graph:
        assert self.state == "built"
        log.append(("capture", len(self.nodes)))
        return Graph(list(self.nodes))

    def close(self) -> None:
        self.state = "closed"


@dataclass(frozen=True)
class LaunchConfig:
    grid: int
    block: int

    def __post_init__(self) -> None:
        assert 1 <= self.block <= 1024 and 1 <= self.grid < 1 << 31


def _execute(config: LaunchConfig, kernel: Kernel, arguments: tuple[Any, ...]) -> None:
    kernel.run(config.grid, arguments)


def launch(stream: Any, config: LaunchConfig, kernel: Kernel, *kernel_args: Any) -> None:
    assert config.block == kernel.grid.block
    if isinstance(stream, Builder):
        assert stream.state == "building"
        stream.nodes.append((config, kernel, kernel_args))
        return
    log.append(("launch", kernel.grid.name))
    stream.put(lambda: _execute(config, kernel, kernel_args))


# ---- memory --------------------------------------------------------------------------------------


class Buffer:
    """Memory of the device, or page-locked; garbage once nobody holds it."""

    def __init__(self, size: int, ranges: dict[int, int]) -> None:
        self.block, self.size, self.ranges = new_block(size), size, ranges
        self.block[:] = 0xA5
        self.handle = self.block.address
        ranges[self.handle] = size

    def __del__(self) -> None:
        self.block[:] = 0x5A
        self.ranges.pop(self.handle, None)


class MemoryResource:
    def __init__(self, device: Device) -> None:
        self.device = device

    def allocate(self, size: int, *, stream: Any) -> Buffer:
        if sum(self.device.memory.values()) + size > TOTAL:
            raise RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: no more")
        log.append(("allocate", size))
        return Buffer(size, self.device.memory)


pinned: dict[int, int] = {}
TOTAL = 1 << 26


class LegacyPinnedMemoryResource:
    def allocate(self, size: int, *, stream: Any = None) -> Buffer:
        log.append(("pin", size))
        return Buffer(size, pinned)


def _inside(address: int, ranges: dict[int, int]) -> bool:
    return any(first <= address < first + size for first, size in ranges.items())


# ---- devices -------------------------------------------------------------------------------------


class Capability(NamedTuple):
    major: int
    minor: int


class Device:
    made: dict[int, Device] = {}

    def __new__(cls, device_id: int = 0) -> Device:
        known = cls.made.get(device_id)
        if known is None:
            known = cls.made[device_id] = super().__new__(cls)
            known.memory = {}
            known.default_stream = Stream(0)
            known.streams = [known.default_stream]
            known.memory_resource = MemoryResource(known)
        return known

    memory: dict[int, int]
    default_stream: Stream
    streams: list[Stream]
    memory_resource: MemoryResource
    name = "a GPU that is not there"
    compute_capability = Capability(9, 0)
    properties = SimpleNamespace(
        multiprocessor_count=132,
        warp_size=32,
        max_threads_per_multiprocessor=2048,
        max_shared_memory_per_block=49152,
        l2_cache_size=50 << 20,
    )

    def set_current(self, ctx: Any = None) -> None:
        log.append(("current", self))

    def sync(self) -> None:
        for stream in self.streams:
            stream.drain()

    def create_stream(self, obj: Any = None, options: Any = None) -> Stream:
        stream = Stream(0x1000 + len(self.streams))
        self.streams.append(stream)
        return stream

    def create_event(self, options: Any = None) -> Event:
        return Event(options)

    def create_graph_builder(self) -> Builder:
        return Builder()


@dataclass
class EventOptions:
    timing_enabled: bool | None = False
    blocking_sync: bool | None = False


@dataclass
class StreamOptions:
    nonblocking: Any = True
    priority: int | None = None


core = SimpleNamespace(
    Device=Device,
    EventOptions=EventOptions,
    StreamOptions=StreamOptions,
    LaunchConfig=LaunchConfig,
    LegacyPinnedMemoryResource=LegacyPinnedMemoryResource,
    ObjectCode=ObjectCode,
    launch=launch,
)


class CUresult:
    CUDA_SUCCESS, CUDA_ERROR_NOT_READY = "success", "not ready"


def cuMemcpyAsync(dst: int, src: int, nbytes: int, stream: int) -> tuple[str]:
    (queue,) = (s for d in Device.made.values() for s in d.streams if s.handle == stream)
    on_device = [d.memory for d in Device.made.values()]
    lazy = _inside(src, pinned) or any(_inside(src, ranges) for ranges in on_device)
    log.append(("copy", nbytes))
    content = _at(src, nbytes) if lazy else _at(src, nbytes).copy()

    def copy() -> None:
        _at(dst, nbytes)[:] = content

    queue.put(copy)
    return (CUresult.CUDA_SUCCESS,)


def cuMemGetInfo() -> tuple[str, int, int]:
    used = sum(sum(d.memory.values()) for d in Device.made.values())
    return CUresult.CUDA_SUCCESS, TOTAL - used, TOTAL


def cuStreamQuery(stream: int) -> tuple[str]:
    (queue,) = (s for d in Device.made.values() for s in d.streams if s.handle == stream)
    return (CUresult.CUDA_ERROR_NOT_READY if queue.waiting else CUresult.CUDA_SUCCESS,)


calls = SimpleNamespace(
    CUresult=CUresult,
    cuMemcpyAsync=cuMemcpyAsync,
    cuMemGetInfo=cuMemGetInfo,
    cuStreamQuery=cuStreamQuery,
)


def fake_driver(count: int = 1) -> GpuDriver:
    """A GpuDriver over all this; streams and memory begin anew."""
    Device.made.clear()
    log.clear()
    return GpuDriver(core, calls, count)


@contextlib.contextmanager
def installed(gpu: GpuDriver) -> Iterator[GpuDriver]:
    """As if this machine had a GPU."""
    found = drivers._found
    code, versions = compiler.machine_code, compiler.compilers
    drivers._found = lambda: gpu  # type: ignore[assignment]
    compiler.machine_code, compiler.compilers = machine_code, compilers  # type: ignore[assignment]
    _forget()
    try:
        with config.scope(cuda="auto", cuda_blas="own", cuda_dnn="own"):
            yield gpu
    finally:
        _forget()
        drivers._found = found
        compiler.machine_code, compiler.compilers = code, versions


def _forget() -> None:
    """Let go of programs and memory of a device that will be no more."""
    _memo.clear()
    update._programs.clear()
    arenas.clear()
