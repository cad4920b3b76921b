"""Devices as values, and tensors on them."""

from __future__ import annotations

import pickle
import threading

import pytest

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
