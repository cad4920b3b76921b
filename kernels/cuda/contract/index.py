"""Index arithmetic of templates, written as Python writes it: ``Index(Thread()) // 8 + 4``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...loopir import Arith, Int, Let, Var, arith


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """An index expression under construction; ``expr`` is the Grid IR."""

    expr: Any

    def __add__(self, other: Index | int) -> Index:
        return Index(arith("+", self.expr, _expr(other)))

    def __sub__(self, other: Index | int) -> Index:
        return Index(arith("-", self.expr, _expr(other)))

    def __mul__(self, other: Index | int) -> Index:
        return Index(arith("*", self.expr, _expr(other)))

    def __floordiv__(self, other: Index | int) -> Index:
        return self if other == 1 else Index(Arith("//", self.expr, _expr(other)))

    def __mod__(self, other: Index | int) -> Index:
        return Index(Int(0)) if other == 1 else Index(Arith("%", self.expr, _expr(other)))

    def __lt__(self, other: Index | int) -> Index:
        return Index(Arith("<", self.expr, _expr(other)))

    def at_most(self, other: Index | int) -> Index:
        """The smaller one."""
        return Index(Arith("min", self.expr, _expr(other)))


def _expr(x: Index | int) -> Any:
    return x.expr if isinstance(x, Index) else Int(x)


class Names:
    """Statements that bind names: ``row = body.let("row", ...)`` and go on with ``row``."""

    def __init__(self) -> None:
        self.body: list[Any] = []

    def let(self, name: str, value: Index) -> Index:
        """Bind a name to an index."""
        self.body.append(Let(name, value.expr))
        return Index(Var(name))
