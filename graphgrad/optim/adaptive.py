"""Optimizers that scale each element's step: RMSprop, Adagrad, Adadelta, Adamax, NAdam, RAdam."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

import graphgrad as gg
from graphgrad import lang
from graphgrad.dtypes import float32
from graphgrad.optim import sparse
from graphgrad.optim.adam import DECAY, correction, decayed
from graphgrad.optim.optimizer import Group, Optimizer, rule_of, validated
from graphgrad.tensor import Tensor


class _Adaptive(Optimizer):
    """An optimizer whose state and update rule do not depend on its options."""

    states: ClassVar[tuple[str, ...]]
    update: ClassVar[Callable[..., Any]]
    switches = ("weight_decay", "maximize")

    def names(self, group: Group) -> tuple[str, ...]:
        return ("step", *self.states)

    def rule(self, group: Group) -> Callable[..., Any]:
        return rule_of(type(self).update, **self.options(group))


def _lr(group: Group, _: float) -> float:
    return float(group["lr"])


def _moving(old: Any, new: Any, keep: Any, rest: Any) -> Any:
    """keep·old + rest·new."""
    return lang.add(lang.mul(old, keep), lang.mul(new, rest))


def _towards(old: Any, new: Any, rest: Any) -> Any:
    """old + rest·(new - old)."""
    return lang.add(old, lang.mul(lang.sub(new, old), rest))


# ------------------------------------------------------------------------------------ RMSprop


def _rmsprop(p: Any, g: Any, step: Any, square: Any, *rest: Any, **on: bool) -> tuple[Any, ...]:
    *kept, n = rest
    p, g = decayed(p, g, n, on["weight_decay"], on["maximize"])
    square = _moving(square, lang.mul(g, g), n["alpha"], n["rest"])
    spread, mean = square, []
    if on["centered"]:
        mean = [_towards(kept[-1], g, n["rest"])]
        spread = lang.sub(square, lang.mul(mean[0], mean[0]))
    scaled = lang.div(g, lang.add(lang.sqrt(spread), n["eps"]))
    buffer = []
    if on["momentum"]:
        buffer = [lang.add(lang.mul(kept[0], n["momentum"]), scaled)]
        scaled = buffer[0]
    p = lang.sub(p, lang.mul(scaled, n["lr"]))
    return (p, lang.add(step, 1.0), square, *buffer, *mean)


class RMSprop(Optimizer):
    """p ← p - lr·g/(√v + eps), v a moving average of g² (Hinton 2012); optionally with momentum."""

    numbers = {
        "lr": _lr,
        "alpha": lambda group, _: group["alpha"],
        "rest": lambda group, _: 1.0 - group["alpha"],
        "eps": lambda group, _: group["eps"],
        "momentum": lambda group, _: group["momentum"],
        **DECAY,
    }
    switches = ("weight_decay", "maximize", "momentum", "centered")

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, validated(options))

    def names(self, group: Group) -> tuple[str, ...]:
        buffer = ("momentum_buffer",) if group["momentum"] else ()
        mean = ("grad_avg",) if group["centered"] else ()
        return ("step", "square_avg", *buffer, *mean)

    def rule(self, group: Group) -> Callable[..., Any]:
        return rule_of(_rmsprop, **self.options(group))


# ------------------------------------------------------------------------------------ Adagrad


def _adagrad(p: Any, g: Any, step: Any, total: Any, n: Any, **on: bool) -> tuple[Any, ...]:
    p, g = decayed(p, g, n, on["weight_decay"], on["maximize"])
    total = lang.add(total, lang.mul(g, g))
    scaled = lang.div(g, lang.add(lang.sqrt(total), n["eps"]))
    return lang.sub(p, lang.mul(scaled, n["rate"])), lang.add(step, 1.0), total


class Adagrad(_Adaptive):
    """p ← p - lr/(1 + t·lr_decay)·g/(√Σg² + eps) (Duchi et al. 2011)."""

    states, update = ("sum",), _adagrad
    numbers = {
        "rate": lambda group, t: float(group["lr"]) / (1 + t * group["lr_decay"]),
        "eps": lambda group, _: group["eps"],
        **DECAY,
    }

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        options = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, validated(options))
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p] = {name: self.start(group, p, name) for name in self.names(group)}

    def start(self, group: Group, parameter: Tensor, name: str) -> Tensor:
        if name == "sum":
            value = group["initial_accumulator_value"]
            return gg.full_like(parameter.detach(), value)
        return super().start(group, parameter, name)

    def _step_sparse(self, group: Group, parameter: Tensor) -> None:
        if group["weight_decay"]:
            raise RuntimeError("weight_decay option is not compatible with sparse gradients")
        where, g = sparse.rows(parameter.grad)  # type: ignore[arg-type]
        g = -g if group["maximize"] else g
        kept = self.state[parameter]
        rate = self.numbers["rate"](group, float(kept["step"]))
        kept["step"] += 1
        sparse.change(kept["sum"], where, lambda total: total + g * g)
        spread = np.sqrt(kept["sum"]._array[where]) + group["eps"]
        sparse.change(parameter, where, lambda x: x - rate * g / spread)


# ------------------------------------------------------------------------------------ Adadelta


def _adadelta(
    p: Any, g: Any, step: Any, square: Any, moved: Any, n: Any, **on: bool
) -> tuple[Any, ...]:
    p, g = decayed(p, g, n, on["weight_decay"], on["maximize"])
    square = _moving(square, lang.mul(g, g), n["rho"], n["rest"])
    spread, reach = (lang.sqrt(lang.add(x, n["eps"])) for x in (square, moved))
    delta = lang.mul(lang.div(reach, spread), g)
    moved = _moving(moved, lang.mul(delta, delta), n["rho"], n["rest"])
    return lang.sub(p, lang.mul(delta, n["lr"])), lang.add(step, 1.0), square, moved


class Adadelta(_Adaptive):
    """Steps scaled by the ratio of moving averages of past steps and gradients (Zeiler 2012)."""

    states, update = ("square_avg", "acc_delta"), _adadelta
    numbers = {
        "lr": _lr,
        "rho": lambda group, _: group["rho"],
        "rest": lambda group, _: 1.0 - group["rho"],
        "eps": lambda group, _: group["eps"],
        **DECAY,
    }

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, validated(options))


# ------------------------------------------------------------------------------------ Adam's kin


_MOMENTS = {
    "lr": _lr,
    "rest1": lambda group, _: 1.0 - group["betas"][0],
    "beta2": lambda group, _: group["betas"][1],
    "rest2": lambda group, _: 1.0 - group["betas"][1],
    "eps": lambda group, _: group["eps"],
    **DECAY,
}


def _adamax(
    p: Any, g: Any, step: Any, mean: Any, largest: Any, n: Any, **on: bool
) -> tuple[Any, ...]:
    p, g = decayed(p, g, n, on["weight_decay"], on["maximize"])
    mean = _towards(mean, g, n["rest1"])
    size = lang.add(lang.abs_(g), n["eps"])
    largest = lang.maximum(lang.mul(largest, n["beta2"]), size)
    p = lang.sub(p, lang.mul(lang.div(mean, largest), n["rate"]))
    return p, lang.add(step, 1.0), mean, largest


class Adamax(_Adaptive):
    """Adam with the largest recent |g| in place of √v (Kingma & Ba 2015)."""

    states, update = ("exp_avg", "exp_inf"), _adamax
    numbers = {"rate": lambda group, t: float(group["lr"]) / correction(group, 0, t), **_MOMENTS}

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, validated(options))


def _momentum(group: Group, t: float) -> float:
    """NAdam's scheduled momentum at step t, counted from 1."""
    return group["betas"][0] * (1.0 - 0.5 * 0.96 ** (t * group["momentum_decay"]))


