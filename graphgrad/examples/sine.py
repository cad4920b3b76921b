"""Gradient descent by hand: a quintic fitted to sin(x), its loss plotted while it trains.

graphgrad run sine --plot sine          draws sine-loss.svg and sine-fit.svg
"""

import argparse
import math

import torch

try:  # under PyTorch there is no such plot
    from torch.training import LivePlot, curves
except ImportError:
    LivePlot = curves = None

RATE = 0.55e-7


def fit(epochs, compiled, report):
    """Fit; ``report(epoch, loss)`` hears of every hundredth epoch. Returns x, y and the fit."""
    x = torch.linspace(-math.pi, math.pi, 2000)
    y = torch.sin(x)
    weights = [torch.randn(1, requires_grad=True) for _ in range(6)]

    def predict():
        return sum(w * x**power for power, w in enumerate(weights))

    def step():
        loss = (predict() - y).pow(2).sum()
        loss.backward()
        with torch.no_grad():
            for w in weights:
                w -= RATE * w.grad
                w.grad = None
        return loss.detach()

    if compiled:
        step = torch.compile(step)
    for epoch in range(epochs):
        loss = step()
        if epoch % 100 == 99:
            report(epoch, loss.item())
    with torch.no_grad():
        return x, y, predict(), [w.item() for w in weights]


def main(arguments=None):
    """Train, print and draw; returns the losses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=80_000)
    parser.add_argument(
        "--plot", metavar="NAME", default="", help="draw NAME-loss.svg, NAME-fit.svg"
    )
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    torch.manual_seed(options.seed)
    plot = None
    if options.plot:
        plot = LivePlot(
            f"{options.plot}-loss.svg", title="sin(x), quintic", xlabel="epoch", log=True
        )
    losses = []

    def report(epoch, loss):
        losses.append(loss)
        if plot is not None:
            plot.add(epoch, loss=loss)
        if epoch % 10_000 == 9_999:
            print(epoch, loss)

    x, y, fitted, weights = fit(options.epochs, not options.eager, report)
    print("y =", " + ".join(f"{w:.4g} x^{power}" for power, w in enumerate(weights)))
    if plot is not None:
        plot.close()
        xs = x.tolist()
        picture = curves({"sin(x)": (xs, y.tolist()), "fitted": (xs, fitted.tolist())}, xlabel="x")
        with open(f"{options.plot}-fit.svg", "w", encoding="utf-8") as file:
            file.write(picture)
    return losses


if __name__ == "__main__":
    main()
