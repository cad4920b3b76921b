"""Adam (Kingma & Ba 2015), and AdamW (Loshchilov & Hutter 2019)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from graphgrad import lang
from graphgrad.optim.optimizer import Group, Optimizer, rule_of, validated
from graphgrad.tensor import Tensor


def correction(group: Group, which: int, steps: float) -> float:
    """1 - beta^t, the bias of a moving average after its t-th step."""
    return 1.0 - group["betas"][which] ** (steps + 1)


# The two ways of weight decay: added to the gradient, or shrinking the parameter.
DECAY: dict[str, Any] = {
    "weight_decay": lambda group, _: group["weight_decay"],
    "shrink": lambda group, _: 1.0 - float(group["lr"]) * group["weight_decay"],
}


def decayed(
    p: Any, g: Any, n: Any, weight_decay: bool, maximize: bool, decoupled: bool = False
) -> tuple[Any, Any]:
    """Parameter and gradient after weight decay; the gradient negated to maximise."""
    g = lang.neg(g) if maximize else g
    if weight_decay and decoupled:
        return lang.mul(p, n["shrink"]), g
    return p, lang.add(g, lang.mul(p, n["weight_decay"])) if weight_decay else g


def moving(old: Any, new: Any, keep: Any, rest: Any) -> Any:
    """keep·old + rest·new."""
    return lang.add(lang.mul(old, keep), lang.mul(new, rest))


def towards(old: Any, new: Any, rest: Any) -> Any:
    """old + rest·(new - old)."""
    return lang.add(old, lang.mul(lang.sub(new, old), rest))


# What moving averages of g and g² need of a group.
MOMENTS = {
    "rest1": lambda group, _: 1.0 - group["betas"][0],
    "beta2": lambda group, _: group["betas"][1],
    "rest2": lambda group, _: 1.0 - group["betas"][1],
    "eps": lambda group, _: group["eps"],
    **DECAY,
}


class Adam(Optimizer):
    """p ← p - lr·m̂/(√v̂ + eps) with bias-corrected moving averages m of g and v of g²."""

    numbers = {
        # Written out: a small step is mostly such calls.
        "step_size": lambda group, t: float(group["lr"]) / (1.0 - group["betas"][0] ** (t + 1.0)),
        "root": lambda group, t: math.sqrt(1.0 - group["betas"][1] ** (t + 1.0)),
        **MOMENTS,
    }

    switches = ("weight_decay", "amsgrad", "maximize", "decoupled_weight_decay")

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, validated(options))

    def names(self, group: Group) -> tuple[str, ...]:
        largest = ("max_exp_avg_sq",) if group["amsgrad"] else ()
        return ("step", "exp_avg", "exp_avg_sq", *largest)

    def rule(self, group: Group) -> Callable[..., Any]:
        return rule_of(_adam, **self.options(group))


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameter instead of entering the gradient."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, decoupled_weight_decay=True, **options
        )


def _adam(
    p: Any,
    g: Any,
    step: Any,
    mean: Any,
    square: Any,
    *rest: Any,
    weight_decay: bool,
    amsgrad: bool,
    maximize: bool,
    decoupled_weight_decay: bool,
) -> tuple[Any, ...]:
    *largest, n = rest
    p, g = decayed(p, g, n, weight_decay, maximize, decoupled_weight_decay)
    mean = towards(mean, g, n["rest1"])
    square = moving(square, lang.mul(g, g), n["beta2"], n["rest2"])
    if amsgrad:
        largest = [lang.maximum(largest[0], square)]
    spread = lang.div(lang.sqrt(largest[0] if amsgrad else square), n["root"])
    p = lang.sub(p, lang.mul(lang.div(mean, lang.add(spread, n["eps"])), n["step_size"]))
    return (p, lang.add(step, 1.0), mean, square, *largest)
