"""Products by a library of NVIDIA's instead of a kernel of our own: who is asked, and the call.

    call = library_call(product, maps)     # None: our own kernel computes it

`config.cuda_blas` says who may be: "own" never asks a library, "cublaslt" insists on one where the
product is one of plain matrices, "auto" takes it where it is installed. `config.cuda_dnn` says the
same of convolutions and cuDNN ("own", "cudnn", "auto"). The emulator has neither.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphgrad.config import config
from graphgrad.regions import Region

from ...contract_build import Product
from . import cudnn_plan
from .convolution import Convolution, Found, convolution_of
from .cublaslt import WORKSPACE_BYTES, Matrices, installed, matrices_of
from .epilogue import Fused
from .maps import Maps
from .scattered import scattered_of

FLOPS_A_NS = 20_000.0


@dataclass(frozen=True, eq=False)
class LibraryCall:
    """A call of a library: ``key.launcher()`` gives what is called with a stream and the slots.

    Slots mean what a GridCall's do; ``key.parameters`` says how each is passed.
    """

    key: Matrices | Convolution
    slots: tuple[tuple[Any, ...], ...]
    scratch_bytes: int = 0
    ns: float = 0.0

    @property
    def name(self) -> str:
        """For listings."""
        return self.key.name


def usable() -> bool:
    """Whether products of plain matrices are a library's.

    Raises RuntimeError where ``config.cuda_blas`` is "cublaslt" and nvmath-python is missing.
    """
    if config.cuda_blas == "own" or config.cuda == "emulate":
        return False
    if not installed() and config.cuda_blas == "cublaslt":
        raise RuntimeError(
            "config.cuda_blas = 'cublaslt' needs nvmath-python and cuBLAS: "
            "pip install 'nvmath-python[cu13]'"
        )
    return installed()


def versions() -> tuple[Any, ...]:
    """The libraries that products may be theirs, as far as the settings let them."""
    blas = config.cuda_blas != "own" and installed()
    return blas, None if config.cuda_dnn == "own" else cudnn_plan.version()


def library_call(product: Product, maps: Maps, fused: Fused | None = None) -> LibraryCall | None:
    """The product as a library's call: cublasLt's if it is one of matrices, or cuDNN's."""
    return _matmul(product, maps, fused) or _convolution(product, maps, fused)


def _convolution(product: Product, maps: Maps, fused: Fused | None) -> LibraryCall | None:
    """The product as a call of cuDNN, where setting and machine allow it, cuDNN has a plan for its
    shape, and nothing follows it in the region.

    Raises RuntimeError where ``config.cuda_dnn`` is "cudnn" and the package or cuDNN is missing.
    """
    if fused is not None or config.cuda_dnn == "own" or config.cuda == "emulate":
        return None
    found = convolution_of(product, config.cuda_tf32)
    return found and _dnn_call(found, 2 * maps.sizes.results * maps.sizes.steps)


def scattered_call(region: Region) -> LibraryCall | None:
    """A product whose windows are summed as a call of cuDNN, under the same conditions."""
    if config.cuda_dnn == "own" or config.cuda == "emulate":
        return None
    found = scattered_of(region, config.cuda_tf32)
    if found is None:
        return None
    (dot,) = (x for x in region.nodes if x.op.name == "dot_general")
    steps = math.prod(dot.inputs[0].shape[i] for i in dot.attrs["contract"][0])
    return _dnn_call(found, 2 * dot.size * steps)


def _dnn_call(found: Found, flops: int) -> LibraryCall | None:
    if not cudnn_plan.installed():
        if config.cuda_dnn == "cudnn":
            raise RuntimeError(
                "config.cuda_dnn = 'cudnn' needs nvidia-cudnn-frontend and cuDNN: "
                + cudnn_plan.INSTALL
            )
        return None
    if not cudnn_plan.supported(found.key):
        return None
    pointers = (("ptr", *slot) for slot in (found.image, found.filter, found.output))
    slots: tuple[tuple[Any, ...], ...] = (*pointers, ("scratch", 0))
    return LibraryCall(found.key, slots, cudnn_plan.WORKSPACE_BYTES, flops / FLOPS_A_NS)


def _matmul(product: Product, maps: Maps, fused: Fused | None) -> LibraryCall | None:
    """The product as a call of cublasLt, where the setting, the machine and its shape allow it,
    and what follows it is one of cublasLt's epilogues."""
    kind = _epilogue(fused, maps)
    if not usable() or kind is None:
        return None
    bias, activation = kind
    item = product.dot.dtype.itemsize
    offsets = {"A": product.a.offset * item, "B": product.b.offset * item, "C": 0}
    matrices = matrices_of(maps, offsets, bias, activation, config.cuda_tf32)
    if matrices is None:
        return None
    target = fused.targets[0] if fused else product.target
    slots: list[tuple[Any, ...]] = [
        ("ptr", product.a.base, offsets["A"]),
        ("ptr", product.b.base, offsets["B"]),
        ("ptr", target, 0),
        ("scratch", 0),
    ]
    if fused and bias:
        slots.append(("ptr", fused.reads[0].base, fused.reads[0].offset * item))
    flops = 2 * maps.sizes.results * maps.sizes.steps
    return LibraryCall(matrices, tuple(slots), WORKSPACE_BYTES, flops / FLOPS_A_NS)


def _epilogue(fused: Fused | None, maps: Maps) -> tuple[bool, str] | None:
    """(Whether a bias a column is added, the activation after it), or None for anything else."""
    if fused is None:
        return False, ""
    dtype, found = maps.problem.dtype, fused.epilogue
    if [y.name for y in found.outputs] != [dtype]:
        return None
    steps = [(step.op, step.args) for step in found.steps]
    product, operand, zero = ("product",), ("operand", 0), ("number", 0.0, found.product)
    adds = bool(steps) and steps[0] in (("add", (product, operand)), ("add", (operand, product)))
    if len(found.operands) != adds or (adds and not _is_row(maps, found.operands[0].name)):
        return None
    x = ("step", 0) if adds else product
    positive = [("maximum", (x, zero))]
    selected = [("le", (x, zero)), ("where", (("step", int(adds)), zero, x))]  # F.relu
    if steps[adds:] in (positive, selected):
        return adds, "relu"
    return (adds, "") if adds and not steps[1:] else None


def _is_row(maps: Maps, dtype: str) -> bool:
    """Whether the epilogue's operand, of ``dtype``, is a vector along the columns."""
    batch, rows, columns = maps.tables[0]
    if dtype != maps.problem.dtype:
        return False
    steps = np.arange(len(columns), dtype=columns.dtype)
    return not batch.any() and not rows.any() and bool((columns == steps).all())
