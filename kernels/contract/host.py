"""What the contraction engine needs to know about the processor it runs on.

`host()` answers once a process: vector width and number of vector registers. `most_chunks()` is
how far work is cut up for its cores. Nothing here names an
instruction: the micro-kernels are LLVM vectors of the width found, so AVX-512, AVX2, SSE and NEON
share one source.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ..jobs import cores

ITEM_BYTES = {"float32": 4, "float64": 8}


@dataclass(frozen=True)
class Host:
    """The vector unit of one core."""

    vector_bytes: int
    vector_registers: int

    def lanes(self, dtype: str) -> int:
        """Numbers of `dtype` in one vector; NotImplementedError for a dtype without kernels."""
        if dtype not in ITEM_BYTES:
            raise NotImplementedError(
                f"contraction of {dtype}: the engine has kernels for {', '.join(ITEM_BYTES)} only"
            )
        return self.vector_bytes // ITEM_BYTES[dtype]


# first feature present wins: (llvm feature, vector bytes, vector registers)
_VECTOR_UNITS = (
    ("avx512f", 64, 32),
    ("avx", 32, 16),
    ("sse2", 16, 16),
    ("neon", 16, 32),
)


@lru_cache(maxsize=1)
def host() -> Host:
    """The processor of this process, from LLVM's list of features; a modest one when unknown."""
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    for feature, vector_bytes, registers in _VECTOR_UNITS:
        if features.get(feature):
            return Host(vector_bytes, registers)
    return Host(16, 16)


def most_chunks() -> int:
    """Parts a product is shared out in: a few a core, for each of them packs or reads some of it
    again. 1024³ float32 on one core: 4% less time in 4 parts than in 8; on two, 4% less in 8 than
    in 4, where the last part may find a core alone."""
    return max(4, min(4 * cores(), 32))
