"""cuDNN: whether it is there. Its switches keep what scripts set, and change nothing.

Whose convolutions on GPUs are is ``config.cuda_dnn``; whether they may use TF32 is
``backends.cuda.matmul.allow_tf32``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

enabled = True
benchmark = False
benchmark_limit = 10
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """Whether there are a GPU, nvidia-cudnn-frontend and cuDNN."""
    from graphgrad import cuda

    return cuda.is_available() and version() is not None


def version() -> int | None:
    """cuDNN's version as a number, 91000 for 9.10.0; None where it or its frontend is missing."""
    from graphgrad.kernels.cuda.contract.cudnn_plan import version

    return version()


@contextlib.contextmanager
def flags(**switches: bool) -> Iterator[None]:
    """Switches inside a ``with`` block."""
    before = {name: globals()[name] for name in switches}
    globals().update(switches)
    try:
        yield
    finally:
        globals().update(before)
