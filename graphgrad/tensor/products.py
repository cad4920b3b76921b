"""Products of vectors, matrices and batches: all of them one contraction, ``dot_general``."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from graphgrad.errors import ShapeError, message
from graphgrad.tensor.casting import as_they_are, lowered
from graphgrad.tensor.composite import composite
from graphgrad.tensor.core import FUNCTIONS, Tensor, both, function, method
from graphgrad.tensor.plan import apply
from graphgrad.tensor.shapes import axis_of
from graphgrad.tensor.state import state

NO_BATCH: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())


def contract(x: Tensor, y: Tensor, left: Sequence[int], right: Sequence[int]) -> Tensor:
    """Sum over paired dimensions of the two."""
    return apply("dot_general", x, y, contract=(tuple(left), tuple(right)), batch=NO_BATCH)


def _expect(name: str, ok: bool, why: str, *operands: Tensor) -> None:
    if not ok:
        raise ShapeError(message(f"{name}(): {why}", name, operands))


def _same_kind(name: str, x: Tensor, y: Tensor) -> None:
    if x.dtype is not y.dtype:
        raise RuntimeError(
            message(
                f"expected m1 and m2 to have the same dtype, but got: {x.dtype.name} != "
                f"{y.dtype.name}",
                name,
                (x, y),
                "convert one of them with .to(dtype)",
            )
        )


@both
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """[n, k] times [k, m] → [n, m]."""
    if state.casting is not None:
        input, mat2 = lowered(input, mat2)
    _expect("mm", input.ndim == 2 and mat2.ndim == 2, "both must be matrices", input, mat2)
    _same_kind("mm", input, mat2)
    if input.shape[1] != mat2.shape[0]:
        (n, k), (j, m) = input.shape, mat2.shape
        why = f"mat1 and mat2 shapes cannot be multiplied ({n}x{k} and {j}x{m})"
        hint = "the first's columns must equal the second's rows: check in_features, or transpose"
        raise ShapeError(message(why, "matmul", (input, mat2), hint))
    return contract(input, mat2, (1,), (0,))


@both
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """[b, n, k] times [b, k, m] → [b, n, m]."""
    if state.casting is not None:
        input, mat2 = lowered(input, mat2)
    _expect("bmm", input.ndim == 3 and mat2.ndim == 3, "batches of matrices expected", input, mat2)
    _same_kind("bmm", input, mat2)
    fits = input.shape[0] == mat2.shape[0] and input.shape[2] == mat2.shape[1]
    _expect("bmm", fits, "the batch sizes or inner sizes differ", input, mat2)
    return apply("dot_general", input, mat2, contract=((2,), (1,)), batch=((0,), (0,)))


@both
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """[n, k] times [k] → [n]."""
    if state.casting is not None:
        # By PyTorch's lists CUDA computes these in the low-precision type, the CPU does not.
        if input.device.type == "cpu":
            with as_they_are():
                return mv(input, vec)
        input, vec = lowered(input, vec)
    fits = input.ndim == 2 and vec.ndim == 1 and input.shape[1] == vec.shape[0]
    _expect("mv", fits, f"size mismatch, got {list(input.shape)}, {list(vec.shape)}", input, vec)
    return contract(input, vec, (1,), (0,))


@both
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """[k] times [k] → a number."""
    _expect("dot", input.ndim == 1 and tensor.ndim == 1, "1D tensors expected", input, tensor)
    _expect("dot", input.shape == tensor.shape, "the lengths differ", input, tensor)
    _same_kind("dot", input, tensor)
    return contract(input, tensor, (0,), (0,))


FUNCTIONS["inner"] = Tensor.inner = lambda input, other: (  # type: ignore[attr-defined]
    contract(input, other, (input.ndim - 1,), (other.ndim - 1,))
    if input.ndim and other.ndim
    else input * other
)


@both
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """``dot`` with the first operand conjugated."""
    return dot(input.conj(), other)


@both
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """[n] times [m] → [n, m]."""
    _expect("outer", input.ndim == 1 and vec2.ndim == 1, "1D tensors expected", input, vec2)
    return input.unsqueeze(1) * vec2


FUNCTIONS["ger"] = Tensor.ger = outer  # type: ignore[attr-defined]


@both
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The product of vectors, matrices or broadcast batches of matrices, as ``@``.

    [k]·[k] → number;  [n,k]·[k] → [n];  [k]·[k,m] → [m];  [n,k]·[k,m] → [n,m];  leading
    dimensions broadcast.
    """
    if not isinstance(other, Tensor):
        return NotImplemented
    if state.casting is not None:
        input, other = lowered(input, other)
    n, m = input.ndim, other.ndim
    if n == 0 or m == 0:
        why = "both arguments to matmul need to be at least 1D"
        raise ShapeError(message(why, "matmul", (input, other)))
    _same_kind("matmul", input, other)
    if n == 1 and m == 1:
        return dot(input, other)
    if n == 2 and m == 1:
        return mv(input, other)
    if n == 1:
        return matmul(input.unsqueeze(0), other).squeeze(-2)
    if n == 2 and m == 2:
        return mm(input, other)
    if m <= 2:
        return _rows_times(input, other)
    return _batched(input, other)


