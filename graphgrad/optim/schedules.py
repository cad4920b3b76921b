"""Learning rates as functions of the epoch: a schedule changes its optimizer's groups at each step.

    schedule = lr_scheduler.CosineAnnealingLR(optimizer, T_max=100)
    for epoch in range(100):
        train(); schedule.step()

Most schedules are written twice, as in PyTorch: ``follow`` goes from the current rate to the next
one, so that several schedules of one optimizer multiply; ``rate`` is the closed form, for a jump to
any epoch. Rates are run-time numbers of compiled steps: nothing is retraced.
"""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from graphgrad.optim.optimizer import Optimizer
from graphgrad.tensor import Tensor

Group = dict[str, Any]


def set_number(group: Group, name: str, value: Any) -> None:
    """Set an option of a group; one that is a tensor stays the same tensor."""
    if isinstance(group[name], Tensor):
        group[name].detach().fill_(float(value))
    else:
        group[name] = value


def per_group(optimizer: Optimizer, name: str, value: Any) -> list[Any]:
    """``value`` for every group, or a list that must have one value for each."""
    groups = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * groups
    if len(value) != groups:
        raise ValueError(f"{name} must have the same length as param_groups: expected {groups}")
    return list(value)


class LRScheduler:
    """Base class; a subclass gives ``rate`` and perhaps ``follow``, or overrides ``get_lr``."""

    # The option that is scheduled (its first value is kept under the same name, prefixed).
    _initial = "initial_lr"

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault(self._initial, _number(group["lr"]))
            elif self._initial not in group:
                raise KeyError(
                    f"param {self._initial!r} is not specified in "
                    f"param_groups[{i}] when resuming scheduler with last_epoch >= 0"
                )
        self.base_lrs = [float(group[self._initial]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._step_count = 0
        self._initial_step()

    def _initial_step(self) -> None:
        self._is_initial = True
        self.step()
        self._is_initial = False

    def rate(self, initial: float, epoch: int) -> float:
        """The learning rate of one group at an epoch, whatever it was before."""
        raise NotImplementedError(f"{type(self).__name__} gives no rate")

    def follow(self, now: float, initial: float, epoch: int) -> float:
        """The rate at ``epoch`` of a group whose rate was ``now`` at the epoch before."""
        return self.rate(initial, epoch)

    def get_lr(self) -> list[Any]:
        """The groups' next rates, from their current ones."""
        pairs = zip(self.optimizer.param_groups, self.base_lrs, strict=True)
        return [self.follow(float(g["lr"]), initial, self.last_epoch) for g, initial in pairs]

    def _get_closed_form_lr(self) -> list[float]:
        return [self.rate(initial, self.last_epoch) for initial in self.base_lrs]

    def get_last_lr(self) -> list[Any]:
        """The rates that the last step set."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch (or to ``epoch``) and set its rates."""
        if self._step_count == 1 and not getattr(self.optimizer, "_opt_called", True):
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. Call them in "
                "the opposite order: `optimizer.step()` before `lr_scheduler.step()`; otherwise "
                "the first value of the schedule is skipped.",
                stacklevel=2,
            )
        self._step_count += 1
        self._move(self.last_epoch + 1 if epoch is None else epoch, jump=epoch is not None)

    def _move(self, epoch: int, jump: bool) -> None:
        self.last_epoch = epoch
        closed = jump and type(self).rate is not LRScheduler.rate
        rates = self._get_closed_form_lr() if closed else self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            set_number(group, "lr", rate)
        self._last_lr = [_number(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer; functions belong to the program and are left out."""
        kept = self.__dict__.items()
        return {k: v for k, v in kept if k != "optimizer" and not callable(v)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a ``state_dict``."""
        self.__dict__.update(state_dict)


def _number(value: Any) -> Any:
    """A copy of a rate: of a tensor that will be overwritten, its present value."""
    return value.detach().clone() if isinstance(value, Tensor) else value


# ------------------------------------------------------------------------- functions of the user


class LambdaLR(LRScheduler):
    """initial·f(epoch), one function for all groups or one each."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        n = len(optimizer.param_groups)
        self.lr_lambdas = list(lr_lambda) if isinstance(lr_lambda, Sequence) else [lr_lambda] * n
        if len(self.lr_lambdas) != n:
            raise ValueError(f"Expected {n} lr_lambdas, but got {len(self.lr_lambdas)}")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        pairs = zip(self.base_lrs, self.lr_lambdas, strict=True)
        return [initial * f(self.last_epoch) for initial, f in pairs]

    def state_dict(self) -> dict[str, Any]:
        """As every schedule's; of the functions, only the attributes of callable objects."""
        plain = (type(_number), type(len))
        kept = [None if isinstance(f, plain) else dict(f.__dict__) for f in self.lr_lambdas]
        return super().state_dict() | {"lr_lambdas": kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a ``state_dict``; functions stay this program's."""
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "lr_lambdas"})
        for f, kept in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            if kept is not None:
                f.__dict__.update(kept)


class MultiplicativeLR(LambdaLR):
    """Each epoch's rate is the last one's times f(epoch)."""

    def get_lr(self) -> list[float]:
        rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        if self._is_initial:
            return rates
        pairs = zip(rates, self.lr_lambdas, strict=True)
        return [rate * f(self.last_epoch) for rate, f in pairs]


# ---------------------------------------------------------------------------------- closed forms


class StepLR(LRScheduler):
    """Multiplied by gamma every ``step_size`` epochs."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, initial: float, epoch: int) -> float:
        return initial * self.gamma ** (epoch // self.step_size)

    def follow(self, now: float, initial: float, epoch: int) -> float:
        return now if epoch == 0 or epoch % self.step_size else now * self.gamma


class MultiStepLR(LRScheduler):
    """Multiplied by gamma at each milestone."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones, self.gamma = Counter(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, initial: float, epoch: int) -> float:
        return initial * self.gamma ** bisect_right(sorted(self.milestones.elements()), epoch)

    def follow(self, now: float, initial: float, epoch: int) -> float:
        return now * self.gamma ** self.milestones[epoch]


class ExponentialLR(LRScheduler):
    """initial·gamma^epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, initial: float, epoch: int) -> float:
        return initial * self.gamma**epoch

    def follow(self, now: float, initial: float, epoch: int) -> float:
        return now if self._is_initial else now * self.gamma


class ConstantLR(LRScheduler):
    """initial·factor until epoch ``total_iters``, then initial."""

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= factor <= 1.0:
            raise ValueError(
                "Constant multiplicative factor expected to be between 0 and 1, "
                f"got factor={factor}"
            )
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, initial: float, epoch: int) -> float:
        return initial * (self.factor if epoch < self.total_iters else 1.0)

    def follow(self, now: float, initial: float, epoch: int) -> float:
        if epoch == 0:
            return now * self.factor
        return now * (1.0 / self.factor) if epoch == self.total_iters else now


class LinearLR(LRScheduler):
    """A factor that moves linearly from ``start_factor`` to ``end_factor``."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1.0:
            raise ValueError(
                "Starting multiplicative factor expected to be greater than 0 and less or equal "
                f"to 1, got start_factor={start_factor}"
            )
        if not 0 <= end_factor <= 1.0:
            raise ValueError(
                f"Ending multiplicative factor expected to be between 0 and 1, got {end_factor=}"
            )
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        done = min(epoch, self.total_iters) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * done

    def rate(self, initial: float, epoch: int) -> float:
        return initial * self._factor(epoch)

    def follow(self, now: float, initial: float, epoch: int) -> float:
        if epoch == 0:
            return now * self.start_factor
        if self._is_initial or epoch > self.total_iters:
            return now
        return now * (self._factor(epoch) / self._factor(epoch - 1))


class PolynomialLR(LRScheduler):
    """initial·(1 - epoch/total_iters)^power."""

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
    ) -> None:
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def _left(self, epoch: int) -> float:
        return 1.0 - min(epoch, self.total_iters) / self.total_iters

    def rate(self, initial: float, epoch: int) -> float:
        return initial * self._left(epoch) ** self.power

    def follow(self, now: float, initial: float, epoch: int) -> float:
        if self._is_initial or epoch > self.total_iters:
            return now
        return now * (self._left(epoch) / self._left(epoch - 1)) ** self.power


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial rate to ``eta_min`` over T_max epochs, and back."""

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def _wave(self, epoch: int) -> float:
        return 1 + math.cos(math.pi * epoch / self.T_max)

    def rate(self, initial: float, epoch: int) -> float:
        return self.eta_min + (initial - self.eta_min) * self._wave(epoch) / 2

    def follow(self, now: float, initial: float, epoch: int) -> float:
        if self._is_initial:
            return now
        if self._step_count == 1 and epoch > 0:
            return self.rate(initial, epoch)
        if (epoch - 1 - self.T_max) % (2 * self.T_max) == 0:
            return now + (initial - self.eta_min) * (1 - math.cos(math.pi / self.T_max)) / 2
        return self.eta_min + (now - self.eta_min) * self._wave(epoch) / self._wave(epoch - 1)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half cosines of T_0, T_0·T_mult, … epochs, each from the initial rate (SGDR).

    Epochs may be fractions: ``step(epoch + batch / batches)``.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if T_0 <= 0 or not isinstance(T_0, int):
            raise ValueError(f"Expected positive integer T_0, but got {T_0}")
        if T_mult < 1 or not isinstance(T_mult, int):
            raise ValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        self.T_0 = self.T_i = T_0
        self.T_mult, self.eta_min, self.T_cur = T_mult, eta_min, last_epoch
        super().__init__(optimizer, last_epoch)

    def rate(self, initial: float, epoch: float) -> float:
        period, position = self._place(epoch)
        wave = (1 + math.cos(math.pi * position / period)) / 2
        return self.eta_min + (initial - self.eta_min) * wave

    def _place(self, epoch: float) -> tuple[int, float]:
        """The period that an epoch lies in, and where."""
        period, position = self.T_0, epoch
        while position >= period:
            position, period = position - period, period * self.T_mult
        return period, position

    def step(self, epoch: float | None = None) -> None:  # type: ignore[override]
        """Go on by one epoch (or to ``epoch``, a fraction too) and set its rates."""
        if epoch is not None and epoch < 0:
            raise ValueError(f"Expected non-negative epoch, but got {epoch}")
        now = self.last_epoch + 1 if epoch is None else epoch
        self.T_i, self.T_cur = self._place(now)  # type: ignore[assignment]
        self._exact = now
        self._move(math.floor(now), jump=False)

    def get_lr(self) -> list[float]:
        return [self.rate(initial, self._exact) for initial in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {k: v for k, v in super().state_dict().items() if k != "_exact"}
