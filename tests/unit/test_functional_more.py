"""The rarer functions of graphgrad.nn.functional against PyTorch, and by finite differences."""

import numpy as np
import pytest
from compared import Fixed, case, compare, labels, r, rng

import graphgrad as gg
import graphgrad.nn.functional as F

pytestmark = [
    pytest.mark.devices,
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore"),
]


def log_probs(*shape):
    x = r(*shape)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def ctc(targets, inputs, lengths, **options):
    return case(
        "ctc_loss", log_probs(6, len(inputs), 5), np.array(targets), inputs, lengths, **options
    )


OFFSETS = Fixed(np.array([0, 2, 2, 5]))
WORDS = np.array([1, 4, 4, 0, 2, 3, 1])
CTC = [
    *(ctc([[1, 2, 2], [3, 4, 1]], [6, 5], [3, 2], reduction=c) for c in ("none", "mean", "sum")),
    ctc([1, 2, 2, 4], [6, 6], [3, 1], reduction="none"),
    ctc([[0, 1], [9, 9]], [6, 3], [2, 0], blank=4, reduction="none"),
    ctc([[1, 1, 1, 1], [1, 2, 0, 0]], [6, 6], [4, 2], zero_infinity=True),
    case("ctc_loss", log_probs(6, 5), np.array([1, 2]), (5,), (2,)),
]
BAGS = [
    *(case("embedding_bag", WORDS, r(6, 3), OFFSETS, mode=m) for m in ("sum", "mean", "max")),
    *(
        case("embedding_bag", WORDS, r(6, 3), OFFSETS, mode=m, padding_idx=4)
        for m in ("sum", "mean", "max")
    ),
    case("embedding_bag", labels(6, 4, 3), r(6, 2), mode="max"),
    case("embedding_bag", labels(6, 4, 3), r(6, 2), mode="sum", per_sample_weights=r(4, 3)),
    case("embedding_bag", WORDS, r(6, 3), OFFSETS, include_last_offset=True),
    case("embedding", labels(4, 9), r(4, 2), scale_grad_by_freq=True),
]
GRIDS = [
    case("grid_sample", r(2, 3, 5, 4), r(2, 3, 3, 2), mode, padding, corners)
    for mode in ("bilinear", "nearest", "bicubic")
    for padding in ("zeros", "border", "reflection")
    for corners in (False, True)
]
SOLIDS = [
    case("grid_sample", r(2, 2, 3, 4, 2), r(2, 2, 3, 1, 3), mode, padding, False)
    for mode in ("bilinear", "nearest")
    for padding in ("zeros", "border", "reflection")
]
CASES = [
    *CTC,
    *BAGS,
    *GRIDS,
    *SOLIDS,
    *(case("affine_grid", r(2, 2, 3), (2, 1, 4, 1), c) for c in (False, True)),
    case("affine_grid", r(2, 3, 4), (2, 1, 2, 3, 4), False),
    *(case("pdist", r(5, 3), p) for p in (0.0, 0.5, 1.0, 2.0, 3.0, np.inf)),
    case("pdist", np.zeros((3, 2)), 2.0),
    case(
        "fractional_max_pool2d",
        r(2, 3, 9, 8),
        (3, 2),
        (3, 4),
        None,
        True,
        Fixed(rng.random((2, 3, 2))),
    ),
    case("fractional_max_pool3d", r(2, 5, 6, 7), 2, None, 0.5, True, Fixed(rng.random((1, 2, 3)))),
    *(
        case("interpolate", r(2, 3, 9, 7), size, mode=mode, align_corners=c, antialias=True)
        for size in ((4, 5), (12, 3))
        for mode in ("bilinear", "bicubic")
        for c in (False, True)
    ),
    *(
        case("linear_cross_entropy", r(5, 4), r(3, 4), target, reduction=c, label_smoothing=0.1)
        for c in ("mean", "sum", "none")
        for target in (labels(3, 5), rng.random((5, 3)))
    ),
    case(
        "linear_cross_entropy", r(2, 4), r(3, 2, 5, 4), labels(3, 2, 2, 5), linear_bias=r(3, 2, 5)
    ),
    case("linear_cross_entropy", r(4), r(3, 4), np.array(2), weight=Fixed(np.abs(r(3)))),
    case("adaptive_avg_pool1d", r(0, 2, 4), 3),
    case("max_pool2d_with_indices", r(2, 2, 4, 4), 2),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), CASES)
