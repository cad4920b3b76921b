"""The closed set of primitives: each one's attributes and its type rule.

A type rule takes the operands (anything with ``shape`` and ``dtype``) and the attributes, and
returns ``(shape, dtype)``; an operation with several results returns a tuple of such pairs.
Elementwise operands broadcast as in NumPy and share one dtype: promotion is the Tensor's business.

    >>> PRIMITIVES["add"].infer((x, y), {})
    ((2, 3), float32)

A primitive is one row here and one row in each of the other tables: ``interpret.RULES`` (NumPy),
``vjp.RULES`` (gradients), and the emitter of ``kernels``; ``tests/unit/test_tables.py`` fails on a
hole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from graphgrad import dtypes
from graphgrad.dtypes import BOOL, COMPLEX, FLOAT, INTEGER, DType
from graphgrad.errors import DTypeError, ShapeError, message

Shape = tuple[int, ...]
Type = tuple[Shape, DType]


@dataclass(frozen=True)
class Primitive:
    """A row of the table: ``kind`` groups primitives that passes and emitters treat alike."""

    name: str
    kind: str
    attrs: tuple[str, ...]
    rule: Callable[..., Any]
    results: bool = False

    def infer(self, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
        """Result type(s), or ShapeError / DTypeError at the user's line."""
        return self.rule(self.name, inputs, **attrs)

    def __repr__(self) -> str:
        return self.name


PRIMITIVES: dict[str, Primitive] = {}


def _primitive(
    kind: str, names: str, attrs: str = "", results: bool = False
) -> Callable[[Any], Any]:
    def register(rule: Any) -> Any:
        for name in names.split():
            PRIMITIVES[name] = Primitive(name, kind, tuple(attrs.split()), rule, results)
        return rule

    return register


def _fail(
    error: type[Exception], name: str, inputs: Sequence[Any], why: str, hint: str = ""
) -> Any:
    raise error(message(why, name, inputs, hint))


# -------------------------------------------------------------------------------------- elementwise


def broadcast_shapes(name: str, inputs: Sequence[Any]) -> Shape:
    """The common shape of operands whose sizes match from the right, or are 1 or missing."""
    first = inputs[0].shape
    if all(x.shape == first for x in inputs):
        return first
    ndim = max(len(x.shape) for x in inputs)
    shape = [1] * ndim
    for x in inputs:
        for axis, size in enumerate(x.shape, ndim - len(x.shape)):
            if size == shape[axis] or size == 1:
                continue
            if shape[axis] != 1:
                a, b = shape[axis], size
                _fail(
                    ShapeError,
                    name,
                    inputs,
                    f"The size of tensor a ({a}) must match the size of tensor b ({b}) "
                    f"at non-singleton dimension {axis}",
                    "sizes must be equal or 1, aligned from the right; see reshape and unsqueeze",
                )
            shape[axis] = size
    return tuple(shape)


def _same_dtype(name: str, inputs: Sequence[Any]) -> DType:
    dtype = inputs[0].dtype
    for x in inputs[1:]:
        if x.dtype is not dtype:
            why = f"expected operands of one dtype, got {dtype.name} and {x.dtype.name}"
            _fail(DTypeError, name, inputs, why, "convert one of them with .to(dtype)")
    return dtype


def _expect_ordered(name: str, inputs: Sequence[Any]) -> None:
    """Complex numbers have no order, and no functions that need one."""
    if inputs[0].dtype.category == COMPLEX:
        why = f'"{name}" not implemented for {inputs[0].dtype.name} elements'
        _fail(DTypeError, name, inputs, why, "take .real, .imag or .abs() first")


@_primitive("elementwise", "neg sign")
def _unary(name: str, inputs: Sequence[Any]) -> Type:
    return inputs[0].shape, inputs[0].dtype


@_primitive("elementwise", "abs")
def _abs(name: str, inputs: Sequence[Any]) -> Type:
    return inputs[0].shape, dtypes.real_of(inputs[0].dtype)


@_primitive("host", "conj")
def _conj(name: str, inputs: Sequence[Any]) -> Type:
    return inputs[0].shape, inputs[0].dtype


@_primitive(
    "elementwise",
    "exp expm1 log log1p log2 sin cos tan tanh sinh cosh asin acos atan asinh acosh atanh erf erfc "
    "sqrt rsqrt reciprocal sigmoid floor ceil round trunc",
)
def _float_unary(name: str, inputs: Sequence[Any]) -> Type:
    if inputs[0].dtype.category < FLOAT:
        _fail(DTypeError, name, inputs, f"{name} needs floating-point elements")
    if name in _REAL_FUNCTIONS:
        _expect_ordered(name, inputs)
    return inputs[0].shape, inputs[0].dtype


