"""Comparing gradients with finite differences.

gradcheck(f, (x, y))          # x, y: float64 tensors that require grad
gradgradcheck(f, (x, y))      # the gradient's own gradient
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from graphgrad.tensor.backward import grad
from graphgrad.tensor.core import FUNCTIONS, Tensor
from graphgrad.tensor.state import enable_grad, no_grad


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    **_: Any,
) -> bool:
    """Whether the gradients of ``func`` equal central differences.

    inputs: tensors (float64 or complex128, or differences drown in rounding); checked if they
    require grad. Of complex numbers both parts are moved.
    Raises RuntimeError with both Jacobians where they differ, or returns False.
    """
    tensors = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
    func, tensors = _in_reals(func, tensors)
    checked = [x for x in tensors if isinstance(x, Tensor) and x._needs]
    if not checked:
        raise ValueError("gradcheck expects at least one input tensor to require gradient")
    with enable_grad():
        outputs = _differentiable(func(*tensors))
        analytic = [_rows(y, checked) for y in outputs]
    for k, rows in enumerate(analytic):
        for x, found in zip(checked, rows, strict=True):
            wanted = _differences(partial(_output, func, tensors, k), x, eps)
            if not np.allclose(found, wanted, rtol, atol):
                if not raise_exception:
                    return False
                raise RuntimeError(
                    f"Jacobian mismatch for output {k}:\nnumerical:\n{wanted}\nanalytical:\n{found}"
                )
    return True


def gradgradcheck(
    func: Callable[..., Any], inputs: Any, grad_outputs: Any = None, **options: Any
) -> bool:
    """``gradcheck`` of the gradient of ``func``, in its inputs and in the cotangents."""
    tensors = tuple(inputs if isinstance(inputs, (tuple, list)) else (inputs,))
    func, tensors = _in_reals(func, tensors)
    count = len(tensors)
    rng = np.random.default_rng(0)
    if grad_outputs is None:
        with no_grad():
            shapes = [tuple(y.shape) for y in _floats(func(*tensors))]
        place = next(x.device for x in tensors if isinstance(x, Tensor))
        drawn = [FUNCTIONS["tensor"](rng.standard_normal(s), device=place) for s in shapes]
        grad_outputs = [x.requires_grad_() for x in drawn]

    def gradient(*args: Any) -> Any:
        xs, cotangents = args[:count], args[count:]
        needing = [x for x in xs if isinstance(x, Tensor) and x._needs]
        found = grad(
            _differentiable(func(*xs)), needing, cotangents, create_graph=True, allow_unused=True
        )
        return tuple(g for g in found if g is not None)

    return gradcheck(gradient, (*tensors, *grad_outputs), **options)


def _in_reals(func: Callable[..., Any], tensors: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
    """The same function of real numbers: complex tensors are pairs of parts, in and out."""
    complex_ = [isinstance(x, Tensor) and x.dtype.is_complex for x in tensors]

    def function(*args: Any) -> tuple[Any, ...]:
        pairs = zip(complex_, args, strict=True)
        result = func(*(FUNCTIONS["view_as_complex"](x) if c else x for c, x in pairs))
        return tuple(map(_parts, result if isinstance(result, (tuple, list)) else (result,)))

    parts = [
        _parts(x.detach()).requires_grad_(x._needs) if c else x
        for c, x in zip(complex_, tensors, strict=True)
    ]
    return function, tuple(parts)


def _parts(x: Any) -> Any:
    is_complex = isinstance(x, Tensor) and x.dtype.is_complex
    return FUNCTIONS["view_as_real"](x) if is_complex else x


def _output(func: Callable[..., Any], tensors: Sequence[Any], k: int) -> Tensor:
    return _differentiable(func(*tensors))[k]


def _floats(result: Any) -> list[Tensor]:
    results = result if isinstance(result, (tuple, list)) else (result,)
    return [y for y in results if isinstance(y, Tensor) and y.dtype.is_differentiable]


def _differentiable(result: Any) -> list[Tensor]:
    return [y for y in _floats(result) if y._needs]


def _rows(y: Tensor, xs: Sequence[Tensor]) -> list[np.ndarray]:
    """The Jacobian of ``y`` in every x: (elements of y, elements of x)."""
    flat = y.reshape(-1)
    tables = [np.zeros((flat.numel(), x.numel())) for x in xs]
    for i in range(flat.numel()):
        found = grad(flat[i], list(xs), retain_graph=True, allow_unused=True)
        for table, g in zip(tables, found, strict=True):
            table[i] = 0 if g is None else g.numpy(force=True).reshape(-1)
    return tables


def _differences(output: Callable[[], Tensor], x: Tensor, eps: float) -> np.ndarray:
    """Central differences, element by element of ``x``, which is moved in place and put back."""
    inside = x.detach()
    values = inside.numpy(force=True).copy()
    columns = []
    for place in np.ndindex(values.shape):
        sides = []
        for step in (eps, -eps):
            inside[place] = float(values[place] + step)
            sides.append(output().numpy(force=True).reshape(-1).copy())
        inside[place] = float(values[place])
        columns.append((sides[0] - sides[1]) / (2 * eps))
    return np.stack(columns, 1)
