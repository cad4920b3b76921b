"""Sparse gradients beside PyTorch's: values, accumulation, the optimizers that take them."""

import copy
import pickle

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import nn, optim
from graphgrad.nn import functional as F

pytestmark = pytest.mark.devices

TABLE = np.random.default_rng(0).normal(size=(6, 3))
INDEX = np.array([[1, 2], [1, 5]])


def table(library, **options):
    layer = library.nn.Embedding(6, 3, sparse=True, dtype=library.float64, **options)
    with library.no_grad():
        layer.weight.copy_(library.tensor(TABLE))
    return layer


def loss(layer, library, index=INDEX):
    y = layer(library.tensor(index))
    return (y * library.arange(y.numel(), dtype=library.float64).reshape(y.shape)).sum()


def parts(g):
    return [g._indices().numpy(), g._values().numpy(), g._nnz(), g.is_coalesced()]


def assert_parts(a, b):
    for x, y in zip(parts(a), parts(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", [{}, {"padding_idx": 5}, {"padding_idx": -4}])
def test_gradients_are_torchs(options):
    torch = pytest.importorskip("torch")
    found = []
    for library in (gg, torch):
        layer = table(library, **options)
        loss(layer, library).backward()
        once = layer.weight.grad.clone()
        row = [once, once.coalesce()]
        loss(layer, library).backward()
        (loss(layer, library) + loss(layer, library)).backward()
        row += [
            layer.weight.grad.coalesce(),
            *library.autograd.grad(loss(layer, library), layer.weight),
        ]
        assert row[0].is_sparse and (row[0].sparse_dim(), row[0].dense_dim()) == (1, 1)
        assert tuple(row[0].shape) == (6, 3) and str(row[0].layout) == "torch.sparse_coo"
        found.append(row)
    for a, b in zip(*found, strict=True):
        assert_parts(a, b)
        np.testing.assert_allclose(a.to_dense().numpy(), b.to_dense().numpy(), rtol=1e-12)


def test_dense_and_sparse_gradients_add_up():
    layer, dense = table(gg), nn.Embedding(6, 3, dtype=gg.float64)
    dense.load_state_dict(layer.state_dict())
    for order in ((0, 1), (1, 0)):
        layer.weight.grad = dense.weight.grad = None
        for kind in order:
            (loss(layer, gg) if kind else layer.weight.sum()).backward()
            (loss(dense, gg) if kind else dense.weight.sum()).backward()
        assert not layer.weight.grad.is_sparse
        np.testing.assert_allclose(layer.weight.grad.numpy(), dense.weight.grad.numpy())
    layer.weight.grad = dense.weight.grad = None
    (loss(layer, gg) + layer.weight.sum()).backward()
    (loss(dense, gg) + dense.weight.sum()).backward()
    np.testing.assert_allclose(layer.weight.grad.numpy(), dense.weight.grad.numpy())


STEPS = [
    ("SparseAdam", {"lr": 0.1}),
    ("SparseAdam", {"lr": 0.1, "betas": (0.5, 0.8), "eps": 0.1, "maximize": True}),
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "maximize": True}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1}),
]


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "options"), STEPS)
def test_steps_are_torchs(name, options):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    indices = [rng.integers(0, 6, size=(2, 3)) for _ in range(5)]
    ends = []
    for library in (gg, torch):
        layer, head = table(library), library.ones(3, dtype=library.float64, requires_grad=True)
        both = [layer.weight] if name == "SparseAdam" else [layer.weight, head]
        optimizer = getattr(library.optim, name)(both, **options)
        for index in indices:
            optimizer.zero_grad()
            ((layer(library.tensor(index)) * head).sin() ** 2).sum().backward()
            optimizer.step()
        kept = optimizer.state_dict()["state"][0] if optimizer.state_dict()["state"] else {}
        kept = [v.to_dense().numpy() if hasattr(v, "to_dense") else v for v in kept.values()]
        ends.append([layer.weight.detach().numpy(), head.detach().numpy(), *kept])
    assert len(ends[0]) == len(ends[1])
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


OTHERS = ["Adam", "AdamW", "RMSprop", "Adadelta", "Adamax", "NAdam", "RAdam", "ASGD", "Rprop"]


