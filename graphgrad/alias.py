"""A PyTorch script whose ``import torch`` means graphgrad.

    with imported_as("torch"):
        import train            # import torch, from torch import nn, torch.utils.data, …

Inside the block every module of graphgrad is importable under the other name, and is the same
module object. ``graphgrad run train.py`` does this for a whole program.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

_OWN = "graphgrad"


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds ``name`` and ``name.…`` as graphgrad's modules of the same path."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name and not fullname.startswith(f"{self.name}."):
            return None
        own = _OWN + fullname[len(self.name) :]
        if importlib.util.find_spec(own) is None:
            return None
        return importlib.machinery.ModuleSpec(fullname, self)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = importlib.import_module(_OWN + spec.name[len(self.name) :])
        # The import system is about to write over these, and they are graphgrad's.
        self.kept = {k: module.__dict__.get(k) for k in ("__spec__", "__loader__", "__package__")}
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__.update(self.kept)


@contextlib.contextmanager
def imported_as(name: str) -> Iterator[None]:
    """Inside the block, ``import name`` means ``import graphgrad``."""
    hidden = {k: m for k, m in sys.modules.items() if k == name or k.startswith(f"{name}.")}
    for key in hidden:
        del sys.modules[key]
    finder = _Finder(name)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for key in [k for k in sys.modules if k == name or k.startswith(f"{name}.")]:
            del sys.modules[key]
        sys.modules.update(hidden)
