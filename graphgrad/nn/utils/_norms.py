"""The arithmetic of weight and spectral normalisation."""

from __future__ import annotations

from graphgrad import functional as F
from graphgrad.tensor import Tensor
from graphgrad.tensor.state import no_grad


def norm_except(v: Tensor, dim: int | None) -> Tensor:
    """The 2-norm of each slice along ``dim``, shaped to broadcast; of all for -1 or None."""
    if dim is None or dim == -1:
        return v.norm()
    axes = [a for a in range(v.dim()) if a != dim % v.dim()]
    return v.square().sum(axes, keepdim=True).sqrt() if axes else v.abs()


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """Rows along ``dim``."""
    w = weight.movedim(dim, 0) if dim else weight
    return w.reshape(w.shape[0], -1)


@no_grad()
def power_iteration(matrix: Tensor, u: Tensor, v: Tensor, steps: int, eps: float) -> None:
    """Move u and v towards the first singular vectors, in place (Miyato et al. 2018)."""
    for _ in range(steps):
        u.copy_(F.normalize(matrix @ v, dim=0, eps=eps))
        v.copy_(F.normalize(matrix.t() @ u, dim=0, eps=eps))


def largest_singular_value(matrix: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """uᵀ·M·v; u and v may be overwritten before the gradient is taken, so they are copied."""
    return (u.clone() * (matrix @ v.clone())).sum()
