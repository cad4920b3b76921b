"""Views share memory and history; in-place writes mean what they mean in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import graphgrad as gg

pytestmark = pytest.mark.devices

torch = pytest.importorskip("torch")


def assert_engines_agree(program):
    """``program(t)`` returns tensors that must be equal under both engines."""
    for a, b in zip(program(gg), program(torch), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6)


VIEWS = {
    "select": lambda x: x[1],
    "slice": lambda x: x[:, 1:],
    "step": lambda x: x[::2, ::2],
    "transpose": lambda x: x.t(),
    "view": lambda x: x.view(-1),
    "unsqueeze": lambda x: x.unsqueeze(0),
    "narrow": lambda x: x.narrow(1, 0, 2),
    "diagonal": lambda x: x.diagonal(),
    "chain": lambda x: x.t()[1:].reshape(2, 3)[0],
    "split": lambda x: x.split(2, 1)[1],
    "detach": lambda x: x.detach(),
    "squeeze": lambda x: x[:1].squeeze(),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_share_memory(name):
    def program(t):
        x = t.arange(9.0).reshape(3, 3).clone()
        view = VIEWS[name](x)
        view += 10
        x[1, 1] = -1
        return x, view

    assert_engines_agree(program)


@pytest.mark.parametrize("name", [n for n in VIEWS if n not in ("detach", "split")])
def test_writing_to_a_view_changes_the_history_of_its_base(name):
    def program(t):
        w = t.arange(9.0).reshape(3, 3).requires_grad_()
        x = w * 2
        v = VIEWS[name](x)
        v.mul_(3)
        y = v * v
        x.sum().backward(retain_graph=True)
        first = w.grad.clone()
        y.sum().backward()
        return first, w.grad, x, v

    assert_engines_agree(program)


def test_other_views_follow_a_write():
    def program(t):
        w = t.ones(4, requires_grad=True)
        x = w * 1
        a, b = x[:2], x.view(2, 2)
        a.mul_(w[:2] * 5)
        b[0].add_(1)
        b.sum().backward()
        return w.grad, a, b, x

    assert_engines_agree(program)


def test_a_base_without_history_gains_one():
    def program(t):
        w = t.tensor([2.0, 3.0], requires_grad=True)
        out = t.zeros(2, 2)
        first = out[0]
        out[0] = w
        out[1] = w * w
        assert out.requires_grad and first.requires_grad
        (out.sum() + first.sum()).backward()
        return w.grad, out, first

    assert_engines_agree(program)


def test_loops_that_fill_a_buffer():
    def program(t):
        w = t.tensor([0.5, 0.6], requires_grad=True)
        out = t.zeros(5, 2)
        h = w
        for i in range(5):
            h = (h * w).tanh()
            out[i] = h
        (out * out).sum().backward()
        return w.grad, out

    assert_engines_agree(program)


def test_leaves_cannot_be_written():
    x = gg.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
        x[0] = 1
    with gg.no_grad():
        x.add_(1)
        x[0] = 5
    assert x.tolist() == [5, 2, 2] and x.is_leaf


WRITES = {
    "add_": lambda x, y: x.add_(y, alpha=2),
    "mul_": lambda x, y: x.mul_(y),
    "div_": lambda x, y: x.div_(y + 3),
    "pow_": lambda x, y: x.pow_(2),
    "exp_": lambda x, y: x.exp_(),
    "copy_": lambda x, y: x.copy_(y),
    "fill_": lambda x, y: x.fill_(2.0),
    "zero_": lambda x, y: x.zero_(),
    "clamp_": lambda x, y: x.clamp_(-0.5, 0.5),
    "relu_": lambda x, y: x.relu_(),
    "masked_fill_": lambda x, y: x.masked_fill_(y > 0, 7.0),
    "isub": lambda x, y: x.__isub__(y),
    "lerp_": lambda x, y: x.lerp_(y, 0.3),
    "addcmul_": lambda x, y: x.addcmul_(y, y, value=0.5),
    "setitem": lambda x, y: x.__setitem__((0, slice(1)), y[0, :1] * 2),
    "setitem mask": lambda x, y: x.__setitem__(x > 0, 0.5),
    "tril_": lambda x, y: x.tril_(),
    "index_add_": lambda x, y: x.index_add_(0, y.new_tensor([0, 0]).long(), y),
}


@pytest.mark.parametrize("name", WRITES)
def test_writes_and_their_gradients(name):
    rng = np.random.default_rng(1)
    a, b = (rng.uniform(-1, 1, (2, 3)).astype(np.float32) for _ in range(2))

    def program(t):
        u, y = t.tensor(a, requires_grad=True), t.tensor(b, requires_grad=True)
        x = u * 1
        WRITES[name](x, y)
        (x * x).sum().backward()
        zero = t.zeros(2, 3)
        return x, zero if u.grad is None else u.grad, zero if y.grad is None else y.grad

    assert_engines_agree(program)


@pytest.mark.host
def test_a_write_keeps_memory_in_place():
    x = gg.ones(3)
    array = x.numpy()
    x += 1
    x.mul_(2).sub_(1).copy_(gg.arange(3))
    assert array.tolist() == [0, 1, 2]


def test_versions_count_writes_of_all_aliases():
    x = gg.ones(2, 2)
    assert x._version == 0
    x[0] += 1
    x.detach().mul_(2)
    x.t().zero_()
    assert x._version == x[0]._version >= 3


def test_a_view_written_after_it_was_saved_is_noticed():
    x = gg.ones(2, requires_grad=True)
    y = x * 2
    z = y[0] * y[1]
    y.detach()[0] = 5
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()


def test_expanded_memory_cannot_be_written():
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        gg.ones(1, 2).expand(3, 2).add_(1)


def test_base():
    x = gg.ones(2, 2)
    assert x[0]._base is x and x[0][0]._base is x and x._base is None
    assert x.t()._is_view() and not x._is_view()


def test_shape_changes_in_place():
    def program(t):
        x = t.arange(6.0).reshape(2, 3)
        x.t_()
        y = t.ones(2).unsqueeze_(0)
        z = t.ones(1, 2).squeeze_()
        return x, y, z

    assert_engines_agree(program)
