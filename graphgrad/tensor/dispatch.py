"""Where eager programs spend their time: a look-up by types, one NumPy call, one record.

``unary(primitive, result)`` and ``binary(primitive, result)`` make operations; ``result`` says what
type the operands are converted to. They are written out rather than shared because each line here
is paid by every operation of every program.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from graphgrad.dtypes import FLOAT, DType
from graphgrad.errors import is_ours
from graphgrad.tensor import plan as plans
from graphgrad.tensor import record
from graphgrad.tensor.core import FUNCTIONS, Storage, Tensor, wrap
from graphgrad.tensor.place import common_device, device_of, settled
from graphgrad.tensor.plan import UNWRITTEN, Plan, Type, apply
from graphgrad.tensor.promotion import is_number, joined
from graphgrad.tensor.state import state

ndarray = np.ndarray
_frame = sys._getframe
_make = record.make
_LIMIT = 4096


def binary(name: str, result: Callable[[DType], DType] = lambda d: d) -> Callable[..., Any]:
    """A function of two operands; ``result`` makes the common type of their joined type."""
    table: dict[Any, Any] = {}

    def operation(input: Any, other: Any) -> Tensor:
        x = input._array
        if isinstance(other, Tensor):
            y = other._array
            if x is None or y is None or not state.plain:
                return _joined_binary(name, result, input, other)
            plan = table.get((x.shape, y.shape, x.dtype, y.dtype))
            if plan is None:
                return _first_time(name, result, table, input, other)
            needs = (1 if input._needs else 0) + (2 if other._needs else 0)
            stamp = other._storage
        else:
            y = other
            if x is None or not state.plain:
                return _joined_binary(name, result, input, other)
            plan = table.get((x.shape, other.__class__, x.dtype))
            if plan is None:
                return _first_time(name, result, table, input, other)
            needs = 1 if input._needs else 0
            stamp = UNWRITTEN
        values = plan.run(x, y)
        out = wrap(values if values.__class__ is ndarray else settled(values))
        if needs and plan.tracks and state.grad:
            way = plan.fast[needs]
            if way is not None:
                _record_binary(way, input, other, x, y, stamp, out)
        return out

    operation.__name__ = operation.__qualname__ = name
    return operation


def _record_binary(
    way: Any, self: Any, other: Any, x: Any, y: Any, stamp: Storage, out: Tensor
) -> None:
    needs = way.needs
    edges: Any
    if len(needs) == 2:
        edges = (self._edge or (self, 0), other._edge or (other, 0))
    elif needs[0] == 0:
        edges = (self._edge or (self, 0),)
    else:
        edges = (other._edge or (other, 0),)
    saves = way.saves
    if not saves:
        rec = _make(way, (), (), edges)
    elif saves == ("x", "y"):
        rec = _make(way, (x, y), (self._storage, stamp), edges)
    elif saves == ("y",):
        rec = _make(way, (y,), (stamp,), edges)
    elif saves == ("x",):
        rec = _make(way, (x,), (self._storage,), edges)
    else:
        found = {"x": (x, self._storage), "y": (y, stamp), "out": (out._array, out._storage)}
        values, stamps = zip(*(found[s] for s in saves), strict=True)
        rec = _make(way, values, stamps, edges)
    _locate(rec)
    out._needs, out._edge = True, (rec, 0)


def _locate(rec: Any) -> None:
    """The caller of the operation: nearly always the user's frame itself."""
    frame: Any = _frame(3)
    while frame is not None and is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is not None:
        rec.code, rec.offset = frame.f_code, frame.f_lasti
    rec.module = state.module


def _first_time(name: str, result: Any, table: dict[Any, Any], self: Tensor, other: Any) -> Tensor:
    """Decide whether these operand types need no conversion; if so, later calls skip this."""
    x = self._array
    is_tensor = isinstance(other, Tensor)
    if not is_tensor and not is_number(other):
        return _with_array_like(name, self, other)
    wanted = result(joined(self, other))
    straight = self.dtype is wanted and (not is_tensor or other.dtype is wanted)
    if straight and type(other) is not complex and not isinstance(other, np.generic):
        inputs = (Type(x.shape, wanted), Type(other._array.shape if is_tensor else (), wanted))
        place = common_device(name, (x, other._array) if is_tensor else (x,))
        plan = plans.find(name, {}, inputs, place)
        plan.fast = (None, *(_way_or_none(plan, n) for n in ((0,), (1,), (0, 1))))
        if len(table) > _LIMIT:
            table.clear()
        if is_tensor:
            table[x.shape, other._array.shape, x.dtype, other._array.dtype] = plan
        elif not isinstance(plan.run, plans.Promoted) and _fits(other, wanted):
            table[x.shape, other.__class__, x.dtype] = plan
    return _joined_binary(name, result, self, other)


