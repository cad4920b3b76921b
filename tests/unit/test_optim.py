"""Optimizers beside PyTorch's: parameters, state and reprs after several steps; errors."""

import copy

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import optim

pytestmark = pytest.mark.devices

SETTINGS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.01, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "amsgrad": True}),
    ("Adam", {"lr": 0.01, "maximize": True}),
    ("AdamW", {"lr": 0.1}),
    ("AdamW", {"lr": 0.1, "amsgrad": True, "weight_decay": 0}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.1, "momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.2}),
    ("Adadelta", {"weight_decay": 0.1}),
    ("Adamax", {"lr": 0.1}),
    ("NAdam", {"lr": 0.1}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.1, "betas": (0.9, 0.5)}),
    ("ASGD", {}),
    ("ASGD", {"lr": 0.1, "t0": 2, "lambd": 0.01, "weight_decay": 0.1}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.5, "etas": (0.4, 1.5), "step_sizes": (1e-3, 0.6)}),
    ("Adafactor", {}),
    ("Adafactor", {"lr": 0.3, "eps": (1e-3, 0.1), "d": 1.5, "weight_decay": 0.1}),
]


def trained(library, name, options, dtype, steps=6):
    """Parameters pulled to targets; the third has no gradient at first, the rate changes midway."""
    rng = np.random.default_rng(0)
    shapes = ((4, 3), (3, 2), (5,))
    parameters = [
        library.tensor(rng.normal(size=s).astype(dtype), requires_grad=True) for s in shapes
    ]
    targets = [library.tensor(rng.normal(size=s).astype(dtype)) for s in shapes]
    optimizer = getattr(library.optim, name)(parameters, **options)
    for i in range(steps):
        optimizer.zero_grad()
        pairs = list(zip(parameters, targets, strict=True))[: 2 if i < 2 else 3]
        sum(((p - t) ** 2).sum() for p, t in pairs).backward()
        optimizer.step()
        if i == 3:
            optimizer.param_groups[0]["lr"] *= 0.5
    return parameters, optimizer


@pytest.mark.torch
@pytest.mark.parametrize(("name", "options"), SETTINGS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_are_torchs(name, options, dtype):
    torch = pytest.importorskip("torch")
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-11}
    ours, mine = trained(gg, name, options, dtype)
    theirs, other = trained(torch, name, options, dtype)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), **tolerance)
    assert repr(mine) == repr(other)
    a, b = mine.state_dict(), other.state_dict()
    assert a["param_groups"] == b["param_groups"]
    assert list(a["state"]) == list(b["state"])
    for number, kept in b["state"].items():
        assert list(a["state"][number]) == list(kept)
        for key, value in kept.items():
            np.testing.assert_allclose(a["state"][number][key].numpy(), value.numpy(), **tolerance)


def parameter(*shape):
    return gg.nn.Parameter(gg.ones(*shape))


P = [parameter(2), parameter(3)]
Q = [parameter(2, 2)]
MISTAKES = [
    (lambda: optim.SGD(P, -1), ValueError, "Invalid learning rate: -1"),
    (lambda: optim.SGD(P, 0.1, momentum=-1), ValueError, "Invalid momentum value: -1"),
    (lambda: optim.SGD(P, 0.1, nesterov=True), ValueError, "Nesterov momentum requires a momentum"),
    (lambda: optim.SGD([], 0.1), ValueError, "optimizer got an empty parameter list"),
    (lambda: optim.SGD(P[0], 0.1), TypeError, "iterable of Tensors or dicts, but got torch.Float"),
    (lambda: optim.SGD([3], 0.1), TypeError, "one of the params is int"),
    (lambda: optim.SGD([P[0] * 2], 0.1), ValueError, "can't optimize a non-leaf Tensor"),
    (
        lambda: optim.SGD([{"params": P}, {"params": P}]),
        ValueError,
        "more than one parameter group",
    ),
    (lambda: optim.Adam(P, betas=(1, 0.9)), ValueError, "Invalid beta parameter at index 0: 1"),
    (lambda: optim.Adam(P, eps=-1), ValueError, "Invalid epsilon value: -1"),
    (lambda: optim.Rprop(P, etas=(1.0, 1.2)), ValueError, "Invalid eta values: 1.0, 1.2"),
    (lambda: optim.Adafactor(P, d=0.5), ValueError, "Clipping threshold d should be >= 1"),
    (lambda: optim.Adafactor(P, beta2_decay=1), ValueError, "beta2_decay should be <= 0"),
    (lambda: optim.Muon(P), ValueError, "Muon only supports 2D parameters"),
    (lambda: optim.Muon(Q, adjust_lr_fn="x"), ValueError, "function x is not supported"),
    (lambda: optim.LBFGS([{"params": P}, {"params": Q}]), ValueError, "per-parameter options"),
    (lambda: optim.SGD(P).add_param_group(3), TypeError, "param_group must be a dict"),
    (
        lambda: optim.SGD(P).load_state_dict({"param_groups": [], "state": {}}),
        ValueError,
        "different number of parameter groups",
    ),
]


