"""``gradient``: derivatives of samples along dimensions, by differences of neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphgrad.tensor.core import FUNCTIONS, Tensor, function
from graphgrad.tensor.promotion import is_number
from graphgrad.tensor.shapes import axes_of, sliced


@function
def gradient(
    input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1
) -> tuple[Tensor, ...]:
    """The derivative of samples along each of ``dim`` (all dimensions by default).

    spacing: a distance, one distance a dimension, or one vector of coordinates a dimension.
    Inside, by central differences; at the edges by one-sided ones of ``edge_order`` 1 or 2.
    """
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    axes = axes_of(dim, input.ndim)
    for axis in axes:
        if input.shape[axis] <= edge_order:
            raise RuntimeError(
                "torch.gradient expected each dimension size to be at least edge_order+1, but "
                f"dimension {axis} has {input.shape[axis]} elements"
            )
    rows = zip(axes, _spacings(spacing, axes), strict=True)
    return tuple(_along(input, axis, steps, edge_order) for axis, steps in rows)


def _spacings(spacing: Any, axes: Sequence[int]) -> list[Any]:
    if spacing is None or is_number(spacing):
        return [1 if spacing is None else spacing] * len(axes)
    if isinstance(spacing, Tensor):
        spacing = (spacing,)
    if len(spacing) != len(axes):
        raise RuntimeError(
            f"torch.gradient expected spacing to be unspecified, a scalar or a list of length "
            f"{len(axes)}, but got a list of length {len(spacing)}"
        )
    return list(spacing)


def _along(f: Tensor, axis: int, spacing: Any, order: int) -> Tensor:
    def at(start: int, stop: int) -> Tensor:
        return sliced(f, axis, start, stop)

    n = f.shape[axis]
    steps = _steps(f, axis, spacing)
    weights = _parabola(steps(0, n - 2), steps(1, n - 1))
    inner = weights[0] * at(0, n - 2) + weights[1] * at(1, n - 1) + weights[2] * at(2, n)
    ends = [at(i, i + 1) for i in range(min(n, 3))], [at(i, i + 1) for i in range(n)[:-4:-1]]
    near, far = (
        [steps(i, i + 1) for i in range(order)],
        [steps(n - 2 - i, n - 1 - i) for i in range(order)],
    )
    if order == 1:
        left, right = (ends[0][1] - ends[0][0]) / near[0], (ends[1][0] - ends[1][1]) / far[0]
    else:
        left, right = _one_sided(*ends[0], *near), -_one_sided(*ends[1], *far)
    return FUNCTIONS["cat"]([left, inner, right], axis)


def _steps(f: Tensor, axis: int, spacing: Any) -> Callable[[int, int], Any]:
    """Distances of neighbours: those from number ``start`` to ``stop``, to multiply ``f`` with."""
    if not isinstance(spacing, Tensor) or spacing.ndim == 0:
        return lambda start, stop: spacing
    n = f.shape[axis]
    if spacing.ndim != 1 or spacing.shape[0] != n:
        raise RuntimeError(
            f"torch.gradient expected {n} coordinates for dimension {axis}, but got "
            f"{list(spacing.shape)}"
        )
    shape = (-1, *[1] * (f.ndim - axis - 1))
    steps = (spacing[1:] - spacing[:-1]).to(f.dtype).reshape(shape)
    return lambda start, stop: sliced(steps, 0, start, stop)


def _parabola(before: Any, after: Any) -> tuple[Any, Any, Any]:
    """Weights of three neighbours in the slope, at the middle, of the parabola through them."""
    both = before + after
    return -after / (before * both), (after - before) / (before * after), before / (after * both)


def _one_sided(f0: Tensor, f1: Tensor, f2: Tensor, near: Any, far: Any) -> Tensor:
    """The slope at the first of three points of the parabola through them."""
    both = near + far
    weights = -(2 * near + far) / (near * both), both / (near * far), -near / (far * both)
    return weights[0] * f0 + weights[1] * f1 + weights[2] * f2
