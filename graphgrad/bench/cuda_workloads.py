"""What is measured on a GPU: lines bound by memory, products, and the training steps of the table.

    step = placed(workload).build(torch, torch.compile)     # everything it makes is on the device

``nbytes`` are those that no program can do without: each input read once, each result written once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from graphgrad.bench import workloads as common
from graphgrad.bench.workload import Builder, Step, Workload, arrays

MEGA = 1 << 20
# Rows whose time is memory's should reach this share of what a copy reaches.
EXPECTED_SHARE = 0.8


@dataclass(frozen=True)
class DeviceWorkload(Workload):
    """A row with the bytes that it has to move; 0 where that is not what bounds it."""

    nbytes: int = 0


class Space:
    """A ``torch``-like namespace whose ``from_numpy`` is on a device."""

    def __init__(self, inner: Any, device: str) -> None:
        self.inner, self.device = inner, device

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def from_numpy(self, array: Any) -> Any:
        """A copy of an array on the device."""
        return self.inner.from_numpy(array).to(self.device)


def placed(workload: Workload, device: str = "cuda") -> Workload:
    """The same workload, with all that it makes on a device."""

    def build(t: Any, compile: Callable[[Any], Any]) -> Step:
        with t.device(device):
            return workload.build(Space(t, device), compile)

    return replace(workload, build=build)


# ---- bound by memory -----------------------------------------------------------------------------


def _over(*shapes: tuple[int, ...]) -> Callable[[Callable[..., Any]], Builder]:
    """A builder of a function over the namespace and standard-normal arrays of these shapes."""

    def decorate(function: Callable[..., Any]) -> Builder:
        def build(t: Any, compile: Callable[[Any], Any]) -> Step:
            inputs = [t.from_numpy(x) for x in arrays(*shapes)]
            step = compile(lambda *xs: function(t, *xs))
            return lambda: step(*inputs)

        return build

    return decorate


def memory_rows(scale: int = 64 * MEGA) -> tuple[DeviceWorkload, ...]:
    """Lines over about ``scale`` numbers each."""
    side = int(scale**0.5) // 64 * 64 or 64
    square, flat, rows = (side, side), (side * side,), (scale // 1024, 1024)
    item, whole = 4, 4 * side * side
    long = item * rows[0] * rows[1]
    lookups = (max(scale // 1024, 1), 256)

    def gathered(t: Any, compile: Callable[[Any], Any]) -> Step:
        (table,) = (t.from_numpy(x) for x in arrays((4096, 256)))
        index = t.from_numpy(common.labels(lookups[0], 4096))
        step = compile(lambda index, table: t.nn.functional.embedding(index, table))
        return lambda: step(index, table)

    lines: list[tuple[str, Any, int]] = [
        ("x·2 + 1", _over(flat)(lambda t, x: x * 2 + 1), 2 * whole),
        ("gelu(x·b + x)·σ(b)", _over(flat, flat)(_gelu), 3 * whole),
        ("sum of all", _over(flat)(lambda t, x: x.sum()), whole),
        ("sums of rows", _over(square)(lambda t, x: x.sum(1)), whole),
        ("sums of columns", _over(square)(lambda t, x: x.sum(0)), whole),
        ("softmax", _over(rows)(lambda t, x: t.softmax(x, -1)), 2 * long),
        ("layer_norm", _over(rows)(_layer_norm), 2 * long),
        ("transpose + 1", _over(square)(lambda t, x: (x.t() + 1).contiguous()), 2 * whole),
        ("embedding", gathered, 2 * item * lookups[0] * lookups[1]),
    ]
    return tuple(DeviceWorkload(name, build, nbytes=n) for name, build, n in lines)


def _gelu(t: Any, x: Any, b: Any) -> Any:
    return t.nn.functional.gelu(x * b + x) * t.sigmoid(b)


def _layer_norm(t: Any, x: Any) -> Any:
    return t.nn.functional.layer_norm(x, (1024,))


# ---- products ------------------------------------------------------------------------------------


def product_rows(side: int = 4096) -> tuple[DeviceWorkload, ...]:
    """Matrix products and convolutions, in float32."""
    batch, part, channels, image = side // 64, side // 8, max(side // 64, 1), max(side // 64, 4)
    flops = 2 * 9 * channels**2 * image**2 * batch

    def linear(t: Any, x: Any, w: Any, b: Any) -> Any:
        return t.relu(t.nn.functional.linear(x, w, b))

    def convolution(t: Any, x: Any, w: Any) -> Any:
        return t.nn.functional.conv2d(x, w, padding=1)

    images = (batch, channels, image, image), (channels, channels, 3, 3)
    square = (side, side)
    return (
        DeviceWorkload(
            f"matmul {side}³", _over(square, square)(lambda t, a, b: a @ b), flops=2 * side**3
        ),
        DeviceWorkload(
            f"matmul {batch}×{part}³",
            _over((batch, part, part), (batch, part, part))(lambda t, a, b: a @ b),
            flops=2 * batch * part**3,
        ),
        DeviceWorkload(
            f"linear, relu {side}", _over(square, square, (side,))(linear), flops=2 * side**3
        ),
        DeviceWorkload(
            f"conv 3×3, {batch}×{channels}×{image}²", _over(*images)(convolution), flops=flops
        ),
    )


def rows() -> list[Workload]:
    """All rows, in the order of the table."""
    training = [w for w in common.MAIN if not w.flops and "gelu" not in w.name]
    return [*memory_rows(), *product_rows(), *training]


# Training steps that are compared with the CPU's before anything is timed.
CHECKED = [w for w in common.MAIN if not w.flops]
