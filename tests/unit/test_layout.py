"""Products stored in their readers' order."""

from graphgrad import dtypes, ir
from graphgrad.ir import Graph, node
from graphgrad.passes.layout import store_permuted
from graphgrad.regions import CONTRACT, LOOP, Plan, Region

F = dtypes.float32


def product(x, w):
    return node("dot_general", x, w, contract=((1,), (0,)), batch=((), ()))


def contraction(dot):
    return Region(CONTRACT, (dot,), dot.inputs, (dot,))


def operands():
    return ir.input((6, 4), F), ir.input((4, 5), F)


def test_the_permuted_product_is_what_is_stored():
    x, w = operands()
    dot = product(x, w)
    turned = node("permute", dot, axes=(1, 0))
    split = node("reshape", turned, shape=(5, 2, 3))
    y = node("exp", split)
    reader = Region(LOOP, (turned, split, y), (dot,), (y,))
    plan = store_permuted(Plan(Graph([x, w], [y]), (contraction(dot), reader)))
    first, second = plan.regions
    assert first.nodes == (dot, turned, split) and first.outputs == (split,)
    assert second.nodes == (y,) and second.inputs == (split,)


def test_a_copy_of_the_permuted_product_disappears():
    x, w = operands()
    dot = product(x, w)
    turned = node("permute", dot, axes=(1, 0))
    copy = Region(LOOP, (turned,), (dot,), (turned,))
    plan = store_permuted(Plan(Graph([x, w], [turned]), (contraction(dot), copy)))
    assert [r.outputs for r in plan] == [(turned,)]


def test_readers_of_such_a_copy_read_the_product():
    x, w = operands()
    dot = product(x, w)
    turned = node("permute", dot, axes=(1, 0))
    flat = node("reshape", turned, shape=(30,))
    y = node("exp", flat)
    copy = Region(LOOP, (turned,), (dot,), (turned,))
    reader = Region(LOOP, (flat, y), (turned,), (y,))
    plan = store_permuted(Plan(Graph([x, w], [y]), (contraction(dot), copy, reader)))
    assert [(r.inputs, r.outputs) for r in plan] == [((x, w), (flat,)), ((flat,), (y,))]


def test_a_product_with_other_readers_stays():
    x, w = operands()
    dot = product(x, w)
    y = node("add", dot, node("reshape", node("permute", dot, axes=(1, 0)), shape=(6, 5)))
    reader = Region(LOOP, (*y.inputs[1].inputs, y.inputs[1], y), (dot,), (y,))
    plan = Plan(Graph([x, w], [y]), (contraction(dot), reader))
    assert store_permuted(plan) is plan


def test_a_reshape_alone_is_left_to_the_reader():
    x, w = operands()
    dot = product(x, w)
    y = node("exp", node("reshape", dot, shape=(30,)))
    plan = Plan(Graph([x, w], [y]), (contraction(dot), Region(LOOP, (*y.inputs, y), (dot,), (y,))))
    assert store_permuted(plan) is plan
