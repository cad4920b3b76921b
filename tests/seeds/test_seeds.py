"""The tutorials' programs run with ``import graphgrad as torch`` and give PyTorch's numbers."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

import graphgrad

from . import programs


class Visdom:
    """Stands in for the plotting server: remembers what was drawn."""

    def __init__(self):
        self.drawn = []

    def line(self, *args, **kwargs):
        self.drawn.append((args, kwargs))
        return "window"


VISDOM = types.SimpleNamespace(Visdom=Visdom)


def assert_same(ours, theirs, rtol=1e-4, atol=1e-5):
    assert ours.keys() == theirs.keys()
    for key, expected in theirs.items():
        if isinstance(expected, (str, bool, tuple)) or expected is None:
            assert ours[key] == expected, key
        else:
            np.testing.assert_allclose(ours[key], expected, rtol=rtol, atol=atol, err_msg=key)


SHORT = ("recipe", "lenets", "snippets", "variables", "own_layer", "own_function", "two_variables")


@pytest.mark.parametrize("name", SHORT)
def test_program_gives_pytorchs_numbers(name):
    torch = pytest.importorskip("torch")
    program = getattr(programs, name)
    assert_same(program(graphgrad), program(torch))


@pytest.mark.parametrize("name", SHORT)
def test_program_runs_without_pytorch(name):
    assert getattr(programs, name)(graphgrad)


def test_polynomial_follows_pytorch():
    torch = pytest.importorskip("torch")
    ours = programs.polynomial(graphgrad, VISDOM, epochs=3_000)
    theirs = programs.polynomial(torch, VISDOM, epochs=3_000)
    assert_same(ours, theirs, rtol=1e-3)


def test_polynomial_learns_the_sine_in_its_80_000_steps():
    result = programs.polynomial(graphgrad, VISDOM)
    assert len(result["losses"]) == 800
    assert result["losses"][-1] < 10 < result["losses"][0]
    assert result["shape"] == "torch.Size([2000, 2])"


def test_imports_as_the_tutorials_write_them(monkeypatch):
    for name in [n for n in sys.modules if n == "torch" or n.startswith("torch.")]:
        monkeypatch.delitem(sys.modules, name)
    scope: dict = {}
    exec(
        "import graphgrad as torch\n"
        "import graphgrad.nn as nn\n"
        "import graphgrad.nn.functional as F\n"
        "from graphgrad import nn, optim\n"
        "from graphgrad.autograd import Variable\n"
        "from graphgrad.nn import Module, Conv2d, ReLU, MaxPool2d, Linear\n"
        "from graphgrad.nn.parameter import Parameter\n"
        "from graphgrad.nn import init\n",
        scope,
    )
    assert scope["F"].relu and scope["nn"].Module is scope["Module"]
    assert scope["optim"].SGD and scope["init"].kaiming_uniform_
