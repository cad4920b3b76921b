"""Packed, register-tiled contractions: every product and convolution, in float32 and float64.

`plan_contraction` turns index maps of operands into kernel calls; `address` compiles the kernels
they name. Neither copies an operand: packing reads through the index map, so the columns of a
convolution never exist in memory.
"""

from .build import ContractionPlan, KernelCall
from .compiled import KernelName, address
from .plan import Operand, plan_contraction

__all__ = [
    "ContractionPlan",
    "KernelCall",
    "KernelName",
    "Operand",
    "address",
    "plan_contraction",
]
