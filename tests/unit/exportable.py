"""Functions that tests export; tests/golden/exported.py shows this file's line numbers."""

import graphgrad as gg
from graphgrad.nn import functional as F

bias = gg.arange(8).float()


def activated(x):
    """One kernel, one product."""
    hidden = F.relu(x + bias)
    return {"hidden": hidden, "gram": hidden @ x.t()}


def example():
    """Arguments for it."""
    return (gg.ones(4, 8),)
