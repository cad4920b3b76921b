"""Exported steps of a device: files of launches, run over the stand-in for cuda.core."""

from __future__ import annotations

import ast
import importlib.util
import pathlib
import sys
import types
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import nn
from graphgrad.bench.workload import arrays, labels, seeded
from graphgrad.config import config
from tests.backend import fake_cuda

F = nn.functional


@pytest.fixture
def gpu(monkeypatch):
    """This machine's only GPU, for graphgrad and for the file."""
    core, bindings = types.ModuleType("cuda.core"), types.ModuleType("cuda.bindings")
    vars(core).update(vars(fake_cuda.core))
    bindings.driver = fake_cuda.calls  # type: ignore[attr-defined]
    package = types.ModuleType("cuda")
    package.core, package.bindings = core, bindings  # type: ignore[attr-defined]
    for name, module in (("cuda", package), ("cuda.core", core), ("cuda.bindings", bindings)):
        monkeypatch.setitem(sys.modules, name, module)
    with fake_cuda.installed(fake_cuda.fake_driver()) as made:
        yield made


def loaded(path: pathlib.Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def training(optimizer: str, **options: Any) -> tuple[Any, Any, Any]:
    net = seeded(
        gg, nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))
    )
    net = net.cuda()
    update = getattr(gg.optim, optimizer)(net.parameters(), **options)

    @gg.compile
    def step(x, y):
        update.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        update.step()
        return loss

    return net, update, step


BATCHES = [(x, labels(9, 4)) for x in arrays(*[(9, 12)] * 6)]


def run(step: Any, batch: Any) -> float:
    return step(*(gg.from_numpy(x).cuda() for x in batch)).item()


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_a_file_goes_on_training_with_the_same_bits(optimizer, gpu, tmp_path) -> None:
    net, _, step = training(optimizer, lr=0.05)
    run(step, BATCHES[0]), run(step, BATCHES[1])
    module = loaded(gg.export(step, tmp_path / "step.py"))
    for batch in BATCHES[2:]:  # launched, captured, replayed
        assert float(module.step(*batch)) == run(step, batch)
    assert [entry for entry in fake_cuda.log if entry[0] == "graph"]
    for name, value in net.state_dict().items():
        kept = module.state.get(name)
        if kept is not None:
            np.testing.assert_array_equal(module.host_of(kept), value.cpu().numpy())
    weight = module.grads["0.weight"].host()
    np.testing.assert_array_equal(weight, net[0].weight.grad.cpu().numpy())


def test_state_is_saved_and_the_learning_rate_can_be_changed(gpu, tmp_path) -> None:
    _, update, step = training("SGD", lr=0.05, momentum=0.9)
    run(step, BATCHES[0]), run(step, BATCHES[1])
    path = gg.export(step, tmp_path / "step.py")
    module = loaded(path)
    update.param_groups[0]["lr"] = module.options[0]["lr"] = 0.2
    assert float(module.step(*BATCHES[2])) == run(step, BATCHES[2])
    module.save()
    again = loaded(path)
    again.options[0]["lr"] = 0.2
    right = run(step, BATCHES[3])
    assert float(again.step(*BATCHES[3])) == right == float(module.step(*BATCHES[3]))
    again.load(tmp_path / "step.npz")
    assert float(again.step(*BATCHES[3])) == right


def test_wrong_arguments_and_indices_are_errors(gpu, tmp_path) -> None:
    table = gg.from_numpy(arrays((5, 3))[0]).cuda()
    look_up = gg.compile(lambda index: F.embedding(index, table) * 2)
    look_up(gg.tensor([0, 1, 4]).cuda())
    module = loaded(gg.export(look_up, tmp_path / "look_up.py"))
    good, bad = np.array([4, 2, 0]), np.array([0, 7, 1])
    for _ in range(2):
        np.testing.assert_array_equal(module.function(good), 2 * arrays((5, 3))[0][good])
        with pytest.raises(IndexError, match=r"out of range \(.*test_cuda_export\.py"):
            module.function(bad)
    with pytest.raises(ValueError, match="must be int64"):
        module.function(np.zeros(4, np.int64))


def test_what_a_list_of_launches_cannot_hold_is_refused(gpu, tmp_path) -> None:
    branch = gg.compile(lambda x: gg.cond(x.sum() > 0, lambda x: x * 2, lambda x: x, (x,)))
    branch(gg.ones(3).cuda())
    with pytest.raises(NotImplementedError, match="branches, while loops"):
        gg.export(branch, tmp_path / "branch.py")


def test_the_file_needs_numpy_and_cuda_core_alone(gpu, tmp_path) -> None:
    _, _, step = training("Adam")
    run(step, BATCHES[0]), run(step, BATCHES[1])
    path = gg.export(step, tmp_path / "step.py")
    tree = ast.parse(path.read_text())
    modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    modules |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert modules <= {"ctypes", "math", "pathlib", "numpy", "cuda.core", "cuda.bindings"}
    assert max(map(len, path.read_text().splitlines())) <= 100
    assert "# test_cuda_export.py" in path.read_text()  # lines of the program above its launches


@pytest.mark.skipif(importlib.util.find_spec("numba_cuda") is None, reason="needs numba-cuda")
def test_machine_code_for_every_kernel_and_architecture(tmp_path) -> None:
    with config.scope(cuda="emulate", cuda_archs="sm_80,sm_90"):
        scale = gg.compile(lambda x: (x * 2).softmax(-1))
        scale(gg.ones(4, 8, device="cuda"))
        path = gg.export(scale, tmp_path / "scale.py")
    kernels = [
        node.args[0].value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "kernel"
    ]
    with np.load(path.with_suffix(".npz")) as file:
        for name in kernels:
            for arch in ("sm_80", "sm_90"):
                assert file[f"{name} {arch}"].tobytes()[:4] == b"\x7fELF"
    assert kernels
