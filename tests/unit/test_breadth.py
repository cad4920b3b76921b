"""The functions of the namespace, one line each: values, types, shapes and gradients as PyTorch's.

In an expression, ``t`` is the library; ``x`` and ``y`` are float32[3, 4] that require gradients, ``p``
is positive, ``v`` float32[4], ``s`` float32[3, 3], ``a`` float32[2, 3, 4]; ``i`` and ``j`` are int64[3, 4],
``m`` is bool[3, 4], ``d`` is float64[3, 4], ``n`` has NaN and infinities, ``r`` repeated values.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import graphgrad as gg

pytestmark = pytest.mark.devices

random = np.random.default_rng(0)
X, Y = random.normal(size=(2, 3, 4)).astype(np.float32)
ARRAYS = {
    "x": X,
    "y": Y,
    "p": np.abs(X) + 0.1,
    "v": random.normal(size=4).astype(np.float32),
    "s": random.normal(size=(3, 3)).astype(np.float32),
    "a": random.normal(size=(2, 3, 4)).astype(np.float32),
    "i": random.integers(-9, 9, (3, 4)),
    "j": random.integers(1, 5, (3, 4)),
    "m": X > 0,
    "d": random.normal(size=(3, 4)),
    "n": np.array([1, np.nan, np.inf, -np.inf, 0, -2], np.float32),
    "r": np.array([[3, 1, 3, 2], [2, 2, 2, 2], [1, 0, 1, 5]], np.float32),
}

OPERATORS = """
x + y|x - y|x * y|x / y|x // y|x % y|p ** y|x ** 2|x ** 3|x ** -1|p ** 0.5|p ** 1.5|2 ** x|-x|abs(x)|+x
x + 1|1 - x|2 * x|1 / p|x // 0.3|x % 0.7|1.5 % p|7 // p|x + i|i + 1|i + 1.5|i / j|i // j|i % j|i * 2.0
i ** 2|j ** 3|i & j|i \\| j|i ^ j|~i|~m|m & m|m \\| True|i << 1|i >> 1|m + m|m * 2|m + 1.5|x + d|d * 2
x == y|x != y|x < y|x <= 0|i > j|i >= 2|m == True|x.eq(y)|x.gt(0)|x + v|s + x[:, :3]|i < 1.5
t.add(x, y, alpha=2)|x.sub(y, alpha=0.5)|t.rsub(x, 2)|t.mul(x, 2)|t.div(x, y, rounding_mode="floor")
t.div(x, y, rounding_mode="trunc")|t.div(i, j, rounding_mode="trunc")|t.true_divide(i, j)|i.floor_divide(2)
t.pow(x, 2)|t.pow(2, x)|x.fmod(0.6)|i.fmod(4)|i.remainder(4)|t.remainder(x, y)|x.neg()|x.negative()
t.maximum(x, y)|t.minimum(x, y)|t.fmax(x, y)|t.atan2(x, y)|t.hypot(x, y)|t.copysign(x, y)|t.copysign(x, -1)
t.exp(x)|t.expm1(x)|t.exp2(x)|t.log(p)|t.log1p(p)|t.log2(p)|t.log10(p)|t.sin(x)|t.cos(x)|t.tan(x)|t.tanh(x)
t.sinh(x)|t.cosh(x)|t.asin(x / 9)|t.acos(x / 9)|t.atan(x)|t.asinh(x)|t.acosh(p + 1)|t.atanh(x / 9)|t.erf(x)
t.erfc(x)|t.sqrt(p)|t.rsqrt(p)|t.reciprocal(p)|t.sigmoid(x)|x.sign()|x.floor()|x.ceil()|x.round()|x.trunc()
x.frac()|i.floor()|i.round()|t.round(x, decimals=2)|t.square(x)|i.sin()|m.exp()|t.deg2rad(x)|t.rad2deg(x)
t.logit(p / 9)|t.logit(x, 0.1)|t.sinc(x)|t.xlogy(x, p)|t.logaddexp(x, y)|t.heaviside(x, y)|t.lerp(x, y, 0.3)
t.lerp(x, y, p)|t.addcmul(x, y, p, value=2)|t.addcdiv(x, y, p, value=0.5)|x.clamp(-0.5, 0.5)|x.clamp(min=0)
x.clamp(max=0)|x.clamp(y)|x.clip(0, 1)|i.clamp(0, 3)|i.clamp(0.5)|x.clamp_min(0)|t.clamp_max(x, 0.1)
t.where(m, x, y)|t.where(m, x, 0)|t.where(m, 1.0, x)|t.where(m, i, x)|x.where(m, y)|t.where(m, 1, 0)
t.isnan(n)|t.isinf(n)|t.isfinite(n)|t.isposinf(n)|t.isneginf(n)|t.nan_to_num(n)|t.nan_to_num(n, 1.0, 2.0, 3.0)
t.isclose(x, x + 1e-9)|t.isclose(n, n, equal_nan=True)|t.signbit(x)|t.logical_not(x)|t.logical_and(i, m)
t.logical_or(i, m)|t.logical_xor(i, m)|t.bitwise_not(i)|t.bitwise_and(i, j)|t.bitwise_left_shift(i, 2)
i.abs()|t.abs(x)|t.special.expit(x)|t.special.log1p(p)|t.gcd(i, j)|t.lcm(i, j)|t.positive(x)|t.ldexp(x, j)
"""

REDUCTIONS = """
x.sum()|x.sum(0)|x.sum(-1, keepdim=True)|a.sum((0, 2))|i.sum()|m.sum()|x.sum(dtype=t.float64)|m.sum(1)
x.mean()|x.mean(1)|a.mean((0, 1), keepdim=True)|i.mean(dtype=t.float32)|x.prod()|x.prod(1)|i.prod()|x.var()
x.var(0)|x.var(1, unbiased=False)|x.var(1, correction=2)|x.var(unbiased=False)|x.std()|x.std(1, keepdim=True)
t.var_mean(x)|t.std_mean(x, 1)|x.logsumexp(1)|x.logsumexp((0, 1))|x.max()|x.min()|x.max(1)|x.min(0, keepdim=True)
x.max(y)|t.min(x, y)|x.amax(1)|x.amin((0, 1))|r.amax(1)|r.max()|i.max(1)|m.max()|x.argmax()|x.argmin(1)
x.argmax(0, keepdim=True)|r.argmax(1)|t.aminmax(x)|m.all()|m.any(1)|x.all(0)|i.any()|t.count_nonzero(i)
t.count_nonzero(i, 1)|x.norm()|x.norm(dim=1)|x.norm(1)|x.norm(3, 1)|x.norm(math.inf)|x.norm(-math.inf, 1)
x.norm(0)|t.dist(x, y)|t.dist(x, y, 1)|x.cumsum(0)|i.cumsum(1)|x.cumprod(1)|x.cummax(1)|r.cummax(1)|x.cummin(0)
x.logcumsumexp(1)|t.diff(x)|t.diff(x, 2, 0)|t.trapezoid(x)|t.trapezoid(x, dx=0.5)|t.trapz(x)|s.trace()
t.nansum(n)|t.nanmean(n[:2])|t.cumulative_trapezoid(x)|t.renorm(x, 2, 0, 1.0)|n.max()|n.sum()|x[:0].sum(0)
x[:0].prod(0)|x[:, :0].mean(1)|x[:0].all()|x[:0].any()|t.frobenius_norm(x, 1)|x.nanmean(1)|v.max(0)
x.std(dim=(0, 1))|t.sum(x, [0, 1])|x.sum(())|t.nanmedian(n[:2])|x.quantile(0.3)|t.quantile(x, 0.5, 1)
t.quantile(x, t.tensor([0.25, 0.5]), dim=1)|t.nanquantile(x, 0.4, 1)
"""

SHAPES = """
x.reshape(4, 3)|x.reshape(-1)|x.view(2, 6)|x.view(-1, 2)|x.view_as(y)|x.flatten()|a.flatten(1)|a.flatten(0, 1)
x.ravel()|x.unflatten(1, (2, 2))|x.permute(1, 0)|a.permute(2, 0, 1)|x.transpose(0, 1)|x.t()|x.T|a.mT|a.movedim(0, 2)
a.movedim((0, 1), (2, 0))|a.moveaxis(0, 1)|a.swapaxes(0, 2)|x[None].squeeze()|x[None].squeeze(0)|x.unsqueeze(1)
x.unsqueeze(-1)|v.expand(3, 4)|v.expand(3, -1)|v.expand_as(x)|t.broadcast_to(v, (3, 4))|x.narrow(1, 1, 2)
x.select(1, 2)|x.split(2, 1)|x.split([1, 3], 1)|x.chunk(2)|x.chunk(3, 1)|t.tensor_split(x, 3, 1)|x.unbind(1)
t.tensor_split(x, (1, 3), dim=1)|s.diagonal()|a.diagonal(1, 1, 2)|x.diagonal(-1)|v.unfold(0, 2, 1)|x.unfold(1, 2, 2)
t.broadcast_tensors(x, v)|t.hsplit(x, 2)|t.vsplit(x, 3)|t.dsplit(a, 2)|t.unsafe_chunk(x, 2)|a.adjoint()
"""

JOINING = """
t.cat([x, y])|t.cat((x, y), 1)|t.cat([x, i])|t.cat([x, t.zeros(0)])|t.concat([x, y], -1)|t.stack([x, y])
t.stack([x, y], -1)|t.hstack([x, y])|t.hstack([v, v])|t.vstack([v, v])|t.dstack([x, y])|t.column_stack([v, v])
t.atleast_1d(x.sum())|t.atleast_2d(v)|t.atleast_3d(x)|x.repeat(2, 3)|v.repeat(2, 1)|v.tile(2)|x.tile((2, 1, 1))
x.repeat_interleave(2)|x.repeat_interleave(3, 1)|x.repeat_interleave(t.tensor([1, 0, 2]), 0)|x.flip(0)|x.flip(0, 1)
x.fliplr()|x.flipud()|x.roll(1)|x.roll(2, 1)|x.roll((1, -1), (0, 1))|x.rot90()|t.rot90(x, 2)|x.rot90(3)|v.diag()
s.diag()|v.diag(1)|s.diag(-1)|v.diag_embed()|x.diag_embed(1)|v.diagflat()|t.block_diag(x, s)|x.tril()|x.triu(1)
a.tril(-1)|t.meshgrid(v, v[:2], indexing="ij")|t.meshgrid(v, v[:2], indexing="xy")|t.cartesian_prod(v, v[:2])
t.combinations(v)|t.combinations(v, 3)|t.combinations(v, 2, with_replacement=True)
"""

PRODUCTS = """
x @ x.T|x @ v|v @ v|a @ x.T|x @ a.transpose(1, 2)|v @ x.T|t.mm(s, x)|t.mv(x, v)|t.dot(v, v)|t.matmul(a, v)
t.bmm(a, a.mT)|t.outer(v, x[0])|t.ger(v, v)|t.inner(x, y)|t.inner(v, x)|t.vdot(v, v)|t.addmm(s, x, y.T)
t.addmm(s, x, y.T, beta=0.5, alpha=2)|t.addmv(x[:, 0], x, v)|t.addr(x, x[:, 0], v)|t.baddbmm(s, a, a.mT)
t.addbmm(s, a, a.mT)|t.chain_matmul(s, x, y.T)|t.kron(s, x)|t.tensordot(a, x, 2)|t.tensordot(a, x, ([1, 2], [0, 1]))
t.cross(s, s.T)|t.cross(s, s.T, dim=0)|t.einsum("ij,kj->ik", x, y)|t.einsum("ij->ji", x)|t.einsum("ii", s)
t.einsum("ii->i", s)|t.einsum("ij,ij->", x, y)|t.einsum("bij,bkj->bik", a, a)|t.einsum("...ij,jk", a, x.T)
t.einsum("i,j->ij", v, v)|t.einsum("ij,kj,kl->il", x, x, s)|t.einsum("bij->b", a)|t.einsum("b...->...", a)
t.linalg.norm(x)|t.linalg.vector_norm(x, 3, 1)|t.linalg.multi_dot([s, x, y.T])|t.linalg.cross(s, s.T)|t.linalg.vecdot(x, y)
t.linalg.matrix_norm(s)|t.matrix_power(s, 3)|s.matrix_power(0)|t.linalg.diagonal(s)|t.cdist(x, y)
"""

SORTING = """
x.sort()|x.sort(0)|x.sort(1, True)|x.sort(descending=True)|r.sort(stable=True)|r.sort(dim=1, descending=True, stable=True)
x.argsort(1)|t.msort(x)|x.topk(2)|x.topk(2, 0)|x.topk(3, largest=False)|x.kthvalue(2)|x.kthvalue(1, 0, True)
x.median()|x.median(1)|x.median(0, keepdim=True)|n.median()|i.median(1)|x.mode(1)|r.mode(1)|t.unique(r)|r.unique()
t.unique(r, return_inverse=True, return_counts=True)|t.unique(r, dim=0)|t.unique_consecutive(r.reshape(-1))
t.bincount(j.reshape(-1))|t.bincount(j.reshape(-1), d.reshape(-1))|t.bincount(j[0], minlength=9)|t.histc(x, 5, -1, 1)
t.histc(x, 4)|t.searchsorted(v.sort().values, x)|t.searchsorted(v.sort().values, x, right=True)|t.bucketize(x, t.tensor([-0.5, 0.5]))
t.searchsorted(x.sort(1).values, y)|t.isin(i, t.tensor([1, 2]))|t.isin(i, j, invert=True)|i.nonzero()|t.nonzero(m)
t.nonzero(m, as_tuple=True)|t.where(m)|t.argwhere(i)|t.tensor(3).nonzero()|t.count_nonzero(m)|n.sort()|t.sort(m.int())
t.unravel_index(t.tensor([5, 11]), (3, 4))|t.scalar_tensor(2.5).sort()|t.take(x, i.abs())|x.nonzero().shape
"""

CREATION = """
t.zeros(2, 3)|t.zeros((2, 3))|t.zeros(0)|t.ones(2, dtype=t.int64)|t.full((2, 2), 7)|t.full((2,), 1.5)|t.full((), True)
t.zeros_like(x)|t.ones_like(i)|t.full_like(x, 3)|t.zeros_like(x, dtype=t.int32)|x.new_zeros(2)|i.new_ones((2, 2))
x.new_full((2,), 3)|x.new_tensor([1, 2])|t.arange(5)|t.arange(2, 8)|t.arange(2, 8, 2)|t.arange(1, 2, 0.25)|t.arange(5.0)
t.arange(5, 0, -2)|t.arange(3, dtype=t.float32)|t.arange(start=1, end=4)|t.range(0, 3)|t.linspace(0, 1, 5)
t.linspace(-1, 1, 8)|t.linspace(3, 10, 4, dtype=t.float64)|t.linspace(2, 2, 1)|t.logspace(0, 2, 3)|t.logspace(0, 3, 4, 2.0)
t.eye(3)|t.eye(2, 3)|t.eye(2, dtype=t.int64)|t.tensor([1, 2])|t.tensor([1.0, 2])|t.tensor(3)|t.tensor(2.5)|t.tensor(True)
t.tensor([[1, 2], [3, 4]], dtype=t.float64)|t.tensor([True, False])|t.tensor([])|t.tensor([[]])|t.tensor([1, 2.5, True])
t.as_tensor([1, 2])|t.tril_indices(3, 3)|t.triu_indices(3, 4, 1)|t.tril_indices(3, 3, -1)|t.hann_window(8)|t.scalar_tensor(3)
t.hamming_window(6)|t.blackman_window(6, periodic=False)|t.bartlett_window(6)|t.vander(v)|t.vander(v, 3, increasing=True)
t.empty(2, 0).shape|t.from_numpy(np.arange(3))|t.asarray([1.0])|t.kaiser_window(5)
"""

CONVERSION = """
x.double()|x.to(t.float64)|x.int()|x.long()|x.bool()|i.float()|i.to(t.uint8)|m.long()|x.half().float()|x.type_as(d)
x.to(x.device)|x.to(x.device, t.float64)|x.clone()|x.detach()|x.contiguous()|x.T.contiguous()|x.numel()|x.dim()|x.stride()
x.T.stride()|x.is_contiguous()|x.T.is_contiguous()|x.size(1)|x.size()|x.element_size()|x.is_floating_point()|x.tolist()
x.sum().item()|x.type()|len(x)|x.shape[0]|t.is_tensor(x)|t.numel(x)|t.result_type(i, 1.5)|t.can_cast(t.int64, t.float32)
t.promote_types(t.int32, t.float32)|t.finfo(t.float32).eps|t.iinfo(t.int64).max|2.0 in r|t.equal(x, x)|t.allclose(x, x + 1e-9)
x.requires_grad|x.is_leaf|(x * 2).is_leaf|x.nbytes|x.itemsize|x.dtype.is_floating_point|x.real|t.isreal(x)|list(v.shape)
t.is_nonzero(t.tensor(1))|i.view(t.float64)|hash(x) == hash(x)|float(v.sum())|int(i[0, 0])|bool(m[0, 0])
"""

GROUPS = {
    name.lower(): [e.strip().replace("\\", "|") for e in _split]
    for name, _split in (
        (name, text.replace("\\|", "\\").replace("\n", "|").strip("|").split("|"))
        for name, text in {
            "OPERATORS": OPERATORS,
            "REDUCTIONS": REDUCTIONS,
            "SHAPES": SHAPES,
            "JOINING": JOINING,
            "PRODUCTS": PRODUCTS,
            "SORTING": SORTING,
            "CREATION": CREATION,
            "CONVERSION": CONVERSION,
        }.items()
    )
}
EXPRESSIONS = sorted({e for group in GROUPS.values() for e in group if e})


def evaluated(t, expression):
    """The results of an expression as a list, and the gradients of what requires them."""
    names = {k: t.tensor(v, requires_grad=v.dtype == np.float32) for k, v in ARRAYS.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = eval(expression, {"t": t, "np": np, "math": math, **names})
        results = list(result) if isinstance(result, (tuple, list)) else [result]
        total = 0
        for y in results:
            if isinstance(y, t.Tensor) and y.requires_grad and y.grad_fn is not None:
                weight = t.arange(1, y.numel() + 1, dtype=y.dtype, device=y.device)
                total = total + (y * weight.reshape(y.shape)).sum()
        try:
            if isinstance(total, t.Tensor):
                total.backward()
        except RuntimeError:
            # PyTorch lacks some gradients that are here (of floor division, say).
            return results, {}
    return results, {k: x.grad for k, x in names.items()}


def array(x):
    return x.detach().numpy() if hasattr(x, "detach") else np.asarray(x)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_is_as_in_pytorch(expression):
    torch = pytest.importorskip("torch")
    ours, our_grads = evaluated(gg, expression)
    theirs, their_grads = evaluated(torch, expression)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        if isinstance(b, torch.Tensor):
            assert repr(a.dtype) == repr(b.dtype)
            assert tuple(a.shape) == tuple(b.shape)
            np.testing.assert_allclose(array(a), array(b), rtol=2e-5, atol=2e-6)
        else:
            assert str(a).replace(".cuda.", ".") == str(b) or a == pytest.approx(b, rel=1e-5)
    for name, b in their_grads.items():
        a = our_grads[name]
        if a is None or b is None:
            assert all(g is None or not array(g).any() for g in (a, b)), name
        else:
            np.testing.assert_allclose(array(a), array(b), rtol=2e-4, atol=2e-5, err_msg=name)
