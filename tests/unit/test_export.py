"""Exporting without running: the source, what is refused, and files that plain Python runs."""

from __future__ import annotations

import pathlib
from typing import Any

import exportable
import numpy as np
import pytest

import graphgrad as gg
from graphgrad import nn
from graphgrad.cli import main


def test_the_source_is_readable(golden, tmp_path):
    path = gg.export(exportable.activated, tmp_path / "exported.py", *exportable.example())
    golden("exported.py", path.read_text())


def test_a_recurrence_and_its_gradient_run_as_plain_python(tmp_path, plain_module):
    w = nn.Parameter(gg.tensor([[0.5, -0.25], [0.125, 1.0]]))

    def step(x):
        w.grad = None
        last, rows = gg.scan(lambda c, row: ((c @ w + row).tanh(), c.sum()), gg.zeros(1, 2), x)
        loss = gg.cond(last.sum() > 0, lambda y: y.sum(), lambda y: -y.sum(), (last,)) + rows.sum()
        loss.backward()
        return loss

    x = np.linspace(-1, 1, 10, dtype=np.float32).reshape(5, 1, 2)
    module = plain_module(gg.export(step, tmp_path / "recurrence.py", gg.tensor(x)))
    loss = module.step(x)
    with gg.config.scope(tier="interpret"):
        np.testing.assert_allclose(loss, step(gg.tensor(x)).detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(module.grads["w"], w.grad.numpy(), rtol=1e-5)


def largest(x: Any) -> Any:
    return x.scatter_reduce(0, gg.zeros(3, 3).long(), x, "amax")


def accumulate() -> Any:
    w = nn.Parameter(gg.ones(3))

    def step():
        loss = (w * 2).sum()
        loss.backward()
        return loss

    return step


@pytest.mark.parametrize(
    "function, args, error, words",
    [
        (largest, (gg.eye(3),), NotImplementedError, r"custom_call at .* calls a Python function"),
        (lambda m, x: m(x), (nn.Linear(2, 2), gg.ones(2)), NotImplementedError, "m is a Linear"),
        (accumulate(), (), NotImplementedError, "begin with zero_grad"),
        (lambda x: x + 1, (), ValueError, "was never called: call it first"),
    ],
    ids=["host", "module", "accumulate", "no trace"],
)
def test_what_cannot_be_exported_says_why(function, args, error, words, tmp_path):
    with pytest.raises(error, match=words):
        gg.export(function, tmp_path / "refused.py", *args)
    assert list(tmp_path.iterdir()) == []


def test_paths_that_do_not_do(tmp_path):
    for name in ("step.txt", "my-step.py"):
        with pytest.raises(ValueError, match="is no name for a Python module"):
            gg.export(exportable.activated, tmp_path / name, *exportable.example())
    with pytest.raises(OSError):
        gg.export(exportable.activated, tmp_path / "none" / "f.py", *exportable.example())


def test_on_the_command_line(tmp_path, monkeypatch, capsys, plain_module):
    monkeypatch.chdir(pathlib.Path(__file__).parent)
    target = "exportable:activated"
    path = tmp_path / "activated.py"
    assert main(["export", target, "--example", f"{target[:-9]}example", "-o", str(path)]) == 0
    assert f"{target} written to {path}" in capsys.readouterr().out
    assert plain_module(path).activated(np.ones((4, 8), np.float32))["gram"].shape == (4, 4)
    assert main(["export", target, "-o", str(path)]) == 2
    assert "was never called" in capsys.readouterr().err
