"""Device arrays of other libraries, in and out without a copy.

interface(array)              # __cuda_array_interface__, version 3
from_interface(other)         # an array over what another library made
to_dlpack(array), from_dlpack(other)
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from graphgrad.device import device as Device
from graphgrad.device import placed

from .driver import driver
from .memory import DeviceArray

CPU_KIND, CUDA_KIND = 1, 2


def interface(array: DeviceArray) -> dict[str, Any]:
    """What Numba, CuPy and PyTorch read: pointer, shape, strides, type, and the stream it is on."""
    kind = array.dtype.numpy
    if kind.kind not in "biufc":
        raise TypeError(f"__cuda_array_interface__ has no word for {array.dtype.name}: use DLPack")
    stream = driver().current_stream(array.device.index).handle
    return {
        "version": 3,
        "shape": array.shape,
        "strides": None if array.flags.c_contiguous else array.strides,
        "typestr": kind.str,
        "data": (array.pointer, False),
        # 0 is no stream in this protocol; 1 is the legacy default stream.
        "stream": stream or 1,
    }


def from_interface(other: Any, device: Device) -> DeviceArray:
    """An array over the memory of ``other``, which it keeps alive."""
    said = other.__cuda_array_interface__
    kind = np.dtype(said["typestr"])
    shape = tuple(said["shape"])
    strides = said.get("strides") or _packed(shape, kind.itemsize)
    stream = said.get("stream")
    if stream is not None:
        driver().current_stream(device.index).wait_for_handle(stream)
    return DeviceArray(said["data"][0], shape, tuple(strides), placed(kind, device), other)


def _packed(shape: tuple[int, ...], step: int) -> tuple[int, ...]:
    strides = []
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


# ---- DLPack --------------------------------------------------------------------------------------


class _DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    pass


_DELETER = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = (
    ("tensor", _DLTensor),
    ("context", ctypes.c_void_p),
    ("deleter", _DELETER),
)

_CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
_KINDS = {code: kind for kind, code in _CODES.items()}
BFLOAT = 4
_NAME, _USED = b"dltensor", b"used_dltensor"
# What is lent: the structures, and the array that keeps the memory.
_lent: dict[int, Any] = {}


@_DELETER
def _end_of_loan(managed: Any, lent: dict[int, Any] = _lent) -> None:
    lent.pop(ctypes.addressof(managed.contents), None)


# Whoever borrowed may let go after this module is gone, when the interpreter ends.
for _needed in (_lent, _end_of_loan):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_needed))


_CAPSULE_END = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@_CAPSULE_END
def _capsule_dropped(capsule: int) -> None:
    """Nobody took it: the loan ends with the capsule."""
    if _api().PyCapsule_IsValid(capsule, _NAME):
        _lent.pop(_api().PyCapsule_GetPointer(capsule, _NAME), None)


def _api() -> Any:
    api = ctypes.pythonapi
    api.PyCapsule_New.restype = ctypes.py_object
    api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    api.PyCapsule_IsValid.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    api.PyCapsule_SetName.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return api


def dlpack_device(array: DeviceArray) -> tuple[int, int]:
    """(kind, number): the emulator's memory is the host's."""
    return (CPU_KIND, 0) if driver().emulated else (CUDA_KIND, array.device.index or 0)


def to_dlpack(array: DeviceArray, *, stream: Any = None, **_: Any) -> Any:
    """A capsule over the array's memory; work on ``stream`` (an address) comes after ours."""
    if stream is not None and stream != -1 and not driver().emulated:
        driver().current_stream(array.device.index).awaited_by_handle(stream)
    managed = _Managed()
    tensor, n = managed.tensor, array.ndim
    shape = (ctypes.c_int64 * n)(*array.shape)
    strides = (ctypes.c_int64 * n)(*(s // array.itemsize for s in array.strides))
    tensor.data = array.pointer
    tensor.device_type, tensor.device_id = dlpack_device(array)
    tensor.ndim, tensor.lanes = n, 1
    tensor.code = _CODES.get(array.dtype.kind, BFLOAT)
    tensor.bits = 8 * array.itemsize
    tensor.shape, tensor.strides = shape, strides
    managed.deleter = _end_of_loan
    where = ctypes.addressof(managed)
    _lent[where] = managed, shape, strides, array
    end = ctypes.cast(_capsule_dropped, ctypes.c_void_p)
    return _api().PyCapsule_New(where, _NAME, end)


class _Borrowed:
    """Memory that another library lends: its deleter runs when nobody looks any more."""

    __slots__ = ("managed",)

    def __init__(self, managed: Any) -> None:
        self.managed = managed

    def __del__(self) -> None:
        if self.managed.contents.deleter:
            self.managed.contents.deleter(self.managed)


def from_dlpack(other: Any, device: Device) -> DeviceArray:
    """An array over what ``other.__dlpack__`` lends."""
    stream = driver().current_stream(device.index).handle
    capsule = other.__dlpack__() if driver().emulated else other.__dlpack__(stream=stream or 1)
    api = _api()
    where = api.PyCapsule_GetPointer(id(capsule), _NAME)
    managed = ctypes.cast(where, ctypes.POINTER(_Managed))
    tensor = managed.contents.tensor
    kind = _numpy_type(tensor)
    shape = tuple(tensor.shape[: tensor.ndim])
    strides = (
        tuple(s * kind.itemsize for s in tensor.strides[: tensor.ndim])
        if tensor.strides
        else _packed(shape, kind.itemsize)
    )
    api.PyCapsule_SetName(id(capsule), _USED)
    pointer = (tensor.data or 0) + tensor.byte_offset
    return DeviceArray(pointer, shape, strides, placed(kind, device), _Borrowed(managed))


def _numpy_type(tensor: _DLTensor) -> np.dtype:
    if tensor.lanes != 1:
        raise TypeError("a DLPack tensor of vectors cannot be taken")
    if tensor.code == BFLOAT:
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    if tensor.code not in _KINDS:
        raise TypeError(f"a DLPack tensor of type code {tensor.code} cannot be taken")
    if tensor.code == _CODES["b"]:
        return np.dtype(bool)
    return np.dtype(f"{_KINDS[tensor.code]}{tensor.bits // 8}")
