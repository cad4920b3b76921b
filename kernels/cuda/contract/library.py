"""Products by a library of NVIDIA's instead of a kernel of our own: who is asked, and the call.

    call = library_call(product, maps)     # None: our own kernel computes it

`config.cuda_blas` says who may be: "own" never asks a library, "cublaslt" insists on one where the
product is one of plain matrices, "auto" takes it where it is installed. The emulator has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphgrad.config import config

from ...contract_build import Product
from .cublaslt import WORKSPACE_BYTES, Matrices, installed, matrices_of
from .maps import Maps

FLOPS_A_NS = 20_000.0


@dataclass(frozen=True, eq=False)
class LibraryCall:
    """A call of a library: ``key.launcher()`` gives what is called with a stream and the slots.

    Slots mean what a GridCall's do; ``key.parameters`` says how each is passed.
    """

    key: Matrices
    slots: tuple[tuple[Any, ...], ...]
    scratch_bytes: int = 0
    ns: float = 0.0

    @property
    def name(self) -> str:
        """For listings."""
        return self.key.name


def library_call(product: Product, maps: Maps) -> LibraryCall | None:
    """The product as a call of cublasLt, where the setting, the machine and its shape allow it.

    Raises RuntimeError where ``config.cuda_blas`` is "cublaslt" and nvmath-python is missing.
    """
    if config.cuda_blas == "own" or config.cuda == "emulate":
        return None
    if not installed():
        if config.cuda_blas == "cublaslt":
            raise RuntimeError(
                "config.cuda_blas = 'cublaslt' needs nvmath-python and cuBLAS: "
                "pip install 'nvmath-python[cu13]'"
            )
        return None
    item = product.dot.dtype.itemsize
    offsets = {"A": product.a.offset * item, "B": product.b.offset * item, "C": 0}
    matrices = matrices_of(maps, offsets, tf32=config.cuda_tf32)
    if matrices is None:
        return None
    slots = (
        ("ptr", product.a.base, offsets["A"]),
        ("ptr", product.b.base, offsets["B"]),
        ("ptr", product.target, 0),
        ("scratch", 0),
    )
    flops = 2 * maps.sizes.results * maps.sizes.steps
    return LibraryCall(matrices, slots, WORKSPACE_BYTES, flops / FLOPS_A_NS)