@pytest.mark.parametrize(("mistake", "kind", "text"), MISTAKES)
def test_mistakes_are_named_as_in_torch(mistake, kind, text):
    with pytest.raises(kind, match=text):
        mistake()


def test_state_survives_a_round_trip():
    first, a = trained(gg, "Adam", {"lr": 0.1}, "float32")
    saved = copy.deepcopy(a.state_dict())
    second = [gg.tensor(p.detach().numpy().copy(), requires_grad=True) for p in first]
    b = optim.Adam(second)
    b.load_state_dict(saved)
    assert repr(a) == repr(b)
    for p, q in zip(first, second, strict=True):
        p.grad, q.grad = gg.ones_like(p), gg.ones_like(q)
    a.step()
    b.step()
    for p, q in zip(first, second, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


def test_groups_have_options_of_their_own():
    a, b = parameter(1), parameter(1)
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 1.0}], lr=0.1)
    a.grad = b.grad = gg.ones(1)
    optimizer.step()
    assert a.item() == pytest.approx(0.9) and b.item() == pytest.approx(0.0)


def test_closure_gives_the_loss_and_hooks_run():
    p, log = parameter(1), []
    optimizer = optim.SGD([p], lr=0.5)
    optimizer.register_step_pre_hook(lambda *_: log.append("pre"))
    optimizer.register_step_post_hook(lambda *_: log.append("post"))

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 1 and p.item() == 0 and log == ["pre", "post"]


def test_a_step_counts_as_a_write():
    p = parameter(2)
    y = (p * p).sum()
    p.grad = gg.ones(2)
    optim.SGD([p], lr=0.1).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_changing_the_rate_builds_no_program():
    from graphgrad.optim import update

    p = parameter(2, 7)
    optimizer = optim.Adam([p])
    counts = []
    for rate in np.linspace(1e-3, 1e-1, 20):
        p.grad = gg.ones(2, 7)
        optimizer.param_groups[0]["lr"] = float(rate)
        optimizer.step()
        counts.append(len(update._programs))
    assert counts[0] == counts[-1]


