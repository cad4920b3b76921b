"""Exported files: the same numbers without graphgrad, readable, clear about what they cannot do."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import nn
from graphgrad.examples.lenet import LeNet5
from graphgrad.nn import functional as F
from graphgrad.tree import flatten

# Imports every file of a folder where graphgrad cannot be imported, and makes the calls asked for.
RUNNER = """
import importlib, pathlib, pickle, sys
sys.modules["graphgrad"] = None
folder = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(folder))
answers = {}
for name, calls in pickle.loads((folder / "calls.pickle").read_bytes()).items():
    module = importlib.import_module(name)
    function = getattr(module, module.__doc__.split(",")[0])
    results = [pickle.dumps(function(*args, **kwargs)) for args, kwargs in calls]
    grads = getattr(module, "grads", {})
    kept = {**getattr(module, "state", {}), **{f"grad {k}": v for k, v in grads.items()}}
    answers[name] = (list(map(pickle.loads, results)), kept)
(folder / "answers.pickle").write_bytes(pickle.dumps(answers))
"""


@dataclass
class Case:
    """A function, its arguments, how often it is called, how far results may be apart."""

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    calls: int = 1
    tolerance: float = 2e-5
    # Tensors that the function changes, by their names in the file.
    state: Callable[[], dict[str, Any]] = dict


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def integers(*shape: int, low: int = 0, high: int = 10) -> np.ndarray:
    return np.random.default_rng(1).integers(low, high, shape)


def training(model: Any, optimizer: Any, loss_of: Callable[..., Any]) -> Callable[..., Any]:
    def step(*args: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(model, *args)
        loss.backward()
        optimizer.step()
        return loss

    return step


def classified(model: Any, x: Any, labels: Any) -> Any:
    scores = model(x)
    return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), labels.reshape(-1))


class Block(nn.Module):
    """A language model of one transformer block."""

    def __init__(self, words: int = 20, dim: int = 16, length: int = 6) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, dim), nn.Embedding(length, dim)
        self.before, self.after = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.wide, self.narrow = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.drop, self.head = nn.Dropout(0.1), nn.Linear(dim, words)

    def forward(self, index: Any) -> Any:
        n, length = index.shape
        x = self.words(index) + self.places(gg.arange(length))
        heads = self.attention(self.before(x)).reshape(n, length, 3, 2, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(*heads.unbind(0), is_causal=True)
        x = x + self.drop(self.out(y.transpose(1, 2).reshape(n, length, -1)))
        return self.head(x + self.narrow(F.gelu(self.wide(self.after(x)))))


def lenet_step() -> Case:
    gg.manual_seed(0)
    model = LeNet5()
    optimizer = gg.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    step = training(model, optimizer, classified)
    return Case(step, (floats(8, 1, 28, 28), integers(8)), calls=4, state=model.state_dict)


def lstm_step() -> Case:
    gg.manual_seed(0)
    model = nn.LSTM(8, 12)
    optimizer = gg.optim.Adam(model.parameters(), lr=1e-2)
    loss_of = lambda model, x, y: ((model(x)[0] - y) ** 2).mean()  # noqa: E731
    step = training(model, optimizer, loss_of)
    return Case(step, (floats(5, 3, 8), floats(5, 3, 12)), calls=4, state=model.state_dict)


def gpt_step() -> Case:
    gg.manual_seed(0)
    model = Block()
    # The gradient of a key's bias is 0: a small eps would make steps of its rounding errors.
    optimizer = gg.optim.AdamW(model.parameters(), lr=1e-2, eps=1e-2)
    step = training(model, optimizer, classified)
    args = (integers(2, 6, high=20), integers(2, 6, high=20))
    return Case(step, args, calls=4, state=model.state_dict)


def arithmetic(x: Any, y: Any) -> Any:
    return {"whole": [x // y, x % y], "bits": ((x & y) ^ 3, x << 1), "flags": x > y, "n": 3}


def indexed(x: Any, i: Any) -> Any:
    rows = x[i]
    return (
        rows,
        x.gather(1, i[:, None]),
        x.index_add(0, i, rows),
        x.sort(1),
        x.argmax(1),
        x[1:, ::2],
    )


def backwards(x: Any) -> Any:
    return x.flip(0) + x.flip(1), F.pad(x[None], (1, 2), mode="reflect"), x.roll(1, 0).cumsum(1)


def doubles(x: Any) -> Any:
    return gg.sigmoid(x), gg.erf(x) + gg.special.erfc(x / 2), gg.rsqrt(x * x + 1), gg.tanh(x) @ x.T


def convolved(x: Any, w: Any, v: Any) -> Any:
    y = F.conv2d(x, w, stride=2, padding=1, groups=2)
    return F.max_pool2d(y, 3, 2, 1), F.conv_transpose2d(x, v), F.avg_pool2d(x, 3, 2, 1)


def scanned(x: Any, c: Any) -> Any:
    return gg.scan(lambda c, row: (c * 0.5 + row, c + row.sum()), c, x, reverse=True)


def branched(x: Any) -> Any:
    return gg.cond(x.sum() > 0, lambda x: x * 2, lambda x: x - 1, (x,))


def repeated(n: Any, x: Any) -> Any:
    return gg.while_loop(lambda n, x: n < 5, lambda n, x: (n + 1, x * 1.5 + n), (n, x))


def contained(batch: Any, scale: float = 2.0, *, flag: bool, rest: Any) -> Any:
    x, (y,) = batch["x"], batch["y"]
    return [x * scale if flag else x, y.t()], rest


def special(x: Any) -> Any:
    y = gg.maximum(x, gg.zeros(6)), F.relu(x), gg.exp(x), F.softmax(x[:3], 0), gg.sigmoid(x)
    return *y, x.amax(), x.amin(), gg.sign(x), gg.isnan(x), x.fmod(2.0), gg.log1p(x.abs())


def noisy(x: Any) -> Any:
    return F.dropout(x, 0.5) + gg.randn(4, 8)


CASES: dict[str, Callable[[], Case]] = {
    "lenet": lambda: Case(LeNet5(), (floats(4, 1, 28, 28),)),
    "lenet_step": lenet_step,
    "lstm_step": lstm_step,
    "gpt_step": gpt_step,
    "softmax": lambda: Case(lambda x: F.softmax(F.layer_norm(x, (32,)), -1), (floats(16, 32),)),
    "arithmetic": lambda: Case(
        arithmetic, (integers(4, 5, low=-9), integers(4, 5, low=1).astype(np.int64))
    ),
    "narrow": lambda: Case(arithmetic, (np.int32(integers(9)), np.int32(integers(9, low=1)))),
    "indexed": lambda: Case(indexed, (floats(4, 5), np.array([0, 3, 1]))),
    "backwards": lambda: Case(backwards, (floats(4, 6),)),
    "doubles": lambda: Case(doubles, (floats(5, 6).astype(np.float64),), tolerance=1e-12),
    "convolved": lambda: Case(
        convolved, (floats(2, 4, 9, 9), floats(6, 2, 3, 3), floats(4, 3, 2, 2))
    ),
    "empty": lambda: Case(lambda x: (x + 1, x.sum(), x.T @ x), (floats(0, 4),)),
    "scanned": lambda: Case(scanned, (floats(7, 4), floats(4))),
    "branched": lambda: Case(branched, (floats(4),)),
    "repeated": lambda: Case(repeated, (np.array(0), floats(4))),
    "contained": lambda: Case(
        contained, ({"x": floats(3, 4), "y": (floats(2, 3),)}, 1.5), {"flag": True, "rest": [1]}
    ),
    "special": lambda: Case(special, (np.float32([1, -np.inf, 0.5, np.inf, np.nan, -0.0]),)),
    "noisy": lambda: Case(noisy, (floats(4, 8),), calls=3),
    "complex": lambda: Case(lambda x: ((x * 1j) * (x + 2j)).real, (floats(8),)),
}
# Small enough for plain Python, which is how a debugger sees kernels.
STEPPED = ["softmax", "special", "arithmetic", "indexed", "scanned", "contained", "noisy"]


def as_tensors(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: as_tensors(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(as_tensors, value))
    return gg.tensor(value) if isinstance(value, np.ndarray) else value


def as_arrays(value: Any) -> list[Any]:
    return [x.detach().numpy().copy() if hasattr(x, "detach") else x for x in flatten(value)[0]]


def run(folder: pathlib.Path, calls: dict[str, Any], **environment: str) -> dict[str, Any]:
    (folder / "calls.pickle").write_bytes(pickle.dumps(calls))
    command = [sys.executable, "-c", RUNNER, str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return pickle.loads((folder / "answers.pickle").read_bytes())


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[pathlib.Path, dict[str, Any], dict[str, Any]]:
    """Every case written to a folder; the calls to make, and what graphgrad answers to them."""
    folder = tmp_path_factory.mktemp("exported")
    calls, wanted = {}, {}
    for name, make in CASES.items():
        gg.manual_seed(7)
        case = make()
        args, kwargs = as_tensors(case.args), as_tensors(case.kwargs)
        function = gg.compile(case.function)
        gg.export(function, folder / f"{name}.py", *args, **kwargs)
        results = [as_arrays(function(*args, **kwargs)) for _ in range(case.calls)]
        state = {k: v.detach().numpy().copy() for k, v in case.state().items()}
        calls[name] = [(case.args, case.kwargs)] * case.calls
        wanted[name] = (results, state, case.tolerance)
    return folder, calls, wanted


@pytest.fixture(scope="module")
def answers(exported) -> dict[str, Any]:
    folder, calls, _ = exported
    # The files and their arrays may be moved, as a pair.
    moved = folder.rename(folder.with_name("moved"))
    return run(moved, calls)


@pytest.mark.parametrize("name", CASES)
def test_the_file_computes_what_graphgrad_does(name, exported, answers):
    results, state, tolerance = exported[2][name]
    got, kept = answers[name]
    for ours, theirs in zip(results, got, strict=True):
        leaves = flatten(theirs)[0]
        for x, y in zip(ours, leaves, strict=True):
            assert type(x) is type(y)
            if isinstance(x, np.ndarray):
                assert (x.dtype, x.shape) == (y.dtype, y.shape)
            np.testing.assert_allclose(y, x, rtol=tolerance, atol=tolerance)
    for key, x in state.items():
        np.testing.assert_allclose(kept[key], x, rtol=1e-3, atol=1e-4)


def test_a_step_that_was_exported_trains(exported, answers):
    losses = [float(loss) for loss in answers["lenet_step"][0]]
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] - 0.05
    assert "grad conv1.weight" in answers["lenet_step"][1]


def test_kernels_run_as_plain_python(exported, answers):
    folder, calls, wanted = exported
    small = {name: calls[name] for name in STEPPED}
    stepped = run(folder.with_name("moved"), small, NUMBA_DISABLE_JIT="1")
    for name in STEPPED:
        for ours, theirs in zip(wanted[name][0], stepped[name][0], strict=True):
            for x, y in zip(ours, flatten(theirs)[0], strict=True):
                np.testing.assert_allclose(y, x, rtol=2e-5, atol=2e-5)


def load(path: pathlib.Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_state_is_saved_and_loaded(tmp_path):
    total = gg.zeros(3)

    def count(x):
        total.add_(x)
        return total * 2

    module = load(gg.export(count, tmp_path / "count.py", gg.ones(3)))
    ones = np.ones(3, np.float32)
    np.testing.assert_array_equal(module.count(ones), 2 * ones)
    module.save()
    module.count(ones)
    np.testing.assert_array_equal(module.state["total"], 2 * ones)
    module.load()
    np.testing.assert_array_equal(module.count(ones), 4 * ones)
    np.testing.assert_array_equal(load(tmp_path / "count.py").state["total"], ones)
    assert not total.any(), "exporting runs nothing"
    assert {p.suffix for p in tmp_path.iterdir()} <= {".py", ".npz", ""}, "no half-written files"


def test_options_of_the_optimizer_can_be_changed(tmp_path):
    w = nn.Parameter(gg.ones(3))
    optimizer = gg.optim.SGD([w], lr=0.5)

    def step():
        optimizer.zero_grad()
        w.sum().backward()
        optimizer.step()

    module = load(gg.export(step, tmp_path / "descent.py"))
    module.options[0]["lr"] = 0.25
    assert module.step() is None
    np.testing.assert_allclose(module.state["w"], 0.75)
    np.testing.assert_allclose(module.grads["w"], 1)


def test_tensors_are_called_what_the_program_calls_them(tmp_path):
    models = [nn.Linear(2, 2), nn.Linear(2, 2)]
    parameters = [p for model in models for p in model.parameters()]
    optimizer = gg.optim.Adam(parameters, lr=0.1)

    def outputs(x):
        return models[1](models[0](x))

    step = training(models, optimizer, lambda _, x: outputs(x).sum())
    module = load(gg.export(step, tmp_path / "adam.py", gg.ones(1, 2)))
    names = {"weight", "bias", "weight 2", "bias 2"}
    assert set(module.grads) == names
    moments = {f"{n} {kept}" for n in names for kept in ("exp_avg", "exp_avg_sq", "step")}
    assert set(module.state) == names | moments
    module.step(np.ones((1, 2), np.float32))
    assert module.state["bias 2 step"] == 1


def test_arguments_written_in_place_are_written(tmp_path):
    def double(x):
        return x.mul_(2)

    module = load(gg.export(double, tmp_path / "double.py", gg.ones(4)))
    x = np.ones(4, np.float32)
    assert module.double(x) is x and x[0] == 2
    with pytest.raises(ValueError, match="x is written in place"):
        module.double(np.ones(8, np.float32)[::2])


def test_another_shape_type_or_value_is_refused(exported, answers):
    module = load(exported[0].with_name("moved") / "contained.py")
    batch = {"x": floats(3, 4), "y": (floats(2, 3),)}
    given = {"flag": True, "rest": [1]}
    with pytest.raises(ValueError, match=r"batch\['x'\] must be float32\[3, 4\], not float32\[4"):
        module.contained({**batch, "x": floats(4, 3)}, 1.5, **given)
    with pytest.raises(ValueError, match="export again for another"):
        module.contained({**batch, "x": floats(3, 4).astype(np.float64)}, 1.5, **given)
    with pytest.raises(ValueError, match="flag must be True, as it was traced, not False"):
        module.contained(batch, 1.5, **{**given, "flag": False})


def test_an_index_out_of_range_is_an_error_and_changes_nothing(tmp_path):
    count = gg.zeros(1)

    def lookup(x, i):
        count.add_(1)
        return x.index_select(0, i)

    module = load(gg.export(lookup, tmp_path / "lookup.py", gg.ones(4, 2), gg.tensor([0, 1])))
    with pytest.raises(IndexError, match=r"out of (range|bounds)"):
        module.lookup(np.ones((4, 2), np.float32), np.array([0, 4]))
    assert module.state["count"][0] == 0
    np.testing.assert_array_equal(module.lookup(floats(4, 2), np.array([3, 0]))[1], floats(4, 2)[0])
