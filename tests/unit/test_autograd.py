"""backward, grad, hooks, custom functions and their errors, as PyTorch has them."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.autograd import Function
from graphgrad.autograd import functional as AF

pytestmark = pytest.mark.devices

torch = pytest.importorskip("torch")


def assert_close(x, y, tolerance=1e-5):
    x = x.detach().numpy() if hasattr(x, "detach") else x
    y = y.detach().numpy() if hasattr(y, "detach") else y
    np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def leaf(*values, t=gg):
    return t.tensor(list(values), requires_grad=True)


# --------------------------------------------------------------------------------- accumulation


def test_gradients_add_up_in_place():
    x = leaf(1.0, 2.0)
    (x * 3).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    assert x.grad is first
    assert_close(x.grad, [5.0, 7.0])


def test_leaves_do_not_share_gradient_memory():
    x, y = leaf(1.0), leaf(2.0)
    (x + y).backward()
    assert x.grad.data_ptr() != y.grad.data_ptr()
    x.grad += 1
    assert_close(y.grad, [1.0])


def test_a_given_cotangent_is_not_kept():
    x = leaf(1.0, 2.0)
    g = gg.ones(2)
    x.backward(g)
    g += 5
    assert_close(x.grad, [1.0, 1.0])


def test_inputs_limit_what_is_filled():
    x, y = leaf(1.0), leaf(2.0)
    (x * y).backward(inputs=[x])
    assert x.grad is not None and y.grad is None


def test_one_tensor_used_in_many_places():
    for t in (gg, torch):
        x = leaf(0.5, -0.3, t=t)
        y = x
        for _ in range(5):
            y = y * x + y.sin()
        y.sum().backward()
        if t is gg:
            ours = x.grad
    assert_close(ours, x.grad)


def test_deep_chains_do_not_recurse():
    x = leaf(1.0)
    y = x
    for _ in range(5000):
        y = y + 1
    y.backward()
    assert_close(x.grad, [1.0])
    del y


# ---------------------------------------------------------------------------------------- grad


def test_grad_leaves_leaves_alone():
    x = leaf(2.0, 3.0)
    (g,) = gg.autograd.grad((x**3).sum(), x)
    assert_close(g, [12.0, 27.0])
    assert x.grad is None


def test_grad_of_intermediate_results():
    x = leaf(2.0)
    y = x * x
    z = y * 3
    gy, gx = gg.autograd.grad(z, [y, x])
    assert_close(gy, [3.0])
    assert_close(gx, [12.0])


def test_unused_inputs():
    x, y = leaf(1.0), leaf(1.0)
    with pytest.raises(RuntimeError, match="appears to not have been used in the graph"):
        gg.autograd.grad(x * 2, [x, y])
    assert gg.autograd.grad(x * 2, [x, y], allow_unused=True)[1] is None
    assert_close(gg.autograd.grad(x * 2, [x, y], materialize_grads=True)[1], [0.0])


def test_several_outputs_with_cotangents():
    x = leaf(1.0, 2.0)
    (g,) = gg.autograd.grad([x * 2, x * x], [x], [gg.ones(2), gg.tensor([1.0, 10.0])])
    assert_close(g, [4.0, 42.0])


def test_third_order():
    x = leaf(0.7)
    y = x.sin() * x.exp()
    for _ in range(3):
        (y,) = gg.autograd.grad(y.sum(), x, create_graph=True)
    u = leaf(0.7, t=torch)
    v = u.sin() * u.exp()
    for _ in range(3):
        (v,) = torch.autograd.grad(v.sum(), u, create_graph=True)
    assert_close(y, v)


def test_gradients_of_gradients_through_composites():
    def program(t):
        rng = np.random.default_rng(0)
        x = t.tensor(rng.standard_normal((3, 4)), requires_grad=True)
        w = t.tensor(rng.standard_normal((5, 4)), requires_grad=True)
        y = t.nn.functional.log_softmax(t.nn.functional.linear(x, w).tanh(), -1)
        (g,) = t.autograd.grad(y[:, 0].sum(), x, create_graph=True)
        (g * g).sum().backward()
        return x.grad, w.grad

    for a, b in zip(program(gg), program(torch), strict=True):
        assert_close(a, b)


def test_the_same_tensor_twice_in_one_composite():
    def program(t):
        x = t.tensor([[0.3, 0.4], [0.1, 0.2]], requires_grad=True)
        y = t.addmm(x, x, x)
        (g,) = t.autograd.grad(y.sum(), x, create_graph=True)
        (h,) = t.autograd.grad(g.pow(2).sum(), x)
        return g, h

    for a, b in zip(program(gg), program(torch), strict=True):
        assert_close(a, b)


# --------------------------------------------------------------------------------------- errors


def test_errors_in_pytorchs_words():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="implicitly created only for scalar outputs"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match="does not require grad and does not have a grad_fn"):
        gg.ones(1).backward()
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        (x * 2).backward(gg.ones(3))
    with pytest.raises(RuntimeError, match="only Tensors of floating point and complex dtype"):
        gg.arange(3).requires_grad_()
    with pytest.raises(RuntimeError, match="can only change requires_grad flags of leaf"):
        (x * 2).requires_grad_(False)
    with pytest.raises(RuntimeError, match="assigned grad has data of a different size"):
        x.grad = gg.ones(3)


def test_second_backward_names_the_line():
    x = leaf(1.0)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second") as e:
        y.backward()
    assert "y = x * x" in str(e.value)


def test_retain_graph_allows_a_second_backward():
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert_close(x.grad, [8.0])


def test_overwritten_values_name_both_lines():
    x = leaf(1.0, 2.0)
    y = x.exp()
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation") as e:
        y.sum().backward()
    assert "y = x.exp()" in str(e.value) and "y.add_(1)" in str(e.value)


# ---------------------------------------------------------------------------------------- hooks


def test_tensor_hooks_replace_gradients_in_order():
    seen = []
    x = leaf(1.0, 2.0)
    y = x * 2
    y.register_hook(lambda g: g * 10)
    y.register_hook(lambda g: seen.append(g.tolist()))
    handle = x.register_hook(lambda g: g + 1)
    y.sum().backward()
    assert seen == [[10.0, 10.0]]
    assert_close(x.grad, [21.0, 21.0])
    handle.remove()
    x.grad = None
    (x * 2).sum().backward()
    assert_close(x.grad, [2.0, 2.0])


def test_a_hook_belongs_to_its_tensor():
    x = leaf(1.0)
    y, z = x * 2, x * 2
    y.register_hook(lambda g: g * 0)
    (y + z).backward()
    assert_close(x.grad, [2.0])


def test_retained_gradients():
    x = leaf(3.0)
    y = x * x
    y.retain_grad()
    (y * 2).backward()
    assert_close(y.grad, [2.0])
    assert_close(x.grad, [12.0])
    assert y.retains_grad and not x.retains_grad


def test_post_accumulate_hooks():
    x = leaf(3.0)
    x.register_post_accumulate_grad_hook(lambda p: p.grad.mul_(2))
    (x * 5).backward()
    assert_close(x.grad, [10.0])


def test_record_hooks():
    x = leaf(3.0)
    y = x * x
    seen = []
    y.grad_fn.register_prehook(lambda gs: (gs[0] * 2,))
    y.grad_fn.register_hook(lambda gi, go: seen.append((len(gi), go[0].item())))
    y.backward()
    assert_close(x.grad, [12.0])
    assert seen == [(2, 2.0)]


# -------------------------------------------------------------------------------------- records

NAMES = {
    "AddBackward0": lambda x: x + 1,
    "SubBackward0": lambda x: x - x,
    "MulBackward0": lambda x: x * 2,
    "DivBackward0": lambda x: x / 2,
    "PowBackward0": lambda x: x**2,
    "NegBackward0": lambda x: -x,
    "SinBackward0": lambda x: x.sin(),
    "ExpBackward0": lambda x: x.exp(),
    "SumBackward0": lambda x: x.sum(),
    "SumBackward1": lambda x: x.sum(0),
    "MmBackward0": lambda x: x @ x,
    "MvBackward0": lambda x: x @ x[0],
    "DotBackward0": lambda x: x[0] @ x[1],
    "BmmBackward0": lambda x: x.unsqueeze(0).bmm(x.unsqueeze(0)),
    "AddmmBackward0": lambda x: gg.addmm(x, x, x),
    "CatBackward0": lambda x: gg.cat([x, x]),
    "CloneBackward0": lambda x: x.clone(),
    "ReluBackward0": lambda x: x.relu(),
    "MeanBackward0": lambda x: x.mean(),
    "MeanBackward1": lambda x: x.mean(0),
    "VarBackward0": lambda x: x.var(),
    "StdBackward0": lambda x: x.std(1),
    "LinalgVectorNormBackward0": lambda x: x.norm(),
    "LogsumexpBackward0": lambda x: x.logsumexp(0),
    "ClampBackward1": lambda x: x.clamp(0, 1),
    "MaxBackward0": lambda x: x.max(0).values,
    "MaxBackward1": lambda x: x.max(),
    "TBackward0": lambda x: x.t(),
    "TransposeBackward0": lambda x: x.transpose(0, 1),
    "UnsqueezeBackward0": lambda x: x.unsqueeze(0),
    "ViewBackward0": lambda x: x.view(-1),
    "SelectBackward0": lambda x: x[0],
    "SliceBackward0": lambda x: x[:, 1:],
    "IndexBackward0": lambda x: x[gg.tensor([0])],
    "StackBackward0": lambda x: gg.stack([x, x]),
    "RsubBackward1": lambda x: 1 - x,
    "GatherBackward0": lambda x: x.gather(0, gg.tensor([[0, 1]])),
    "TopkBackward0": lambda x: x.topk(1).values,
    "WhereBackward0": lambda x: gg.where(x > 0, x, 0.0),
}


@pytest.mark.parametrize("name", NAMES)
def test_records_have_pytorchs_names(name):
    y = NAMES[name](gg.ones(2, 2, requires_grad=True))
    assert y.grad_fn.name() == name
    assert repr(y.grad_fn).startswith(f"<{name} object at 0x")


def test_next_functions_lead_to_the_leaves():
    x = leaf(1.0)
    y = (x * x) + 1
    ((product, number), (other, _)) = y.grad_fn.next_functions
    assert (product.name(), number, other) == ("MulBackward0", 0, None)
    assert product.next_functions[0][0].variable is x


def test_records_die_with_their_tensors():
    x = leaf(1.0)
    y = (x * 2).exp()
    gone = weakref.ref(y.grad_fn)
    gc.disable()
    try:
        del y
        assert gone() is None
    finally:
        gc.enable()


# --------------------------------------------------------------------------------------- switches


def test_no_grad_in_all_its_forms():
    x = leaf(1.0)

    @gg.no_grad()
    def f():
        return x * 2

    @gg.no_grad
    def g():
        return x * 2

    @gg.enable_grad()
    def h():
        return x * 2

    assert not f().requires_grad and not g().requires_grad
    with gg.no_grad():
        assert not gg.is_grad_enabled() and h().requires_grad
        with gg.enable_grad():
            assert (x * 2).requires_grad
        with gg.set_grad_enabled(True):
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    with gg.inference_mode():
        assert not (x * 2).requires_grad
    gg.set_grad_enabled(False)
    assert not (x * 2).requires_grad
    gg.set_grad_enabled(True)


def test_switches_belong_to_their_thread():
    seen = []
    with gg.no_grad():
        thread = threading.Thread(target=lambda: seen.append(gg.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_detach_and_data():
    x = leaf(1.0, 2.0)
    assert not x.detach().requires_grad and x.detach().data_ptr() == x.data_ptr()
    x.data.mul_(3)
    assert x.tolist() == [3.0, 6.0]
    x.data = gg.tensor([7.0])
    assert x.tolist() == [7.0] and x.requires_grad


# -------------------------------------------------------------------------------- custom functions


class Cube(Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x)
        ctx.scale = scale
        return scale * x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * ctx.scale * 3 * x**2, None


def test_custom_function():
    x = leaf(2.0)
    y = Cube.apply(x, 5.0)
    assert y.grad_fn.name() == "CubeBackward"
    y.sum().backward()
    assert_close(x.grad, [60.0])
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()


def test_custom_function_of_second_order():
    x = leaf(2.0)
    (g,) = gg.autograd.grad(Cube.apply(x, 1.0), x, create_graph=True)
    (h,) = gg.autograd.grad(g, x)
    assert_close(h, [12.0])


def test_custom_function_with_several_outputs():
    class Two(Function):
        @staticmethod
        def forward(x):
            return x * 2, x.argmax(), x * 3

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.mark_non_differentiable(output[1])

        @staticmethod
        def backward(ctx, a, b, c):
            return a * 2 + c * 3

    x = leaf(1.0, 2.0)
    a, index, _ = Two.apply(x)
    assert a.requires_grad and not index.requires_grad
    a.sum().backward()
    assert_close(x.grad, [2.0, 2.0])
    Two.apply(x)[2].sum().backward()
    assert_close(x.grad, [5.0, 5.0])


def test_custom_function_must_return_a_gradient_per_argument():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x, y):
            return x * y

        @staticmethod
        def backward(ctx, g):
            return g

    with pytest.raises(RuntimeError, match="incorrect number of gradients"):
        Wrong.apply(leaf(1.0), leaf(2.0)).backward()


# -------------------------------------------------------------------------------- whole functions


def test_jacobian_hessian_and_products():
    def f(t):
        return lambda x: (x**3).sum() * x[0]

    values = [0.5, -1.0, 2.0]
    x, u = gg.tensor(values), torch.tensor(values)
    F = torch.autograd.functional
    assert_close(AF.jacobian(lambda x: x**2, x), F.jacobian(lambda x: x**2, u))
    assert_close(AF.hessian(f(gg), x), F.hessian(f(torch), u))
    v, w = gg.tensor([1.0, 0.0, 1.0]), torch.tensor([1.0, 0.0, 1.0])
    for name in ("vjp", "jvp"):
        ours = getattr(AF, name)(lambda x: x.sin(), x, v)
        theirs = getattr(F, name)(lambda x: x.sin(), u, w)
        assert_close(ours[1], theirs[1])
    assert_close(AF.hvp(f(gg), x, v)[1], F.hvp(f(torch), u, w)[1])


def test_anomaly_mode_names_the_operation():
    x = leaf(0.0)
    with gg.autograd.detect_anomaly():
        y = x.sqrt() * 0
        with pytest.raises(RuntimeError, match=r"SqrtBackward0.*returned nan") as e:
            y.sum().backward()
    assert "y = x.sqrt() * 0" in str(e.value)


def test_variable_is_a_tensor():
    x = gg.autograd.Variable(gg.ones(2), requires_grad=True)
    assert isinstance(x, gg.Tensor) and x.requires_grad


def test_gradcheck():
    x = gg.tensor([0.3, -0.7], dtype=gg.float64, requires_grad=True)
    y = gg.tensor([[1.0, 2.0]], dtype=gg.float64, requires_grad=True)
    assert gg.autograd.gradcheck(lambda x, y: (x * y).sin() * x.exp(), (x, y))
    assert gg.autograd.gradgradcheck(lambda x, y: (x * y).sin() * x.exp(), (x, y))

    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 3

    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        gg.autograd.gradcheck(Wrong.apply, (x,))


def test_hooks_on_saved_tensors():
    packed = []

    def pack(t):
        packed.append(tuple(t.shape))
        return t.numpy().copy()

    x = leaf(1.0, 2.0)
    with gg.autograd.graph.saved_tensors_hooks(pack, gg.from_numpy):
        y = (x.exp() * x).sum()
    assert packed == [(2,), (2,), (2,)]
    y.backward()
    assert_close(x.grad, ((x + 1) * x.exp()).detach())


def test_hooks_on_several_tensors():
    seen = []
    x, y = leaf(1.0), leaf(2.0)
    handle = gg.autograd.graph.register_multi_grad_hook([x, y], lambda gs: seen.append(len(gs)))
    (x * y).backward()
    handle.remove()
    (x * y).backward()
    assert seen == [2]
