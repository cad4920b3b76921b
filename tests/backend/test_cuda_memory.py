"""Arrays in a device's memory, on the emulator: views, copies, statistics, other libraries."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from graphgrad.kernels.cuda.driver import driver
from graphgrad.kernels.cuda.exchange import from_dlpack, from_interface
from graphgrad.kernels.cuda.memory import DeviceArray, empty, from_host
from graphgrad.kernels.cuda.pool import Pool

from graphgrad.config import config
from graphgrad.device import device

CUDA = device("cuda", 0)


@pytest.fixture(autouse=True)
def emulate():
    with config.scope(cuda="emulate"):
        yield


def array(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.arange(int(np.prod(shape))).astype(dtype).reshape(shape)


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "float16", "complex64"])
def test_in_and_out(dtype: str) -> None:
    x = array(3, 4, dtype=dtype)
    y = from_host(x, CUDA)
    assert (y.shape, y.strides, y.numpy_dtype) == (x.shape, x.strides, x.dtype)
    back = y.host()
    assert back.dtype == x.dtype and np.array_equal(back, x)
    assert not np.shares_memory(back, y.emulated)


def test_zero_sized_and_zero_dimensional() -> None:
    assert from_host(np.zeros((0, 3), "float32"), CUDA).host().shape == (0, 3)
    assert from_host(np.float32(2.5).reshape(()), CUDA).item() == 2.5


@pytest.mark.parametrize("take", [np.s_[:, 1:3], np.s_[::-1, ::2], np.s_[2], np.s_[..., None]])
def test_views_read_and_write_the_same_memory(take) -> None:
    x = array(4, 6)
    y = from_host(x, CUDA)
    seen = x[take]
    offset = seen.__array_interface__["data"][0] - x.__array_interface__["data"][0]
    view = y.view(seen.shape, seen.strides, offset)
    assert np.array_equal(view.host(), seen)
    assert view.base is y and view.copy().flags.c_contiguous
    assert np.array_equal(view.copy().host(), seen)
    view.copy_(from_host(np.ascontiguousarray(seen) * 10, CUDA))
    x[take] *= 10
    assert np.array_equal(y.host(), x)
    view.copy_(np.zeros(seen.shape, "float32"))
    x[take] = 0
    assert np.array_equal(y.host(), x)


def test_numpy_is_refused_and_says_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"cuda:0 device type tensor.*\.cpu\(\)"):
        np.asarray(from_host(array(2), CUDA))


def test_memory_is_counted_kept_and_given_back() -> None:
    gc.collect()
    driver().empty_cache()
    pool = driver().statistics(0)
    before, held = pool.allocated, pool.reserved
    pool.reset_peak()
    x = empty((1000, 1000), "float32", CUDA)
    view, where = x.view((10,)), x.pointer
    assert pool.allocated - before == 4_000_000 and pool.reserved > held
    del x
    assert pool.allocated - before == 4_000_000  # a view holds it
    del view
    assert pool.allocated == before and pool.peak == before + 4_000_000
    y = empty((1000, 1000), "float32", CUDA)
    assert y.pointer == where  # the same block
    del y
    driver().empty_cache()
    assert pool.reserved < before + 4_000_000


def test_interface_both_ways() -> None:
    x = from_host(array(3, 4), CUDA)
    said = x.__cuda_array_interface__
    assert (said["shape"], said["typestr"], said["strides"]) == ((3, 4), "<f4", None)
    assert said["data"] == (x.pointer, False) and said["version"] == 3
    turned = x.view((4, 3), (4, 16))
    assert turned.__cuda_array_interface__["strides"] == (4, 16)
    again = from_interface(turned, CUDA)
    assert again.pointer == x.pointer and np.array_equal(again.host(), array(3, 4).T)


def test_dlpack_both_ways() -> None:
    x = from_host(array(3, 4), CUDA)
    seen = np.from_dlpack(x)  # the emulator's memory is the host's
    assert np.array_equal(seen, array(3, 4))
    seen_pointer = seen.__array_interface__["data"][0]
    assert seen_pointer == x.pointer
    again = from_dlpack(x.view((4, 3), (4, 16)), CUDA)
    del x
    assert isinstance(again, DeviceArray) and np.array_equal(again.host(), array(3, 4).T)
    host = array(5, dtype="int64")
    taken = from_dlpack(host, CUDA)
    assert taken.pointer == host.__array_interface__["data"][0]


def test_a_loan_ends_with_its_capsule_or_its_taker() -> None:
    from graphgrad.kernels.cuda import exchange

    pool = driver().statistics(0)
    gc.collect()
    before = pool.allocated
    x = from_host(array(64), CUDA)
    capsule = x.__dlpack__()
    del x
    assert pool.allocated == before + 256
    del capsule
    assert pool.allocated == before
    taken = from_dlpack(from_host(array(64), CUDA), CUDA)
    assert pool.allocated == before + 256
    del taken
    assert pool.allocated == before and not exchange._lent


def test_without_a_device_the_error_says_what_is_missing() -> None:
    with config.scope(cuda="auto"):
        try:
            driver()
        except RuntimeError as error:
            assert any(word in str(error) for word in ("driver", "package", "device"))
        else:
            pytest.skip("there is a GPU here")


def test_memory_in_a_cycle_is_given_back_and_not_finalised() -> None:
    class Memory:
        alive = True

        def __del__(self) -> None:
            Memory.alive = False

    pool = Pool(lambda nbytes: (4096, Memory()))
    holder = [pool.take(100)]
    holder.append(holder)
    del holder
    gc.collect()
    assert pool.allocated == 0 and Memory.alive
    assert pool.take(100).pointer == 4096
    pool.empty()
    assert not Memory.alive and pool.reserved == 0
