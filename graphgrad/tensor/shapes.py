"""Views and other movements of elements: the same numbers in another shape.

What PyTorch returns as a view is a view here: it shares memory, and writing to it writes to its
base.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from graphgrad import lang
from graphgrad.dtypes import INTEGER
from graphgrad.errors import RangeError, ShapeError, message
from graphgrad.ops import size_of
from graphgrad.tensor.core import Size, Tensor, both, function, method, publish
from graphgrad.tensor.plan import apply, rename

Axes = Sequence[int]
index = operator.index


def axis_of(dim: int, ndim: int) -> int:
    """A dimension counted from the front; IndexError with PyTorch's words otherwise."""
    bound = max(ndim, 1)
    if not -bound <= dim < bound:
        raise RangeError(
            f"Dimension out of range (expected to be in range of [{-bound}, {bound - 1}], "
            f"but got {dim})"
        )
    return dim + bound if dim < 0 else dim


def axes_of(dim: Any, ndim: int) -> tuple[int, ...]:
    """All dimensions for None, one for a number, several for a sequence."""
    if ndim > 64:
        raise RuntimeError(f"only tensors with up to 64 dims are supported, not {ndim}")
    if dim is None or (not isinstance(dim, int) and len(dim) == 0):
        return tuple(range(ndim))
    axes = tuple(axis_of(index(d), ndim) for d in ((dim,) if isinstance(dim, int) else dim))
    if len(set(axes)) != len(axes):
        raise RuntimeError(f"dim {dim} appears multiple times in the list of dims")
    return axes if ndim else ()


def sizes_of(args: tuple[Any, ...]) -> tuple[int, ...]:
    """``f(2, 3)`` and ``f((2, 3))`` alike; sizes may be 0-d tensors."""
    if len(args) == 1 and isinstance(args[0], (tuple, list)):
        args = tuple(args[0])
    return tuple([index(n) for n in args])


