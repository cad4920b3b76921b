"""Linear algebra: values and gradients as PyTorch's, checked by finite differences too."""

from __future__ import annotations

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.autograd import gradcheck, gradgradcheck

pytestmark = pytest.mark.devices

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(0)
A = RNG.normal(size=(2, 3, 3)) + 3 * np.eye(3)
B = RNG.normal(size=(2, 3, 2))
S = A @ A.swapaxes(1, 2)

CASES = {
    "inv": lambda L, a, b, s: L.inv(a),
    "det": lambda L, a, b, s: L.det(a),
    "slogdet": lambda L, a, b, s: L.slogdet(a)[1],
    "solve": lambda L, a, b, s: L.solve(a, b),
    "solve vector": lambda L, a, b, s: L.solve(a[0], b[0, :, 0]),
    "cholesky": lambda L, a, b, s: L.cholesky(s),
    "upper": lambda L, a, b, s: L.cholesky(s, upper=True),
    "norm": lambda L, a, b, s: L.norm(b),
    "vector_norm": lambda L, a, b, s: L.vector_norm(b, 3, dim=1),
    "matrix_norm": lambda L, a, b, s: L.matrix_norm(b),
    "one": lambda L, a, b, s: L.matrix_norm(b, 1),
    "inf": lambda L, a, b, s: L.norm(b, float("inf"), dim=(1, 2), keepdim=True),
    "power": lambda L, a, b, s: L.matrix_power(a, 5),
    "negative power": lambda L, a, b, s: L.matrix_power(a, -2),
    "multi_dot": lambda L, a, b, s: L.multi_dot([a[0], s[0], b[0]]),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name):
    results = []
    for t in (gg, torch):
        tensors = [t.tensor(x, requires_grad=True) for x in (A, B, S)]
        out = CASES[name](t.linalg, *tensors)
        (out * out).sum().backward()
        results.append((out, [x.grad for x in tensors]))
    (out, grads), (expected, wanted) = results
    np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), rtol=1e-6)
    for g, w in zip(grads, wanted, strict=True):
        assert (g is None) == (w is None)
        if g is not None:
            np.testing.assert_allclose(g.numpy(), w.numpy(), rtol=1e-6, atol=1e-8)


def test_gradients_of_gradients():
    a = gg.tensor(A[0], requires_grad=True)
    b = gg.tensor(B[0], requires_grad=True)
    assert gradcheck(gg.linalg.solve, (a, b))
    assert gradgradcheck(gg.linalg.inv, (a,))
    assert gradgradcheck(gg.det, (a,))


# ------------------------------------------------------------------------------------ against torch


def _complex(*shape):
    return RNG.normal(size=shape) + 1j * RNG.normal(size=shape)


def _hermitian(a):
    return a + a.mH


# Functions of a matrix that do not see what a factorisation leaves free (signs, phases).
OF_MATRIX = {
    "inv": lambda L, a: L.inv(a),
    "det": lambda L, a: L.det(a),
    "slogdet": lambda L, a: L.slogdet(a)[0] * L.slogdet(a)[1],
    "cholesky": lambda L, a: L.cholesky(a @ a.mH),
    "cholesky upper": lambda L, a: L.cholesky(a @ a.mH, upper=True),
    "qr": lambda L, a: L.qr(a)[0] @ L.qr(a)[1].abs().to(a.dtype),
    "lu": lambda L, a: L.lu(a)[1] @ L.lu(a)[2].cos(),
    "lu_factor": lambda L, a: L.lu_factor(a)[0],
    "eigh": lambda L, a: _eigh(L, a),
    "eigvalsh": lambda L, a: L.eigvalsh(_hermitian(a), UPLO="U"),
    "svd": lambda L, a: _svd(L, a),
    "svdvals": lambda L, a: L.svdvals(a),
    "eigvals": lambda L, a: L.eigvals(a).exp().sum(-1),
    "eig": lambda L, a: (L.eig(a)[1].abs() ** 3).sum(-1),
    "pinv": lambda L, a: L.pinv(a[..., :2]),
    "matrix_exp": lambda L, a: L.matrix_exp(a * 0.5),
    "matrix_power": lambda L, a: L.matrix_power(a, -3),
    "nuc": lambda L, a: L.matrix_norm(a, "nuc"),
    "vander": lambda L, a: L.vander(a[..., 0], N=4),
    "tensorinv": lambda L, a: L.tensorinv(a.reshape(-1, 3, 3)[0].reshape(3, 1, 3), 1),
    "multi_dot": lambda L, a: L.multi_dot([a.reshape(-1, 3)[0], a.reshape(-1, 3, 3)[0]]),
    "solve": lambda L, a: L.solve(a, a.sin()),
    "solve right": lambda L, a: L.solve(a, a[..., :2, :].sin(), left=False),
    "triangular": lambda L, a: L.solve_triangular(a, a.sin(), upper=True),
    "unitriangular": lambda L, a: L.solve_triangular(
        a, a.sin(), upper=False, left=False, unitriangular=True
    ),
    "lstsq": lambda L, a: L.lstsq(a[..., :2], a[..., 1:].sin())[0],
    "norm 1.5": lambda L, a: L.vector_norm(a, 1.5, dim=-1),
}
WIDTHS = {"qr": (2, 5), "lu": (2, 5), "lu_factor": (2, 5), "svd": (2, 5), "svdvals": (2, 5)}


