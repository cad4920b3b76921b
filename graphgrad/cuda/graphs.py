"""CUDA graphs: a compiled function is replayed as one already."""

from __future__ import annotations

import importlib
from typing import Any

_HINT = (
    "graphs of code as written are not captured here: compile the function (graphgrad.compile), "
    "which records it as one CUDA graph and replays that, or use cuda.make_graphed_callables"
)


class CUDAGraph:
    """PyTorch's name; raises and says what to do instead."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError(_HINT)


def graph(*_: Any, **__: Any) -> Any:
    """PyTorch's name; raises and says what to do instead."""
    raise NotImplementedError(_HINT)


def is_current_stream_capturing() -> bool:
    """Whether code as written is being captured: never."""
    return False


def make_graphed_callables(
    callables: Any, sample_args: Any, num_warmup_iters: int = 3, **_: Any
) -> Any:
    """Functions or modules, compiled: calls are replayed as one CUDA graph each.

    ``sample_args`` (a tuple, or one a callable) are run once, so that later calls need not wait.
    """
    compile = importlib.import_module("graphgrad").compile
    if not isinstance(callables, (tuple, list)):
        made = compile(callables)
        made(*sample_args)
        return made
    return tuple(
        make_graphed_callables(f, args) for f, args in zip(callables, sample_args, strict=True)
    )