_REAL_FUNCTIONS = frozenset({"erf", "erfc", "floor", "ceil", "round", "trunc"})
_ORDERING = frozenset({"maximum", "minimum", "floor_div", "remainder", "fmod", "atan2"})
_ORDERING |= {"lt", "le", "gt", "ge", "max", "min", "cummax", "cummin"}


@_primitive("elementwise", "int_pow", "exponent")
def _int_pow(name: str, inputs: Sequence[Any], exponent: int) -> Type:
    if exponent < 0 and inputs[0].dtype.category <= INTEGER:
        _fail(DTypeError, name, inputs, "Integers to negative integer powers are not allowed.")
    return inputs[0].shape, inputs[0].dtype


@_primitive("elementwise", "logical_not bitwise_not")
def _bit_unary(name: str, inputs: Sequence[Any]) -> Type:
    wanted = BOOL if name == "logical_not" else INTEGER
    if inputs[0].dtype.category > wanted:
        _fail(DTypeError, name, inputs, f"{name} needs boolean or integer elements")
    return inputs[0].shape, inputs[0].dtype


@_primitive("elementwise", "add sub mul maximum minimum pow floor_div remainder fmod")
def _binary(name: str, inputs: Sequence[Any]) -> Type:
    if name in _ORDERING:
        _expect_ordered(name, inputs)
    return broadcast_shapes(name, inputs), _same_dtype(name, inputs)


@_primitive("elementwise", "div atan2")
def _float_binary(name: str, inputs: Sequence[Any]) -> Type:
    dtype = _same_dtype(name, inputs)
    if dtype.category < FLOAT:
        _fail(DTypeError, name, inputs, f"{name} needs floating-point elements")
    if name in _ORDERING:
        _expect_ordered(name, inputs)
    return broadcast_shapes(name, inputs), dtype


@_primitive("elementwise", "bitwise_and bitwise_or bitwise_xor shift_left shift_right")
def _bit_binary(name: str, inputs: Sequence[Any]) -> Type:
    dtype = _same_dtype(name, inputs)
    if dtype.category > INTEGER:
        _fail(DTypeError, name, inputs, f"{name} is not defined for {dtype.name} elements")
    return broadcast_shapes(name, inputs), dtype


@_primitive("elementwise", "eq ne lt le gt ge")
def _compare(name: str, inputs: Sequence[Any]) -> Type:
    _same_dtype(name, inputs)
    if name in _ORDERING:
        _expect_ordered(name, inputs)
    return broadcast_shapes(name, inputs), dtypes.bool_


@_primitive("elementwise", "where")
def _where(name: str, inputs: Sequence[Any]) -> Type:
    if inputs[0].dtype is not dtypes.bool_:
        _fail(DTypeError, name, inputs, "where expects a boolean condition", "compare, or .bool()")
    return broadcast_shapes(name, inputs), _same_dtype(name, inputs[1:])


@_primitive("elementwise", "cast", "dtype")
def _cast(name: str, inputs: Sequence[Any], dtype: DType) -> Type:
    return inputs[0].shape, dtype


@_primitive("elementwise", "bitcast", "dtype")
def _bitcast(name: str, inputs: Sequence[Any], dtype: DType) -> Type:
    if dtype.itemsize != inputs[0].dtype.itemsize:
        _fail(DTypeError, name, inputs, f"cannot view {inputs[0].dtype.name} as {dtype.name}")
    return inputs[0].shape, dtype


@_primitive("elementwise", "identity")
def _identity(name: str, inputs: Sequence[Any]) -> Type:
    """A copy; also the barrier that keeps a hooked value apart from its equals."""
    return inputs[0].shape, inputs[0].dtype


# ----------------------------------------------------------------------------------------- creation


@_primitive("source", "input", "name role")
def _input(name: str, inputs: Sequence[Any], **_: Any) -> Type:
    raise TypeError("an input's type is given, not inferred: use ir.input")


@_primitive("source", "scalar", "value dtype")
def _scalar(name: str, inputs: Sequence[Any], value: Any, dtype: DType) -> Type:
    """A zero-dimensional literal; kernels read it at run time, so its value is not structure."""
    return (), dtype


@_primitive("source", "constant", "array")
def _constant(name: str, inputs: Sequence[Any], array: Any) -> Type:
    return array.shape, array.dtype


@_primitive("source", "iota", "shape axis dtype")
def _iota(name: str, inputs: Sequence[Any], shape: Shape, axis: int, dtype: DType) -> Type:
    return shape, dtype


