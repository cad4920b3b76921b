"""graphgrad: PyTorch's programming model, traced once into a graph and run as numba kernels.

    import graphgrad as gg                       # or: import graphgrad as torch
    from graphgrad import nn, optim

    step = gg.compile(step)                      # trace, simplify, fuse, generate kernels, replay
    gg.draw(loss, "graph.svg")                   # see the graph

Tensors mean what they mean in PyTorch, as written; ``compile`` makes a function, a Module or a
whole train step one program. ``nn``, ``optim``, ``viz`` and the kernels are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import Any

from graphgrad import random as random
from graphgrad.config import config as config
from graphgrad.device import device as device
from graphgrad.dtypes import DType as dtype
from graphgrad.dtypes import get_default_dtype, set_default_dtype
from graphgrad.errors import DTypeError, GraphError, ShapeError, TraceError, VerificationError
from graphgrad.jit import compile as compile
from graphgrad.namespace import NAMES as _NAMES
from graphgrad.nearest import missing
from graphgrad.random import Generator, default_generator
from graphgrad.tensor import FUNCTIONS as _FUNCTIONS
from graphgrad.tensor import Size, Tensor, spelling
from graphgrad.tensor.state import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)

__version__ = "0.1.0"

for _module in ("functional.names", "linalg", "fft"):
    importlib.import_module(f"graphgrad.{_module}")
spelling.spell_methods()
globals().update(spelling.spelled(_FUNCTIONS))
# Element types by PyTorch's names, constants, and the old tensor types such as LongTensor.
globals().update(_NAMES)

_MODULES = frozenset(
    {
        "accelerator",
        "amp",
        "aten",
        "autograd",
        "backends",
        "compiler",
        "cpu",
        "cuda",
        "distributed",
        "distributions",
        "fft",
        "func",
        "functional",
        "linalg",
        "masked",
        "mps",
        "nn",
        "optim",
        "profiler",
        "special",
        "testing",
        "utils",
        "version",
        "viz",
        "xpu",
    }
)
# Names found in a module that is loaded when they are first asked for.
_LAZY = {
    "explain": "graphgrad.explanation",
    "draw": "graphgrad.viz",
    "explore": "graphgrad.exploring",
    "export": "graphgrad.exporting",
    "profile": "graphgrad.profiler.step",
    "save": "graphgrad.serialization",
    "load": "graphgrad.serialization",
    "fit": "graphgrad.training",
    "autocast": "graphgrad.amp",
    "vmap": "graphgrad.func",
    "scan": "graphgrad.control",
    "cond": "graphgrad.control",
    "while_loop": "graphgrad.control",
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
    raise missing("graphgrad", name, [*globals(), *_LAZY, *_MODULES])


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_MODULES})


__all__ = [
    "DTypeError",
    "Generator",
    "GraphError",
    "ShapeError",
    "Size",
    "Tensor",
    "TraceError",
    "VerificationError",
    "config",
    "default_generator",
    "device",
    "dtype",
    "enable_grad",
    "get_default_dtype",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "random",
    "set_default_dtype",
    "set_grad_enabled",
]
