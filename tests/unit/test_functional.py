"""Functions of graphgrad.nn.functional against PyTorch: values, gradients, shapes and types."""

import math

import numpy as np
import pytest
from compared import Fixed, case, compare, labels, r, rng

import graphgrad as gg
import graphgrad.nn.functional as F

pytestmark = [pytest.mark.devices, pytest.mark.torch]
X = r(2, 3, 7, 8)
X[0, 0, 0, :5] = [0, 3, -3, 0.5, -0.5]
TIES = np.round(X * 2)
P, Q = 1 / (1 + np.exp(-X)), 1 / (1 + np.exp(-r(2, 3, 7, 8)))
CURVES = """
relu relu6 leaky_relu elu selu celu gelu silu mish sigmoid tanh softplus softsign tanhshrink
hardshrink softshrink hardtanh hardsigmoid hardswish logsigmoid
""".split()
POOLS = [
    {},
    {"stride": 1},
    {"stride": 2, "padding": 1},
    {"stride": 2, "ceil_mode": True},
    {"stride": 3, "padding": 1, "ceil_mode": True},
]
CONVOLUTIONS = [
    {},
    {"stride": 2},
    {"padding": "same"},
    {"stride": (1, 2), "padding": (2, 1), "dilation": (2, 1)},
]
SIGNS = Fixed(np.sign(r(5)))
WEIGHT = Fixed(np.abs(r(3)))


