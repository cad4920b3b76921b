"""The loops of small models' training steps as grid kernels: emulated, and compiled for GPUs."""

from __future__ import annotations

from typing import Any

import cuda_zoo
import lowering
import numpy as np
import pytest
from cuda_models import Loop
from graphgrad.kernels.cuda.lower import lower_region
from graphgrad.kernels.host import interpret_region
from gridding import emulated_backwards, emulated_region
from numeric import sample

from graphgrad.ir import Node


def computed(loop: Loop, lower: Any, monkeypatch: Any) -> list[np.ndarray]:
    """A region's outputs, emulated."""
    region, inplace = loop
    rng = np.random.default_rng(0)
    value: dict[Node, Any] = {x: sample(x, rng) for x in region.inputs}
    monkeypatch.setattr(lowering.MACHINE, "lower", lower)
    assert lowering.run_region(region, value, inplace) == 0
    return [value[y] for y in region.outputs]


def agrees(loop: Loop, monkeypatch: Any) -> None:
    """A region computes, emulated, what the interpreter says."""
    region, _ = loop
    rng = np.random.default_rng(0)
    with np.errstate(all="ignore"):
        wanted = interpret_region(region, [sample(x, rng) for x in region.inputs])
    got = computed(loop, emulated_region, monkeypatch)
    for left, right in zip(got, wanted, strict=True):
        scale = max(1.0, float(np.abs(right[np.isfinite(right)]).max(initial=0)))
        np.testing.assert_allclose(left, right, 1e-4, 2e-5 * scale, err_msg=str(region.nodes))


@pytest.mark.parametrize("name", cuda_zoo.MODELS)
def test_every_loop_of_a_model(name, monkeypatch):
    for loop in cuda_zoo.planned(name, monkeypatch):
        agrees(loop, monkeypatch)


@pytest.mark.parametrize("name", ["lstm", "gpt", "softmax_of_norm", "long_rows", "moved"])
def test_threads_between_barriers_run_in_any_order(name, monkeypatch):
    """A barrier left out shows: another order of threads gives other bits."""
    for loop in cuda_zoo.planned(name, monkeypatch):
        forwards = computed(loop, emulated_region, monkeypatch)
        backwards = computed(loop, emulated_backwards, monkeypatch)
        if not any("add_" in call.source and call.serial for call in lower_region(*loop)):
            for a, b in zip(forwards, backwards, strict=True):
                np.testing.assert_array_equal(a, b)
