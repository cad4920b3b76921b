"""Linear maps along one dimension, given by a small constant matrix."""

from __future__ import annotations

import numpy as np

from graphgrad import lang
from graphgrad.tensor import Tensor


def along(x: Tensor, matrix: np.ndarray, axis: int) -> Tensor:
    """Each line of ``x`` along ``axis`` multiplied by ``matrix`` (new size, old size)."""
    constant = lang.constant(matrix.astype(x.dtype.numpy))
    out = lang.dot_general(x, constant, ((axis,), (1,)))
    # The new dimension comes last: move it back to its place.
    axes = list(range(out.dim() - 1))
    axes.insert(axis, out.dim() - 1)
    return lang.permute(out, axes)
