"""What is in the repository is what gets installed."""

from __future__ import annotations

import pathlib
import re
import tomllib

import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]


def packages() -> set[str]:
    """Every folder with Python in it, by the name it is imported under."""
    found = set()
    for top, prefix in (("graphgrad", "graphgrad"), ("kernels", "graphgrad.kernels"),
                        ("viz", "graphgrad.viz")):  # fmt: skip
        for folder in {p.parent for p in (ROOT / top).rglob("*.py")}:
            found.add(".".join((prefix, *folder.relative_to(ROOT / top).parts)))
    return found


def test_every_package_folder_is_listed() -> None:
    assert packages() == set(SETUPTOOLS["packages"])


def test_every_package_folder_has_an_init() -> None:
    folders = {
        p.parent for top in ("graphgrad", "kernels", "viz") for p in (ROOT / top).rglob("*.py")
    }
    assert not [f for f in sorted(folders) if not (f / "__init__.py").exists()]


def test_data_is_installed_with_its_attribution() -> None:
    patterns = SETUPTOOLS["package-data"]["graphgrad"]
    for name in ("data/mnist10k.npz", "data/ATTRIBUTION.md"):
        assert name in patterns
        assert (ROOT / "graphgrad" / name).is_file()
    with np.load(ROOT / "graphgrad" / "data" / "mnist10k.npz") as arrays:
        assert arrays["images"].shape == (10000, 28, 28)
        assert arrays["labels"].shape == (10000,)


def test_the_explorers_parts_are_installed() -> None:
    patterns = SETUPTOOLS["package-data"]["graphgrad.viz.explorer"]
    files = [p for p in (ROOT / "viz" / "explorer").iterdir() if p.suffix not in (".py", "")]
    assert len(files) >= 7
    assert all(any(p.match(pattern) for pattern in patterns) for p in files)


def test_no_module_bears_the_name_of_another_package() -> None:
    bare = {name for name in SETUPTOOLS["packages"] if not name.startswith("graphgrad")}
    assert not bare


def test_version_is_written_once() -> None:
    import graphgrad

    assert re.fullmatch(r"\d+\.\d+\.\d+", PROJECT["project"]["version"])
    assert graphgrad.__version__ == PROJECT["project"]["version"]