@_primitive("elementwise", "random_bits", "shape word")
def _random_bits(name: str, inputs: Sequence[Any], shape: Shape, word: int) -> Type:
    """uint32 words of Philox-2x32 at (element index, offset) under key seed; input int64[2]."""
    if inputs[0].shape != (2,) or inputs[0].dtype is not dtypes.int64:
        _fail(ShapeError, name, inputs, "random_bits expects a generator state int64[2]")
    return shape, dtypes.uint32


# ----------------------------------------------------------------------------------------- movement


@_primitive("movement", "reshape", "shape")
def _reshape(name: str, inputs: Sequence[Any], shape: Shape) -> Type:
    if size_of(shape) != size_of(inputs[0].shape) or any(n < 0 for n in shape):
        n = size_of(inputs[0].shape)
        _fail(ShapeError, name, inputs, f"shape '{list(shape)}' is invalid for input of size {n}")
    return shape, inputs[0].dtype


@_primitive("movement", "permute", "axes")
def _permute(name: str, inputs: Sequence[Any], axes: tuple[int, ...]) -> Type:
    if sorted(axes) != list(range(len(inputs[0].shape))):
        _fail(ShapeError, name, inputs, f"axes {axes} are no permutation of the dimensions")
    return tuple(inputs[0].shape[a] for a in axes), inputs[0].dtype


@_primitive("movement", "expand", "shape")
def _expand(name: str, inputs: Sequence[Any], shape: Shape) -> Type:
    old = inputs[0].shape
    lead = len(shape) - len(old)
    if lead < 0 or any(a != b and a != 1 for a, b in zip(old, shape[lead:], strict=True)):
        _fail(ShapeError, name, inputs, f"cannot expand {list(old)} to {list(shape)}")
    return shape, inputs[0].dtype


