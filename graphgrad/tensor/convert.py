"""Tensors to and from other things: dtypes, NumPy, Python numbers, copies, pickles."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from graphgrad import dtypes
from graphgrad.device import device, located
from graphgrad.dtypes import DType
from graphgrad.tensor.core import (
    Storage,
    Tensor,
    alias,
    both,
    method,
    publish,
    wrap,
)
from graphgrad.tensor.moving import moved
from graphgrad.tensor.place import on_device, to_device
from graphgrad.tensor.plan import apply, layout
from graphgrad.tensor.state import state
from graphgrad.views import row_major

# ------------------------------------------------------------------------------------ dtype, device


@method
def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Convert to a dtype, a device, both, or those of another tensor; itself if nothing changes.

    ``non_blocking``: from pinned memory the copy may still run when this returns.
    """
    dtype, place, force = _to_arguments(args, dict(kwargs))
    there = self if place is None else moved(self, place, not kwargs.get("non_blocking", False))
    if dtype is None or there.dtype is dtype:
        return there.clone() if force and there is self else there
    return apply("cast", there, dtype=dtype)


def _to_arguments(
    args: tuple[Any, ...], options: dict[str, Any]
) -> tuple[DType | None, device | None, bool]:
    dtype = options.pop("dtype", None)
    place = options.pop("device", None)
    force = options.pop("copy", False)
    for arg in args:
        if isinstance(arg, Tensor):
            dtype, place = arg.dtype, arg.device
        elif isinstance(arg, bool):
            continue
        elif isinstance(arg, (DType, dtypes.Unsupported)) or arg in (int, float, bool):
            dtype = arg
        elif arg is not None:
            place = arg
    kind = None if dtype is None else dtypes.as_dtype(dtype)
    return kind, None if place is None else located(place), force


def _conversion(name: str, dtype: DType) -> None:
    def convert(self: Tensor) -> Tensor:
        return to(self, dtype)

    convert.__name__ = name
    convert.__doc__ = f"This tensor as {dtype.name}."
    setattr(Tensor, name, convert)


for _name, _dtype in {
    "float": dtypes.float32,
    "double": dtypes.float64,
    "half": dtypes.float16,
    "bfloat16": dtypes.bfloat16,
    "long": dtypes.int64,
    "int": dtypes.int32,
    "short": dtypes.int16,
    "char": dtypes.int8,
    "byte": dtypes.uint8,
    "bool": dtypes.bool_,
}.items():
    _conversion(_name, _dtype)

LEGACY = {
    "FloatTensor": dtypes.float32,
    "DoubleTensor": dtypes.float64,
    "HalfTensor": dtypes.float16,
    "BFloat16Tensor": dtypes.bfloat16,
    "LongTensor": dtypes.int64,
    "IntTensor": dtypes.int32,
    "ShortTensor": dtypes.int16,
    "CharTensor": dtypes.int8,
    "ByteTensor": dtypes.uint8,
    "BoolTensor": dtypes.bool_,
}


@method
def type(self: Tensor, dtype: Any = None) -> Any:
    """The old name of the type (``torch.FloatTensor``), or a conversion to ``dtype``.

    Old names tell where, too: ``torch.cuda.FloatTensor``.
    """
    if dtype is None:
        where = "torch" if self.device.type == "cpu" else f"torch.{self.device.type}"
        if self.dtype.is_complex:
            return f"{where}.Complex{'Float' if self.dtype.itemsize == 8 else 'Double'}Tensor"
        return next(f"{where}.{name}" for name, d in LEGACY.items() if d is self.dtype)
    if isinstance(dtype, str):
        *where, name = dtype.removeprefix("torch.").removeprefix("graphgrad.").split(".")
        return to(self, "".join(where) or "cpu", LEGACY[name])
    return to(self, getattr(dtype, "dtype", dtype))


@method
def type_as(self: Tensor, other: Tensor) -> Tensor:
    """This tensor with the dtype of ``other``, on its device."""
    return to(self, other)


# ----------------------------------------------------------------------------------------- metadata


@method
def size(self: Tensor, dim: int | None = None) -> Any:
    """The shape, or the size of one dimension."""
    return self.shape if dim is None else self.shape[dim]


@both
def numel(input: Tensor) -> int:
    """The number of elements."""
    return input._array.size if input._array is not None else input._node.size


@method
def dim(self: Tensor) -> int:
    """The number of dimensions."""
    return self.ndim


publish(("nelement",), numel)
Tensor.ndimension = Tensor.dim  # type: ignore[attr-defined]


@method
def element_size(self: Tensor) -> int:
    """Bytes of one element."""
    return self.dtype.itemsize


Tensor.itemsize = property(element_size)  # type: ignore[attr-defined]
Tensor.nbytes = property(lambda t: numel(t) * t.dtype.itemsize)  # type: ignore[attr-defined]


