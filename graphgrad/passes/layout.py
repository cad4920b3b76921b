"""Products are written in the order their readers want."""

from __future__ import annotations

from dataclasses import replace

from graphgrad.ir import Node
from graphgrad.regions import CONTRACT, Plan, Region


def store_permuted(plan: Plan) -> Plan:
    """Let a contraction write what its only readers make of it, a permute and reshapes of that.

    before  d = dot_general(w, k) [n, h, w, c]   |   relu(permute(d))  reads d across its rows
    after   p = permute(dot_general(w, k))       |   relu(p)           reads p along its rows

    The engine writes any strides equally well; a loop over a permuted operand does not vectorise.
    """
    users = plan.graph.users()
    outputs = set(plan.graph.outputs)
    chains: dict[Region, list[Node]] = {}
    for region in plan:
        if region.kind == CONTRACT and len(region.outputs) == 1:
            chain = _chain(region.outputs[0], users, outputs)
            if chain:
                chains[region] = chain
    return replace(plan, regions=_rebuilt(plan, chains)) if chains else plan


def _chain(y: Node, users: dict[Node, list[Node]], outputs: set[Node]) -> list[Node]:
    """The permutes of ``y``, then reshapes, that are each the only reader of what is before."""
    chain: list[Node] = []
    while y not in outputs and len(users[y]) == 1:
        (user,) = users[y]
        reshaping = bool(chain) and user.op.name == "reshape"
        permuting = user.op.name == "permute" and all(x.op.name == "permute" for x in chain)
        if not (reshaping or permuting):
            break
        chain.append(user)
        y = user
    return chain


def _rebuilt(plan: Plan, chains: dict[Region, list[Node]]) -> tuple[Region, ...]:
    moved = {x for chain in chains.values() for x in chain}
    stored = {x: chain[-1] for region, chain in chains.items() for x in (region.outputs[0], *chain)}
    regions = []
    for region in plan:
        chain = chains.get(region, [])
        outputs = tuple(chain[-1:]) or tuple(y for y in region.outputs if y not in moved)
        # A region that only copied the permuted product has nothing left to do.
        if outputs:
            nodes = (*(x for x in region.nodes if x not in moved), *chain)
            inputs = tuple(dict.fromkeys(stored.get(x, x) for x in region.inputs))
            regions.append(replace(region, nodes=nodes, inputs=inputs, outputs=outputs))
    return tuple(regions)
