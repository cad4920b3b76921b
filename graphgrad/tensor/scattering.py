"""Reading and writing by index, as functions: gather, scatter, index_add, take, masked_fill, …

Every ``name`` here that writes has an in-place twin ``name_``. Index tensors are int64 (or int32);
an index that is out of range raises IndexError.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphgrad import dtypes, interpret
from graphgrad.dtypes import INTEGER
from graphgrad.tensor import assignment
from graphgrad.tensor.core import FUNCTIONS, Tensor, both, method
from graphgrad.tensor.cuts import view_at
from graphgrad.tensor.indexing import is_direct, spread
from graphgrad.tensor.operators import where
from graphgrad.tensor.plan import apply
from graphgrad.tensor.several import several
from graphgrad.tensor.shapes import axis_of, reshape_view

# ------------------------------------------------------------------------ one position per element


def _at_least_1d(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(t if t.ndim else reshape_view(t, (1,)) for t in tensors)


def _expect_index(name: str, input: Tensor, index: Tensor, dim: int) -> int:
    """The axis, after the checks that gather and scatter share."""
    axis = axis_of(dim, input.ndim)
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(f"{name}(): Expected dtype int64 for index")
    if max(index.ndim, 1) != max(input.ndim, 1):
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
    x, places = _at_least_1d(input, index)
    if places.numel() == 0:
        return reshape_view(x.reshape(-1)[:0], tuple(index.shape))
    out = apply("gather", x, places, axis=axis)
    return out if index.ndim else reshape_view(out, ())


@both
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """``gather`` whose operands broadcast; of all elements in a row without ``dim``."""
    if dim is None:
        return gather(input.reshape(-1), 0, indices.reshape(-1))
    axis = axis_of(dim, input.ndim)
    if indices.ndim != input.ndim:
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, "
            f"but got {input.ndim} dimensions for input, and {indices.ndim} dimensions for indices"
        )
    sizes = [list(t.shape) for t in (input, indices)]
    sizes[0][axis] = sizes[1][axis] = 1
    common = list(np.broadcast_shapes(*map(tuple, sizes)))
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
    x, places, values = _at_least_1d(input, index, source)
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
        x, places, values = _at_least_1d(
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
    out = _combined(np.multiply)(start, dim, index, src, include_self)
    if start.requires_grad or src.requires_grad:
        raise NotImplementedError(
            "scatter_reduce(reduce='prod') has no gradient yet: detach the operands, or use the "
            "exponential of a scattered sum of logarithms"
        )
    return out


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


# --------------------------------------------------------------------------- one position per slice


def _along(name: str, input: Tensor, dim: int, index: Tensor) -> tuple[Tensor, int, Tensor]:
    """(input of at least one dimension, axis, 1-D index)."""
    axis = axis_of(dim, input.ndim)
    if index.ndim > 1:
        raise IndexError(f"{name}(): Index is supposed to be a vector")
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise IndexError(f"{name}(): Expected dtype int32 or int64 for index")
    x, places = _at_least_1d(input, index)
    return x, axis, places


@both
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of ``dim`` at a 1-D ``index``, in its order."""
    x, axis, places = _along("index_select", input, dim, index)
    out = apply("gather", x, spread(places, tuple(x.shape), axis), axis=axis)
    return out if input.ndim else reshape_view(out, ())


def _by_slice(
    primitive: str, input: Tensor, dim: int, index: Tensor, source: Tensor, name: str
) -> Tensor:
    x, axis, places = _along(name, input, dim, index)
    wide = spread(places, tuple(x.shape), axis)
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"{name}(): self and source expected to have the same dtype, but got (self) "
            f"{input.dtype.name} and (source) {source.dtype.name}"
        )
    if source.numel() != wide.numel():
        raise RuntimeError(
            f"{name}(): source {list(source.shape)} does not have the shape {list(wide.shape)} of "
            "the slices that the index selects"
        )
    out = apply(primitive, x, wide, source.reshape(wide.shape), axis=axis)
    return reshape_view(out, tuple(input.shape))


@both
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """``alpha * source`` added to the slices of ``dim`` at ``index``; repeated ones add up."""
    source = source if alpha == 1 else source * alpha
    return _by_slice("scatter_add", input, dim, index, source, "index_add")


