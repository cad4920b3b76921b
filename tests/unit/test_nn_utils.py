"""nn.utils, lazy layers and what else surrounds layers, against PyTorch."""

import copy
import importlib
import types

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import nn
from graphgrad.nn.utils import parametrizations, parametrize, prune, rnn

pytestmark = [
    pytest.mark.devices,
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore"),
]
rng = np.random.default_rng(0)


def assert_same(mine, other, rtol=1e-8, atol=1e-10):
    mine, other = (x.detach().numpy() for x in (mine, other))
    assert (mine.shape, mine.dtype) == (other.shape, other.dtype)
    np.testing.assert_allclose(mine, other, rtol=rtol, atol=atol)


def load(ours, theirs):
    """PyTorch's state, by name; strict, so the names must be the same."""
    ours.load_state_dict({k: gg.tensor(v.numpy()) for k, v in theirs.state_dict().items()})


def pairs(build):
    """The same module of both libraries, in float64, with PyTorch's numbers."""
    torch = pytest.importorskip("torch")
    theirs, ours = build(torch).double(), build(gg).double()
    load(ours, theirs)
    return (gg, ours), (torch, theirs)


def compare_calls(build, *arrays, call=lambda t, m, *x: m(*x)):
    """Outputs, input gradients and parameter gradients."""
    found = []
    for t, module in pairs(build):
        x = [t.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
        out = call(t, module, *x)
        out = out if isinstance(out, tuple) else (out,)
        sum((y * y).sum() for y in out if y.dtype.is_floating_point).backward()
        grads = [z.grad for z in x if z.requires_grad]
        found.append([*out, *grads, *(p.grad for p in module.parameters())])
    for mine, other in zip(*found, strict=True):
        assert_same(mine, other)


# ------------------------------------------------------------------------------------ sequences


LAYERS = {
    "RNN": {"bidirectional": True},
    "GRU": {"num_layers": 2},
    "LSTM": {"bidirectional": True, "num_layers": 2, "proj_size": 2},
}


def packed_call(batch_first, sort):
    def call(t, module, x):
        lengths = [5, 4, 2, 1] if sort else [2, 5, 1, 4]
        packed = t.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first, sort)
        out, state = module(packed)
        y, sizes = t.nn.utils.rnn.pad_packed_sequence(out, batch_first, -1.0, 6)
        return y, sizes, *(state if isinstance(state, tuple) else (state,))

    return call


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("sort", [False, True])
def test_packed_sequences(name, sort):
    def build(t):
        return getattr(t.nn, name)(3, 4, batch_first=sort, **LAYERS[name])

    shape = (4, 5, 3) if sort else (5, 4, 3)
    compare_calls(build, rng.normal(size=shape), call=packed_call(sort, sort))


def test_a_packed_lstm_compiles():
    lstm = nn.LSTM(3, 4)
    x = gg.tensor(rng.normal(size=(5, 4, 3)).astype(np.float32))

    def step(x):
        return rnn.pad_packed_sequence(lstm(rnn.pack_padded_sequence(x, [5, 4, 2, 1]))[0])[0]

    np.testing.assert_allclose(
        gg.compile(step)(x).detach().numpy(), step(x).detach().numpy(), rtol=1e-4, atol=1e-6
    )


def test_sequences_there_and_back():
    torch = pytest.importorskip("torch")
    rows = [rng.normal(size=(n, 2)) for n in (3, 1, 4)]
    for side in ("left", "right"):
        mine, other = (
            t.nn.utils.rnn.pad_sequence([t.tensor(r) for r in rows], True, 7.0, side)
            for t in (gg, torch)
        )
        assert_same(mine, other)
    back = rnn.unpack_sequence(rnn.pack_sequence([gg.tensor(r) for r in rows], False))
    for row, array in zip(back, rows, strict=True):
        np.testing.assert_array_equal(row.numpy(), array)


# ------------------------------------------------------------------------------------ computed


