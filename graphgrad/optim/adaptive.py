"""Optimizers that scale each element's step by past gradients: RMSprop, Adagrad, Adadelta."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import graphgrad as gg
from graphgrad import lang
from graphgrad.optim import sparse
from graphgrad.optim.adam import DECAY, decayed, moving, towards
from graphgrad.optim.optimizer import Group, Optimizer, rule_of, validated
from graphgrad.tensor import Tensor


class Adaptive(Optimizer):
    """An optimizer whose state and update rule do not depend on its options."""

    states: ClassVar[tuple[str, ...]]
    update: ClassVar[Callable[..., Any]]
    switches = ("weight_decay", "maximize")

    def names(self, group: Group) -> tuple[str, ...]:
        return ("step", *self.states)

    def rule(self, group: Group) -> Callable[..., Any]:
        return rule_of(type(self).update, **self.options(group))


def learning_rate(group: Group, _: float) -> float:
    """The group's rate, a number whether it is kept as one or as a tensor."""
    return float(group["lr"])


# ------------------------------------------------------------------------------------ RMSprop


def _rmsprop(p: Any, g: Any, step: Any, square: Any, *rest: Any, **on: bool) -> tuple[Any, ...]:
    *kept, n = rest
    p, g = decayed(p, g, n, on["weight_decay"], on["maximize"])
    square = moving(square, lang.mul(g, g), n["alpha"], n["rest"])
    spread, mean = square, []
    if on["centered"]:
        mean = [towards(kept[-1], g, n["rest"])]
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
        "lr": learning_rate,
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


class Adagrad(Adaptive):
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
        spread = kept["sum"][where].sqrt() + group["eps"]
        sparse.change(parameter, where, lambda x: x - rate * g / spread)


# ------------------------------------------------------------------------------------ Adadelta


def _adadelta(
    p: Any, g: Any, step: Any, square: Any, moved: Any, n: Any, **on: bool
) -> tuple[Any, ...]:
    p, g = decayed(p, g, n, on["weight_decay"], on["maximize"])
    square = moving(square, lang.mul(g, g), n["rho"], n["rest"])
    spread, reach = (lang.sqrt(lang.add(x, n["eps"])) for x in (square, moved))
    delta = lang.mul(lang.div(reach, spread), g)
    moved = moving(moved, lang.mul(delta, delta), n["rho"], n["rest"])
    return lang.sub(p, lang.mul(delta, n["lr"])), lang.add(step, 1.0), square, moved


class Adadelta(Adaptive):
    """Steps scaled by the ratio of moving averages of past steps and gradients (Zeiler 2012)."""

    states, update = ("square_avg", "acc_delta"), _adadelta
    numbers = {
        "lr": learning_rate,
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