def _eigh(L, a):
    w, v = L.eigh(_hermitian(a))
    return v.abs() * w.sin().unsqueeze(-2)


def _svd(L, a):
    u, s, vh = L.svd(a, full_matrices=False)
    return (u * s.cos().unsqueeze(-2).to(a.dtype)) @ vh


def _both_orders(t, f, x):
    """Value, gradient, and gradient of the gradient's squares."""
    a = t.tensor(x, requires_grad=True)
    out = f(t.linalg, a)
    weight = t.tensor(np.cos(np.arange(out.numel())).reshape(tuple(out.shape)))
    loss = (out.abs() * weight.to(out.abs().dtype)).sum() + (out.real**2).sum()
    (g,) = t.autograd.grad(loss, [a], create_graph=True)
    (h,) = t.autograd.grad((g.abs() ** 2).sum(), [a])
    return [y.detach().resolve_conj().numpy() for y in (out, g, h)]


def _compare(name, x):
    for got, wanted in zip(
        _both_orders(gg, OF_MATRIX[name], x), _both_orders(torch, OF_MATRIX[name], x), strict=True
    ):
        assert got.dtype == wanted.dtype and got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-7 * max(1, abs(wanted).max()))


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("name", OF_MATRIX)
def test_two_orders_as_torch(name, kind):
    x = A if kind == "real" else _complex(2, 3, 3) + 2 * np.eye(3)
    _compare(name, x)


@pytest.mark.parametrize("tall", [True, False])
@pytest.mark.parametrize("name", WIDTHS)
def test_matrices_that_are_not_square(name, tall):
    x = RNG.normal(size=(2, 2, 4))
    _compare(name, x.swapaxes(-1, -2).copy() if tall else x)


def test_factors_multiply_to_the_matrix():
    a = gg.tensor(_complex(2, 4, 3))
    q, r = gg.linalg.qr(a, mode="complete")
    u, s, vh = gg.linalg.svd(a)
    p, lower, upper = gg.linalg.lu(a)
    packed = gg.linalg.lu_factor(a)
    unpacked = gg.lu_unpack(*packed)
    middle = gg.linalg.diagonal(gg.zeros(2, 4, 3, dtype=a.dtype)).shape
    assert tuple(middle) == (2, 3)
    products = (q @ r, (u[..., :3] * s.unsqueeze(-2)) @ vh, p @ lower @ upper)
    for product in (*products, unpacked.P @ unpacked.L @ unpacked.U):
        np.testing.assert_allclose(product.numpy(), a.numpy(), atol=1e-10)
    w, v = gg.linalg.eig(gg.tensor(A))
    np.testing.assert_allclose(
        (gg.tensor(A).to(v.dtype) @ v - v * w.unsqueeze(-2)).abs().max(), 0, atol=1e-10
    )
    assert gg.linalg.matrix_rank(gg.tensor(A)).tolist() == [3, 3]


