"""Convolutions that passes write another way, as kernels: beside the interpreter's plain sums."""

from __future__ import annotations

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.config import config
from graphgrad.passes import winograd

CASES = {
    "rows of 16": ((2, 32, 16, 16), (32, 32, 3, 3), "float32"),
    "odd everything": ((3, 33, 6, 11), (17, 33, 3, 3), "float32"),
    "rows of 4": ((4, 64, 4, 4), (48, 64, 3, 3), "float32"),
    "two taps, no batch": ((20, 9, 8), (18, 20, 2, 2), "float32"),
    "float64": ((2, 20, 8, 9), (24, 20, 3, 3), "float64"),
    "five taps": ((2, 18, 8, 7), (16, 18, 5, 5), "float64"),
}


def step(x, w, b):
    """A convolution between elementwise operations, and what training needs of it."""
    y = gg.nn.functional.conv2d(gg.nn.functional.relu(x), w, b, padding=w.shape[-1] // 2)
    loss = (y * y.sigmoid()).mean()
    return (loss, *gg.autograd.grad(loss, [x, w, b]))


@pytest.mark.parametrize("case", CASES)
def test_kernels_agree_with_the_interpreter(case, monkeypatch):
    for name in ("LEAST_FLOPS", "MOVED", "SPREAD"):
        monkeypatch.setattr(winograd, name, 0)
    shape, kernel, dtype = CASES[case]
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(s).astype(dtype) for s in (shape, kernel, kernel[:1])]
    results = {}
    for tier, threads in (("interpret", 1), ("compiled", 1), ("compiled", 2)):
        with config.scope(tier=tier, threads=threads):
            operands = [gg.tensor(v, requires_grad=True) for v in values]
            results[tier, threads] = [y.detach().numpy() for y in gg.compile(step)(*operands)]
    for serial, shared in zip(results["compiled", 1], results["compiled", 2], strict=True):
        np.testing.assert_array_equal(serial, shared)
    for expected, actual in zip(results["interpret", 1], results["compiled", 1], strict=True):
        atol = np.abs(expected).max() * (2e-5 if dtype == "float32" else 1e-13)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


GROUPED = {
    "depthwise": ((3, 6, 16, 9), (6, 1, 3, 3), {"groups": 6, "padding": 1}),
    "depthwise, stride 2": ((3, 6, 17, 16), (6, 1, 3, 3), {"groups": 6, "stride": 2, "padding": 1}),
    "two results a channel": ((2, 4, 9, 9), (8, 1, 5, 5), {"groups": 4, "stride": 3}),
    "dilated": ((2, 4, 11, 12), (4, 1, 3, 3), {"groups": 4, "dilation": 2, "stride": 2}),
    "groups of four": ((2, 8, 10, 7), (12, 4, 3, 3), {"groups": 2, "padding": 1}),
    "groups of four, stride 2": ((2, 8, 10, 7), (12, 4, 3, 3), {"groups": 2, "stride": 2}),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", GROUPED)
def test_grouped_convolutions_and_their_gradients(case, dtype):
    shape, kernel, options = GROUPED[case]
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(s).astype(dtype) for s in (shape, kernel)]

    def step(x, w):
        y = gg.nn.functional.conv2d(x, w, **options)
        loss = (y * y.sigmoid()).mean()
        return (y, *gg.autograd.grad(loss, [x, w]))

    results = []
    for tier, threads in (("interpret", 1), ("compiled", 2)):
        with config.scope(tier=tier, threads=threads):
            operands = [gg.tensor(v, requires_grad=True) for v in values]
            results.append([y.detach().numpy() for y in gg.compile(step)(*operands)])
    for expected, actual in zip(*results, strict=True):
        atol = max(1.0, np.abs(expected).max()) * (1e-5 if dtype == "float32" else 1e-13)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


def test_the_rewrite_is_what_runs_for_a_large_convolution():
    conv, x = gg.nn.Conv2d(64, 64, 3, padding=1), gg.randn(4, 64, 32, 32)
    for setting in (True, False):
        with config.scope(winograd=setting, tier="compiled"):
            compiled = gg.compile(lambda v: conv(v))
            compiled(x)
            points = "dot_general float32[6, 4, 64, 8, 34]"
            assert (points in str(gg.explain(compiled))) is setting
