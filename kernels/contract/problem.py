"""A product in normal form, and what a plan computes it with: `Problem` and `Form`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

from .host import ITEM_BYTES, host
from .layout import Dim, merged


@dataclass(frozen=True)
class Problem:
    """One orientation of a product: merged walks, strides in bytes; `names` are read as A and B."""

    dtype: str
    batch: list[Dim]  # extent, A, B, C
    rows: list[Dim]  # extent, A, C
    columns: list[Dim]  # extent, B, C
    steps: list[Dim]  # extent, A, B
    names: tuple[str, str] = ("A", "B")

    @property
    def item(self) -> int:
        """Bytes of a number."""
        return ITEM_BYTES[self.dtype]

    @property
    def lanes(self) -> int:
        """Numbers in a vector."""
        return host().lanes(self.dtype)

    def sides(self, names: str) -> str:
        """The sides, a or b, on which operands of some names are."""
        return "".join(side for side, name in zip("ab", self.names, strict=True) if name in names)

    def swapped(self) -> Problem:
        """The transposed product: C' = B' A'."""
        batch: list[Dim] = [(extent, b, a, c) for extent, a, b, c in self.batch]
        steps: list[Dim] = [(extent, b, a) for extent, a, b in self.steps]
        names = (self.names[1], self.names[0])
        return Problem(self.dtype, batch, self.columns, self.rows, steps, names)


@dataclass(frozen=True)
class Form:
    """How a problem is computed; packers are '' (read in place), 'copy' or 'transpose'."""

    tile: str  # outer | scattered | dot
    rows: int
    columns: int  # of a tile: vectors, or single columns for dot
    pack_a: str = ""
    pack_b: str = ""
    shared: str = ""  # operands packed whole, before: '' | a | b | ab

    @property
    def size(self) -> tuple[int, int, str]:
        """What makes one tile another kernel than the next."""
        return self.rows, self.columns, self.packed

    @property
    def packed(self) -> str:
        """The operands that tiles read from panels."""
        return "a" * bool(self.pack_a) + "b" * bool(self.pack_b)

    @property
    def kernels(self) -> tuple[str, ...]:
        """What decides which kernels it needs."""
        return self.tile, *map(str, self.size), self.pack_a, self.pack_b

    def __str__(self) -> str:
        reads = [f"{side} {how}" for side, how in (("a", self.pack_a), ("b", self.pack_b)) if how]
        whole = f"whole {self.shared}" if self.shared else ""
        return ", ".join(
            [f"{self.tile} {self.rows}x{self.columns}", *reads, *filter(None, [whole])]
        )

    def packs(self, side: str) -> bool:
        """Whether macro-tiles pack an operand, each what it needs."""
        return side in self.packed and side not in self.shared


@dataclass(frozen=True)
class Choice:
    """A form of a product, or of its transpose (``swapped``)."""

    swapped: bool
    form: Form

    @property
    def plain(self) -> tuple[Any, ...]:
        """As what can be written to a file."""
        return self.swapped, *astuple(self.form)

    @classmethod
    def of(cls, plain: tuple[Any, ...]) -> Choice:
        """The choice that ``plain`` was made of."""
        swapped, *form = plain
        return cls(swapped, Form(*form))


def normal_form(
    dtype: str, batch: list[Dim], rows: list[Dim], columns: list[Dim], steps: list[Dim]
) -> Problem:
    """The product with walks merged and going from large strides to small ones.

    Dimensions of the batch that one operand ignores become rows or columns of the other, so what is
    shared is packed once: the images of a convolution are columns.
    """
    shared_a = [(extent, b, c) for extent, a, b, c in batch if a == 0]
    shared_b = [(extent, a, c) for extent, a, b, c in batch if b == 0 and a != 0]
    return Problem(
        dtype,
        merged(dim for dim in batch if dim[1] and dim[2]),
        _sorted(shared_b + rows, lambda dim: abs(dim[2])),
        _sorted(shared_a + columns, lambda dim: abs(dim[2])),
        _sorted(steps, lambda dim: abs(dim[1]) + abs(dim[2])),
    )


def _sorted(dims: list[Dim], stride: Callable[[Dim], int]) -> list[Dim]:
    return merged(sorted(merged(dims), key=stride, reverse=True))
