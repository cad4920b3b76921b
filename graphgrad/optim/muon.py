"""Muon (Jordan et al. 2024): momentum whose step over a matrix is made nearly orthogonal."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from graphgrad import lang
from graphgrad.dtypes import float32, int32
from graphgrad.optim.optimizer import Group, Optimizer, check, rule_of, validated

# How far a step goes, from the matrix's sides: Jordan's rule, and Moonshot's that keeps AdamW's.
_ADJUSTED: dict[Any, Callable[[int, int], float]] = {
    "original": lambda rows, columns: math.sqrt(max(1.0, rows / columns)),
    "match_rms_adamw": lambda rows, columns: 0.2 * math.sqrt(max(rows, columns)),
}


class Muon(Optimizer):
    """For the matrices of hidden layers only; embeddings, heads and biases belong to AdamW.

    The orthogonalisation is computed with values of bfloat16 accuracy, as PyTorch's is.
    """

    numbers = {
        "lr": lambda group, _: float(group["lr"]),
        "shrink": lambda group, _: 1.0 - float(group["lr"]) * group["weight_decay"],
        "momentum": lambda group, _: group["momentum"],
        "fresh": lambda group, _: 1.0 - group["momentum"],
    }
    switches = ("nesterov",)
    elementwise = False

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        check(
            adjust_lr_fn is None or adjust_lr_fn in _ADJUSTED,
            f"Adjust learning rate function {adjust_lr_fn} is not supported",
        )
        check(len(ns_coefficients) == 3, "Coefficients must be a tuple of exactly 3 values")
        check(ns_steps < 100, "Number of steps must be less than 100 for computational efficiency")
        options = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        validated({k: v for k, v in options.items() if k != "eps"})
        super().__init__(params, options)

    def _check_parameters(self, params: Any) -> None:
        super()._check_parameters(params)
        for p in params:
            check(
                p.dim() == 2,
                f"Muon only supports 2D parameters whereas we found a parameter with size: "
                f"{p.size()}",
            )

    def names(self, group: Group) -> tuple[str, ...]:
        return ("momentum_buffer",)

    def rule(self, group: Group) -> Callable[..., Any]:
        return rule_of(
            _muon,
            nesterov=bool(group["nesterov"]),
            coefficients=tuple(group["ns_coefficients"]),
            eps=group["eps"],
            steps=group["ns_steps"],
            adjust=group["adjust_lr_fn"] or "original",
        )


def _muon(
    p: Any,
    g: Any,
    buffer: Any,
    n: Any,
    nesterov: bool,
    coefficients: tuple[float, float, float],
    eps: float,
    steps: int,
    adjust: str,
) -> tuple[Any, ...]:
    buffer = lang.add(buffer, lang.mul(lang.sub(g, buffer), n["fresh"]))
    update = lang.add(g, lang.mul(lang.sub(buffer, g), n["momentum"])) if nesterov else buffer
    update = lang.cast(_orthogonal(update, coefficients, eps, steps), p.dtype)
    rate = lang.mul(n["lr"], _ADJUSTED[adjust](*p.shape))
    return lang.sub(lang.mul(p, n["shrink"]), lang.mul(update, rate)), buffer


def _orthogonal(x: Any, coefficients: tuple[float, float, float], eps: float, steps: int) -> Any:
    """``x`` with its singular values moved towards 1 by Newton-Schulz iterations, in float32.

    The polynomial is a·x + (b·s + c·s²)·x with s = x·xᵀ, over the shorter side.
    """
    a, b, c = coefficients
    tall = x.shape[0] > x.shape[1]
    x = _rounded(lang.cast(x, float32))
    x = lang.permute(x, (1, 0)) if tall else x
    size = _rounded(lang.sqrt(lang.sum_(lang.mul(x, x), (0, 1))))
    x = _rounded(lang.div(x, lang.maximum(size, eps)))
    for _ in range(steps):
        s = _rounded(lang.dot_general(x, x, ((1,), (1,))))
        square = lang.dot_general(s, s, ((1,), (0,)))
        s = _rounded(lang.add(lang.mul(s, b), lang.mul(square, c)))
        x = _rounded(lang.add(lang.mul(x, a), lang.dot_general(s, x, ((1,), (0,)))))
    return lang.permute(x, (1, 0)) if tall else x


def _rounded(x: Any) -> Any:
    """float32 values rounded to the nearest bfloat16, ties to even."""
    bits = lang.apply("bitcast", x, dtype=int32)
    sixteen, one = lang.full_like(bits, 16), lang.full_like(bits, 1)
    odd = lang.bitwise_and(lang.apply("shift_right", bits, sixteen), one)
    near = lang.add(lang.add(bits, lang.full_like(bits, 0x7FFF)), odd)
    kept = lang.bitwise_and(near, lang.full_like(bits, -0x10000))
    return lang.apply("bitcast", kept, dtype=float32)
