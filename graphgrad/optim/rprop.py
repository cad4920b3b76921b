"""Resilient backpropagation (Riedmiller & Braun 1993): ``Rprop(params)``, for whole batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphgrad as gg
from graphgrad import lang
from graphgrad.optim.optimizer import Group, Optimizer, check, rule_of, validated
from graphgrad.tensor import Tensor


class Rprop(Optimizer):
    """Steps of the gradient's sign; their size grows while the sign stays, and shrinks if not."""

    numbers = {
        "shrink": lambda group, _: group["etas"][0],
        "grow": lambda group, _: group["etas"][1],
        "least": lambda group, _: group["step_sizes"][0],
        "most": lambda group, _: group["step_sizes"][1],
    }
    switches = ("maximize",)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        check(
            0.0 < etas[0] < 1.0 < etas[1],
            f"Invalid eta values: {etas[0]}, {etas[1]}",
        )
        super().__init__(params, validated(options))

    def names(self, group: Group) -> tuple[str, ...]:
        return ("step", "prev", "step_size")

    def rule(self, group: Group) -> Callable[..., Any]:
        return rule_of(_rprop, **self.options(group))

    def start(self, group: Group, parameter: Tensor, name: str) -> Tensor:
        if name == "step_size":
            return gg.full_like(parameter.detach(), float(group["lr"]))
        return super().start(group, parameter, name)


def _rprop(
    p: Any, g: Any, step: Any, before: Any, size: Any, n: Any, maximize: bool
) -> tuple[Any, ...]:
    g = lang.neg(g) if maximize else g
    turn = lang.mul(g, before)
    turned = lang.lt(turn, 0.0)
    factor = lang.where(turned, n["shrink"], lang.where(lang.gt(turn, 0.0), n["grow"], 1.0))
    size = lang.minimum(lang.maximum(lang.mul(size, factor), n["least"]), n["most"])
    # Where the sign turned, this gradient moves nothing and is forgotten.
    g = lang.where(turned, 0.0, g)
    p = lang.sub(p, lang.mul(lang.sign(g), size))
    return p, lang.add(step, 1.0), g, size
