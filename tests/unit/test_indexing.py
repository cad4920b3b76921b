"""Indexing means what it means in PyTorch: values, shapes, shared memory, gradients, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphgrad as gg

pytestmark = pytest.mark.devices

SHAPE = (4, 3, 5)


def data(shape=SHAPE):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


# Basic indices share memory; the others copy. `t` is the library.
BASIC = {
    "first": lambda t: 0,
    "last": lambda t: -1,
    "numpy integer": lambda t: np.int64(2),
    "0-d tensor": lambda t: t.tensor(1),
    "slice": lambda t: slice(1, 3),
    "all": lambda t: slice(None),
    "strided": lambda t: slice(None, None, 2),
    "backwards bounds": lambda t: slice(3, 1),
    "far bounds": lambda t: slice(-100, 100),
    "tensor bounds": lambda t: slice(t.tensor(1), t.tensor(3)),
    "column": lambda t: (slice(None), 1),
    "element": lambda t: (1, 2, 3),
    "ellipsis": lambda t: (..., 2),
    "only ellipsis": lambda t: ...,
    "ellipsis in the middle": lambda t: (1, ..., slice(1, 4, 2)),
    "new axis": lambda t: None,
    "new axes": lambda t: (None, 1, None, slice(0, 2), None),
    "empty tuple": lambda t: (),
}
ADVANCED = {
    "list": lambda t: [0, 2, 2],
    "tuple of lists": lambda t: ([0, 1], [1, 2]),
    "array": lambda t: np.array([3, 1]),
    "tensor": lambda t: t.tensor([3, 1, 1]),
    "int32 tensor": lambda t: t.tensor([3, 1], dtype=t.int32),
    "negative": lambda t: t.tensor([-1, -4]),
    "matrix": lambda t: t.tensor([[0, 1], [2, 3]]),
    "second": lambda t: (slice(None), t.tensor([2, 0])),
    "neighbours": lambda t: (slice(None), t.tensor([2, 0]), t.tensor([4, 1])),
    "apart": lambda t: (t.tensor([2, 0]), slice(None), t.tensor([4, 1])),
    "broadcast": lambda t: (t.tensor([[2], [0]]), t.tensor([1, 2, 0])),
    "after a number": lambda t: (0, slice(None), t.tensor([4, 1])),
    "number between": lambda t: (t.tensor([1, 2]), 0, t.tensor([4, 1])),
    "new axis between": lambda t: (t.tensor([1, 2]), None, t.tensor([0, 1])),
    "with slice": lambda t: (slice(1, 3), t.tensor([2, 0]), slice(None, None, 2)),
    "with ellipsis": lambda t: (..., t.tensor([4, 1])),
    "empty": lambda t: [],
    "empty tensor": lambda t: (slice(None), t.zeros(0, dtype=t.int64)),
    "mask": lambda t: t.tensor([True, False, True, True]),
    "list mask": lambda t: [True, False, False, True],
    "matrix mask": lambda t: t.tensor([[True, False, True]] * 4),
    "whole mask": lambda t: t.arange(60).reshape(SHAPE) % 7 == 0,
    "mask in the middle": lambda t: (slice(None), t.tensor([True, False, True])),
    "mask and number": lambda t: (t.tensor([True, False, True, True]), 1),
    "mask and indices": lambda t: (t.tensor([True, False, True, False]), t.tensor([0, 2])),
    "empty mask": lambda t: t.tensor([False] * 4),
    "True": lambda t: True,
    "False": lambda t: False,
    "uint8 mask": lambda t: t.tensor([1, 0, 0, 1], dtype=t.uint8),
}
EVERY = BASIC | ADVANCED


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def assert_same(ours, theirs):
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert repr(ours.dtype) == repr(theirs.dtype)
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-6)


def assert_same_or_zero(ours, theirs):
    """A gradient that nothing reaches may be None on one side and zeros on the other."""
    if ours is None or theirs is None:
        assert all(g is None or not g.any() for g in (ours, theirs))
    else:
        assert_same(ours, theirs)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", EVERY)
def test_read(name, torch):
    assert_same(gg.tensor(data())[EVERY[name](gg)], torch.tensor(data())[EVERY[name](torch)])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", EVERY)
def test_gradient(name, torch):
    grads = []
    for t in (gg, torch):
        x = t.tensor(data(), requires_grad=True)
        y = x[EVERY[name](t)]
        (y * t.arange(y.numel(), dtype=t.float32).reshape(y.shape)).sum().backward()
        grads.append(x.grad)
    assert_same(*grads)


@pytest.mark.parametrize("name", BASIC)
def test_basic_index_is_a_view(name):
    x = gg.tensor(data())
    y = x[BASIC[name](gg)]
    y.fill_(-7)
    assert (x == -7).sum().item() == y.numel()
    assert y._storage is x._storage


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", sorted(EVERY.keys() - {"uint8 mask"}))
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("kind", ["number", "scalar", "full", "row"])
def test_write(name, grad, kind, torch):
    results = []
    for t in (gg, torch):
        x = t.tensor(data(), requires_grad=grad)
        index = EVERY[name](t)
        shape = x[index].shape
        value = {
            "number": 5,
            "scalar": t.tensor(3.0, requires_grad=grad),
            "full": t.tensor(-data(tuple(shape)), requires_grad=grad),
            "row": t.tensor(-data(tuple(shape[-1:])), requires_grad=grad),
        }[kind]
        y = x * 2
        y[index] = value
        results.append([y])
        if grad:
            (y * y).sum().backward()
            results[-1] += [x.grad] + ([] if kind == "number" else [value.grad])
    for ours, theirs in zip(*results, strict=True):
        assert_same_or_zero(ours, theirs)


ERRORS = {
    "out of range": lambda x, t: x[4],
    "second out of range": lambda x, t: x[0, 7],
    "negative out of range": lambda x, t: x[-5],
    "too many": lambda x, t: x[0, 0, 0, 0],
    "0-d": lambda x, t: x[0, 0, 0][0],
    "negative step": lambda x, t: x[::-1],
    "float tensor": lambda x, t: x[t.tensor([1.0])],
    "tensor out of range": lambda x, t: x[t.tensor([1, 9])],
    "mask of another size": lambda x, t: x[t.tensor([True, False])],
    "value of another size": lambda x, t: x.__setitem__(0, t.zeros(7)),
    "value of another size, indices": lambda x, t: x.__setitem__([0, 1], t.zeros(7)),
    "list value": lambda x, t: x.__setitem__(0, [1.0]),
}


@pytest.mark.host
@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_those_of_pytorch(name, torch):
    raised = []
    for t in (gg, torch):
        with pytest.raises(Exception) as caught:
            ERRORS[name](t.tensor(data()), t)
        raised.append(caught)
    assert raised[0].type is raised[1].type or issubclass(raised[0].type, raised[1].type)
    assert str(raised[0].value).splitlines()[0] == str(raised[1].value).splitlines()[0]


def test_writing_to_a_leaf_that_requires_grad():
    x = gg.zeros(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
        x[0] = 1
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        x[[0, 1]] = 1
    with gg.no_grad():
        x[0] = 1
        x[[1, 2]] = 2
    assert x.tolist() == [1, 2, 2]


@pytest.mark.host
def test_reading_an_index_that_changed_before_backward():
    x, i = gg.ones(3, requires_grad=True), gg.tensor([0, 1])
    y = (x[i] * 2).sum()
    i.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_records_carry_the_names_of_pytorch():
    x = gg.ones(3, 3, requires_grad=True)
    names = [y.grad_fn.name() for y in (x[0], x[1:], x[None], x[[0]], x[:])]
    assert names == [
        "SelectBackward0",
        "SliceBackward0",
        "UnsqueezeBackward0",
        "IndexBackward0",
        "AliasBackward0",
    ]


# ---------------------------------------------------------------------------------------- functions

I = [[0, 2, 1, 1, 0], [1, 0, 0, 2, 4], [3, 3, 3, 1, 2]]  # noqa: E741
ROWS = [[0, 2, 1, 1, 0], [1, 0, 0, 2, 0], [2, 2, 2, 1, 2]]
ORDER = [[0, 2, 1, 4, 3], [1, 0, 2, 3, 4], [4, 3, 2, 1, 0]]
FUNCTIONS = {
    "index_select": lambda t, x, v: x.index_select(1, t.tensor([2, 0, 2])),
    "index_select 0-d": lambda t, x, v: x[0, 0].index_select(0, t.tensor(1)),
    "gather 0": lambda t, x, v: x[0].gather(0, t.tensor(ROWS)),
    "gather 1": lambda t, x, v: t.gather(x[0], 1, t.tensor(I)),
    "gather empty": lambda t, x, v: x[0].gather(1, t.zeros(3, 0, dtype=t.int64)),
    "scatter": lambda t, x, v: x[0].scatter(1, t.tensor(ORDER), v),
    "scatter number": lambda t, x, v: x[0].scatter(1, t.tensor(I), 2.5),
    "scatter_add": lambda t, x, v: x[0].scatter_add(1, t.tensor(I), v),
    "scatter_ value": lambda t, x, v: (x[0] * 1).scatter_(1, t.tensor(I), value=9.0),
    "reduce sum": lambda t, x, v: x[0].scatter_reduce(1, t.tensor(I), v, "sum"),
    "reduce mean": lambda t, x, v: x[0].scatter_reduce(1, t.tensor(I), v, "mean"),
    "reduce amax": lambda t, x, v: x[0].scatter_reduce(1, t.tensor(I), v + 3, "amax"),
    "reduce amin": lambda t, x, v: x[0].scatter_reduce(1, t.tensor(I), v, "amin"),
    "reduce mean without self": lambda t, x, v: x[0].scatter_reduce(
        1, t.tensor(I), v, "mean", include_self=False
    ),
    "reduce amax without self": lambda t, x, v: x[0].scatter_reduce(
        1, t.tensor(I), v, "amax", include_self=False
    ),
    "index_add": lambda t, x, v: x[0].index_add(0, t.tensor([2, 0, 0]), v, alpha=2),
    "index_copy": lambda t, x, v: x[0].index_copy(0, t.tensor([2, 0, 1]), v),
    "index_fill": lambda t, x, v: x.index_fill(2, t.tensor([4, 0]), 1.5),
    "index_add_": lambda t, x, v: (x[0] * 1).index_add_(1, t.tensor([1, 1]), v[:, :2]),
    "index_put": lambda t, x, v: x[0].index_put((t.tensor([0, 1]), t.tensor([4, 4])), v[0, :2]),
    "index_put accumulate": lambda t, x, v: x[0].index_put(
        (t.tensor([1, 1, 0]),), v, accumulate=True
    ),
    "take": lambda t, x, v: x.take(t.tensor([[0, 59], [-1, 7]])),
    "take_along_dim": lambda t, x, v: t.take_along_dim(x[0], t.tensor([[1, 0]]), 1),
    "put_": lambda t, x, v: (x * 1).put_(t.tensor([1, 59]), v[0, :2]),
    "put_ accumulate": lambda t, x, v: (x * 1).put_(t.tensor([1, 1]), v[0, :2], accumulate=True),
    "masked_fill": lambda t, x, v: x.masked_fill(x > 30, -1),
    "masked_fill tensor": lambda t, x, v: x.masked_fill(x > 30, t.tensor(2)),
    "masked_fill broadcast": lambda t, x, v: x.masked_fill(x[0, 0] > 2, -1.5),
    "masked_select": lambda t, x, v: x.masked_select(x > 30),
    "masked_scatter": lambda t, x, v: x[0].masked_scatter(x[0] % 2 == 0, v),
    "select_scatter": lambda t, x, v: x.select_scatter(v, 0, 2),
    "slice_scatter": lambda t, x, v: x[0].slice_scatter(v[:, :2], 1, 0, 4, 2),
    "diagonal_scatter": lambda t, x, v: x[0].diagonal_scatter(v[0, :3], 1),
    "where": lambda t, x, v: t.where(x[0] > 3, x[0], v),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name, torch):
    results = []
    for t in (gg, torch):
        x = t.tensor(data(), requires_grad=True)
        v = t.tensor(-data((3, 5)) - 1, requires_grad=True)
        y = FUNCTIONS[name](t, x, v)
        (y * y).sum().backward()
        results.append([y, x.grad, v.grad])
    for ours, theirs in zip(*results, strict=True):
        assert_same_or_zero(ours, theirs)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("reduce", ["add", "multiply"])
def test_scatter_reduce_argument(reduce, torch):
    results = []
    for t in (gg, torch):
        x, v = t.tensor(data((3, 5))), t.tensor(data((3, 4)))
        results.append(x.scatter(1, t.tensor(I)[:2, :3], v, reduce=reduce))
    assert_same(*results)


def test_gradient_of_a_source_larger_than_the_index():
    x, v = gg.zeros(3, 5), gg.ones(3, 5, requires_grad=True)
    (x.scatter_add(1, gg.tensor([[0, 1], [1, 1]]), v) * 2).sum().backward()
    assert v.grad.tolist() == [[2, 2, 0, 0, 0], [2, 2, 0, 0, 0], [0] * 5]


@pytest.mark.parametrize("reduce", ["prod", "sum", "mean", "amax", "amin"])
@pytest.mark.parametrize("include_self", [True, False])
def test_scatter_reduce_of_integers(reduce, include_self, torch):
    results = []
    for t in (gg, torch):
        x, index = t.arange(2, 7), t.tensor([0, 0, 3, 3, 0])
        src = t.tensor([3, 4, 5, -2, 2])
        results.append(x.scatter_reduce(0, index, src, reduce, include_self=include_self))
    assert_same(*results)


def test_gather_refuses_what_is_out_of_range():
    with pytest.raises(IndexError, match="index 3 is out of bounds for dimension 0 with size 3"):
        gg.zeros(3).gather(0, gg.tensor([3]))
    with pytest.raises(IndexError, match="index -1 is out of bounds"):
        gg.zeros(3).index_select(0, gg.tensor([-1]))


# ----------------------------------------------------------------------------------------- property


@st.composite
def indices(draw, sizes=(4, 3, 5)):
    """A random index for a tensor of ``sizes``, written with NumPy's objects."""
    items, length = [], draw(st.integers(1, 3))
    for n in sizes[: draw(st.integers(0, len(sizes)))]:
        kind = draw(st.sampled_from(["int", "slice", "array", "mask"]))
        if kind == "int":
            items.append(draw(st.integers(-n, n - 1)))
        elif kind == "slice":
            bound = st.none() | st.integers(-n - 1, n + 1)
            items.append(slice(draw(bound), draw(bound), draw(st.none() | st.integers(1, 3))))
        elif kind == "array":
            shape = draw(st.sampled_from([(length,), (1,), (2, length), (2, 1)]))
            values = st.integers(-n, n - 1)
            items.append(
                np.array([draw(values) for _ in range(int(np.prod(shape)))]).reshape(shape)
            )
        else:
            mask = np.zeros(n, bool)
            mask[draw(st.permutations(range(n)))[:length]] = True
            items.append(mask)
    for _ in range(draw(st.integers(0, 1))):
        items.insert(draw(st.integers(0, len(items))), None)
    return tuple(items)


@settings(max_examples=200, deadline=None)
@given(indices())
def test_random_indices(index):
    torch = pytest.importorskip("torch")

    def of(t):
        return tuple(t.tensor(i) if isinstance(i, np.ndarray) else i for i in index)

    try:
        expected = torch.tensor(data())[of(torch)]
    except IndexError:
        with pytest.raises(IndexError):
            gg.tensor(data())[of(gg)]
        return
    assert_same(gg.tensor(data())[of(gg)], expected)
    grads = []
    for t in (gg, torch):
        x = t.tensor(data(), requires_grad=True)
        y = x[of(t)]
        (y * y).sum().backward()
        grads.append(x.grad)
    assert_same(*grads)