def _resolved(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """A shape with its one -1 filled in."""
    if -1 not in shape:
        return shape
    known = size_of(tuple(n for n in shape if n != -1))
    if shape.count(-1) > 1 or known == 0 or size % known:
        raise ShapeError(message(f"shape '{list(shape)}' is invalid for input of size {size}"))
    return tuple(size // known if n == -1 else n for n in shape)


@both
def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The same elements in row-major order; a view where strides allow."""
    return apply("reshape", input, shape=_resolved(sizes_of(shape), input.numel()))


@method
def view(self: Tensor, *shape: Any, dtype: Any = None) -> Tensor:
    """``reshape`` that never copies; ``view(dtype)`` reinterprets the bits."""
    from graphgrad.dtypes import DType

    if dtype is not None or (len(shape) == 1 and isinstance(shape[0], DType)):
        return apply("bitcast", self, dtype=dtype or shape[0])
    wanted = _resolved(sizes_of(shape), self.numel())
    out = apply("reshape", self, shape=wanted)
    if out._storage is not self._storage:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one "
            "dimension spans across two contiguous subspaces). Use .reshape(...) instead."
        )
    return out


@both
def view_as(input: Tensor, other: Tensor) -> Tensor:
    """``input.view(other.size())``."""
    return view(input, *other.shape)


@method
def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """``reshape`` to the shape of ``other``."""
    return reshape(self, *other.shape)


@both
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Join the dimensions from ``start_dim`` to ``end_dim`` into one."""
    shape = input.shape
    if not shape:
        return reshape(input, 1)
    first, last = axis_of(start_dim, len(shape)), axis_of(end_dim, len(shape))
    if first > last:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if first == last:
        return input
    joined = size_of(shape[first : last + 1])
    return reshape(input, (*shape[:first], joined, *shape[last + 1 :]))


@both
def ravel(input: Tensor) -> Tensor:
    """All elements in one dimension."""
    return reshape(input, -1)


@both
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Cut one dimension into several."""
    axis = axis_of(dim, input.ndim)
    inner = _resolved(sizes_of((tuple(sizes),)), input.shape[axis])
    return reshape(input, (*input.shape[:axis], *inner, *input.shape[axis + 1 :]))


@both
def permute(input: Tensor, *dims: Any) -> Tensor:
    """Dimensions in another order."""
    wanted = sizes_of(dims)
    if len(wanted) != input.ndim:
        raise RuntimeError(
            f"permute(sparse_coo): number of dimensions in the tensor input does not match the "
            f"length of the desired ordering of dimensions i.e. input.dim() = {input.ndim} is not "
            f"equal to len(dims) = {len(wanted)}"
        )
    return apply("permute", input, axes=tuple(axis_of(d, input.ndim) for d in wanted))


@both
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Swap two dimensions."""
    n = input.ndim
    a, b = axis_of(dim0, n), axis_of(dim1, n)
    axes = list(range(n))
    if n:
        axes[a], axes[b] = axes[b], axes[a]
    return rename(apply("permute", input, axes=tuple(axes)), "TransposeBackward0")


@both
def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; fewer dimensions stay as they are."""
    if input.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D")
    return rename(transpose(input, 0, 1), "TBackward0") if input.ndim == 2 else input


@both
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Move dimensions to new places; the others keep their order."""
    n = input.ndim
    if isinstance(source, int) != isinstance(destination, int) or (
        not isinstance(source, int) and len(source) != len(destination)
    ):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({source} dims) should contain "
            f"the same number of dims as destination ({destination} dims)"
        )
    if not isinstance(source, int) and len(source) == 0:
        return input
    sources, targets = axes_of(source, n), axes_of(destination, n)
    place = dict(zip(targets, sources, strict=True))
    rest = iter(a for a in range(n) if a not in sources)
    return permute(input, [place[a] if a in place else next(rest) for a in range(n)])


@both
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Drop dimensions of size 1: all, or those named."""
    none = dim is not None and not isinstance(dim, int) and len(dim) == 0
    axes = () if none else axes_of(dim, input.ndim)
    shape = tuple(n for a, n in enumerate(input.shape) if a not in axes or n != 1)
    return rename(reshape_view(input, shape), f"SqueezeBackward{int(dim is not None)}")


@both
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A new dimension of size 1 at ``dim``."""
    axis = axis_of(dim, input.ndim + 1)
    wider = reshape_view(input, (*input.shape[:axis], 1, *input.shape[axis:]))
    return rename(wider, "UnsqueezeBackward0")


def reshape_view(input: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A reshape that only adds or drops ones, and so is always a view."""
    return apply("reshape", input, shape=tuple(shape))


@method
def expand(self: Tensor, *sizes: Any) -> Tensor:
    """Repeat along dimensions of size 1 without copying; -1 keeps a size."""
    wanted = sizes_of(sizes)
    old = (1,) * (len(wanted) - self.ndim) + tuple(self.shape)
    shape = tuple(o if n == -1 else n for o, n in zip(old, wanted, strict=False))
    if len(wanted) < self.ndim or any(o not in (1, n) for o, n in zip(old, shape, strict=False)):
        raise RuntimeError(
            f"The expanded size of the tensor {list(wanted)} must match the existing size "
            f"{list(self.shape)} at non-singleton dimensions"
        )
    return apply("expand", self, shape=shape)


@method
def sum_to_size(self: Tensor, *size: Any) -> Tensor:
    """Sum over the dimensions along which ``size`` would be expanded to this shape."""
    wanted = sizes_of(size)
    lead = self.ndim - len(wanted)
    if lead < 0 or any(n not in (1, m) for n, m in zip(wanted, self.shape[lead:], strict=True)):
        raise RuntimeError(
            f"size {{{list(wanted)}}} is not expandable to size {{{list(self.shape)}}}."
        )
    return lang.unbroadcast(self, wanted)


@method
def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """``expand`` to the shape of ``other``."""
    return expand(self, *other.shape)


@both
def broadcast_to(input: Tensor, shape: Any) -> Tensor:
    """``expand`` to ``shape``."""
    return expand(input, tuple(shape))


@function
def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that tensors of these shapes broadcast to."""
    import numpy as np

    return Size(np.broadcast_shapes(*(tuple(s) if not isinstance(s, int) else s for s in shapes)))


@function
def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All tensors expanded to their common shape."""
    shape = broadcast_shapes(*(t.shape for t in tensors))
    return tuple(t if t.shape == shape else expand(t, shape) for t in tensors)


# ------------------------------------------------------------------------------------ cutting parts


def sliced(input: Tensor, axis: int, start: int, stop: int, step: int = 1) -> Tensor:
    """``input[..., start:stop:step]`` on one axis, bounds already inside."""
    n = input.ndim
    starts, stops, steps = [0] * n, list(input.shape), [1] * n
    starts[axis], stops[axis], steps[axis] = start, stop, step
    return apply("slice", input, start=tuple(starts), stop=tuple(stops), step=tuple(steps))


@both
def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """``length`` positions of ``dim`` from ``start``."""
    if input.ndim == 0:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    axis, size = axis_of(dim, input.ndim), input.shape[dim]
    if isinstance(start, Tensor) and (start.ndim or start.dtype.category != INTEGER):
        raise RuntimeError("start must be an 0-dim integral Tensor.")
    first = index(start)
    if not -size <= first <= size:
        raise IndexError(
            f"start out of range (expected to be in range of [-{size}, {size}], but got {first})"
        )
    first += size if first < 0 else 0
    if length < 0 or not 0 <= first <= size - length:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({size}).")
    return sliced(input, axis, first, first + length)


@both
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """One position of ``dim``; the dimension is dropped."""
    if input.ndim == 0:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    axis = axis_of(dim, input.ndim)
    size = input.shape[axis]
    if not -size <= index < size:
        raise IndexError(f"index {index} is out of bounds for dimension {axis} with size {size}")
    place = index + size if index < 0 else index
    shape = (*input.shape[:axis], *input.shape[axis + 1 :])
    return rename(reshape_view(sliced(input, axis, place, place + 1), shape), "SelectBackward0")


@both
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of two dimensions, as the last dimension; a view of contiguous memory."""
    n = input.ndim
    a, b = axis_of(dim1, n), axis_of(dim2, n)
    rows, columns = input.shape[a], input.shape[b]
    length = max(min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns), 0)
    first = offset if offset >= 0 else -offset * columns
    front = [i for i in range(n) if i not in (a, b)]
    moved = permute(input, [*front, a, b]) if (a, b) != (n - 2, n - 1) else input
    lead = [input.shape[i] for i in front]
    flat = reshape(moved, (*lead, rows * columns))
    stop = first + (length - 1) * (columns + 1) + 1 if length else first
    return sliced(flat, len(lead), min(first, rows * columns), stop, columns + 1)


@method
def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """All windows of ``size`` along ``dimension``, ``step`` apart, as a new last dimension."""
    axis = axis_of(dimension, self.ndim)
    if self.ndim == 0:
        if size > 1:
            raise RuntimeError(
                "maximum size for tensor at dimension 0 is 1 but size is " + str(size)
            )
        return reshape_view(self, (1,))[:size]
    if not 0 <= size <= self.shape[axis] or step <= 0:
        raise RuntimeError(
            f"unfold: size is {size} and step is {step}, but dimension {axis} has "
            f"{self.shape[axis]} elements: size must be from 0 to that, and step larger than 0"
        )
    return apply("window", self, axes=(axis,), size=(size,), stride=(step,), dilation=(1,))


# --------------------------------------------------------------------------------------- properties


def _property(name: str, get: Any) -> None:
    setattr(Tensor, name, property(get))


_property("T", lambda self: permute(self, tuple(reversed(range(self.ndim)))))
_property("mT", lambda self: transpose(self, -2, -1))

for _alias, _operation in (("swapaxes", transpose), ("swapdims", transpose), ("moveaxis", movedim)):
    publish((_alias,), _operation)