def test_agrees_with_torch(name, args, kwargs):
    compare(name, args, kwargs)


@pytest.mark.parametrize(("name", "args", "kwargs"), [CTC[2], BAGS[2], GRIDS[0], GRIDS[16]])
def test_compiles(name, args, kwargs):
    pytest.importorskip("numba")
    compare(name, args, kwargs, tier="compiled")


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 1.5, 2.0, 4.0, np.inf])
def test_cdist_agrees_with_torch(p):
    torch = pytest.importorskip("torch")
    x, y = r(2, 1, 4, 3), r(5, 3)
    y[0] = x[0, 0, 0]
    results = []
    for library in (gg, torch):
        a, b = (library.tensor(z, requires_grad=True) for z in (x, y))
        d = library.cdist(a, b, p, "donot_use_mm_for_euclid_dist")
        (d * library.tensor(np.cos(np.arange(40.0).reshape(2, 1, 4, 5)))).sum().backward()
        results.append([d.detach().numpy(), a.grad.numpy(), b.grad.numpy()])
    for mine, other in zip(*results, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("swap", [False, True])
def test_triplets_under_any_distance(swap):
    torch = pytest.importorskip("torch")
    rows, found = [r(4, 3) for _ in range(3)], []
    for t in (gg, torch):
        x = [t.tensor(a, requires_grad=True) for a in rows]
        loss = t.nn.functional.triplet_margin_with_distance_loss(
            *x, distance_function=lambda a, b: (a - b).abs().sum(-1), margin=0.7, swap=swap
        )
        loss.backward()
        found.append([loss.detach().numpy(), *(a.grad.numpy() for a in x)])
    for mine, other in zip(*found, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-9)


def hessian_product(function, x, v):
    """H·v, by differentiating the gradient."""
    leaf = gg.tensor(x, requires_grad=True)
    (slope,) = gg.autograd.grad(function(leaf), leaf, create_graph=True)
    return gg.autograd.grad((slope * gg.tensor(v)).sum(), leaf)[0]


def step(carry, x):
    return (carry * x).sin(), carry.exp()


TWICE = {
    "scan": (lambda x: sum(y.sum() for y in gg.scan(step, x[0], x[1:])), (4, 3)),
    "reversed scan": (lambda x: gg.scan(step, x[0], x[1:], reverse=True)[1].sum(), (4, 3)),
    "cond": (lambda x: gg.cond(True, lambda y: y.exp().sum(), lambda y: y.sum(), (x,)), (3,)),
    "sort": (lambda x: (x.sort(0).values ** 3)[:2].sum(), (4,)),
    "ctc_loss": (
        lambda x: F.ctc_loss(gg.log_softmax(x, 2), gg.tensor([[1, 2], [1, 3]]), [6, 5], [2, 1]),
        (6, 2, 4),
    ),
    "lstm": (lambda x: gg.nn.LSTM(2, 3).double()(x)[0].square().sum(), (4, 1, 2)),
    "grid_sample": (lambda x: F.grid_sample(x[:, :1], x[:, 1:].movedim(1, 3)).sum(), (1, 3, 3, 4)),
    "cdist": (lambda x: gg.cdist(x, x[:2] + 1).sum(), (4, 3)),
}


@pytest.mark.parametrize("name", TWICE)
def test_gradients_of_gradients(name):
    function, shape = TWICE[name]
    x, v = 0.4 * rng.normal(size=shape), rng.normal(size=shape)

    def slope(at):
        gg.manual_seed(0)
        leaf = gg.tensor(at, requires_grad=True)
        return gg.autograd.grad(function(leaf), leaf)[0].numpy()

    def product(at):
        gg.manual_seed(0)
        return hessian_product(function, at, v)

    expected = (slope(x + 1e-5 * v) - slope(x - 1e-5 * v)) / 2e-5
    np.testing.assert_allclose(product(x).numpy(), expected, rtol=1e-5, atol=1e-7)


def test_gradients_of_gradients_through_a_scan_compile():
    def slope(x):
        (g,) = gg.autograd.grad(gg.scan(step, x[0], x[1:])[0].sum(), x, create_graph=True)
        return gg.autograd.grad((g * g).sum(), x)[0]

    x = gg.tensor(rng.normal(size=(4, 3)), requires_grad=True)
    np.testing.assert_allclose(gg.compile(slope)(x).numpy(), slope(x).numpy(), rtol=1e-9)


def test_an_infinite_ctc_loss_has_no_finite_gradient():
    x = gg.tensor(log_probs(2, 1, 4), requires_grad=True)
    loss = F.ctc_loss(x, gg.tensor([[1, 1]]), [2], [2], reduction="sum")
    loss.backward()
    assert loss.item() == np.inf
    assert not np.isfinite(x.grad.numpy()).any()


def test_a_bag_reads_only_what_its_rows_hold():
    table = gg.tensor(r(4, 2), requires_grad=True)
    out = F.embedding_bag(gg.tensor([], dtype=gg.int64), table, gg.tensor([0, 0]), mode="max")
    out.sum().backward()
    assert out.tolist() == [[0, 0], [0, 0]]
    assert not table.grad.any()


def test_a_bag_counts_a_frequent_row_once():
    words = gg.tensor([[1, 2], [1, 1]])
    table = gg.tensor(r(4, 2), requires_grad=True)
    F.embedding_bag(words, table, mode="sum", scale_grad_by_freq=True).sum().backward()
    np.testing.assert_allclose(table.grad.numpy(), [[0, 0], [1, 1], [1, 1], [0, 0]])


ERRORS = [
    (lambda x: F.ctc_loss(x, gg.tensor([[1]]), [4], [1]), "value at most 2, but got 4"),
    (lambda x: F.ctc_loss(x, gg.tensor([1, 1]), [2], [1]), "size 1 at dimension 0, but got size 2"),
    (lambda x: F.ctc_loss(x, gg.tensor([[1]]), [2], [1], blank=9), "blank must be in label range"),
    (lambda x: F.ctc_loss(x, gg.tensor([[1]]), [2, 2], [1]), "input_lengths must be of size batch"),
    (lambda x: F.grid_sample(x, x), "expected 4D or 5D input and grid"),
    (lambda x: F.grid_sample(x[None], x[None]), "to have size 2 in last dimension"),
    (lambda x: F.fractional_max_pool2d(x[None], 3, 2), "too large relative to input height 1"),
    (lambda x: F.fractional_max_pool2d(x[None], 1), "either an output_size or an output_ratio"),
    (lambda x: F.embedding_bag(gg.tensor([0]), x[0], gg.tensor([1])), r"offsets\[0\] has to be 0"),
    (lambda x: F.embedding_bag(gg.tensor([9]), x[0], gg.tensor([0])), "not in the valid range"),
    (lambda x: F.embedding_bag(gg.tensor([0]), x[0], mode="min"), "one of sum, mean or max"),
    (lambda x: F.pdist(x), "only supports 2D tensors"),
    (lambda x: gg.cdist(x, x, -1.0), "non-negative p"),
    (lambda x: F.linear_cross_entropy(x[0], x[0, :, :2], gg.tensor([0])), "in_features"),
    (lambda x: F.affine_grid(x, (1, 1, 2, 2)), "2D affine matrices"),
    (lambda x: F.interpolate(x, 2, antialias=True), "restricted to bilinear and bicubic"),
]


@pytest.mark.host
@pytest.mark.parametrize(("call", "text"), ERRORS)
def test_errors_say_what_is_wrong(call, text):
    with pytest.raises((RuntimeError, ValueError), match=text):
        call(gg.ones(2, 1, 4))
