"""One position per element: gather, scatter, scatter_add, scatter_reduce, take_along_dim.

Every ``name`` here that writes has an in-place twin ``name_``. Index tensors are int64 (or int32);
an index that is out of range raises IndexError.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphgrad import dtypes, interpret
from graphgrad.dtypes import INTEGER
from graphgrad.tensor.core import FUNCTIONS, Tensor, both
from graphgrad.tensor.operators import where
from graphgrad.tensor.plan import apply
from graphgrad.tensor.several import several
from graphgrad.tensor.shapes import axis_of, reshape_view


def at_least_1d(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors, those without dimensions as rows of one element."""
    return tuple(t if t.ndim else reshape_view(t, (1,)) for t in tensors)


def _expect_index(name: str, input: Tensor, index: Tensor, dim: int) -> int:
    """The axis, after the checks that gather and scatter share."""
    axis = axis_of(dim, input.ndim)
    if index.dtype not in (dtypes.int64, dtypes.int32) and index.numel():
        raise RuntimeError(f"{name}(): Expected dtype int64 for index")
    if max(index.ndim, 1) != max(input.ndim, 1) and index.numel():
        raise RuntimeError(
            "Index tensor must have the same number of dimensions as input tensor"
            if name == "gather"
            else "Index tensor must have the same number of dimensions as self tensor"
        )
    for a, (n, size) in enumerate(zip(index.shape, input.shape, strict=False)):
        if a != axis and n > size and index.numel():
            raise RuntimeError(
                f"Size does not match at dimension {a} expected index {list(index.shape)} to be no "
                f"larger than self {list(input.shape)} apart from dimension {axis}"
            )
    return axis


@both
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """``out[i, j] = input[index[i, j], j]`` for ``dim`` 0; the result has the index's shape."""
    axis = _expect_index("gather", input, index, dim)
    x, places = at_least_1d(input, index)
    if places.numel() == 0:
        return reshape_view(x.reshape(-1)[:0], tuple(index.shape))  # whatever its dimensions
    out = apply("gather", x, places, axis=axis)
    return out if index.ndim else reshape_view(out, ())


@both
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """``gather`` whose operands broadcast; of all elements in a row without ``dim``."""
    if dim is None:
        return take_along_dim(input.reshape(-1), indices.reshape(-1), 0)
    axis = axis_of(dim, input.ndim)
    if indices.ndim != input.ndim:
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, "
            f"but got {input.ndim} dimensions for input, and {indices.ndim} dimensions for indices"
        )
    sizes = [list(t.shape) for t in (input, indices)]
    sizes[0][axis] = sizes[1][axis] = 1
    common = list(np.broadcast_shapes(*map(tuple, sizes)))
    indices = where(indices < 0, indices + input.shape[axis], indices)
    wide = [(*common[:axis], t.shape[axis], *common[axis + 1 :]) for t in (input, indices)]
    return gather(input.expand(wide[0]), axis, indices.expand(wide[1]))


def _source(input: Tensor, index: Tensor, src: Any, name: str) -> Tensor:
    if not isinstance(src, Tensor):
        return input.new_full((), src).expand(index.shape)
    if src.dtype is not input.dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype")
    return src


def _scattered(primitive: str, input: Tensor, dim: int, index: Tensor, src: Any) -> Tensor:
    axis = _expect_index("scatter", input, index, dim)
    source = _source(input, index, src, "scatter")
    x, places, values = at_least_1d(input, index, source)
    if places.numel() == 0:
        return input.clone()
    return reshape_view(apply(primitive, x, places, values, axis=axis), tuple(input.shape))


@both
def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Any = None,
    *,
    value: Any = None,
    reduce: str | None = None,
) -> Tensor:
    """``out[index[i, j], j] = src[i, j]`` for ``dim`` 0; ``src`` may be a number.

    ``reduce`` "add" or "multiply" combines with what is there. Where indices repeat without
    ``reduce``, one of the values is kept.
    """
    src = value if src is None else src
    if reduce is None:
        return _scattered("scatter", input, dim, index, src)
    if reduce == "add":
        return _scattered("scatter_add", input, dim, index, src)
    if reduce == "multiply":
        return scatter_reduce(input, dim, index, _source(input, index, src, "scatter"), "prod")
    raise RuntimeError("reduce argument must be either add or multiply.")


@both
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """``out[index[i, j], j] += src[i, j]`` for ``dim`` 0."""
    return _scattered("scatter_add", input, dim, index, src)


