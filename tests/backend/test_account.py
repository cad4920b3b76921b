"""What became of every node: each traced one maps to a kernel, or to what removed it, and back."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from growing import grow

import graphgrad as gg
from graphgrad import interpret, ir, lang
from graphgrad.bench.contestants import Compiler
from graphgrad.bench.workloads import MAIN
from graphgrad.compile import PIPELINE, Executable, compile_graph, optimise
from graphgrad.dtypes import float32
from graphgrad.ir import Graph, Node
from graphgrad.passes.account import KEPT, MERGED, MOVED, REMOVED, REWRITTEN, Account
from graphgrad.passes.simplify import RULES

MODELS = ("sin", "MLP", "LeNet", "LSTM", "GPT", "ResNet")
# What may be named as the reason of a removal: passes, their parts, and rules of simplify.
PARTS = (
    "merge_scans save_values sum_afterwards take_in one_hot stepwise keep_residuals plain_products "
    "fewer_products"
)
KNOWN = {
    *PARTS.split(),
    *(step.__name__ for step in PIPELINE),
    *(rule.__name__ for rules in RULES.values() for rule in rules),
}


@functools.cache
def traced(name: str) -> Any:
    """The Executable of a workload's step, which is not run."""
    (workload,) = (w for w in MAIN if w.name.startswith(name))
    compiler = Compiler()
    workload.build(gg, compiler)
    (step,) = compiler.functions
    return step.trace().executable


@functools.cache
def accounted(name: str) -> tuple[Account, Any]:
    return traced(name).account()


@pytest.mark.parametrize("name", MODELS)
def test_every_traced_node_is_in_a_kernel_or_was_removed_by_something_known(name: str) -> None:
    book, compiled = accounted(name)
    homes = compiled.making.homes()
    assert len(book.traced) >= 40
    for x in book.traced:
        removal = book.removal(x)
        if removal is not None:
            assert removal[1] and set(removal[1]) <= KNOWN, (x, removal)
            assert all(y.op.name == "input" for y in book.final(x))
        else:
            assert any(homes.get(y) for y in book.final(x)), (x, book.journey(x))


@pytest.mark.parametrize("name", MODELS)
def test_every_kernel_comes_from_traced_nodes(name: str) -> None:
    book, compiled = accounted(name)
    for region in compiled.making.regions():
        for y in region.nodes:
            assert book.first(y), (region.name, y)
    rows = {r.nodes for regions in compiled.making.row_regions.values() for r in regions}
    assert rows <= {r.nodes for r in compiled.making.regions()}


@pytest.mark.parametrize("name", MODELS)
def test_the_two_directions_agree(name: str) -> None:
    book, _ = accounted(name)
    for step in book.steps:
        for x, fate in step.fates.items():
            assert all(x in step.sources[y] for y in fate.into), (step.name, x, fate)
            assert (fate.kind == REMOVED) is not bool(fate.into)


def values_of(graph: Graph, arrays: list[Any]) -> dict[Node, Any]:
    nodes = [x for x in graph.nodes if not x.op.results]
    return dict(zip(nodes, interpret.run(Graph(graph.inputs, nodes), arrays), strict=True))


@pytest.mark.parametrize("name", ["sin", "MLP", "LeNet", "LSTM"])
def test_what_stands_for_a_node_has_its_value(name: str) -> None:
    """The account is checked by arithmetic: stages are interpreted, and values compared."""
    executable, (book, _) = traced(name), accounted(name)
    rng = np.random.default_rng(0)
    arrays = [_array(x, rng) for x in executable.graph.inputs]
    values = [values_of(graph, arrays) for _, graph in book.graphs]
    compared = 0
    for step, before, after in zip(book.steps, values, values[1:], strict=False):
        for x, fate in step.fates.items():
            same = [y for y in fate.into if y in after and y.shape == x.shape]
            if x in before and same:
                close = (np.allclose(before[x], after[y], 1e-3, 1e-5) for y in same)
                assert any(close), (step.name, x, fate)
                compared += 1
    assert compared > 3 * len(book.traced)


def _array(x: Node, rng: np.random.Generator) -> np.ndarray:
    if x.dtype.numpy.kind in "iu":
        return rng.integers(0, 5, x.shape).astype(x.dtype.numpy)
    return (rng.random(x.shape) + 0.5).astype(x.dtype.numpy)


