"""Making tensors: from data, filled, counted. (Random ones are in ``graphgrad.random``.)

Inside a trace these become nodes of the graph, so a compiled function makes them anew at each call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphgrad import dtypes, lang
from graphgrad.device import CPU, chosen, located, thread
from graphgrad.dtypes import DType
from graphgrad.ir import Node
from graphgrad.tensor.core import FUNCTIONS, Tensor, both, function, method, tracer, wrap
from graphgrad.tensor.place import to_device
from graphgrad.tensor.plan import apply
from graphgrad.tensor.shapes import sizes_of
from graphgrad.tensor.state import state


def _finished(t: Tensor, requires_grad: bool) -> Tensor:
    return t.requires_grad_() if requires_grad else t


def put(array: np.ndarray, device: Any = None) -> Tensor:
    """Fresh memory as a tensor on ``device``, or where this thread makes its tensors."""
    if device is None and thread.default is CPU:
        return wrap(array)
    return wrap(to_device(array, chosen(device)))


def _traced(node: Node, device: Any) -> Tensor:
    """A value of the program being traced, which has to run where it is asked for."""
    if device is not None:
        state.trace.settle(located(device))
    return tracer(node, state.trace)


def from_node(node: Node, device: Any = None) -> Tensor:
    """A value that needs no operands: a node inside a trace, memory outside."""
    if state.trace is not None:
        return _traced(node, device)
    from graphgrad import interpret
    from graphgrad.ir import Graph

    return put(np.array(interpret.run(Graph((), (node,)), [])[0], order="C"), device)


def full_of(shape: tuple[int, ...], value: Any, dtype: DType, device: Any = None) -> Tensor:
    """``value`` everywhere."""
    if any(n < 0 for n in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(shape)}: {shape}")
    if state.trace is not None:
        return _traced(lang.full(shape, value, dtype), device)
    if type(value) is int and value == 0:  # no page is touched before it is used
        return put(np.zeros(shape, dtype.numpy), device)
    return put(np.full(shape, value, dtype.numpy), device)


# ---------------------------------------------------------------------------------------- from data


@function
def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, **_: Any
) -> Tensor:
    """Copy numbers, nested sequences, arrays or tensors; Python floats get the default type."""
    if device is None and isinstance(data, Tensor):
        device = data.device
    return _finished(from_array(_copied(data, dtype), device), requires_grad)


def _copied(data: Any, dtype: Any) -> np.ndarray:
    wanted = None if dtype is None else dtypes.as_dtype(dtype).numpy
    if isinstance(data, Tensor):
        return np.array(data.concrete("tensor()"), wanted, order="C")
    if isinstance(data, (np.ndarray, np.generic)):
        return np.array(data, wanted or dtypes.from_numpy(data.dtype).numpy, order="C")
    array = np.array(_plain(data))
    if wanted is None and array.dtype == np.float64 and not _has_numpy(data):
        wanted = dtypes.get_default_dtype().numpy
    if wanted is None and array.dtype == np.complex128 and not _has_numpy(data):
        wanted = dtypes.complex_of(dtypes.get_default_dtype()).numpy
    if array.dtype == object:
        raise TypeError(f"new(): data must be a rectangle of numbers, got {data!r:.80}")
    if array.dtype == np.float64 and array.size == 0 and wanted is None:
        wanted = dtypes.get_default_dtype().numpy
    return np.array(array, wanted or dtypes.from_numpy(array.dtype).numpy, order="C")


def _plain(data: Any) -> Any:
    """Nested sequences with tensors inside become nested lists."""
    if isinstance(data, Tensor):
        return data.detach().numpy(force=True) if data.ndim else data.item()
    if isinstance(data, (list, tuple)):
        return [_plain(x) for x in data]
    return data


def _has_numpy(data: Any) -> bool:
    """Whether the first element decides the type by itself, as NumPy's float64 does."""
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return isinstance(data, (np.ndarray, np.generic, Tensor))


