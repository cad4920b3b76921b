"""Sparse tensors in coordinate form (COO): what ``Embedding(sparse=True)`` leaves in ``.grad``.

    g = sparse_coo_tensor([[1, 2, 1]], values, (1000, 64))      # rows 1, 2 and 1 again
    g.coalesce().indices(), g.to_dense()

They hold gradients: they can be added up, scaled, negated and made dense, and SGD, Adagrad and
SparseAdam take them. Any other operation raises NotImplementedError, which says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphgrad.device import device
from graphgrad.dtypes import DType, int64
from graphgrad.tensor.core import FUNCTIONS, Size, Storage, Tensor, function, method, wrap
from graphgrad.tensor.place import to_device
from graphgrad.tensor.promotion import is_number
from graphgrad.tensor.state import no_grad, state

_UNSUPPORTED = (
    "this operation does not take sparse tensors: use .to_dense() first (optimizers that take "
    "sparse gradients are SGD, Adagrad and SparseAdam)"
)


class SparseTensor(Tensor):
    """Values (nnz, *dense part) at indices (sparse dimensions, nnz); repeated places add up."""

    __slots__ = ("_coalesced", "_places", "_shape", "_vals")

    _places: Tensor
    _vals: Tensor
    _shape: Size
    _coalesced: bool

    def __new__(
        cls, indices: Tensor, values: Tensor, size: Sequence[int], coalesced: bool = False
    ) -> Any:
        t = object.__new__(cls)
        t._places, t._vals, t._shape, t._coalesced = indices, values, Size(size), coalesced
        t._node, t._needs, t._edge, t._grad = None, False, None, None
        t._storage, t._base, t._chain, t._hooks, t._retains = Storage(), None, (), None, False
        return t

    # Every operation that knows nothing of sparse tensors asks for the memory, and gets this.
    @property
    def _array(self) -> Any:  # type: ignore[override]
        raise NotImplementedError(_UNSUPPORTED)

    @classmethod
    def _apply(cls, name: str, inputs: Sequence[Any], attrs: dict[str, Any]) -> Tensor:
        raise NotImplementedError(_UNSUPPORTED)

    # ------------------------------------------------------------------------------- what it is

    @property
    def device(self) -> device:
        return self._vals.device

    @property
    def shape(self) -> Size:
        return self._shape

    @property
    def dtype(self) -> DType:
        return self._vals.dtype

    @property
    def ndim(self) -> int:
        return len(self._shape)

    is_sparse = True  # type: ignore[assignment]
    layout = "torch.sparse_coo"  # type: ignore[assignment]

    def dim(self) -> int:
        """The number of dimensions, sparse and dense."""
        return len(self._shape)

    def sparse_dim(self) -> int:
        """How many leading dimensions the indices address."""
        return self._places.shape[0]

    def dense_dim(self) -> int:
        """How many dimensions each value has."""
        return self._vals.dim() - 1

    def numel(self) -> int:
        """The number of elements that the dense form has."""
        return self._shape.numel()

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one extent."""
        return self._shape if dim is None else self._shape[dim]

    def _nnz(self) -> int:
        return self._places.shape[1]

    def __len__(self) -> int:
        return self._shape[0]

    def is_coalesced(self) -> bool:
        """Whether every place appears once, in order."""
        return self._coalesced

    def _indices(self) -> Tensor:
        return self._places

    def _values(self) -> Tensor:
        return self._vals

    def indices(self) -> Tensor:
        """int64 (sparse dimensions, nnz); of a coalesced tensor only."""
        self._check_coalesced("indices")
        return self._places

    def values(self) -> Tensor:
        """(nnz, *dense part); of a coalesced tensor only."""
        self._check_coalesced("values")
        return self._vals

    def _check_coalesced(self, what: str) -> None:
        if not self._coalesced:
            raise RuntimeError(
                f"Cannot get {what} on an uncoalesced tensor, please call .coalesce() first"
            )

    # ---------------------------------------------------------------------------- other forms

    def coalesce(self) -> SparseTensor:
        """The same tensor with every place once, in order, its values added up."""
        if self._coalesced:
            return self
        lead = self._shape[: self.sparse_dim()]
        places = self._places.concrete("coalesce()")
        if not places.size:
            return self._with(self._places, self._vals, True)
        flat, owner = np.unique(np.ravel_multi_index(tuple(places), lead), return_inverse=True)
        found = np.stack(np.unravel_index(flat, lead)).astype(np.int64)
        with no_grad():
            sums = self._vals.new_zeros((len(flat), *self._vals.shape[1:]))
            sums.index_add_(0, _beside(owner.reshape(-1), self._vals), self._vals)
        return self._with(_beside(found, self._vals), sums, True)

    def to_dense(self, dtype: DType | None = None) -> Tensor:
        """The tensor with zeros where there are no values."""
        whole = self.coalesce()
        with no_grad():
            dense = self._vals.new_zeros(self._shape)
            dense[tuple(whole._places)] = whole._vals
        return dense if dtype is None else dense.to(dtype)

    def to(self, *args: Any, **kwargs: Any) -> SparseTensor:
        """In another dtype or on another device, as ``Tensor.to``; itself if nothing changes."""
        values = self._vals.to(*args, **kwargs)
        same = values is self._vals
        return self if same else self._with(self._places.to(values.device), values, self._coalesced)

    def cpu(self, *_: Any) -> SparseTensor:
        """On the CPU."""
        return self.to("cpu")

    def cuda(self, device: Any = None, *_: Any) -> SparseTensor:
        """On a CUDA device, the current one unless told."""
        return self.to("cuda" if device is None else device)

    def detach(self) -> SparseTensor:
        """The same values, without history."""
        return self._with(self._places, self._vals.detach(), self._coalesced)

    def clone(self, **_: Any) -> SparseTensor:
        """A copy."""
        return self._with(self._places.clone(), self._vals.clone(), self._coalesced)

    def _with(self, places: Tensor, values: Tensor, coalesced: bool) -> SparseTensor:
        return SparseTensor(places, values, self._shape, coalesced)

    def __deepcopy__(self, memo: dict[int, Any]) -> SparseTensor:
        return memo.setdefault(id(self), self.clone())

    def __reduce_ex__(self, protocol: Any) -> Any:
        return SparseTensor, (self._places, self._vals, tuple(self._shape), self._coalesced)

    # -------------------------------------------------------------------------------- arithmetic

    def _scaled(self, factor: Any) -> SparseTensor:
        if not is_number(factor):
            raise NotImplementedError(_UNSUPPORTED)
        return self._with(self._places, self._vals * factor, self._coalesced)

    def __mul__(self, other: Any) -> SparseTensor:
        return self._scaled(other)

    __rmul__ = mul = __mul__

    def __truediv__(self, other: Any) -> SparseTensor:
        return self._with(self._places, self._vals / other, self._coalesced)

    div = __truediv__

    def __neg__(self) -> SparseTensor:
        return self._scaled(-1)

    neg = __neg__

    def __add__(self, other: Any) -> Tensor:
        return added(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return added(other, self)

    def add(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """The sum with another sparse tensor times ``alpha``."""
        return added(self, other * alpha)

    def mul_(self, factor: Any) -> SparseTensor:
        """Scale in place."""
        self._vals = self._vals * factor
        return self

    def zero_(self) -> SparseTensor:
        """Remove every value."""
        self._places, self._vals, self._coalesced = self._places[:, :0], self._vals[:0], True
        return self

    def norm(self, p: Any = 2) -> Tensor:
        """The p-norm of all elements."""
        return self.coalesce()._vals.norm(p)

    def __repr__(self) -> str:
        shape = f"size={tuple(self._shape)}, nnz={self._nnz()}, layout={self.layout}"
        places, lines = repr(self._places.cpu()), repr(self._vals.cpu())
        where = f"device='{self.device}', " if self.is_cuda else ""
        values = lines.replace("\n", "\n       ")
        return f"tensor(indices={places},\n       values={values},\n       {where}{shape})"


def added(x: Any, y: Any) -> Tensor:
    """Sum of two tensors of which at least one is sparse; dense + sparse is dense."""
    if tuple(x.shape) != tuple(y.shape):
        raise RuntimeError(
            f"add: expected sizes of 'self' and 'other' to match, but {list(x.shape)} != "
            f"{list(y.shape)}"
        )
    if not isinstance(x, SparseTensor):
        if x._needs and state.grad:
            raise NotImplementedError("gradients do not flow through sums with sparse tensors")
        whole = y.coalesce()
        total = x.detach().clone()
        with no_grad():
            total.index_put_(tuple(whole._places), whole._vals, True)
        return total
    if not isinstance(y, SparseTensor):
        raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
    cat = FUNCTIONS["cat"]
    return x._with(cat([x._places, y._places], 1), cat([x._vals, y._vals]), False)


def gathered(before: Any, g: Any) -> Tensor:
    """A gradient and what was there before it, of which at least one is sparse, in either order."""
    if isinstance(before, SparseTensor) and not isinstance(g, SparseTensor):
        return added(g, before)
    return added(before, g)


def accumulated(before: Tensor, g: Any) -> Tensor:
    """As ``gathered``, in the memory of what was there before, unless that becomes dense."""
    total = gathered(before, g)
    if not isinstance(before, SparseTensor):
        with no_grad():
            return before.copy_(total)
    if not isinstance(total, SparseTensor):
        return total
    before._places, before._vals = total._places, total._vals
    before._coalesced = total._coalesced
    return before


@function
def sparse_coo_tensor(
    indices: Any,
    values: Any,
    size: Sequence[int] | None = None,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
    is_coalesced: bool | None = None,
) -> SparseTensor:
    """A sparse tensor of ``values`` (nnz, …) at ``indices`` (dimensions, nnz).

    The size, unless given, is the smallest that holds all places.
    """
    if requires_grad:
        raise NotImplementedError("sparse tensors hold gradients; none flow through them")
    places = FUNCTIONS["as_tensor"](indices, dtype=int64, device=device)
    values = FUNCTIONS["as_tensor"](values, dtype=dtype, device=device)
    if places.dim() == 1:
        places = places.unsqueeze(0)
    if places.dim() != 2 or values.dim() < 1 or places.shape[1] != values.shape[0]:
        raise RuntimeError(
            f"indices must be (dimensions, n) and values (n, …), but they are "
            f"{list(places.shape)} and {list(values.shape)}"
        )
    array = places.concrete("sparse_coo_tensor()")
    lead = [int(row.max(initial=-1)) + 1 for row in array]
    shape = (*lead, *values.shape[1:]) if size is None else tuple(size)
    if len(shape) != len(lead) + values.dim() - 1 or tuple(shape[len(lead) :]) != tuple(
        values.shape[1:]
    ):
        raise RuntimeError(f"values of shape {list(values.shape)} do not fit a size of {shape}")
    if array.size and (array.min() < 0 or any(n > m for n, m in zip(lead, shape, strict=False))):
        raise RuntimeError(f"size is inconsistent with indices: they go up to {lead}, size {shape}")
    return SparseTensor(places, values, shape, bool(is_coalesced))


@method
def to_sparse(self: Tensor, sparse_dim: int | None = None) -> SparseTensor:
    """The places and values that are not zero; ``sparse_dim`` leading dimensions are addressed."""
    if isinstance(self, SparseTensor):
        return self
    array = self.detach().concrete("to_sparse()")
    lead = array.ndim if sparse_dim is None else sparse_dim
    rest = tuple(range(lead, array.ndim))
    places = np.nonzero((array != 0).any(rest) if rest else array)
    there = _beside(np.stack(places), self)
    with no_grad():
        return SparseTensor(there, self.detach()[tuple(there)], array.shape, True)


def _beside(places: np.ndarray, like: Tensor) -> Tensor:
    return wrap(to_device(places, like.device))


@method
def to_dense(self: Tensor, dtype: Any = None) -> Tensor:
    """The tensor itself: it is dense."""
    return self if dtype is None else self.to(dtype)
