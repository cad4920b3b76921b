"""Affine index expressions: a constant and a multiple of each of some terms.

    i, j = Affine.of(Axis(4)), Affine.of(Axis(9))
    i * 4 + j + 1

A term is a loop axis, or a value computed in the kernel (the index a gather reads), so that one
kind of expression describes every address, position and counter there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphgrad.axes import Axis
from graphgrad.views import row_major


@dataclass(frozen=True, slots=True)
class Affine:
    """``const + Σ coefficient·term``; every term once, none with a 0, in a canonical order."""

    terms: tuple[tuple[Any, int], ...] = ()
    const: int = 0

    @staticmethod
    def of(term: Any) -> Affine:
        return Affine(((term, 1),))

    def __add__(self, other: Affine | int) -> Affine:
        if isinstance(other, int):
            return Affine(self.terms, self.const + other)
        if not other.terms:
            return Affine(self.terms, self.const + other.const)
        if not self.terms:
            return Affine(other.terms, self.const + other.const)
        total = dict(self.terms)
        for term, c in other.terms:
            total[term] = total.get(term, 0) + c
        terms = sorted(((t, c) for t, c in total.items() if c), key=_identity)
        return Affine(tuple(terms), self.const + other.const)

    def __mul__(self, factor: int) -> Affine:
        if factor == 0:
            return Affine()
        return Affine(tuple((t, c * factor) for t, c in self.terms), self.const * factor)

    def coefficient(self, term: Any) -> int:
        return next((c for t, c in self.terms if t is term), 0)

    def substitute(self, values: Mapping[Any, Affine]) -> Affine:
        """The expression with some terms replaced by expressions."""
        result = Affine((), self.const)
        for term, c in self.terms:
            result = result + values.get(term, Affine.of(term)) * c
        return result


def _identity(item: tuple[Any, int]) -> tuple[bool, int]:
    """Axes, then values, as they were made: equal structures are equal sources in every process."""
    term = item[0]
    return not isinstance(term, Axis), term.number


ZERO = Affine()


def dot(index: Sequence[Affine], strides: Sequence[int], offset: int = 0) -> Affine:
    """``offset + Σ index·stride``: the address of an element."""
    total = Affine((), offset)
    for i, s in zip(index, strides, strict=True):
        total = total + i * s
    return total


def split(linear: Affine, shape: Sequence[int], size: Callable[[Any], int]) -> list[Affine] | None:
    """The index into ``shape`` of row-major position ``linear``, or None where it is not affine.

    Every term is given to the dimension whose stride it counts; that is right if the terms of a
    dimension cannot carry into the next, which their sizes tell.
    """
    strides = row_major(shape)
    index = [ZERO] * len(shape)
    rest = linear.const
    for axis, stride in enumerate(strides):
        if shape[axis] > 1:
            index[axis] = Affine((), rest // stride)
            rest -= rest // stride * stride
    for term, c in linear.terms:
        axis = next((a for a, s in enumerate(strides) if shape[a] > 1 and c % s == 0 and c > 0), -1)
        if axis < 0:
            return None
        index[axis] = index[axis] + Affine.of(term) * (c // strides[axis])
    for n, i in zip(shape, index, strict=True):
        if i.const + sum(c * (size(t) - 1) for t, c in i.terms) > n - 1:
            return None
    return index
