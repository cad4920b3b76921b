"""Devices as values, and tensors on them."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest
from on_devices import same

import graphgrad as gg
from graphgrad.device import get_default_device, located, placed


@pytest.mark.parametrize(
    "made, text",
    [
        (lambda: gg.device("cuda"), "cuda"),
        (lambda: gg.device("cuda:1"), "cuda:1"),
        (lambda: gg.device("cuda", 2), "cuda:2"),
        (lambda: gg.device(3), "cuda:3"),
        (lambda: gg.device("cpu"), "cpu"),
        (lambda: gg.device(gg.device("cuda:1")), "cuda:1"),
    ],
)
def test_a_device_is_a_value_that_needs_no_gpu(made, text):
    assert str(made()) == text
    assert made() == gg.device(text)
    assert hash(made()) == hash(gg.device(text))
    assert pickle.loads(pickle.dumps(made())) == made()


@pytest.mark.parametrize("text", ["gpu", "cuda:x", "cuda:", "cud"])
def test_other_names_are_errors(text):
    with pytest.raises(RuntimeError, match="device string"):
        gg.device(text)


def test_types_on_a_device_differ_from_numpys_and_name_the_same_type():
    here, there = placed("float32", located("cuda")), placed("float32", located("cuda:1"))
    assert here is placed("float32", located("cuda:0"))
    assert len({here, there, here.numpy}) == 3
    assert gg.tensor([1.0]).dtype is gg.dtypes.from_numpy(here) is gg.dtypes.from_numpy(there)


def test_the_default_device_is_scoped_and_of_one_thread():
    seen = []
    with gg.device("cuda"):
        thread = threading.Thread(target=lambda: seen.append(get_default_device()))
        thread.start()
        thread.join()
        assert get_default_device() == gg.device("cuda:0")
        with gg.device("cpu"):
            assert get_default_device() == gg.device("cpu")
    assert seen == [gg.device("cpu")]
    assert get_default_device() == gg.device("cpu")


# ------------------------------------------------------------------------------ tensors on a device


def test_tensors_move_and_say_where_they_are(cuda):
    x = gg.tensor([[1.0, 2.0], [3.0, 4.0]], device=cuda)
    assert str(x.device) == "cuda:0" and x.is_cuda and not x.is_cpu and x.get_device() == 0
    assert repr(x) == "tensor([[1., 2.],\n        [3., 4.]], device='cuda:0')"
    assert x.tolist() == [[1, 2], [3, 4]] and x.sum().item() == 10 and bool(x[0, 0] == 1)
    assert f"{x[1, 1]:.1f}" == "4.0" and int(x[0, 1]) == 2 and float(x.mean()) == 2.5
    assert x.cuda() is x and x.to("cuda:0") is x and x.to("cuda:1").get_device() == 1
    assert x.cpu().get_device() == -1 and x.cpu().cpu().is_cpu
    assert x.to("cpu", gg.float64).dtype is gg.float64
    same(gg.ones(2).to(x), gg.ones(2))
    with pytest.raises(TypeError, match=r"can't convert cuda:0 device type tensor to numpy"):
        x.numpy()
    with pytest.raises(TypeError, match="can't convert cuda:0"):
        np.asarray(x)
    np.testing.assert_array_equal(x.numpy(force=True), [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    "make",
    [
        lambda d: gg.zeros(2, 3, device=d),
        lambda d: gg.full((2,), 7, device=d),
        lambda d: gg.arange(2, 9, 3, device=d),
        lambda d: gg.linspace(0, 1, 5, device=d),
        lambda d: gg.eye(3, device=d, dtype=gg.float64),
        lambda d: gg.tensor([1, 2], device=d),
        lambda d: gg.as_tensor(np.arange(3), device=d),
        lambda d: gg.ones(2, device=d).new_full((3,), 2),
        lambda d: gg.ones_like(gg.zeros(3, device=d)),
        lambda d: gg.empty_like(gg.zeros(3), device=d),
        lambda d: gg.tril_indices(3, 3, device=d),
        lambda d: gg.hann_window(4, device=d),
        lambda d: gg.rand(5, device=d),
        lambda d: gg.randn(2000, device=d),
        lambda d: gg.randint(10, (4,), device=d),
        lambda d: gg.randperm(10, device=d),
        lambda d: gg.rand_like(gg.zeros(3, device=d)),
        lambda d: gg.zeros(4, device=d).normal_(),
        lambda d: gg.bernoulli(gg.full((9,), 0.5, device=d)),
        lambda d: gg.multinomial(gg.ones(6, device=d), 3),
        lambda d: gg.nn.functional.dropout(gg.ones(50, device=d)),
    ],
)
def test_made_there_is_what_is_made_here(cuda, make):
    results = []
    for place in (cuda, "cpu"):
        gg.manual_seed(3)
        results.append(make(place))
    same(*results)


def test_new_tensors_are_on_the_default_device(cuda):
    with gg.device(cuda):
        same(gg.ones(2), gg.ones(2, device="cpu"))
        assert gg.nn.Linear(2, 3).weight.is_cuda and gg.randn(3).is_cuda
        assert gg.ones(1, device="cpu").is_cpu and gg.from_numpy(np.ones(1)).is_cpu
    gg.set_default_device(cuda)
    try:
        assert gg.arange(3).is_cuda
    finally:
        gg.set_default_device(None)
    assert gg.arange(3).is_cpu


def test_a_generator_belongs_to_a_device(cuda):
    there, here = gg.Generator(cuda).manual_seed(5), gg.Generator().manual_seed(5)
    for _ in range(3):
        same(gg.rand(4, device=cuda, generator=there), gg.rand(4, generator=here))
    kept = there.get_state()
    assert kept.is_cpu
    first = gg.rand(4, generator=there)
    there.set_state(kept)
    same(gg.rand(4, generator=there), first.cpu())
    with pytest.raises(RuntimeError, match="Expected a 'cpu' device type for generator but found"):
        gg.rand(4, device="cpu", generator=there)
    with gg.random.fork_rng():
        gg.rand(3, device=cuda)


MIXED = {
    "add": lambda a, b: a + b,
    "matmul": lambda a, b: a @ b,
    "composite": lambda a, b: gg.nn.functional.mse_loss(a, b),
    "concat": lambda a, b: gg.cat([a, b]),
    "in place": lambda a, b: a.add_(b),
    "where": lambda a, b: gg.where(a > 0, a, b),
}


@pytest.mark.parametrize("name", MIXED)
def test_tensors_on_two_devices_are_an_error_that_names_both(cuda, name):
    a, b = gg.ones(2, 2, device=cuda), gg.ones(2, 2)
    for x, y in ((a, b), (b, a)):
        with pytest.raises(RuntimeError) as error:
            MIXED[name](x, y)
        text = str(error.value)
        assert "Expected all tensors to be on the same device" in text
        assert "cuda:0 and cpu!" in text and f'"{__file__}", line' in text
        assert len(text.splitlines()) <= 10
    with pytest.raises(RuntimeError, match="cuda:0 and cuda:1!"):
        MIXED[name](a, a.to("cuda:1"))


def test_cpu_numbers_mix(cuda):
    x, two = gg.arange(3.0, device=cuda), gg.tensor(2.0, requires_grad=True)
    same(x * two, gg.arange(3.0) * 2)
    same(two - x, 2 - gg.arange(3.0))
    (x * two).sum().backward()
    assert two.grad.is_cpu and two.grad.item() == 3
    same(x[gg.tensor([2, 0])], gg.tensor([2.0, 0.0]))
    with pytest.raises(RuntimeError, match="indices should be either on cpu or on the same device"):
        gg.arange(3.0)[gg.tensor([0], device=cuda)]


def test_views_share_memory(cuda):
    def steps(x):
        y = x.t()
        y[0] = 5.0
        x.view(-1)[::5].mul_(2)
        x[1:, 1].zero_()
        x[x > 6] = -1.0
        x[gg.tensor([0, 2], device=x.device)] += 1
        y.unsqueeze(0).expand(2, 4, 3)
        x.diagonal().copy_(gg.arange(3.0))
        return [x, y, x[:, ::2].contiguous(), x.permute(1, 0).reshape(12), x.unfold(1, 2, 1)]

    start = gg.arange(12.0).reshape(3, 4)
    for there, here in zip(steps(start.to(cuda)), steps(start.clone()), strict=True):
        same(there, here)
        assert there.stride() == here.stride() and there.is_contiguous() == here.is_contiguous()
    x = start.to(cuda)
    assert x[1].data_ptr() == x.data_ptr() + 16 and x[1].storage_offset() == 4
    assert x.detach().data_ptr() == x.data_ptr() != x.clone().data_ptr()
    with pytest.raises(RuntimeError, match="more than one element"):
        gg.ones(1, device=cuda).expand(3).add_(1)


def test_gradients_cross_devices(cuda):
    x = gg.arange(4.0, requires_grad=True)
    y = x.cuda()
    assert y.grad_fn.name() == "ToCopyBackward0" and y.requires_grad and not y.is_leaf
    (y * y).cpu().sum().backward()
    assert x.grad.is_cpu and x.grad.tolist() == [0, 2, 4, 6]


class Doubled(gg.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0] * 0 + g * 2


HISTORIES = {
    "program": lambda x: (x.sin() * x).sum().backward(),
    "hook": lambda x: _hooked(x),
    "function": lambda x: Doubled.apply(x * x).sum().backward(),
    "create_graph": lambda x: (
        gg.autograd.grad((x**3).sum(), x, create_graph=True)[0].sum().backward()
    ),
    "twice": lambda x: [(x * 2).sum().backward() for _ in range(2)],
    "in place": lambda x: _written(x),
    "sum only": lambda x: x.sum().backward(),
    "composite twice": lambda x: (
        gg.autograd.grad(gg.nn.functional.softmax(x, 0)[0], x, create_graph=True)[0]
        .square()
        .sum()
        .backward()
    ),
}


def _hooked(x):
    y = x * 3
    y.register_hook(lambda g: g * 2)
    y.sum().backward()


def _written(x):
    y = x * 2
    y[1] = x[0] * 5
    y.mul_(2)
    y.sum().backward()


@pytest.mark.parametrize("name", HISTORIES)
def test_gradients_are_the_cpus(cuda, name):
    grads = []
    for place in (cuda, "cpu"):
        x = gg.tensor([0.5, -1.0, 2.0], device=place, requires_grad=True)
        HISTORIES[name](x)
        grads.append(x.grad)
    same(*grads)


def test_what_numpy_computes_is_copied_and_copied_back(cuda):
    a = gg.tensor([[4.0, 1.0], [1.0, 3.0]])
    for of in (
        lambda x: gg.linalg.cholesky(x),
        lambda x: gg.linalg.inv(x),
        lambda x: gg.fft.rfft(x).abs(),
        lambda x: gg.view_as_complex(x) * 2,
        lambda x: gg.sort(x, 0).values,
        lambda x: x.unique(),
        lambda x: x.nonzero(),
        lambda x: x[x > 1],
    ):
        same(of(a.to(cuda)), of(a), exact=False)
    x, y = a.to(cuda).requires_grad_(), a.clone().requires_grad_()
    for t in (x, y):
        gg.linalg.cholesky(t).sum().backward()
    same(x.grad, y.grad, exact=False)


# ---------------------------------------------------------------------------------- modules, steps


def _train(place, compiled, name, **options):
    gg.manual_seed(0)
    model = gg.nn.Sequential(
        gg.nn.Linear(3, 8),
        gg.nn.BatchNorm1d(8),
        gg.nn.ReLU(),
        gg.nn.Dropout(0.2),
        gg.nn.Linear(8, 2),
    ).to(place)
    optimizer = getattr(gg.optim, name)(model.parameters(), **options)
    x, y = gg.randn(6, 3).to(place), gg.randint(2, (6,)).to(place)
    gg.manual_seed(1)

    def step():
        optimizer.zero_grad()
        loss = gg.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    step = gg.compile(step) if compiled else step
    return model, optimizer, [step().item() for _ in range(4)]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize(
    "name, options",
    [("SGD", {"lr": 0.1, "momentum": 0.9}), ("Adam", {"lr": 0.1}), ("NAdam", {"lr": 0.1})],
)
def test_training_there_is_training_here(cuda, compiled, name, options):
    model, optimizer, losses = _train(cuda, compiled, name, **options)
    expected, reference, numbers = _train("cpu", compiled, name, **options)
    np.testing.assert_allclose(losses, numbers, rtol=1e-5)
    for there, here in zip(
        model.state_dict().values(), expected.state_dict().values(), strict=True
    ):
        same(there, here, exact=False)
    state = optimizer.state_dict()["state"][0]
    assert all(v.is_cuda == (v.ndim > 0) for v in state.values())
    # The state goes from one device to the other.
    reference.load_state_dict(optimizer.state_dict())
    optimizer.load_state_dict(reference.state_dict())
    model.load_state_dict(expected.state_dict())
    kept = optimizer.state[next(model.parameters())]
    assert all(v.is_cuda == (v.ndim > 0) for v in kept.values())


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9])
def test_any_number_of_tensors_is_joined(cuda, n):
    parts = [gg.full((2, i + 1), float(i)) for i in range(n)]
    there, here = ([x.to(p).requires_grad_() for x in parts] for p in (cuda, "cpu"))
    a, b = gg.cat(there, 1), gg.cat(here, 1)
    same(a, b)
    same(gg.stack([x[:, 0] for x in there]), gg.stack([x[:, 0] for x in here]))
    for x in (a, b):
        (x * x).sum().backward()
    for x, y in zip(there, here, strict=True):
        same(x.grad, y.grad)


def test_what_an_operation_makes_itself_is_beside_its_operands(cuda):
    """Under either default device."""
    x, rows = gg.randn(3, 4), [2, 0]
    for place, other in (("cpu", cuda), (cuda, "cpu")):
        a, i = x.to(place), gg.tensor([0, 1], device="cpu").to(place)
        with gg.device(other):
            assert a[rows, i].device == a[rows].device == a[:, [True] * 4].device == a.device
            a[rows] = 0.0
            assert gg.isin(a, 0.0).device == gg.searchsorted(a, 0.5 * a).device == a.device
            assert gg.nn.functional.pdist(a).device == gg.nn.init.eye_(a).device == a.device
            assert gg.distributions.Laplace(a, 1.0).sample().device == a.device


def test_indices_on_the_cpu_fit_everywhere(cuda):
    x = gg.arange(12.0, device=cuda).reshape(3, 4)
    rows, there = gg.tensor([2, 0]), gg.tensor([1, 1], device=cuda)
    assert x[rows, there].tolist() == [9.0, 1.0] and x[[2, 0], there].is_cuda
    x[gg.tensor([True, False, True])] = -1.0
    assert x[:, 0].tolist() == [-1.0, 4.0, -1.0]
    with pytest.raises(RuntimeError, match="indices should be either on cpu or on the same device"):
        _ = x.cpu()[there]


def test_modules_move_in_place(cuda):
    model = gg.nn.BatchNorm1d(3)
    weight = model.weight
    assert model.cuda() is model and model.weight is weight
    assert weight.is_cuda and model.running_mean.is_cuda and weight.is_leaf
    assert model.cpu().weight.is_cpu and model.to(cuda, gg.float64).weight.dtype is gg.float64
    assert gg.nn.Linear(2, 2, device=cuda).bias.is_cuda
    assert gg.nn.BatchNorm1d(2, device=cuda).running_var.is_cuda
    assert pickle.loads(pickle.dumps(model)).weight.is_cuda
    assert gg.nn.Linear(2, 2).to_empty(device=cuda).weight.is_cuda


def test_pinned_memory(cuda):
    x = gg.arange(6.0).reshape(2, 3)
    assert not x.is_pinned()
    pinned = x.pin_memory()
    assert pinned.is_pinned() and pinned.pin_memory() is pinned and pinned.tolist() == x.tolist()
    same(pinned.to(cuda, non_blocking=True), x)
    with pytest.raises(RuntimeError, match="only dense CPU tensors can be pinned"):
        x.cuda().pin_memory()


def test_without_a_gpu_the_error_says_what_is_missing():
    if gg.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(RuntimeError, match=r"(?s)CUDA.*emulate"):
        gg.ones(2).cuda()
    with pytest.raises(RuntimeError, match=r"(?s)CUDA.*emulate"):
        gg.nn.Linear(2, 2).to("cuda")


def test_batches_are_pinned_where_there_is_a_device(cuda):
    data = [(gg.tensor([float(i)]), {"n": i}) for i in range(4)]
    for x, y in gg.utils.data.DataLoader(data, batch_size=2, pin_memory=True):
        assert x.is_pinned() and y["n"].is_pinned()
        same(x.to(cuda, non_blocking=True), x)
    assert [x.tolist() for x, _ in gg.utils.data.DataLoader(data, batch_size=4)] == [
        [[0.0], [1.0], [2.0], [3.0]]
    ]


def test_memory_on_a_device_is_lent_and_borrowed(cuda):
    x = gg.arange(6.0, device=cuda).reshape(2, 3).t()
    said = x.__cuda_array_interface__
    assert said["shape"] == (3, 2) and said["strides"] == (4, 12) and said["typestr"] == "<f4"
    assert said["data"][0] == x.data_ptr()
    borrowed = gg.as_tensor(Lender(x), device=cuda)
    assert borrowed.data_ptr() == x.data_ptr() and borrowed.tolist() == x.tolist()
    borrowed[0, 0] = 9.0
    assert x[0, 0].item() == 9.0
    # The emulator's memory is the host's, where NumPy takes it.
    shared = np.from_dlpack(x)
    x[1, 1] = 7.0
    assert shared[1, 1] == 7.0
    with pytest.raises(AttributeError, match="non-CUDA tensor"):
        _ = gg.ones(1).__cuda_array_interface__
    assert not hasattr(gg.ones(1), "__cuda_array_interface__")


class Lender:
    """What another library's array shows."""

    def __init__(self, x):
        self.__cuda_array_interface__ = x.__cuda_array_interface__
        self.kept = x


def test_a_checkpoint_draws_again_what_it_drew(cuda):
    def halved(x):
        return gg.nn.functional.dropout(x * 2, 0.5)

    grads = []
    for run in (halved, lambda x: gg.utils.checkpoint.checkpoint(halved, x, use_reentrant=False)):
        gg.manual_seed(4)
        x = gg.ones(40, device=cuda, requires_grad=True)
        y = run(x)
        y.sum().backward()
        assert x.grad.tolist() == y.tolist()
        grads.append(x.grad)
    assert grads[0].tolist() == grads[1].tolist() and 0 < int((grads[0] == 0).sum()) < 40
