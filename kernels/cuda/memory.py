"""Arrays in a device's memory.

    x = from_host(np.ones((3, 4), "float32"), device("cuda:0"))
    x.pointer, x.shape, x.strides, x.dtype      # strides in bytes; dtype says the device, too
    x.host()                                    # a NumPy copy; waits for the work before it
    y = x.view((4, 3), (4, 16))                 # the same memory
    y.copy()                                    # contiguous, on the device

Arrays of PyTorch and CuPy come in and go out without a copy: ``__cuda_array_interface__`` and
DLPack (see ``exchange``). ``np.asarray`` of one is an error: copies off a device are asked for.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from graphgrad.device import device as Device
from graphgrad.device import placed
from graphgrad.views import row_major

from ..memory import array_at
from .driver import driver


class Flags(NamedTuple):
    """What ``array.flags`` tells of an ndarray, as far as it is asked."""

    c_contiguous: bool
    writeable: bool = True


class DeviceArray:
    """``shape`` and ``strides`` (bytes) over a device's memory at ``pointer``, kept by ``owner``.

    ``base`` is the array that the memory was first seen through, None for that array itself.
    """

    __slots__ = (
        "__weakref__",
        "base",
        "device",
        "dtype",
        "itemsize",
        "ndim",
        "owner",
        "pointer",
        "shape",
        "size",
        "strides",
    )

    __array_priority__ = 1000

    def __init__(
        self,
        pointer: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        dtype: Any,
        owner: Any,
        base: DeviceArray | None = None,
    ) -> None:
        """``dtype`` is a ``Placed``: an element type on a device."""
        self.pointer, self.shape, self.strides = pointer, shape, strides
        self.dtype, self.device, self.itemsize = dtype, dtype.device, dtype.itemsize
        self.ndim, self.size = len(shape), math.prod(shape)
        self.owner, self.base = owner, base

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return self.size * self.itemsize

    @property
    def numpy_dtype(self) -> np.dtype:
        """The element type alone."""
        return self.dtype.numpy

    @property
    def flags(self) -> Flags:
        """Whether the elements lie one after the other."""
        return Flags(self._is_contiguous())

    @property
    def emulated(self) -> np.ndarray:
        """On the emulator: the same memory, as NumPy sees it."""
        whole = array_at(*self._span())
        first = self.pointer - self._first()
        return np.ndarray(self.shape, self.dtype.numpy, whole, first, self.strides)

    def _is_contiguous(self) -> bool:
        expected = self.itemsize
        for extent, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if extent == 0:
                return True
            if extent != 1 and stride != expected:
                return False
            expected *= extent
        return True

    # ---- other shapes of the same memory

    def view(
        self, shape: tuple[int, ...], strides: tuple[int, ...] | None = None, offset: int = 0
    ) -> DeviceArray:
        """Other elements of the same memory: strides and offset in bytes."""
        if strides is None:
            strides = tuple(n * self.itemsize for n in row_major(shape))
        base = self if self.base is None else self.base
        return DeviceArray(self.pointer + offset, shape, strides, self.dtype, self.owner, base)

    # ---- copies

    def host(self) -> np.ndarray:
        """A C-contiguous NumPy copy; waits for the work before it."""
        target = np.empty(self.shape, self.dtype.numpy)
        if self.size and self._is_contiguous():
            driver().copy_out(target, self.pointer, self.device.index)
        elif self.size:
            target[...] = self._strided(self._whole())
        return target

    def item(self) -> Any:
        """The only element, as a Python number."""
        return self.host().item()

    def copy(self) -> DeviceArray:
        """A contiguous copy on the same device."""
        target = empty(self.shape, self.dtype.numpy, self.device)
        target.copy_(self)
        return target

    def copy_(self, source: Any) -> None:
        """Take the values of an array of the same shape and type, of any device or the host."""
        if tuple(source.shape) != self.shape:
            raise ValueError(f"a copy of shape {source.shape} into {self.shape}")
        if not self.size:
            return
        if isinstance(source, DeviceArray) and source.device == self.device:
            copy_between(self, source)
        else:
            self._copy_in(source.host() if isinstance(source, DeviceArray) else source)

    def __setitem__(self, where: Any, source: Any) -> None:
        """``x[...] = y`` alone."""
        if where is not Ellipsis:
            raise IndexError("of a device's array only all elements at once are assigned")
        self.copy_(source)

    def _copy_in(self, source: np.ndarray, wait: bool = True) -> None:
        source = np.ascontiguousarray(source, self.dtype.numpy).reshape(self.shape)
        if self._is_contiguous():
            driver().copy_in(self.pointer, source, self.device.index, wait)
            return
        whole = self._whole()
        self._strided(whole)[...] = source
        driver().copy_in(self._first(), whole, self.device.index)

    def _first(self) -> int:
        """Where the lowest element lies."""
        pairs = zip(self.shape, self.strides, strict=True)
        return self.pointer + sum((n - 1) * s for n, s in pairs if s < 0)

    def _span(self) -> tuple[int, tuple[int], np.dtype]:
        """Address and extent, as bytes, of all between the lowest and the highest element."""
        pairs = zip(self.shape, self.strides, strict=True)
        length = sum((n - 1) * abs(s) for n, s in pairs) + self.itemsize if self.size else 0
        return self._first(), (length,), np.dtype(np.uint8)

    def _whole(self) -> np.ndarray:
        """All bytes from the lowest to the highest element, on the host."""
        address, shape, kind = self._span()
        whole = np.empty(shape, kind)
        driver().copy_out(whole, address, self.device.index)
        return whole

    def _strided(self, whole: np.ndarray) -> np.ndarray:
        first = self.pointer - self._first()
        return np.ndarray(self.shape, self.dtype.numpy, whole, first, self.strides)

    # ---- other libraries

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        from .exchange import interface

        return interface(self)

    def __dlpack__(self, **options: Any) -> Any:
        from .exchange import to_dlpack

        return to_dlpack(self, **options)

    def __dlpack_device__(self) -> tuple[int, int]:
        from .exchange import dlpack_device

        return dlpack_device(self)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy "
            "the tensor to host memory first."
        )

    def __repr__(self) -> str:
        return f"DeviceArray({self.shape}, {self.dtype})"


def empty(shape: tuple[int, ...], dtype: Any, device: Device) -> DeviceArray:
    """A contiguous array of undefined content; ``dtype`` is NumPy's."""
    shape = tuple(shape)
    kind, strides, nbytes = _layout(shape, dtype, device)
    owner = driver().allocate(nbytes, device.index)
    return DeviceArray(owner.pointer, shape, strides, kind, owner)


@functools.lru_cache(maxsize=4096)
def _layout(shape: tuple[int, ...], dtype: Any, device: Device) -> tuple[Any, Any, int]:
    """Placed type, strides and bytes of a contiguous array."""
    kind = placed(dtype, device)
    strides = tuple(n * kind.itemsize for n in row_major(shape))
    return kind, strides, math.prod(shape) * kind.itemsize


def from_host(array: np.ndarray, device: Device, wait: bool = True) -> DeviceArray:
    """A contiguous copy on a device; without ``wait``, pinned memory is read later."""
    result = empty(array.shape, array.dtype, device)
    if result.size:
        result._copy_in(array, wait)
    return result


def copy_between(target: DeviceArray, source: DeviceArray) -> None:
    """Copy elements within a device, whatever the strides on either side."""
    if target._is_contiguous() and source._is_contiguous() and target.dtype is source.dtype:
        driver().copy(target.pointer, source.pointer, target.nbytes, target.device.index)
        return
    if driver().emulated:
        np.copyto(target.emulated, source.emulated, casting="unsafe")
        return
    from .strided import copy_strided

    copy_strided(target, source)