@_primitive("movement", "slice", "start stop step")
def _slice(
    name: str, inputs: Sequence[Any], start: Shape, stop: Shape, step: Shape
) -> tuple[Shape, DType]:
    shape = inputs[0].shape
    rows = zip(start, stop, step, shape, strict=True)
    if any(not (0 <= a <= b <= n and s > 0) for a, b, s, n in rows):
        _fail(ShapeError, name, inputs, f"slice [{start}:{stop}:{step}] leaves the tensor")
    out = (-(-(b - a) // s) for a, b, s in zip(start, stop, step, strict=True))
    return tuple(out), inputs[0].dtype


@_primitive("movement", "pad", "low high interior value")
def _pad(
    name: str, inputs: Sequence[Any], low: Shape, high: Shape, interior: Shape, value: Any
) -> Type:
    """``value`` around, and ``interior`` times between, elements; a negative low or high crops."""
    shape = tuple(
        max(n + (n - 1) * between if n else 0, 0) + lo + hi
        for n, lo, hi, between in zip(inputs[0].shape, low, high, interior, strict=True)
    )
    if any(n < 0 for n in shape):
        _fail(ShapeError, name, inputs, f"padding {low}, {high} leaves a negative size")
    return shape, inputs[0].dtype


@_primitive("movement", "flip", "axes")
def _flip(name: str, inputs: Sequence[Any], axes: tuple[int, ...]) -> Type:
    return inputs[0].shape, inputs[0].dtype


@_primitive("host", "view_as_real")
def _view_as_real(name: str, inputs: Sequence[Any]) -> Type:
    """Complex numbers as pairs: a last dimension of real and imaginary part."""
    x = inputs[0]
    if x.dtype.category != COMPLEX:
        _fail(DTypeError, name, inputs, "view_as_real is only supported for complex tensors")
    return (*x.shape, 2), dtypes.real_of(x.dtype)


@_primitive("host", "view_as_complex")
def _view_as_complex(name: str, inputs: Sequence[Any]) -> Type:
    """Pairs in the last dimension as complex numbers."""
    x = inputs[0]
    if x.dtype not in (dtypes.float32, dtypes.float64):
        why = f"view_as_complex is only supported for float32 and float64, got {x.dtype.name}"
        _fail(DTypeError, name, inputs, why)
    if not x.shape or x.shape[-1] != 2:
        _fail(ShapeError, name, inputs, "Tensor must have a last dimension of size 2")
    return x.shape[:-1], dtypes.complex_of(x.dtype)


@_primitive("movement", "concat", "axis")
def _concat(name: str, inputs: Sequence[Any], axis: int) -> Type:
    shape = list(inputs[0].shape)
    for x in inputs[1:]:
        rest = [n for a, n in enumerate(x.shape) if a != axis]
        if len(x.shape) != len(shape) or rest != shape[:axis] + shape[axis + 1 :]:
            _fail(
                ShapeError,
                name,
                inputs,
                f"Sizes of tensors must match except in dimension {axis}. "
                f"Got {list(inputs[0].shape)} and {list(x.shape)}",
            )
    shape[axis] = sum(x.shape[axis] for x in inputs)
    return tuple(shape), _same_dtype(name, inputs)


@_primitive("movement", "window", "axes size stride dilation")
def _window(
    name: str, inputs: Sequence[Any], axes: Shape, size: Shape, stride: Shape, dilation: Shape
) -> Type:
    """A sliding-window view: each axis in ``axes`` counts positions, window axes come last."""
    shape = list(inputs[0].shape)
    for axis, k, s, d in zip(axes, size, stride, dilation, strict=True):
        span = d * (k - 1) + 1
        if span > shape[axis]:
            _fail(
                ShapeError,
                name,
                inputs,
                f"Kernel size can't be greater than actual input size: a window of {span} "
                f"over {shape[axis]} elements in dimension {axis}",
            )
        shape[axis] = (shape[axis] - span) // s + 1
    return (*shape, *size), inputs[0].dtype


@_primitive("movement", "window_sum", "axes size stride dilation extent")
def _window_sum(name: str, inputs: Sequence[Any], axes: Shape, extent: Shape, **_: Any) -> Type:
    """The transpose of ``window``: overlapping windows added into axes of length ``extent``."""
    shape = list(inputs[0].shape[: len(inputs[0].shape) - len(axes)])
    for axis, n in zip(axes, extent, strict=True):
        shape[axis] = n
    return tuple(shape), inputs[0].dtype


@_primitive("movement", "slice_update", "start step")
def _slice_update(name: str, inputs: Sequence[Any], start: Shape, step: Shape) -> Type:
    """The first operand with a strided block overwritten by the second."""
    x, update = inputs
    _same_dtype(name, inputs)
    rows = zip(start, step, update.shape, x.shape, strict=True)
    if any(n and a + (n - 1) * s >= size for a, s, n, size in rows):
        _fail(ShapeError, name, inputs, f"the update at {start} leaves the tensor")
    return x.shape, x.dtype


# ------------------------------------------------------------------------- reductions, contractions


@_primitive("reduce", "sum prod max min", "axes")
def _reduce(name: str, inputs: Sequence[Any], axes: tuple[int, ...]) -> Type:
    shape = inputs[0].shape
    if name in _ORDERING:
        _expect_ordered(name, inputs)
    if name in ("max", "min") and any(shape[a] == 0 for a in axes):
        why = f"{name}(): cannot reduce over a dimension of size 0"
        _fail(ShapeError, name, inputs, why, "reduce a non-empty tensor, or test numel() first")
    return tuple(n for a, n in enumerate(shape) if a not in axes), inputs[0].dtype


@_primitive("reduce", "argmax argmin", "axis")
def _arg_reduce(name: str, inputs: Sequence[Any], axis: int) -> Type:
    shape = inputs[0].shape
    _expect_ordered(name, inputs)
    if shape[axis] == 0:
        _fail(ShapeError, name, inputs, f"{name}(): cannot reduce over a dimension of size 0")
    return shape[:axis] + shape[axis + 1 :], dtypes.int64


@_primitive("cumulative", "cumsum cumprod cummax cummin", "axis")
def _cumulative(name: str, inputs: Sequence[Any], axis: int) -> Type:
    if name in _ORDERING:
        _expect_ordered(name, inputs)
    return inputs[0].shape, inputs[0].dtype


@_primitive("contract", "dot_general", "contract batch")
def _dot_general(name: str, inputs: Sequence[Any], contract: Any, batch: Any) -> Type:
    """Result dimensions: batch, then the free ones of the left, then those of the right."""
    a, b = inputs
    dtype = _same_dtype(name, inputs)
    pairs = [*zip(contract[0], contract[1], strict=True), *zip(batch[0], batch[1], strict=True)]
    for i, j in pairs:
        if a.shape[i] != b.shape[j]:
            _fail(
                ShapeError,
                name,
                inputs,
                f"mat1 and mat2 shapes cannot be multiplied: dimension {i} of the first has "
                f"{a.shape[i]} elements, dimension {j} of the second has {b.shape[j]}",
                "the contracted sizes must be equal: check in_features / in_channels, or transpose",
            )
    free_a = [n for i, n in enumerate(a.shape) if i not in (*contract[0], *batch[0])]
    free_b = [n for j, n in enumerate(b.shape) if j not in (*contract[1], *batch[1])]
    return tuple([a.shape[i] for i in batch[0]] + free_a + free_b), dtype


# -------------------------------------------------------------------------------- indexing, sorting


def _check_index(name: str, inputs: Sequence[Any], axis: int, rest: Sequence[Any]) -> None:
    x, index = inputs[:2]
    if index.dtype not in (dtypes.int64, dtypes.int32):
        why = f"{name}(): expected an int32 or int64 index, got {index.dtype.name}"
        _fail(DTypeError, name, inputs, why, "convert the index with .long()")
    for y in (index, *rest):
        sizes = zip(y.shape, x.shape, strict=False)
        if len(y.shape) != len(x.shape) or (
            y is index and any(a != axis and n > m for a, (n, m) in enumerate(sizes))
        ):
            why = f"{name}(): index {list(index.shape)} does not fit {list(x.shape)} on axis {axis}"
            _fail(ShapeError, name, inputs, why)


@_primitive("index", "gather", "axis")
def _gather(name: str, inputs: Sequence[Any], axis: int) -> Type:
    """``out[i, j] = x[index[i, j], j]`` for axis 0; indices in range, not negative."""
    _check_index(name, inputs, axis, ())
    return inputs[1].shape, inputs[0].dtype


@_primitive("index", "scatter scatter_add", "axis")
def _scatter(name: str, inputs: Sequence[Any], axis: int) -> Type:
    """``x`` with ``x[index[i, j], j]`` set to (or increased by) ``source[i, j]`` for axis 0."""
    _check_index(name, inputs, axis, inputs[2:])
    _same_dtype(name, (inputs[0], inputs[2]))
    return inputs[0].shape, inputs[0].dtype


@_primitive("sort", "sort", "axis descending", results=True)
def _sort(name: str, inputs: Sequence[Any], axis: int, descending: bool) -> tuple[Type, Type]:
    """Stable sort: (values, indices)."""
    _expect_ordered(name, inputs)
    x = inputs[0]
    return (x.shape, x.dtype), (x.shape, dtypes.int64)


# ------------------------------------------------------------- several results, control, host calls


@_primitive("project", "result", "index")
def _result(name: str, inputs: Sequence[Any], index: int) -> Type:
    return inputs[0].results[index]


@_primitive("control", "scan", "body carries sequences length reverse", results=True)
def _scan(
    name: str,
    inputs: Sequence[Any],
    body: Any,
    carries: int,
    sequences: int,
    length: int,
    reverse: bool,
) -> tuple[Type, ...]:
    """Operands: carries, sequences (leading axis ``length``), constants. Gives carries, stacks."""
    for x in inputs[carries : carries + sequences]:
        if not x.shape or x.shape[0] != length:
            _fail(ShapeError, name, inputs, f"every sequence must have {length} leading elements")
    for x, y in zip(inputs[:carries], body.outputs[:carries], strict=True):
        if (x.shape, x.dtype) != (y.shape, y.dtype):
            _fail(ShapeError, name, (x, y), "a carry must keep its shape and dtype in the body")
    stacked = (((length, *y.shape), y.dtype) for y in body.outputs[carries:])
    return (*((y.shape, y.dtype) for y in body.outputs[:carries]), *stacked)


@_primitive("control", "cond", "then otherwise", results=True)
def _cond(name: str, inputs: Sequence[Any], then: Any, otherwise: Any) -> tuple[Type, ...]:
    """First operand a boolean scalar; both graphs take the rest and agree on their results."""
    types = tuple((y.shape, y.dtype) for y in then.outputs)
    if types != tuple((y.shape, y.dtype) for y in otherwise.outputs):
        _fail(ShapeError, name, inputs, "both branches of cond must return the same types")
    return types


@_primitive("control", "while_loop", "test body carries", results=True)
def _while(
    name: str, inputs: Sequence[Any], test: Any, body: Any, carries: int
) -> tuple[Type, ...]:
    """Carries, then constants; runs ``body`` while ``test`` holds."""
    types = tuple((x.shape, x.dtype) for x in inputs[:carries])
    if types != tuple((y.shape, y.dtype) for y in body.outputs):
        _fail(ShapeError, name, inputs, "the body of while_loop must keep its carries' types")
    return types


@_primitive("host", "custom_call", "function types", results=True)
def _custom_call(
    name: str, inputs: Sequence[Any], function: Any, types: tuple[Type, ...]
) -> tuple[Type, ...]:
    """A NumPy function called from a program (linear algebra, FFT): arrays in, arrays out."""
    return types


def size_of(shape: Shape) -> int:
    """Number of elements of a shape."""
    n = 1
    for extent in shape:
        n *= extent
    return n