@both
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """The slices of ``dim`` at ``index`` replaced by those of ``source``."""
    return _by_slice("scatter", input, dim, index, source, "index_copy")


@both
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """The slices of ``dim`` at ``index`` set to a number."""
    x, axis, places = _along("index_fill", input, dim, index)
    wide = spread(places, tuple(x.shape), axis)
    filler = value.to(x.dtype) if isinstance(value, Tensor) else x.new_full((), value)
    out = apply("scatter", x, wide, filler.expand(wide.shape), axis=axis)
    return reshape_view(out, tuple(input.shape))


# ---------------------------------------------------------------------------------- several indices


@both
def index_put(
    input: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False
) -> Tensor:
    """A copy with ``values`` written (or added) at ``input[indices]``."""
    return index_put_(input.clone(), indices, values, accumulate)


@method
def index_put_(
    self: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False
) -> Tensor:
    """``self[indices] = values``, or ``+=`` where repeated indices add up."""
    if values.dtype is not self.dtype:
        raise RuntimeError(
            "Index put requires the source and destination dtypes match, got "
            f"{self.dtype.name} for the destination and {values.dtype.name} for the source."
        )
    items = tuple(slice(None) if i is None else i for i in indices)
    assignment.index_put(self, items, values, accumulate)
    return self


@both
def take(input: Tensor, index: Tensor) -> Tensor:
    """Elements by their position in row-major order; the result is as ``index``."""
    return input.reshape(-1)[index.reshape(-1)].reshape(index.shape)


@method
def put_(self: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Write (or add) elements by their position in row-major order."""
    flat = self.reshape(-1)
    index_put_(flat, (index.reshape(-1),), source.reshape(-1), accumulate)
    return self if flat._storage is self._storage else self.copy_(flat.reshape(self.shape))


# -------------------------------------------------------------------------------------------- masks


@both
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """A copy with ``value`` where ``mask`` holds (the two broadcast)."""
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(
            "masked_fill only supports boolean masks, but got mask with dtype " + mask.dtype.name
        )
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(
                "masked_fill only supports a 0-dimensional value tensor, but got tensor with "
                f"{value.ndim} dimension(s)."
            )
        value = value.to(input.dtype)
    return apply("where", mask, value, input)


@both
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where ``mask`` holds, in a row (eager only: how many depends on values)."""
    shape = np.broadcast_shapes(tuple(input.shape), tuple(mask.shape))
    return input.expand(shape)[mask.expand(shape)]


@both
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """A copy whose elements where ``mask`` holds are taken from ``source`` in row-major order."""
    shape = np.broadcast_shapes(tuple(input.shape), tuple(mask.shape))
    flat, held = input.expand(shape).reshape(-1), mask.expand(shape).reshape(-1)
    if is_direct(mask, source) and int(held._array.sum()) > source.numel():
        raise RuntimeError("masked_scatter: expected self and source to have same dtypes and size")
    if not source.numel() or not flat.numel():
        return input.expand(shape).clone()
    place = (held.to(dtypes.int64).cumsum(0) - 1).clamp(0, source.numel() - 1)
    taken = gather(source.reshape(-1), 0, place)
    return apply("where", held, taken, flat).reshape(shape)


# -------------------------------------------------------------------------------------------- parts


def _replaced(input: Tensor, src: Tensor, part: Callable[[Tensor], Tensor]) -> Tensor:
    """A copy of ``input`` whose ``part`` (a view of it) is ``src``."""
    out = input.clone()
    view = part(out)
    if view.shape != src.shape:
        raise RuntimeError(
            "expected src to have a size equal to the slice of self. "
            f"src size = {list(src.shape)}, slice size = {list(view.shape)}"
        )
    view.copy_(src)
    return out


@both
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy with ``src`` at one position of ``dim``."""
    return _replaced(input, src, lambda out: out.select(dim, index))


@both
def slice_scatter(
    input: Tensor,
    src: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    """A copy with ``src`` at ``start:end:step`` of ``dim``."""
    axis = axis_of(dim, input.ndim)
    key = (*[(None, None, None)] * axis, (start, end, step))
    return _replaced(input, src, lambda out: view_at(out, key))


@both
def diagonal_scatter(
    input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """A copy with ``src`` on a diagonal."""
    return _replaced(input, src, lambda out: out.diagonal(offset, dim1, dim2))
