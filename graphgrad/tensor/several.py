"""Primitives with several results (sort, host calls), eagerly and in a trace."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphgrad import interpret
from graphgrad.ops import PRIMITIVES
from graphgrad.tensor.core import Tensor, wrap
from graphgrad.tensor.place import common_device, to_device
from graphgrad.tensor.plan import apply
from graphgrad.tensor.state import state


def several(name: str, *inputs: Tensor, **attrs: Any) -> tuple[Tensor, ...]:
    """The results of a primitive; no gradient is recorded."""
    if state.trace is not None:
        whole = apply(name, *inputs, **attrs)
        types = PRIMITIVES[name].infer(inputs, attrs)
        return tuple(apply("result", whole, index=i) for i in range(len(types)))
    arrays = [x.concrete(name) for x in inputs]
    place = common_device(name, [x._array for x in inputs])
    results = interpret.RULES[name](*arrays, **attrs)
    results = [np.asarray(r) for r in results]
    if state.watch is not None:
        for r in results:
            state.watch.operation(name, arrays, r)
    return tuple(wrap(to_device(r, place)) for r in results)
