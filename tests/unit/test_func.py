"""graphgrad.func beside torch.func: values, structures, nesting, compiled."""

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import func

pytestmark = pytest.mark.devices

A = np.random.default_rng(0).normal(size=(3, 4))
B = np.random.default_rng(1).normal(size=(4,))


def numbers(library, value):
    if isinstance(value, library.Tensor):
        return value.detach().numpy()
    if isinstance(value, dict):
        return {k: numbers(library, v) for k, v in value.items()}
    return [numbers(library, v) for v in value] if isinstance(value, (list, tuple)) else value


def assert_same(a, b):
    if isinstance(a, dict):
        assert list(a) == list(b)
        a, b = list(a.values()), list(b.values())
    if isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def scalar(x):
    return (x.sin() * x).sum()


def vector(x, y):
    return (x @ y).tanh(), {"y": y * y[0]}


def dictionary(p, y):
    return ((p["w"] @ y) ** 2).sum() + p["b"].sum()


CASES = {
    "grad": lambda f, a, b: f.grad(scalar)(a),
    "argnums": lambda f, a, b: f.grad(lambda x, y: scalar(x) * scalar(y), (1, 0))(a, b),
    "aux": lambda f, a, b: f.grad(lambda x: (scalar(x), x * 2), has_aux=True)(a),
    "value": lambda f, a, b: f.grad_and_value(scalar)(a),
    "nested dictionary": lambda f, a, b: f.grad(dictionary)({"w": a, "b": b}, b),
    "unused": lambda f, a, b: f.grad(lambda x, y: scalar(y), (0, 1))(a, b),
    "second": lambda f, a, b: f.grad(lambda x: scalar(f.grad(scalar)(x)))(b),
    "third": lambda f, a, b: f.grad(f.grad(f.grad(lambda x: x**4)))(b[0]),
    "vjp": lambda f, a, b: f.vjp(vector, a, b)[1]((a[:, 0], {"y": b})),
    "vjp output": lambda f, a, b: f.vjp(vector, a, b)[0],
    "jvp": lambda f, a, b: f.jvp(vector, (a, b), (a * 2, b + 1)),
    "jvp of grad": lambda f, a, b: f.jvp(f.grad(scalar), (b,), (b + 1,)),
    "linearize": lambda f, a, b: f.linearize(scalar, b)[1](b + 1),
    "jacrev": lambda f, a, b: f.jacrev(vector, (0, 1))(a, b),
    "jacfwd": lambda f, a, b: f.jacfwd(vector, (0, 1))(a, b),
    "jacrev one": lambda f, a, b: f.jacrev(lambda x: x.cos())(b),
    "jacfwd of scalar": lambda f, a, b: f.jacfwd(scalar)(a),
    "hessian": lambda f, a, b: f.hessian(scalar)(b),
    "hessian of matrices": lambda f, a, b: f.hessian(lambda x: (x @ b).exp().sum())(a),
    "vmap": lambda f, a, b: f.vmap(lambda x, y: x @ y, (0, None))(a, b),
    "vmap dims": lambda f, a, b: f.vmap(lambda x: x * 2, in_dims=1, out_dims=1)(a),
    "vmap tree": lambda f, a, b: f.vmap(lambda d: {"s": d["x"].sum()}, ({"x": 0, "y": None},))(
        {"x": a, "y": b}
    ),
    "per-sample gradients": lambda f, a, b: f.vmap(f.grad(lambda w, x: (w @ x).sin()), (None, 0))(
        b, a
    ),
}


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_values_are_torchs(name):
    torch = pytest.importorskip("torch")
    ours = numbers(gg, CASES[name](func, gg.tensor(A), gg.tensor(B)))
    theirs = numbers(torch, CASES[name](torch.func, torch.tensor(A), torch.tensor(B)))
    assert_same(ours, theirs)


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("third",)])
def test_compiled_is_eager(name):
    a, b = gg.tensor(A), gg.tensor(B)
    compiled = gg.compile(lambda x, y: CASES[name](func, x, y))
    assert_same(numbers(gg, compiled(a, b)), numbers(gg, CASES[name](func, a, b)))