X = rng.normal(size=(5, 3))
IMAGES = rng.normal(size=(2, 3, 6, 6))
NORMS = {
    "weight_norm": lambda t: t.nn.utils.weight_norm(t.nn.Linear(3, 4)),
    "weight_norm all": lambda t: t.nn.utils.weight_norm(t.nn.Linear(3, 4), dim=None),
    "parametrized": lambda t: t.nn.utils.parametrizations.weight_norm(t.nn.Linear(3, 4), dim=1),
    "spectral_norm": lambda t: t.nn.utils.spectral_norm(t.nn.Linear(3, 4), n_power_iterations=2),
    "parametrized spectral": lambda t: t.nn.utils.parametrizations.spectral_norm(t.nn.Linear(3, 4)),
    "spectral in a chain": lambda t: t.nn.Sequential(
        t.nn.utils.parametrizations.spectral_norm(t.nn.Linear(3, 4)), t.nn.Linear(4, 2)
    ).eval(),
}


@pytest.mark.parametrize("name", NORMS)
def test_normalised_weights(name):
    compare_calls(NORMS[name], X)


@pytest.mark.parametrize("kind", ["Conv2d", "ConvTranspose2d"])
def test_normalised_convolutions(kind):
    def build(t):
        conv = t.nn.utils.parametrizations.spectral_norm(getattr(t.nn, kind)(3, 4, 3))
        return t.nn.utils.weight_norm(conv, "bias") if False else conv

    compare_calls(build, IMAGES)
    compare_calls(lambda t: t.nn.utils.spectral_norm(getattr(t.nn, kind)(3, 4, 3)), IMAGES)
    compare_calls(lambda t: t.nn.utils.weight_norm(getattr(t.nn, kind)(3, 4, 3)), IMAGES)


@pytest.mark.parametrize("shape", [(3, 3), (3, 5), (5, 3)])
@pytest.mark.parametrize("kind", ["matrix_exp", "cayley", "householder"])
def test_orthogonal_weights(shape, kind):
    def build(t):
        return t.nn.utils.parametrizations.orthogonal(t.nn.Linear(*shape), orthogonal_map=kind)

    compare_calls(build, rng.normal(size=(2, shape[0])))
    layer = build(gg).double()
    for _ in range(3):
        layer(gg.tensor(rng.normal(size=(2, shape[0])))).square().sum().backward()
        with gg.no_grad():
            for p in layer.parameters():
                p -= 0.1 * p.grad
    w = layer.weight.detach().numpy()
    small = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-6)


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).mT


def test_a_parametrization_from_its_registration_to_its_removal():
    layer = nn.Linear(3, 3)
    weight = layer.weight
    parametrize.register_parametrization(layer, "weight", Symmetric())
    assert parametrize.is_parametrized(layer, "weight") and isinstance(layer, nn.Linear)
    assert type(layer).__name__ == "ParametrizedLinear"
    assert list(layer.state_dict()) == ["bias", "parametrizations.weight.original"]
    assert layer.parametrizations.weight.original is weight
    assert layer.weight.equal(layer.weight.mT)
    with parametrize.cached():
        assert layer.weight is layer.weight
    assert layer.weight is not layer.weight
    twin = copy.deepcopy(layer)
    assert twin.weight.equal(layer.weight)
    compiled = gg.compile(layer)(gg.ones(2, 3))
    np.testing.assert_allclose(compiled.detach().numpy(), layer(gg.ones(2, 3)).detach().numpy())
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear and layer.weight.equal(twin.weight)
    assert [n for n, _ in layer.named_parameters()] == ["bias", "weight"]


def test_weight_norm_is_taken_off():
    layer = nn.Linear(3, 4)
    before = layer.weight.detach().clone()
    nn.utils.weight_norm(layer)
    assert list(layer.state_dict()) == ["bias", "weight_g", "weight_v"]
    with gg.no_grad():
        layer.weight_g.mul_(2)
    nn.utils.remove_weight_norm(layer)
    np.testing.assert_allclose(layer.weight.detach().numpy(), 2 * before.numpy(), rtol=1e-6)
    nn.utils.remove_spectral_norm(nn.utils.spectral_norm(layer))
    assert type(layer) is nn.Linear
    assert not layer._forward_pre_hooks


# ------------------------------------------------------------------------------------ pruning


PRUNED = {
    "l1": lambda p, m: p.l1_unstructured(m, "weight", 0.4),
    "twice": lambda p, m: p.l1_unstructured(p.l1_unstructured(m, "weight", 4), "weight", 0.5),
    "ln": lambda p, m: p.ln_structured(m, "weight", 1, 2, 1),
    "identity": lambda p, m: p.identity(m, "bias"),
    "global": lambda p, m: p.global_unstructured(
        [(m, "weight"), (m, "bias")], p.L1Unstructured, amount=0.5
    ),
}


