"""Layers in training mode: equal to PyTorch, or equal in distribution where they draw."""

import math

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import nn

pytestmark = pytest.mark.devices

rng = np.random.default_rng(0)


def norms(t):
    return {
        "batch 1d": (t.nn.BatchNorm1d(3), (6, 3)),
        "batch 1d over time": (t.nn.BatchNorm1d(3, momentum=0.3), (4, 3, 5)),
        "batch 2d": (t.nn.BatchNorm2d(3, eps=1e-2), (4, 3, 2, 5)),
        "batch 3d": (t.nn.BatchNorm3d(3, affine=False), (2, 3, 2, 2, 3)),
        "average of all batches": (t.nn.BatchNorm2d(3, momentum=None), (4, 3, 2, 5)),
        "no statistics": (t.nn.BatchNorm2d(3, track_running_stats=False), (4, 3, 2, 5)),
        "instance 1d": (t.nn.InstanceNorm1d(3, track_running_stats=True), (4, 3, 5)),
        "instance 2d": (
            t.nn.InstanceNorm2d(3, momentum=0.4, affine=True, track_running_stats=True),
            (4, 3, 2, 5),
        ),
        "instance 3d alone": (t.nn.InstanceNorm3d(3, track_running_stats=True), (3, 2, 2, 3)),
        "instance 2d, no statistics": (t.nn.InstanceNorm2d(3), (4, 3, 2, 5)),
    }


@pytest.mark.torch
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", norms(gg))
def test_normalisation_in_training_and_after(name, compiled):
    torch = pytest.importorskip("torch")
    (ours, shape), (theirs, _) = norms(gg)[name], norms(torch)[name]
    ours, theirs = ours.double(), theirs.double()
    with torch.no_grad(), gg.no_grad():
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            value = rng.normal(size=tuple(other.shape))
            mine.copy_(gg.tensor(value))
            other.copy_(torch.tensor(value))
    call = gg.compile(ours) if compiled else ours
    for step in range(4):
        if step == 3:
            ours.eval(), theirs.eval()
        x = rng.normal(size=shape) * 3 + 1
        weight = rng.normal(size=shape)
        mine, other = gg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y, z = call(mine), theirs(other)
        (y * gg.tensor(weight)).sum().backward()
        (z * torch.tensor(weight)).sum().backward()
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-7, atol=1e-9)
        state = ours.state_dict()
        for key, value in theirs.state_dict().items():
            np.testing.assert_allclose(state[key].numpy(), value.numpy(), rtol=1e-9, err_msg=key)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-7, atol=1e-9)


# ------------------------------------------------------------------------------------ dropout


def assert_rate(dropped, p):
    """The share of ``dropped`` is p, up to five standard deviations."""
    n = dropped.size
    assert abs(dropped.mean() - p) <= 5 * math.sqrt(p * (1 - p) / n), (dropped.mean(), p)


LAYERS = {
    "Dropout": ((40, 50, 3), None),
    "Dropout1d": ((40, 50, 3), 2),
    "Dropout2d": ((40, 50, 3, 2), 2),
    "Dropout3d": ((40, 50, 3, 2, 2), 2),
    "AlphaDropout": ((40, 50, 3), None),
    "FeatureAlphaDropout": ((40, 50, 3), 2),
}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("p", [0.2, 0.7])
@pytest.mark.parametrize("name", LAYERS)
def test_dropout_draws_what_it_should(name, p, compiled):
    gg.manual_seed(5)
    shape, lead = LAYERS[name]
    layer = getattr(nn, name)(p)
    call = gg.compile(layer) if compiled else layer
    x = gg.ones(shape, requires_grad=True)
    y = call(x)
    y.sum().backward()
    out, kept = y.detach().numpy(), x.grad.numpy() != 0
    # One draw a channel, or an element; independent of the position.
    draws = kept.reshape(*shape[:2], -1)
    if lead is not None:
        assert (draws == draws[:, :, :1]).all()
        draws = draws[:, :, 0]
    assert_rate(~draws, p)
    assert_rate(~draws[:, ::2], p)
    assert_rate(~(draws[1:] | draws[:-1]), p * p)
    if "Alpha" not in name:
        np.testing.assert_allclose(out, kept / (1 - p), rtol=1e-6)
    else:
        assert len(np.unique(out.round(5))) == 2
    again = call(x).detach().numpy()
    assert (again != out).any()
    layer.eval()
    assert layer(x) is x
    assert call(x).detach().equal(x.detach())


