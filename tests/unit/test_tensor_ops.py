"""Functions of tensors in float64: values, first and second gradients, and errors as PyTorch's.

In an expression, ``t`` is the library; ``x`` and ``y`` are [3, 4], ``v`` [7], ``a`` [2, 3, 4],
``z`` [3, 4] with zeros and repeated values, all float64 that require gradients; ``i`` is int64 [3,
4] from 0 to 2, ``k`` int64[3], ``m`` bool[3, 4], ``n`` float64[3, 4] with NaN and infinities.
"""

from __future__ import annotations

import importlib
import warnings

import numpy as np
import pytest

import graphgrad as gg

pytestmark = pytest.mark.devices

random = np.random.default_rng(7)
X, Y = random.normal(size=(2, 3, 4))
ARRAYS = {
    "x": X,
    "y": Y,
    "v": random.normal(size=7),
    "a": random.normal(size=(2, 3, 4)),
    "z": random.integers(-1, 3, (3, 4)).astype(float),
    "i": random.integers(0, 3, (3, 4)),
    "k": np.array([2, 0, 2]),
    "m": X > 0,
    "n": np.array([[1, np.nan, np.inf, 2], [0, 2, 2, -3], [np.nan, np.nan, 5, np.nan]]),
}
DIFFERENTIATED = ("x", "y", "v", "a", "z")

