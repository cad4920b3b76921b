"""Checkpointed blocks: the same gradients, computed with less held."""

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import nn
from graphgrad.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential

pytestmark = pytest.mark.devices


def network():
    gg.manual_seed(0)
    layers = [nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 8), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(8, 1))


def gradients(model, run, **options):
    x = gg.arange(12.0).reshape(3, 4).requires_grad_()
    gg.manual_seed(1)
    y = run(model, x)
    after = gg.rand(1).item()
    y.square().sum().backward(**options)
    return [after, x.grad.numpy(), *(p.grad.numpy() for p in model.parameters())]


WAYS = {
    "block": lambda m, x: checkpoint(m, x, use_reentrant=False),
    "nested": lambda m, x: checkpoint(lambda v: checkpoint(m[3:], m[:3](v)), x),
    "sequential": lambda m, x: checkpoint_sequential(m, 3, x),
    "parts": lambda m, x: m[3:](checkpoint(m[:3], x)),
}


@pytest.mark.parametrize("way", WAYS)
def test_gradients_are_those_of_the_block_itself(way):
    plain = gradients(network(), lambda m, x: m(x))
    found = gradients(network(), WAYS[way])
    for a, b in zip(plain, found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)


def test_inputs_without_gradient_second_passes_and_grad():
    model, x = network().eval(), gg.ones(2, 4)
    y = checkpoint(model, x).sum()
    y.backward(retain_graph=True)
    once = model[0].weight.grad.numpy().copy()
    y.backward()
    np.testing.assert_allclose(model[0].weight.grad.numpy(), 2 * once, rtol=1e-6)
    (g,) = gg.autograd.grad(checkpoint(model, x).sum(), [model[0].weight])
    np.testing.assert_allclose(g.numpy(), once, rtol=1e-6)


def test_nothing_inside_is_held():
    import weakref

    held = []

    def block(x):
        y = (x * 2).exp()
        held.append(weakref.ref(y._array))
        return (y * y).sum()

    x = gg.ones(1000, requires_grad=True)
    plain = block(x)
    assert held.pop()() is not None
    out = checkpoint(block, x)
    assert held.pop()() is None
    out.backward()
    expected = x.grad.numpy().copy()
    x.grad = None
    plain.backward()
    np.testing.assert_allclose(x.grad.numpy(), expected)


def test_compiled_and_without_gradients_it_is_the_block():
    model, x = network().eval(), gg.ones(2, 4)
    expected = model(x).detach().numpy()
    compiled = gg.compile(lambda v: checkpoint(model, v))
    np.testing.assert_allclose(compiled(x).detach().numpy(), expected, rtol=1e-6)
    with gg.no_grad():
        np.testing.assert_allclose(checkpoint(model, x).numpy(), expected, rtol=1e-6)


def test_a_function_that_changes_its_mind_is_named():
    calls = []

    def fickle(x):
        calls.append(1)
        return x.exp() if len(calls) == 1 else x.exp().exp()

    with pytest.raises(CheckpointError, match="saved 1 tensors for backward, but 2"):
        checkpoint(fickle, gg.ones(2, requires_grad=True)).sum().backward()
    with pytest.raises(NotImplementedError, match="context_fn"):
        checkpoint(fickle, gg.ones(2), context_fn=lambda: None)


def test_hooks_on_saved_tensors_refuse_a_trace():
    def hooked(x):
        with gg.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            return x.exp()

    with pytest.raises(NotImplementedError, match="inside gg\\.compile the compiler decides"):
        gg.compile(hooked)(gg.ones(2))
