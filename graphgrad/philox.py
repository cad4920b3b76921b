"""Counter-based random bits in NumPy: Philox-2x32 with 10 rounds.

    w0, w1 = philox2x32_numpy(counters, hi, key)

The bits are a pure function of (counter, key): no state, any order, any thread, the same words from
NumPy, a CPU kernel or a GPU. Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy
as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

from typing import Any

import numpy as np

MULTIPLIER = 0xD256D193
WEYL = 0x9E3779B9  # 2**32 / golden ratio: what the key grows by each round
ROUNDS = 10

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox2x32_numpy(counters: Any, hi: Any, key: Any) -> tuple[np.ndarray, np.ndarray]:
    """Two uint32 words for each counter pair (counters, hi) under `key`.

    Operands broadcast as in NumPy; each is taken modulo 2**32. Returns two uint32 arrays of the
    broadcast shape.
    """
    low, high, key = (_words(v) for v in np.broadcast_arrays(counters, hi, key))
    for _ in range(ROUNDS):
        product = low * np.uint64(MULTIPLIER)
        low, high = (product >> _HALF) ^ key ^ high, product & _LOW
        key = (key + np.uint64(WEYL)) & _LOW
    return low.astype(np.uint32), high.astype(np.uint32)


def _words(values: np.ndarray) -> np.ndarray:
    """`values` modulo 2**32, in uint64 so that products of two words are exact."""
    return values.astype(np.uint64) & _LOW
