"""graphgrad: PyTorch's programming model, traced once into a graph and run as numba kernels.

    import graphgrad as gg                       # or: import graphgrad as torch
    from graphgrad import nn, optim

    step = gg.compile(step)                      # trace, simplify, fuse, generate kernels, replay
    gg.draw(loss, "graph.svg")                   # see the graph

Tensors mean what they mean in PyTorch, as written; ``compile`` makes a function, a Module or a whole
train step one program. ``nn``, ``optim``, ``viz`` and the kernels are loaded when first used.
"""

from __future__ import annotations

import difflib
import importlib
from typing import Any

from graphgrad import dtypes as _dtypes
from graphgrad.config import config as config
from graphgrad.device import device as device
from graphgrad.dtypes import DType as dtype
from graphgrad.dtypes import get_default_dtype, set_default_dtype
from graphgrad.errors import DTypeError, GraphError, ShapeError, TraceError, VerificationError
from graphgrad.tensor import FUNCTIONS, Size, Tensor
from graphgrad.tensor.state import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)

__version__ = "0.1.0"

globals().update(FUNCTIONS)
globals().update({d.name.rstrip("_"): d for d in _dtypes.ALL})

# PyTorch's other names of the element types, and numbers.
float, double, half = _dtypes.float32, _dtypes.float64, _dtypes.float16  # noqa: A001
long, int, short = _dtypes.int64, _dtypes.int32, _dtypes.int16  # noqa: A001
cfloat, cdouble = _dtypes.complex64, _dtypes.complex128
pi, e, inf, nan = 3.141592653589793, 2.718281828459045, 1e999, 1e999 - 1e999
newaxis = None

_MODULES = frozenset({"autograd", "cuda", "functional", "func", "nn", "optim", "utils", "viz"})
# Names found in a module that is loaded when they are first asked for.
_LAZY = {
    "compile": "graphgrad.jit",
    "explain": "graphgrad.explanation",
    "draw": "graphgrad.viz",
    "scan": "graphgrad.control",
    "cond": "graphgrad.control",
    "while_loop": "graphgrad.control",
    "save": "graphgrad.serialization",
    "load": "graphgrad.serialization",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"graphgrad.{name}")
    if name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    if name.startswith("__"):
        raise AttributeError(name)
    near = difflib.get_close_matches(name, [*globals(), *_LAZY, *_MODULES], 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise AttributeError(f"graphgrad has no {name!r}{hint}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_MODULES})


__all__ = [
    "DTypeError",
    "GraphError",
    "ShapeError",
    "Size",
    "Tensor",
    "TraceError",
    "VerificationError",
    "config",
    "device",
    "dtype",
    "enable_grad",
    "get_default_dtype",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "set_default_dtype",
    "set_grad_enabled",
]