EXPRESSIONS = """
t.fmax(x, y)|t.fmin(n, x)|t.fmax(x, n)|t.logaddexp2(x, y)|t.copysign(x, y)|t.copysign(x, -0.0)
t.signbit(-z)|t.float_power(i, 2)|x.norm(0)|t.frexp(x)[0]|t.frexp(n)[1]|t.nextafter(x, y)
t.nextafter(z, n)|x.cummax(1)|n.cummax(1)|x.cummin(0)|x.logcumsumexp(1)|(x * 30).logcumsumexp(0)
v.logcumsumexp(0)|t.var_mean(x, False)|t.std_mean(x, 1, keepdim=True, correction=2)
t.aminmax(x, dim=1)|t.diff(v, 2)|t.diff(x, 1, 0, y, x[:1])|t.diff(m)|x.quantile(0.3)
t.quantile(x, 0.4, 1, True)|t.quantile(x, x[0].sigmoid(), 0)|t.nanquantile(n, 0.3, 1)
t.quantile(n, 0.3, 1)|t.quantile(x, 0.4, 1, interpolation="lower")
t.quantile(x, 0.4, interpolation="nearest")|t.quantile(x, 0.4, 0, interpolation="midpoint")
t.nanmedian(n)|t.nanmedian(n, 1)|t.nanmedian(x, 0, True)|z.mode(0)|z.mode(1, True)|t.cov(x)
t.cov(v)|t.cov(x, correction=0, aweights=y[0].abs())|t.corrcoef(x)
t.cov(x, fweights=t.tensor([1, 2, 0, 3]), aweights=x[0].abs())|x.sort(0, True)|a.topk(2, 1)
x.median(1)|t.tensor_split(v, (2, 1, 5))|t.tensor_split(v, t.tensor(3))|v.unfold(0, 3, 2)
x[0, 0].unfold(0, 1, 1)|x.squeeze(())|t.cat([x[:0], y])|t.cat([v[:0], x])|t.cat([v[:0], v[:0]])
t.column_stack([x[0, 0], x[0, :1]])|t.flip(a, dims=(0, 2))|t.roll(a, (1, -2), (0, 2))|x.roll(0, 1)
x.rot90(1, (1, 0))|x.take_along_dim(i - 3, 0)|x.sum_to_size(3, 1)
t.tensordot(a[:1], y[:, :1], dims=([2, 1], [1, 0]))|t.tensordot(x[:, :1], y, dims=([1], [1]))
x.index_fill(0, k, y[0, 0])|x.slice_scatter(y[:1], 0, 1, 3, 2)|x.select_scatter(v[:4], 0, -1)
x.slice_scatter(y[:0], 0, 2, 1)|a.diagonal_scatter(x[:, :3].t()[:2].t().t(), 0, 1, 2)
x.index_reduce(0, k, y, "prod")|z.index_reduce(0, k, z * x, "prod")
x.index_reduce(0, k, y, "mean", include_self=False)|x.index_reduce(1, k, a[0, :, :3], "amax")
z.scatter_reduce(0, i, x * z, "prod")|z.scatter_reduce(0, i, z, "prod", include_self=False)
x.scatter_reduce(1, i, y, "amin")|t.fill(x, y[0, 0])|t.fill(x, 2)|x.put(k, v[:3])
x.put(k, v[:3], True)|t.alias_copy(x)|t.permute_copy(a, (2, 0, 1))|t.unbind_copy(x, 1)|t.t_copy(x)
t.split_with_sizes_copy(x, [1, 3], 1)|t.squeeze_copy(x[None])|t.expand_copy(v, (2, 7))
t.narrow_copy(x, 1, 1, 2)|t.diagonal_copy(a, 1, 1, 2)|t.view_copy(x, (2, 6))
t.unfold_copy(v, 0, 2, 3)|t.slice_copy(x, 1, 1, None, 2)|v.as_strided((3, 3), (1, 2))
v.as_strided((2, 2, 2), (3, 1, 2), 0)|x.as_strided((2, 5), (0, 1), 3)
x.t().as_strided((2, 3), (5, 2))|v[2:].as_strided((2, 2), (1, 1), 3)|v.as_strided((0, 2), (1, 1))
v.as_strided((), (), 4)|t.as_strided_copy(a, (4, 2), (1, 11))
t._unsafe_masked_index(x, m[:, :3], (k[:, None], t.tensor([0, 1, 3])), 0.5)
t.segment_reduce(v, "sum", lengths=t.tensor([2, 0, 5]))
t.segment_reduce(v, "prod", lengths=t.tensor([3, 4]), initial=2)
t.segment_reduce(x, "mean", offsets=t.tensor([0, 1, 1, 3]))
t.segment_reduce(x, "max", lengths=t.tensor([1, 2]))|t.gradient(v)
t.gradient(x, spacing=0.5, dim=1)|t.gradient(a, spacing=(2.0, 0.5), dim=(0, 2))
t.gradient(v, edge_order=2)
t.gradient(v, spacing=(t.tensor([0.0, 1, 1.5, 3, 4, 4.5, 7]).double(),), edge_order=2)
t.gradient(x, spacing=(t.tensor([0.0, 1, 3]).double(), t.tensor([0.0, 2, 3, 7]).double()))|t.i0(x)
t.special.i0(v * 20)|t.special.i0e(x * 9)|t.special.i1(x)|t.special.i1e(v * 20)
t.special.entr(z.abs() + 0.1)|t.special.xlog1py(z, x.abs())|t.special.xlog1py(2.0, x.abs())
t.xlogy(z, x.abs())|t.special.ndtr(x)|t.special.ndtri(x.sigmoid())
t.special.ndtri((v * 9).sigmoid())|x.tanh().erfinv()|t.special.log_ndtr(x * 9)|t.special.erfcx(x)
t.special.erfcx(v.abs() * 9)|t.polygamma(0, x)|t.polygamma(2, x)|x.polygamma(3)
t.special.polygamma(4, v * 3)|t.special.zeta(x.abs() + 1.5, 2.0)|t.masked.sum(a, (0, 2), mask=m)
t.masked.prod(a, 1, keepdim=True, mask=m)|t.masked.amax(x, 1, mask=m)|t.masked.mean(x, 0, mask=m)
t.masked.mean(a, mask=m)|t.masked.median(x, 1, mask=m)|t.masked.std(x, 1, mask=m)
t.masked.var(x, None, False, mask=m)|t.masked.norm(x, 1.0, 1, mask=m)
t.masked.norm(x, 3, 0, mask=m)|t.masked.softmax(x, 1, mask=m)|t.masked.log_softmax(x, 0)
t.masked.softmin(x, 1, mask=m)|t.masked.normalize(x, 2.0, 1, mask=m)
t.masked.logsumexp(x, 1, mask=m)|t.masked.cumprod(x, 1, mask=m)|t.masked.amin(a, mask=m)
t.masked.argmax(x, 1, mask=m)|t.masked.logaddexp(x, y)|t.masked.sum(i, 0, mask=m)
t.nonzero_static(z, size=5)|t.nonzero_static(z, size=99, fill_value=7)
t.empty_permuted((2, 3), (1, 0)).stride()|t.empty_strided((2, 3, 4), (3, 1, 6)).stride()
x.t().dim_order()
"""


