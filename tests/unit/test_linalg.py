"""Linear algebra: values and gradients as PyTorch's, checked by finite differences too."""

from __future__ import annotations

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.autograd import gradcheck, gradgradcheck

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


def test_factorisations():
    a = gg.tensor(A)
    q, r = gg.linalg.qr(a)
    u, s, vh = gg.linalg.svd(a)
    w, v = gg.linalg.eigh(gg.tensor(S))
    for product in (q @ r, u * s.unsqueeze(-2) @ vh):
        np.testing.assert_allclose(product.numpy(), A, atol=1e-10)
    np.testing.assert_allclose((v * w.unsqueeze(-2) @ v.mT).numpy(), S, atol=1e-9)
    assert gg.linalg.matrix_rank(a).tolist() == [3, 3]
    with pytest.raises(NotImplementedError, match="has no gradient"):
        gg.linalg.svd(gg.tensor(A, requires_grad=True))


def test_solvers_cannot_be_traced():
    with pytest.raises(gg.TraceError):
        gg.compile(gg.linalg.inv)(gg.tensor(A))