@function
def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """``data`` as a tensor, sharing memory where it can."""
    if isinstance(data, Tensor):
        return data.to(dtype=dtype, device=device)
    if isinstance(data, np.ndarray):
        return from_numpy(data).to(dtype=dtype, device=chosen(device))
    if hasattr(data, "__cuda_array_interface__"):
        from graphgrad.kernels.cuda import exchange

        there = wrap(exchange.from_interface(data, located("cuda" if device is None else device)))
        return there.to(dtype=dtype)
    return tensor(data, dtype=dtype, device=device)


def near(value: Any, like: Tensor) -> Tensor:
    """Data as a tensor where another one is; a tensor as it is."""
    return value if isinstance(value, Tensor) else as_tensor(value, device=like.device)


@function
def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor over NumPy's own memory: writes on either side show on the other."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    dtypes.from_numpy(ndarray.dtype)
    if any(s < 0 for s in ndarray.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative "
            "strides are not currently supported. (You can probably work around this by making a "
            "copy of your array with array.copy().)"
        )
    native = ndarray if ndarray.dtype.isnative else ndarray.astype(ndarray.dtype.newbyteorder("="))
    t = wrap(native)
    t._storage.shared = True
    return t


@function
def asarray(obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Tensor:
    """``as_tensor``, or ``tensor`` where a copy is asked for."""
    return tensor(obj, dtype=dtype, device=device) if copy else as_tensor(obj, dtype, device)


@function
def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None, **_: Any) -> Tensor:
    """A 0-d tensor of the default float type."""
    return full_of((), s, dtypes.as_dtype(dtype or dtypes.get_default_dtype()), device)


@function
def frombuffer(buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0) -> Tensor:
    """A tensor over a Python buffer's memory."""
    return from_numpy(np.frombuffer(buffer, dtypes.as_dtype(dtype).numpy, count, offset))


# ------------------------------------------------------------------------------------------- filled


def _filler(name: str, value: float) -> None:
    """``zeros``, ``zeros_like`` and ``new_zeros``: the same three for every value."""

    def make(
        *size: Any,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        out: Any = None,
        **_: Any,
    ) -> Tensor:
        shape = sizes_of(tuple(_["size"]) if "size" in _ else size)
        kind = dtypes.as_dtype(dtype) if dtype is not None else dtypes.get_default_dtype()
        return _finished(full_of(shape, value, kind, device), requires_grad)

    def like(
        input: Tensor,
        *,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        **_: Any,
    ) -> Tensor:
        kind = input.dtype if dtype is None else dtypes.as_dtype(dtype)
        place = input.device if device is None else device
        return _finished(full_of(tuple(input.shape), value, kind, place), requires_grad)

    def new(
        self: Tensor,
        *size: Any,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        **_: Any,
    ) -> Tensor:
        shape = sizes_of(tuple(_["size"]) if "size" in _ else size)
        kind = self.dtype if dtype is None else dtypes.as_dtype(dtype)
        place = self.device if device is None else device
        return _finished(full_of(shape, value, kind, place), requires_grad)

    for f, suffix in ((make, name), (like, f"{name}_like"), (new, f"new_{name}")):
        f.__name__ = suffix
        f.__doc__ = f"A tensor of {name}, of the given size (or like another tensor)."
    FUNCTIONS[name], FUNCTIONS[f"{name}_like"] = make, like
    setattr(Tensor, f"new_{name}", new)


_filler("zeros", 0)
_filler("ones", 1)
# Uninitialised memory would make runs differ; zeros cost the same from fresh pages.
_filler("empty", 0)


@function
def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    **_: Any,
) -> Tensor:
    """``fill_value`` everywhere; its Python type decides the dtype unless given."""
    kind = dtypes.of_scalar(_number(fill_value)) if dtype is None else dtypes.as_dtype(dtype)
    shape = (size,) if isinstance(size, int) else sizes_of((tuple(size),))
    return _finished(full_of(shape, _number(fill_value), kind, device), requires_grad)


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value


@function
def full_like(
    input: Tensor, fill_value: Any, *, dtype: Any = None, device: Any = None, **options: Any
) -> Tensor:
    """``full`` with the shape, dtype and device of ``input``."""
    place = input.device if device is None else device
    return full(input.shape, fill_value, dtype=dtype or input.dtype, device=place, **options)


