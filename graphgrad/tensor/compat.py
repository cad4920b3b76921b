"""Names that scripts use and that have one answer here: places, layouts, DLPack, old spellings.

x = graphgrad.from_dlpack(array)          # memory of NumPy, JAX or PyTorch, shared
x.as_strided_((2, 2), (1, 1))             # another view of the same memory, in place
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphgrad.device import device as Device
from graphgrad.dtypes import int64
from graphgrad.tensor.core import FUNCTIONS, Tensor, both, function, method, publish, wrap
from graphgrad.tensor.creation import from_array, from_numpy
from graphgrad.tensor.inplace import assign, become, check_writable
from graphgrad.tensor.place import on_device
from graphgrad.tensor.scattering import at_least_1d
from graphgrad.tensor.shapes import permute
from graphgrad.tensor.strided import as_strided

# --------------------------------------------------------------------------------- memory, by NumPy


@function
def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor over the memory of an object that speaks DLPack (NumPy, JAX, PyTorch, CuPy)."""
    kind, index = ext_tensor.__dlpack_device__()
    if kind == _CUDA:
        from graphgrad.kernels.cuda import exchange

        return wrap(exchange.from_dlpack(ext_tensor, Device("cuda", index)))
    array = np.from_dlpack(ext_tensor)
    # NumPy hands out memory of others read-only; then the tensor has its own.
    return from_numpy(array) if array.flags.writeable else from_array(array.copy())


@function
def to_dlpack(tensor: Tensor) -> Any:
    """A DLPack capsule of the tensor's memory."""
    return __dlpack__(tensor)


@method
def __dlpack__(self: Tensor, **options: Any) -> Any:
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    return self.memory("__dlpack__()").__dlpack__(**options)


@method
def __dlpack_device__(self: Tensor) -> tuple[int, int]:
    return self.memory("__dlpack_device__()").__dlpack_device__()


def _cuda_array_interface(self: Tensor) -> dict[str, Any]:
    """Where the memory on a CUDA device is, for Numba, CuPy and PyTorch; nothing is copied."""
    array = self.memory("__cuda_array_interface__")
    if not on_device(array):
        raise AttributeError(
            "Can't get __cuda_array_interface__ on non-CUDA tensor type: "
            f"{self.type()} If CUDA data is required use tensor.cuda() to copy tensor to device "
            "memory."
        )
    if self.requires_grad:
        raise RuntimeError(
            "Can't get __cuda_array_interface__ on Variable that requires grad. If gradients "
            "aren't required, use var.detach() to get Variable that doesn't require grad."
        )
    return array.__cuda_array_interface__


Tensor.__cuda_array_interface__ = property(_cuda_array_interface)  # type: ignore[attr-defined]
# DLPack's number of the kind of device.
_CUDA = 2


@function
def empty_strided(size: Sequence[int], stride: Sequence[int], **options: Any) -> Tensor:
    """Zeros whose dimensions lie in memory in the order of ``stride``, without gaps."""
    order = sorted(range(len(size)), key=lambda a: (-stride[a], a))
    return empty_permuted(size, order, **options)


@function
def empty_permuted(size: Sequence[int], physical_layout: Sequence[int], **options: Any) -> Tensor:
    """Zeros of ``size`` whose dimensions lie in memory in the order ``physical_layout``."""
    order = list(physical_layout)
    made = FUNCTIONS["empty"](tuple(size[a] for a in order), **options)
    return permute(made, [order.index(a) for a in range(len(order))]) if order else made


@method
def new_empty_strided(
    self: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    *,
    dtype: Any = None,
    device: Any = None,
    **_: Any,
) -> Tensor:
    """``empty_strided`` of this tensor's type and device."""
    place = self.device if device is None else device
    return empty_strided(size, stride, dtype=dtype or self.dtype, device=place)