def test_alpha_dropout_keeps_mean_and_variance():
    gg.manual_seed(1)
    x = gg.randn(400, 300)
    y = nn.AlphaDropout(0.3)(x)
    assert abs(y.mean().item()) < 0.02
    assert abs(y.var().item() - 1) < 0.03


def test_dropout_of_everything_and_of_nothing():
    x = gg.ones(3, 4)
    assert nn.Dropout(1.0)(x).tolist() == [[0.0] * 4] * 3
    assert nn.Dropout(0.0)(x).equal(x)
    y = gg.ones(30, 40)
    assert nn.Dropout(0.5, inplace=True)(y) is y
    assert set(np.unique(y.numpy())) == {0.0, 2.0}


# ------------------------------------------------------------------------------------ recurrence


def transparent(name, p):
    """Two layers of which the second shows its input: relu of it, or a gate's function of it."""
    layer = getattr(nn, name)(3, 4, num_layers=2, dropout=p)
    gates = layer.weight_ih_l1.shape[0] // 4
    with gg.no_grad():
        for suffix in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(layer, f"{suffix}_l1").zero_()
        # The new (or cell) gate alone reads the input.
        row = {1: 0, 3: 2, 4: 2}[gates]
        layer.weight_ih_l1[row * 4 : row * 4 + 4].copy_(gg.eye(4))
    return layer


# What the second layer makes of its input, its other gates at 1/2 and its state at 0.
FIRST = {
    "RNN": np.tanh,
    "GRU": lambda x: np.tanh(x) / 2,
    "LSTM": lambda x: np.tanh(np.tanh(x) / 2) / 2,
}


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("compiled", [False, True])
def test_recurrent_dropout_is_between_layers(name, compiled):
    gg.manual_seed(3)
    p = 0.4
    layer = transparent(name, p)
    call = gg.compile(layer) if compiled else layer
    x = gg.randn(1, 500, 3)
    out = call(x)[0].detach().numpy()[0]
    single = getattr(nn, name)(3, 4)
    single.load_state_dict({k: v for k, v in layer.state_dict().items() if "_l0" in k})
    hidden = single(x)[0].detach().numpy()[0]
    dropped = out == 0
    assert_rate(dropped, p)
    np.testing.assert_allclose(
        out, np.where(dropped, 0, FIRST[name](hidden / (1 - p))), rtol=1e-4, atol=1e-6
    )
    assert (call(x)[0].detach().numpy()[0] != out).any()
    layer.eval()
    np.testing.assert_allclose(
        layer(x)[0].detach().numpy()[0], FIRST[name](hidden), rtol=1e-4, atol=1e-6
    )


def test_recurrent_dropout_draws_every_step_anew():
    gg.manual_seed(3)
    layer = transparent("RNN", 0.5)
    x = gg.randn(6, 400, 3)
    dropped = layer(x)[0].detach().numpy() == 0
    assert_rate(dropped, 0.5)
    assert_rate(dropped[1:] & dropped[:-1], 0.25)


def test_attention_weights_are_dropped_in_training():
    gg.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True)
    x = gg.randn(4, 16, 8)
    weights = attention(x, x, x, average_attn_weights=False)[1].detach().numpy()
    assert_rate(weights == 0, 0.5)
    attention.eval()
    assert (attention(x, x, x)[1].detach().numpy() > 0).all()