@pytest.mark.parametrize("name", PRUNED)
def test_pruning(name):
    torch = pytest.importorskip("torch")
    importlib.import_module("torch.nn.utils.prune")
    theirs, ours = torch.nn.Linear(3, 4), nn.Linear(3, 4)
    load(ours, theirs)
    for t, module in ((gg, ours), (torch, theirs)):
        PRUNED[name](t.nn.utils.prune, module)
        module(t.tensor(X, dtype=t.float32)).sum().backward()
    assert prune.is_pruned(ours)
    for key, value in theirs.state_dict().items():
        assert_same(ours.state_dict()[key], value)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_same(a.grad, b.grad, 1e-5)
    for key in [k.removesuffix("_mask") for k in ours._buffers]:
        kept = getattr(ours, key).detach().clone()
        prune.remove(ours, key)
        assert getattr(ours, key).equal(kept)
    assert not prune.is_pruned(ours) and type(ours) is nn.Linear


def test_random_pruning_leaves_what_it_should():
    layer = nn.Linear(10, 8)
    prune.random_unstructured(layer, "weight", 0.25)
    assert int(layer.weight_mask.sum()) == 60
    prune.random_structured(layer, "weight", 3, 0)
    assert int(layer.weight_mask.any(1).sum()) == 5


# ------------------------------------------------------------------------------------ lazy


LAZY = {
    "linear": (lambda n: n.LazyLinear(4), "Linear", (2, 5, 3)),
    "conv": (lambda n: n.LazyConv2d(4, 3, groups=2, bias=False), "Conv2d", (2, 6, 5, 5)),
    "transposed": (lambda n: n.LazyConvTranspose1d(4, 3, stride=2), "ConvTranspose1d", (2, 6, 5)),
    "batch norm": (lambda n: n.LazyBatchNorm2d(), "BatchNorm2d", (2, 6, 5, 5)),
    "instance norm": (
        lambda n: n.LazyInstanceNorm1d(affine=True, track_running_stats=True),
        "InstanceNorm1d",
        (2, 6, 5),
    ),
}


@pytest.mark.parametrize("name", LAZY)
def test_lazy_layers(name):
    torch = pytest.importorskip("torch")
    build, becomes, shape = LAZY[name]
    x = rng.normal(size=shape).astype(np.float32)
    ours, theirs, loaded = build(nn), build(torch.nn), build(nn)
    with pytest.raises(RuntimeError, match="uninitialized"):
        _ = next(iter(ours.parameters())).shape
    assert ours(gg.tensor(x)).shape == theirs(torch.tensor(x)).shape
    assert type(ours) is getattr(nn, becomes)
    load(ours, theirs)
    load(loaded, theirs)
    for module in (ours.eval(), loaded.eval()):
        assert_same(module(gg.tensor(x)), theirs.eval()(torch.tensor(x)), 1e-4, 1e-5)
    assert repr(ours) == repr(theirs)


def test_a_lazy_layer_in_a_trace_says_what_to_do():
    net = nn.Sequential(nn.LazyLinear(3), nn.ReLU())
    with pytest.raises(gg.TraceError, match="call the module once"):
        gg.compile(net)(gg.ones(2, 5))
    net(gg.ones(2, 5))
    assert gg.compile(net)(gg.ones(2, 5)).shape == (2, 3)


# ------------------------------------------------------------------------------------ the rest


def test_adaptive_log_softmax():
    labels = rng.integers(0, 20, 6)

    def build(t):
        return t.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10], div_value=2.0, head_bias=True)

    compare_calls(build, rng.normal(size=(6, 8)), labels)
    (_, ours), (torch, theirs) = pairs(build)
    x = rng.normal(size=(6, 8))
    assert_same(ours.log_prob(gg.tensor(x)), theirs.log_prob(torch.tensor(x)))
    assert ours.predict(gg.tensor(x)).tolist() == theirs.predict(torch.tensor(x)).tolist()


def test_cross_map_normalisation_and_time_batch_channels():
    torch = pytest.importorskip("torch")
    assert_same(
        nn.CrossMapLRN2d(3)(gg.tensor(IMAGES)),
        torch.nn.LocalResponseNorm(3)(torch.tensor(IMAGES)),
    )
    x, w, b = rng.normal(size=(7, 2, 3)), rng.normal(size=(3, 3, 4)), rng.normal(size=4)
    mine, other = (t.nn.functional.conv_tbc(*map(t.tensor, (x, w, b)), 1) for t in (gg, torch))
    assert_same(mine, other)