def listed(text):
    return [e for line in text.strip().splitlines() for e in line.split("|")]


def differentiated(t, expression):
    """Results, gradients, and gradients of the gradients' weighted sum."""
    names = {k: t.tensor(v, requires_grad=k in DIFFERENTIATED) for k, v in ARRAYS.items()}
    leaves = [names[k] for k in DIFFERENTIATED]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = eval(expression, {"t": t, **names})
    results = list(result) if isinstance(result, (tuple, list)) else [result]
    orders, layer = [results], results
    for again in (True, False):
        total = sum((y * weight(t, y)).sum() for y in layer if getattr(y, "requires_grad", False))
        if not isinstance(total, t.Tensor) or not total.requires_grad:
            break
        try:
            layer = t.autograd.grad(total, leaves, create_graph=again, allow_unused=True)
        except RuntimeError as error:
            # PyTorch lacks some second derivatives.
            assert "not implemented" in str(error) or "unsupported" in str(error)
            orders.append("unknown")
            break
        orders.append(layer)
    return orders


def weight(t, y):
    return t.cos(t.arange(y.numel(), dtype=t.float64)).reshape(y.shape)


def array(x):
    return x.detach().numpy()


@pytest.mark.parametrize("expression", listed(EXPRESSIONS))
def test_is_as_in_pytorch(expression):
    torch = pytest.importorskip("torch")
    pytest.importorskip("torch.masked")
    theirs = differentiated(torch, expression)
    ours = differentiated(gg, expression)
    if not isinstance(theirs[0][0], torch.Tensor):
        assert ours == theirs
        return
    for a, b in zip(ours[0], theirs[0], strict=True):
        assert repr(a.dtype) == repr(b.dtype)
    for layer in range(max(len(ours), len(theirs))):
        pairs = [side[layer] if layer < len(side) else None for side in (ours, theirs)]
        if pairs[1] == "unknown":
            break
        for a, b in zip(*(p or [None] * 9 for p in pairs), strict=False):
            if a is None or b is None:
                assert all(g is None or not array(g).any() for g in (a, b)), layer
            else:
                assert tuple(a.shape) == tuple(b.shape)
                scale = np.abs(array(b)).max(initial=1.0, where=np.isfinite(array(b)))
                np.testing.assert_allclose(array(a), array(b), rtol=1e-8, atol=1e-9 * scale)


TRACED = """
v.as_strided((3, 3), (1, 2))|z.mode(1)|t.quantile(x, 0.3, 1)|t.nanmedian(n, 1)|t.signbit(-z)
t.segment_reduce(x, "max", lengths=t.tensor([1, 2]))|x.index_reduce(0, k, y, "prod")
t.nextafter(x, y)|t.frexp(n)[0]|t.cov(x)
"""


@pytest.mark.parametrize("expression", listed(TRACED))
def test_a_trace_gives_what_eager_code_gives(expression):
    names = {k: gg.tensor(v) for k, v in ARRAYS.items()}

    def run(names):
        return eval(expression, {"t": gg, **names})

    eager, traced = run(names), gg.compile(run)(names)
    pairs = zip(eager, traced, strict=True) if isinstance(eager, tuple) else [(eager, traced)]
    for a, b in pairs:
        np.testing.assert_allclose(array(a), array(b), rtol=1e-14)


@pytest.mark.host
def test_as_strided_is_a_view():
    x = gg.zeros(6)
    windows = x[1:].as_strided((2, 2), (2, 1))
    x[4] = 7
    assert windows.tolist() == [[0, 0], [0, 7]]
    with pytest.raises(RuntimeError, match="clone"):
        windows.add_(1)
    with pytest.raises(NotImplementedError, match="the tensor that the view was made from"):
        x[3:].as_strided((2,), (1,), 0)
    with pytest.raises(NotImplementedError, match="contiguous"):
        x[::2].as_strided((2,), (1,))


