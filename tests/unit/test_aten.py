"""Native names: graphgrad.native_layer_norm and its like, and ``graphgrad.aten``, as in PyTorch."""

import numpy as np
import pytest

import graphgrad as gg

pytestmark = pytest.mark.torch
rng = np.random.default_rng(0)
X, G = rng.normal(size=(2, 2, 4, 6, 5))
W, B = rng.normal(size=(2, 4))
MASKED = np.where(X > 0.5, -np.inf, X)
MASKED[0, 0, 0] = -np.inf

CALLS = {
    "native_layer_norm": lambda t, x: t.native_layer_norm(x, (5,), None, None, 1e-3),
    "native_group_norm": lambda t, x: t.native_group_norm(x, None, None, 2, 4, 30, 2, 1e-3),
    "native_batch_norm": lambda t, x: t.native_batch_norm(
        x, t.tensor(W), t.tensor(B), None, None, True, 0.1, 1e-5
    ),
    "legit": lambda t, x: t._native_batch_norm_legit(x, None, None, True, 0.1, 1e-5),
    "constant_pad_nd": lambda t, x: t.constant_pad_nd(x, (1, -1, 0, 2), 3.0),
    "with_update": lambda t, x: aten(t)._batch_norm_with_update(
        x, t.tensor(W), t.tensor(B), t.tensor(W), t.tensor(B * B), 0.1, 1e-5
    ),
    "safe_softmax": lambda t, x: aten(t)._safe_softmax.default(t.where(x > 0.5, -np.inf, x), 3),
    "softmax_backward": lambda t, x: aten(t)._softmax_backward_data(
        x, t.tensor(G).softmax(1), 1, t.float64
    ),
    "dropout_backward": lambda t, x: aten(t).native_dropout_backward(x, t.tensor(G > 0), 2.0),
    "bilinear_aa": lambda t, x: aten(t)._upsample_bilinear2d_aa(x, (3, 4), False, None),
    "bilinear_aa_factors": lambda t, x: aten(t)._upsample_bilinear2d_aa(x, None, False, (0.5, 2.0)),
    "pool_backward": lambda t, x: aten(t).max_pool2d_with_indices_backward.default(
        t.tensor(G[:, :, :3, :2]),
        x,
        2,
        2,
        0,
        1,
        False,
        t.nn.functional.max_pool2d_with_indices(x, 2)[1],
    ),
}


def aten(t):
    return t.aten if t is gg else t.ops.aten


@pytest.mark.parametrize("name", CALLS)
def test_agrees_with_torch(name):
    torch = pytest.importorskip("torch")
    found = []
    for t in (gg, torch):
        x = t.tensor(X, requires_grad=True)
        out = CALLS[name](t, x)
        first = out[0] if isinstance(out, tuple) else out
        rest = out[1:] if isinstance(out, tuple) else ()
        (first * t.tensor(np.cos(np.arange(first.numel())).reshape(first.shape))).sum().backward()
        found.append([x.grad.numpy(), *(y.detach().numpy() for y in (first, *rest))])
    for mine, other in zip(*found, strict=True):
        assert (mine.shape, mine.dtype) == (other.shape, other.dtype)
        np.testing.assert_allclose(mine, other, rtol=1e-8, atol=1e-10)


def test_lines_without_a_finite_element_are_zero():
    x = gg.tensor(MASKED, requires_grad=True)
    y = gg.aten._safe_softmax(x, 3)
    y.sum().backward()
    assert not y[0, 0, 0].detach().any()
    assert np.isfinite(x.grad.numpy()).all()


def test_shared_names_are_the_same_functions():
    x = gg.tensor(X)
    assert gg.aten.relu.default(x).equal(x.relu())
    with pytest.raises(AttributeError, match="no operator 'rellu'"):
        _ = gg.aten.rellu