@pytest.mark.parametrize(("name", "options"), SETTINGS)
def test_a_compiled_step_is_the_eager_step(name, options):
    results = []
    for compile in (lambda f: f, gg.compile):
        gg.manual_seed(0)
        layer = gg.nn.Linear(3, 2)
        optimizer = getattr(optim, name)(layer.parameters(), **options)
        x = gg.ones(4, 3)

        def step(layer=layer, optimizer=optimizer, x=x):
            optimizer.zero_grad()
            loss = (layer(x) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss.detach()

        run = compile(step)
        losses = []
        for _ in range(6):
            optimizer.param_groups[0]["lr"] *= 0.9
            losses.append(run().item())
        results.append((losses, [p.detach().numpy() for p in layer.parameters()], optimizer))
    (a, p, eager), (b, q, compiled) = results
    # A loss near its minimum, 0, is a difference of nearly equal numbers.
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    for x, y in zip(p, q, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)
    for i, kept in eager.state_dict()["state"].items():
        for key, value in kept.items():
            mine = compiled.state_dict()["state"][i][key]
            np.testing.assert_allclose(mine.numpy(), value.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options",
    [{}, {"nesterov": False, "adjust_lr_fn": "match_rms_adamw", "weight_decay": 0, "ns_steps": 3}],
)
def test_muon_is_torchs(options, dtype):
    """Its orthogonalisation rounds to bfloat16 as PyTorch's does, so that even that agrees."""
    torch = pytest.importorskip("torch")
    ends = []
    for library in (gg, torch):
        rng = np.random.default_rng(1)
        start = [rng.normal(size=s).astype(dtype) for s in ((4, 3), (3, 7), (1, 5))]
        parameters = [library.tensor(a, requires_grad=True) for a in start]
        optimizer = library.optim.Muon(parameters, lr=0.1, **options)
        for _ in range(4):
            optimizer.zero_grad()
            sum(((p - 0.5) ** 2).sum() for p in parameters).backward()
            optimizer.step()
        ends.append([p.detach().numpy() for p in parameters])
    for p, q in zip(*ends, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-5, atol=1e-6)


def banana(p):
    return 100 * (p[1] - p[0] ** 2) ** 2 + (1 - p[0]) ** 2


@pytest.mark.torch
@pytest.mark.parametrize(
    "options",
    [
        {"line_search_fn": "strong_wolfe"},
        {"line_search_fn": "strong_wolfe", "history_size": 2, "max_iter": 4},
        {"lr": 1e-3, "max_iter": 6},
    ],
)
def test_lbfgs_is_torchs(options):
    torch = pytest.importorskip("torch")
    rows = []
    for library in (gg, torch):
        p = library.tensor([-1.2, 1.0], dtype=library.float64, requires_grad=True)
        optimizer = library.optim.LBFGS([p], **options)

        def closure(p=p, optimizer=optimizer):
            optimizer.zero_grad()
            loss = banana(p)
            loss.backward()
            return loss

        row = []
        for _ in range(5):
            row.append(float(optimizer.step(closure)))
            kept = optimizer.state_dict()["state"][0]
            row += [*p.tolist(), kept["func_evals"], kept["n_iter"], len(kept["old_dirs"])]
        rows.append(row)
    np.testing.assert_allclose(*rows, rtol=1e-5, atol=1e-12)


def test_lbfgs_finds_the_minimum_and_says_why_it_cannot_be_traced():
    p = gg.tensor([-1.2, 1.0], dtype=gg.float64, requires_grad=True)
    optimizer = optim.LBFGS([p], line_search_fn="strong_wolfe", max_iter=60)

    def closure():
        optimizer.zero_grad()
        loss = banana(p)
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(p.detach().numpy(), [1, 1], rtol=1e-4)
    with pytest.raises(gg.TraceError, match="LBFGS decides by the value of the loss"):
        gg.compile(lambda: optimizer.step(closure))()


def test_hooks_of_all_optimizers_run_before_its_own():
    from graphgrad.optim.optimizer import register_optimizer_step_pre_hook

    log = []
    optimizer = optim.SGD([parameter(1)], lr=0.5)
    optimizer.register_step_pre_hook(lambda *_: log.append("own"))
    with register_optimizer_step_pre_hook(lambda *_: log.append("all")):
        optimizer.step()
    optimizer.step()
    assert log == ["all", "own", "own"]


@pytest.mark.parametrize("name", ["SGD", "Adam", "ASGD", "Rprop", "Adafactor"])
def test_parameters_of_many_shapes_are_updated_by_one_program(name, monkeypatch):
    """However many parameters, one call of one program; alike updates are rows of one kernel."""
    from graphgrad.optim import update

    parameters = [parameter(3, n) for n in range(2, 9)]
    for p in parameters:
        p.grad = gg.ones_like(p)
    monkeypatch.setattr(update, "_programs", {})
    getattr(optim, name)(parameters).step()
    ((program, *_),) = update._programs.values()
    assert len(program.graph.inputs) >= 2 * len(parameters)
