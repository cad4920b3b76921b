"""Modules: reprs, state, registration, containers, hooks and layers, beside PyTorch's."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import nn

pytestmark = pytest.mark.devices

REPRS = """
Linear(3, 4) | Linear(3, 4, bias=False) | Identity() | Bilinear(2, 3, 4)
Conv2d(3, 4, 3) | Conv2d(4, 4, (3, 2), stride=2, padding=1, dilation=2, groups=2, bias=False)
Conv2d(3, 4, 3, padding="same", padding_mode="reflect") | Conv1d(3, 4, 3) | Conv3d(3, 4, 3)
ConvTranspose2d(3, 4, 3, stride=2, output_padding=1) | MaxPool2d(2)
MaxPool2d((3, 2), stride=(2, 1), padding=1, ceil_mode=True) | MaxPool1d(2) | AvgPool1d(2)
AvgPool2d(2, padding=1) | LPPool2d(2, 3) | AdaptiveAvgPool2d((1, 1)) | AdaptiveMaxPool2d(3)
ReLU() | ReLU(inplace=True) | ReLU6(True) | LeakyReLU() | LeakyReLU(.2, True) | RReLU(.1, .2)
ELU() | ELU(.3, True) | SELU(True) | CELU() | GELU() | GELU("tanh") | SiLU() | Mish() | Sigmoid()
Tanh() | LogSigmoid() | Softplus() | Softsign() | Tanhshrink() | Hardtanh(-2, 2, True)
Hardsigmoid() | Hardswish() | Hardshrink() | Softshrink(.3) | Threshold(.1, 20) | GLU()
Softmax() | Softmax(1) | LogSoftmax(dim=1) | Softmin(1) | Softmax2d() | PReLU(3) | Flatten(0, 2)
Unflatten(1, (2, 3)) | Dropout() | Dropout(.2, True) | Dropout2d() | AlphaDropout()
BatchNorm1d(3) | BatchNorm2d(3, affine=False) | BatchNorm2d(3, momentum=None) | InstanceNorm2d(3)
LayerNorm(3) | LayerNorm((3, 4), bias=False) | RMSNorm(3) | GroupNorm(2, 4)
Embedding(4, 3) | Embedding(4, 3, padding_idx=-1) | Embedding(4, 3, max_norm=2.)
LSTM(4, 5) | LSTM(4, 5, 2, False, True, dropout=.3, bidirectional=True, proj_size=2)
GRU(4, 5, 2) | RNN(4, 5, nonlinearity="relu") | LSTMCell(4, 5) | GRUCell(3, 4, bias=False)
ZeroPad2d(1) | ConstantPad1d((1, 2), 3.) | ReflectionPad2d((1, 2, 3, 4)) | CosineSimilarity()
MultiheadAttention(8, 2) | MultiheadAttention(8, 2, bias=False, add_bias_kv=True, kdim=4)
TransformerEncoderLayer(8, 2, 16) | TransformerDecoderLayer(8, 2, 16) | Upsample(scale_factor=2)
PixelShuffle(2) | Unfold(3) | Fold((4, 5), 2) | MaxUnpool2d(2) | ChannelShuffle(2)
MSELoss() | CrossEntropyLoss() | BCEWithLogitsLoss() | TripletMarginLoss()
Sequential(nn.Linear(1, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 3)), nn.BatchNorm1d(3))
ModuleList([nn.Linear(1, 2), nn.Linear(1, 2), nn.ReLU()]) | ModuleList([]) | Sequential()
ModuleDict({"a": nn.ReLU(), "b": nn.Sequential(nn.Linear(1, 1))})
ParameterList([nn.Parameter(nn.Linear(2, 3).weight.detach())])
"""
SPECS = [spec.strip() for line in REPRS.strip().splitlines() for spec in line.split(" | ")]


@pytest.mark.torch
@pytest.mark.parametrize("spec", SPECS)
def test_repr_and_state_are_torchs(spec):
    torch = pytest.importorskip("torch")
    ours = eval(f"nn.{spec}", {"nn": nn})
    theirs = eval(f"nn.{spec}", {"nn": torch.nn})
    assert repr(ours) == repr(theirs)
    described = [
        [(name, tuple(x.shape), str(x.dtype)) for name, x in m.state_dict().items()]
        for m in (ours, theirs)
    ]
    assert described[0] == described[1]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.scale = nn.Parameter(gg.ones(1))
        self.register_buffer("seen", gg.zeros(1), persistent=False)

    def forward(self, x):
        return self.norm(self.first(x)) * self.scale


# ------------------------------------------------------------------------------- registration


def test_traversal_names_everything_once():
    net = Net()
    names = ["scale", "first.weight", "first.bias", "norm.weight", "norm.bias"]
    assert [name for name, _ in net.named_parameters()] == names
    buffers = ["seen", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"]
    assert [name for name, _ in net.named_buffers()] == buffers
    assert [name for name, _ in net.named_modules()] == ["", "first", "norm"]
    net.again = net.first
    assert len(list(net.parameters())) == 5
    assert "seen" not in net.state_dict()


def test_assignment_registers_replaces_and_deletes():
    net = Net()
    net.scale = None
    assert net.scale is None and "scale" in net._parameters
    net.first = nn.Linear(3, 5)
    assert net.get_parameter("first.weight").shape == (5, 3)
    net.norm.running_mean = gg.ones(4)
    assert net.get_buffer("norm.running_mean").sum().item() == 4
    del net.first
    assert not hasattr(net, "first")
    net.note = "plain"
    assert net.__dict__["note"] == "plain"


class NoInit(nn.Module):
    def __init__(self):
        self.layer = nn.ReLU()


MISTAKES = [
    (lambda net: NoInit(), AttributeError, "before Module.__init__"),
    (lambda net: nn.Module()(1), NotImplementedError, 'missing the required "forward" function'),
    (lambda net: net.missing, AttributeError, "'Net' object has no attribute 'missing'"),
    (lambda net: net.register_buffer("a.b", None), KeyError, "buffer name can"),
    (lambda net: net.register_parameter("forward", None), KeyError, "already exists"),
    (lambda net: net.register_parameter("w", gg.ones(1)), TypeError, r"torch.(cuda.)?FloatTensor"),
    (lambda net: net.add_module("m", 3), TypeError, "int is not a Module subclass"),
    (lambda net: setattr(net, "scale", gg.ones(1)), TypeError, "as parameter 'scale'"),
    (lambda net: setattr(net, "first", 3), TypeError, "as child module 'first'"),
    (lambda net: setattr(net, "seen", 3), TypeError, "as buffer 'seen'"),
    (lambda net: net.get_submodule("first.x"), AttributeError, "Linear has no attribute `x`"),
    (lambda net: net.get_parameter("first"), AttributeError, "is not an nn.Parameter"),
    (lambda net: net.train(1), ValueError, "training mode is expected to be boolean"),
    (lambda net: net.to(gg.int32), TypeError, "only accepts floating point"),
    (lambda net: nn.Linear(2, 3, 4, 5, 6, 7), TypeError, "positional arguments"),
    (lambda net: nn.Sequential(net)[3], IndexError, "index 3 is out of range"),
    (lambda net: nn.ModuleList([net])(1), NotImplementedError, "ModuleList"),
    (lambda net: nn.Conv2d(3, 4, 3, groups=2), ValueError, "divisible by groups"),
    (lambda net: nn.LSTM(4, 5, proj_size=5), ValueError, "proj_size has to be smaller"),
    (lambda net: nn.Embedding(4, 3, padding_idx=7), AssertionError, "Padding_idx must be within"),
    (lambda net: nn.BatchNorm2d(3)(gg.ones(2, 3)), ValueError, "expected 4D input"),
    (lambda net: nn.BatchNorm1d(3)(gg.ones(1, 3)), ValueError, "Expected more than 1 value"),
]


@pytest.mark.parametrize(("mistake", "kind", "text"), MISTAKES)
def test_mistakes_are_named_as_in_torch(mistake, kind, text):
    with pytest.raises(kind, match=text):
        mistake(Net())


# ------------------------------------------------------------------------------- state


def test_state_dict_shares_memory_and_loads_back():
    net, other = Net(), Net()
    state = net.state_dict()
    assert state["first.weight"]._array is net.first.weight._array
    assert state._metadata["norm"] == {"version": 2}
    assert repr(other.load_state_dict(state)) == "<All keys matched successfully>"
    np.testing.assert_array_equal(
        other.first.weight.detach().numpy(), net.first.weight.detach().numpy()
    )


def test_load_state_dict_names_what_does_not_fit():
    net = nn.Sequential(nn.Linear(2, 3))
    with pytest.raises(RuntimeError) as error:
        net.load_state_dict({"0.weight": gg.ones(4, 4), "x": gg.ones(1)})
    assert str(error.value) == (
        "Error(s) in loading state_dict for Sequential:\n"
        '\tMissing key(s) in state_dict: "0.bias". \n'
        '\tUnexpected key(s) in state_dict: "x". \n'
        "\tsize mismatch for 0.weight: copying a param with shape torch.Size([4, 4]) from "
        "checkpoint, the shape in current model is torch.Size([3, 2])."
    )
    missing, unexpected = net.load_state_dict({"x": gg.ones(1)}, strict=False)
    assert (missing, unexpected) == (["0.weight", "0.bias"], ["x"])


def test_copies_are_independent():
    net = Net()
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert repr(twin) == repr(net)
        np.testing.assert_array_equal(
            twin.first.weight.detach().numpy(), net.first.weight.detach().numpy()
        )
        assert isinstance(twin.first.weight, nn.Parameter) and twin.first.weight.requires_grad
        with gg.no_grad():
            twin.first.weight.add_(1)
        assert not np.array_equal(
            twin.first.weight.detach().numpy(), net.first.weight.detach().numpy()
        )


def test_conversion_modes_and_freezing():
    net = Net()
    weight = net.first.weight
    assert net.double() is net and net.first.weight is weight
    assert weight.dtype is gg.float64 and net.norm.num_batches_tracked.dtype is gg.int64
    assert net.to(gg.float32).first.weight.dtype is gg.float32
    assert not net.eval().norm.training and net.train().norm.training
    assert not any(p.requires_grad for p in net.requires_grad_(False).parameters())
    seen = []
    net.apply(lambda module: seen.append(type(module).__name__))
    assert seen == ["Linear", "BatchNorm1d", "Net"]


def test_zero_grad_forgets_or_fills():
    layer = nn.Linear(2, 1)
    layer(gg.ones(1, 2)).sum().backward()
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad.abs().sum().item() == 0
    layer.zero_grad()
    assert layer.weight.grad is None


# ------------------------------------------------------------------------------- containers


def test_sequential_is_a_list_and_a_chain():
    net = nn.Sequential(OrderedDict(a=nn.Linear(2, 3), b=nn.ReLU()))
    assert net.a is net[0] and isinstance(net[:1], nn.Sequential) and len(net) == 2
    net.append(nn.Linear(3, 1)).insert(1, nn.Identity())
    assert [type(m).__name__ for m in net] == ["Linear", "Identity", "ReLU", "Linear"]
    assert net(gg.ones(5, 2)).shape == (5, 1)
    del net[1]
    net[1] = nn.Tanh()
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_lists_and_dictionaries_register():
    layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
    layers += [nn.ReLU()]
    layers.insert(0, nn.Identity())
    assert len(layers[1:3]) == 2 and len(list(layers.parameters())) == 6
    named = nn.ModuleDict({"x": nn.Linear(1, 1)})
    named["y"] = nn.ReLU()
    assert list(named) == ["x", "y"] and named.pop("y") and "y" not in named
    weights = nn.ParameterList([gg.ones(2), gg.ones(3)])
    assert [len(p) for p in weights] == [2, 3] and len(list(weights.parameters())) == 2
    table = nn.ParameterDict({"w": gg.ones(2)})
    assert list(table.state_dict()) == ["w"]


# ------------------------------------------------------------------------------- hooks


def test_forward_hooks_run_in_order_and_may_replace():
    layer, log = nn.Identity(), []
    first = layer.register_forward_pre_hook(lambda m, args: log.append("pre") or (args[0] + 1,))
    layer.register_forward_hook(lambda m, args, out: log.append("post") or out * 2)
    assert layer(gg.ones(1)).item() == 4 and log == ["pre", "post"]
    first.remove()
    assert layer(gg.ones(1)).item() == 2


def test_backward_hooks_see_and_replace_gradients():
    layer, log = nn.Linear(2, 1), []
    layer.register_full_backward_pre_hook(lambda m, g: log.append("pre"))

    def double(module, grad_input, grad_output):
        log.append((tuple(grad_input[0].shape), tuple(grad_output[0].shape)))
        return (grad_input[0] * 2,)

    layer.register_full_backward_hook(double)
    x = gg.ones(3, 2, requires_grad=True)
    layer(x).sum().backward()
    assert log == ["pre", ((3, 2), (3, 1))]
    np.testing.assert_allclose(x.grad.numpy(), 2 * layer.weight.detach().numpy().repeat(3, 0))


# ------------------------------------------------------------------------------- layers


def both(torch, spec, *shapes, seed=0):
    """Our layer and PyTorch's with its weights, and equal inputs for both."""
    ours = eval(f"nn.{spec}", {"nn": nn}).double()
    theirs = eval(f"nn.{spec}", {"nn": torch.nn}).double()
    ours.load_state_dict({k: gg.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    arrays = [np.random.default_rng(seed).normal(size=shape) for shape in shapes]
    return ours, theirs, arrays


def flat(result):
    return [y for r in result for y in flat(r)] if isinstance(result, tuple) else [result]


LAYERS = [
    ("Conv2d(3, 4, 3, padding=1, padding_mode='circular')", (2, 3, 5, 6)),
    ("Conv2d(3, 4, 3, padding='same', padding_mode='reflect')", (2, 3, 5, 6)),
    ("ConvTranspose2d(3, 4, 3, stride=2, output_padding=1)", (2, 3, 4, 4)),
    ("BatchNorm2d(3)", (4, 3, 5, 5)),
    ("BatchNorm1d(3, momentum=None)", (4, 3)),
    ("InstanceNorm2d(3, affine=True, track_running_stats=True)", (4, 3, 5, 5)),
    ("PReLU(3)", (2, 3, 4)),
    ("LSTM(4, 5)", (3, 2, 4)),
    ("LSTM(4, 5)", (3, 4)),
    ("LSTM(4, 5, 2, batch_first=True, bidirectional=True)", (2, 3, 4)),
    ("LSTM(4, 5, bias=False, proj_size=2)", (3, 2, 4)),
    ("GRU(4, 5, 2, bidirectional=True)", (3, 2, 4)),
    ("RNN(4, 5, nonlinearity='relu')", (3, 2, 4)),
    ("LSTMCell(4, 5)", (2, 4)),
    ("GRUCell(4, 5)", (2, 4)),
    ("RNNCell(4, 5)", (2, 4)),
]


@pytest.mark.torch
@pytest.mark.parametrize(("spec", "shape"), LAYERS)
def test_layers_agree_with_torch(spec, shape):
    torch = pytest.importorskip("torch")
    ours, theirs, (x,) = both(torch, spec, shape)
    results = []
    for module, library in ((ours, gg), (theirs, torch)):
        leaf = library.tensor(x, requires_grad=True)
        for _ in range(2):  # twice, so that running statistics count
            outputs = flat(module(leaf))
        sum((y * y).sum() for y in outputs).backward()
        grads = [leaf.grad, *(p.grad for p in module.parameters())]
        results.append([t.detach().numpy() for t in (*outputs, *grads, *module.buffers())])
    for mine, other in zip(*results, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-10)


def test_initialisation_draws_what_it_says():
    gg.manual_seed(0)
    weight = gg.empty(400, 300)
    bound = np.sqrt(6 / 700)
    w = nn.init.xavier_uniform_(weight).numpy()
    assert abs(w).max() <= bound and abs(w.std() - bound / np.sqrt(3)) < 1e-3
    w = nn.init.kaiming_normal_(weight, nonlinearity="relu").numpy()
    assert abs(w.std() - np.sqrt(2 / 300)) < 1e-3
    assert nn.init.calculate_gain("leaky_relu", 0.2) == pytest.approx(np.sqrt(2 / 1.04))
    assert nn.init.constant_(weight, 0.3).mean().item() == pytest.approx(0.3)
    assert nn.init.eye_(gg.empty(3, 4)).sum().item() == 3
    assert nn.init.dirac_(gg.empty(4, 2, 3, 3), 2).sum().item() == 4
    with pytest.raises(ValueError, match="fewer than 2 dimensions"):
        nn.init.xavier_normal_(gg.empty(3))


@pytest.mark.filterwarnings("ignore")
def test_random_initialisations_of_matrices():
    q = nn.init.orthogonal_(gg.empty(5, 3, dtype=gg.float64)).numpy()
    np.testing.assert_allclose(q.T @ q, np.eye(3), atol=1e-9)
    t = nn.init.trunc_normal_(gg.empty(2000), std=1.0, a=-1.0, b=0.5).numpy()
    assert t.min() >= -1 and t.max() <= 0.5
    s = nn.init.sparse_(gg.empty(10, 4), 0.3).numpy()
    assert ((s == 0).sum(0) == 3).all()


def test_clipping_scales_all_gradients_together():
    net = nn.Linear(2, 2)
    net(gg.ones(1, 2)).sum().backward()
    before = nn.utils.clip_grad_norm_(net.parameters(), 1.0).item()
    after = nn.utils.get_total_norm([p.grad for p in net.parameters()]).item()
    assert before > 1 and after == pytest.approx(1.0, rel=1e-4)
