"""Optimizers, learning-rate schedules, and averages of weights.

optimizer = optim.Adam(model.parameters(), lr=1e-3)
schedule = optim.lr_scheduler.StepLR(optimizer, step_size=10)
average = optim.swa_utils.AveragedModel(model)
"""

from graphgrad.nearest import names_of
from graphgrad.optim import lr_scheduler, swa_utils
from graphgrad.optim.adafactor import Adafactor
from graphgrad.optim.adam import Adam, AdamW
from graphgrad.optim.adaptive import Adadelta, Adagrad, RMSprop
from graphgrad.optim.asgd import ASGD
from graphgrad.optim.lbfgs import LBFGS
from graphgrad.optim.moments import Adamax, NAdam, RAdam
from graphgrad.optim.muon import Muon
from graphgrad.optim.optimizer import Optimizer
from graphgrad.optim.rprop import Rprop
from graphgrad.optim.sgd import SGD
from graphgrad.optim.sparse_adam import SparseAdam

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SparseAdam",
    "lr_scheduler",
    "swa_utils",
]

__getattr__ = names_of("graphgrad.optim", globals())
