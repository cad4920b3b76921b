"""Contractions as kernel calls: a ``dot_general`` over views becomes operands of the packed engine.

    calls = lower_contraction(region)       # slots name nodes, as those of lowered loops do

Operands are read through their views, so a transposed matrix, a broadcast one and the sliding
windows of a convolution are read where they lie. The result is written in the layout of the
region's output: permutes and reshapes that follow the product inside the region cost nothing.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

from graphgrad.ir import Node
from graphgrad.regions import Region
from graphgrad.views import View, resolve

from .contract.names import KernelName
from .contract.plan import Operand, plan_contraction

FLOPS_A_NS = 50.0  # of a small product; what matters is whether it is worth a thread


@dataclass(frozen=True, eq=False)
class ContractCall:
    """One call of an engine kernel; ``key`` names it, the rest is as in a lowered loop."""

    key: KernelName
    slots: tuple[tuple[Any, ...], ...]
    extent: int
    grain: int
    scratch_bytes: int
    ns: float
    kept_bytes: int = 0
    once: bool = False  # before the loop that the region is in: it fills what is kept


def lower_contraction(region: Region, fixed: Container[Node] = ()) -> tuple[ContractCall, ...]:
    """Kernel calls of a contraction; NotImplementedError for dtypes without micro-kernels.

    ``fixed`` are values that stay the same while the region runs many times.
    """
    product = product_of(region)
    dot, a, b = product.dot, product.a, product.b
    same = "".join(name for name, x in zip("AB", (a, b), strict=True) if x.base in fixed)
    plan = plan_contraction(dot.dtype.name, *product.operands, same)
    item = dot.dtype.itemsize
    pointers = {
        "A": ("ptr", a.base, a.offset * item),
        "B": ("ptr", b.base, b.offset * item),
        "C": ("ptr", product.target, 0),
    }
    return tuple(
        ContractCall(
            call.kernel,
            tuple(pointers[s[1]] if s[0] == "ptr" else s for s in call.slots),
            call.extent,
            call.grain,
            plan.scratch_bytes,
            plan.flops / FLOPS_A_NS,
            plan.kept_bytes,
            call.once,
        )
        for call in plan.kernels
    )


@dataclass(frozen=True, eq=False)
class Product:
    """The product of a region: its operands as views of memory, and the node it is written to.

    ``operands`` are the index maps of A, B and C, strides in elements.
    """

    dot: Node
    target: Node
    a: View
    b: View
    operands: tuple[Operand, Operand, Operand]


def product_of(region: Region, target: Node | None = None) -> Product:
    """What a contraction region computes; NotImplementedError where an operand is no view.

    ``target``: the product as the region's other nodes read it, if its outputs are not that.
    """
    (dot,) = (x for x in region.nodes if x.op.name == "dot_general")
    if target is None:
        (target,) = region.outputs
    a, b = (_view(x, region) for x in dot.inputs)
    operands = _operands(dot, a.strides, b.strides, result_strides(dot, target))
    return Product(dot, target, a, b, operands)


def _view(x: Node, region: Region) -> View:
    view = resolve(x, set(region.inputs))
    if view is None:
        raise NotImplementedError(f"{x!r}, an operand of a product, is no view of memory")
    return view


def _operands(
    dot: Node, a: Sequence[int], b: Sequence[int], c: Sequence[int]
) -> tuple[Operand, Operand, Operand]:
    """The index maps of both operands and the result, given the strides of their dimensions."""
    (contract_a, contract_b), (batch_a, batch_b) = dot.attrs["contract"], dot.attrs["batch"]
    left, right = dot.inputs
    free_a = [i for i in range(len(left.shape)) if i not in (*contract_a, *batch_a)]
    free_b = [i for i in range(len(right.shape)) if i not in (*contract_b, *batch_b)]

    def dims(x: Node, strides: Sequence[int], axes: Sequence[int]) -> tuple[tuple[int, int], ...]:
        return tuple((x.shape[i], strides[i]) for i in axes)

    batch = range(len(batch_a))
    rows = range(len(batch_a), len(batch_a) + len(free_a))
    columns = range(len(batch_a) + len(free_a), len(dot.shape))
    return (
        Operand(dims(left, a, free_a), dims(left, a, contract_a), dims(left, a, batch_a)),
        Operand(dims(right, b, contract_b), dims(right, b, free_b), dims(right, b, batch_b)),
        Operand(dims(dot, c, rows), dims(dot, c, columns), dims(dot, c, batch)),
    )


def result_strides(dot: Node, target: Node) -> tuple[int, ...]:
    """Element strides of the product's dimensions in the memory of ``target``.

    ``target`` is the product itself, or follows from it by permutes and then reshapes, which only
    rename contiguous memory.
    """
    permutes = []
    x = target
    while x is not dot and x.op.name == "reshape":
        x = x.inputs[0]
    while x is not dot:
        if x.op.name != "permute":
            raise NotImplementedError(f"a product written through {x.op.name}")
        permutes.append(x)
        x = x.inputs[0]
    axes = list(range(len(dot.shape)))
    for x in reversed(permutes):
        axes = [axes[i] for i in x.attrs["axes"]]
    strides, step = [0] * len(axes), 1
    for axis in reversed(axes):
        strides[axis] = step
        step *= dot.shape[axis]
    return tuple(strides)
