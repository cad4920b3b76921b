"""Stochastic gradient descent: ``SGD(params, lr=0.1, momentum=0.9, nesterov=True)``."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable
from typing import Any

from graphgrad import lang
from graphgrad.optim.optimizer import Group, Optimizer, rule_of, validated
from graphgrad.optim.sparse import change, rows
from graphgrad.optim.update import Update
from graphgrad.tensor import Tensor
from graphgrad.tensor.sparse import SparseTensor, gathered


class SGD(Optimizer):
    """p ← p - lr·v, v ← momentum·v + (1 - dampening)·(g + weight_decay·p)."""

    numbers = {
        "lr": lambda group, _: float(group["lr"]),
        "momentum": lambda group, _: group["momentum"],
        "fresh": lambda group, _: _kept(group),
        "weight_decay": lambda group, _: group["weight_decay"],
    }

    switches = ("momentum", "dampening", "weight_decay", "nesterov", "maximize")

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        options = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, validated(options))
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")

    def names(self, group: Group) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def rule(self, group: Group) -> Callable[..., Any]:
        return rule_of(_sgd, **self.options(group))

    def _step_group(self, group: Group) -> None:
        # The first buffer is the gradient itself, undampened: a step of its own.
        if not (group["momentum"] and group["dampening"]):
            return super()._step_group(group)
        with_gradient = self._dense(group)
        old = [p for p in with_gradient if self.state.get(p)]
        new = [p for p in with_gradient if not self.state.get(p)]
        for dtype in dict.fromkeys(p.dtype for p in new):
            # A view of the group, so that a compiled step goes on reading its learning rate.
            owner: Group = ChainMap({"undamped": [True]}, group)  # type: ignore[assignment]
            Update(self, owner, [p for p in new if p.dtype is dtype]).run()
        if old:
            Update(self, group, old).run()
        return None

    def _step_sparse(self, group: Group, parameter: Tensor) -> None:
        if group["weight_decay"]:
            raise RuntimeError(
                "add(sparse, dense) is not supported. Use add(dense, sparse) instead: SGD with "
                "sparse gradients takes no weight_decay"
            )
        p, g = parameter, parameter.grad.detach()  # type: ignore[union-attr]
        g = -g if group["maximize"] else g
        if group["momentum"]:
            kept = self.state[p]
            before = kept.get("momentum_buffer")
            velocity = g
            if before is not None:
                fresh = g * (1 - group["dampening"])
                velocity = gathered(before * group["momentum"], fresh)
                velocity = velocity.coalesce() if velocity.is_sparse else velocity
            kept["momentum_buffer"] = velocity
            g = gathered(velocity * group["momentum"], g) if group["nesterov"] else velocity
        if not isinstance(g, SparseTensor):
            p.sub_(g * float(group["lr"]))
            return
        where, values = rows(g)
        change(p, where, lambda x: x - float(group["lr"]) * values)


def _kept(group: Group) -> float:
    """The share of a gradient that enters the buffer: all of it in the very first step."""
    if group.get("undamped"):
        group["undamped"].clear()
        return 1.0
    return 1.0 - group["dampening"]


def _sgd(
    p: Any,
    g: Any,
    *rest: Any,
    momentum: bool,
    dampening: bool,
    weight_decay: bool,
    nesterov: bool,
    maximize: bool,
) -> tuple[Any, ...]:
    *buffers, n = rest
    g = lang.neg(g) if maximize else g
    if weight_decay:
        g = lang.add(g, lang.mul(p, n["weight_decay"]))
    if not momentum:
        return (lang.sub(p, lang.mul(g, n["lr"])),)
    fresh = lang.mul(g, n["fresh"]) if dampening else g
    velocity = lang.add(lang.mul(buffers[0], n["momentum"]), fresh)
    direction = lang.add(g, lang.mul(velocity, n["momentum"])) if nesterov else velocity
    return lang.sub(p, lang.mul(direction, n["lr"])), velocity
