"""The loops of small models' training steps as grid kernels: emulated, and compiled for GPUs."""

from __future__ import annotations

from typing import Any

import cuda_zoo
import lowering
import numpy as np
import pytest
from cuda_models import Loop
from graphgrad.kernels.host import interpret_region
from gridding import emulated_region
from numeric import sample

from graphgrad.ir import Node


@pytest.fixture(autouse=True)
def on_a_grid(monkeypatch):
    monkeypatch.setattr(lowering.MACHINE, "lower", emulated_region)


def agrees(loop: Loop) -> None:
    """A region computes, emulated, what the interpreter says."""
    region, inplace = loop
    rng = np.random.default_rng(0)
    value: dict[Node, Any] = {x: sample(x, rng) for x in region.inputs}
    with np.errstate(all="ignore"):
        wanted = interpret_region(region, [value[x] for x in region.inputs])
    assert lowering.run_region(region, value, inplace) == 0
    for y, right in zip(region.outputs, wanted, strict=True):
        scale = max(1.0, float(np.abs(right[np.isfinite(right)]).max(initial=0)))
        np.testing.assert_allclose(value[y], right, 1e-4, 2e-5 * scale, err_msg=str(region.nodes))


@pytest.mark.parametrize("name", cuda_zoo.MODELS)
def test_every_loop_of_a_model(name, monkeypatch):
    for loop in cuda_zoo.planned(name, monkeypatch):
        agrees(loop)
