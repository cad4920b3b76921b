"""Sorting on a grid: stable, row by row, by ranks.

First every run of 32 elements: an element's place is how many of its run come before it. Then runs
are merged in pairs, all at once: an element's place is its own number and how many of the other run
come before it, by bisection. NaN counts as larger than every number, as on the CPU.
"""

from __future__ import annotations

import math
from typing import Any

from graphgrad import dtypes
from graphgrad.dtypes import DType
from graphgrad.ir import Node
from graphgrad.regions import Region

from ... import loopir as ir
from .. import gridir as g
from ..call import GridCall
from ..emit import SHORT

RUN = 32
BLOCK = 256
ALIGN = 64
NS_PER_STEP = 2.0

Slots = tuple[tuple[Any, ...], ...]


def lower_sort(region: Region, x: Node) -> list[GridCall]:
    """The kernel calls of a sort region."""
    (operand,) = x.inputs
    if operand.size == 0:
        return []
    axis, descending = x.attrs["axis"], x.attrs["descending"]
    n = operand.shape[axis] if operand.shape else 1
    inner = math.prod(operand.shape[axis + 1 :])
    item = operand.dtype.itemsize
    offsets, total = [], 0
    for nbytes in (operand.size * item, operand.size * 8) * 3:
        offsets.append(total)
        total += -(-nbytes // ALIGN) * ALIGN
    written = {y.attrs["index"]: ("ptr", y) for y in region.outputs}
    result = [written.get(i, ("scratch", offsets[4 + i])) for i in (0, 1)]
    buffers = [[("scratch", offsets[2 * k]), ("scratch", offsets[2 * k + 1])] for k in (0, 1)]
    passes = max(0, math.ceil(math.log2(max(1, n / RUN))))
    count = ("int", operand.size)
    calls = []
    for k in range(passes + 1):
        where = result if k == passes else buffers[k % 2]
        step = inner if k == passes else 1
        if k == 0:
            kernel = _runs(operand.dtype, descending)
            read: list[tuple[Any, ...]] = [("ptr", operand), ("int", inner)]
        else:
            kernel = _merge(operand.dtype, descending)
            read = [*buffers[(k - 1) % 2], ("int", RUN << (k - 1))]
        slots = (count, ("int", n), *where, ("int", step), *read)
        ns = operand.size * NS_PER_STEP * (RUN if k == 0 else math.log2(n))
        grid = -(-operand.size // BLOCK)
        calls.append(GridCall(kernel.name, kernel, slots, grid, total, ns))
    return calls


def before(a: Any, b: Any, dtype: DType, descending: bool) -> Any:
    """Whether `a` has to come before `b`, for numbers of which NaN is the largest."""

    def test(op: str, x: Any, y: Any) -> ir.Call:
        return ir.Call(op, dtypes.bool_, dtype, (x, y))

    def join(op: str, x: Any, y: Any) -> ir.Call:
        return ir.Call(op, dtypes.bool_, dtypes.bool_, (x, y))

    less = test("gt" if descending else "lt", a, b)
    if not dtype.is_floating_point:
        return less
    nan, number = (a, b) if descending else (b, a)
    last = join("bitwise_and", test("ne", nan, nan), test("eq", number, number))
    return join("bitwise_or", less, last)


COUNT, N, VALUES, PLACES, STEP, X, INNER = range(7)
KEYS, ORDER, WIDTH = 5, 6, 7
_KINDS = ("int", "int", "ptr", "ptr", "int")


def _runs(dtype: DType, descending: bool) -> g.GridKernel:
    """Sorts runs of RUN elements."""
    p, first, j, rank = (ir.Var(v) for v in ("p", "first", "j", "rank"))
    at = ir.Arith("+", ir.Var("base"), ir.Arith("*", j, ir.Slot(INNER)))
    other = ir.Let("other", ir.Get(ir.Var("x"), at, dtype))
    earlier = before(ir.Var("other"), ir.Var("key"), dtype, descending)
    later = before(ir.Var("key"), ir.Var("other"), dtype, descending)
    more = ir.Assign("rank", ir.Arith("+", rank, ir.Int(1)))
    tie = g.When(
        g.both([ir.Arith("<", j, p), ir.Arith("==", ir.Var("after"), ir.Int(0))]),
        (more,),
    )
    after = ir.Let("after", ir.Call("cast", dtypes.int32, dtypes.bool_, (later,)))
    loop = (other, g.When(earlier, (more,), (after, tie)))
    own = ir.Arith("+", ir.Var("base"), ir.Arith("*", p, ir.Slot(INNER)))
    body = [
        *_place_in_row(),
        *_base("base", INNER),
        ir.Let("key", ir.Get(ir.Var("x"), own, dtype)),
        ir.Let("first", ir.Arith("-", p, ir.Arith("%", p, ir.Int(RUN)))),
        ir.Let("end", ir.Arith("min", ir.Arith("+", first, ir.Int(RUN)), ir.Slot(N))),
        ir.Let("rank", ir.Arith("+", first, ir.Int(0))),
        ir.For("j", first, ir.Var("end"), loop),
        *_base("to", STEP),
        *_written(dtype, rank, p),
    ]
    name = f"sort_runs_{'descending_' if descending else ''}{SHORT[dtype.name]}"
    about = f"every {RUN} elements of a row, a thread does one."
    pointers = [ir.Let("x", ir.Pointer(X, dtype))]
    return _kernel(name, about, dtype, pointers, body, (*_KINDS, "ptr", "int"))


def _merge(dtype: DType, descending: bool) -> g.GridKernel:
    """Merges neighbouring runs of WIDTH elements."""
    p, i, low, own, other = (ir.Var(v) for v in ("p", "i", "low", "own", "other"))
    width, is_right = ir.Slot(WIDTH), ir.Var("is_right")
    ahead = ir.Arith("min", ir.Arith("+", own, width), ir.Slot(N))
    before_it = ir.Arith("+", ir.Arith("-", p, own), ir.Arith("-", low, other))
    body = [
        *_place_in_row(),
        ir.Let("start", ir.Arith("-", i, p)),
        ir.Let("key", ir.Get(ir.Var("keys"), i, dtype)),
        ir.Let("place", ir.Get(ir.Var("order"), i, dtypes.int64)),
        ir.Let("run", ir.Arith("//", p, width)),
        ir.Let("is_right", ir.Arith("==", ir.Arith("%", ir.Var("run"), ir.Int(2)), ir.Int(1))),
        ir.Let("own", ir.Arith("*", ir.Var("run"), width)),
        ir.Let("other", ahead),
        g.When(is_right, (ir.Assign("other", ir.Arith("-", own, width)),)),
        ir.Let("low", ir.Arith("+", other, ir.Int(0))),
        ir.Let("high", ir.Arith("min", ir.Arith("+", other, width), ir.Slot(N))),
        *_bisection(dtype, descending),
        ir.Let("rank", ir.Arith("+", ir.Arith("min", own, other), before_it)),
        *_base("to", STEP),
        *_written(dtype, ir.Var("rank"), ir.Var("place")),
    ]
    name = f"sort_merge_{'descending_' if descending else ''}{SHORT[dtype.name]}"
    about = "neighbouring sorted runs of a row become one, a thread does an element."
    pointers = [
        ir.Let("keys", ir.Pointer(KEYS, dtype)),
        ir.Let("order", ir.Pointer(ORDER, dtypes.int64)),
    ]
    return _kernel(name, about, dtype, pointers, body, (*_KINDS, "ptr", "ptr", "int"))


def _bisection(dtype: DType, descending: bool) -> list[Any]:
    """Moves ``low`` to behind the elements of the other run that come before the key."""
    low, high, middle = (ir.Var(v) for v in ("low", "high", "middle"))
    there, key = ir.Var("there"), ir.Var("key")
    place = ir.Arith("+", ir.Var("start"), middle)
    precedes = before(there, key, dtype, descending)
    follows = before(key, there, dtype, descending)
    # A right run's element follows its equals on the left; a left run's precedes them.
    equals_too = ir.Call("logical_not", dtypes.bool_, dtypes.bool_, (follows,))
    step = (
        ir.Let("middle", ir.Arith("//", ir.Arith("+", low, high), ir.Int(2))),
        ir.Let("there", ir.Get(ir.Var("keys"), place, dtype)),
        g.When(ir.Var("is_right"), (ir.Let("take", equals_too),), (ir.Let("take", precedes),)),
        g.When(
            ir.Var("take"),
            (ir.Assign("low", ir.Arith("+", middle, ir.Int(1))),),
            (ir.Assign("high", ir.Arith("+", middle, ir.Int(0))),),
        ),
    )
    return [g.While(ir.Arith("<", low, high), step)]


def _place_in_row() -> list[Any]:
    i = ir.Var("i")
    return [
        ir.Let("p", ir.Arith("%", i, ir.Slot(N))),
        ir.Let("row", ir.Arith("//", i, ir.Slot(N))),
    ]


def _base(name: str, inner: int) -> list[Any]:
    """Where the row's first element lies, if its elements lie ``inner`` apart."""
    row, apart = ir.Var("row"), ir.Slot(inner)
    whole = ir.Arith("*", ir.Arith("*", ir.Arith("//", row, apart), ir.Slot(N)), apart)
    return [ir.Let(name, ir.Arith("+", whole, ir.Arith("%", row, apart)))]


def _written(dtype: DType, rank: Any, place: Any) -> list[Any]:
    at = ir.Arith("+", ir.Var("to"), ir.Arith("*", rank, ir.Slot(STEP)))
    return [
        ir.Let("at", at),
        ir.Put(ir.Var("values"), ir.Var("at"), ir.Var("key"), dtype),
        ir.Put(ir.Var("places"), ir.Var("at"), place, dtypes.int64),
    ]


def _kernel(
    name: str, about: str, dtype: DType, pointers: list[Any], body: list[Any], kinds: Any
) -> g.GridKernel:
    """A kernel of one thread an element."""
    i = ir.Arith("+", ir.Arith("*", g.Block(), ir.Int(BLOCK)), g.Thread())
    whole = (
        ir.Let("values", ir.Pointer(VALUES, dtype)),
        ir.Let("places", ir.Pointer(PLACES, dtypes.int64)),
        *pointers,
        ir.Let("i", i),
        g.When(ir.Arith("<", ir.Var("i"), ir.Slot(COUNT)), tuple(body)),
    )
    return g.GridKernel(name, about, whole, BLOCK, kinds=tuple(kinds))
