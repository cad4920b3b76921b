"""Fit a line to sin(x), the shortest training step there is.

graphgrad draw graphgrad.examples.line:step --stage traced -o line.svg
"""

import math

import graphgrad as gg

x = gg.linspace(-math.pi, math.pi, 2000)
y = gg.sin(x)
a = gg.tensor(0.0, requires_grad=True)
b = gg.tensor(1.0, requires_grad=True)


@gg.compile
def step() -> gg.Tensor:
    """One step of gradient descent; returns the loss before it."""
    loss = (a + b * x - y).pow(2).sum()
    loss.backward()
    with gg.no_grad():
        for w in (a, b):
            w -= 1e-4 * w.grad
            w.grad = None
    return loss
