"""A small network that the golden pictures are of; its lines are in their hover texts."""

from __future__ import annotations

from typing import Any

import graphgrad as torch
from graphgrad import nn


class Block(nn.Module):
    """A residual step."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.fc = nn.LayerNorm(width), nn.Linear(width, width)

    def forward(self, x: Any) -> Any:
        return x + torch.relu(self.fc(self.norm(x)))


class Net(nn.Module):
    """Three equal blocks, batch statistics, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(8), Block(8), Block(8))
        self.statistics = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        return self.head(self.statistics(self.blocks(x)))


def step() -> Any:
    """A compiled training step, traced and not run."""
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    @torch.compile
    def train(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    train.trace(torch.zeros(16, 8), torch.zeros(16, 4))
    return train


def history() -> Any:
    """A loss with its grad_fn records."""
    net = Net()
    return nn.functional.mse_loss(net(torch.zeros(16, 8)), torch.zeros(16, 4))