def test_gradients_by_finite_differences():
    """Where PyTorch has none, or a wrong one."""
    x, y, z = (gg.tensor(ARRAYS[name], requires_grad=True) for name in "xyz")
    k = gg.tensor(ARRAYS["k"])

    def scattered(x, y):
        return x.as_strided_scatter(y[:2, :2], (2, 2), (5, 2), 1)

    def reduced(x, y):
        return gg.segment_reduce(x * y, "prod", lengths=gg.tensor([1, 2]))

    for function in (scattered, reduced, lambda x, y: x.index_reduce(0, k, y * x, "prod")):
        assert gg.autograd.gradcheck(function, (x, y))
        assert gg.autograd.gradgradcheck(function, (x, y))
    assert gg.autograd.gradcheck(lambda z: z.index_reduce(0, k, z, "prod"), (z,))


def test_a_gradient_of_the_leaf_itself_is_the_cotangent_at_any_shape():
    for shape in ((), (2, 3), (4,)):
        x = gg.ones(shape, requires_grad=True)
        cotangent = gg.full(shape, 3.0)
        (g,) = gg.autograd.grad([x], [x], [cotangent])
        assert g.tolist() == cotangent.tolist()


ERRORS = {
    "gg.maximum(x, 2)": TypeError,
    "gg.hypot(2, x)": TypeError,
    "gg.rsub(2, x)": TypeError,
    "-m": RuntimeError,
    "gg.cat(x)": TypeError,
    "gg.cat([])": ValueError,
    "gg.cat([x, None])": TypeError,
    "gg.hstack([])": RuntimeError,
    "x.movedim((0, 1), (1,))": RuntimeError,
    "x.roll((1, 2), 0)": RuntimeError,
    "x.rot90(1, (0, 0))": RuntimeError,
    "v.fliplr()": RuntimeError,
    "x.narrow(0, 7, 0)": IndexError,
    "x.narrow(0, gg.tensor(True), 1)": RuntimeError,
    "x.sum_to_size(2, 4)": RuntimeError,
    "v.tril()": RuntimeError,
    "a.trace()": RuntimeError,
    "a.cov()": RuntimeError,
    "x.cov(fweights=v)": RuntimeError,
    "x.diff(-1)": RuntimeError,
    "x[:, :0].amax(1)": IndexError,
    "x.masked_fill(m, 1j)": RuntimeError,
    "gg.gather(x, 1, i + 9)": RuntimeError,
    "gg.gather(x, 1, i + 8)": IndexError,
    "gg.gather(x, 0, i, out=gg.zeros(3, 4))": RuntimeError,
    "gg.quantile(x, 2.0)": RuntimeError,
    "gg.quantile(x, 0.5, interpolation='cubic')": RuntimeError,
    "v.as_strided((3,), (3,), 1)": RuntimeError,
    "v.as_strided((3,), (-1,))": RuntimeError,
    "gg.hsplit(x, 3)": RuntimeError,
    "gg.segment_reduce(v, 'sum', lengths=k)": RuntimeError,
}


@pytest.mark.host
@pytest.mark.parametrize("expression", ERRORS)
def test_errors_are_of_pytorchs_types(expression):
    names = {k: gg.tensor(v) for k, v in ARRAYS.items()}
    with pytest.raises(ERRORS[expression]):
        eval(expression, {"gg": gg, **names})


@pytest.mark.parametrize(
    "path",
    "nn.Linera nn.functional.sofmax nn.utils.clip_grad_nom_ nn.init.xavier_unifrm_ optim.Adagrd "
    "optim.lr_scheduler.StepRL autograd.grd autograd.functional.jacobain linalg.nrom fft.rftt "
    "utils.dta utils.data.DataLodaer special.erfcxx masked.maen tenosr".split(),
)
def test_a_missing_name_names_the_nearest(path):
    module, _, name = f"graphgrad.{path}".rpartition(".")
    with pytest.raises(AttributeError, match=rf"no '{name}'; did you mean '\w+'\?"):
        getattr(importlib.import_module(module), name)