@method
def new_full(
    self: Tensor,
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    **options: Any,
) -> Tensor:
    """``full`` with the dtype and device of this tensor."""
    place = self.device if device is None else device
    return full(size, fill_value, dtype=dtype or self.dtype, device=place, **options)


@method
def new_tensor(
    self: Tensor, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """``tensor`` with the dtype and device of this tensor."""
    place = self.device if device is None else device
    return tensor(data, dtype=dtype or self.dtype, device=place, requires_grad=requires_grad)


@method
def new(self: Tensor, *args: Any) -> Tensor:
    """The old constructor: sizes or data, in this tensor's dtype."""
    if args and not isinstance(args[0], int):
        return new_tensor(self, args[0])
    return full_of(sizes_of(args) or (0,), 0, self.dtype, self.device)


# ------------------------------------------------------------------------------------------ counted


@function
def arange(
    *bounds: Any,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    **named: Any,
) -> Tensor:
    """``start``, ``start + step``, … below ``end``; whole bounds give int64."""
    start, end, step = _bounds(bounds, named)
    whole = all(isinstance(b, (int, np.integer)) for b in (start, end, step))
    kind = (
        dtypes.as_dtype(dtype) if dtype else (dtypes.int64 if whole else dtypes.get_default_dtype())
    )
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    n = math.ceil((end - start) / step)
    if state.trace is not None:
        count = _traced(lang.iota((n,), 0, kind), device)
        return count if (start, step) == (0, 1) else count * step + start
    values = (start + np.arange(n) * step).astype(kind.numpy)
    return _finished(put(values, device), requires_grad)


def _bounds(bounds: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any, Any]:
    given = [_number(b) for b in bounds]
    if len(given) == 1 and "end" not in named:
        return 0, given[0], _number(named.get("step", 1))
    names = ("start", "end", "step")
    values = {"start": 0, "step": 1, **{k: _number(v) for k, v in named.items() if k in names}}
    values.update(zip(names, given, strict=False))
    return values["start"], values["end"], values["step"]


@function
def range_(start: Any = 0, end: Any = 0, step: Any = 1, **options: Any) -> Tensor:
    """The old ``range``: ``end`` belongs to it."""
    return arange(float(start), end + step * 0.5, step, **options)


@function
def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    **_: Any,
) -> Tensor:
    """``steps`` values from ``start`` to ``end``, both included, evenly apart."""
    kind = dtypes.as_dtype(dtype) if dtype is not None else dtypes.get_default_dtype()
    values = _evenly(_number(start), _number(end), steps, kind)
    return _finished(from_array(values, device), requires_grad)


def _evenly(start: Any, end: Any, steps: int, kind: DType) -> np.ndarray:
    """Counted from both ends towards the middle in the type itself, so that ends are exact."""
    if not kind.is_floating_point:
        values = np.linspace(start, end, steps)
        return (values if kind.is_complex else np.trunc(values)).astype(kind.numpy)
    one = kind.numpy.type
    start, end = one(start), one(end)
    step = (end - start) / one(max(steps - 1, 1))
    i = np.arange(steps)
    up = start + step * i.astype(kind.numpy)
    down = end - step * (steps - 1 - i).astype(kind.numpy)
    return np.where(i < steps / 2, up, down).astype(kind.numpy)


def from_array(array: np.ndarray, device: Any = None) -> Tensor:
    """Fresh memory as a tensor; a literal inside a trace."""
    if state.trace is not None:
        return _traced(lang.constant(array), device)
    return put(array, device)


@function
def logspace(start: Any, end: Any, steps: int, base: float = 10.0, **options: Any) -> Tensor:
    """``base`` to the powers of ``linspace(start, end, steps)``."""
    dtype = options.pop("dtype", None) or dtypes.get_default_dtype()
    powers = np.power(float(base), np.linspace(_number(start), _number(end), steps))
    made = from_array(powers.astype(dtypes.as_dtype(dtype).numpy), options.get("device"))
    return _finished(made, options.get("requires_grad", False))


