"""Grid kernels under numba's CUDA simulator give the interpreter's numbers."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import subprocess
import sys

import cuda_zoo
import pytest

PROGRAM = pathlib.Path(__file__).with_name("cuda_simulated.py")

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="needs numba-cuda"
)


def test_models_under_the_simulator():
    """The source that GPUs get, but for shuffles, a Python thread for a thread: tiny shapes."""
    command = [sys.executable, str(PROGRAM), *cuda_zoo.MODELS]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    report = json.loads(run.stdout.splitlines()[-1])
    assert all(ran for ran, _ in report.values()), report
    assert sum(ran for ran, _ in report.values()) >= 40
