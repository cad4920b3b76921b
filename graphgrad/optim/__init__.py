"""Optimizers: SGD, Adam, AdamW.

optimizer = optim.Adam(model.parameters(), lr=1e-3)
"""

from graphgrad.optim.adam import Adam, AdamW
from graphgrad.optim.optimizer import Optimizer
from graphgrad.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