def _fits(number: Any, dtype: DType) -> bool:
    """NumPy refuses Python integers that a type cannot hold; PyTorch wraps them."""
    if dtype.is_half:  # numbers are rounded to the type, as those of a trace are
        return False
    return not isinstance(number, int) or dtype.category >= FLOAT or dtype.itemsize == 8


def _way_or_none(plan: Plan, needs: tuple[int, ...]) -> Any:
    way = plan.way(needs)
    return way if way.needs else None


def _with_array_like(name: str, self: Tensor, other: Any) -> Any:
    if isinstance(other, ndarray):
        return FUNCTIONS[name](self, wrap(other))
    return NotImplemented


def _joined_binary(name: str, result: Any, self: Any, other: Any) -> Any:
    """The general case: convert both operands to the joined type, then apply."""
    if not isinstance(other, Tensor) and not is_number(other):
        return _with_array_like(name, self, other)
    wanted = result(joined(self, other))
    x = self if not isinstance(self, Tensor) or self.dtype is wanted else self.to(wanted)
    y = other if not isinstance(other, Tensor) or other.dtype is wanted else other.to(wanted)
    return apply(name, x, y)


def unary(name: str, result: Callable[[DType], DType]) -> Callable[..., Any]:
    """A function of one operand."""
    table: dict[Any, Any] = {}

    def operation(input: Any) -> Tensor:
        x = input._array
        if x is None or not state.plain:
            return _converted_unary(name, result, input)
        plan = table.get((x.shape, x.dtype))
        if plan is None:
            if input.dtype is result(input.dtype):
                plan = plans.find(name, {}, (Type(x.shape, input.dtype),), device_of(x))
                plan.fast = (_way_or_none(plan, (0,)),)
                table[x.shape, x.dtype] = plan
            return _converted_unary(name, result, input)
        values = plan.run(x)
        out = wrap(values if values.__class__ is ndarray else settled(values))
        if input._needs and plan.tracks and state.grad:
            way = plan.fast[0]
            if way is not None:
                _record_unary(way, input, x, out)
        return out

    operation.__name__ = operation.__qualname__ = name
    return operation


def _record_unary(way: Any, input: Tensor, x: Any, out: Tensor) -> None:
    edges = (input._edge or (input, 0),)
    saves = way.saves
    if not saves:
        rec = _make(way, (), (), edges)
    elif saves == ("x",):
        rec = _make(way, (x,), (input._storage,), edges)
    elif saves == ("out",):
        rec = _make(way, (out._array,), (out._storage,), edges)
    else:
        rec = _make(way, (x, out._array), (input._storage, out._storage), edges)
    _locate(rec)
    out._needs, out._edge = True, (rec, 0)


def _converted_unary(name: str, result: Any, input: Any) -> Tensor:
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}(): argument 'input' must be Tensor, not {type(input).__name__}")
    wanted = result(input.dtype)
    return apply(name, input if input.dtype is wanted else input.to(wanted))


def same(dtype: DType) -> DType:
    return dtype


def integer_power() -> Callable[..., Any]:
    """``x ** n`` for a small whole number ``n``: the exponent is part of the operation."""
    table: dict[Any, Any] = {}

    def operation(input: Tensor, exponent: int) -> Tensor:
        x = input._array
        if x is None or not state.plain:
            return apply("int_pow", input, exponent=exponent)
        plan = table.get((x.shape, x.dtype, exponent))
        if plan is None:
            types = (Type(x.shape, input.dtype),)
            plan = plans.find("int_pow", {"exponent": exponent}, types, device_of(x))
            plan.fast = (_way_or_none(plan, (0,)),)
            table[x.shape, x.dtype, exponent] = plan
        values = plan.run(x)
        out = wrap(values if values.__class__ is ndarray else settled(values))
        if input._needs and plan.tracks and state.grad:
            _record_unary(plan.fast[0], input, x, out)
        return out

    return operation
