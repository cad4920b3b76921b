"""Bad input: each mistake raises the right error: short, with the user's line and a way out."""

from __future__ import annotations

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import nn, optim


def freed():
    x = gg.ones(2, requires_grad=True)
    y = (x * x).sum()
    y.backward()
    y.backward()


def overwritten():
    x = gg.ones(2, requires_grad=True)
    y = x * 2
    z = (y * y).sum()
    y.add_(1)
    z.backward()


def leaf_in_place():
    gg.ones(2, requires_grad=True).add_(1)


def wrong_grad_shape():
    (gg.ones(2, requires_grad=True) * 2).backward(gg.ones(3))


def unused():
    x, y = gg.ones(1, requires_grad=True), gg.ones(1, requires_grad=True)
    gg.autograd.grad((x * 2).sum(), [y])


def mismatched_layers():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(6, 8, 3))
    model(gg.ones(1, 1, 8, 8))


def missing_key():
    nn.Linear(2, 2).load_state_dict({"weight": gg.ones(2, 2)})


def traced(function, *arguments):
    return lambda: gg.compile(function)(*arguments)


ONES = gg.ones(3)
# name: (program, error, words that the message must have)
MISTAKES = {
    "shapes that do not broadcast": (
        lambda: gg.ones(2, 3) + gg.ones(4),
        RuntimeError,
        ["The size of tensor a (3) must match the size of tensor b (4)", "dimension 1", "add"],
    ),
    "inner sizes of a product": (
        lambda: gg.ones(2, 3) @ gg.ones(4, 5),
        RuntimeError,
        ["mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"],
    ),
    "dtypes of a product": (
        lambda: gg.ones(2, 2) @ gg.ones(2, 2, dtype=gg.float64),
        RuntimeError,
        ["dtype", "float32", "float64"],
    ),
    "reshape to another size": (
        lambda: gg.ones(6).view(4, 2),
        RuntimeError,
        ["shape '[4, 2]' is invalid for input of size 6"],
    ),
    "sizes to concatenate": (
        lambda: gg.cat([gg.ones(2, 3), gg.ones(2, 4)]),
        RuntimeError,
        ["Sizes of tensors must match except in dimension 0"],
    ),
    "channels of a convolution": (mismatched_layers, RuntimeError, ["4", "6", "channels"]),
    "features of a linear layer": (
        lambda: nn.Linear(3, 2)(gg.ones(1, 4)),
        RuntimeError,
        ["(1x4 and 3x2)"],
    ),
    "integer tensors that require grad": (
        lambda: gg.tensor([1, 2], requires_grad=True),
        RuntimeError,
        ["only Tensors of floating point"],
    ),
    "backward of something larger than a number": (
        lambda: (gg.ones(3, requires_grad=True) * 2).backward(),
        RuntimeError,
        ["grad can be implicitly created only for scalar outputs"],
    ),
    "backward of something without history": (
        lambda: gg.ones(1).backward(),
        RuntimeError,
        ["does not require grad and does not have a grad_fn"],
    ),
    "backward through a freed graph": (
        freed,
        RuntimeError,
        ["a second time", "retain_graph=True", "test_errors.py"],
    ),
    "a saved value overwritten": (
        overwritten,
        RuntimeError,
        ["modified by an inplace operation", "z = (y * y).sum()", "y.add_(1)"],
    ),
    "a leaf written in place": (
        leaf_in_place,
        RuntimeError,
        ["a leaf Variable that requires grad"],
    ),
    "a gradient of another shape": (wrong_grad_shape, RuntimeError, ["Mismatch in shape"]),
    "an unused tensor": (unused, RuntimeError, ["appears to not have been used in the graph"]),
    "numpy of a tensor that requires grad": (
        lambda: gg.ones(1, requires_grad=True).numpy(),
        RuntimeError,
        ["detach().numpy()"],
    ),
    "the truth of several values": (
        lambda: bool(gg.ones(2)),
        RuntimeError,
        ["Boolean value of Tensor with more than one value is ambiguous"],
    ),
    "an index outside": (lambda: gg.ones(3)[5], IndexError, ["index 5 is out of bounds", "size 3"]),
    "an index tensor outside": (
        lambda: gg.ones(3)[gg.tensor([0, 7])],
        IndexError,
        ["out of bounds", "size 3"],
    ),
    "a dimension outside": (
        lambda: gg.ones(2).sum(3),
        IndexError,
        ["Dimension out of range (expected to be in range of [-1, 0], but got 3)"],
    ),
    "a missing parameter": (missing_key, RuntimeError, ['Missing key(s) in state_dict: "bias"']),
    "an optimizer without parameters": (
        lambda: optim.SGD([], lr=0.1),
        ValueError,
        ["optimizer got an empty parameter list"],
    ),
    "a negative learning rate": (
        lambda: optim.SGD([gg.ones(1, requires_grad=True)], lr=-1),
        ValueError,
        ["Invalid learning rate"],
    ),
    "a device that does not exist here": (
        lambda: gg.ones(1, device="cuda"),
        (RuntimeError, NotImplementedError),
        ["CUDA"],
    ),
    "a branch on a traced value": (
        traced(lambda x: x if x.sum() > 0 else -x, ONES),
        gg.TraceError,
        ["test_errors.py", "graphgrad.where", "graphgrad.cond"],
    ),
    "a value leaving a trace": (
        traced(lambda x: x * x.sum().item(), ONES),
        gg.TraceError,
        ["item", "test_errors.py"],
    ),
    "shapes inside a trace": (
        traced(lambda x: x + gg.ones(4), ONES),
        RuntimeError,
        ["The size of tensor a (3) must match", "test_errors.py"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name):
    program, error, words = MISTAKES[name]
    with pytest.raises(error) as caught:
        program()
    text = str(caught.value)
    for word in words:
        assert word in text, text
    assert len(text.splitlines()) <= 10, text


@pytest.mark.parametrize("tier", ["interpret", "compiled"])
def test_index_outside_inside_a_program_names_the_line_and_changes_nothing(tier):
    table, seen = gg.arange(10.0), gg.zeros(1)

    @gg.compile
    def look_up(index):
        seen.add_(1)
        return table[index] * 2

    with gg.config.scope(tier=tier):
        np.testing.assert_array_equal(look_up(gg.tensor([1, 2])).numpy(), [2.0, 4.0])
        with pytest.raises(IndexError) as error:
            look_up(gg.tensor([3, 12]))
        assert "index 12 is out of bounds for dimension 0 with size 10" in str(error.value)
        assert "test_errors.py" in str(error.value)
        np.testing.assert_array_equal(look_up(gg.tensor([-1, 0])).numpy(), [18.0, 0.0])
        assert seen.item() == 2
