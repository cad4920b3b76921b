"""Schedules that also move momentum, several schedules as one, and one that watches a metric."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from graphgrad.optim.optimizer import Optimizer
from graphgrad.optim.schedules import Group, LRScheduler, per_group, set_number


class _WithMomentum(LRScheduler):
    """A schedule that moves momentum (or the first beta) against the rate."""

    cycle_momentum: bool

    def _check_momentum(self, optimizer: Optimizer) -> None:
        defaults = optimizer.defaults
        if self.cycle_momentum and not ("momentum" in defaults or "betas" in defaults):
            raise ValueError(
                "optimizer must support momentum or beta1 with `cycle_momentum` option enabled"
            )
        self.use_beta1 = "betas" in defaults

    def _set_momentum(self, group: Group, value: float) -> None:
        if self.use_beta1:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value


class OneCycleLR(_WithMomentum):
    """Up to ``max_lr`` during ``pct_start`` of the steps, then far down (Smith & Topin 2018)."""

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Any,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: Any = 0.85,
        max_momentum: Any = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        self.total_steps = _total(total_steps, epochs, steps_per_epoch)
        if not 0 <= pct_start <= 1 or not isinstance(pct_start, float):
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._anneal_func_type = anneal_strategy
        self.cycle_momentum, self.three_phase = cycle_momentum, three_phase
        self._check_momentum(optimizer)
        up = float(pct_start * self.total_steps) - 1
        self._ends = [up, *([2 * up] if three_phase else []), self.total_steps - 1]
        if last_epoch == -1:
            tops = per_group(optimizer, "max_lr", max_lr)
            highs = per_group(optimizer, "max_momentum", max_momentum)
            lows = per_group(optimizer, "base_momentum", base_momentum)
            for i, group in enumerate(optimizer.param_groups):
                start = tops[i] / div_factor
                group |= {"initial_lr": start, "max_lr": tops[i]}
                group["min_lr"] = start / final_div_factor
                if cycle_momentum:
                    group |= {"max_momentum": highs[i], "base_momentum": lows[i]}
                    self._set_momentum(group, highs[i])
        super().__init__(optimizer, last_epoch)

    def _between(self, values: Sequence[float]) -> float:
        """The value now, on the way from one of ``values`` to the next in each phase."""
        begin, last = 0.0, len(self._ends) - 1
        i = min(sum(self.last_epoch > end for end in self._ends), last)
        begin, end = (0.0, *self._ends)[i : i + 2]
        done = (self.last_epoch - begin) / (end - begin)
        a, b = values[i], values[i + 1]
        if self._anneal_func_type == "linear":
            return a + (b - a) * done
        return b + (a - b) / 2 * (1 + math.cos(math.pi * done))

    def get_lr(self) -> list[float]:
        if self.last_epoch > self.total_steps:
            raise ValueError(
                f"Tried to step {self.last_epoch} times. "
                f"The specified number of total steps is {self.total_steps}"
            )
        rates = []
        for group in self.optimizer.param_groups:
            start, top, least = group["initial_lr"], group["max_lr"], group["min_lr"]
            back = (start,) if self.three_phase else ()
            rates.append(self._between((start, top, *back, least)))
            if self.cycle_momentum:
                high, low = group["max_momentum"], group["base_momentum"]
                rest = (high,) if self.three_phase else ()
                self._set_momentum(group, self._between((high, low, high, *rest)))
        return rates


def _total(total: int | None, epochs: int | None, steps: int | None) -> int:
    if total is None and (epochs is None or steps is None):
        raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    named = (
        (("total_steps", total),)
        if total is not None
        else (("epochs", epochs), ("steps_per_epoch", steps))
    )
    for name, value in named:
        if not isinstance(value, int) or value <= 0:
            raise ValueError(f"Expected positive integer {name}, but got {value}")
    return total if total is not None else epochs * steps  # type: ignore[operator]


class CyclicLR(_WithMomentum):
    """Up and down between two rates (Smith 2017), the height constant, halving or falling.

    ``scale_fn``, of the cycle or of the iteration by ``scale_mode``, replaces ``mode``.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: Any,
        max_lr: Any,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: Any = 0.8,
        max_momentum: Any = 0.9,
        last_epoch: int = -1,
    ) -> None:
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError("mode is invalid and scale_fn is None")
        bases = per_group(optimizer, "base_lr", base_lr)
        self.max_lrs = per_group(optimizer, "max_lr", max_lr)
        down = step_size_up if step_size_down is None else step_size_down
        self.total_size = float(step_size_up + down)
        self.step_ratio = float(step_size_up) / self.total_size
        self.mode, self.gamma, self._scale = mode, gamma, scale_fn
        by_mode = "iterations" if mode == "exp_range" else "cycle"
        self.scale_mode = by_mode if scale_fn is None else scale_mode
        self.cycle_momentum = cycle_momentum
        self._check_momentum(optimizer)
        if last_epoch == -1:
            for group, rate in zip(optimizer.param_groups, bases, strict=True):
                set_number(group, "lr", rate)
        if cycle_momentum:
            self.base_momentums = per_group(optimizer, "base_momentum", base_momentum)
            self.max_momentums = per_group(optimizer, "max_momentum", max_momentum)
            if last_epoch == -1:
                triples = zip(
                    optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True
                )
                for group, low, high in triples:
                    self._set_momentum(group, high)
                    group |= {"max_momentum": high, "base_momentum": low}
        super().__init__(optimizer, last_epoch)
        self.base_lrs = [float(rate) for rate in bases]

    def scale_fn(self, x: float) -> float:
        """How high a cycle (or an iteration) is, as a share of the first."""
        if self._scale is not None:
            return self._scale(x)
        if self.mode == "triangular2":
            return 1 / 2.0 ** (x - 1)
        return self.gamma**x if self.mode == "exp_range" else 1.0

    def get_lr(self) -> list[float]:
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        up = x <= self.step_ratio
        height = x / self.step_ratio if up else (x - 1) / (self.step_ratio - 1)
        height *= self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            triples = zip(
                self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True
            )
            for group, low, high in triples:
                self._set_momentum(group, high - (high - low) * height)
        pairs = zip(self.base_lrs, self.max_lrs, strict=True)
        return [low + (high - low) * height for low, high in pairs]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer; of ``scale_fn``, the attributes of a callable object."""
        kept = getattr(self._scale, "__dict__", None)
        custom = dict(kept) if kept and not hasattr(self._scale, "__code__") else None
        state = {k: v for k, v in super().state_dict().items() if k != "_scale"}
        return state | {"_scale_fn_custom": custom}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a ``state_dict``; the function stays this program's."""
        state = dict(state_dict)
        custom = state.pop("_scale_fn_custom")
        if custom is not None and self._scale is not None:
            self._scale.__dict__.update(custom)
        super().load_state_dict(state)


