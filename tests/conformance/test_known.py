"""A fast part of the databases on every run: what is right stays right, and the list stays true.

``known.txt`` names what is wrong or missing: a suite and an entry a line, with a word why.
"""

from __future__ import annotations

import pathlib

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")
if not torch.__version__.startswith("2.13."):
    pytest.skip("the list of known entries is that of PyTorch 2.13", allow_module_level=True)

from tests.conformance.score import SUITES, run  # noqa: E402

FAST = ("interpreted", "errors", "some_modules", "optim")


def _known() -> dict[str, set[str]]:
    known: dict[str, set[str]] = {suite: set() for suite in FAST}
    for line in pathlib.Path(__file__).with_name("known.txt").read_text().splitlines():
        suite, _, rest = line.partition(" ")
        if suite in known:
            known[suite].add(rest.split(":")[0])
    return known


@pytest.mark.parametrize("suite", FAST)
def test_what_is_right_stays_right(suite: str) -> None:
    wrong = {e.name: e.wrong for e in run([suite]) if e.wrong}
    known = _known()[suite]
    broken = [why for name, why in wrong.items() if name not in known]
    repaired = sorted(known - wrong.keys())
    assert not broken, f"{SUITES[suite].title}: " + "\n".join(broken)
    assert not repaired, f"now right, so take them off known.txt: {repaired}"
