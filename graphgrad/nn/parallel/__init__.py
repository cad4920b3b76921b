"""``DataParallel`` over one device: what PyTorch's scripts wrap their models in."""

from graphgrad.nn._absent import names_of
from graphgrad.nn.parallel.data_parallel import DataParallel, data_parallel

__all__ = ["DataParallel", "data_parallel"]

__getattr__ = names_of("graphgrad.nn.parallel", globals())
