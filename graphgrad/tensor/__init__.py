"""Tensors, eager operations on them, and their gradients."""

# ruff: noqa: I001  (importing a topic attaches its methods; later ones build on earlier ones)
from graphgrad.tensor import (
    operators,
    elementwise,
    comparing,
    shapes,
    splitting,
    reduce,
    running,
    convert,
    about,
    inplace,
    creation,
    backward,
)
from graphgrad.tensor import (
    complexes,
    products,
    joining,
    indexing,
    assignment,
    scattering,
    selecting,
    copying,
    strided,
    bits,
    gradients,
    segments,
    sorting,
    statistics,
    printing,
    special,
    gamma,
    tails,
    bessel,
    cylinder,
    polynomials,
    compat,
)
from graphgrad.tensor.core import FUNCTIONS, Size, Tensor

__all__ = ["FUNCTIONS", "Size", "Tensor"]
