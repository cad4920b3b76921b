"""Derivatives of whole functions: vjp, jvp, jacobian, hessian and their products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphgrad.nearest import names_of
from graphgrad.tensor.backward import grad
from graphgrad.tensor.core import FUNCTIONS, Tensor
from graphgrad.tensor.state import enable_grad

Function = Callable[..., Any]


def _tuple(x: Any) -> tuple[Tensor, ...]:
    return x if isinstance(x, tuple) else (x,)


def _fresh(inputs: Any, create_graph: bool) -> tuple[Tensor, ...]:
    """Inputs whose gradients stop here (or, with ``create_graph``, flow on)."""
    if create_graph:
        return tuple(x.clone() if x._needs else x.detach().requires_grad_() for x in _tuple(inputs))
    return tuple(x.detach().clone().requires_grad_() for x in _tuple(inputs))


def _like(value: tuple[Any, ...], example: Any) -> Any:
    return value if isinstance(example, tuple) else value[0]


def _zeros_for_none(gradients: Any, xs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    zeros = FUNCTIONS["zeros_like"]
    return tuple(zeros(x) if g is None else g for g, x in zip(gradients, xs, strict=True))


def vjp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(outputs, vᵀJ): the product of a vector with the Jacobian of ``func``."""
    with enable_grad():
        xs = _fresh(inputs, create_graph)
        outputs = func(*xs)
        cotangents = None if v is None else _tuple(v)
        found = grad(_tuple(outputs), xs, cotangents, create_graph=create_graph, allow_unused=True)
    done = outputs if create_graph else _like(tuple(y.detach() for y in _tuple(outputs)), outputs)
    return done, _like(_zeros_for_none(found, xs), inputs)


def jvp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(outputs, Jv): as the gradient of a vjp with respect to its dummy cotangent."""
    with enable_grad():
        xs = _fresh(inputs, create_graph)
        outputs = func(*xs)
        dummies = tuple(FUNCTIONS["zeros_like"](y).requires_grad_() for y in _tuple(outputs))
        pulled = grad(_tuple(outputs), xs, dummies, create_graph=True, allow_unused=True)
        directions = _tuple(v) if v is not None else tuple(FUNCTIONS["ones_like"](x) for x in xs)
        pairs = [(g, d) for g, d in zip(pulled, directions, strict=True) if g is not None]
        found = grad(
            [g for g, _ in pairs],
            dummies,
            [d for _, d in pairs],
            create_graph=create_graph,
            allow_unused=True,
        )
    return _like(tuple(y.detach() for y in _tuple(outputs)), outputs), _like(
        _zeros_for_none(found, dummies), outputs
    )


def jacobian(
    func: Function,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """All derivatives of all outputs: shape (*output, *input), nested as outputs and inputs are."""
    with enable_grad():
        xs = _fresh(inputs, create_graph)
        outputs = func(*xs)
        rows = tuple(_like(_rows(y, xs, create_graph), inputs) for y in _tuple(outputs))
    return _like(rows, outputs)


def _rows(y: Tensor, xs: tuple[Tensor, ...], create_graph: bool) -> tuple[Tensor, ...]:
    flat = y.reshape(-1)
    rows = []
    for i in range(flat.numel()):
        if not flat._needs:
            rows.append(tuple(FUNCTIONS["zeros_like"](x) for x in xs))
            continue
        found = grad(flat[i], xs, retain_graph=True, create_graph=create_graph, allow_unused=True)
        rows.append(_zeros_for_none(found, xs))
    stack = FUNCTIONS["stack"]
    columns = zip(*rows, strict=True)
    return tuple(
        stack(list(column)).reshape((*y.shape, *x.shape))
        for column, x in zip(columns, xs, strict=True)
    )


def hessian(
    func: Function,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """Second derivatives of a scalar function: shape (*input, *input)."""

    def gradient(*xs: Tensor) -> Any:
        return _like(tuple(_like_jacobian(func, xs)), inputs)

    return jacobian(gradient, inputs, create_graph=create_graph)


def _like_jacobian(func: Function, xs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    out = func(*xs)
    if out.numel() != 1:
        raise RuntimeError("hessian: the function must return a single element")
    found = grad(out.reshape(()), xs, create_graph=True, allow_unused=True)
    return _zeros_for_none(found, xs)


def vhp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(output, vᵀH): the product of a vector with the Hessian."""
    with enable_grad():
        xs = _fresh(inputs, create_graph)
        out = func(*xs)
        first = _zeros_for_none(grad(out, xs, create_graph=True, allow_unused=True), xs)
        needing = [g for g in first if g._needs]
        vs = [d for d, g in zip(_tuple(v), first, strict=True) if g._needs]
        found = grad(needing, xs, vs, create_graph=create_graph, allow_unused=True)
    return out.detach(), _like(_zeros_for_none(found, xs), inputs)


def hvp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(output, Hv): equal to ``vhp``, for the Hessian is symmetric."""
    return vhp(func, inputs, v, create_graph, strict)


__getattr__ = names_of("graphgrad.autograd.functional", globals())