def _nadam(
    p: Any, g: Any, step: Any, product: Any, mean: Any, square: Any, n: Any, **on: bool
) -> tuple[Any, ...]:
    decoupled = on["decoupled_weight_decay"]
    p, g = decayed(p, g, n, on["weight_decay"], on["maximize"], decoupled)
    product = lang.mul(product, lang.cast(n["now"], product.dtype))
    mean = _towards(mean, g, n["rest1"])
    square = _moving(square, lang.mul(g, g), n["beta2"], n["rest2"])
    spread = lang.add(lang.sqrt(lang.div(square, n["correction"])), n["eps"])
    so_far = lang.cast(product, p.dtype)
    weight = lang.div(n["fresh"], lang.sub(1.0, so_far))
    later = lang.div(n["next_rate"], lang.sub(1.0, lang.mul(so_far, n["next"])))
    p = lang.sub(p, lang.mul(lang.div(g, spread), weight))
    p = lang.sub(p, lang.mul(lang.div(mean, spread), later))
    return p, lang.add(step, 1.0), product, mean, square


class NAdam(_Adaptive):
    """Adam with Nesterov momentum (Dozat 2016)."""

    states, update = ("mu_product", "exp_avg", "exp_avg_sq"), _nadam
    switches = ("weight_decay", "maximize", "decoupled_weight_decay")
    numbers = {
        "correction": lambda group, t: correction(group, 1, t),
        "now": lambda group, t: _momentum(group, t + 1),
        "next": lambda group, t: _momentum(group, t + 2),
        "fresh": lambda group, t: float(group["lr"]) * (1.0 - _momentum(group, t + 1)),
        "next_rate": lambda group, t: float(group["lr"]) * _momentum(group, t + 2),
        **_MOMENTS,
    }

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, validated(options))

    def start(self, group: Group, parameter: Tensor, name: str) -> Tensor:
        if name == "mu_product":
            return gg.tensor(1.0, dtype=float32)
        return super().start(group, parameter, name)


def _rectified(group: Group, t: float) -> float:
    """RAdam's rectification times √(1 - beta2^t), or 0 while the variance is not tractable."""
    beta2, steps = group["betas"][1], t + 1
    limit = 2 / (1 - beta2) - 1
    rho = limit - 2 * steps * beta2**steps / (1 - beta2**steps)
    if rho <= 5.0:
        return 0.0
    ratio = (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)
    return math.sqrt(ratio * (1 - beta2**steps))


def _radam(
    p: Any, g: Any, step: Any, mean: Any, square: Any, n: Any, **on: bool
) -> tuple[Any, ...]:
    decoupled = on["decoupled_weight_decay"]
    p, g = decayed(p, g, n, on["weight_decay"], on["maximize"], decoupled)
    mean = _towards(mean, g, n["rest1"])
    square = _moving(square, lang.mul(g, g), n["beta2"], n["rest2"])
    adaptive = lang.div(n["rectified"], lang.add(lang.sqrt(square), n["eps"]))
    scale = lang.mul(lang.add(adaptive, n["plain"]), n["rate"])
    return lang.sub(p, lang.mul(mean, scale)), lang.add(step, 1.0), mean, square


class RAdam(_Adaptive):
    """Adam whose first steps, of unknown variance, are not scaled by it (Liu et al. 2020)."""

    states, update = ("exp_avg", "exp_avg_sq"), _radam
    switches = ("weight_decay", "maximize", "decoupled_weight_decay")
    numbers = {
        "rate": lambda group, t: float(group["lr"]) / correction(group, 0, t),
        "rectified": _rectified,
        "plain": lambda group, t: 0.0 if _rectified(group, t) else 1.0,
        **_MOMENTS,
    }

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, validated(options))
