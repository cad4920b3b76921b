"""Memory of programs' results: aligned, used again once nobody looks, let go when asked."""

import numpy as np
import pytest
from graphgrad.kernels import memory


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (100, 33), (1 << 19,)])
def test_arrays_are_aligned_and_used_again(shape):
    dtype = np.dtype("float64")
    first = memory.empty(shape, dtype)
    assert first.shape == shape
    assert first.flags.c_contiguous
    assert first.flags.writeable
    where = address(first)
    assert where % memory.ALIGNMENT == 0
    view = first.T[...]
    del first
    other = memory.empty(shape, dtype)
    assert address(other) != where, "a view still holds the memory"
    del view
    held = [memory.empty(shape, dtype) for _ in range(3)]
    assert where in map(address, held)


def test_size_classes_waste_a_quarter_at_most():
    for nbytes in [*range(1, 3000), 10**6, 10**9 + 1]:
        size = memory.size_class(nbytes)
        assert size % memory.ALIGNMENT == 0
        assert nbytes <= size <= max(64, nbytes * 1.25 + 64)


def test_unused_memory_is_let_go():
    memory.trim()
    before = memory._pool.held
    kept = memory.empty((1 << 20,), np.dtype("uint8"))
    memory.empty((1 << 22,), np.dtype("uint8"))
    memory.trim()
    assert memory._pool.held == before + kept.nbytes
    block = memory.borrow(1000)
    memory.give_back(block)
    assert memory.borrow(500) is block
