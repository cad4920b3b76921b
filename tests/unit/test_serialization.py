"""Saved states come back as they were; files are safetensors files, written whole or not at all."""

import io
import math
import os
import pickle
from collections import Counter, OrderedDict

import numpy as np
import pytest

import graphgrad as gg

safetensors = pytest.importorskip("safetensors.numpy")


def again(obj, path, **options):
    gg.save(obj, path)
    return gg.load(path, **options)


def same(a, b):
    assert type(a) is type(b), (a, b)
    if isinstance(a, gg.Tensor):
        assert a.dtype is b.dtype and a.requires_grad == b.requires_grad
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert a == b or (math.isnan(a) and math.isnan(b))


NESTED = {
    "none": None,
    "numbers": [1, -2.5, math.inf, math.nan, True, 10**30, 1e-320, 2 + 3j],
    "text": "ä\n\0",
    ("a", 1): (1, ("two", [3])),
    3: b"\xff\0",
    "sets": [{1, 2}, frozenset("a")],
    "order": OrderedDict(b=1, a=2),
    "counter": Counter([1, 1, 2]),
    "kinds": [gg.float32, gg.device("cpu"), gg.Size([1, 2])],
    "arrays": [np.arange(3), np.float32(2.5), np.array(True), np.zeros((0, 2))],
    "a": {"b": gg.ones(1)},
    "a.b": gg.zeros(1),
}


def test_nested_values_come_back(tmp_path):
    same(NESTED, again(NESTED, tmp_path / "x.pt"))


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
)
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (3, 4)])
def test_tensors_come_back(tmp_path, dtype, shape):
    t = gg.ones(shape, dtype=getattr(gg, dtype))
    same(t, again(t, tmp_path / "x"))
    strided = gg.arange(24).reshape(4, 6).to(getattr(gg, dtype)).T[::2]
    same(strided.clone(), again({"a": strided}, tmp_path / "y")["a"])


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_complex_tensors_come_back(tmp_path, dtype, shape):
    t = gg.from_numpy(np.full(shape, 1 - 2j, dtype))
    same(t, again([t], tmp_path / "x")[0])


def test_parameters_stay_parameters_and_one_tensor_stays_one(tmp_path):
    p = gg.nn.Parameter(gg.ones(2))
    found = again({"x": {"a": p, "b": p}, "y": [gg.ones(1, requires_grad=True)]}, tmp_path / "x")
    assert type(found["x"]["a"]) is gg.nn.Parameter and found["x"]["a"] is found["x"]["b"]
    assert found["y"][0].requires_grad


def test_training_goes_on_where_it_was_saved(tmp_path):
    def made():
        gg.manual_seed(0)
        model = gg.nn.Sequential(gg.nn.Linear(3, 4), gg.nn.BatchNorm1d(4), gg.nn.Linear(4, 1))
        optimizer = gg.optim.Adam(model.parameters(), lr=0.1, amsgrad=True)
        schedule = gg.optim.lr_scheduler.MultiStepLR(optimizer, [2, 5])
        return model, optimizer, schedule

    def train(model, optimizer, schedule):
        for _ in range(3):
            optimizer.zero_grad()
            model(gg.arange(12.0).reshape(4, 3)).square().mean().backward()
            optimizer.step()
            schedule.step()

    parts = made()
    train(*parts)
    gg.save([part.state_dict() for part in parts], tmp_path / "last.pt")
    train(*parts)
    others = made()
    for part, state in zip(others, gg.load(tmp_path / "last.pt"), strict=True):
        part.load_state_dict(state)
    train(*others)
    for a, b in zip(parts, others, strict=True):
        same(dict(a.state_dict()), dict(b.state_dict()))


def test_a_state_dict_is_a_safetensors_file(tmp_path):
    model = gg.nn.Linear(3, 2)
    gg.save(model.state_dict(), tmp_path / "m.safetensors")
    found = safetensors.load_file(tmp_path / "m.safetensors")
    assert set(found) == {"weight", "bias"}
    np.testing.assert_array_equal(found["weight"], model.weight.detach().numpy())
    safetensors.save_file({"weight": np.ones((2, 3), np.float32)}, tmp_path / "other")
    same(gg.load(tmp_path / "other"), {"weight": gg.ones(2, 3)})


@pytest.mark.torch
def test_torch_reads_the_file_and_its_own_says_what_to_do(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    gg.save({"w": gg.ones(2, 3)}, tmp_path / "a")
    assert torch.equal(load_file(tmp_path / "a")["w"], torch.ones(2, 3))
    state = {"w": torch.ones(2)}
    for zipped in (True, False):
        torch.save(state, tmp_path / "t.pt", _use_new_zipfile_serialization=zipped)
        with pytest.raises(NotImplementedError, match=r"written by torch.save.*save_file"):
            gg.load(tmp_path / "t.pt")
    save_file(state, tmp_path / "t.safetensors")
    same(gg.load(tmp_path / "t.safetensors"), {"w": gg.ones(2)})
    save_file({"w": torch.ones(2).to(torch.float8_e4m3fn)}, tmp_path / "half")
    with pytest.raises(NotImplementedError, match="save it as float32"):
        gg.load(tmp_path / "half")


def test_whole_modules_need_trust(tmp_path):
    model = gg.nn.Linear(3, 2)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        again(model, tmp_path / "m.pt")
    found = gg.load(tmp_path / "m.pt", weights_only=False)
    np.testing.assert_array_equal(found.weight.detach().numpy(), model.weight.detach().numpy())


def test_open_files_and_locations(tmp_path):
    buffer = io.BytesIO()
    gg.save({"a": gg.ones(2), "b": 1}, buffer)
    for place in (None, "cpu", gg.device("cpu"), {"cuda:0": "cpu"}, lambda storage, where: storage):
        buffer.seek(0)
        same(gg.load(buffer, map_location=place), {"a": gg.ones(2), "b": 1})


def test_tensors_go_back_to_their_device_or_where_they_are_sent(tmp_path):
    path = tmp_path / "x.pt"
    with gg.config.scope(cuda="emulate", tier="interpret"):
        there = gg.arange(4.0, device="cuda:0")
        gg.save({"a": there, "p": gg.nn.Parameter(there), "b": gg.ones(2)}, path)
        found = gg.load(path)
        assert [str(x.device) for x in found.values()] == ["cuda:0", "cuda:0", "cpu"]
        assert found["a"].tolist() == [0, 1, 2, 3] and found["p"].requires_grad
        for place in ("cpu", {"cuda:0": "cpu"}, lambda storage, where: storage):
            assert gg.load(path, map_location=place)["a"].device.type == "cpu"
        assert gg.load(path, map_location="cuda")["b"].device == gg.device("cuda:0")
    if not gg.cuda.is_available():
        with pytest.raises(RuntimeError, match=r"of device 'cuda:0'.*\n.*map_location='cpu'"):
            gg.load(path)
    same(gg.load(path, map_location="cpu")["a"], gg.arange(4.0))


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.pt"
    gg.save({"a": 1}, path)
    with pytest.raises(Exception, match="pickle"):
        gg.save({"a": lambda: 0}, path)
    assert gg.load(path) == {"a": 1} and os.listdir(tmp_path) == ["x.pt"]


def test_files_cut_short_are_named(tmp_path):
    path = tmp_path / "x.pt"
    gg.save({"a": gg.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(RuntimeError, match="is not a whole safetensors file"):
        gg.load(path)
    with pytest.raises(FileNotFoundError):
        gg.load(tmp_path / "nothing")