@both
def scatter_reduce(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """``scatter`` that combines repeated indices by "sum", "mean", "prod", "amax" or "amin".

    ``include_self`` counts what ``input`` holds there. Equal extrema share the gradient evenly.
    """
    if reduce not in _REDUCTIONS:
        raise RuntimeError(
            "reduce argument must be either sum, prod, mean, amax or amin, got " + str(reduce)
        )
    if not include_self:
        touched = _scattered("scatter", input.new_zeros(input.shape).bool(), dim, index, True)
        start = where(touched, _NEUTRAL[reduce](input.dtype), input)
    else:
        start = input
    return _REDUCTIONS[reduce](start, dim, index, src, include_self)


def _sum_of(start: Tensor, dim: int, index: Tensor, src: Tensor, include_self: bool) -> Tensor:
    return scatter_add(start, dim, index, src)


def _mean_of(start: Tensor, dim: int, index: Tensor, src: Tensor, include_self: bool) -> Tensor:
    own = start.new_ones(start.shape) if include_self else start.new_zeros(start.shape)
    count = scatter_add(own, dim, index, src.new_ones(src.shape)).clamp(min=1)
    total = scatter_add(start, dim, index, src)
    if start.dtype.category <= INTEGER:
        return FUNCTIONS["div"](total, count, rounding_mode="floor")
    return total / count


def _combined(ufunc: Any) -> Callable[..., Tensor]:
    """By NumPy (a host call inside a program): the combination in order of the index."""

    def host(x: np.ndarray, index: np.ndarray, source: np.ndarray, *, axis: int) -> tuple[Any]:
        out = np.array(x, order="C")
        places = interpret._along(out, index, axis)
        ufunc.at(out, places, source[tuple(map(slice, index.shape))])
        return (out,)

    def operation(
        start: Tensor, dim: int, index: Tensor, src: Tensor, include_self: bool
    ) -> Tensor:
        axis = _expect_index("scatter", start, index, dim)
        x, places, values = at_least_1d(
            start.detach(), index, _source(start, index, src, "scatter")
        )
        if places.numel() == 0:
            return start.clone()
        return reshape_view(
            several(
                "custom_call",
                x,
                places,
                values.detach(),
                function=_Bound(host, axis),
                types=((tuple(x.shape), x.dtype),),
            )[0],
            tuple(start.shape),
        )

    return operation


class _Bound:
    """``function`` with its axis, equal to another of the same: programs are found again."""

    def __init__(self, function: Any, axis: int) -> None:
        self.function, self.axis = function, axis

    def __call__(self, *arrays: np.ndarray) -> Any:
        return self.function(*arrays, axis=self.axis)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bound) and (self.function, self.axis) == (
            other.function,
            other.axis,
        )

    def __hash__(self) -> int:
        return hash((self.function, self.axis))


def _extremum_of(ufunc: Any) -> Callable[..., Tensor]:
    combine = _combined(ufunc)

    def operation(
        start: Tensor, dim: int, index: Tensor, src: Tensor, include_self: bool
    ) -> Tensor:
        out = combine(start, dim, index, src, include_self)
        if not (start.requires_grad or src.requires_grad):
            return out
        # The value is `out`; the gradient that of a mean of those elements that attain it.
        mine = start.isfinite() & (start == out)
        part = src[tuple(map(slice, index.shape))]
        theirs = part.isfinite() & (part == gather(out, dim, index))
        count = scatter_add(mine.to(out.dtype), dim, index, theirs.to(out.dtype)).clamp(min=1)
        own, given = where(mine, start, 0.0) / count, where(theirs, part, 0.0)
        flow = scatter_add(own, dim, index, given / gather(count, dim, index))
        return out + (flow - flow.detach())

    return operation


def _product_of(start: Tensor, dim: int, index: Tensor, src: Tensor, include_self: bool) -> Tensor:
    """The value by NumPy; its gradient by the logarithms of what is not zero.

    A place with one zero has the gradient of a product of the others at that zero; one with two,
    none, and the second derivative of their product: both are those of ``_of_zeros``.
    """
    out = _combined(np.multiply)(start, dim, index, src, include_self)
    if not (start.requires_grad or src.requires_grad):
        return out
    part = src[tuple(map(slice, index.shape))]

    def total(own: Tensor, given: Tensor) -> Tensor:
        return scatter_add(own, dim, index, given)

    logs = total(*(where(x == 0, 1.0, x).abs().log() for x in (start, part)))
    odd = total(*((x < 0).to(dtypes.int64) for x in (start, part))) % 2
    zeros = total(*((x == 0).to(dtypes.int64) for x in (start, part)))
    first = total(*(where(x == 0, x, 0.0) for x in (start, part)))
    second = total(*(where(x == 0, x * x, 0.0) for x in (start, part)))
    flow = where(odd == 1, -logs.exp(), logs.exp()) * _of_zeros(zeros, first, second)
    flow = where(flow.isfinite(), flow, 0.0)
    return out + (flow - flow.detach())


def _of_zeros(count: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The product of ``count`` zeros, from their sum and their sum of squares."""
    two = where(count == 2, (first * first - second) / 2, 0.0)
    return where(count == 0, 1.0, where(count == 1, first, two))


def _limit(dtype: dtypes.DType, lowest: bool) -> Any:
    if dtype.is_floating_point:
        return -np.inf if lowest else np.inf
    info = np.iinfo(dtype.numpy)
    return int(info.min if lowest else info.max)


_REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "sum": _sum_of,
    "mean": _mean_of,
    "prod": _product_of,
    "amax": _extremum_of(np.maximum),
    "amin": _extremum_of(np.minimum),
}
_NEUTRAL: dict[str, Callable[[dtypes.DType], Any]] = {
    "sum": lambda dtype: 0,
    "mean": lambda dtype: 0,
    "prod": lambda dtype: 1,
    "amax": lambda dtype: _limit(dtype, True),
    "amin": lambda dtype: _limit(dtype, False),
}
