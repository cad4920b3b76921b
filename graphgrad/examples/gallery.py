"""The pictures of the documentation, drawn anew: ``python -m graphgrad.examples.gallery docs``.

Without a folder, ``docs``. Nothing is trained: every step is traced, and drawn from its trace.
"""

from __future__ import annotations

import math
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import graphgrad as torch
from graphgrad import nn
from graphgrad.bench import models
from graphgrad.examples.lenet import LeNet5

Folder = pathlib.Path


def line(folder: Folder) -> None:
    """A line fitted to sin(x), as traced and as one kernel."""
    x = torch.linspace(-math.pi, math.pi, 2000)
    y = torch.sin(x)
    a, b = (torch.zeros((), requires_grad=True) for _ in range(2))

    @torch.compile
    def step() -> Any:
        a.grad = b.grad = None
        loss = (a * x + b - y).pow(2).sum()
        loss.backward()
        with torch.no_grad():
            a.sub_(1e-4 * a.grad)
            b.sub_(1e-4 * b.grad)
        return loss

    step.trace()
    torch.draw(step, folder / "line-traced.svg", stage="traced")
    torch.draw(step, folder / "line-kernels.svg")


def lenet(folder: Folder) -> None:
    """LeNet-5 in full: the history of a loss, and a step, each call beside its gradient."""
    net, loss_of = LeNet5(), nn.CrossEntropyLoss()
    images, labels = torch.zeros(64, 1, 28, 28), torch.zeros(64, dtype=torch.int64)
    torch.draw(loss_of(net(images), labels), folder / "lenet.svg", dims={"N": 64})
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    step = _step(net, optimizer, images, labels)
    torch.draw(step, folder / "lenet-step.svg", stage="traced")


def gpt(folder: Folder) -> None:
    """A GPT of four blocks, folded: equal blocks are drawn once."""
    net = models.gpt(torch)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-4)
    tokens = torch.zeros(8, models.GPT_LENGTH, dtype=torch.int64)
    labels = torch.zeros(8 * models.GPT_LENGTH, dtype=torch.int64)
    torch.draw(_step(net, optimizer, tokens, labels), folder / "gpt.svg", stage="traced")


def resnet(folder: Folder) -> None:
    """ResNet-18, its convolutions and norms folded."""
    net = models.resnet18(torch)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    images, labels = torch.zeros(16, 3, 32, 32), torch.zeros(16, dtype=torch.int64)
    step = _step(net, optimizer, images, labels)
    torch.draw(step, folder / "resnet.svg", stage="traced")


def _step(net: nn.Module, optimizer: Any, inputs: torch.Tensor, labels: torch.Tensor) -> Any:
    """A compiled training step, traced for two sizes of the batch and never run."""

    @torch.compile
    def step(inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss

    # Whatever differs between the two is written as N.
    step.trace(inputs[1:], labels[len(labels) // len(inputs) :])
    step.trace(inputs, labels)
    return step


GALLERY: tuple[Callable[[Folder], None], ...] = (line, lenet, gpt, resnet)


def main(folder: str = "docs") -> None:
    """Draw all of it into a folder."""
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    for draw in GALLERY:
        start = time.perf_counter()
        draw(pathlib.Path(folder))
        print(f"{draw.__name__}: {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main(*sys.argv[1:2])
