"""Compiled optimizer steps: one launch for all parameters, whatever their shapes."""

from __future__ import annotations

import pytest

import graphgrad as gg
from graphgrad import optim
from graphgrad.config import config
from graphgrad.optim import update

# One group of updates; and for counters and products kept beside them, one group each.
LAUNCHES = {"SGD": 1, "Adam": 2, "AdamW": 2, "Adagrad": 2, "RMSprop": 2, "Adadelta": 2}
LAUNCHES |= {"Adamax": 2, "RAdam": 2, "NAdam": 3, "ASGD": 3}


@pytest.mark.parametrize("name", LAUNCHES)
def test_one_launch_updates_all_parameters(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = [gg.ones(3, n, requires_grad=True) for n in range(2, 9)]
    for p in parameters:
        p.grad = gg.ones_like(p)
    monkeypatch.setattr(update, "_programs", {})
    with config.scope(tier="compiled"):
        getattr(optim, name)(parameters).step()
    ((program, *_),) = update._programs.values()
    report = program.explain()
    assert report.launches == LAUNCHES[name] and not report.interpreted
