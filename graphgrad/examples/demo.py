"""Train LeNet-5 on handwritten digits: what ``graphgrad demo`` runs.

accuracy = train_lenet(epochs=3, svg="lenet.svg")      # at least 0.97
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm

import graphgrad as gg
from graphgrad import nn, optim
from graphgrad.config import config
from graphgrad.examples.lenet import LeNet5, load_digits
from graphgrad.tensor import Tensor

PEAK_RATE, WARM_UP = 5e-3, 0.1


def train_lenet(
    epochs: int = 3,
    batch_size: int = 64,
    compiled: bool = True,
    progress: bool = True,
    svg: str | None = None,
) -> float:
    """Train on 8,000 digits, print the accuracy on 2,000 others after each epoch; returns the last.

    ``compiled``: forward, backward and update as one program. ``svg``: draw the loss's graph there.
    """
    gg.manual_seed(0)
    train, test = load_digits("train"), load_digits("test")
    model = LeNet5()
    optimizer = optim.Adam(model.parameters(), lr=PEAK_RATE)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    step = _training_step(model, optimizer, loss_of)
    step, predict = (gg.compile(step), gg.compile(model)) if compiled else (step, model)
    rates = _rates(epochs * (len(train[0]) // batch_size))
    accuracy = 0.0
    for epoch in range(1, epochs + 1):
        with tqdm(total=len(train[0]) // batch_size, disable=not progress, leave=False) as bar:
            bar.set_description(f"epoch {epoch}")
            for images, labels in _batches(*train, batch_size):
                optimizer.param_groups[0]["lr"] = next(rates)
                loss = step(images, labels)
                bar.update()
                bar.set_postfix(loss=f"{float(loss):.3f}", refresh=False)
        accuracy = _accuracy(model, predict, *test)
        print(f"epoch {epoch}: {accuracy:.2%} of {len(test[0])} test digits")
    if svg is not None:
        draw_loss(model, loss_of, train[0][:batch_size], train[1][:batch_size], svg)
        print(f"graph: {svg}")
    print(f"kernels: {config.cache_dir}{_kernel_counts()}")
    return accuracy


def _kernel_counts() -> str:
    """How many kernels this process compiled, and how many it found in the cache."""
    if config.tier == "interpret":
        return ""
    from graphgrad.kernels.cache import stats

    return f" ({stats.compiled} compiled now, {stats.loaded} loaded)"


def _training_step(
    model: nn.Module, optimizer: optim.Optimizer, loss_of: nn.Module
) -> Callable[[Tensor, Tensor], Tensor]:
    def step(images: Tensor, labels: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def _rates(steps: int) -> Iterator[float]:
    """Learning rates: a linear warm-up to the peak, then a linear decay to 0."""
    for i in range(steps):
        done = i / steps
        yield PEAK_RATE * min((done + 1 / steps) / WARM_UP, (1 - done) / (1 - WARM_UP))


def _batches(images: Tensor, labels: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Full batches in random order."""
    order = gg.randperm(len(images))
    for start in range(0, len(images) - size + 1, size):
        chosen = order[start : start + size]
        yield images[chosen], labels[chosen]


def _accuracy(model: nn.Module, predict: Any, images: Tensor, labels: Tensor) -> float:
    model.eval()
    with gg.no_grad():
        right = (predict(images).argmax(1) == labels).float().mean().item()
    model.train()
    return right


def draw_loss(
    model: nn.Module, loss_of: nn.Module, images: Tensor, labels: Tensor, path: str
) -> None:
    """Draw what ``backward()`` will walk, the leaves called as in ``model.named_parameters()``."""
    from graphgrad.viz import draw

    loss = loss_of(model(images), labels)
    draw(loss, path, params=dict(model.named_parameters()))
