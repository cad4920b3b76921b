"""Adam's kin, of moving averages of g and of its size: Adamax, NAdam, RAdam."""

from __future__ import annotations

import math
from typing import Any

import graphgrad as gg
from graphgrad import lang
from graphgrad.dtypes import float32
from graphgrad.optim.adam import MOMENTS, correction, decayed, moving, towards
from graphgrad.optim.adaptive import Adaptive, learning_rate
from graphgrad.optim.optimizer import Group, validated
from graphgrad.tensor import Tensor

_MOMENTS = {"lr": learning_rate, **MOMENTS}


def _adamax(
    p: Any, g: Any, step: Any, mean: Any, largest: Any, n: Any, **on: bool
) -> tuple[Any, ...]:
    p, g = decayed(p, g, n, on["weight_decay"], on["maximize"])
    mean = towards(mean, g, n["rest1"])
    size = lang.add(lang.abs_(g), n["eps"])
    largest = lang.maximum(lang.mul(largest, n["beta2"]), size)
    p = lang.sub(p, lang.mul(lang.div(mean, largest), n["rate"]))
    return p, lang.add(step, 1.0), mean, largest


class Adamax(Adaptive):
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
    mean = towards(mean, g, n["rest1"])
    square = moving(square, lang.mul(g, g), n["beta2"], n["rest2"])
    spread = lang.add(lang.sqrt(lang.div(square, n["correction"])), n["eps"])
    so_far = lang.cast(product, p.dtype)
    weight = lang.div(n["fresh"], lang.sub(1.0, so_far))
    later = lang.div(n["next_rate"], lang.sub(1.0, lang.mul(so_far, n["next"])))
    p = lang.sub(p, lang.mul(lang.div(g, spread), weight))
    p = lang.sub(p, lang.mul(lang.div(mean, spread), later))
    return p, lang.add(step, 1.0), product, mean, square


class NAdam(Adaptive):
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
            return gg.tensor(1.0, dtype=float32, device="cpu")
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
    mean = towards(mean, g, n["rest1"])
    square = moving(square, lang.mul(g, g), n["beta2"], n["rest2"])
    adaptive = lang.div(n["rectified"], lang.add(lang.sqrt(square), n["eps"]))
    scale = lang.mul(lang.add(adaptive, n["plain"]), n["rate"])
    return lang.sub(p, lang.mul(mean, scale)), lang.add(step, 1.0), mean, square


class RAdam(Adaptive):
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
