"""Ready-made parametrizations: ``weight_norm``, ``spectral_norm``, ``orthogonal``.

layer = parametrizations.weight_norm(nn.Linear(20, 40))      # trained: …weight.original0 and 1
"""

from __future__ import annotations

import graphgrad as gg
from graphgrad import functional as F
from graphgrad.nn.modules.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from graphgrad.nn.modules.module import Module
from graphgrad.nn.utils import _norms
from graphgrad.nn.utils.parametrize import register_parametrization
from graphgrad.tensor import Tensor
from graphgrad.tensor.state import no_grad

_TRANSPOSED = (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / _norms.norm_except(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return _norms.norm_except(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """weight = g·v/‖v‖ (Salimans & Kingma 2016), with one norm for each index of ``dim``."""
    return register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


class _SpectralNorm(Module):
    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        if not -weight.dim() <= dim < weight.dim():
            raise IndexError(
                f"Dimension out of range (expected to be in range of [-{weight.dim()}, "
                f"{weight.dim() - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, "
                f"but got n_power_iterations={n_power_iterations}"
            )
        self.dim, self.eps, self.n_power_iterations = dim % weight.dim(), eps, n_power_iterations
        if weight.dim() > 1:
            matrix = _norms.as_matrix(weight.detach(), self.dim)
            for buffer, size in (("_u", matrix.shape[0]), ("_v", matrix.shape[1])):
                draw = matrix.new_empty((size,)).normal_(0, 1)
                self.register_buffer(buffer, F.normalize(draw, dim=0, eps=eps))
            _norms.power_iteration(matrix, self._u, self._v, 15, eps)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.dim() == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = _norms.as_matrix(weight, self.dim)
        if self.training:
            steps = self.n_power_iterations
            _norms.power_iteration(matrix.detach(), self._u, self._v, steps, self.eps)
        return weight / _norms.largest_singular_value(matrix, self._u, self._v)

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def _own(module: Module, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """weight divided by its largest singular value, estimated anew at each use in training."""
    weight = _own(module, name)
    if dim is None:
        dim = 1 if isinstance(module, _TRANSPOSED) else 0
    norm = _SpectralNorm(weight, n_power_iterations, dim, eps)
    return register_parametrization(module, name, norm)


class _Orthogonal(Module):
    """An orthogonal matrix (or its first columns or rows) from a triangle of free numbers.

    ``base``, the value that was assigned, is multiplied from the left: at 0 the result is that.
    """

    def __init__(self, orthogonal_map: str) -> None:
        super().__init__()
        self.orthogonal_map = orthogonal_map
        self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        wide = X.shape[-2] < X.shape[-1]
        x = X.mT if wide else X
        n, k = x.shape[-2:]
        if self.orthogonal_map == "householder":
            reflectors = x.tril(-1)
            tau = 2 / (1 + reflectors.square().sum(-2))
            q = gg.linalg.householder_product(reflectors, tau)
            # The diagonal holds signs, which no gradient reaches.
            q = q * x.detach().diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
        else:
            lower = F.pad(x.tril(), (0, n - k))
            q = self._rotation(lower - lower.mT)[..., :k]
        q = self.base @ q
        return q.mT if wide else q

    def _rotation(self, skew: Tensor) -> Tensor:
        if self.orthogonal_map == "matrix_exp":
            return gg.linalg.matrix_exp(skew)
        eye = gg.eye(skew.shape[-1], dtype=skew.dtype, device=skew.device)
        return gg.linalg.solve(eye - skew / 2, eye + skew / 2)

    @no_grad()
    def right_inverse(self, Q: Tensor) -> Tensor:
        wide = Q.shape[-2] < Q.shape[-1]
        q = Q.mT if wide else Q
        n, k = q.shape[-2:]
        if k < n:
            q = gg.cat([q, gg.randn(*q.shape[:-2], n, n - k, dtype=q.dtype, device=q.device)], -1)
        self.base = _orthogonalised(q)
        # Minus the identity: the signs of the diagonal are the householder map's.
        start = gg.zeros_like(Q)
        start.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return start


def _orthogonalised(q: Tensor) -> Tensor:
    """The orthogonal factor of ``q``, itself if it is orthogonal already."""
    factor, r = gg.linalg.qr(q)
    return factor * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """An orthogonal matrix, or one with orthonormal rows or columns (Lezcano-Casado 2019).

    ``orthogonal_map``: "matrix_exp" (for square ones, unless given), "cayley" or "householder".
    """
    weight = _own(module, name)
    if weight.dim() < 2:
        raise ValueError(
            f"Expected a matrix or batch of matrices. Got a tensor of {weight.dim()} dimensions."
        )
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1]
        orthogonal_map = "matrix_exp" if square else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(
            'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". '
            f"Got: {orthogonal_map}"
        )
    if not use_trivialization:
        raise NotImplementedError("parametrizations.orthogonal needs use_trivialization=True")
    return register_parametrization(module, name, _Orthogonal(orthogonal_map), unsafe=True)
