"""Names of torch's top level that are values: dtypes, constants, legacy tensor types."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphgrad import config as config_module
from graphgrad import dtypes
from graphgrad.dtypes import DType
from graphgrad.tensor.convert import LEGACY
from graphgrad.tensor.core import Tensor
from graphgrad.tensor.creation import full_of, tensor
from graphgrad.tensor.shapes import sizes_of


class _LegacyType(type):
    """``isinstance(x, torch.FloatTensor)`` asks for the dtype."""

    dtype: DType

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is cls.dtype

    def __call__(cls, *args: Any) -> Tensor:
        """``FloatTensor(2, 3)`` is a size, ``FloatTensor([1, 2])`` data."""
        if len(args) == 1 and not isinstance(args[0], int):
            if isinstance(args[0], (tuple, list, np.ndarray, Tensor)):
                return tensor(args[0], dtype=cls.dtype)
        return full_of(sizes_of(args) or (0,), 0, cls.dtype)

    def __repr__(cls) -> str:
        return f"<class 'torch.{cls.__name__}'>"


_SYNONYMS = {
    "float": dtypes.float32,
    "double": dtypes.float64,
    "half": dtypes.float16,
    "long": dtypes.int64,
    "int": dtypes.int32,
    "short": dtypes.int16,
    "bool": dtypes.bool_,
}


def set_num_threads(count: int) -> None:
    """How many threads kernels use."""
    config_module.config.threads = count


def get_num_threads() -> int:
    """How many threads kernels use (0: one per core)."""
    return config_module.config.threads


NAMES: dict[str, Any] = {d.name: d for d in dtypes.ALL}
NAMES |= _SYNONYMS
NAMES |= {name: _LegacyType(name, (), {"dtype": d}) for name, d in LEGACY.items()}
NAMES |= {"pi": math.pi, "e": math.e, "inf": math.inf, "nan": math.nan, "newaxis": None}
NAMES |= {"strided": "torch.strided", "contiguous_format": "torch.contiguous_format"}
NAMES |= {"preserve_format": "torch.preserve_format", "channels_last": "torch.channels_last"}
NAMES |= {"set_num_threads": set_num_threads, "get_num_threads": get_num_threads}
