"""Optimizers and learning-rate schedules.

optimizer = optim.Adam(model.parameters(), lr=1e-3)
schedule = optim.lr_scheduler.StepLR(optimizer, step_size=10)
"""

from graphgrad.optim import lr_scheduler
from graphgrad.optim.adam import Adam, AdamW
from graphgrad.optim.adaptive import Adadelta, Adagrad, Adamax, NAdam, RAdam, RMSprop
from graphgrad.optim.optimizer import Optimizer
from graphgrad.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "lr_scheduler",
]