def test_results_have_names():
    a = gg.tensor(A)
    assert gg.linalg.svd(a)._fields == ("U", "S", "Vh") and gg.svd(a)._fields == ("U", "S", "V")
    assert gg.linalg.eigh(a)._fields == ("eigenvalues", "eigenvectors")
    assert gg.linalg.slogdet(a)._fields == ("sign", "logabsdet")
    assert gg.linalg.lstsq(a, a)._fields == ("solution", "residuals", "rank", "singular_values")
    out = gg.empty(0, dtype=gg.float64)
    gg.linalg.inv(a, out=out)
    np.testing.assert_allclose(out.numpy(), np.linalg.inv(A))


@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 0, 0), (0, 0)])
@pytest.mark.parametrize("name", ["inv", "det", "qr", "lu", "eigh", "svd", "matrix_exp", "pinv"])
def test_nothing_at_all(name, shape):
    results = [OF_MATRIX[name](t.linalg, t.zeros(shape, dtype=t.float32)) for t in (gg, torch)]
    np.testing.assert_array_equal(*(r.numpy() for r in results))


def test_float32_stays_float32():
    for name in ("inv", "qr", "lu", "eigh", "svd", "matrix_exp", "pinv", "eigvals", "lstsq"):
        out, wanted = (OF_MATRIX[name](t.linalg, t.tensor(A.astype("f4"))) for t in (gg, torch))
        assert out.dtype.name == str(wanted.dtype).removeprefix("torch.")
        np.testing.assert_allclose(out.numpy(), wanted.numpy(), rtol=2e-3, atol=1e-4)


# ---------------------------------------------------------------------------------- what goes wrong


def test_singular_matrices():
    a = gg.tensor([[[1.0, 2.0], [2.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]]], dtype=gg.float64)
    with pytest.raises(gg.linalg.LinAlgError, match=r"Batch element 0.*singular"):
        gg.linalg.inv(a)
    assert gg.linalg.inv_ex(a).info.tolist() == [2, 0]
    assert gg.linalg.solve_ex(a, a).info.tolist() == [2, 0]
    with pytest.raises(RuntimeError, match="not positive-definite"):
        gg.linalg.cholesky(-a)
    assert gg.linalg.cholesky_ex(-a).info.tolist() == [1, 1]
    # The gradient of a determinant is the adjugate, which singular matrices have too.
    m = a[0].clone().requires_grad_()
    gg.det(m).backward()
    np.testing.assert_allclose(m.grad.numpy(), [[4, -2], [-2, 1]], atol=1e-12)


WRONG = {
    "not square": lambda L, a: L.inv(a[0, :2]),
    "vector": lambda L, a: L.eigh(a[0, 0]),
    "integers": lambda L, a: L.svd(a.long()),
    "dtypes": lambda L, a: L.solve(a, a.float()),
    "sizes": lambda L, a: L.solve(a, a[:, :2]),
    "mode": lambda L, a: L.qr(a, mode="some"),
    "order": lambda L, a: L.matrix_norm(a, 3),
    "triangle": lambda L, a: L.eigvalsh(a, UPLO="x"),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_are_of_torchs_type(name):
    for t in (torch, gg):
        with pytest.raises(RuntimeError):
            WRONG[name](t.linalg, t.tensor(A))


def test_in_a_trace_and_in_a_scan():
    def f(a, b):
        x = gg.linalg.solve(a, b)
        u, s, vh = gg.linalg.svd(x, full_matrices=False)
        return (u * s.exp().unsqueeze(-2)) @ vh

    def gradients(a, b):
        return gg.autograd.grad(f(a, b).square().sum(), [a, b])

    a, b = gg.tensor(A, requires_grad=True), gg.tensor(B, requires_grad=True)
    for eager, traced in zip(gradients(a, b), gg.compile(gradients)(a, b), strict=True):
        np.testing.assert_allclose(traced.numpy(), eager.numpy(), rtol=1e-9)

    def step(carry, _):
        new = gg.linalg.inv(carry) * 0.5 + carry
        return new, new.sum()

    start = gg.tensor(A[0], requires_grad=True)
    last, _ = gg.scan(step, start, gg.zeros(3))
    (got,) = gg.autograd.grad(last.sum(), [start])
    x = start
    for _ in range(3):
        x = gg.linalg.inv(x) * 0.5 + x
    np.testing.assert_allclose(got.numpy(), gg.autograd.grad(x.sum(), [start])[0].numpy())
