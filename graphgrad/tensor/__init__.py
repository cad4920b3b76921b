"""Tensors, eager operations on them, and their gradients."""

# ruff: noqa: I001  (importing a topic attaches its methods; later ones build on earlier ones)
from graphgrad.tensor import operators, shapes, reduce, convert, inplace, creation, backward
from graphgrad.tensor import products, joining, indexing, assignment, scattering, sorting, printing
from graphgrad.tensor.core import FUNCTIONS, Size, Tensor

__all__ = ["FUNCTIONS", "Size", "Tensor"]
