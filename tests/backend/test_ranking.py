"""The cost models of products say what they rejected, to who asks the log."""

from __future__ import annotations

import logging
import re

import pytest
from graphgrad.kernels.contract import cost
from graphgrad.kernels.contract.problem import Problem
from graphgrad.kernels.cuda.contract.tiles import Sizes, candidates, choose


def on_the_cpu() -> str:
    dims = [(64, 1600, 480)], [(120, 4, 4)], [(400, 4, 480)]
    _, choice = cost.choose(Problem("float32", [], *dims))
    return f"{choice.form}{', swapped' * choice.swapped}"


def on_a_gpu() -> str:
    return str(choose(4, Sizes(1, 64, 120, 400)))


@pytest.mark.parametrize("planned", [on_the_cpu, on_a_gpu])
def test_candidates_are_logged_with_their_costs_and_the_chosen_one_is_the_least(planned, caplog):
    planned()
    assert not caplog.records
    with caplog.at_level(logging.DEBUG, "graphgrad.products"):
        chosen = planned()
    (record,) = caplog.records
    head, *rows = record.getMessage().splitlines()
    assert "64" in head and "120" in head and "400" in head
    costs = [int(re.match(r"\s*([\d,]+) cycles", row)[1].replace(",", "")) for row in rows]
    assert len(costs) > 3 and costs == sorted(costs)
    assert rows[0].endswith(f"  {chosen}  <- chosen")
    assert sum("chosen" in row for row in rows) == 1


def test_names_of_candidates_differ():
    names = [str(choice) for choice in candidates(4, Sizes(2, 300, 200, 4000))]
    assert len(set(names)) == len(names) > 10
