"""Whether Python objects are as they were, many at once, in one call of compiled code.

    pins = Pins()
    pins.slot(tensor, "_needs"); pins.cell(cell); pins.mapping(table)     # False: cannot be pinned
    if pins.changed() < 0: ...       # nothing was assigned since; else the number of what was

A replayed call compares what its trace took for granted: a flag of every parameter, the members of
every module. In Python each takes some 20 ns, which for a small step is most of its time; compiled
code compares words of memory: a slot or a cell holds a pointer to its value, and a dict a version
that every assignment changes.

Where CPython keeps them is found out by looking: a value is put in its place and searched for. What
is not found (CPython 3.14 has no versions) is not pinned, and is compared in Python as before.
Places and what was found there are kept alive, so no address comes to mean another object.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import types
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Container
from typing import Any

import numpy as np

SOURCE = """
declare i64 @PyLong_AsLongLong(ptr)
declare ptr @PyLong_FromLongLong(i64)

define ptr @first_changed(ptr %self, ptr %values, i64 %count) {
entry:
  %first = load ptr, ptr %values
  %where = call i64 @PyLong_AsLongLong(ptr %first)
  %table = inttoptr i64 %where to ptr
  %pins = load i64, ptr %table
  br label %next

next:
  %i = phi i64 [0, %entry], [%i_next, %same]
  %more = icmp slt i64 %i, %pins
  br i1 %more, label %look, label %found

look:
  %at = shl i64 %i, 1
  %address_at = add i64 %at, 1
  %address_word = getelementptr i64, ptr %table, i64 %address_at
  %address = load i64, ptr %address_word
  %word = inttoptr i64 %address to ptr
  %now = load i64, ptr %word
  %known_at = add i64 %at, 2
  %known_word = getelementptr i64, ptr %table, i64 %known_at
  %known = load i64, ptr %known_word
  %is_same = icmp eq i64 %now, %known
  br i1 %is_same, label %same, label %found

same:
  %i_next = add i64 %i, 1
  br label %next

found:
  %number = phi i64 [-1, %next], [%i, %look]
  %object = call ptr @PyLong_FromLongLong(i64 %number)
  ret ptr %object
}
"""
WORD = 8
_HEADER = 4 * WORD  # in front of an object: the collector's words, its dict or where values are


class Pins:
    """Places of objects and what was found there; a place is named by its number."""

    def __init__(self, restless: Container[int] = ()) -> None:
        """``restless`` are addresses that change too often to be worth pinning."""
        self.restless = restless
        self._numbers: dict[int, int] = {}  # by address
        self._alive: list[Any] = []
        self._objects: list[int] = []  # addresses of pointers to objects
        self._lists: list[tuple[list[Any], int]] = []  # and where their items lay
        # At first one place, this table's own, which is not what it says.
        self._table = np.zeros(3, np.int64)
        self._table[:2] = 1, self._table.ctypes.data
        # Another thread may be about to read an earlier table.
        self._tables = [self._table]
        self._values: list[Any] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def slot(self, owner: Any, name: str) -> int | None:
        """The number of an attribute that its class declares in ``__slots__``."""
        offset = _slot_offset(type(owner), name)
        return None if offset is None else self._place(owner, offset, True)

    def cell(self, cell: types.CellType) -> int | None:
        """The number of a closure's cell."""
        offset = _cell_offset()
        return None if offset is None else self._place(cell, offset, True)

    def mapping(self, table: dict[Any, Any]) -> int | None:
        """The number of all items of a dict."""
        offset = _version_offset()
        known = type(table) in (dict, OrderedDict, defaultdict)
        return self._place(table, offset) if known and offset is not None else None

    def sequence(self, items: list[Any]) -> list[int | None]:
        """The numbers of a list's length and items."""
        offset = _length_offset()
        if offset is None:
            return [None]
        # Items lie elsewhere: whether they still do is compared first, which is before they are.
        places = [self._place(items, offset), self._place(items, offset + WORD)]
        if None in places:
            return [None]
        start = _word(id(items) + offset + WORD)
        self._lists.append((items, start))
        return places + [self._at(start + i * WORD, items, True) for i in range(len(items))]

    def members(self, owner: Any) -> int | None:
        """The number of the place that holds an object's ``__dict__``, not of what is in it."""
        if not available() or not hasattr(owner, "__dict__"):
            return None
        offset = _offset_of(owner, vars(owner), before=_HEADER)
        return None if offset is None else self._place(owner, offset, True)

    def all_changed(self) -> dict[int, int]:
        """The numbers of all places that changed, each with what names it to other pins."""
        if self._moved():
            return {}
        known = self._table[2::2].tolist()
        rows = zip(self._numbers.items(), known, strict=True)
        return {n: address for (address, n), word in rows if _word(address) != word}

    def _moved(self) -> bool:
        """Whether the items of a list are elsewhere by now: their places are gone."""
        return any(_word(id(x) + (_length_offset() or 0) + WORD) != at for x, at in self._lists)

    def _place(self, owner: Any, offset: int, is_object: bool = False) -> int | None:
        return self._at(id(owner) + offset, owner, is_object)

    def _at(self, address: int, owner: Any, is_object: bool) -> int | None:
        if address in self.restless:
            return None
        if address not in self._numbers:
            self._numbers[address] = len(self._numbers)
            self._alive.append(owner)
            self._objects += [address] * is_object
        return self._numbers[address]

    def hold(self) -> bool:
        """From now on what is there counts as unchanged, and is kept alive.

        False, and nothing is held, where the items of a list have moved: its places are gone.
        """
        if self._moved():
            return False
        table = np.zeros(1 + 2 * len(self._numbers), np.int64)
        table[0] = len(self._numbers)
        table[1::2] = list(self._numbers)
        table[2::2] = [_word(address) for address in self._numbers]
        self._values = [_object(address) for address in self._objects]
        self._tables.append(table)
        self._table = table
        return True

    @property
    def address(self) -> int:
        """Of the table that `first_changed` takes; another one after each `hold`."""
        return self._table.ctypes.data

    def changed(self) -> int:
        """The number of a place that changed since `hold`; -1 if none did."""
        return first_changed()(self.address)


