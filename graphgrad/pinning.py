"""The places that decide a guard which holds: while nothing is assigned to them, it holds unread.

    list(places(["o4['training'] is True"], {"o4": module.__dict__}, pins))    # [{3}]

Guards are Python text over slots, cells, dicts and lists (``graphgrad.guards``). One that reads
anything else, a property or a set, is decided by its text alone: None.
"""

from __future__ import annotations

import ast
import builtins
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from graphgrad.kernels.pins import Pins
from graphgrad.kernels.syntax import parse_expression

_IMMUTABLE = (bool, int, float, complex, str, bytes, type(None), type)


class Unpinned(Exception):
    """Something that memory does not say."""


def places(
    conditions: Iterable[str], objects: Mapping[str, Any], pins: Pins
) -> Iterator[set[int] | None]:
    """For each condition, all of which hold, the pins that decide it; None: its text does."""
    # Parsed as one list: a parser is slow to start.
    whole = parse_expression(f"[{', '.join(f'({c})' for c in conditions)}]")
    assert isinstance(whole, ast.List)
    for condition in whole.elts:
        reading = _Reading(objects, pins)
        try:
            reading.truth(condition)
        except Unpinned:
            yield None
        else:
            yield reading.found


class _Reading:
    """One evaluation, noting every place that is read."""

    def __init__(self, objects: Mapping[str, Any], pins: Pins) -> None:
        self.names = dict(objects)
        self.pins = pins
        self.found: set[int] = set()

    def truth(self, node: ast.expr) -> None:
        """A condition that holds: what it compares has to stay what it is."""
        match node:
            case ast.BoolOp(op=ast.And(), values=parts):
                for part in parts:
                    self.truth(part)
            case ast.BoolOp(op=ast.Or(), values=[ast.Compare(ops=[ast.Is()]) as first, *_]):
                self.truth(first)  # and if it does not hold at the moment, it is as good as any
            case ast.UnaryOp(operand=operand):
                self._content(self.value(operand))
            case ast.Compare(left=left, ops=[ast.Is() | ast.IsNot()], comparators=[right]):
                self.value(left), self.value(right)
            case ast.Compare(left=left, ops=[ast.Eq() | ast.NotEq()], comparators=[right]):
                self._content(self.value(left))
                self._content(self.value(right))
            case _:
                raise Unpinned

    def value(self, node: ast.expr) -> Any:
        """What an expression reads now."""
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return self.names[name] if name in self.names else getattr(builtins, name)
            case ast.NamedExpr(target=target, value=inner):
                self.names[target.id] = self.value(inner)
                return self.names[target.id]
            case ast.Call(func=ast.Name(id="type" | "len" | "repr" as name), args=[argument]):
                value = self.value(argument)
                if name != "type":
                    self._content(value)
                return getattr(builtins, name)(value)
            case ast.Subscript(value=holder, slice=key):
                return self._item(self.value(holder), self.value(key))
            case ast.Attribute(value=holder, attr=name):
                return self._attribute(self.value(holder), name)
        raise Unpinned

    def _item(self, holder: Any, key: Any) -> Any:
        self._content(holder)
        return holder[key]

    def _attribute(self, holder: Any, name: str) -> Any:
        if isinstance(holder, types.CellType) and name == "cell_contents":
            self._note(self.pins.cell(holder))
        elif name == "__dict__":
            self._note(self.pins.members(holder))
        elif type(holder).__getattribute__ is object.__getattribute__ and not hasattr(
            type(holder), name
        ):
            self._note(self.pins.members(holder))
            self._content(vars(holder))
        else:
            self._note(self.pins.slot(holder, name))
        return getattr(holder, name)

    def _content(self, value: Any) -> None:
        """What a value holds must not change either."""
        if isinstance(value, dict):
            # The names of a module come and go while its script runs.
            self._note(None if "__builtins__" in value else self.pins.mapping(value))
        elif type(value) is list:
            for place in self.pins.sequence(value):
                self._note(place)
        elif not isinstance(value, (*_IMMUTABLE, tuple, frozenset)):
            raise Unpinned

    def _note(self, place: int | None) -> None:
        if place is None:
            raise Unpinned
        self.found.add(place)
