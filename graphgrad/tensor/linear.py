"""Products of matrices and vectors: matmul and its many names, einsum.

All are one contraction primitive, ``dot_general``, between views of the operands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from graphgrad import lang
from graphgrad.errors import ShapeError, message
from graphgrad.tensor.composite import composite
from graphgrad.tensor.core import Tensor, both, function, method
from graphgrad.tensor.plan import apply
from graphgrad.tensor.promotion import joined
from graphgrad.tensor.shapes import axis_of, reshape_view

Contract = tuple[tuple[int, ...], tuple[int, ...]]
_NONE: Contract = ((), ())


def _same_type(*operands: Tensor) -> list[Tensor]:
    kind = joined(*operands)
    for x in operands:
        if x.dtype is not kind:
            raise RuntimeError(
                f"expected m1 and m2 to have the same dtype, but got: {operands[0].dtype} != "
                f"{operands[1].dtype}"
            )
    return list(operands)


def _wrong_shapes(x: Any, y: Any, name: str) -> ShapeError:
    def spelled(t: Any) -> str:
        return "x".join(map(str, t.shape))

    reason = f"mat1 and mat2 shapes cannot be multiplied ({spelled(x)} and {spelled(y)})"
    hint = "the last size of the first must be the first size of the second: check or transpose"
    return ShapeError(message(reason, name, (x, y), hint))


@composite("MmBackward0")
def _mm(x: Tensor, y: Tensor) -> Tensor:
    return lang.dot_general(x, y, ((1,), (0,)))


@both
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """(n, k) times (k, m)."""
    if input.ndim != 2 or mat2.ndim != 2:
        raise RuntimeError("mm(): both arguments must be matrices (2-D)")
    if input.shape[1] != mat2.shape[0]:
        raise _wrong_shapes(input, mat2, "mm")
    return _mm(*_same_type(input, mat2))


@composite("MvBackward0")
def _mv(x: Tensor, y: Tensor) -> Tensor:
    return lang.dot_general(x, y, ((1,), (0,)))


@both
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """(n, k) times (k,)."""
    if input.ndim != 2 or vec.ndim != 1 or input.shape[1] != vec.shape[0]:
        raise ShapeError(
            message(
                f"size mismatch, got input ({'x'.join(map(str, input.shape))}), "
                f"vec ({'x'.join(map(str, vec.shape))})",
                "mv",
                (input, vec),
            )
        )
    return _mv(*_same_type(input, vec))


@composite("DotBackward0")
def _dot(x: Tensor, y: Tensor) -> Tensor:
    return lang.dot_general(x, y, ((0,), (0,)))


@both
def dot(input: Tensor, other: Tensor) -> Tensor:
    """The inner product of two vectors."""
    if input.ndim != 1 or other.ndim != 1:
        raise RuntimeError(
            f"1D tensors expected, but got {input.ndim}D and {other.ndim}D tensors"
        )
    if input.shape != other.shape:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{input.shape[0]}] and src "
            f"[{other.shape[0]}] to have the same number of elements"
        )
    return _dot(*_same_type(input, other))


@both
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """``dot`` (of real vectors)."""
    return dot(input, other)


@both
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Products summed over both last dimensions."""
    if not input.ndim or not other.ndim:
        return input * other
    return apply(
        "dot_general",
        *_same_type(input, other),
        contract=((input.ndim - 1,), (other.ndim - 1,)),
        batch=_NONE,
    )


@both
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """Every product of two vectors' elements."""
    return input.unsqueeze(1) * vec2.unsqueeze(0)


@both
def ger(input: Tensor, vec2: Tensor) -> Tensor:
    """The old name of ``outer``."""
    return outer(input, vec2)


@composite("BmmBackward0")
def _bmm(x: Tensor, y: Tensor) -> Tensor:
    return lang.dot_general(x, y, ((2,), (1,)), ((0,), (0,)))


@both
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """A batch of matrix products: (b, n, k) times (b, k, m)."""
    if input.ndim != 3 or mat2.ndim != 3:
        raise RuntimeError("batch1 must be a 3D tensor")
    if input.shape[0] != mat2.shape[0] or input.shape[2] != mat2.shape[1]:
        raise ShapeError(
            message(
                "Expected size for first two dimensions of batch2 tensor to be: "
                f"[{input.shape[0]}, {input.shape[2]}] but got: [{mat2.shape[0]}, {mat2.shape[1]}].",
                "bmm",
                (input, mat2),
            )
        )
    return _bmm(*_same_type(input, mat2))


