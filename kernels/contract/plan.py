"""Plan a contraction: from index maps to kernel calls and argument tables. Compiles nothing.

    C[b, m, n] = sum over k of A[b, m, k] * B[b, k, n]

Each of b, m, n, k stands for any number of dimensions with any strides (0 repeats, negative ones
flip), so matrix products (batched, transposed, broadcast) and the three directions of a convolution
are the same call:

    forward           m = channels out; k = (channel, y, x) of the window; n = (image, y, x) out
    gradient of data  the same over padded dy, the weights walked with negative strides
    ... of weights    m = channels out; k = (image, y, x) out; n = (channel, y, x) of the window

>>> a = Operand(rows=((64, 32),), columns=((32, 1),))      # 64 x 32, row-major
>>> b = Operand(rows=((32, 100),), columns=((100, 1),))
>>> c = Operand(rows=((64, 100),), columns=((100, 1),))
>>> plan_contraction("float32", a, b, c).flops
409600
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from graphgrad import choices

from .build import ContractionPlan, build
from .cost import choose
from .host import ITEM_BYTES, host
from .layout import size
from .problem import Choice, normal_form

Dims = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Operand:
    """One operand's index map: (extent, stride in elements) of its row, column, batch dimensions.

    A has rows m and columns k, B rows k and columns n, C rows m and columns n. Extents of a group
    must be the same list in the operands that share it.
    """

    rows: Dims = ()
    columns: Dims = ()
    batch: Dims = ()


def plan_contraction(
    dtype: str, a: Operand, b: Operand, c: Operand, fixed: str = ""
) -> ContractionPlan:
    """The plan of C = A B (C is overwritten and must not overlap A or B).

    ``fixed`` names the operands, A or B, that are the same in many such products, as in the steps
    of a loop: packing them is a part of the plan that runs once.
    Empty batch, rows or columns: no kernels; no steps of k: zeros. Raises ValueError when extents
    disagree, NotImplementedError for a dtype other than float32 and float64.
    """
    known = choices.common(("forms", dtype))
    with choices.section(("product", dtype)) as made:
        earlier = Choice.of(made["choice"]) if "choice" in made else None
        plan = _planned(dtype, a, b, c, fixed, earlier, tuple(known) if earlier else ())
        if plan.choice is not None:
            made.setdefault("choice", plan.choice.plain)
            known.setdefault(plan.choice.form.kernels)
    return plan


@lru_cache(maxsize=1024)
def _planned(
    dtype: str, a: Operand, b: Operand, c: Operand, fixed: str, earlier: Choice | None, known: tuple
) -> ContractionPlan:
    host().lanes(dtype)
    item = ITEM_BYTES[dtype]
    batch = _zipped("batch", item, a.batch, b.batch, c.batch)
    rows = _zipped("rows of A and C", item, a.rows, c.rows)
    columns = _zipped("columns of B and C", item, b.columns, c.columns)
    steps = _zipped("columns of A and rows of B", item, a.columns, b.rows)
    results = size(batch) * size(rows) * size(columns)
    if results == 0:
        return ContractionPlan((), 0, 0)
    reduced = size(steps)
    normal = normal_form(dtype, batch, rows, columns, steps if reduced else [])
    oriented, choice = choose(normal, fixed, earlier, known)
    return replace(build(oriented, choice.form, results, reduced, fixed), choice=choice)


def _zipped(what: str, item: int, *groups: Dims) -> list[tuple[int, ...]]:
    """One dimension list with every operand's byte strides."""
    extents = {tuple(dim[0] for dim in group) for group in groups}
    if len(extents) > 1:
        raise ValueError(f"contraction: extents of {what} differ: {sorted(extents)}")
    return [
        (dims[0][0], *(stride * item for _, stride in dims)) for dims in zip(*groups, strict=True)
    ]