@functools.cache
def first_changed() -> Callable[[int], int]:
    """`first_changed(table_address)` -> number of the first place that changed, or -1."""
    from .entry import builtin  # which imports LLVM

    return builtin("first_changed", SOURCE)


@functools.cache
def available() -> bool:
    """Whether memory can be looked at: CPython, one thread at a time, kernels compiled."""
    from .cache import interpreting

    locked = getattr(sys, "_is_gil_enabled", lambda: True)()
    return sys.implementation.name == "cpython" and locked and not interpreting()


# ---- where CPython keeps things ------------------------------------------------------------------


def _word(address: int) -> int:
    return ctypes.c_int64.from_address(address).value


def _object(address: int) -> Any:
    """What the pointer at an address points to; None if it is no pointer."""
    return ctypes.py_object.from_address(address).value if _word(address) else None


def _words(value: Any, before: int = 0) -> dict[int, int]:
    """The words of an object, by their offset; ``before``: bytes in front of it, too."""
    offsets = range(-before, type(value).__basicsize__, WORD)
    return {offset: _word(id(value) + offset) for offset in offsets}


def _offset_of(holder: Any, value: Any, before: int = 0) -> int | None:
    """Where in an object the one pointer to ``value`` lies."""
    places = [offset for offset, word in _words(holder, before).items() if word == id(value)]
    return places[0] if len(places) == 1 else None


@functools.cache
def _slot_offset(kind: type, name: str) -> int | None:
    descriptor = getattr(kind, name, None)
    if not available() or not isinstance(descriptor, types.MemberDescriptorType):
        return None
    example, value = object.__new__(descriptor.__objclass__), object()
    descriptor.__set__(example, value)
    return _offset_of(example, value)


@functools.cache
def _cell_offset() -> int | None:
    value = object()
    return _offset_of(types.CellType(value), value) if available() else None


@functools.cache
def _length_offset() -> int | None:
    """Of a list's length; the word after it points to where its items lie (``PyListObject``)."""
    if not available():
        return None
    items: list[int] = []
    for i in range(5):  # there is room for eight, then
        items.append(i)
    places = [offset for offset, word in _words(items).items() if word == len(items)]
    return places[0] if len(places) == 1 else None


class _Example:
    """An object with a dict."""


@functools.cache
def _version_offset() -> int | None:
    """The word of a dict that changes with every assignment to it, and with nothing else."""
    if not available():
        return None
    example = _Example()
    example.item = 0  # type: ignore[attr-defined]
    table = vars(example)
    seen = [_words(table)]
    for i in range(1, 100):  # often enough that CPython takes its quick ways
        example.item = object()  # type: ignore[attr-defined]
        seen.append(_words(table))
        table["item"] = i
        seen.append(_words(table))
    _ = [example.item, table["item"], len(table), *table]  # type: ignore[attr-defined]
    if _words(table) != seen[-1]:
        return None
    values = {offset: {words[offset] for words in seen} for offset in seen[0]}
    changing = [offset for offset, found in values.items() if len(found) > 1]
    always = [offset for offset in changing if len(values[offset]) == len(seen)]
    return always[0] if len(changing) == len(always) == 1 else None
