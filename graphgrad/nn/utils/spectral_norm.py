"""The older ``spectral_norm``: the state holds ``weight_orig``, ``weight_u`` and ``weight_v``.

layer = nn.utils.spectral_norm(nn.Linear(20, 40))      # newer: parametrizations.spectral_norm
"""

from __future__ import annotations

from typing import Any

from graphgrad import functional as F
from graphgrad.nn.modules.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from graphgrad.nn.parameter import Parameter
from graphgrad.nn.utils import _computed, _norms
from graphgrad.tensor.state import no_grad

_HANDLES = "_spectral_norm_handles"


def spectral_norm(
    module: Any,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Any:
    """weight divided by its largest singular value, estimated at each call in training."""
    if n_power_iterations <= 0:
        raise ValueError(
            "Expected n_power_iterations to be positive, "
            f"but got n_power_iterations={n_power_iterations}"
        )
    weight = module._parameters.get(name)
    if weight is None:
        raise ValueError(f"{type(module).__name__} has no parameter {name!r} to normalise")
    if dim is None:
        transposed = (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)
        side = 1 if isinstance(module, transposed) else 0
    else:
        side = dim
    matrix = _norms.as_matrix(weight.detach(), side)
    del module._parameters[name]
    module.register_parameter(f"{name}_orig", weight)
    for suffix, size in (("u", matrix.shape[0]), ("v", matrix.shape[1])):
        draw = matrix.new_empty((size,)).normal_(0, 1)
        module.register_buffer(f"{name}_{suffix}", F.normalize(draw, dim=0, eps=eps))

    def parts(own: Any) -> tuple[Any, Any, Any, Any]:
        w = getattr(own, f"{name}_orig")
        return w, _norms.as_matrix(w, side), getattr(own, f"{name}_u"), getattr(own, f"{name}_v")

    def weight_of(own: Any) -> Any:
        w, matrix, u, v = parts(own)
        return w / _norms.largest_singular_value(matrix, u, v)

    def iterate(own: Any, args: Any) -> None:
        if own.training:
            _, matrix, u, v = parts(own)
            matrix = matrix.detach()
            with no_grad():
                # PyTorch's order here: v first.
                for _ in range(n_power_iterations):
                    v.copy_(F.normalize(matrix.t() @ u, dim=0, eps=eps))
                    u.copy_(F.normalize(matrix @ v, dim=0, eps=eps))

    _computed.compute(module, name, weight_of)
    handles = module.__dict__.setdefault(_HANDLES, {})
    handles[name] = module.register_forward_pre_hook(iterate)
    return module


def remove_spectral_norm(module: Any, name: str = "weight") -> Any:
    """A plain parameter again, with the value it has."""
    handles = module.__dict__.get(_HANDLES, {})
    if name not in handles:
        raise ValueError(f"spectral_norm of '{name}' not found in {module}")
    with no_grad():
        value = getattr(module, name)
    handles.pop(name).remove()
    _computed.forget(module, name)
    del module._parameters[f"{name}_orig"]
    del module._buffers[f"{name}_u"], module._buffers[f"{name}_v"]
    module.register_parameter(name, Parameter(value))
    return module
