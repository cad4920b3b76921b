"""Calls of ``nn.functional`` made twice, here and in PyTorch, and compared with their gradients."""

import numpy as np
import pytest

import graphgrad as gg
import graphgrad.nn.functional as F

rng = np.random.default_rng(0)


class Fixed:
    """An argument without gradient."""

    def __init__(self, array):
        self.array = array


def r(*shape):
    return rng.normal(size=shape)


def labels(classes, *shape):
    return rng.integers(0, classes, shape)


def case(name, *args, **kwargs):
    text = ",".join(str(getattr(a, "shape", a)) for a in args if not isinstance(a, Fixed))
    options = ",".join(
        f"{k}={v}" for k, v in kwargs.items() if not isinstance(v, (Fixed, np.ndarray))
    )
    return pytest.param(name, args, kwargs, id=f"{name}({text};{options})"[:90])


def argument(value, library, leaves):
    if isinstance(value, Fixed):
        return library.tensor(value.array)
    if not isinstance(value, np.ndarray):
        return value
    tensor = library.tensor(value)
    if value.dtype.kind == "f":
        leaves.append(tensor.requires_grad_())
    return tensor


def outcome(library, functional, name, args, kwargs):
    """Results and gradients of Σ result·cos(position), as arrays."""
    leaves = []
    args = [argument(a, library, leaves) for a in args]
    kwargs = {k: argument(v, library, leaves) for k, v in kwargs.items()}
    result = getattr(functional, name)(*args, **kwargs)
    results = result if isinstance(result, tuple) else (result,)
    for y in results:
        if y.requires_grad:
            weight = np.cos(np.arange(y.numel())).reshape(tuple(y.shape))
            (y * library.tensor(weight)).sum().backward()
    return [y.detach().numpy() for y in results], [x.grad for x in leaves]


def compare(name, args, kwargs, tier="interpret"):
    """Values, shapes, types and gradients agree."""
    torch = pytest.importorskip("torch")
    with gg.config.scope(tier=tier):
        ours, our_grads = outcome(gg, F, name, args, kwargs)
    theirs, their_grads = outcome(torch, torch.nn.functional, name, args, kwargs)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine.shape, mine.dtype) == (other.shape, other.dtype)
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-10)
    for mine, other in zip(our_grads, their_grads, strict=True):
        if other is not None:
            np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=1e-7, atol=1e-9)
