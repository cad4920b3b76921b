"""Every layer, loss, initialiser, container, hook and optimizer that the tutorials name.

Each is built and called as they write it, in PyTorch and here, with the same parameters: the same
numbers, gradients and texts, as written and compiled.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict

import numpy as np
import pytest

import graphgrad

from .programs import array, copy_parameters, parameters

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]
rng = np.random.default_rng(0)


def spread(*shape):
    """Numbers no two of which are equal or near: no window has two maxima."""
    n = int(np.prod(shape))
    return (rng.permutation(n).astype(np.float32).reshape(shape) - n / 2) / n


IMAGE = spread(2, 3, 8, 8)
ROW, SOLID = spread(2, 3, 9), spread(1, 3, 5, 5, 5)
PROBABLE = 1 / (1 + np.exp(-array(rng, 3, 5)))
LABELS = np.array([1, 0, 4])

# name: (how it is built, what it is called with)
LAYERS = {
    "Conv1d": (lambda nn: nn.Conv1d(3, 4, 3), [ROW]),
    "Conv2d": (lambda nn: nn.Conv2d(3, 6, 5), [IMAGE]),
    "Conv2d, all arguments": (
        lambda nn: nn.Conv2d(
            in_channels=3,
            out_channels=6,
            kernel_size=3,
            stride=2,
            padding=2,
            dilation=2,
            groups=3,
            bias=False,
            padding_mode="circular",
        ),
        [IMAGE],
    ),
    "Conv3d": (lambda nn: nn.Conv3d(3, 2, 3), [SOLID]),
    "ConvTranspose1d": (lambda nn: nn.ConvTranspose1d(3, 2, 3, stride=2), [ROW]),
    "ConvTranspose2d": (lambda nn: nn.ConvTranspose2d(3, 2, 3, stride=2), [IMAGE]),
    "ConvTranspose3d": (lambda nn: nn.ConvTranspose3d(3, 2, 2), [SOLID]),
    "Unfold": (lambda nn: nn.Unfold(3, padding=1), [IMAGE]),
    "Fold": (lambda nn: nn.Fold((4, 5), 2), [array(rng, 2, 12, 12)]),
    "MaxPool2d": (lambda nn: nn.MaxPool2d(kernel_size=2), [IMAGE]),
    "MaxPool2d, indices": (
        lambda nn: nn.MaxPool2d(3, stride=2, return_indices=True, ceil_mode=True),
        [IMAGE],
    ),
    "AvgPool2d": (
        lambda nn: nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
        [IMAGE],
    ),
    "AvgPool2d, divisor": (lambda nn: nn.AvgPool2d(2, divisor_override=3), [IMAGE]),
    "LPPool2d": (lambda nn: nn.LPPool2d(2, 3, stride=2), [IMAGE]),
    "AdaptiveAvgPool2d": (lambda nn: nn.AdaptiveAvgPool2d((5, 7)), [IMAGE]),
    "MaxUnpool2d": (
        lambda nn: nn.MaxUnpool2d(2, stride=2),
        [spread(1, 1, 2, 2), np.array([[[[5, 2], [8, 15]]]])],
    ),
    "ReflectionPad2d": (lambda nn: nn.ReflectionPad2d(2), [IMAGE]),
    "ReplicationPad2d": (lambda nn: nn.ReplicationPad2d((1, 2, 0, 3)), [IMAGE]),
    "ZeroPad2d": (lambda nn: nn.ZeroPad2d(1), [IMAGE]),
    "ConstantPad2d": (lambda nn: nn.ConstantPad2d(2, 3.5), [IMAGE]),
    "Linear": (lambda nn: nn.Linear(784, 10), [array(rng, 4, 784)]),
    "Linear without bias": (lambda nn: nn.Linear(5, 3, bias=False), [array(rng, 4, 5)]),
    "RNN": (lambda nn: nn.RNN(3, 4, 2, "relu", True, True, 0, True), [array(rng, 2, 5, 3)]),
    "GRU": (lambda nn: nn.GRU(3, 4, num_layers=1), [array(rng, 5, 2, 3)]),
    "LSTM": (
        lambda nn: nn.LSTM(
            input_size=3, hidden_size=4, num_layers=2, bias=True, batch_first=False, dropout=0.5
        ).eval(),
        [array(rng, 5, 2, 3)],
    ),
    "Sigmoid": (lambda nn: nn.Sigmoid(), [IMAGE]),
    "ReLU": (lambda nn: nn.ReLU(inplace=False), [IMAGE]),
    "Tanh": (lambda nn: nn.Tanh(), [IMAGE]),
    "Softplus": (lambda nn: nn.Softplus(), [IMAGE]),
    "Softmax": (lambda nn: nn.Softmax(dim=1), [array(rng, 1, 4)]),
    "Dropout": (lambda nn: nn.Dropout(0.5, inplace=False).eval(), [IMAGE]),
    "BatchNorm2d": (
        lambda nn: nn.BatchNorm2d(
            3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True
        ),
        [IMAGE],
    ),
    "LayerNorm": (lambda nn: nn.LayerNorm((8, 8), 1e-5, elementwise_affine=True), [IMAGE]),
    "InstanceNorm2d": (
        lambda nn: nn.InstanceNorm2d(
            3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True
        ),
        [IMAGE],
    ),
    "GroupNorm": (lambda nn: nn.GroupNorm(3, 6, eps=1e-05, affine=True), [array(rng, 2, 6, 4)]),
    "MSELoss": (lambda nn: nn.MSELoss(), [IMAGE, IMAGE * 0.3]),
    "MSELoss, sum": (lambda nn: nn.MSELoss(reduction="sum"), [IMAGE, IMAGE * 0.3]),
    "CrossEntropyLoss": (lambda nn: nn.CrossEntropyLoss(), [array(rng, 3, 5), LABELS]),
    "CrossEntropyLoss, none": (
        lambda nn: nn.CrossEntropyLoss(ignore_index=0, reduction="none"),
        [array(rng, 3, 5), LABELS],
    ),
    "NLLLoss": (
        lambda nn: nn.NLLLoss(weight=None, size_average=False, ignore_index=-100, reduce=True),
        [np.log(PROBABLE), LABELS],
    ),
    "BCELoss": (
        lambda nn: nn.BCELoss(reduction="elementwise_mean"),
        [PROBABLE, rng.random((3, 5)).astype(np.float32)],
    ),
    "BCELoss, old flags": (
        lambda nn: nn.BCELoss(size_average=True, reduce=False),
        [PROBABLE, rng.random((3, 5)).astype(np.float32)],
    ),
    "TripletMarginLoss": (
        lambda nn: nn.TripletMarginLoss(
            margin=1.0, p=2, eps=1e-06, swap=True, reduction="elementwise_mean"
        ),
        [array(rng, 4, 6), array(rng, 4, 6), array(rng, 4, 6)],
    ),
}


def called(t, module, arrays):
    """Results, and gradients of inputs and parameters."""
    inputs = [t.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    out = module(*inputs)
    flat = []
    for y in out if isinstance(out, tuple) else (out,):
        flat += y if isinstance(y, tuple) else (y,)
    real = [y for y in flat if y.dtype.is_floating_point]
    sum(
        (y * t.tensor(np.cos(np.arange(y.numel(), dtype=np.float32))).view(y.shape)).sum()
        for y in real
    ).backward()
    grads = [x.grad for x in (*inputs, *module.parameters()) if x.grad is not None]
    return [y.detach().numpy() for y in flat], [g.numpy() for g in grads]


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    torch = pytest.importorskip("torch")
    build, arrays = LAYERS[name]
    theirs = copy_parameters(torch, build(torch.nn), seed=1)
    expected = called(torch, theirs, arrays)
    for wrap in (lambda m: m, graphgrad.compile):
        ours = copy_parameters(graphgrad, build(graphgrad.nn), seed=1)
        assert repr(ours) == repr(theirs)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        call = wrap(ours)
        call.parameters = ours.parameters
        for mine, other in zip(called(graphgrad, call, arrays), expected, strict=True):
            for x, y in zip(mine, other, strict=True):
                assert (x.shape, x.dtype) == (y.shape, y.dtype)
                np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", sorted({n.partition(",")[0].split()[0] for n in LAYERS}))
def test_arguments_are_called_as_in_pytorch(name):
    torch = pytest.importorskip("torch")
    mine, other = (
        {
            p.name: p.default
            for p in inspect.signature(getattr(t.nn, name)).parameters.values()
            if p.name not in ("device", "dtype") and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        }
        for t in (graphgrad, torch)
    )
    recurrent = name in ("RNN", "LSTM", "GRU")
    assert recurrent or list(mine) == list(other)
    assert recurrent or all(mine[k] == v or v != v for k, v in other.items()), (mine, other)


LAZY = [f"Lazy{kind}{n}d" for kind in ("Conv", "ConvTranspose") for n in (1, 2, 3)]


@pytest.mark.parametrize("name", LAZY)
def test_lazy_convolutions(name):
    torch = pytest.importorskip("torch")
    x = {"1": ROW, "2": IMAGE, "3": SOLID}[name[-2]]
    ours, theirs = (getattr(t.nn, name)(4, 2) for t in (graphgrad, torch))
    ours(graphgrad.tensor(x)), theirs(torch.tensor(x))
    for t, module in ((graphgrad, ours), (torch, theirs)):
        copy_parameters(t, module, seed=2)
    np.testing.assert_allclose(
        ours(graphgrad.tensor(x)).detach().numpy(),
        theirs(torch.tensor(x)).detach().numpy(),
        rtol=1e-4,
        atol=1e-5,
    )
    assert type(ours) is getattr(graphgrad.nn, name.removeprefix("Lazy"))


# ------------------------------------------------------------------------------------ initialisers


FIXED = {
    "constant_": lambda init, w: init.constant_(w, 0.3),
    "ones_": lambda init, w: init.ones_(w),
    "zeros_": lambda init, w: init.zeros_(w),
    "eye_": lambda init, w: init.eye_(w[:, :, 0, 0]),
    "dirac_": lambda init, w: init.dirac_(w),
}
# What is drawn: the largest magnitude of a uniform law, or the deviation of a normal one.
DRAWN = {
    "uniform_": lambda init, w: init.uniform_(w, -0.5, 0.5),
    "normal_": lambda init, w: init.normal_(w, 0.0, 0.5),
    "trunc_normal_": lambda init, w: init.trunc_normal_(w, 0.0, 0.7, -1.0, 1.0),
    "xavier_uniform_": lambda init, w: init.xavier_uniform_(w, init.calculate_gain("relu")),
    "xavier_normal_": lambda init, w: init.xavier_normal_(w),
    "kaiming_uniform_": lambda init, w: init.kaiming_uniform_(w, a=5**0.5),
    "kaiming_normal_": lambda init, w: init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"),
    "sparse_": lambda init, w: init.sparse_(w.view(80, -1), 0.4),
}


@pytest.mark.parametrize("name", FIXED)
def test_fixed_initialisers(name):
    torch = pytest.importorskip("torch")
    found = [FIXED[name](t.nn.init, t.full((6, 3, 3, 3), 7.0)).numpy() for t in (graphgrad, torch)]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_initialisers(name):
    torch = pytest.importorskip("torch")
    for t in (graphgrad, torch):
        t.manual_seed(0)
    mine, other = (
        DRAWN[name](t.nn.init, t.empty(80, 40, 3, 3)).numpy() for t in (graphgrad, torch)
    )
    quantiles = np.linspace(0.02, 0.98, 25)
    np.testing.assert_allclose(
        np.quantile(mine, quantiles), np.quantile(other, quantiles), atol=0.06 * other.std()
    )
    assert abs(np.abs(mine).max() / np.abs(other).max() - 1) < 0.25


def test_orthogonal_initialiser():
    w = graphgrad.nn.init.orthogonal_(graphgrad.empty(4, 9), gain=2.0).numpy()
    np.testing.assert_allclose(w @ w.T, 4 * np.eye(4), atol=1e-5)


# ------------------------------------------------------------------------------------ containers


def containers(t):
    nn = t.nn
    chain = nn.Sequential(
        OrderedDict({"conv1": nn.Conv2d(3, 4, 3), "relu1": nn.ReLU(inplace=True)})
    )
    listed = nn.ModuleList([nn.Linear(4, 4) for _ in range(2)])
    named = nn.ModuleDict({"choice": nn.Conv2d(4, 4, 1), "other": nn.MaxPool2d(3)})
    held = nn.ParameterList([nn.Parameter(t.ones(2)), nn.Parameter(t.zeros(3))])
    keyed = nn.ParameterDict({"a": nn.Parameter(t.ones(1))})

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.rows, self.kinds = chain, listed, named
            self.held, self.keyed = held, keyed
            self.register_parameter("bias", None)

        def forward(self, x):
            x = self.kinds["choice"](self.features(x)).mean((2, 3))
            for layer in self.rows:
                x = layer(x)
            return x * self.held[0].sum() + self.keyed["a"]

    return Net()


def test_containers():
    torch = pytest.importorskip("torch")
    ours, theirs = (copy_parameters(t, containers(t), seed=3) for t in (graphgrad, torch))
    assert repr(ours.features) == repr(theirs.features)
    assert repr(ours.rows) == repr(theirs.rows)
    assert repr(ours.kinds) == repr(theirs.kinds)
    for listing in ("named_parameters", "named_children", "named_modules"):
        mine, other = ([n for n, _ in getattr(m, listing)()] for m in (ours, theirs))
        assert mine == other
    expected = called(torch, theirs, [IMAGE])
    for mine, other in zip(called(graphgrad, ours, [IMAGE]), expected, strict=True):
        for x, y in zip(mine, other, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
    with pytest.raises(RuntimeError, match="Missing key"):
        ours.load_state_dict({})
    found = ours.load_state_dict({"nothing": graphgrad.ones(1)}, strict=False)
    assert found.unexpected_keys == ["nothing"] and "rows.0.weight" in found.missing_keys


def hooked(t, compiled):
    """What hooks saw, in order, and the gradients under a hook that changes them."""
    seen = []
    nn = t.nn
    net = copy_parameters(t, nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), seed=4)
    for name, child in net.named_children():
        child.register_forward_pre_hook(lambda m, x, n=name: seen.append(("before", n)))
        child.register_forward_hook(lambda m, x, y, n=name: seen.append(("after", n)))
        child.register_full_backward_hook(lambda m, gi, go, n=name: seen.append(("back", n)))
    net[1].register_forward_hook(lambda m, x, y: y * 2)
    handle = net[2].register_full_backward_hook(lambda m, gi, go: (gi[0] * 3,))
    call = graphgrad.compile(net) if compiled else net
    x = t.tensor(np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3), requires_grad=True)
    y = call(x)
    y.register_hook(lambda g: g * 0.5)
    y.sum().backward()
    first = {**parameters(net), "x": x.grad.numpy().copy(), "y": y.detach().numpy()}
    handle.remove()
    x.grad = None
    call(x).sum().backward()
    return seen, {**first, "again": x.grad.numpy()}


@pytest.mark.parametrize("compiled", [False, True])
def test_hooks(compiled):
    torch = pytest.importorskip("torch")
    seen, values = hooked(graphgrad, compiled)
    expected_seen, expected = hooked(torch, False)
    assert seen == expected_seen
    for key, value in expected.items():
        np.testing.assert_allclose(values[key], value, rtol=1e-5, atol=1e-6, err_msg=key)


# ------------------------------------------------------------------------------------ optimizers


OPTIMIZERS = {
    "SGD": {"lr": 0.05, "momentum": 0.9, "dampening": 0, "weight_decay": 0.01, "nesterov": True},
    "Adagrad": {"lr": 0.05},
    "RMSprop": {"lr": 0.01, "momentum": 0.5},
    "Adadelta": {},
    "Adam": {"lr": 1e-2},
    "Adamax": {"lr": 1e-2},
    "ASGD": {"lr": 1e-2},
    "Rprop": {"lr": 1e-2},
    "LBFGS": {"lr": 0.5, "max_iter": 4},
}


def train(t, name, steps=5):
    nn = t.nn
    net = copy_parameters(t, nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), seed=6)
    groups = [{"params": net[0].parameters(), "lr": 0.02}, {"params": net[2].parameters()}]
    which = net.parameters() if name == "LBFGS" else groups
    optimizer = getattr(t.optim, name)(which, **OPTIMIZERS[name])
    data = np.random.default_rng(0)
    x, y = t.tensor(array(data, 8, 3)), t.tensor(array(data, 8, 1))
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        return loss

    for _ in range(steps):
        losses.append(float(optimizer.step(closure).detach()))
    return {"losses": losses, **parameters(net)}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    torch = pytest.importorskip("torch")
    if not hasattr(graphgrad.optim, name):
        pytest.skip(f"optim.{name} is not there yet")
    ours, theirs = train(graphgrad, name), train(torch, name)
    for key, value in theirs.items():
        np.testing.assert_allclose(ours[key], value, rtol=2e-3, atol=2e-4, err_msg=key)