def losses(reduction):
    c = {"reduction": reduction}
    target = r(2, 3, 7, 8)
    spatial, few = labels(3, 2, 7, 8), labels(4, 5)
    return [
        *(case(n, X, target, **c) for n in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")),
        case("smooth_l1_loss", X, target, beta=0.3, **c),
        case("huber_loss", X, target, delta=0.3, **c),
        case("kl_div", X, target, log_target=True, **c),
        case("poisson_nll_loss", X, np.abs(target) * 3, full=True, **c),
        case("gaussian_nll_loss", X, target, np.abs(r(2, 3, 7, 8)), full=True, **c),
        case("binary_cross_entropy", P, Q, Fixed(np.abs(X)), **c),
        case("binary_cross_entropy_with_logits", X, Q, pos_weight=Fixed(np.abs(r(8))), **c),
        case("cross_entropy", X, spatial, **c),
        case("cross_entropy", X, spatial, WEIGHT, ignore_index=1, label_smoothing=0.1, **c),
        case("cross_entropy", X, Q, WEIGHT, label_smoothing=0.2, **c),
        case("cross_entropy", r(5, 4), few, **c),
        case("cross_entropy", r(4), np.array(2), **c),
        case("nll_loss", r(5, 4), few, Fixed(np.abs(r(4))), ignore_index=2, **c),
        case("margin_ranking_loss", r(5), r(5), SIGNS, 0.3, **c),
        case("hinge_embedding_loss", r(5), SIGNS, 0.4, **c),
        case("cosine_embedding_loss", r(5, 3), r(5, 3), SIGNS, 0.2, **c),
        case("triplet_margin_loss", r(5, 3), r(5, 3), r(5, 3), swap=True, **c),
        case("soft_margin_loss", X, Fixed(np.sign(target)), **c),
        case("multi_margin_loss", r(5, 4), few, 2, 0.5, Fixed(np.abs(r(4))), **c),
        case("multilabel_margin_loss", r(2, 4), np.array([[0, 2, -1, 1], [3, 1, 0, -1]]), **c),
        case("multilabel_soft_margin_loss", r(3, 4), Fixed(np.float64(labels(2, 3, 4))), **c),
    ]


CASES = [
    *(case(name, X) for name in CURVES),
    case("gelu", X, approximate="tanh"),
    case("softplus", X * 20, 2.0, 5.0),
    case("threshold", X, 0.1, 20.0),
    case("prelu", X, r(3)),
    case("glu", X, -1),
    *(case(n, X, d) for n in ("softmax", "log_softmax", "softmin") for d in (0, 1, -1)),
    *(case("linear", r(*s, 3), r(5, 3), r(5)) for s in ((), (4,), (2, 4))),
    *(case("linear", r(*s, 3), r(5, 3)) for s in ((), (4,), (2, 4))),
    case("bilinear", r(2, 4, 3), r(2, 4, 2), r(5, 3, 2), r(5)),
    case("embedding", labels(6, 3, 4), r(6, 5), padding_idx=2),
    case("one_hot", labels(6, 3, 4), 8),
    *(case("conv2d", X, r(4, 3, 3, 2), r(4), **options) for options in CONVOLUTIONS),
    case("conv2d", r(2, 4, 6, 6), r(6, 2, 3, 3), r(6), groups=2),
    case("conv2d", r(2, 4, 6, 6), r(4, 1, 3, 3), groups=4, padding=1),
    case("conv2d", r(4, 6, 6), r(3, 4, 3, 3), r(3)),
    case("conv1d", r(2, 3, 9), r(4, 3, 4), r(4), stride=2, padding="valid"),
    case("conv3d", r(2, 2, 4, 5, 4), r(3, 2, 2, 3, 2), r(3), padding=1),
    case("conv_transpose1d", r(2, 3, 5), r(3, 2, 3), stride=3),
    case(
        "conv_transpose2d",
        r(2, 4, 4, 5),
        r(4, 3, 3, 2),
        r(6),
        stride=2,
        padding=1,
        output_padding=1,
        groups=2,
        dilation=(1, 2),
    ),
    *(case("pad", X, (1, 2, 3, 1), mode) for mode in ("reflect", "replicate", "circular")),
    *(case("pad", X, (-1, 1, -2, 2), mode) for mode in ("reflect", "replicate", "circular")),
    case("pad", X, (1, -2, 3, 0), "constant", 5.0),
    *(case("max_pool2d", TIES, k, **options) for options in POOLS for k in (2, (3, 2))),
    *(case("max_pool2d", TIES, 3, return_indices=True, **options) for options in POOLS),
    case("max_pool2d", X, 2, stride=2, dilation=2),
    case("max_pool1d", r(2, 3, 9), 3, 2, 1, return_indices=True),
    case("max_pool3d", r(1, 2, 4, 4, 4), 2),
    *(case("avg_pool2d", X, 3, **options) for options in POOLS),
    *(case("avg_pool2d", X, 3, count_include_pad=False, **options) for options in POOLS),
    case("avg_pool2d", X, 3, divisor_override=2),
    case("avg_pool1d", r(2, 3, 9), 3, 2, 1),
    case("lp_pool2d", X, 2, 2),
    *(case("adaptive_avg_pool2d", X, size) for size in (1, 2, (3, None), (7, 8))),
    *(case("adaptive_max_pool2d", TIES, size, return_indices=True) for size in (1, 3, (5, 6))),
    *(case("interpolate", X, scale_factor=s, mode="nearest") for s in (2, 0.5)),
    case("interpolate", X, size=(5, 11), mode="bilinear", align_corners=True),
    case("interpolate", X, scale_factor=1.5, mode="bicubic"),
    case("unfold", X, 3, padding=1, stride=2),
    case("fold", r(2, 12, 12), (4, 5), 2),
    case("pixel_shuffle", r(2, 8, 3, 3), 2),
    case("max_unpool2d", r(1, 1, 2, 2), np.array([[[[0, 3], [9, 14]]]]), 2),
    case("scaled_dot_product_attention", r(2, 3, 4, 5), r(2, 3, 6, 5), r(2, 3, 6, 2)),
    case("scaled_dot_product_attention", r(3, 4, 5), r(3, 4, 5), r(3, 4, 5), is_causal=True),
    case("batch_norm", X, None, None, r(3), r(3), True),
    case("batch_norm", X, Fixed(r(3)), Fixed(np.abs(r(3))), r(3), r(3), False),
    case("layer_norm", X, (8,), r(8), r(8)),
    case("group_norm", r(2, 6, 4), 3, r(6), r(6)),
    case("instance_norm", X, None, None, r(3), r(3)),
    case("rms_norm", X, (7, 8)),
    case("local_response_norm", X, 2),
    case("normalize", X, 2.0, 1),
    case("cosine_similarity", X, r(2, 3, 7, 8)),
    case("pairwise_distance", r(4, 5), r(4, 5)),
    case("kl_div", X, np.abs(X), reduction="batchmean"),
    *(c for reduction in ("mean", "sum", "none") for c in losses(reduction)),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "args", "kwargs"), CASES)
def test_agrees_with_torch(name, args, kwargs):
    compare(name, args, kwargs)


