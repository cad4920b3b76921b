"""A fast part of the databases on every run: what is right stays right, and the list stays true.

``known.txt`` names what is wrong or missing: a suite and an entry a line, with a word why.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")
if not torch.__version__.startswith("2.13."):
    pytest.skip("the list of known entries is that of PyTorch 2.13", allow_module_level=True)

ROOT = pathlib.Path(__file__).parents[2]
FAST = ("interpreted", "errors", "some_modules", "optim")


def _known(suite: str) -> set[str]:
    lines = pathlib.Path(__file__).with_name("known.txt").read_text().splitlines()
    return {line.split(":")[0].split(" ")[1] for line in lines if line.startswith(f"{suite} ")}


@pytest.mark.parametrize("suite", FAST)
def test_what_is_right_stays_right(suite: str, tmp_path: pathlib.Path) -> None:
    """In a process of its own: the databases change PyTorch's global flags when imported."""
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "tests.conformance", "--suite", suite, "--json", str(report)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert report.exists(), done.stderr
    wrong = {e["name"]: e["wrong"] for e in json.loads(report.read_text()) if e["wrong"]}
    broken = [why for name, why in wrong.items() if name not in _known(suite)]
    repaired = sorted(_known(suite) - wrong.keys())
    assert not broken, "\n".join(broken)
    assert not repaired, f"now right, so take them off known.txt: {repaired}"
