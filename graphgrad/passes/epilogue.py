"""Products that compute what their only readers make of them, before anything is written.

    plan = join_epilogues(plan, accepts, written)

For devices whose product kernels hold a result in registers: bias, activation and mask cost no
walk over memory there.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import replace

from graphgrad.ir import Node
from graphgrad.regions import CONTRACT, LOOP, Plan, Region
from graphgrad.views import VIEWS

MAX_OPERATIONS = 12  # registers and code of a kernel that is written out many times


def join_epilogues(
    plan: Plan, accepts: Callable[[Region], bool], written: Container[Node] = ()
) -> Plan:
    """Let a contraction region absorb the elementwise region that alone reads its product.

    before  d = dot_general(x, w)   |   relu(d + b)     two regions: d is written and read
    after   relu(dot_general(x, w) + b)                 one

    So with window_sum(d), the gradient of a convolution with strides by its data.

    ``accepts`` says whether the device has such a kernel. ``written`` outputs replace an input's
    array: a loop writes them over it, a product may not.
    """
    readers: dict[Node, list[Region]] = {}
    for region in plan:
        for x in region.inputs:
            readers.setdefault(x, []).append(region)
    outputs = set(plan.graph.outputs)
    joined: dict[Region, Region] = {}
    for region in plan:
        other = _reader(region, readers, outputs)
        if other is None or other in joined or any(y in written for y in other.outputs):
            continue
        together = _together(region, other)
        if accepts(together):
            joined[other] = together
            joined[region] = together
    regions = [joined.get(r, r) for r in plan if r.kind != CONTRACT or r not in joined]
    return replace(plan, regions=tuple(regions)) if joined else plan


def _reader(
    region: Region, readers: dict[Node, list[Region]], outputs: Container[Node]
) -> Region | None:
    """The one region that reads a product, if it is elementwise over the product's elements, or
    nothing but a sum of its windows."""
    if region.kind != CONTRACT or len(region.outputs) != 1 or region.outputs[0] in outputs:
        return None
    (product,) = region.outputs
    others = readers.get(product, [])
    if len(others) != 1 or others[0].kind != LOOP:
        return None
    (other,) = others
    plain = [x for x in other.nodes if x.op.name not in VIEWS and x.op.kind != "source"]
    if [x.op.name for x in plain] == ["window_sum"]:
        return other
    if len(plain) > MAX_OPERATIONS or any(x.op.kind != "elementwise" for x in plain):
        return None
    return other if all(y.shape == product.shape for y in other.outputs) else None


def _together(region: Region, other: Region) -> Region:
    (product,) = region.outputs
    nodes = dict.fromkeys((*region.nodes, *other.nodes))
    inputs = dict.fromkeys((*region.inputs, *(x for x in other.inputs if x is not product)))
    return Region(CONTRACT, tuple(nodes), tuple(inputs), other.outputs)
