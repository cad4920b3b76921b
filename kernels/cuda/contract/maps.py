"""Index maps of a product as tables of int32 element offsets, and how a tile reads and writes them.

    A[b, m, k] lies at a_batch[b] + a_rows[m] + a_steps[k]     B and C alike

Every dimension is a stride, so an address is a sum of table entries: a convolution's window, a
transpose, a broadcast and a flip differ by their tables alone. Where a map moves by whole 16-byte
vectors its table has an entry a vector (class ``Access.vector``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ...contract.layout import Dim, merged, offsets, size
from ...contract.problem import Problem
from .tiles import Sizes

Tables = tuple[np.ndarray, np.ndarray, np.ndarray]
Groups = Sequence[list[Dim]]  # batch, rows, columns, steps

LARGEST = (1 << 31) - 1
ALONG_STEPS, ALONG_OUTER = "k", "m"


class Access(NamedTuple):
    """How a tile walks an operand: neighbouring threads ``along`` k or the rows (columns), each
    taking ``vector`` numbers at once."""

    along: str
    vector: int

    @property
    def name(self) -> str:
        """For names of kernels: ``k4``, ``m1``."""
        return f"{self.along}{self.vector}"

    def lanes(self, along: str) -> int:
        """Numbers that one entry of the table along k or along the rows stands for."""
        return self.vector if self.along == along else 1

    def fitting(self, most: int) -> Access:
        """The same walk with vectors of at most ``most`` numbers."""
        return Access(self.along, min(self.vector, most))


@dataclass(frozen=True)
class Maps:
    """A product in normal form (strides in elements) with its tables.

    ``tables[operand]``: offsets of the batch, of rows (A) or columns (B), of k; for C those of
    batch, rows, columns.
    """

    problem: Problem
    sizes: Sizes
    tables: dict[str | int, Tables]


def maps_of(dtype: str, dims: Groups, extras: int = 0) -> Maps:
    """The tables of a product; its columns are what lies closest in the result.

    ``dims`` are batch, rows, columns and steps as (extent, stride in A, B, C of those that have the
    dimension), all but those of steps followed by strides in ``extras`` more operands, which have
    tables under their numbers.
    """
    problem = _normal(dtype, *dims)
    if _last_stride(problem.rows) == 1 and _last_stride(problem.columns) != 1:
        batch, rows, columns, steps = dims
        batch = [(n, b, a, *rest) for n, a, b, *rest in batch]
        steps = [(n, b, a) for n, a, b in steps]
        problem = replace(_normal(dtype, batch, columns, rows, steps), names=("B", "A"))
    sizes = Sizes(*(size(x) for x in (problem.batch, problem.rows, problem.columns, problem.steps)))
    tables: dict[str | int, Tables] = {
        "A": _tables((problem.batch, 0), (problem.rows, 0), (problem.steps, 0)),
        "B": _tables((problem.batch, 1), (problem.columns, 0), (problem.steps, 1)),
        "C": _tables((problem.batch, 2), (problem.rows, 1), (problem.columns, 1)),
    }
    for n in range(extras):
        walks = ((problem.batch, 3 + n), (problem.rows, 2 + n), (problem.columns, 2 + n))
        tables[n] = _tables(*walks)
    return Maps(problem, sizes, tables)


def _normal(
    dtype: str,
    batch: Sequence[Dim],
    rows: Sequence[Dim],
    columns: Sequence[Dim],
    steps: Sequence[Dim],
) -> Problem:
    """The product with walks merged, from large strides to small ones.

    Dimensions of the batch that one operand ignores become rows or columns of the other.
    """
    shared_a = [(n, b, *rest) for n, a, b, *rest in batch if a == 0]
    shared_b = [(n, a, *rest) for n, a, b, *rest in batch if b == 0 and a != 0]
    return Problem(
        dtype,
        merged(dim for dim in batch if dim[1] and dim[2]),
        _sorted([*shared_b, *rows], lambda dim: abs(dim[2])),
        _sorted([*shared_a, *columns], lambda dim: abs(dim[2])),
        _sorted(steps, lambda dim: abs(dim[1]) + abs(dim[2])),
    )


def _sorted(dims: Sequence[Dim], stride: Callable[[Dim], int]) -> list[Dim]:
    return merged(sorted(merged(dims), key=stride, reverse=True))


def _last_stride(dims: list[Dim]) -> int:
    """How far apart neighbours of the result are."""
    return dims[-1][2] if dims else 0


def _tables(*walks: tuple[list[Dim], int]) -> Tables:
    """Offsets of an operand's three groups of dimensions."""
    reach = sum((dim[0] - 1) * abs(dim[1 + operand]) for dims, operand in walks for dim in dims)
    if reach > LARGEST:
        raise NotImplementedError(f"a product over an operand of {reach} numbers: at most 2^31")
    first, second, third = (offsets(*walk).astype(np.int32) for walk in walks)
    return first, second, third


def access(table: Tables, offset: int, lanes: int) -> Access:
    """How an operand is read: by vectors if all of them are whole and aligned, else by shorter
    ones, at last by numbers.

    ``offset`` elements into memory that is aligned to a vector.
    """
    batch, outer, steps = table
    if lanes > 1 and offset % lanes == 0:
        for along, inner, others in (
            (ALONG_STEPS, steps, (outer, batch)),
            (ALONG_OUTER, outer, (steps, batch)),
        ):
            aligned = not any((x % lanes).any() for x in others)
            if aligned and in_vectors(inner, lanes):
                return Access(along, lanes)
    if lanes > 2:
        return access(table, offset, lanes // 2)
    return Access(ALONG_STEPS if _unit_steps(steps) >= _unit_steps(outer) else ALONG_OUTER, 1)


def in_vectors(table: np.ndarray, lanes: int) -> bool:
    """Whether a walk visits whole aligned vectors of memory."""
    if len(table) % lanes:
        return False
    groups = table.reshape(-1, lanes)
    return (
        not ((groups - groups[:, :1]) != np.arange(lanes)).any()
        and not (groups[:, 0] % lanes).any()
    )


def vector_of(tables: Tables, lanes: int) -> int:
    """How many numbers of a row of the result may be written at once."""
    batch, rows, columns = tables
    uneven = (batch % lanes).any() or (rows % lanes).any()
    return 1 if uneven or not in_vectors(columns, lanes) else lanes


def _unit_steps(table: np.ndarray) -> float:
    """The share of a walk's steps that go to the next number in memory."""
    return float((np.diff(table) == 1).mean()) if len(table) > 1 else 0.0


def padded(table: np.ndarray, lanes: int, multiple: int) -> np.ndarray:
    """An entry a vector, repeated at the end up to a whole number of tiles of ``multiple``."""
    entries = np.ascontiguousarray(table[::lanes])
    missing = -len(entries) % (multiple // lanes)
    return np.pad(entries, (0, missing), mode="edge") if missing else entries
