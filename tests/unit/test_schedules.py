"""Schedules and averages of weights beside PyTorch's, step by step."""

import numpy as np
import pytest

import graphgrad as gg

pytestmark = [
    pytest.mark.devices,
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore"),
]
torch = pytest.importorskip("torch")

SCHEDULES = [
    ("StepLR", {"step_size": 3}),
    ("MultiStepLR", {"milestones": [2, 5, 5]}),
    ("ExponentialLR", {"gamma": 0.8}),
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.5, "total_iters": 3}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.1, "total_iters": 7}),
    ("PolynomialLR", {"power": 2.0, "total_iters": 8}),
    ("CosineAnnealingLR", {"T_max": 6, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2}),
    ("LambdaLR", {"lr_lambda": lambda epoch: 1 / (1 + epoch)}),
    ("MultiplicativeLR", {"lr_lambda": lambda epoch: 0.9}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 20}),
    ("OneCycleLR", {"max_lr": [0.5, 0.2], "epochs": 4, "steps_per_epoch": 5, "three_phase": True}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 20, "anneal_strategy": "linear"}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 3}),
    (
        "CyclicLR",
        {
            "base_lr": 0.1,
            "max_lr": 0.5,
            "step_size_up": 3,
            "step_size_down": 2,
            "mode": "triangular2",
        },
    ),
    (
        "CyclicLR",
        {
            "base_lr": [0.1, 0.2],
            "max_lr": 0.5,
            "step_size_up": 3,
            "mode": "exp_range",
            "gamma": 0.9,
            "cycle_momentum": False,
        },
    ),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 3, "scale_fn": lambda x: 1 / x}),
]
IDS = [f"{name}-{i}" for i, (name, _) in enumerate(SCHEDULES)]


def optimizer_of(library, name="SGD", **options):
    groups = [{"params": [library.ones(1, requires_grad=True)]}]
    groups.append({"params": [library.ones(1, requires_grad=True)], "lr": 0.2})
    options = options or ({"momentum": 0.9} if name == "SGD" else {})
    return getattr(library.optim, name)(groups, lr=0.3, **options)


def made(library, optimizer, name, options):
    return getattr(library.optim.lr_scheduler, name)(optimizer, **options)


def seen(optimizer, schedule):
    groups = optimizer.param_groups
    momenta = [g["momentum"] if "momentum" in g else g["betas"][0] for g in groups]
    return [*schedule.get_last_lr(), *(g["lr"] for g in groups), *momenta]


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize(("name", "options"), SCHEDULES, ids=IDS)
def test_steps(name, options, kind):
    rows = []
    for library in (gg, torch):
        optimizer = optimizer_of(library, kind)
        schedule = made(library, optimizer, name, options)
        row = seen(optimizer, schedule)
        for _ in range(13):
            optimizer.step()
            schedule.step()
            row += seen(optimizer, schedule)
        rows.append(row)
    np.testing.assert_allclose(*rows, rtol=1e-9)


@pytest.mark.parametrize(("name", "options"), SCHEDULES, ids=IDS)
def test_resuming_jumping_and_loading(name, options):
    """From last_epoch, from a state_dict, and to an epoch of one's choice."""
    rows = []
    for library in (gg, torch):
        optimizer = optimizer_of(library)
        first = made(library, optimizer, name, options)
        for _ in range(4):
            first.step()
        resumed = made(library, optimizer, name, options | {"last_epoch": 4})
        row = seen(optimizer, resumed)
        for _ in range(3):
            resumed.step()
            row += seen(optimizer, resumed)
        other = optimizer_of(library)
        loaded = made(library, other, name, options)
        loaded.load_state_dict(first.state_dict())
        loaded.step()
        row += seen(other, loaded)
        if name != "MultiplicativeLR":
            loaded.step(2)
            row += seen(other, loaded)
            loaded.step()
            row += seen(other, loaded)
        rows.append(row)
    np.testing.assert_allclose(*rows, rtol=1e-9)


@pytest.mark.parametrize(("name", "options"), SCHEDULES, ids=IDS)
def test_states_have_torchs_keys(name, options):
    states = []
    for library in (gg, torch):
        schedule = made(library, optimizer_of(library), name, options)
        states.append(schedule.state_dict())
    ours, theirs = states
    assert {"base_lrs", "last_epoch", "_step_count", "_last_lr"} <= set(ours)
    for key in set(ours) & set(theirs):
        if key not in ("_step_count", "milestones"):
            assert ours[key] == theirs[key], key


def test_chains_multiply_and_sequences_begin_anew():
    rows = []
    for library in (gg, torch):
        s, row = library.optim.lr_scheduler, []
        optimizer = optimizer_of(library)
        parts = [s.ConstantLR(optimizer, 0.1, 4), s.ExponentialLR(optimizer, 0.9)]
        parts += [s.CosineAnnealingLR(optimizer, 8), s.StepLR(optimizer, 3)]
        chain = s.ChainedScheduler(parts)
        for _ in range(10):
            chain.step()
            row += seen(optimizer, chain)
        optimizer = optimizer_of(library)
        parts = [s.LinearLR(optimizer, 0.1, total_iters=3), s.CosineAnnealingLR(optimizer, 5)]
        parts.append(s.ConstantLR(optimizer, 0.2, 2))
        sequence = s.SequentialLR(optimizer, parts, [3, 8])
        row += seen(optimizer, sequence)
        for i in range(12):
            sequence.step()
            row += seen(optimizer, sequence)
            if i == 5:
                sequence.load_state_dict(sequence.state_dict())
        rows.append(row)
    np.testing.assert_allclose(*rows, rtol=1e-9)


