"""Adafactor (Shazeer & Stern 2018): Adam whose memory of a matrix is one row and one column."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from graphgrad import dtypes, lang
from graphgrad.optim.adam import towards
from graphgrad.optim.optimizer import Group, Optimizer, check, rule_of, validated
from graphgrad.tensor import Tensor


class Adafactor(Optimizer):
    """Steps relative to a parameter's size, scaled by a rank-one estimate of the mean of g².

    ``eps``: the least variance (None: the element type's own) and the least parameter size;
    ``d``: the largest root mean square an update may have.
    """

    numbers = {
        "fresh": lambda group, t: (t + 1) ** group["beta2_decay"],
        "rho": lambda group, t: min(float(group["lr"]), 1.0 / math.sqrt(t + 1)),
        "least_size": lambda group, _: group["eps"][1],
        "most": lambda group, _: group["d"],
        "shrink": lambda group, _: 1.0 - float(group["lr"]) * group["weight_decay"],
    }
    switches = ("weight_decay", "maximize")
    elementwise = False

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        check(beta2_decay <= 0, f"beta2_decay should be <= 0 but is: {beta2_decay}")
        check(eps[0] is None or eps[0] >= 0, f"epsilon1 should be >= 0 but is: {eps[0]}")
        check(eps[1] >= 0, f"epsilon2 should be >= 0 but is: {eps[1]}")
        check(d >= 1.0, f"Clipping threshold d should be >= 1 but is: {d}")
        validated({k: v for k, v in options.items() if k != "eps"})
        super().__init__(params, options)

    def names_of(self, group: Group, parameters: Iterable[Tensor]) -> dict[Tensor, tuple[str, ...]]:
        matrix, vector = ("step", "row_var", "col_var"), ("step", "variance")
        return {p: matrix if p.dim() > 1 else vector for p in parameters}

    def rule(self, group: Group) -> Callable[..., Any]:
        return rule_of(_adafactor, least=group["eps"][0], **self.options(group))

    def start(self, group: Group, parameter: Tensor, name: str) -> Tensor:
        *lead, rows, columns = (1, 1, *parameter.shape)
        shape = {"row_var": (*lead[2:], rows, 1), "col_var": (*lead[2:], 1, columns)}
        if name in shape:
            return parameter.detach().new_zeros(shape[name])
        return super().start(group, parameter, name)


def _adafactor(
    p: Any,
    g: Any,
    step: Any,
    *rest: Any,
    least: float | None,
    weight_decay: bool,
    maximize: bool,
) -> tuple[Any, ...]:
    *variances, n = rest
    if least is None:
        least = float(dtypes.limits(p.dtype).eps)
    g = lang.neg(g) if maximize else g
    scale = lang.mul(lang.maximum(_root_mean_square(p), n["least_size"]), n["rho"])
    p = lang.mul(p, n["shrink"]) if weight_decay else p
    square = lang.mul(g, g)
    if len(variances) == 1:
        variances = [towards(variances[0], square, n["fresh"])]
        estimate = variances[0]
    else:
        axes = [len(p.shape) - 1, len(p.shape) - 2]
        variances = [
            towards(v, _mean(square, axis), n["fresh"])
            for v, axis in zip(variances, axes, strict=True)
        ]
        rows, columns = variances
        level = lang.maximum(_mean(rows, axes[1]), least)
        estimate = lang.div(lang.mul(rows, columns), level)
    update = lang.mul(lang.rsqrt(lang.maximum(estimate, least * least)), g)
    too_far = lang.maximum(lang.div(_root_mean_square(update), n["most"]), 1.0)
    p = lang.sub(p, lang.mul(update, lang.div(scale, too_far)))
    return (p, lang.add(step, 1.0), *variances)


def _mean(x: Any, axis: int) -> Any:
    """The mean along one axis, which stays as size 1."""
    total = lang.keep(lang.sum_(x, (axis,)), (axis,), x.shape)
    return lang.div(total, float(max(x.shape[axis], 1)))


def _root_mean_square(x: Any) -> Any:
    count = max(math.prod(x.shape), 1)
    return lang.sqrt(lang.div(lang.sum_(lang.mul(x, x), tuple(range(len(x.shape)))), float(count)))