@pytest.mark.parametrize("name", [*OTHERS, "Adafactor"])
def test_other_optimizers_refuse(name):
    layer = table(gg)
    loss(layer, gg).backward()
    with pytest.raises(RuntimeError, match=r"Adam|does not support sparse gradients"):
        getattr(optim, name)(layer.parameters()).step()


def test_what_is_not_supported_says_what_to_do():
    layer = table(gg)
    loss(layer, gg).backward()
    g = layer.weight.grad
    for operation in (
        lambda: g.exp(),
        lambda: g @ gg.ones(3, dtype=gg.float64),
        lambda: gg.ones(6, 3) * g,
        lambda: g[0],
        lambda: g.sum(),
        lambda: g.numpy(),
    ):
        with pytest.raises(NotImplementedError, match="to_dense"):
            operation()
    with pytest.raises(RuntimeError, match=r"please call .coalesce\(\) first"):
        g.indices()
    with pytest.raises(RuntimeError, match=r"add\(sparse, dense\) is not supported"):
        g + gg.ones(6, 3)
    with pytest.raises(RuntimeError, match="SparseAdam does not support dense gradients"):
        p = gg.ones(2, requires_grad=True)
        p.grad = gg.ones(2)
        optim.SparseAdam([p]).step()
    for options, text in (({"weight_decay": 0.1}, "weight_decay"),):
        with pytest.raises(RuntimeError, match=text):
            optim.Adagrad(layer.parameters(), **options).step()
        with pytest.raises(RuntimeError, match=r"add\(sparse, dense\)"):
            optim.SGD(layer.parameters(), **options).step()
    with pytest.raises(NotImplementedError, match="compiled"):
        gg.compile(lambda: loss(layer, gg).backward())()
    with pytest.raises(ValueError, match="Invalid learning rate: 0"):
        optim.SparseAdam(layer.parameters(), lr=0)


def test_compiled_inference_reads_a_sparse_layer():
    layer = table(gg)
    with gg.no_grad():
        y = gg.compile(layer)(gg.tensor(INDEX))
    np.testing.assert_array_equal(y.numpy(), TABLE[INDEX])


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
def test_sparse_tensors_themselves():
    torch = pytest.importorskip("torch")
    rows = []
    for library in (gg, torch):
        s = library.sparse_coo_tensor([[0, 2, 0], [1, 0, 1]], [1.0, 2.0, 3.0], (3, 2))
        found = [s, s.coalesce(), s * 2, -s, (s + s).coalesce(), s / 2]
        found.append(library.eye(3).to_sparse())
        rows.append(
            (
                found,
                repr(s).replace("device='cuda:0', ", ""),
                s.norm().item(),
                s.clone().zero_()._nnz(),
                s.numel(),
                s.dim(),
            )
        )
        assert tuple(library.sparse_coo_tensor([[1, 4]], [1.0, 2.0]).shape) == (5,)
        np.testing.assert_array_equal((library.ones(3, 2) + s).numpy()[0], [1, 5])
    with pytest.raises(RuntimeError, match="inconsistent with indices"):
        gg.sparse_coo_tensor([[3]], [1.0], (3,))
    for a, b in zip(rows[0][0], rows[1][0], strict=True):
        assert_parts(a, b)
    assert rows[0][1].split() == rows[1][1].split()
    assert rows[0][2:] == pytest.approx(rows[1][2:])


def test_they_can_be_copied_and_emptied():
    layer = table(gg)
    loss(layer, gg).backward()
    g = layer.weight.grad
    for other in (copy.deepcopy(g), pickle.loads(pickle.dumps(g)), g.detach().clone()):
        assert_parts(g, other)
    optim.SGD(layer.parameters()).zero_grad(set_to_none=False)
    assert layer.weight.grad.is_sparse and layer.weight.grad._nnz() == 0
    before = layer.weight.detach().clone()
    optim.SparseAdam(layer.parameters()).step()
    np.testing.assert_array_equal(layer.weight.detach().numpy(), before.numpy())


def test_hooks_and_functional_form():
    weight = gg.tensor(TABLE, requires_grad=True)
    seen = []
    weight.register_hook(lambda g: seen.append(g.is_sparse))
    weight.register_hook(lambda g: g * 2)
    F.embedding(gg.tensor(INDEX), weight, sparse=True).sum().backward()
    assert seen == [True]
    np.testing.assert_array_equal(weight.grad.to_dense().numpy()[1], [4.0] * 3)
