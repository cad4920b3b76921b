"""Complex numbers: values, gradients and their gradients as PyTorch's; parts are views."""

from __future__ import annotations

import numpy as np
import pytest

import graphgrad as gg

pytestmark = pytest.mark.devices

RNG = np.random.default_rng(0)
X, Y = (RNG.normal(size=(3, 4)) + 1j * RNG.normal(size=(3, 4)) for _ in range(2))

CASES = {
    "mul": lambda t, a, b: a * b,
    "div": lambda t, a, b: a / b,
    "pow": lambda t, a, b: a**b,
    "cube": lambda t, a, b: a**3 + 2 / b,
    "exp": lambda t, a, b: (a * b).exp(),
    "trigonometry": lambda t, a, b: a.tanh() * b.cos() + a.asin() * b.acosh(),
    "roots": lambda t, a, b: a.sqrt() * b.rsqrt(),
    "log": lambda t, a, b: a.log() / b.sin(),
    "sigmoid": lambda t, a, b: a.sigmoid() * b.conj(),
    "sgn": lambda t, a, b: a.sgn() * b,
    "abs": lambda t, a, b: a.abs() * b,
    "parts": lambda t, a, b: a.real * b.imag,
    "angle": lambda t, a, b: a.angle() * b.angle(),
    "matmul": lambda t, a, b: a @ b.mH,
    "complex": lambda t, a, b: t.complex(a.real, b.imag) * a,
    "polar": lambda t, a, b: t.polar(a.abs(), b.angle()),
    "prod": lambda t, a, b: (a * b).prod(0),
    "cumprod": lambda t, a, b: a.cumprod(1) * b,
    "real factor": lambda t, a, b: a * b.real + 1j,
    "pairs": lambda t, a, b: t.view_as_real(a).sum(-1) * b,
    "where": lambda t, a, b: t.where(a.real > 0, a * b, b),
    "norm": lambda t, a, b: t.linalg.vector_norm(a * b, dim=1),
    "einsum": lambda t, a, b: t.einsum("ij,ij->i", a, b.conj()),
    "cov": lambda t, a, b: t.cov(a) * t.corrcoef(b),
    "mean": lambda t, a, b: (a - a.mean(1, keepdim=True)) * b,
}


def _orders(t, f, dtype):
    a, b = (t.tensor(x.astype(dtype), requires_grad=True) for x in (X, Y))
    out = f(t, a, b)
    first = t.autograd.grad(out.abs().sum(), [a, b], create_graph=True, allow_unused=True)
    size = sum((g.abs() ** 2).sum() for g in first if g is not None)
    second = t.autograd.grad(size, [a, b], allow_unused=True) if size.requires_grad else ()
    return [
        None if y is None else y.detach().resolve_conj().numpy() for y in (out, *first, *second)
    ]


@pytest.mark.parametrize("dtype", ["complex128", "complex64"])
@pytest.mark.parametrize("name", CASES)
def test_two_orders_as_torch(name, dtype):
    torch = pytest.importorskip("torch")
    tolerance = 1e-8 if dtype == "complex128" else 2e-3
    rows = zip(*(_orders(t, CASES[name], dtype) for t in (gg, torch)), strict=True)
    for got, wanted in rows:
        assert (got is None) == (wanted is None)
        if got is not None:
            assert got.dtype == wanted.dtype
            np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


def test_parts_are_views():
    z = gg.tensor(X)
    z.real[0] = 5
    z.imag.mul_(2)
    gg.view_as_real(z)[1, 1, 0] = 7
    expected = X.real + 2j * X.imag
    expected[0] = 5 + 1j * expected[0].imag
    expected[1, 1] = 7 + 1j * expected[1, 1].imag
    np.testing.assert_allclose(z.numpy(), expected)
    pairs = gg.zeros(3, 2)
    gg.view_as_complex(pairs).add_(1 + 2j)
    assert pairs.tolist() == [[1.0, 2.0]] * 3
    with pytest.raises(RuntimeError, match="stride 1"):
        gg.view_as_complex(gg.zeros(2, 3).mT)


def test_a_write_to_a_part_has_a_gradient():
    z = gg.tensor(X, requires_grad=True)
    w = z * 1
    w.real.mul_(3)
    (w * w.conj()).real.sum().backward()
    np.testing.assert_allclose(z.grad.numpy(), 18 * X.real + 2j * X.imag)