@pytest.mark.parametrize("transpose", [False, True])
def test_batch_norm_folds_into_the_layer_before(transpose):
    conv = (nn.ConvTranspose2d if transpose else nn.Conv2d)(3, 4, 3, bias=False)
    bn, x = nn.BatchNorm2d(4), gg.tensor(IMAGES.astype(np.float32))
    bn(conv(x))
    conv, bn = conv.eval(), bn.eval()
    fused = nn.utils.fuse_conv_bn_eval(conv, bn, transpose)
    np.testing.assert_allclose(
        fused(x).detach().numpy(), bn(conv(x)).detach().numpy(), rtol=1e-4, atol=1e-5
    )


def test_functional_call_replaces_for_one_call():
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2).eval())
    x, zero = gg.ones(4, 3), gg.zeros(2, 3, requires_grad=True)
    out = nn.utils.stateless.functional_call(net, {"0.weight": zero}, (x,))
    out.sum().backward()
    assert zero.grad is not None and net[0].weight.grad is None
    assert net[0].weight is not zero
    with pytest.raises(KeyError, match=r"unknown names .*nothing"):
        nn.utils.stateless.functional_call(net, {"nothing": zero}, (x,))


def test_data_parallel_is_one_device():
    net = nn.Linear(3, 2)
    wrapped = nn.DataParallel(net)
    assert list(wrapped.state_dict()) == ["module.weight", "module.bias"]
    assert wrapped(gg.ones(1, 3)).equal(net(gg.ones(1, 3)))
    with pytest.raises(NotImplementedError, match="run one process for each"):
        nn.DataParallel(net, device_ids=[0, 1])


def test_skip_init_and_clipping():
    layer = nn.utils.skip_init(nn.Linear, 3, 2)
    layer(gg.ones(1, 3)).sum().backward()
    total = nn.utils.get_total_norm([p.grad for p in layer.parameters()])
    nn.utils.clip_grads_with_norm_(layer.parameters(), 0.5, total)
    after = nn.utils.get_total_norm([p.grad for p in layer.parameters()])
    assert after.item() == pytest.approx(0.5, rel=1e-3)
    with pytest.raises(RuntimeError, match="must support a 'device' arg"):
        nn.utils.skip_init(nn.ReLU)


def test_parameter_dict_is_a_dictionary():
    held = nn.ParameterDict({"a": gg.ones(2)})
    held |= {"b": gg.zeros(3)}
    assert list(reversed(held)) == ["b", "a"]
    assert held.setdefault("a", None) is held["a"]
    assert list(held.copy().keys()) == ["a", "b"]
    assert held.popitem()[0] == "b" and len(held) == 1


def test_module_compile_and_to_empty():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    before = net(gg.ones(2, 3)).detach().numpy()
    net.compile()
    np.testing.assert_allclose(net(gg.ones(2, 3)).detach().numpy(), before, rtol=1e-5)
    assert nn.Linear(2, 3).to_empty(device="cpu").weight.shape == (3, 2)


# ------------------------------------------------------------------------------------ mistakes


