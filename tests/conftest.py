"""What every test relies on: type rules re-run after passes, and a kernel cache of the tests' own.

--update-golden    rewrite the files of tests/golden instead of comparing with them
--slow             also run the tests marked slow

Tests marked ``devices`` run twice: on the CPU, and with every tensor made on an emulated device.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

# Before the first `import graphgrad`: the settings are read once.
os.environ["GRAPHGRAD_CHECK"] = "1"
_CACHE = pathlib.Path(__file__).parent.parent / ".pytest_cache" / "kernels"
os.environ.setdefault("GRAPHGRAD_CACHE_DIR", str(_CACHE))

import pytest  # noqa: E402

GOLDEN = pathlib.Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files")
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = {
        "slow": None if config.getoption("--slow") else "slow: run with --slow",
        "torch": None if importlib.util.find_spec("torch") else "needs torch to compare with",
    }
    for item in items:
        for mark, reason in reasons.items():
            if reason and mark in item.keywords:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden("name.py", text)`` compares with tests/golden/name.py, or rewrites it when asked."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"{path} is missing: run pytest --update-golden, then read it"
        assert text == path.read_text(), f"{name} changed: read the diff, then --update-golden"

    return check


@pytest.fixture(scope="session")
def plain_module() -> Callable[[pathlib.Path], Any]:
    """``plain_module(path)`` imports an exported file with its kernels as plain Python: nothing
    waits for LLVM, and every position is checked."""
    plain = types.SimpleNamespace(njit=lambda **_: lambda function: function)

    def load(path: pathlib.Path) -> Any:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        with mock.patch.dict(sys.modules, numba=plain):
            spec.loader.exec_module(module)
        return module

    return load


# ------------------------------------------------------------------------------- tests on a device


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marked = metafunc.definition.get_closest_marker
    if marked("devices") and not marked("host"):
        metafunc.parametrize("default_device", ["cpu", "cuda"], indirect=True)


@pytest.fixture(autouse=True)
def default_device(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where a test's tensors are made; NumPy gets copies of them, and gives them copies."""
    place = getattr(request, "param", "cpu")
    if place == "cpu":
        yield place
        return
    import graphgrad as gg

    numpy, from_numpy = gg.Tensor.numpy, gg.from_numpy

    def copied(self: Any, *, force: bool = False) -> Any:
        apart = self.is_cuda and (force or not self.requires_grad)
        return numpy(self.detach().cpu() if apart else self, force=force)

    def array(self: Any, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.numpy().astype(dtype or self.dtype.numpy, copy=False)

    with (
        gg.config.scope(cuda="emulate", tier="interpret", cuda_devices=2),
        gg.device(place),
        mock.patch.multiple(gg.Tensor, numpy=copied, __array__=array),
        mock.patch.object(gg, "from_numpy", lambda x: from_numpy(x).to(place)),
    ):
        yield place


@pytest.fixture
def cuda() -> Iterator[str]:
    """Devices made of host memory, whose programs NumPy computes."""
    import graphgrad as gg

    with gg.config.scope(cuda="emulate", tier="interpret", cuda_devices=2):
        yield "cuda"
