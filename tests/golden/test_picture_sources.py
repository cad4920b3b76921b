"""DOT of whole pictures: where it changes, look at both pictures, then run with --update-golden."""

from __future__ import annotations

import pathlib
import sys

import pytest

from graphgrad import viz

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import pictured

STAGES = ("traced", "kernels")


@pytest.mark.parametrize("stage", STAGES)
def test_a_step(stage: str, golden):
    golden(f"step-{stage}.dot", viz.draw(pictured.step(), stage=stage, dims={"N": 16}).source)


def test_a_history(golden):
    golden("history.dot", viz.draw(pictured.history(), dims={"N": 16}).source)


def test_they_name_no_folder_of_this_machine():
    for text in (viz.draw(pictured.step()).source, viz.draw(pictured.history()).source):
        assert str(pathlib.Path(__file__).parent) not in text and "pictured.py:" in text
