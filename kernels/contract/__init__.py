"""Packed, register-tiled contractions: every product and convolution, in float32 and float64.

`plan_contraction` turns index maps of operands into kernel calls; `engine_recipe` says what the
kernels they name are compiled from. Neither copies an operand: packing reads through the index map,
so the columns of a convolution never exist in memory.
"""

from .build import ContractionPlan, KernelCall
from .kernels import engine_recipe
from .names import KernelName
from .plan import Operand, plan_contraction

__all__ = [
    "ContractionPlan",
    "KernelCall",
    "KernelName",
    "Operand",
    "engine_recipe",
    "plan_contraction",
]
