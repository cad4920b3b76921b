"""What a GPU can do, measured: the rate of a copy inside it, and of matrix products.

card = measured()        # of the current device; rates by the best program that is installed
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import graphgrad

COPIED = 1 << 30
SIDE = 8192
REPEATS = 10


@dataclass(frozen=True)
class Card:
    """A device's name, and what it was measured to do: bytes and operations a second."""

    name: str
    capability: tuple[int, int]
    memory: int
    copy_bandwidth: float
    matmul_rate: float
    matmul_by: str
    emulated: bool = False

    def __str__(self) -> str:
        kind = f"{self.name}, sm_{self.capability[0]}{self.capability[1]}"
        if self.emulated:
            return f"{kind}: rates mean nothing"
        return (
            f"{kind}: copies {self.copy_bandwidth / 1e9:,.0f} GB/s (read and written), float32 "
            f"products {self.matmul_rate / 1e12:.1f} TFLOP/s ({self.matmul_by})"
        )

    def json(self) -> dict[str, Any]:
        """Every number."""
        return asdict(self)


def measured() -> Card:
    """The current device; RuntimeError says what is missing where there is none."""
    has = graphgrad.cuda.get_device_properties()
    capability = (has.major, has.minor)
    if graphgrad.config.cuda == "emulate":
        return Card(has.name, capability, has.total_memory, 0.0, 0.0, "", emulated=True)
    products = {"graphgrad": _product(graphgrad, graphgrad.compile)}
    if importlib.util.find_spec("torch"):
        torch = importlib.import_module("torch")
        if torch.cuda.is_available():
            products["torch"] = _product(torch, lambda function: function)
    best = max(products, key=products.__getitem__)
    return Card(has.name, capability, has.total_memory, _copy(), products[best], best)


def seconds_of(step: Callable[[], Any], count: int) -> float:
    """Seconds a step, of ``count`` in a row, by events on the default stream."""
    start, end = (graphgrad.cuda.Event(enable_timing=True) for _ in range(2))
    start.record(graphgrad.cuda.default_stream())
    for _ in range(count):
        step()
    end.record(graphgrad.cuda.default_stream())
    end.synchronize()
    return start.elapsed_time(end) / 1e3 / count


def _copy() -> float:
    """Bytes read and written by a copy within the device, a second."""
    from graphgrad.kernels.cuda.driver import driver

    gpu, index = driver(), graphgrad.cuda.current_device()
    source, target = gpu.allocate(COPIED, index), gpu.allocate(COPIED, index)

    def step() -> None:
        gpu.copy(target.pointer, source.pointer, COPIED, index)

    step()
    return 2 * COPIED / min(seconds_of(step, 1) for _ in range(REPEATS))


def _product(t: Any, compile: Callable[[Any], Any]) -> float:
    """Operations a second of a large float32 product."""
    a, b = (t.ones(SIDE, SIDE, device="cuda") for _ in range(2))
    product = compile(lambda a, b: a @ b)
    for _ in range(3):
        product(a, b)
    return 2 * SIDE**3 / min(seconds_of(lambda: product(a, b), 1) for _ in range(REPEATS))