def _rows_times(input: Tensor, other: Tensor) -> Tensor:
    """Leading dimensions of the left are rows of one product: no batch, one large contraction."""
    inner = input.shape[-1]
    _expect("matmul", inner == other.shape[0], _inner_text(input, other), input, other)
    return contract(input, other, (input.ndim - 1,), (0,))


def _inner_text(input: Tensor, other: Tensor) -> str:
    k, j = input.shape[-1], other.shape[-2 if other.ndim > 1 else -1]
    return f"the inner sizes must agree: {k} elements in each row, {j} in each column"


def _batched(input: Tensor, other: Tensor) -> Tensor:
    vector = other.ndim == 1
    _expect("matmul", input.shape[-1] == other.shape[-2], _inner_text(input, other), input, other)
    lead = FUNCTIONS["broadcast_shapes"](input.shape[:-2], other.shape[:-2])
    b = len(lead)
    x = input.expand(*lead, *input.shape[-2:])
    y = other.expand(*lead, *other.shape[-2:])
    axes = tuple(range(b))
    out = apply("dot_general", x, y, contract=((b + 1,), (b,)), batch=(axes, axes))
    return out.squeeze(-1) if vector else out


@method
def __matmul__(self: Tensor, other: Any) -> Any:
    return matmul(self, other)


@method
def __rmatmul__(self: Tensor, other: Any) -> Any:
    if not isinstance(other, Tensor):
        other = FUNCTIONS["as_tensor"](other, device=self.device)
    return other @ self


def _plus_product(name: str, product: Any) -> Any:
    """``beta·input + alpha·product``: addmm and its relatives."""

    def operation(
        input: Tensor, first: Tensor, second: Tensor, *, beta: Any = 1, alpha: Any = 1
    ) -> Tensor:
        if state.casting is not None:
            input, first, second = lowered(input, first, second)
        out = product(first, second)
        out = out if alpha == 1 else out * alpha
        if beta == 0:
            # PyTorch does not read ``input`` then: a NaN in it must not show.
            return out
        return out + (input if beta == 1 else input * beta)

    operation.__name__ = name
    operation.__doc__ = f"``beta * input + alpha * ({name[3:] or 'mm'} of the other two)``."
    return operation


for _name, _product in {
    "addmv": mv,
    "addr": outer,
    "baddbmm": bmm,
    "addbmm": lambda a, b: bmm(a, b).sum(0),
}.items():
    FUNCTIONS[_name] = _plus_product(_name, _product)
    setattr(Tensor, _name, FUNCTIONS[_name])


@both
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * mat1 @ mat2``, as one operation."""
    if state.casting is not None:
        input, mat1, mat2 = lowered(input, mat1, mat2)
    fits = mat1.ndim == 2 and mat2.ndim == 2 and mat1.shape[1] == mat2.shape[0]
    if not fits or not input.dtype is mat1.dtype is mat2.dtype or input.ndim > 2:
        return input * beta + mm(mat1, mat2) * alpha
    return _addmm(input, mat1, mat2, beta, alpha)


@composite("AddmmBackward0")
def _addmm(input: Tensor, mat1: Tensor, mat2: Tensor, beta: Any, alpha: Any) -> Tensor:
    return _plus_product("addmm", mm)(input, mat1, mat2, beta=beta, alpha=alpha)


@function
def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of several matrices, from the left."""
    return functools.reduce(mm, matrices)


@both
def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product."""
    ndim = max(input.ndim, other.ndim)
    a = input.reshape([1] * (ndim - input.ndim) + list(input.shape))
    b = other.reshape([1] * (ndim - other.ndim) + list(other.shape))
    wide = [n for size in a.shape for n in (size, 1)]
    tall = [n for size in b.shape for n in (1, size)]
    sizes = [n * m for n, m in zip(a.shape, b.shape, strict=True)]
    return (a.reshape(wide) * b.reshape(tall)).reshape(sizes)


@function
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Contract the last ``dims`` dimensions of ``a`` with the first of ``b``, or listed pairs."""
    if isinstance(dims, int):
        left = range(a.ndim - dims, a.ndim)
        right = range(dims)
    else:
        left, right = ([d] if isinstance(d, int) else d for d in dims)
    left = [axis_of(d, a.ndim) for d in left]
    right = [axis_of(d, b.ndim) for d in right]
    if len(left) != len(right):
        raise RuntimeError("both dimension lists should have same length")
    # A dimension of size 1 is contracted with all of its partner's.
    for i, j in zip(left, right, strict=True):
        if a.shape[i] == 1 != b.shape[j]:
            b = b.sum(j, keepdim=True)
        elif b.shape[j] == 1 != a.shape[i]:
            a = a.sum(i, keepdim=True)
    return contract(a, b, left, right)


