"""Neural networks: layers, containers, losses, and the functions behind them.

import graphgrad.nn as nn
net = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
"""

from typing import Any

from graphgrad.nn import attention, functional, init, modules, parallel, parameter, utils
from graphgrad.nn._absent import absent
from graphgrad.nn.modules import *  # noqa: F403
from graphgrad.nn.modules import __all__ as _layers
from graphgrad.nn.parallel import DataParallel
from graphgrad.nn.parameter import Buffer, Parameter

__all__ = [
    "Buffer",
    "DataParallel",
    "Parameter",
    "attention",
    "functional",
    "init",
    "modules",
    "parallel",
    "parameter",
    "utils",
    *_layers,
]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise absent("graphgrad.nn", name, __all__)
