"""Operations that NumPy computes, in programs too: factorisations, Fourier transforms.

@dataclass(frozen=True)
class Inverse(HostCall):
    kind = "LinalgInvExBackward0"
    def types(self, a): return ((a.shape, a.dtype),)
    def __call__(self, a): return (np.linalg.inv(a),)
    def vjp(self, cotangents, operands, results): …            # in the graph language

(x,) = call(Inverse(), a)

On a device the operands are copied to the host, and the results back.

A call is a value: equal calls are one structure, so programs that hold one are found again. Its
rule is written in ``graphgrad.lang``, over Nodes or Tensors alike, so gradients of any order come
from the one rule, as written and compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from graphgrad import lang
from graphgrad.device import CPU, device
from graphgrad.tensor import record
from graphgrad.tensor.core import Tensor
from graphgrad.tensor.creation import from_node
from graphgrad.tensor.plan import Type, edge_of, locate, needing
from graphgrad.tensor.several import several
from graphgrad.tensor.state import no_grad, state

Value = Any
Types = tuple[tuple[tuple[int, ...], Any], ...]


class HostCall:
    """A function of arrays; subclasses are frozen dataclasses of its static arguments."""

    # PyTorch's name of its record.
    kind = ""
    # Whether the rule reads the operands, and the results; what it does not is not kept.
    reads_operands = True
    reads_results = True

    def types(self, *operands: Any) -> Types:
        """(shape, dtype) of each result."""
        raise NotImplementedError

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """The results, as NumPy computes them."""
        raise NotImplementedError

    def of(self, *operands: Value) -> Value:
        """The first result over operands in the graph language: for rules."""
        if any(isinstance(x, Tensor) for x in operands):
            return call(self, *map(_as_tensor, operands))[0]
        made = lang.apply("custom_call", *operands, function=self, types=self.types(*operands))
        return lang.result(made, 0)

    def vjp(
        self,
        cotangents: Sequence[Value | None],
        operands: Sequence[Value],
        results: Sequence[Value],
    ) -> list[Value | None]:
        """Cotangents of the operands; what the rule does not read, it sees as a bare type."""
        raise NotImplementedError(f"{self} has no gradient")


def _as_tensor(x: Value) -> Tensor:
    return x if isinstance(x, Tensor) else from_node(x)


def call(function: HostCall, *operands: Tensor) -> tuple[Tensor, ...]:
    """Run (or trace) a host call, and record it where gradients flow."""
    types = function.types(*operands)
    with no_grad():
        results = several("custom_call", *operands, function=function, types=types)
    needs = tuple(i for i, x in enumerate(operands) if needing(x) and x.dtype.is_differentiable)
    if needs and state.grad:
        inputs = tuple(Type(tuple(x.shape), x.dtype) for x in operands)
        place = CPU if state.trace is not None else operands[0].device
        _record(_way(function, inputs, needs, place), operands, results)
    return results


def _record(way: HostWay, operands: Sequence[Tensor], results: Sequence[Tensor]) -> None:
    kept = [*(operands if way.function.reads_operands else ())]
    kept += results if way.function.reads_results else ()
    saved = tuple([_value(x) for x in kept])
    rec = record.make(
        way, saved, [x._storage for x in kept], [edge_of(operands[i]) for i in way.needs]
    )
    locate(rec)
    if state.trace is not None:
        rec.composite = state.trace.composite
    for i, y in enumerate(results):
        if y.dtype.is_differentiable:
            y._needs, y._edge = True, (rec, i)


def _value(x: Tensor) -> Any:
    return x._array if state.trace is None else state.trace.node(x)


class HostWay:
    """How a host call is differentiated when the operands ``needs`` want a gradient."""

    __slots__ = ("device", "function", "inputs", "kind", "needs", "outputs", "saves", "types")
    composite = ""
    graphable = True
    own_lines = False

    def __init__(
        self, function: HostCall, inputs: tuple[Type, ...], needs: tuple[int, ...], place: device
    ) -> None:
        self.function, self.inputs, self.needs, self.device = function, inputs, needs, place
        self.types = [Type(*t) for t in function.types(*inputs)]
        self.outputs = len(self.types)
        self.kind = record.kind(function.kind)
        self.saves = ("values",) if self.saved_types() else ()

    @property
    def numbers(self) -> tuple[int, ...]:
        """Which outputs of the backward function ``pull`` returns."""
        return self.needs

    def results(self) -> list[Type]:
        return self.types

    def saved_types(self) -> list[Type]:
        kept = [*(self.inputs if self.function.reads_operands else ())]
        return kept + (self.types if self.function.reads_results else [])

    def restore(self, rec: Any, values: Sequence[Any], revived: Any) -> list[Any]:
        """Saved values as tensors, with their history where ``revived`` keeps it."""
        edges = dict(zip(self.needs, rec.edges, strict=True))
        places = [edges.get(i) for i in range(len(self.inputs))] * self.function.reads_operands
        places += [
            (rec, i) if t.dtype.is_differentiable else None for i, t in enumerate(self.types)
        ]
        return [revived.revive(v, edge) for v, edge in zip(values, places, strict=False)]

    def pull(self, cotangents: Sequence[Any], values: Sequence[Any]) -> list[Any]:
        """The cotangents of the operands in ``needs``."""
        function, n = self.function, len(self.inputs)
        operands = values[:n] if function.reads_operands else self.inputs
        results = values[-self.outputs :] if function.reads_results else self.types
        pulled = function.vjp(cotangents, operands, results)
        return [pulled[i] for i in self.needs]


@lru_cache(4096)
def _way(
    function: HostCall, inputs: tuple[Type, ...], needs: tuple[int, ...], place: device
) -> HostWay:
    """Interned: backward programs are found by the identity of their records' ways."""
    return HostWay(function, inputs, needs, place)