@pytest.mark.parametrize(
    "options", [{}, {"mode": "max"}, {"threshold_mode": "abs", "min_lr": 0.05}]
)
def test_plateaus(options):
    rows = []
    for library in (gg, torch):
        optimizer = optimizer_of(library)
        plateau = library.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, patience=1, cooldown=1, **options
        )
        row = []
        for metric in (3, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1):
            plateau.step(metric)
            row += [*seen(optimizer, plateau), plateau.num_bad_epochs, plateau.best]
        rows.append(row)
    np.testing.assert_allclose(*rows, rtol=1e-9)


def test_a_rate_that_is_a_tensor_stays_one():
    rows = []
    for library in (gg, torch):
        rate = library.tensor(0.5)
        optimizer = library.optim.SGD([library.ones(1, requires_grad=True)], lr=rate)
        schedule = library.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        schedule.step()
        assert optimizer.param_groups[0]["lr"] is rate
        rows.append([rate.item(), float(schedule.get_last_lr()[0])])
    np.testing.assert_allclose(*rows)


MISTAKES = [
    lambda s, o: s.LinearLR(o, start_factor=0),
    lambda s, o: s.ConstantLR(o, factor=2),
    lambda s, o: s.OneCycleLR(o, 1.0),
    lambda s, o: s.OneCycleLR(o, 1.0, total_steps=-1),
    lambda s, o: s.CyclicLR(o, 0.1, 0.2, mode="up"),
    lambda s, o: s.CosineAnnealingWarmRestarts(o, 0),
    lambda s, o: s.ReduceLROnPlateau(o, factor=2),
    lambda s, o: s.LambdaLR(o, [lambda e: 1]),
    lambda s, o: s.SequentialLR(o, [s.StepLR(o, 1)], [1]),
    lambda s, o: s.ChainedScheduler([]),
    lambda s, o: s.ChainedScheduler([s.ReduceLROnPlateau(o)]),
    lambda s, o: s.StepLR(o, 3, last_epoch=2),
    lambda s, o: s.StepLR(3, 3),
]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_raise_what_torch_raises(mistake):
    kinds = []
    for library in (gg, torch):
        with pytest.raises(Exception) as caught:
            mistake(library.optim.lr_scheduler, optimizer_of(library))
        kinds.append((type(caught.value), str(caught.value)[:20]))
    assert kinds[0] == kinds[1]


@pytest.mark.filterwarnings("default")
def test_a_schedule_stepped_before_its_optimizer_warns():
    optimizer = optimizer_of(gg)
    schedule = gg.optim.lr_scheduler.StepLR(optimizer, 3)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        schedule.step()


# ------------------------------------------------------------------------------ averages of weights


def trained(library, **options):
    """The average after a few updates, its batch norm renewed, and the rates on the way."""
    swa = library.optim.swa_utils
    rng = np.random.default_rng(0)
    model = library.nn.Sequential(library.nn.Linear(3, 4), library.nn.BatchNorm1d(4))
    with library.no_grad():
        for p in model.parameters():
            p.copy_(library.tensor(rng.normal(size=tuple(p.shape)).astype(np.float32)))
    batches = [library.tensor(rng.normal(size=(6, 3)).astype(np.float32)) for _ in range(4)]
    options = {k: v(swa) if callable(v) else v for k, v in options.items()}
    average = swa.AveragedModel(model, **options)
    optimizer = library.optim.SGD(model.parameters(), lr=0.5)
    schedule, row = swa.SWALR(optimizer, swa_lr=0.05, anneal_epochs=3), []
    for batch in batches:
        optimizer.zero_grad()
        ((model(batch) - batch.sum(1, keepdim=True)) ** 2).mean().backward()
        optimizer.step()
        average.update_parameters(model)
        schedule.step()
        row.append(optimizer.param_groups[0]["lr"])
    swa.update_bn([(b, None) for b in batches], average)
    state = {k: v.clone().numpy() for k, v in average.state_dict().items()}
    return row, state, average(batches[0]).detach().numpy()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_buffers": True},
        {"avg_fn": lambda swa: swa.get_ema_avg_fn(0.8)},
        {"avg_fn": lambda swa: swa.get_swa_avg_fn()},
        {"multi_avg_fn": lambda swa: swa.get_ema_multi_avg_fn(0.7), "use_buffers": True},
        {"multi_avg_fn": lambda swa: swa.get_swa_multi_avg_fn()},
    ],
)
def test_averages_are_torchs(options):
    (rates, ours, y), (others, theirs, z) = (trained(library, **options) for library in (gg, torch))
    np.testing.assert_allclose(rates, others, rtol=1e-9)
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        np.testing.assert_allclose(ours[key], value, rtol=1e-4, atol=1e-5, err_msg=key)
    np.testing.assert_allclose(y, z, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("epochs", [0, 1, 5])
def test_annealing_to_the_swa_rate(strategy, epochs):
    rows = []
    for library in (gg, torch):
        optimizer = optimizer_of(library)
        schedule = library.optim.swa_utils.SWALR(optimizer, [0.05, 0.1], epochs, strategy)
        row = seen(optimizer, schedule)
        for _ in range(8):
            schedule.step()
            row += seen(optimizer, schedule)
        rows.append(row)
    np.testing.assert_allclose(*rows, rtol=1e-9)
