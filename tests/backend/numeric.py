"""Numbers to run regions on."""

from __future__ import annotations

import numpy as np
from graphgrad.kernels.host import literal

from graphgrad.ir import Node


def sample(x: Node, rng: np.random.Generator) -> np.ndarray:
    """Numbers for an input: positive ones, for roots are taken of some; indices that exist."""
    if x.op.name in ("constant", "scalar"):
        return literal(x).copy()
    if x.dtype.is_floating_point:
        return rng.uniform(0.1, 1.0, x.shape).astype(x.dtype.numpy)
    return rng.integers(0, 2, x.shape).astype(x.dtype.numpy)