def account_of(graph: Graph) -> tuple[Account, Graph]:
    book = Account()
    with book.listening():
        result = optimise(graph, account=book)
        book.close(result.nodes)
    return book, result


@pytest.mark.parametrize("seed", range(24))
def test_random_graphs_are_accounted_for(seed: int) -> None:
    graph, arrays = grow(seed, steps=24)
    book, compiled = Executable(graph).account()
    homes = compiled.making.homes()
    for x in book.traced:
        removal = book.removal(x)
        if removal is None:
            # What no kernel computes has nothing to compute.
            assert any(homes.get(y) or not y.size for y in book.final(x)), (x, book.journey(x))
        else:
            assert set(removal[1]) <= KNOWN
    for region in compiled.making.regions():
        assert all(book.first(y) for y in region.nodes), region.name
    values = [values_of(each, arrays) for _, each in book.graphs]
    for step, before, after in zip(book.steps, values, values[1:], strict=False):
        for x, fate in step.fates.items():
            same = [y for y in fate.into if y in after and y.shape == x.shape]
            if x in before and same and not x.op.results:
                pairs = ((before[x], after[y]) for y in same if y.dtype is x.dtype)
                assert any(np.allclose(a, b, 1e-3, 1e-4, equal_nan=True) for a, b in pairs), fate


def test_a_product_with_one_is_dropped_and_its_operand_stands_for_it() -> None:
    x = ir.input((3,), float32, "x")
    e = ir.node("exp", x)
    one = lang.mul(e, 1.0)
    book, result = account_of(Graph([x], [ir.node("neg", one)]))
    journey = dict(book.journey(one))
    assert journey["simplify"].kind == REWRITTEN
    assert journey["simplify"].rules == ("drop_neutral",)
    assert book.final(one) == book.final(e)
    assert book.first(result.outputs[0].inputs[0]) == (e, one)
    (literal,) = (y for y in one.inputs if y.op.name == "scalar")
    assert book.removal(literal) == ("simplify", ("drop_neutral",))


def test_equal_nodes_are_merged_and_the_survivor_comes_from_both() -> None:
    x = ir.input((3,), float32, "x")
    a, b = ir.node("exp", x), ir.node("exp", x)
    total = ir.node("add", a, ir.node("neg", b))
    book, _ = account_of(Graph([x], [total]))
    fates = dict(book.journey(b)[:2])
    assert fates["cse"].kind == MERGED
    assert dict(book.journey(a)[:2])["cse"].kind in (KEPT, MOVED)
    (y,) = book.final(a)
    assert set(book.first(y)) == {a, b}
    # a + (-b) → a - b: the negation is bypassed by a rule about its reader.
    assert book.removal(total.inputs[1]) == ("simplify", ("absorb_negation",))


def test_folding_leads_to_the_literal() -> None:
    x = ir.input((3,), float32, "x")
    root = ir.node("sqrt", lang.scalar(2.0, float32))
    book, _ = account_of(Graph([x], [ir.node("mul", x, root)]))
    assert dict(book.journey(root))["fold"].rules == ("fold",)
    (literal,) = book.final(root)
    assert literal.op.name == "scalar"


def test_unread_results_of_a_loop_are_removed_by_dce() -> None:
    @gg.compile
    def last(xs: Any) -> Any:
        carry, _ = gg.scan(lambda c, x: (c + x, (c * x).exp()), gg.zeros(3), xs)
        return carry

    executable = last.trace(gg.ones(4, 3)).executable
    book, compiled = executable.account()
    (exp,) = (x for x in book.traced if x.op.name == "exp")
    assert book.removal(exp) == ("dce", ("dce",))
    assert all(book.first(y) for region in compiled.making.regions() for y in region.nodes)


def test_nobody_is_told_outside_of_an_account() -> None:
    x = ir.input((3,), float32, "x")
    book, _ = account_of(Graph([x], [ir.node("exp", x)]))
    said = sum(len(step.said) for step in book.steps)
    optimise(Graph([x], [lang.mul(ir.node("exp", x), 1.0)]))
    assert sum(len(step.said) for step in book.steps) == said


def test_a_graph_without_operations_has_an_account() -> None:
    x = ir.input((3,), float32, "x")
    book, compiled = compile_graph(Graph([x], [x]), record=True).account()
    assert not book.traced
    assert compiled.making.plan.graph.outputs == (x,)
