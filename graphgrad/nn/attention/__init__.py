"""Which kernel attention should use: accepted, and without effect, for kernels are generated.

with sdpa_kernel(SDPBackend.FLASH_ATTENTION): ...
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class SDPBackend(enum.Enum):
    """PyTorch's implementations of ``scaled_dot_product_attention``."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


@contextmanager
def sdpa_kernel(
    backends: SDPBackend | Iterable[SDPBackend], set_priority: bool = False
) -> Iterator[None]:
    """The same results and the same program, whichever is asked for."""
    wanted = [backends] if isinstance(backends, SDPBackend) else list(backends)
    if not wanted or not all(isinstance(b, SDPBackend) for b in wanted):
        raise AssertionError("Backend must be an instance of SDPBackend or a list of them")
    yield