# ----------------------------------------------------------------------- several schedules as one


class _Several(LRScheduler):
    """A schedule made of schedules of one optimizer."""

    _schedulers: list[Any]

    def _take(self, schedulers: Sequence[Any], optimizer: Optimizer | None) -> None:
        name = type(self).__name__
        if not schedulers:
            raise ValueError(f"{name} expects at least one scheduler to be chained, but got none.")
        self.optimizer = optimizer or schedulers[0].optimizer
        for i, schedule in enumerate(schedulers):
            if not hasattr(schedule, "optimizer"):
                raise TypeError(f"{name} at index {i} should have `optimizer` as its attribute.")
            if isinstance(schedule, ReduceLROnPlateau):
                raise ValueError(
                    f"{name} does not support `ReduceLROnPlateau` scheduler as it requires "
                    f"additional kwargs to be specified when calling `step`, but got one at index "
                    f"{i} in the given schedulers sequence."
                )
            if schedule.optimizer is not self.optimizer:
                raise ValueError(
                    f"{name} expects all schedulers to belong to the same optimizer, but got "
                    f"scheduler {type(schedule).__name__} at index {i} with a different optimizer."
                )
        self._schedulers = list(schedulers)

    def _note(self) -> None:
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The schedules' own states under ``_schedulers``."""
        return super().state_dict() | {"_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a ``state_dict``, those of the schedules too."""
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for schedule, kept in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            schedule.load_state_dict(kept)


class ChainedScheduler(_Several):
    """All schedules at every step: their factors multiply."""

    def __init__(self, schedulers: Sequence[Any], optimizer: Optimizer | None = None) -> None:
        self._take(schedulers, optimizer)
        self._note()

    def step(self) -> None:  # type: ignore[override]
        """Step every schedule."""
        for schedule in self._schedulers:
            schedule.step()
        self._note()


class SequentialLR(_Several):
    """One schedule after the other, changing at the milestones."""

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[Any],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        self._take(schedulers, optimizer)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                "Sequential Schedulers expects number of schedulers provided to be one more than "
                "the number of milestone points, but got number of schedulers "
                f"{len(schedulers)} and the number of milestones to be equal to {len(milestones)}"
            )
        self._milestones, self.last_epoch = list(milestones), last_epoch + 1
        # Every schedule has set its first rate already; only the first one's may count.
        for group in optimizer.param_groups:
            set_number(group, "lr", group["initial_lr"])
        _undo(self._schedulers)
        self._schedulers[0]._initial_step()
        self._last_lr = self._schedulers[0].get_last_lr()

    def step(self) -> None:  # type: ignore[override]
        """Step the schedule whose turn it is, from its own epoch 0."""
        self.last_epoch += 1
        i = bisect_right(self._milestones, self.last_epoch)
        schedule = self._schedulers[i]
        first = i > 0 and self._milestones[i - 1] == self.last_epoch
        schedule.step(0) if first else schedule.step()
        self._last_lr = schedule.get_last_lr()