def test_memory_is_shared_by_dlpack():
    source = np.ones(3)
    x = gg.from_dlpack(source)
    x[1] = 5
    assert source.tolist() == [1, 5, 1]
    assert np.from_dlpack(x).tolist() == [1, 5, 1]


def test_as_strided_in_place():
    x = gg.arange(6.0)
    assert x.as_strided_((2, 2), (1, 3)).tolist() == [[0, 3], [1, 4]] and x.shape == (2, 2)
    assert gg.tensor([4, 9]).gcd_(gg.tensor([6, 6])).tolist() == [2, 3]
    assert gg.tensor([0.5]).polygamma_(1).item() == pytest.approx(np.pi**2 / 2)
    with pytest.raises(NotImplementedError, match="dense"):
        x.to_sparse_csr()


def test_sort_has_third_derivatives():
    x = gg.tensor([3.0, 1.0, 2.0], requires_grad=True)
    y = (x.sort().values ** 3 * gg.tensor([1.0, 2.0, 3.0])).sum()
    (g,) = gg.autograd.grad(y, x, create_graph=True)
    (h,) = gg.autograd.grad((g * g).sum(), x, create_graph=True)
    (k,) = gg.autograd.grad(h.sum(), x)
    # y = w·s³ over sorted s: g = 3ws², (g²)' = 36w²s³, and its derivative 108w²s².
    assert k.tolist() == [108 * 9 * 9, 108, 108 * 4 * 4]


def test_bessel_functions_obey_wronskis_determinants_and_each_others_derivatives():
    s = gg.special
    x = gg.tensor(np.concatenate([np.geomspace(1e-3, 300, 60), [25.0, 25.1]]), requires_grad=True)
    j0, j1, y0, y1 = s.bessel_j0(x), s.bessel_j1(x), s.bessel_y0(x), s.bessel_y1(x)
    np.testing.assert_allclose(array((j1 * y0 - j0 * y1) * x * np.pi), 2, rtol=1e-12)
    i0, i1 = s.i0e(x), s.i1e(x)
    k0, k1 = s.scaled_modified_bessel_k0(x), s.scaled_modified_bessel_k1(x)
    np.testing.assert_allclose(array((i0 * k1 + i1 * k0) * x), 1, rtol=1e-12)
    slopes = {"j0": (j0, -j1), "y0": (y0, -y1), "k0": (s.modified_bessel_k0(x), -k1 * (-x).exp())}
    for function, slope in slopes.values():
        (g,) = gg.autograd.grad(function.sum(), x, retain_graph=True)
        np.testing.assert_allclose(array(g), array(slope), rtol=1e-9, atol=1e-12)
    assert s.bessel_j0(gg.tensor(-2.5)).item() == s.bessel_j0(gg.tensor(2.5)).item()
    edges = gg.tensor([0.0, -1.0, np.inf, np.nan])
    assert str(s.bessel_y0(edges).tolist()) == "[-inf, nan, 0.0, nan]"
    assert str(s.modified_bessel_k1(edges).tolist()) == "[inf, nan, 0.0, nan]"


POLYNOMIALS = {
    "chebyshev_polynomial_t": np.polynomial.chebyshev.chebval,
    "hermite_polynomial_h": np.polynomial.hermite.hermval,
    "hermite_polynomial_he": np.polynomial.hermite_e.hermeval,
    "laguerre_polynomial_l": np.polynomial.laguerre.lagval,
    "legendre_polynomial_p": np.polynomial.legendre.legval,
}


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_polynomials_are_numpys(name):
    function = getattr(gg.special, name)
    degrees = np.arange(7)
    expected = [POLYNOMIALS[name](x, np.eye(7)[n]) for n, x in enumerate(ARRAYS["v"])]
    x = gg.tensor(ARRAYS["v"])
    np.testing.assert_allclose(array(function(x, gg.tensor(degrees))), expected, rtol=1e-12)
    np.testing.assert_allclose(
        array(function(x, 5)), POLYNOMIALS[name](ARRAYS["v"], np.eye(6)[5]), rtol=1e-12
    )
    assert function(x, -1).tolist() == [0] * 7