def test_what_complex_numbers_do_not_have():
    z = gg.tensor(X, requires_grad=True)
    for wrong in (lambda: z < z, lambda: z.max(), lambda: z.floor(), lambda: z.sort()):
        with pytest.raises(RuntimeError, match="not implemented for complex128"):
            wrong()
    with pytest.raises(RuntimeError, match="real scalar outputs"):
        z.sum().backward()
    with pytest.raises(RuntimeError, match="imag is not implemented"):
        gg.imag(gg.zeros(2))
    with pytest.raises(NotImplementedError, match="cfloat"):
        z.chalf()


def test_compiled_as_written():
    def f(a, b):
        loss = ((a * b).exp() / (a.abs() + 1)).real.sum()
        return gg.autograd.grad(loss, [a, b])

    a, b = (gg.tensor(x, requires_grad=True) for x in (X, Y))
    for got, wanted in zip(gg.compile(f)(a, b), f(a, b), strict=True):
        np.testing.assert_allclose(got.numpy(), wanted.numpy(), rtol=1e-12)


def test_finite_differences_move_both_parts():
    z, w = (gg.tensor(x[:2, :2], requires_grad=True) for x in (X, Y))
    assert gg.autograd.gradcheck(lambda z, w: z * w.conj(), (z, w))
    assert gg.autograd.gradgradcheck(lambda z, w: gg.linalg.solve(z, w), (z, w))

    class Wrong(gg.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            return z * 1j

        @staticmethod
        def backward(ctx, g):
            return g * 1j

    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        gg.autograd.gradcheck(Wrong.apply, (z,))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", ["SGD", "Adam", "Rprop", "LBFGS"])
def test_optimizers_update_both_parts(name, compiled):
    torch = pytest.importorskip("torch")
    found = []
    for t in (gg, torch):
        p = t.tensor(X, requires_grad=True)
        optimizer = getattr(t.optim, name)([p], lr=0.1)

        def closure(p=p, optimizer=optimizer):
            optimizer.zero_grad()
            loss = ((p * (1 + 2j) - 1).abs() ** 2).mean()
            loss.backward()
            return loss

        def step(optimizer=optimizer, closure=closure):
            optimizer.step(closure)

        whole = compiled and t is gg and name != "LBFGS"
        step = gg.compile(step) if whole else step
        for _ in range(3):
            step()
        found.append(p.detach().numpy())
    np.testing.assert_allclose(*found, rtol=1e-8)


def test_optimizers_of_whole_matrices_refuse_complex_ones():
    p = gg.tensor(X, requires_grad=True)
    p.abs().sum().backward()
    for kind in (gg.optim.Adafactor, gg.optim.Muon):
        with pytest.raises(RuntimeError, match="does not support complex parameters"):
            kind([p]).step()


def test_random_numbers_have_a_variance_of_one():
    gg.manual_seed(0)
    z = gg.randn(20_000, dtype=gg.cfloat)
    assert abs(z.var().item() - 1) < 0.05 and abs(z.mean().item()) < 0.05
    assert abs(z.real.var().item() - z.imag.var().item()) < 0.05
    u = gg.rand(10, dtype=gg.cdouble)
    assert u.dtype is gg.complex128 and bool(((u.imag >= 0) & (u.imag < 1)).all())


STATISTICS = {
    "var": lambda t, z: z.var(1),
    "std": lambda t, z: z.std(),
    "vdot": lambda t, z: t.vdot(z[0], z[1]),
    "number": lambda t, z: t.tensor(1j) * t.tensor([1 + 2j, 3.0]),
    "linspace": lambda t, z: t.linspace(0, 1, 5, dtype=t.cfloat),
    "parts": lambda t, z: z.to(z.dtype.to_real().to_complex()).sgn(),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_as_torch(name):
    torch = pytest.importorskip("torch")
    got, wanted = (STATISTICS[name](t, t.tensor(X)).numpy() for t in (gg, torch))
    assert got.dtype == wanted.dtype
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.host
@pytest.mark.parametrize(
    "x", [X * 10, np.array(1j), np.zeros((2, 2), "c8"), np.array([np.nan + 1j, 1e10 - 2j])]
)
def test_printed_as_torch(x):
    torch = pytest.importorskip("torch")
    assert str(gg.tensor(x)) == str(torch.tensor(x))


def test_a_root_that_is_a_leaf_keeps_its_own_shape():
    for shape in ((2, 3), (), (4,)):
        x = gg.zeros(shape, requires_grad=True)
        (g,) = gg.autograd.grad(x, [x], [gg.ones(shape)])
        assert tuple(g.shape) == shape
