"""Places in memory that tell a replayed call whether anything was assigned."""

from __future__ import annotations

import collections
import types

import numpy as np
import pytest
from graphgrad.kernels import pins as module
from graphgrad.kernels.pins import Pins

import graphgrad as gg
from graphgrad import nn, optim
from graphgrad.pinning import places


@pytest.fixture(autouse=True)
def compiled():
    with gg.config.scope(tier="compiled"):
        yield


class Plain:
    """An object with a dict."""


needs_memory = pytest.mark.skipif(not module.available(), reason="memory is not looked at here")
needs_versions = pytest.mark.skipif(
    module._version_offset() is None, reason="this Python's dicts have no versions"
)


@needs_memory
def test_slots_cells_and_lists_tell_their_changes():
    x, items, holder = gg.zeros(3), [], Plain()
    for i in range(5):  # there is room for eight, then
        items.append(i)
    cell = types.CellType(x)
    changes = [
        ("slot", (x, "_needs"), lambda: x.requires_grad_()),
        ("slot", (x, "_array"), lambda: setattr(x, "data", gg.ones(3))),
        ("cell", (cell,), lambda: setattr(cell, "cell_contents", None)),
        ("members", (holder,), lambda: setattr(holder, "__dict__", {"other": 1})),
        ("sequence", (items,), lambda: items.append(3)),
        ("sequence", (items,), lambda: items.__setitem__(0, 5)),
    ]
    for kind, place, change in changes:
        pins = Pins()
        pins.slot(gg.zeros(1), "_grad")
        getattr(pins, kind)(*place)
        assert len(pins) > 1 and pins.changed() == 0, "nothing is held yet"
        assert pins.hold()
        assert pins.changed() == -1
        change()
        assert pins.changed() > 0, kind
        assert pins.hold()
        assert pins.changed() == -1


@needs_memory
def test_items_of_a_list_that_moved_are_not_looked_at():
    items, pins = [1, 2], Pins()
    pins.sequence(items)
    assert pins.hold()
    items.extend(range(100_000))
    assert pins.changed() >= 0 and not pins.hold()


@needs_versions
@pytest.mark.parametrize("kind", [dict, collections.OrderedDict])
def test_every_assignment_in_a_dict_is_told(kind):
    table, pins = kind(a=1), Pins()
    assert pins.mapping(table) == 0
    for change in (
        lambda: table.update(a=2),
        lambda: table.__setitem__("b", 3),
        lambda: table.pop("b"),
        lambda: table.setdefault("c", 4),
        lambda: table.clear(),
    ):
        pins.hold()
        _ = table.get("a"), len(table), list(table.items())
        assert pins.changed() == -1, "reading is no change"
        change()
        assert pins.changed() == 0


@needs_versions
def test_what_a_condition_reads_is_found():
    holder, pins = Plain(), Pins()
    holder.flag, holder.items, holder.names = True, [1, 2], {"a": 1}
    objects = {"o0": holder, "o1": vars(holder), "o2": globals(), "o3": {1, 2}}
    numbers = {
        "o0.flag is True": 2,
        "len(o1['items']) == 2": 5,
        "type(v := o1['names']['a']) is int and v == 1": 2,
        **dict.fromkeys(["o2['gg'] is o2", "o3 == o3", "o0.flag in (1, 2)"]),
        "o0.__class__ is o0": None,
    }
    found = [x and len(x) for x in places(numbers, objects, pins)]
    assert found == list(numbers.values())
    restless = Pins({id(vars(holder)) + module._version_offset()})
    assert list(places(["o1['flag'] is True"], objects, restless)) == [None]


def rate(number, net, optimizer):
    optimizer.param_groups[0]["lr"] = 0.1 / (1 + number)


def betas(number, net, optimizer):
    optimizer.param_groups[0]["betas"] = (0.5 + 0.01 * number, 0.9)


def mode(number, net, optimizer):
    net.train(number % 3 == 0)


