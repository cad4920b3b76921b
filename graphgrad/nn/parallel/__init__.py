"""``DataParallel`` over one device: what PyTorch's scripts wrap their models in."""

from typing import Any

from graphgrad.nn._absent import absent
from graphgrad.nn.parallel.data_parallel import DataParallel, data_parallel

__all__ = ["DataParallel", "data_parallel"]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise absent("graphgrad.nn.parallel", name, __all__)
