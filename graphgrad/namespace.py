"""Names of torch's top level that are values: dtypes, constants, legacy tensor types."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphgrad import dtypes
from graphgrad.autograd.anomaly import (
    is_anomaly_check_nan_enabled,
    is_anomaly_enabled,
    set_anomaly_enabled,
)
from graphgrad.config import config
from graphgrad.device import get_default_device, set_default_device
from graphgrad.dtypes import DType
from graphgrad.tensor.casting import (
    get_autocast_cpu_dtype,
    get_autocast_dtype,
    get_autocast_gpu_dtype,
    is_autocast_cache_enabled,
    is_autocast_cpu_enabled,
    is_autocast_enabled,
)
from graphgrad.tensor.convert import LEGACY
from graphgrad.tensor.core import Size, Tensor
from graphgrad.tensor.creation import full_of, tensor
from graphgrad.tensor.shapes import sizes_of


class _LegacyType(type):
    """``isinstance(x, torch.FloatTensor)`` asks for the dtype."""

    dtype: DType
    place: str

    def __instancecheck__(cls, instance: Any) -> bool:
        """Of that dtype, on that kind of device."""
        fits = isinstance(instance, Tensor) and instance.dtype is cls.dtype
        return fits and instance.device.type == cls.place

    def __call__(cls, *args: Any) -> Tensor:
        """``FloatTensor(2, 3)`` is a size, ``FloatTensor([1, 2])`` data."""
        data = len(args) == 1 and isinstance(args[0], (Sequence, np.ndarray, Tensor))
        if data and not isinstance(args[0], Size):
            return tensor(args[0], dtype=cls.dtype, device=cls.place)
        return full_of(sizes_of(args) or (0,), 0, cls.dtype, cls.place)

    def __repr__(cls) -> str:
        where = "torch" if cls.place == "cpu" else f"torch.{cls.place}"
        return f"<class '{where}.{cls.__name__}'>"


def _legacy_types(place: str) -> dict[str, _LegacyType]:
    return {name: _LegacyType(name, (), {"dtype": d, "place": place}) for name, d in LEGACY.items()}


_SYNONYMS = {
    "float": dtypes.float32,
    "double": dtypes.float64,
    "half": dtypes.float16,
    "long": dtypes.int64,
    "int": dtypes.int32,
    "short": dtypes.int16,
    "bool": dtypes.bool_,
    "cfloat": dtypes.complex64,
    "cdouble": dtypes.complex128,
}


def set_num_threads(count: int) -> None:
    """How many threads kernels use."""
    config.threads = count


def get_num_threads() -> int:
    """How many threads kernels use (0: one per core)."""
    return config.threads


def set_num_interop_threads(count: int) -> None:
    """Nothing to do: operations run one after the other, each on all threads."""


def get_num_interop_threads() -> int:
    """One: operations run one after the other."""
    return 1


def set_default_tensor_type(kind: Any) -> None:
    """The old way to set the default float type and device: ``torch.DoubleTensor``, or its name."""
    if isinstance(kind, str):
        kind = (CUDA_TYPES if ".cuda." in kind else NAMES)[kind.rpartition(".")[2]]
    dtypes.set_default_dtype(kind.dtype)
    set_default_device(kind.place)


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Nothing to do: results never depend on the number of threads."""


def are_deterministic_algorithms_enabled() -> bool:
    """True: results never depend on the number of threads."""
    return True


def typename(obj: Any) -> str:
    """The old type's name of a tensor, or the name of an object's class."""
    return obj.type() if isinstance(obj, Tensor) else type(obj).__qualname__


def set_float32_matmul_precision(precision: str) -> None:
    """ "highest": float32 products are computed in float32; "high", "medium": on GPUs in TF32."""
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(f'precision is "highest", "high" or "medium", not {precision!r}')
    config.cuda_tf32 = precision != "highest"


def get_float32_matmul_precision() -> str:
    """ "highest", or "high" where products on GPUs may be computed in TF32."""
    return "high" if config.cuda_tf32 else "highest"


_CALLABLE = (
    set_num_threads,
    get_num_threads,
    set_num_interop_threads,
    get_num_interop_threads,
    is_autocast_enabled,
    get_autocast_dtype,
    get_autocast_cpu_dtype,
    get_autocast_gpu_dtype,
    is_autocast_cpu_enabled,
    is_autocast_cache_enabled,
    set_default_tensor_type,
    set_default_device,
    get_default_device,
    use_deterministic_algorithms,
    are_deterministic_algorithms_enabled,
    typename,
    set_float32_matmul_precision,
    get_float32_matmul_precision,
    is_anomaly_enabled,
    is_anomaly_check_nan_enabled,
    set_anomaly_enabled,
)

NAMES: dict[str, Any] = {d.name: d for d in dtypes.ALL}
NAMES |= {d.name: d for d in dtypes.UNSUPPORTED} | {"chalf": dtypes.complex32}
NAMES |= _SYNONYMS
NAMES |= _legacy_types("cpu")
# ``graphgrad.cuda.FloatTensor`` and the like.
CUDA_TYPES = _legacy_types("cuda")
NAMES |= {"pi": math.pi, "e": math.e, "inf": math.inf, "nan": math.nan, "newaxis": None}
NAMES |= {"strided": "torch.strided", "contiguous_format": "torch.contiguous_format"}
NAMES |= {"preserve_format": "torch.preserve_format", "channels_last": "torch.channels_last"}
NAMES |= {f.__name__: f for f in _CALLABLE}