class Net(nn.Module):
    """The mistake of document 000, and its kin."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 5), nn.Conv2d(6, 16, 5)
        self.bn, self.fc, self.lstm = nn.BatchNorm2d(7), nn.Linear(10, 3), nn.LSTM(5, 2)

    def forward(self, x, layer):
        x = nn.functional.relu(self.conv1(x))
        if layer == "fc":
            return self.fc(x.flatten(1))
        return self.lstm(x[0]) if layer == "lstm" else getattr(self, layer)(x)


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Identity(), Net()])

    def forward(self, x, layer):
        return self.blocks[1](x, layer)


MISTAKES = {
    "conv2": ("to have 6 channels, but got 4", "Conv2d(in_channels=6, out_channels=16)", "4"),
    "bn": ("should contain 4 elements not 7", "BatchNorm2d(num_features=7)", "4"),
    "fc": ("cannot be multiplied", "Linear(in_features=10, out_features=3)", "4 channels"),
    "lstm": ("input_size. Expected 5, got 8", "LSTM(input_size=5, hidden_size=2)", None),
}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("layer", MISTAKES)
def test_layers_that_do_not_match_are_both_named(layer, compiled):
    net = gg.compile(Outer()) if compiled else Outer()
    first, own, given = MISTAKES[layer]
    with pytest.raises((RuntimeError, ValueError)) as caught:
        net(gg.ones(2, 1, 12, 12), layer)
    text = str(caught.value)
    assert first in text.splitlines()[0]
    assert f"module 'blocks.1.{layer}': {own} takes" in text
    if given:
        assert "module 'blocks.1.conv1' before it: Conv2d(in_channels=1, out_channels=4)" in text
        assert f"gives {given}" in text
    assert len(text.splitlines()) <= 10


def test_other_errors_are_left_alone():
    with pytest.raises(RuntimeError) as caught:
        nn.Conv2d(1, 1, 5)(gg.ones(1, 1, 3, 3))
    assert "module" not in str(caught.value)


BUILT_WRONG = [
    (lambda: nn.Linear(2.5, 3), TypeError, "in_features must be a whole number, got 2.5"),
    (lambda: nn.Linear(-1, 3), ValueError, "in_features must be at least 0, got -1"),
    (lambda: nn.Conv2d(3, "6", 3), TypeError, "out_channels must be a whole number, got '6'"),
    (lambda: nn.Conv2d(3, 6, 0), ValueError, "kernel_size must be at least 1 in every dimension"),
    (lambda: nn.Conv2d(3, 6, (3, 3, 3)), ValueError, "2 of them, one for each dimension, got 3"),
    (lambda: nn.Conv1d(3, 6, 3, stride=0), ValueError, "stride must be at least 1, got 0"),
    (lambda: nn.Conv2d(3, 6, 3, padding=-1), ValueError, "padding must be at least 0"),
    (lambda: nn.Conv2d(3, 6, 3, padding="sam"), ValueError, "Invalid padding string 'sam'"),
    (lambda: nn.MaxPool2d(2.5), TypeError, "kernel_size must be a whole number or 2 of them"),
    (lambda: nn.AvgPool3d(0), ValueError, "kernel_size must be at least 1"),
    (lambda: nn.BatchNorm2d("8"), TypeError, "num_features must be a whole number"),
    (lambda: nn.Embedding(10, 2.0), TypeError, "embedding_dim must be a whole number"),
    (lambda: nn.GroupNorm(4, 6), ValueError, "must be divisible"),
    (lambda: nn.LSTMCell(3, True), TypeError, "hidden_size must be a whole number, got True"),
    (lambda: nn.Dropout(1.5), ValueError, "has to be between 0 and 1"),
    (lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 9, [3, 3]), ValueError, "unique, positive integers"),
]


@pytest.mark.parametrize(("build", "kind", "text"), BUILT_WRONG)
def test_arguments_are_checked_when_a_layer_is_built(build, kind, text):
    with pytest.raises(kind, match=text):
        build()


def test_what_is_not_there_says_what_is():
    with pytest.raises(AttributeError, match="use BatchNorm1d, BatchNorm2d or BatchNorm3d"):
        _ = nn.SyncBatchNorm
    with pytest.raises(AttributeError, match="did you mean 'Conv2d'"):
        _ = nn.Conv2D
    with pytest.raises(AttributeError, match="did you mean 'relu'"):
        _ = nn.functional.rellu
    with pytest.raises(AttributeError, match="use the module itself"):
        _ = nn.parallel.DistributedDataParallel
    with nn.attention.sdpa_kernel([nn.attention.SDPBackend.MATH]):
        pass


def test_modules_that_helpers_refuse():
    fake = types.SimpleNamespace(training=True)
    with pytest.raises(AssertionError, match="only for eval"):
        nn.utils.fuse_linear_bn_eval(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with pytest.raises(ValueError, match="no parameter 'weight'"):
        nn.utils.weight_norm(nn.ReLU())
    with pytest.raises(ValueError, match="does not have a parameter"):
        parametrize.register_parametrization(nn.ReLU(), "weight", Symmetric())
    with pytest.raises(ValueError, match="orthogonal_map has to be one of"):
        parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map="qr")
    with pytest.raises(RuntimeError, match="Expected a Module"):
        nn.utils.skip_init(type(fake))
