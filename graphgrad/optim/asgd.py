"""Averaged stochastic gradient descent (Polyak & Juditsky 1992): ``ASGD(params, lr=0.01)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphgrad as gg
from graphgrad import lang
from graphgrad.dtypes import float32
from graphgrad.optim.adam import decayed
from graphgrad.optim.optimizer import Group, Optimizer, rule_of, validated
from graphgrad.tensor import Tensor


def _rate(group: Group, t: float) -> float:
    """lr/(1 + lambd·lr·t)^alpha, the rate of the step after step t, counted from 1."""
    lr = float(group["lr"])
    return lr / (1.0 + group["lambd"] * lr * (t + 1)) ** group["alpha"]


class ASGD(Optimizer):
    """p ← (1 - lambd·eta)·p - eta·g; ``ax`` averages p from step ``t0`` on, eta falls."""

    numbers = {
        "lambd": lambda group, _: group["lambd"],
        "rate": _rate,
        "share": lambda group, t: 1.0 / max(1.0, t + 1 - group["t0"]),
        "weight_decay": lambda group, _: group["weight_decay"],
    }
    switches = ("weight_decay", "maximize")

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        # Unlike every other optimizer's, its alpha and lambd may have any sign.
        validated({k: v for k, v in options.items() if k not in ("alpha", "lambd")})
        super().__init__(params, options)

    def names(self, group: Group) -> tuple[str, ...]:
        return ("step", "eta", "mu", "ax")

    def rule(self, group: Group) -> Callable[..., Any]:
        return rule_of(_asgd, **self.options(group))

    def start(self, group: Group, parameter: Tensor, name: str) -> Tensor:
        if name == "eta":
            return gg.tensor(float(group["lr"]), dtype=float32, device="cpu")
        if name == "mu":
            return gg.tensor(1.0, dtype=float32, device="cpu")
        return super().start(group, parameter, name)


def _asgd(
    p: Any, g: Any, step: Any, eta: Any, mu: Any, ax: Any, n: Any, **on: bool
) -> tuple[Any, ...]:
    p, g = decayed(p, g, n, on["weight_decay"], on["maximize"])
    eta_now, mu_now = lang.cast(eta, p.dtype), lang.cast(mu, p.dtype)
    p = lang.sub(p, lang.mul(p, lang.mul(eta_now, n["lambd"])))
    p = lang.sub(p, lang.mul(g, eta_now))
    # mu is 1 until averaging begins, and then the average is the parameter itself.
    average = lang.add(ax, lang.mul(lang.sub(p, ax), mu_now))
    average = lang.where(lang.eq(mu_now, 1.0), p, average)
    later = [lang.cast(n[name], eta.dtype) for name in ("rate", "share")]
    return (p, lang.add(step, 1.0), *later, average)