def frozen(number, net, optimizer):
    net[0].weight.requires_grad_(number % 4 < 2)


def replaced(number, net, optimizer):
    if number == 5:
        net[3] = nn.Linear(3, 2, bias=False)


def data(number, net, optimizer):
    if number in (4, 5, 9):
        net[0].weight.data = net[0].weight.data * 0.5


def hooked(number, net, optimizer):
    if number == 6:
        net[2].register_forward_hook(lambda module, given, y: y * 2.0)


def nothing(number, net, optimizer):
    pass


@pytest.mark.parametrize("looking", [True, False], ids=["pinned", "in text"])
@pytest.mark.parametrize(
    "change", [nothing, rate, betas, mode, frozen, replaced, data, hooked], ids=lambda f: f.__name__
)
def test_a_replayed_step_notices_what_was_assigned(change, looking, monkeypatch):
    if not looking:
        monkeypatch.setattr(Pins, "_place", lambda *_: None)
    results = []
    for compile in (lambda f: f, gg.compile):
        gg.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.0), nn.Tanh(), nn.Linear(3, 2))
        optimizer = optim.AdamW(net.parameters(), lr=0.1)
        x = gg.from_numpy(np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4))

        def step(net=net, optimizer=optimizer, x=x):
            optimizer.zero_grad()
            loss = net(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        step = compile(step)
        for number in range(24):
            change(number, net, optimizer)
            step()
        results.append([p.detach().numpy().copy() for p in net.parameters()])
    for written, replayed in zip(*results, strict=True):
        np.testing.assert_allclose(written, replayed, rtol=1e-4, atol=1e-6)


@needs_versions
def test_what_changes_at_every_call_is_compared_in_text():
    net = nn.Linear(3, 2)
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    x = gg.randn(5, 3)

    @gg.compile
    def step():
        optimizer.zero_grad()
        net(x).sum().backward()
        optimizer.step()

    texts = []
    for number in range(20):
        optimizer.param_groups[0]["lr"] = 0.1 + number
        before = net.bias.detach().numpy().copy()
        step()
        np.testing.assert_allclose(
            before - net.bias.detach().numpy(), 5 * (0.1 + number), rtol=1e-3
        )
        texts.append(step.replay.source if step.replay else "")
    assert "number_" not in texts[2] and "number_" in texts[-1]


def test_a_container_that_was_replaced_by_its_equal_is_watched():
    net = nn.Linear(3, 2)
    x, calls = gg.ones(1, 3), []
    step = gg.compile(lambda x: net(x))
    for _ in range(3):
        step(x)
    net._forward_hooks = collections.OrderedDict()
    step(x)
    net.register_forward_hook(lambda *_: calls.append(1))
    step(x)
    assert calls, "a hook in the new table"
    net._parameters = dict(net._parameters)
    for _ in range(3):
        step(x)
    net._parameters["bias"] = nn.Parameter(gg.full((2,), 7.0))
    np.testing.assert_allclose(step(x).detach().numpy(), net(x).detach().numpy())


def test_equal_numbers_that_come_and_go_at_one_address():
    scale = 0.5

    def function(x):
        return x * scale

    step, x = gg.compile(function), gg.ones(2)
    for t in range(60):
        scale = (1.0 if t < 8 else 0.5 + 0.5 / (t // 4)) * 1.0
        np.testing.assert_allclose(step(x).numpy(), scale, rtol=1e-6)


def test_a_copied_optimizer_keeps_its_trace():
    import copy

    net = nn.Linear(3, 2)
    optimizer = copy.deepcopy(optim.Adam(net.parameters()))
    net.weight, net.bias = optimizer.param_groups[0]["params"]

    @gg.compile
    def step():
        optimizer.zero_grad()
        net(gg.ones(4, 3)).sum().backward()
        optimizer.step()

    for _ in range(6):
        step()
    assert sum(map(len, step.entries.values())) <= 2 and step.replay is not None