@both
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product; more dimensions are batches and broadcast, vectors are rows or columns."""
    x, y = input, other
    if not isinstance(y, Tensor):
        raise TypeError(f"matmul(): argument 'other' must be Tensor, not {type(y).__name__}")
    if x.ndim == 0 or y.ndim == 0:
        raise RuntimeError("both arguments to matmul need to be at least 1D, but they are 0D")
    if x.ndim == 2 and y.ndim == 2:
        return mm(x, y)
    if x.ndim == 1 and y.ndim == 1:
        return dot(x, y)
    if x.ndim == 2 and y.ndim == 1:
        return mv(x, y)
    if x.ndim == 1:
        out = matmul(x.unsqueeze(0), y)
        return reshape_view(out, (*out.shape[:-2], out.shape[-1]))
    if y.ndim == 1:
        return mv(x.reshape(-1, x.shape[-1]), y).reshape(x.shape[:-1])
    return _batched(x, y)


def _batched(x: Tensor, y: Tensor) -> Tensor:
    if x.shape[-1] != y.shape[-2]:
        raise _wrong_shapes(x, y, "matmul")
    n, k = x.shape[-2:]
    m = y.shape[-1]
    if y.ndim == 2:
        return mm(x.reshape(-1, k), y).reshape((*x.shape[:-1], m))
    from graphgrad.tensor.shapes import broadcast_shapes

    lead = broadcast_shapes(x.shape[:-2], y.shape[:-2])
    size = math.prod(lead)
    left = x.expand((*lead, n, k)).reshape(size, n, k)
    right = y.expand((*lead, k, m)).reshape(size, k, m)
    return bmm(left, right).reshape((*lead, n, m))


@method
def __matmul__(self: Tensor, other: Tensor) -> Tensor:
    return matmul(self, other) if isinstance(other, Tensor) else NotImplemented


@method
def __rmatmul__(self: Tensor, other: Any) -> Tensor:
    return matmul(other, self)


# ------------------------------------------------------------------------------------ plus something


@composite("AddmmBackward0")
def _addmm(bias: Tensor, x: Tensor, y: Tensor, beta: float, alpha: float) -> Tensor:
    product = lang.dot_general(x, y, ((1,), (0,)))
    return _scaled(bias, beta) + _scaled(product, alpha)


def _scaled(x: Tensor, factor: float) -> Tensor:
    return x if factor == 1 else x * factor


@both
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * mat1 @ mat2``."""
    if mat1.ndim != 2 or mat2.ndim != 2 or mat1.shape[1] != mat2.shape[0]:
        raise _wrong_shapes(mat1, mat2, "addmm")
    return _addmm(input, *_same_type(mat1, mat2), beta, alpha)


@both
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * mat @ vec``."""
    return _scaled(input, beta) + _scaled(mv(mat, vec), alpha)


@both
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * outer(vec1, vec2)``."""
    return _scaled(input, beta) + _scaled(outer(vec1, vec2), alpha)


@both
def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    """``beta * input + alpha * bmm(batch1, batch2)``."""
    return _scaled(input, beta) + _scaled(bmm(batch1, batch2), alpha)


@both
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * bmm(batch1, batch2).sum(0)``."""
    return _scaled(input, beta) + _scaled(bmm(batch1, batch2).sum(0), alpha)


@both
def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product."""
    n = max(input.ndim, other.ndim)
    a, b = (x.reshape((1,) * (n - x.ndim) + tuple(x.shape)) for x in (input, other))
    left = a.reshape([s for size in a.shape for s in (size, 1)])
    right = b.reshape([s for size in b.shape for s in (1, size)])
    return (left * right).reshape([p * q for p, q in zip(a.shape, b.shape, strict=True)])


@both
def cross(input: Tensor, other: Tensor, dim: int = -1) -> Tensor:
    """The vector product along a dimension of size 3."""
    axis = axis_of(dim, input.ndim)
    a1, a2, a3 = input.unbind(axis)
    b1, b2, b3 = other.unbind(axis)
    from graphgrad.tensor.joining import stack

    return stack([a2 * b3 - a3 * b2, a3 * b1 - a1 * b3, a1 * b2 - a2 * b1], axis)


