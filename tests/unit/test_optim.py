"""Optimizers beside PyTorch's: parameters, state and reprs after several steps; errors."""

import copy

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import optim

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


SCHEDULES = [
    ("StepLR", {"step_size": 3}),
    ("MultiStepLR", {"milestones": [2, 5]}),
    ("ExponentialLR", {"gamma": 0.8}),
    ("ConstantLR", {}),
    ("LinearLR", {}),
    ("PolynomialLR", {"power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 6, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2}),
    ("LambdaLR", {"lr_lambda": lambda epoch: 1 / (1 + epoch)}),
    ("MultiplicativeLR", {"lr_lambda": lambda epoch: 0.9}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 20}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 20, "three_phase": True}),
]


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_schedules_are_torchs(name, options):
    torch = pytest.importorskip("torch")
    rates = []
    for library in (gg, torch):
        optimizer = library.optim.SGD([library.ones(1, requires_grad=True)], 0.3, momentum=0.9)
        schedule = getattr(library.optim.lr_scheduler, name)(optimizer, **options)
        rows = [schedule.get_last_lr()[0]]
        for _ in range(12):
            schedule.step()
            rows.append(schedule.get_last_lr()[0])
            rows.append(optimizer.param_groups[0]["momentum"])
        rates.append(rows)
    np.testing.assert_allclose(*rates, rtol=1e-9)


@pytest.mark.torch
def test_plateaus_and_sequences_are_torchs():
    torch = pytest.importorskip("torch")
    rates = []
    for library in (gg, torch):
        s = library.optim.lr_scheduler
        optimizer = library.optim.SGD([library.ones(1, requires_grad=True)], 1.0)
        plateau, rows = s.ReduceLROnPlateau(optimizer, patience=1, cooldown=1), []
        for metric in (3, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1):
            plateau.step(metric)
            rows.append(optimizer.param_groups[0]["lr"])
        optimizer = library.optim.SGD([library.ones(1, requires_grad=True)], 1.0)
        parts = [s.ConstantLR(optimizer, 0.1, 2), s.ExponentialLR(optimizer, 0.9)]
        sequence = s.SequentialLR(optimizer, parts, [3])
        for _ in range(6):
            sequence.step()
            rows.append(optimizer.param_groups[0]["lr"])
        rates.append(rows)
    np.testing.assert_allclose(*rates, rtol=1e-9)
