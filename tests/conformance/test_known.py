"""A fast part of the databases on every run: what is right stays right, and the list stays true.

``known.txt`` names what is wrong or missing: a suite and an entry a line, with a word why. On a
device (the emulator's) the same is right as on the CPU.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")
if not torch.__version__.startswith("2.13."):
    pytest.skip("the list of known entries is that of PyTorch 2.13", allow_module_level=True)

ROOT = pathlib.Path(__file__).parents[2]
FAST = [(suite, "cpu") for suite in ("interpreted", "errors", "some_modules", "optim")]
FAST.append(("interpreted some_modules optim", "cuda"))


def _known(suites: list[str]) -> set[tuple[str, ...]]:
    lines = pathlib.Path(__file__).with_name("known.txt").read_text().splitlines()
    return {entry for line in lines if (entry := _entry(line))[0] in suites}


def _entry(line: str) -> tuple[str, ...]:
    return tuple(line.split(":")[0].split(" "))


@pytest.mark.parametrize("suites, device", FAST)
def test_what_is_right_stays_right(suites: str, device: str, tmp_path: pathlib.Path) -> None:
    """In a process of its own: the databases change PyTorch's global flags when imported."""
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "tests.conformance", "--device", device]
    command += ["--json", str(report), "--suite", *suites.split()]
    there = {**os.environ, "GRAPHGRAD_CUDA": "emulate"} if device == "cuda" else None
    done = subprocess.run(command, cwd=ROOT, env=there, capture_output=True, text=True)
    assert report.exists(), done.stderr
    read = json.loads(report.read_text())
    wrong = {(e["suite"], e["name"]): e["wrong"] for e in read if e["wrong"]}
    known = _known(suites.split())
    broken = [why for entry, why in wrong.items() if entry not in known]
    repaired = sorted(known - wrong.keys())
    assert not broken, "\n".join(broken)
    assert not repaired, f"now right, so take them off known.txt: {repaired}"