@both
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The vector product along a dimension of size 3."""
    axis = dim if dim is not None else next(i for i, n in enumerate(input.shape) if n == 3)
    a1, a2, a3 = input.unbind(axis)
    b1, b2, b3 = other.unbind(axis)
    parts = [a2 * b3 - a3 * b2, a3 * b1 - a1 * b3, a1 * b2 - a2 * b1]
    return FUNCTIONS["stack"](parts, axis)


# ------------------------------------------------------------------------------------------- einsum


@function
def einsum(equation: str, *operands: Any) -> Tensor:
    """Einstein summation: ``einsum("bij,bjk->bik", x, y)``; ``...`` stands for batch dimensions.

    Operands are contracted from the left, two at a time.
    """
    tensors = (
        operands[0] if len(operands) == 1 and not isinstance(operands[0], Tensor) else operands
    )
    terms, output = _parse(equation.replace(" ", ""), tensors)
    pairs = [_diagonals(x, term) for x, term in zip(tensors, terms, strict=True)]
    x, term = pairs[0]
    for i, (y, other) in enumerate(pairs[1:], 1):
        later = set("".join(t for _, t in pairs[i + 1 :])) | set(output)
        x, term = _pairwise(x, term, y, other, later)
    return _arranged(x, term, output)


_SPARE = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _parse(equation: str, tensors: Sequence[Tensor]) -> tuple[list[str], str]:
    left, arrow, output = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(tensors):
        raise RuntimeError(f"einsum(): {len(terms)} terms for {len(tensors)} operands: {equation}")
    free = [c for c in _SPARE if c not in equation]
    widest = 0
    for i, (term, x) in enumerate(zip(terms, tensors, strict=True)):
        if "..." in term:
            n = x.ndim - len(term) + 3
            widest = max(widest, n)
            terms[i] = term.replace("...", "".join(free[:n][::-1]))
        if len(terms[i]) != x.ndim:
            raise RuntimeError(
                f"einsum(): the number of subscripts in {term!r} does not match the "
                f"{x.ndim} dimensions of its operand"
            )
    batch = "".join(free[:widest][::-1])
    if arrow:
        return terms, output.replace("...", batch)
    letters = "".join(terms)
    once = sorted(c for c in set(letters) if letters.count(c) == 1 and c not in batch)
    return terms, batch + "".join(once)


def _diagonals(x: Tensor, term: str) -> tuple[Tensor, str]:
    """A letter twice in one term walks the diagonal."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            i = term.index(letter)
            j = term.index(letter, i + 1)
            x = x.diagonal(0, i, j)
            term = term[:i] + term[i + 1 : j] + term[j + 1 :] + letter
    return x, term


def _pairwise(x: Tensor, a: str, y: Tensor, b: str, later: set[str]) -> tuple[Tensor, str]:
    """Contract two terms over the letters nothing later reads."""
    x, a = _summed(x, a, set(b) | later)
    y, b = _summed(y, b, set(a) | later)
    shared = [c for c in a if c in b]
    wide = {c for c in shared if x.shape[a.index(c)] != y.shape[b.index(c)]}
    x, y = _stretched(x, a, y, b, wide), _stretched(y, b, x, a, wide)
    batch = [c for c in shared if c in later]
    gone = [c for c in shared if c not in later]
    out = apply(
        "dot_general",
        x,
        y,
        contract=(tuple(a.index(c) for c in gone), tuple(b.index(c) for c in gone)),
        batch=(tuple(a.index(c) for c in batch), tuple(b.index(c) for c in batch)),
    )
    left = [c for c in a if c not in shared]
    right = [c for c in b if c not in shared]
    return out, "".join(batch + left + right)


def _summed(x: Tensor, term: str, needed: set[str]) -> tuple[Tensor, str]:
    gone = [i for i, c in enumerate(term) if c not in needed]
    return (x.sum(gone), "".join(c for c in term if c in needed)) if gone else (x, term)


def _stretched(x: Tensor, a: str, y: Tensor, b: str, letters: set[str]) -> Tensor:
    """Sizes of 1 broadcast against the other operand."""
    if not letters:
        return x
    pairs = zip(a, x.shape, strict=True)
    sizes = [y.shape[b.index(c)] if c in letters and n == 1 else n for c, n in pairs]
    return x.expand(*sizes)


def _arranged(x: Tensor, term: str, output: str) -> Tensor:
    if len(set(output)) != len(output) or not set(output) <= set(term):
        raise RuntimeError(f"einsum(): output subscripts {output!r} do not fit {term!r}")
    x, term = _summed(x, term, set(output))
    order = [term.index(c) for c in output]
    return x if order == sorted(order) else x.permute(*order)