NAMES = {
    "ReluBackward0": lambda x: F.relu(x),
    "SoftmaxBackward0": lambda x: F.softmax(x, 1),
    "LogSoftmaxBackward0": lambda x: F.log_softmax(x, 1),
    "MaxPool2DWithIndicesBackward0": lambda x: F.max_pool2d(x, 2),
    "ConvolutionBackward0": lambda x: F.conv2d(x, gg.ones(1, 3, 2, 2)),
    "AddmmBackward0": lambda x: F.linear(x[0, 0], gg.ones(2, 8), gg.ones(2)),
    "NllLoss2DBackward0": lambda x: F.cross_entropy(x, gg.zeros(2, 7, 8, dtype=gg.int64)),
    "NllLossBackward0": lambda x: F.cross_entropy(x[0, 0], gg.zeros(7, dtype=gg.int64)),
    "NativeBatchNormBackward0": lambda x: F.batch_norm(x, None, None, training=True),
    "NativeLayerNormBackward0": lambda x: F.layer_norm(x, (8,)),
    "MseLossBackward0": lambda x: F.mse_loss(x, x.detach()),
}


@pytest.mark.parametrize("name", NAMES)
def test_grad_fn_is_named_as_in_torch(name):
    x = gg.ones(2, 3, 7, 8, requires_grad=True)
    assert NAMES[name](x).grad_fn.name() == name


ERRORS = [
    (lambda x: F.relu(x.requires_grad_(), inplace=True), RuntimeError, "a leaf Variable"),
    (lambda x: F.linear(x, gg.ones(4, 5)), RuntimeError, "mat1 and mat2 shapes cannot be"),
    (lambda x: F.conv2d(x, gg.ones(4, 2, 3, 3)), RuntimeError, "to have 2 channels, but got 3"),
    (lambda x: F.conv2d(x, gg.ones(4, 3, 9, 9)), RuntimeError, "can't be greater than actual"),
    (lambda x: F.max_pool2d(x, 2, padding=2), RuntimeError, "pad should be at most half"),
    (lambda x: F.max_pool2d(x, 9), RuntimeError, "Output size is too small"),
    (lambda x: F.avg_pool2d(x, 2, divisor_override=0), RuntimeError, "divisor must be not zero"),
    (lambda x: F.dropout(x, 2), ValueError, "dropout probability has to be between 0 and 1"),
    (lambda x: F.layer_norm(x, (4,)), RuntimeError, "Given normalized_shape"),
    (lambda x: F.softmax(x, 5), IndexError, "Dimension out of range"),
    (lambda x: F.mse_loss(x, x, reduction="bad"), ValueError, "bad is not a valid value"),
    (lambda x: F.cross_entropy(x[:, :, 0, 0], gg.tensor([0, 3])), IndexError, "Target 3 is out"),
    (lambda x: F.binary_cross_entropy(x + 2, x), RuntimeError, "should be between 0 and 1"),
    (lambda x: F.embedding(gg.tensor([9]), gg.ones(4, 3)), IndexError, "out of (range|bounds)"),
]


@pytest.mark.host
@pytest.mark.parametrize(("call", "kind", "text"), ERRORS)
def test_errors_say_what_torch_says(call, kind, text):
    with pytest.raises(kind, match=text):
        call(gg.ones(2, 3, 7, 8))


def test_old_reductions_still_mean_something():
    x, y = gg.ones(3), gg.zeros(3)
    with pytest.warns(UserWarning, match="reduction='elementwise_mean' is deprecated"):
        assert F.mse_loss(x, y, reduction="elementwise_mean").item() == 1
    with pytest.warns(UserWarning, match="please use reduction='sum' instead"):
        assert F.mse_loss(x, y, size_average=False).item() == 3


def test_dropout_keeps_the_expectation():
    gg.manual_seed(0)
    x = gg.ones(200, 100)
    y = F.dropout(x, 0.3)
    assert set(np.unique(y.numpy().round(4))) == {0.0, np.float32(1 / 0.7).round(4)}
    assert abs(y.mean().item() - 1) < 0.02
    assert F.dropout(x, 0.3, training=False) is x


def test_variance_survives_a_large_mean():
    x = gg.tensor(1e4 + rng.normal(size=(64, 8)), dtype=gg.float32)
    y = F.layer_norm(x, (8,))
    assert math.isclose(y.var(1, unbiased=False).mean().item(), 1.0, rel_tol=1e-2)
