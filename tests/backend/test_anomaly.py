"""Anomaly mode: every planted NaN is found at its line, and an error leaves all as it was."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from planted import PLANTED

import graphgrad as gg
from graphgrad import ir, nn, optim
from graphgrad.autograd import detect_anomaly, set_detect_anomaly
from graphgrad.tensor.state import state

pytestmark = pytest.mark.devices

HOW = ("written", "traced", "compiled")


def run(function, how, *args):
    """Call a function as written, or compiled, under the tier that ``how`` stands for."""
    if how == "written":
        return function(*args)
    with gg.config.scope(tier="interpret" if how == "traced" else "compiled"):
        return gg.compile(function)(*args)


def error(function, how, *args):
    """The lines of the error that the call ends in."""
    with detect_anomaly(), pytest.raises(RuntimeError) as caught:
        run(function, how, *args)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_nan_is_found(name, how):
    planted = PLANTED[name]
    lines = error(planted.make(), how)
    assert len(lines) <= 10
    assert lines[0].startswith(planted.headline)
    assert planted.operation in lines[1]
    assert lines[2].split(": ", 1)[1].startswith(planted.line)
    for words in planted.also:
        assert words in "\n".join(lines)


@pytest.mark.parametrize("how", HOW)
def test_the_argument_that_holds_a_nan_is_named(how):
    def f(x, y):
        return (x.flatten() * y).sum()

    x, y = gg.ones(2, 2), gg.tensor([1.0, 2.0, float("nan"), 3.0])
    assert "  input 1 already holds nan" in error(f, how, x, y)


@pytest.mark.parametrize("how", HOW)
def test_the_first_in_the_order_of_the_program(how):
    """Not in the order in which the result reaches its operands."""

    def f(x):
        first = x.log()
        second = x.sqrt()
        return second + first

    assert "log returned nan" in error(f, how, gg.tensor([-1.0, 4.0]))[0]


def test_a_loop_is_at_its_own_line_though_an_equal_one_ran_before():
    def scans(xs):
        def here(total, x):
            return total + x.log(), x

        def there(total, x):
            return total + x.log(), x

        gg.scan(here, gg.tensor(0.0), xs.abs())
        return gg.scan(there, gg.tensor(0.0), xs)

    assert "in there:" in error(scans, "written", gg.tensor([1.0, -1.0]))[2]


# --------------------------------------------------------------------------------- what is no error


@pytest.mark.parametrize("how", HOW)
def test_to_move_a_nan_is_no_anomaly(how):
    def f(x):
        y = x.t().reshape(4)[1:]
        return gg.where(gg.isnan(y), gg.zeros(3), y), y.to(gg.float64), x[:, gg.tensor([1, 0])]

    with detect_anomaly():
        clean, moved, picked = run(f, how, gg.tensor([[1.0, float("nan")], [3.0, 4.0]]))
    assert clean.tolist() == [3.0, 0.0, 4.0]
    assert int(moved.isnan().sum()) == 1 and int(picked.isnan().sum()) == 1


def masked_log():
    x = gg.tensor([-1.0, 1.0], requires_grad=True)

    def step():
        y = gg.where(x > 0, x.log(), gg.zeros(2)).sum()
        y.backward()
        return y

    return x, step


@pytest.mark.parametrize("how", HOW[1:])
def test_a_masked_nan_is_nobodys_business_in_a_compiled_function(how):
    x, step = masked_log()
    with detect_anomaly():
        assert run(step, how).item() == 0.0
    assert x.grad.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("how", HOW[1:])
def test_a_masked_nan_is_not_blamed_for_another(how):
    def f(x):
        masked = gg.where(x > 0, x.log(), gg.zeros(2))
        return masked + (x - 2).sqrt()

    assert "sqrt returned nan" in error(f, how, gg.tensor([-1.0, 4.0]))[0]


def test_as_written_a_nan_is_an_error_before_it_can_be_masked():
    _, step = masked_log()
    assert "hint: a NaN that is meant" in error(step, "written")[-1]


def test_infinities_are_no_anomaly():
    with detect_anomaly():
        assert gg.tensor([0.0]).log().exp().item() == 0.0


# ---------------------------------------------------------------------------- what an error leaves


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.ReLU())
        self.last = nn.Linear(8, 1)

    def forward(self, x, shift):
        return (self.last(self.layers(x)) + shift).sqrt().mean()


def everything(model, optimizer):
    """All that a training step changes."""
    tensors = [*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters())]
    tensors += [t for kept in optimizer.state.values() for t in kept.values()]
    return [*tensors, gg.random.default_generator.state]


@pytest.mark.parametrize("how", HOW[1:])
def test_after_an_error_everything_is_as_it_was(how):
    gg.manual_seed(0)
    model = Net()
    optimizer = optim.Adam(model.parameters())

    @gg.compile
    def step(x, shift):
        optimizer.zero_grad()
        loss = model(x, shift)
        loss.backward()
        optimizer.step()
        return loss

    x = gg.randn(16, 4)
    with gg.config.scope(tier="interpret" if how == "traced" else "compiled"):
        step(x, 99.0)
        with detect_anomaly():
            step(x, 99.0)
            before = everything(model, optimizer)
            values = [(t.detach().numpy().copy(), t._version) for t in before]
            with pytest.raises(RuntimeError, match="anomaly in forward: sqrt returned nan"):
                step(x, -99.0)
            after = everything(model, optimizer)
            assert all(a is b for a, b in zip(after, before, strict=True))
            for now, (value, version) in zip(after, values, strict=True):
                np.testing.assert_array_equal(now.detach().numpy(), value)
                assert now._version == version
            assert np.isfinite(step(x, 99.0).item())
        step(x, 99.0)
    assert gg.explain(step).traces == 1  # the mode is no reason to trace again


def test_as_written_an_update_that_fails_updates_nothing():
    x = gg.tensor([1.0, 2.0], requires_grad=True)
    optimizer = optim.SGD([x], lr=0.1, momentum=0.9)
    x.grad = gg.tensor([1.0, float("nan")])
    lines = error(optimizer.step, "written")
    assert "  the gradient of parameter 0 already holds nan" in lines
    assert x.tolist() == [1.0, 2.0]
    y = gg.tensor([4.0, -1.0])
    error(y.sqrt_, "written")
    assert y.tolist() == [4.0, -1.0]


def test_gradients_of_a_compiled_function_taken_outside():
    def f(x):
        y = x.sqrt()
        return y * 0

    f = gg.compile(f)
    x = gg.tensor([0.0, 1.0], requires_grad=True)
    lines = error(lambda: f(x).sum().backward(), "written")
    assert lines[0] == "Function 'SqrtBackward0' returned nan values in its 0th output."
    assert "y = x.sqrt()" in lines[2]


def test_a_nan_that_only_the_kernels_make():
    x = ir.input((2,), gg.float32)
    graph = ir.Graph([x], [ir.node("neg", x)])

    class Broken:
        aliases, donated = {}, ()

        def __call__(self, arrays):
            return [np.full(2, np.nan, np.float32)]

    with detect_anomaly(), pytest.raises(RuntimeError, match='tier = "verify"'):
        state.watch.run(Broken(), graph, [np.ones(2, np.float32)], ["input 0"])


# --------------------------------------------------------------------------------------- the switch


def test_nested_modes_restore():
    assert not gg.is_anomaly_enabled() and state.plain
    with detect_anomaly():
        watch = state.watch
        with set_detect_anomaly(False):
            assert not gg.is_anomaly_enabled() and state.plain
            gg.tensor([-1.0]).log()
            with detect_anomaly(check_nan=False):
                assert gg.is_anomaly_enabled() and not gg.is_anomaly_check_nan_enabled()
                gg.tensor([-1.0]).log()
        assert gg.is_anomaly_enabled() and gg.is_anomaly_check_nan_enabled()
        watch = state.watch
        with pytest.raises(RuntimeError), detect_anomaly():
            gg.tensor([-1.0]).log()
        assert state.watch is watch
    assert not gg.is_anomaly_enabled() and state.plain
    set_detect_anomaly(True)
    assert gg.is_anomaly_enabled()
    set_detect_anomaly(False)
    assert not gg.is_anomaly_enabled() and state.watch is None


def test_the_mode_is_the_threads_own():
    found = []
    with detect_anomaly():
        thread = threading.Thread(target=lambda: found.append(gg.tensor([-1.0]).log().isnan()))
        thread.start()
        thread.join()
    assert found[0].item()


def test_without_the_mode_calls_take_the_short_path():
    """The generated replay is the same before and after, and asks nothing about the mode."""
    f = gg.compile(lambda x: x.log())
    with gg.config.scope(tier="compiled"):
        f(gg.ones(3))
        f(gg.ones(3))
        replay = f.replay
        with detect_anomaly():
            f(gg.ones(3))
        assert f.replay is replay and "watch" not in replay.source
        assert f(-gg.ones(3)).isnan().all()


@pytest.mark.torch
@pytest.mark.parametrize("name", ["where", "quotient", "own"])
def test_backward_errors_start_with_pytorchs_words(name):
    import torch

    def where(T):
        x = T.tensor([0.0, 4.0], requires_grad=True)
        T.where(x > 0, x.sqrt(), T.zeros(2)).sum().backward()

    def quotient(T):
        x, n = T.tensor([2.0, 1.0]), T.tensor([0.0, 1.0], requires_grad=True)
        T.where(n > 0, x / n, T.zeros(2)).sum().backward()

    def own(T):
        class Own(T.autograd.Function):
            @staticmethod
            def forward(ctx, x, n, y):
                return x * n * y

            @staticmethod
            def backward(ctx, g):
                return None, None, g * float("nan")

        Own.apply(T.ones(3), 2, T.ones(3, requires_grad=True)).sum().backward()

    def said(T):
        with T.autograd.detect_anomaly(), pytest.raises(RuntimeError) as caught:
            {"where": where, "quotient": quotient, "own": own}[name](T)
        return str(caught.value).splitlines()[0]

    assert said(gg) == said(torch)