@both
def as_strided_(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """``as_strided`` that changes this tensor's own shape and strides."""
    return become(input, as_strided(input, size, stride, storage_offset))


@method
def dim_order(self: Tensor) -> tuple[int, ...]:
    """The dimensions in the order in which they lie in memory, the outermost first."""
    strides = self.stride()
    return tuple(sorted(range(self.ndim), key=lambda a: (-strides[a], a)))


@method
def const_data_ptr(self: Tensor) -> int:
    """The address of the first element."""
    return self.data_ptr()


@method
def to_dense(self: Tensor, dtype: Any = None, **_: Any) -> Tensor:
    """Itself (in another type, if asked): every element has its place in memory."""
    return self if dtype is None else self.to(dtype)


@method
def as_subclass(self: Tensor, cls: type) -> Tensor:
    """The same memory as an instance of a subclass of Tensor."""
    return self if type(self) is cls else cls(self)


publish(("resize_as_",), Tensor.resize_as_)


# ---------------------------------------------------------------------------------------- elements


@method
def map_(self: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Replace every element by what a Python function makes of it and of the other's (slow)."""
    pairs = zip(self.concrete("map_()").flat, tensor.expand(self.shape).numpy().flat, strict=True)
    values = [callable(a.item(), b.item()) for a, b in pairs]
    check_writable(self)
    return assign(self, wrap(np.array(values, self._array.dtype).reshape(self._array.shape)))


@both
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """``nonzero`` with exactly ``size`` rows: the first ones, then rows of ``fill_value``."""
    (x,) = at_least_1d(input)
    held = (x != 0).reshape(-1)
    n = held.shape[0]
    place = input.device
    # The number of a place among those found; all others share a row that is cut off.
    number = FUNCTIONS["where"](held, held.to(int64).cumsum(0) - 1, size)
    number = number.clamp(max=size)
    places = FUNCTIONS["full"]((size + 1,), -1, device=place)
    places = places.scatter(0, number, FUNCTIONS["arange"](n, device=place))[:size]
    columns = FUNCTIONS["unravel_index"](places.clamp(min=0), x.shape)
    rows = FUNCTIONS["stack"](columns, 1) if input.ndim else places.new_zeros((size, 0))
    return FUNCTIONS["where"](places.reshape(-1, 1) >= 0, rows, fill_value)


def _in_place(name: str) -> None:
    operation = getattr(Tensor, name)

    def write(self: Tensor, *args: Any) -> Tensor:
        check_writable(self)
        return assign(self, operation(self, *args))

    write.__name__, write.__doc__ = f"{name}_", f"In-place version of ``{name}``."
    setattr(Tensor, write.__name__, write)


for _name in ("gcd", "lcm", "ldexp", "i0", "nextafter", "polygamma", "mvlgamma"):
    _in_place(_name)
for _name in ("gcd_", "lcm_", "ldexp_", "i0_"):
    FUNCTIONS[_name] = getattr(Tensor, _name)


# ----------------------------------------------------------------------------- places and settings


@function
def get_device(input: Tensor) -> int:
    """The number of a tensor's device; -1 for the CPU."""
    return input.get_device()


def _says_no(name: str, attribute: bool = False) -> None:
    def answer(self: Tensor) -> bool:
        return False

    answer.__name__, answer.__doc__ = name, "False: this does not exist here."
    if attribute:
        setattr(Tensor, name, property(answer))
    else:
        FUNCTIONS[name] = answer


for _name in ("is_conj", "is_neg", "is_distributed"):
    _says_no(_name)
for _name in ("is_sparse_csr", "is_xpu", "is_ipu", "is_mtia", "is_xla", "is_vulkan", "is_maia"):
    _says_no(_name, attribute=True)
FUNCTIONS["is_inference"] = lambda input: input.is_inference()


def _elsewhere(kind: str) -> None:
    def move(self: Tensor, *_: Any, **__: Any) -> Tensor:
        Device(kind)
        return self

    move.__name__, move.__doc__ = kind, f"Not available: there is no device {kind!r} here."
    setattr(Tensor, kind, move)


for _name in ("xpu", "ipu", "mtia"):
    _elsewhere(_name)


def _sparse(name: str) -> None:
    def refuse(self: Tensor, *_: Any, **__: Any) -> Tensor:
        raise NotImplementedError(
            f"{name}(): there are no sparse layouts; a dense tensor with zeros computes the same"
        )

    refuse.__name__, refuse.__doc__ = name, "Not available: every tensor is dense."
    setattr(Tensor, name, refuse)


for _name in ("to_sparse", "to_sparse_coo", "to_sparse_csr", "to_sparse_csc"):
    if not hasattr(Tensor, _name):
        _sparse(_name)


def _empty(function_: Callable[..., Any]) -> None:
    FUNCTIONS[function_.__name__] = function_


@_empty
def set_num_interop_threads(count: int) -> None:
    """Nothing to do: operations of one program run one after the other."""


@_empty
def get_num_interop_threads() -> int:
    """1: operations of one program run one after the other."""
    return 1


@_empty
def set_flush_denormal(mode: bool) -> bool:
    """False: numbers below the normal ones are kept."""
    return False


@_empty
def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """False: results never depend on the number of threads."""
    return False


@_empty
def get_deterministic_debug_mode() -> int:
    """2: results never depend on the number of threads."""
    return 2


@_empty
def set_deterministic_debug_mode(debug_mode: Any) -> None:
    """Nothing to do: results never depend on the number of threads."""


@_empty
def set_warn_always(mode: bool) -> None:
    """Nothing to do: Python's ``warnings`` filters decide."""


@_empty
def is_warn_always_enabled() -> bool:
    """False: Python's ``warnings`` filters decide."""
    return False


# ------------------------------------------------------------------------------------ old operators

_OLD = {"__nonzero__": "__bool__", "__long__": "__int__", "__idiv__": "__itruediv__"}
for _old, _new in _OLD.items():
    setattr(Tensor, _old, getattr(Tensor, _new))
Tensor.name = property(lambda self: None)  # type: ignore[attr-defined]
