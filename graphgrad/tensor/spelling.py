"""PyTorch's other spellings: NumPy's names of arguments (``axis``, ``keepdims``), and ``out=``.

x.sum(axis=1, keepdims=True)          graphgrad.add(x, y, out=z)
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any

from graphgrad.tensor.core import Tensor
from graphgrad.tensor.inplace import assign

# Functions whose ``out`` must be of the result's type: they convert nothing.
_EXACT = frozenset({"gather", "aminmax", "index_select", "take", "sort", "topk"})
_NUMPY = {"axis": "dim", "keepdims": "keepdim", "x": "input", "a": "input", "x2": "other"}


def accepts_all_spellings(function: Any, out: bool = True) -> Any:
    """``function`` under all its argument names; with ``out``, also into a given tensor."""
    if not isinstance(function, FunctionType):
        return function
    code = function.__code__
    own = set(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    renames = {k: v for k, v in _NUMPY.items() if v in own and k not in own}
    if not out and "dim" not in own:
        return function

    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        if not named:
            return function(*args)
        target = named.pop("out", None)
        for name in renames.keys() & named.keys():
            named[renames[name]] = named.pop(name)
        result = function(*args, **named)
        if target is None:
            return result
        if function.__name__ in _EXACT:
            _expect_types(target, result)
        return _into(target, result)

    return call


def _expect_types(target: Any, result: Any) -> None:
    pairs = zip(target, result, strict=True) if isinstance(result, tuple) else [(target, result)]
    for out, value in pairs:
        if out.dtype is not value.dtype:
            raise RuntimeError(
                f"Expected out tensor to have dtype {value.dtype.name}, but got {out.dtype.name} "
                "instead"
            )


def _into(target: Any, result: Any) -> Any:
    """Write results to the tensors given as ``out``, which take their shapes."""
    if isinstance(target, (tuple, list)):
        return type(result)(*map(_into, target, result))
    if result._needs or target._needs:
        raise RuntimeError(
            "functions with out=... arguments don't support automatic differentiation, but one of "
            "the arguments requires grad."
        )
    if tuple(target.shape) != tuple(result.shape):
        target.resize_(*result.shape)
    return assign(target, result)


def spell_methods() -> None:
    """Let Tensor's methods accept NumPy's names of dimensions."""
    for name, value in list(vars(Tensor).items()):
        if not name.startswith("_"):
            setattr(Tensor, name, accepts_all_spellings(value, out=False))


def spelled(functions: dict[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """The functions of a namespace, with all spellings."""
    return {name: accepts_all_spellings(f) for name, f in functions.items()}
