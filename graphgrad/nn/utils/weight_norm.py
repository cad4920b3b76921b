"""The older ``weight_norm``: the state holds ``weight_g`` and ``weight_v``.

layer = nn.utils.weight_norm(nn.Linear(20, 40))        # newer: parametrizations.weight_norm
"""

from __future__ import annotations

from typing import Any

from graphgrad.nn.parameter import Parameter
from graphgrad.nn.utils import _computed, _norms
from graphgrad.tensor.state import no_grad


def weight_norm(module: Any, name: str = "weight", dim: int | None = 0) -> Any:
    """weight = g·v/‖v‖ (Salimans & Kingma 2016), with one norm for each index of ``dim``."""
    weight = module._parameters.get(name)
    if weight is None:
        raise ValueError(f"{type(module).__name__} has no parameter {name!r} to normalise")
    if _computed.is_computed(module, name):
        raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
    with no_grad():
        g = Parameter(_norms.norm_except(weight, dim))
    v = Parameter(weight.detach())
    del module._parameters[name]
    module.register_parameter(f"{name}_g", g)
    module.register_parameter(f"{name}_v", v)

    def weight_of(own: Any) -> Any:
        v = getattr(own, f"{name}_v")
        return v * (getattr(own, f"{name}_g") / _norms.norm_except(v, dim))

    _computed.compute(module, name, weight_of)
    return module


def remove_weight_norm(module: Any, name: str = "weight") -> Any:
    """A plain parameter again, with the value it has."""
    if not _computed.is_computed(module, name) or f"{name}_g" not in module._parameters:
        raise ValueError(f"weight_norm of '{name}' not found in {module}")
    with no_grad():
        value = getattr(module, name)
    _computed.forget(module, name)
    del module._parameters[f"{name}_g"], module._parameters[f"{name}_v"]
    module.register_parameter(name, Parameter(value))
    return module
