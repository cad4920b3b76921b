"""Averages of weights over training: stochastic weight averaging, and moving averages.

average = swa_utils.AveragedModel(model)      # multi_avg_fn=get_ema_multi_avg_fn(0.99): EMA
schedule = swa_utils.SWALR(optimizer, swa_lr=0.05)
for epoch in range(100):
    train(); average.update_parameters(model); schedule.step()
swa_utils.update_bn(loader, average)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import graphgrad as gg
from graphgrad.nn import Module
from graphgrad.nn.modules.batchnorm import _BatchNorm
from graphgrad.optim.optimizer import Optimizer
from graphgrad.optim.schedules import LRScheduler, per_group
from graphgrad.tensor import Tensor
from graphgrad.tensor.state import no_grad

Average = Callable[[Tensor, Tensor, Any], Tensor]
ManyAverages = Callable[[list[Tensor], list[Tensor], Any], None]


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """decay·average + (1 - decay)·current."""
    _check_decay(decay)

    @no_grad()
    def update(average: Tensor, current: Tensor, count: Any) -> Tensor:
        return decay * average + (1 - decay) * current

    return update


def get_swa_avg_fn() -> Average:
    """The mean of all values so far, equally weighted."""

    @no_grad()
    def update(average: Tensor, current: Tensor, count: Any) -> Tensor:
        return average + (current - average) / (count + 1)

    return update


def get_ema_multi_avg_fn(decay: float = 0.999) -> ManyAverages:
    """Moving averages of many tensors, in place."""
    _check_decay(decay)

    @no_grad()
    def update(averages: list[Tensor], currents: list[Tensor], count: Any) -> None:
        for average, current in zip(averages, currents, strict=True):
            if average.is_floating_point():
                average.lerp_(current, 1 - decay)
            else:
                average.copy_(average * decay + current * (1 - decay))

    return update


def get_swa_multi_avg_fn() -> ManyAverages:
    """Means over all values so far of many tensors, in place."""

    @no_grad()
    def update(averages: list[Tensor], currents: list[Tensor], count: Any) -> None:
        for average, current in zip(averages, currents, strict=True):
            average.copy_(average + (current - average) / (count + 1))

    return update


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(
            f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        )


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's over its updates.

    ``use_buffers`` averages buffers too; otherwise they are copied at each update.
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: ManyAverages | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", gg.tensor(0, dtype=gg.long, device=device))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Take the model's present parameters into the average; the first time, copy them."""
        averages, currents = self._averaged(self.module), self._averaged(model)
        if self.n_averaged == 0:
            for average, current in zip(averages, currents, strict=True):
                average.copy_(current)
        elif self.avg_fn is None:
            update = self.multi_avg_fn or get_swa_multi_avg_fn()
            update(averages, currents, self.n_averaged)
        else:
            for average, current in zip(averages, currents, strict=True):
                average.copy_(self.avg_fn(average, current, self.n_averaged))
        if not self.use_buffers:
            pairs = zip(self.module.buffers(), model.buffers(), strict=True)
            for mine, current in pairs:
                mine.copy_(current)
        self.n_averaged += 1

    def _averaged(self, model: Module) -> list[Tensor]:
        buffers = model.buffers() if self.use_buffers else ()
        return [t.detach() for t in itertools.chain(model.parameters(), buffers)]


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute batch norms' running statistics anew, in one pass over the loader's batches.

    Of a batch that is a list or a tuple, the first part is the input.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    if not norms:
        return
    was_training, momenta = model.training, [m.momentum for m in norms]
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        # None: the plain mean over all batches.
        norm.momentum = None
    for batch in loader:
        x = batch[0] if isinstance(batch, (list, tuple)) else batch
        model(x if device is None else x.to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """From the present rate to ``swa_lr`` over ``anneal_epochs``, then constant."""

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: Any,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        for group, rate in zip(
            optimizer.param_groups, per_group(optimizer, "swa_lr", swa_lr), strict=True
        ):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must by one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy, self.anneal_epochs = anneal_strategy, anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, done: float) -> float:
        """How much of the new rate there is when ``done`` of the way is."""
        done = max(0.0, min(1.0, done))
        return done if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * done)) / 2

    def get_lr(self) -> list[float]:
        # _step_count is 1 in the constructor, and from the second call of step() on, 2 and more.
        step, length = self._step_count - 1, max(1, self.anneal_epochs)
        if self.anneal_epochs == 0:
            step = max(1, step)
        before = self._share((step - 1) / length)
        now = self._share(step / length)
        rates = []
        for group in self.optimizer.param_groups:
            target, rate = group["swa_lr"], float(group["lr"])
            # The rate that annealing began with, from where it is on its way.
            begin = 0.0 if before == 1 else (rate - before * target) / (1 - before)
            rates.append(target * now + begin * (1 - now))
        return rates