@function
def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    **_: Any,
) -> Tensor:
    """Ones on the diagonal of an n × m matrix."""
    kind = dtypes.as_dtype(dtype) if dtype is not None else dtypes.get_default_dtype()
    return _finished(from_array(np.eye(n, m, dtype=kind.numpy), device), requires_grad)


# ----------------------------------------------------------------------------------------- patterns


def _triangle(input: Tensor, diagonal: int, keep_lower: bool) -> Tensor:
    if input.ndim < 2:
        name = "tril" if keep_lower else "triu"
        raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
    rows, columns = input.shape[-2:]
    i = from_node(lang.iota((rows, 1), 0, dtypes.int64), input.device)
    j = from_node(lang.iota((1, columns), 1, dtypes.int64), input.device)
    inside = (j - i <= diagonal) if keep_lower else (j - i >= diagonal)
    return apply("where", inside, input, 0)


@both
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of matrices, zeros above ``diagonal``."""
    return _triangle(input, diagonal, True)


@both
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of matrices, zeros below ``diagonal``."""
    return _triangle(input, diagonal, False)


def _triangle_indices(mask: np.ndarray, device: Any) -> Tensor:
    return from_array(np.stack(np.nonzero(mask)).astype(np.int64), device)


@function
def tril_indices(row: int, col: int, offset: int = 0, *, device: Any = None, **_: Any) -> Tensor:
    """Row and column numbers of a lower triangle."""
    return _triangle_indices(np.tri(row, col, offset, dtype=bool), device)


@function
def triu_indices(row: int, col: int, offset: int = 0, *, device: Any = None, **_: Any) -> Tensor:
    """Row and column numbers of an upper triangle."""
    return _triangle_indices(~np.tri(row, col, offset - 1, dtype=bool), device)


@function
def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinates of a grid, one tensor an axis."""
    lines: Sequence[Tensor] = tensors[0] if isinstance(tensors[0], (list, tuple)) else tensors
    shape = [max(t.numel(), 1) for t in lines]
    grids = []
    for axis, line in enumerate(lines):
        sizes = [1] * len(shape)
        sizes[axis] = -1
        grids.append(line.reshape(sizes).expand(shape))
    if indexing == "xy" and len(grids) > 1:
        grids = [g.transpose(0, 1) for g in grids]
    return tuple(grids)


def _window(name: str, coefficients: tuple[float, ...]) -> None:
    """Cosine windows: a0 - a1 cos(2πk/N) + a2 cos(4πk/N), N = length when periodic."""

    def window(
        length: int, periodic: bool = True, *, dtype: Any = None, device: Any = None, **_: Any
    ) -> Tensor:
        n = length if periodic else max(length - 1, 1)
        angle = 2 * math.pi * np.arange(length) / n
        total = sum((-1) ** k * a * np.cos(k * angle) for k, a in enumerate(coefficients))
        kind = dtypes.as_dtype(dtype) if dtype is not None else dtypes.get_default_dtype()
        return from_array(np.asarray(total, kind.numpy), device)

    window.__name__ = name
    FUNCTIONS[name] = window


@function
def bartlett_window(
    length: int, periodic: bool = True, *, dtype: Any = None, device: Any = None, **_: Any
) -> Tensor:
    """A triangle from 0 over 1 to 0."""
    kind = dtypes.as_dtype(dtype) if dtype is not None else dtypes.get_default_dtype()
    n = length if periodic else max(length - 1, 1)
    values = (1 - np.abs(2 * np.arange(length) / n - 1)).astype(kind.numpy)
    return from_array(values, device)


@function
def kaiser_window(
    length: int,
    periodic: bool = True,
    beta: float = 12.0,
    *,
    dtype: Any = None,
    device: Any = None,
    **_: Any,
) -> Tensor:
    """Kaiser's window, I0(β sqrt(1 - (2k/N - 1)²)) / I0(β)."""
    kind = dtypes.as_dtype(dtype) if dtype is not None else dtypes.get_default_dtype()
    whole = np.kaiser(length + 1 if periodic else length, beta)
    return from_array(whole[:length].astype(kind.numpy), device)


_window("hann_window", (0.5, 0.5))
_window("hamming_window", (0.54, 0.46))
_window("blackman_window", (0.42, 0.5, 0.08))