def _undo(schedulers: Sequence[Any]) -> None:
    for schedule in schedulers:
        if isinstance(schedule, SequentialLR):
            _undo(schedule._schedulers)
        elif not isinstance(schedule, ChainedScheduler):
            schedule.last_epoch -= 1


# ---------------------------------------------------------------------------------------- metrics


class ReduceLROnPlateau(LRScheduler):
    """Multiplies the rate by ``factor`` when a metric has not improved for ``patience`` epochs."""

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: Any = 0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1.0:
            raise ValueError("Factor should be < 1.0.")
        if mode not in ("min", "max"):
            raise ValueError(f"mode {mode} is unknown!")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold mode {threshold_mode} is unknown!")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.eps = threshold, threshold_mode, eps
        self.cooldown, self.last_epoch = cooldown, 0
        self.min_lrs = per_group(optimizer, "min_lr", min_lr)
        self.mode_worse = math.inf if mode == "min" else -math.inf
        self._reset()
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def _reset(self) -> None:
        """Forget the best metric, and what was counted."""
        self.best, self.cooldown_counter, self.num_bad_epochs = self.mode_worse, 0, 0

    def is_better(self, a: float, best: float) -> bool:
        """Whether ``a`` improves on ``best`` by more than the threshold."""
        share = self.threshold if self.mode == "max" else -self.threshold
        bound = best * (1 + share) if self.threshold_mode == "rel" else best + share
        return a > bound if self.mode == "max" else a < bound

    @property
    def in_cooldown(self) -> bool:
        """Whether bad epochs are not counted yet."""
        return self.cooldown_counter > 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Note this epoch's metric; reduces the rate if there was no progress for too long."""
        value = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self.is_better(value, self.best):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown_counter - 1, 0
        if self.num_bad_epochs > self.patience:
            self._reduce_lr(self.last_epoch)
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _reduce_lr(self, epoch: int) -> None:
        for group, lowest in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            old = float(group["lr"])
            new = max(old * self.factor, lowest)
            if old - new > self.eps:
                set_number(group, "lr", new)