@function
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Sum products over the last ``dims`` of ``a`` and the first of ``b``, or over the lists given."""
    if isinstance(dims, int):
        dims = (tuple(range(a.ndim - dims, a.ndim)), tuple(range(dims)))
    left, right = (
        tuple(axis_of(d, x.ndim) for d in ds) for ds, x in zip(dims, (a, b), strict=True)
    )
    return apply("dot_general", *_same_type(a, b), contract=(left, right), batch=_NONE)


@function
def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of several matrices, from left to right."""
    out = matrices[0]
    for x in matrices[1:]:
        out = mm(out, x)
    return out


# --------------------------------------------------------------------------------------------- einsum


@function
def einsum(equation: str, *operands: Any) -> Tensor:
    """Sums of products by index letters: ``einsum("bij,bjk->bik", x, y)``; supports ``...``."""
    tensors: Sequence[Tensor] = operands[0] if isinstance(operands[0], (list, tuple)) else operands
    inputs, output = _letters(equation.replace(" ", ""), tensors)
    value, names = _diagonals(tensors[0], inputs[0])
    for i, (x, letters) in enumerate(zip(tensors[1:], inputs[1:], strict=True), 1):
        later = set("".join(inputs[i + 1 :]) + output)
        other, other_names = _diagonals(x, letters)
        value, names = _pair(value, names, other, other_names, later)
    dropped = tuple(i for i, c in enumerate(names) if c not in output)
    if dropped:
        value = value.sum(dropped)
        names = "".join(c for c in names if c in output)
    return value.permute([names.index(c) for c in output]) if names else value


def _letters(equation: str, tensors: Sequence[Tensor]) -> tuple[list[str], str]:
    """Index letters of every operand and of the result; an ellipsis becomes capital-like letters."""
    left, arrow, output = equation.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(tensors):
        raise RuntimeError(
            f"einsum(): more operands were provided than specified in the equation: {equation}"
        )
    spare = [chr(c) for c in range(0x3B1, 0x3C9)]
    longest = 0
    for i, (letters, x) in enumerate(zip(inputs, tensors, strict=True)):
        if "..." in letters:
            n = x.ndim - len(letters) + 3
            longest = max(longest, n)
            inputs[i] = letters.replace("...", "".join(spare[len(spare) - n :]) if n else "")
        if len(inputs[i]) != x.ndim:
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(inputs[i])}) does not match "
                f"the number of dimensions ({x.ndim}) for operand {i} and no ellipsis was given"
            )
    dots = "".join(spare[len(spare) - longest :]) if longest else ""
    if not arrow:
        every = "".join(inputs)
        output = "..." + "".join(sorted(c for c in set(every) - set(dots) if every.count(c) == 1))
    return inputs, output.replace("...", dots)


def _diagonals(x: Tensor, letters: str) -> tuple[Tensor, str]:
    """A repeated letter within one operand is its diagonal."""
    for c in dict.fromkeys(letters):
        while letters.count(c) > 1:
            first = letters.index(c)
            second = letters.index(c, first + 1)
            x = x.diagonal(0, first, second)
            letters = letters[:first] + letters[first + 1 : second] + letters[second + 1 :] + c
    return x, letters


def _pair(x: Tensor, a: str, y: Tensor, b: str, later: set[str]) -> tuple[Tensor, str]:
    """Contract two operands over the letters nobody needs later; sizes of 1 broadcast."""
    size = dict(zip(b, y.shape, strict=True)) | {
        c: max(n, dict(zip(b, y.shape, strict=True)).get(c, 1))
        for c, n in zip(a, x.shape, strict=True)
    }
    x, y = (
        t.expand([size[c] for c in letters]) if c_broadcasts(t, letters, size) else t
        for t, letters in ((x, a), (y, b))
    )
    shared = [c for c in a if c in b]
    batch = [c for c in shared if c in later]
    summed = [c for c in shared if c not in later]
    out = apply(
        "dot_general",
        *_same_type(x, y),
        contract=(tuple(map(a.index, summed)), tuple(map(b.index, summed))),
        batch=(tuple(map(a.index, batch)), tuple(map(b.index, batch))),
    )
    free = [c for c in a if c not in shared] + [c for c in b if c not in shared]
    return out, "".join([*batch, *free])


def c_broadcasts(t: Tensor, letters: str, size: dict[str, int]) -> bool:
    """Whether an operand has size 1 where the other has more."""
    return any(n != size[c] for c, n in zip(letters, t.shape, strict=True))
