"""Linear algebra by its names in ``torch.linalg``.

Norms and products are compositions, traced and differentiated like everything else. Factorisations
and solvers are host calls: NumPy computes them, as written and in programs, and each brings
its gradient as graph, so gradients of gradients are nothing special. Matrices are the last two
dimensions; others are batches. Types are float32, float64, complex64 and complex128.
"""

from __future__ import annotations

from graphgrad.linalg import decompositions, names, norms, products, reflections, solvers
from graphgrad.linalg.errors import LinAlgError
from graphgrad.nearest import names_of
from graphgrad.tensor import spelling

_OFFERED = {
    decompositions: (
        "cholesky cholesky_ex eig eigh eigvals eigvalsh ldl_factor ldl_factor_ex ldl_solve lu "
        "lu_factor lu_factor_ex qr svd svdvals"
    ),
    solvers: (
        "det inv inv_ex lstsq lu_solve matrix_exp matrix_power matrix_rank pinv slogdet solve "
        "solve_ex solve_triangular tensorinv tensorsolve"
    ),
    norms: "cond matrix_norm norm vector_norm",
    products: "cross diagonal matmul multi_dot vander vecdot",
    reflections: "householder_product",
}
globals().update(
    spelling.spelled(
        {name: getattr(module, name) for module, row in _OFFERED.items() for name in row.split()}
    )
)

__all__ = ["LinAlgError", *(name for row in _OFFERED.values() for name in row.split())]

__getattr__ = names_of("graphgrad.linalg", globals())