def test_results_have_history_only_where_something_outside_wants_it():
    x = gg.tensor(B)
    assert not func.grad(scalar)(x).requires_grad and x.grad is None
    assert not func.vjp(scalar, x)[0].requires_grad
    w = gg.tensor(B, requires_grad=True)
    g = func.grad(lambda v: (v * v * w).sum())(x)
    assert g.requires_grad
    g.sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * B)
    needing = gg.tensor(B, requires_grad=True)
    func.grad(lambda v: (v**3).sum())(needing).sum().backward()
    np.testing.assert_allclose(needing.grad.numpy(), 6 * B)


def test_modules_as_functions_of_their_parameters():
    model = gg.nn.Sequential(gg.nn.Linear(4, 3), gg.nn.BatchNorm1d(3), gg.nn.Linear(3, 1))
    model.eval()
    x = gg.ones(2, 4)
    own = {name: p.detach() * 2 for name, p in model.named_parameters()}
    before = {name: p.clone() for name, p in model.state_dict().items()}
    y = func.functional_call(model, own, (x,))
    for name, p in model.state_dict().items():
        np.testing.assert_array_equal(p.numpy(), before[name].numpy())
    twice = gg.nn.Sequential(gg.nn.Linear(4, 3), gg.nn.BatchNorm1d(3), gg.nn.Linear(3, 1)).eval()
    twice.load_state_dict({**model.state_dict(), **own})
    np.testing.assert_allclose(y.detach().numpy(), twice(x).detach().numpy(), rtol=1e-6)
    g = func.grad(lambda p: func.functional_call(model, p, x).sum())(own)
    twice(x).sum().backward()
    for name, p in twice.named_parameters():
        np.testing.assert_allclose(g[name].numpy(), p.grad.numpy(), rtol=1e-5)
    with pytest.raises(KeyError, match="unknown names"):
        func.functional_call(model, {"nothing": x}, x)
    with pytest.raises(KeyError, match="missing names"):
        func.functional_call(model, {}, x, strict=True)


def test_ensembles():
    models = [gg.nn.Linear(4, 2) for _ in range(3)]
    parameters, buffers = func.stack_module_state(models)
    assert tuple(parameters["weight"].shape) == (3, 2, 4) and not buffers
    x = gg.ones(5, 4)
    y = func.vmap(lambda p: func.functional_call(models[0], p, x))(parameters)
    for row, model in zip(y, models, strict=True):
        np.testing.assert_allclose(row.detach().numpy(), model(x).detach().numpy(), rtol=1e-6)


def test_randomness_of_samples():
    x = gg.zeros(3)
    with pytest.raises(RuntimeError, match="randomness error mode"):
        func.vmap(lambda v: v + gg.rand(()))(x)
    different = func.vmap(lambda v: v + gg.rand(()), randomness="different")(x)
    same = func.vmap(lambda v: v + gg.rand(()), randomness="same")(x)
    assert len(set(different.tolist())) == 3 and len(set(same.tolist())) == 1


@pytest.mark.parametrize(
    ("mistake", "kind", "text"),
    [
        (lambda x: func.grad(lambda v: v)(x), RuntimeError, "must return a scalar tensor"),
        (lambda x: func.grad(scalar, 2)(x), RuntimeError, "argnums=2"),
        (lambda x: func.grad(lambda v: 1.0)(3), TypeError, "must hold tensors only, not int"),
        (lambda x: func.vmap(scalar, None)(x), ValueError, "at least one argument"),
        (lambda x: func.vmap(lambda a, b: a)(x, x[:2]), ValueError, "same size in the mapped"),
        (lambda x: func.jvp(scalar, x, x), RuntimeError, "must be tuples"),
    ],
)
def test_mistakes_are_named(mistake, kind, text):
    with pytest.raises(kind, match=text):
        mistake(gg.tensor(B))
