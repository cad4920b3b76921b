"""gg.compile: traced once, nothing stale, nothing silent."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import nn, optim

FACTOR = 2.0


@pytest.fixture(autouse=True, params=["interpret", "compiled"])
def tier(request):
    """The meaning of tracing does not depend on how programs run."""
    with gg.config.scope(tier=request.param):
        yield


def assert_close(a, b, **tolerance):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_function_of_tensors():
    @gg.compile
    def f(x, y):
        return gg.sin(x) * y + 1

    x, y = gg.randn(3, 4), gg.randn(4)
    for _ in range(3):
        assert_close(f(x, y), gg.sin(x) * y + 1)
    assert gg.explain(f).traces == 1


def test_nested_arguments_and_results():
    @gg.compile
    def f(pair, *, scale, extra=None):
        a, b = pair["a"], pair["b"][0]
        return {"sum": a + b, "rest": [a * scale, (b, extra)]}

    a, b = gg.randn(2), gg.randn(2)
    out = f({"a": a, "b": [b]}, scale=3, extra="text")
    assert_close(out["sum"], a + b)
    assert_close(out["rest"][0], a * 3)
    assert out["rest"][1][1] == "text"
    assert_close(out["rest"][1][0], b)


def test_new_shapes_and_flags_retrace():
    f = gg.compile(lambda x, flag: x + 1 if flag else x - 1)
    for x in (gg.ones(2), gg.ones(3), gg.ones(3, dtype=gg.float64)):
        assert_close(f(x, True), x + 1)
        assert_close(f(x, False), x - 1)
    assert gg.explain(f).traces == 6


def test_train_step_of_a_module_matches_eager_and_learns():
    def run(compiled):
        gg.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        optimizer = optim.Adam(model.parameters(), lr=0.05)
        x = gg.randn(16, 4)
        target = x.sum(1, keepdim=True)

        def step(x, target):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), target)
            loss.backward()
            optimizer.step()
            return loss

        step = gg.compile(step) if compiled else step
        losses = [step(x, target).item() for _ in range(30)]
        return losses, [p.detach().numpy().copy() for p in model.parameters()], model

    eager, compiled = run(False), run(True)
    np.testing.assert_allclose(compiled[0], eager[0], rtol=1e-4)
    for a, b in zip(compiled[1], eager[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert compiled[0][-1] < compiled[0][0] / 4
    assert all(
        p.grad is not None and not p.requires_grad == p.is_leaf is False
        for p in compiled[2].parameters()
    )


def test_compiled_module_trains_from_outside():
    gg.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    fast = gg.compile(model)
    x = gg.randn(4, 3, requires_grad=True)
    model(x).pow(2).sum().backward()
    expected = [p.grad.clone() for p in (x, *model.parameters())]
    for p in (x, *model.parameters()):
        p.grad = None
    y = fast(x)
    assert y.requires_grad and "Compiled" in y.grad_fn.name()
    y.pow(2).sum().backward()
    for p, g in zip((x, *model.parameters()), expected, strict=True):
        assert_close(p.grad, g)
    assert [n for n, _ in fast.named_parameters()] == [n for n, _ in model.named_parameters()]


def test_learning_rates_and_batch_sizes_trace_once_a_shape():
    model = nn.Linear(3, 2)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @gg.compile
    def step(x):
        optimizer.zero_grad()
        loss = model(x).pow(2).mean()
        loss.backward()
        optimizer.step()
        return loss

    for batch in range(1, 21):
        for rate in range(50):
            optimizer.param_groups[0]["lr"] = 0.001 * rate
            before = model.weight.detach().clone()
            step(gg.ones(batch, 3))
            moved = model.weight.detach() - before
            assert_close(moved, -0.001 * rate * model.weight.grad)
    assert gg.explain(step).traces <= 20


def test_a_float_argument_is_a_run_time_value():
    f = gg.compile(lambda x, s: x * s)
    x = gg.ones(2)
    for s in (0.5, 1.5, 2.5):
        assert_close(f(x, s), x * s)
    assert gg.explain(f).traces == 1


def test_a_float_argument_that_steers_python_is_specialised():
    f = gg.compile(lambda x, s: x * s if s > 1 else x - s)
    x = gg.ones(2)
    for s in (0.5, 1.5, 0.5):
        assert_close(f(x, s), x * s if s > 1 else x - s)


def test_zeros_have_signs_and_nan_is_a_value():
    number = 0.0

    @gg.compile
    def of_argument(x, y):
        return x if np.signbit(y) else -x

    @gg.compile
    def of_closure(x):
        return x + (5.0 if number != number else np.copysign(1.0, number))

    one = gg.ones(1)
    for y, expected in ((0.0, -1), (0.0, -1), (-0.0, 1), (-0.0, 1), (float("nan"), -1), (0.0, -1)):
        assert of_argument(one, y).item() == expected
    for value, expected in ((0.0, 2), (-0.0, 0), (float("nan"), 6), (float("nan"), 6), (3.0, 2)):
        number = value
        assert of_closure(one).item() == expected
    assert gg.explain(of_closure).traces == 4


def test_changed_values_retrace_and_explain_names_them():
    global FACTOR
    FACTOR = 2.0
    settings = {"shift": 1.0}
    offsets = [1, 2]

    class Holder:
        bias = 3.0

        def __init__(self):
            self.gain = 2

    holder = Holder()

    def f(x):
        return x * FACTOR + settings["shift"] + offsets[0] + holder.gain

    g = gg.compile(f)
    x = gg.ones(2)
    assert_close(g(x), f(x))
    FACTOR = 5.0
    assert_close(g(x), f(x))
    assert "FACTOR" in str(gg.explain(g))
    settings["shift"] = -1.0
    assert_close(g(x), f(x))
    offsets[0] = 7
    assert_close(g(x), f(x))
    holder.gain = 11
    assert_close(g(x), f(x))
    FACTOR = 2.0
    assert_close(g(x), f(x))


def test_what_a_tuple_holds_is_watched_though_it_cannot_change():
    held = ([1.0, 2.0], 3.0, gg.ones(2))
    f = gg.compile(lambda x: x * held[0][1] + held[1] * held[2])
    x = gg.ones(2)
    assert_close(f(x), 5 * x)
    held[0][1] = 4.0
    assert_close(f(x), 7 * x)
    held[2].fill_(2.0)
    assert_close(f(x), 10 * x)
    held = ([1.0, 2.0], 5.0, gg.ones(2))
    assert_close(f(x), 7 * x)
    assert gg.explain(f).traces == 3


def test_each_shape_keeps_its_fast_path():
    f = gg.compile(lambda x: x * 2)
    with gg.config.scope(tier="compiled"):
        paths = []
        for batch in (1, 2) * 3:
            assert_close(f(gg.ones(batch)), gg.full((batch,), 2.0))
            paths.append(f.replay)
    assert paths[:2] == [None, None]
    assert paths[2] is paths[4] is not paths[3] and paths[3] is paths[5]


def test_mode_hooks_and_new_parameters_retrace():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    fast = gg.compile(model)
    x = gg.ones(2, 3)
    model.eval()
    assert_close(fast(x), model(x))
    seen = []
    handle = model[0].register_forward_hook(lambda m, i, o: o * 2)
    assert_close(fast(x), model(x))
    handle.remove()
    assert_close(fast(x), model(x))
    model[0].weight = nn.Parameter(gg.zeros(3, 3))
    assert_close(fast(x), model(x))
    model.train()
    assert (
        not np.allclose(fast(gg.ones(2, 3)).detach().numpy(), fast(gg.ones(2, 3)).detach().numpy())
        or seen == []
    )


def test_captured_tensors_are_read_at_each_call_and_written_in_place():
    counter, table = gg.zeros(1), gg.ones(3)

    @gg.compile
    def f(x):
        counter.add_(1)
        table[0] = counter[0]
        return x + table

    for i in range(1, 4):
        assert_close(f(gg.zeros(3)), gg.tensor([float(i), 1.0, 1.0]))
        assert counter.item() == i and table[0].item() == i
    table.fill_(5.0)
    assert_close(f(gg.zeros(3)), gg.tensor([4.0, 5.0, 5.0]))
    table.data = gg.full((3,), 9.0)
    assert_close(f(gg.zeros(3)), gg.tensor([5.0, 9.0, 9.0]))


def test_arguments_mutated_in_place():
    @gg.compile
    def f(x, y):
        x += y
        x[0] = 7.0
        return x * 2

    x, y = gg.ones(3), gg.ones(3)
    out = f(x, y)
    assert_close(x, gg.tensor([7.0, 2.0, 2.0]))
    assert_close(out, x * 2)
    both = gg.ones(3)
    assert_close(f(both, both), gg.tensor([14.0, 4.0, 4.0]))
    strided = gg.ones(3, 2)[:, 0]
    f(strided, y)
    assert_close(strided, gg.tensor([7.0, 2.0, 2.0]))


def test_seed_polynomial_step_with_globals_style_parameters():
    x = gg.linspace(-3.14, 3.14, 200)
    y = gg.sin(x)
    a, b = gg.zeros(1, requires_grad=True), gg.zeros(1, requires_grad=True)

    @gg.compile
    def step():
        loss = (a + b * x - y).pow(2).sum()
        loss.backward()
        with gg.no_grad():
            a.sub_(1e-3 * a.grad)
            b.sub_(1e-3 * b.grad)
            a.grad = None
            b.grad = None
        return loss

    losses = [step().item() for _ in range(40)]
    assert losses[-1] < losses[0] and a.grad is None and abs(b.item()) > 0.1
    assert gg.explain(step).traces == 1


def test_accumulated_gradients():
    p = gg.ones(2, requires_grad=True)

    @gg.compile
    def f(x):
        (p * x).sum().backward()

    for i in range(1, 4):
        f(gg.ones(2))
        assert_close(p.grad, gg.full((2,), float(i)))


def test_random_numbers_differ_between_calls_and_follow_the_seed():
    f = gg.compile(lambda: gg.rand(4) + gg.randn(4))
    gg.manual_seed(3)
    first, second = f(), f()
    gg.manual_seed(3)
    assert_close(f(), first)
    assert not np.allclose(first.numpy(), second.numpy())
    gg.manual_seed(3)
    assert_close(gg.rand(4) + gg.randn(4), first)


def test_second_order_inside_a_compiled_step():
    @gg.compile
    def f(x):
        (g,) = gg.autograd.grad((x**3).sum(), x, create_graph=True)
        (h,) = gg.autograd.grad(g.pow(2).sum(), x)
        return g, h

    x = gg.tensor([1.0, 2.0], requires_grad=True)
    g, h = f(x)
    assert_close(g, 3 * x.detach() ** 2)
    assert_close(h, 36 * x.detach() ** 3)


def test_detach_and_no_grad_block_gradients_of_compiled_outputs():
    f = gg.compile(lambda x: x * x.detach())
    x = gg.tensor([3.0], requires_grad=True)
    f(x).backward()
    assert_close(x.grad, gg.tensor([3.0]))


def test_methods_and_decorated_functions():
    class Model:
        def __init__(self):
            self.scale = 2.0

        @gg.compile
        def apply(self, x):
            return x * self.scale

    m, n = Model(), Model()
    n.scale = 3.0
    assert_close(m.apply(gg.ones(2)), gg.full((2,), 2.0))
    assert_close(n.apply(gg.ones(2)), gg.full((2,), 3.0))
    m.scale = 4.0
    assert_close(m.apply(gg.ones(2)), gg.full((2,), 4.0))


def test_scan_is_one_node_however_long():
    def f(xs, h):
        def body(h, x):
            h = gg.tanh(h + x)
            return h, h * 2

        return gg.scan(body, h, xs)

    g = gg.compile(f)
    xs, h = gg.randn(7, 3), gg.zeros(3)
    for a, b in zip(g(xs, h), f(xs, h), strict=True):
        assert_close(a, b)


def test_options_of_torch_compile_are_accepted():
    f = gg.compile(lambda x: x + 1, fullgraph=True, dynamic=False, mode="max-autotune")
    assert_close(f(gg.ones(1)), gg.full((1,), 2.0))
    with pytest.raises(TypeError, match="unexpected keyword"):
        gg.compile(lambda x: x, nonsense=True)


ESCAPES = {
    "bool": lambda x: x if x.sum() > 0 else -x,
    "item": lambda x: x * x.sum().item(),
    "int": lambda x: x[int(x[0])],
    "float": lambda x: x * float(x[0]),
    "tolist": lambda x: x.tolist(),
    "numpy": lambda x: x.numpy(),
    "mask": lambda x: x[x > 0],
    "nonzero": lambda x: gg.nonzero(x),
}


@pytest.mark.parametrize("name", ESCAPES)
def test_values_cannot_leave_a_trace(name):
    with pytest.raises(gg.TraceError) as error:
        gg.compile(ESCAPES[name])(gg.ones(3))
    text = str(error.value)
    assert "test_jit.py" in text and len(text.splitlines()) <= 10


def test_a_tracer_that_escaped_says_so():
    kept = []

    @gg.compile
    def f(x):
        kept.append(x * 2)
        return x

    f(gg.ones(2))
    with pytest.raises(gg.TraceError):
        kept[0] + 1


def test_memory_of_a_long_loop_is_flat():
    x = gg.ones(100, requires_grad=True)

    @gg.compile
    def f(x):
        return (x * 2).sum()

    for _ in range(50):
        f(x).backward()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(500):
        x.grad = None
        f(x).backward()
    gc.collect()
    assert len(gc.get_objects()) - before < 500


step = object()


def test_attributes_are_no_globals():
    """``optimizer.step()`` does not make the global ``step`` part of the trace."""
    holder = nn.Linear(2, 2)
    optimizer = optim.SGD(holder.parameters(), lr=0.1)

    @gg.compile
    def train(x):
        optimizer.zero_grad()
        holder(x).sum().backward()
        optimizer.step()

    train(gg.ones(1, 2))
    global step
    step = object()
    train(gg.ones(1, 2))
    assert gg.explain(train).traces == 1


def _layer_and_step(make):
    net = gg.nn.Linear(3, 2)
    optimizer = make(net.parameters())
    x = gg.ones(4, 3)

    def step():
        optimizer.zero_grad()
        loss = net(x).square().sum()
        loss.backward()
        optimizer.step()
        return loss

    return net, optimizer, gg.compile(step)


def test_a_replaced_parameter_group_is_noticed():
    net, optimizer, step = _layer_and_step(lambda p: gg.optim.SGD(p, lr=0.1))
    for _ in range(3):
        step()
    optimizer.param_groups[0] = dict(optimizer.param_groups[0], lr=0.0)
    before = net.weight.detach().numpy().copy()
    step()
    assert step.retraces == ["optimizer.param_groups[0]"]
    np.testing.assert_array_equal(net.weight.detach().numpy(), before)


def test_a_module_that_got_another_dict_is_noticed():
    net, _, step = _layer_and_step(lambda p: gg.optim.SGD(p, lr=0.0))
    for _ in range(3):
        first = step()
    net.__dict__ = dict(net.__dict__)
    net.register_forward_hook(lambda module, args, out: out * 2)
    assert_close(step(), 4 * first)


def test_numbers_of_an_optimizer_follow_its_groups_and_steps():
    def run(compiled):
        gg.manual_seed(0)
        net, optimizer, step = _layer_and_step(lambda p: gg.optim.Adam(p, lr=0.1))
        step = step if compiled else step.__wrapped__
        for i in range(6):
            optimizer.param_groups[0].update(lr=0.1 / (i + 1), betas=(0.5 + 0.05 * i, 0.9))
            step()
        return net.weight.detach().numpy()

    np.testing.assert_allclose(run(True), run(False), rtol=1e-5)


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_learning_rate_beyond_float32_is_infinite():
    net, optimizer, step = _layer_and_step(lambda p: gg.optim.SGD(p, lr=0.1))
    for _ in range(3):
        step()
    optimizer.param_groups[0]["lr"] = 1e39
    step()
    assert len(step.entries) == 1 and not np.isfinite(net.weight.detach().numpy()).any()
