"""Neural networks: layers, containers, losses, and the functions behind them.

import graphgrad.nn as nn
net = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
"""

from graphgrad.nn import attention, functional, init, modules, parallel, parameter, utils
from graphgrad.nn._absent import names_of
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

__getattr__ = names_of("graphgrad.nn", globals())
