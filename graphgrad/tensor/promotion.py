"""PyTorch's type promotion for operands that are tensors and Python numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphgrad import dtypes
from graphgrad.dtypes import BOOL, FLOAT, INTEGER, DType
from graphgrad.tensor.core import Tensor, function

_NUMBERS = (bool, int, float, complex, np.number, np.bool_)


def joined(*operands: Any) -> DType:
    """The result type of operands, as ``torch.result_type``."""
    groups: list[DType | None] = [None, None, None]
    for x in operands:
        if isinstance(x, Tensor) and not x.is_python_number:
            group, dtype = (0 if x.ndim else 1), x.dtype
        elif isinstance(x, Tensor):
            group, dtype = 2, dtypes.get_default_dtype()
        else:
            group, dtype = 2, dtypes.of_scalar(x)
        before = groups[group]
        groups[group] = dtype if before is None else dtypes.promote(before, dtype)
    return dtypes.combine(*groups)


def floating(dtype: DType) -> DType:
    """The type of a quotient or a sine: integers become the default float."""
    return dtype if dtype.category >= FLOAT else dtypes.get_default_dtype()


def accumulating(dtype: DType) -> DType:
    """The type of sums and products: integers and booleans are added as int64."""
    return dtypes.int64 if dtype.category in (BOOL, INTEGER) else dtype


def is_number(x: Any) -> bool:
    """Whether ``x`` is a Python (or NumPy) number."""
    return isinstance(x, _NUMBERS)


@function
def result_type(a: Any, b: Any) -> DType:
    """The type of ``a + b``."""
    return joined(a, b)


@function
def promote_types(a: DType, b: DType) -> DType:
    """The smallest type both convert to."""
    return dtypes.promote(a, b)


@function
def can_cast(a: DType, b: DType) -> bool:
    """Whether PyTorch would convert ``a`` to ``b`` in an in-place operation."""
    return a.category <= b.category
