"""Calls an operator of the database by name, or relays what its wrapper calls.

Most entries are a public function of the same name. Some are a lambda around several: those are
called with stand-ins whose every ``torch`` call or method goes to graphgrad's of that name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_map

import graphgrad
from tests.conformance.values import carried


def find(root: Any, path: str) -> Any:
    """What a dotted path leads to, or None."""
    try:
        return functools.reduce(getattr, path.split("."), root)
    except (AttributeError, NotImplementedError):
        return None


def required(path: str) -> Any:
    """Our object of that path. Raises NotImplementedError if there is none."""
    found = find(graphgrad, path)
    if found is None:
        raise NotImplementedError(path)
    return found


def ours_of(operator: Any) -> Callable[..., Any]:
    """Our callable for an entry of the operator database. Raises NotImplementedError if missing."""
    if find(torch, operator.name) is operator.op:
        return required(operator.name)
    return functools.partial(_relayed, operator.op)


class _StandIn(torch.Tensor):
    """A tensor to PyTorch's eyes; every function that takes it is sent to graphgrad instead."""

    ours: Any

    @staticmethod
    def of(value: Any) -> Any:
        if not isinstance(value, graphgrad.Tensor):
            return value
        made = torch.Tensor._make_subclass(_StandIn, torch.empty(0))
        made.__dict__["ours"] = value
        return made

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        args, kwargs = tree_map(_unwrapped, (tuple(args), kwargs or {}))
        path = torch.overrides.resolve_name(function) or function.__name__
        method = path.removeprefix("torch.Tensor.")
        if method.endswith(".__get__"):
            result = getattr(args[0], method.split(".")[-2])
        elif method != path:
            result = getattr(args[0], method.split(".")[-1])(*args[1:], **kwargs)
        else:
            result = required(path.removeprefix("torch."))(*args, **kwargs)
        return tree_map(_StandIn.of, result)


def _unwrapped(value: Any) -> Any:
    return value.__dict__["ours"] if isinstance(value, _StandIn) else carried(value)


def _relayed(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    args, kwargs = tree_map(_StandIn.of, (args, kwargs))
    result = function(*args, **kwargs)
    return tree_map(lambda v: v.__dict__["ours"] if isinstance(v, _StandIn) else v, result)