@method
def stride(self: Tensor, dim: int | None = None) -> Any:
    """Steps in elements from one position to the next, per dimension."""
    array = self._array
    if array is None:
        view = layout(self)
        assert view is not None
        # A dimension of size 1 has no step of its own: row-major, as far as it can be.
        pairs = zip(view.strides, row_major(view.shape), view.shape, strict=True)
        strides = tuple(r if n == 1 else s for s, r, n in pairs)
    else:
        strides = tuple(s // array.itemsize for s in array.strides)
    return strides if dim is None else strides[dim]


@method
def is_contiguous(self: Tensor, memory_format: Any = None) -> bool:
    """Whether elements lie in row-major order without gaps."""
    if self._array is None:
        view = layout(self)
        return view is not None and view.contiguous
    return self._array.flags.c_contiguous


@method
def contiguous(self: Tensor, memory_format: Any = None) -> Tensor:
    """Itself, or a row-major copy."""
    return self if is_contiguous(self) else clone(self)


@method
def data_ptr(self: Tensor) -> int:
    """The address of the first element."""
    array = self.memory("data_ptr()")
    return array.pointer if on_device(array) else array.__array_interface__["data"][0]


@method
def storage_offset(self: Tensor) -> int:
    """How many elements lie before the first one in the memory this tensor views."""
    array = self.memory("storage_offset()")
    if on_device(array):
        return (array.pointer - array.owner.pointer) // array.itemsize
    base = array if array.base is None else array.base
    if not isinstance(base, np.ndarray):
        return 0
    return (data_ptr(self) - base.__array_interface__["data"][0]) // array.itemsize


@method
def untyped_storage(self: Tensor) -> Storage:
    """What identifies the memory: equal for tensors that share it."""
    return self._storage


@method
def is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Whether both are the same view of the same memory."""
    return self._storage is tensor._storage and self._chain == tensor._chain


def _is_view(self: Tensor) -> bool:
    return self._base is not None


Tensor._is_view = _is_view  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------- copies


@both
def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy through which gradients flow."""
    return apply("identity", input)


@both
def detach(input: Tensor) -> Tensor:
    """The same memory without history."""
    if state.trace is not None:
        node = state.trace.node(input)
        state.trace.root(input)
        return alias(input, input._array, node)
    return alias(input, input._array)


def _get_data(self: Tensor) -> Tensor:
    return detach(self)


def _set_data(self: Tensor, value: Tensor) -> None:
    if state.trace is not None:
        state.trace.write(self, state.trace.node(value))
        return
    self._array, self._storage, self._chain = value._array, value._storage, value._chain
    self._storage.shared = True


Tensor.data = property(_get_data, _set_data)  # type: ignore[attr-defined]


@method
def __deepcopy__(self: Tensor, memo: dict[int, Any]) -> Tensor:
    if self._edge is not None:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
            "protocol at the moment."
        )
    if id(self) in memo:
        return memo[id(self)]
    new = _like(self, self.memory("deepcopy()").copy())
    memo[id(self)] = new
    new._grad = copy.deepcopy(self._grad, memo)
    new.__dict__.update(copy.deepcopy(self.__dict__, memo))
    return new


def _like(self: Tensor, array: np.ndarray) -> Tensor:
    """A leaf of the same class over ``array``."""
    from graphgrad.tensor.core import _init

    return _init(object.__new__(self.__class__), array, self._needs)


def _unpickled(
    cls: Any, array: np.ndarray, needs: bool, extra: dict[str, Any], place: str = "cpu"
) -> Tensor:
    from graphgrad.tensor.core import _init

    new = _init(object.__new__(cls), to_device(array, located(place)), needs)
    new.__dict__.update(extra)
    return new


@method
def __reduce_ex__(self: Tensor, protocol: int) -> Any:
    array = np.ascontiguousarray(self.concrete("pickling")).reshape(self.shape)
    return _unpickled, (self.__class__, array, self._needs, self.__dict__, str(self.device))


# ------------------------------------------------------------------------------ to NumPy and Python


@method
def numpy(self: Tensor, *, force: bool = False) -> np.ndarray:
    """The memory as a NumPy array (shared, not copied)."""
    if self._needs and not force:
        raise RuntimeError(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
        )
    if on_device(self._array) and not force:
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy "
            "the tensor to host memory first."
        )
    array = self.concrete("numpy()")
    self._storage.shared = True
    return array


@method
def __array__(self: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    array = numpy(self)
    if dtype is not None and np.dtype(dtype) != array.dtype:
        return array.astype(dtype)
    return array.copy() if copy else array


@method
def __array_wrap__(
    self: Tensor, array: np.ndarray, context: Any = None, return_scalar: bool = False
) -> Tensor:
    return wrap(np.asarray(array))


@method
def item(self: Tensor) -> Any:
    """The only element as a Python number."""
    array = self.concrete("item()")
    if array.size != 1:
        raise RuntimeError(f"a Tensor with {array.size} elements cannot be converted to Scalar")
    return array.item()


@method
def tolist(self: Tensor) -> Any:
    """Nested lists of Python numbers."""
    return self.concrete("tolist()").tolist()


@method
def __bool__(self: Tensor) -> bool:
    array = self.concrete("bool()")
    if array.size != 1:
        what = "no values" if array.size == 0 else "more than one value"
        raise RuntimeError(f"Boolean value of Tensor with {what} is ambiguous")
    return bool(array.item())


@method
def __int__(self: Tensor) -> int:
    return int(item(self))


@method
def __float__(self: Tensor) -> float:
    return float(item(self))


@method
def __complex__(self: Tensor) -> complex:
    return complex(item(self))


@method
def __index__(self: Tensor) -> int:
    array = self.concrete("an index")
    if array.size != 1 or array.dtype.kind not in "iub":
        raise TypeError("only integer tensors of a single element can be converted to an index")
    return int(array.item())


@method
def __reversed__(self: Tensor) -> Tensor:
    return self.flip(0) if self.ndim else self


@method
def __len__(self: Tensor) -> int:
    if not self.ndim:
        raise TypeError("len() of a 0-d tensor")
    return self.shape[0]


@method
def __iter__(self: Tensor) -> Iterator[Tensor]:
    if not self.ndim:
        raise TypeError("iteration over a 0-d tensor")
    return iter(self.unbind(0))


@method
def __contains__(self: Tensor, element: Any) -> bool:
    return bool((self == element).any())


@method
def __format__(self: Tensor, spec: str) -> str:
    if self.ndim == 0 and self._array is not None:
        return format(item(self), spec)
    return object.__format__(self, spec)
