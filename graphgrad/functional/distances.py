"""Distances between all pairs of vectors: ``cdist`` of two sets, ``pdist`` within one.

gg.cdist(x, y)            # x (…, P, M), y (…, R, M) → (…, P, R)
F.pdist(x, p=1)           # x (N, M) → (N·(N-1)/2,): the pairs above the diagonal, row by row
"""

from __future__ import annotations

import math

import numpy as np

import graphgrad as gg
from graphgrad import lang
from graphgrad.dtypes import FLOAT
from graphgrad.functional._steps import step_of
from graphgrad.tensor import Tensor
from graphgrad.tensor.composite import composite

_MODES = (
    "use_mm_for_euclid_dist_if_necessary",
    "use_mm_for_euclid_dist",
    "donot_use_mm_for_euclid_dist",
)


def _root(total: Tensor, p: float) -> Tensor:
    """total^(1/p), with the gradient 0 at 0."""
    some = lang.gt(total, 0.0)
    safe = lang.where(some, total, 1.0)
    root = lang.sqrt(safe) if p == 2 else lang.pow_(safe, 1.0 / p)
    return lang.where(some, root, 0.0)


def _length(difference: Tensor, p: float) -> Tensor:
    """The p-norm over the last dimension; where it is not smooth its gradient is 0."""
    last = (difference.dim() - 1,)
    if p == 2:
        return _root(lang.sum_(difference * difference, last), 2)
    size = lang.abs_(difference)
    if p == 1:
        return lang.sum_(size, last)
    if p == 0:
        differs = lang.cast(lang.ne(difference.detach(), 0.0), difference.dtype)
        return lang.sum_(step_of(difference, differs), last)
    if p == math.inf:
        return size.amax(-1) if size.shape[-1] else lang.sum_(size, last)
    some = lang.gt(size, 0.0)
    power = lang.where(some, lang.pow_(lang.where(some, size, 1.0), p), 0.0)
    return _root(lang.sum_(power, last), p)


@composite("CdistBackward0")
def _cdist(x: Tensor, y: Tensor, p: float) -> Tensor:
    return _length(x.unsqueeze(-2) - y.unsqueeze(-3), p)


@composite("PdistBackward0")
def _pdist(x: Tensor, p: float) -> Tensor:
    first, second = (gg.tensor(i, device=x.device) for i in np.triu_indices(x.shape[0], 1))
    return _length(x.index_select(0, first) - x.index_select(0, second), p)


def _check(name: str, p: float, **named: Tensor) -> None:
    if p < 0:
        raise RuntimeError(f"{name} only supports non-negative p values")
    for argument, x in named.items():
        if x.dtype.category != FLOAT:
            raise RuntimeError(
                f"{name} only supports floating-point dtypes, {argument} got: {x.dtype}"
            )


def cdist(
    x1: Tensor,
    x2: Tensor,
    p: float = 2.0,
    compute_mode: str = "use_mm_for_euclid_dist_if_necessary",
) -> Tensor:
    """p-norm distances (…, P, R) between the rows of (…, P, M) and of (…, R, M).

    Every ``compute_mode`` subtracts first: |x|² - 2xy + |y|² loses the digits of near neighbours.
    """
    _check("cdist", p, X1=x1, X2=x2)
    if compute_mode not in _MODES:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    for name, x in (("X1", x1), ("X2", x2)):
        if x.dim() < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {x.dim()}D")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}"
        )
    return _cdist(x1, x2, float(p))


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """p-norm distances of every pair of rows of (N, M): like ``cdist``, above the diagonal."""
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    _check("pdist", p, X1=input)
    return _pdist(input, float(p))
