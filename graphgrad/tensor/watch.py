"""Anomaly mode: every result is looked at when it is made, and the first NaN is an error.

As written, the operation that makes a NaN raises at its line, or, while gradients are computed, the
backward function that returns one. A program is run as usual; only when what it returns or
writes has a NaN is it run again, node by node, on the inputs it had, to find who made it. What lies
on a device is copied to the host to be looked at.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graphgrad import lang
from graphgrad.anomaly import EARLIER, Call, Causes, Finding, earliest, given, holds, judge, search
from graphgrad.compile import Executable, optimise
from graphgrad.errors import SUM, AnomalyError, Origin, here
from graphgrad.ir import Graph
from graphgrad.tensor.core import Tensor
from graphgrad.tensor.place import to_host
from graphgrad.tensor.state import state

Array = Any

_ON_PURPOSE = (
    "  hint: a NaN that is meant, and masked later, can be made under set_detect_anomaly(False)"
)


class Watch:
    """What a thread's anomaly mode knows: the causes of values that are not finite.

    While a backward function runs its own results are judged, as in PyTorch, and what it does
    inside is only noted.
    """

    def __init__(self) -> None:
        # The record that is being differentiated, and how many backward passes are running.
        self.record: Any = None
        self.passes = 0
        # Whether something larger is judged, and operations are only noted.
        self.quiet = False
        self._causes: dict[int, tuple[weakref.ref[Any], Causes]] = {}

    # ---------------------------------------------------------------------------------- as written

    def operation(self, name: str, arrays: Sequence[Array], result: Array) -> None:
        """A primitive ran on ``arrays``."""
        if result.dtype.kind not in "fc":
            return
        seen = to_host(result)
        if np.isfinite(seen).all():
            return
        known = [self._known(x, f"input {i}") for i, x in enumerate(arrays)]
        operands = [to_host(x) for x in arrays]
        causes = judge(Call(name, operands, seen, known, origin=self._here()))
        self._raise(earliest([causes.nan]))
        self._note(result, causes)

    def program(
        self,
        graph: Graph,
        arrays: Sequence[Array],
        results: Sequence[Array],
        own_lines: bool = False,
    ) -> None:
        """A graph ran that stands for one operation; ``own_lines``: it knows the user's lines."""
        kind = next((k for k in Causes._fields if any(_holds(k, y) for y in results)), None)
        if kind is None:
            return
        known = [self._known(x, f"input {i}") for i, x in enumerate(arrays)]
        here = None if own_lines else replace(self._here(), composite=graph.name)
        causes = [
            Causes(*(_noted(c, known, here) for c in pair))
            for pair in _search(kind, graph, arrays, known, len(results))
        ]
        self._raise(earliest(c.nan for c in causes))
        for y, pair in zip(results, causes, strict=True):
            self._note(y, pair)

    def whole(self, function: Any, args: Any, kwargs: Any) -> Any:
        """A function that is one operation to the user: only what it returns is judged."""
        if self.quiet:
            return function(*args, **kwargs)
        with self._judging(None):
            out = function(*args, **kwargs)
        self._raise(earliest([self._known(out._array, "an input").nan]))
        return out

    @contextlib.contextmanager
    def _judging(self, rec: Any) -> Iterator[None]:
        """What runs inside is a part of what is judged after it: of a backward function, say."""
        self.record, self.quiet = rec, True
        try:
            yield
        finally:
            self.record, self.quiet = None, False

    def _here(self) -> Origin:
        """The user's line, or inside a backward function that is not the user's, the forward's."""
        rec = self.record
        phase = "backward" if self.passes else ""
        if rec is None:
            return replace(here(state.module), phase=phase)
        if not rec.way.graphable:
            return replace(here(state.module), phase=phase, parent=rec.origin)
        return replace(rec.origin, phase=phase, record=rec.name())

    def _known(self, x: Array, label: str) -> Causes:
        """The causes noted for an array, or for the memory that it is a view of."""
        causes, base = given(to_host(x), label), x
        while base is not None and any(causes):
            ref, noted = self._causes.get(id(base), (None, None))
            if ref is not None and ref() is base:
                pairs = zip(causes, noted, strict=True)
                return Causes(*(None if c is None else n or c for c, n in pairs))
            base = getattr(base, "base", None)
        return causes

    def _raise(self, finding: Finding | None) -> None:
        """The error for a NaN that was made here, unless it is a backward function's to return."""
        if finding is not None and not self.quiet:
            raise AnomalyError(f"{finding.message()}\n{_ON_PURPOSE}")

    def _note(self, array: Array, causes: Causes) -> None:
        if any(causes):
            key = id(array)
            ref = weakref.ref(array, lambda _: self._causes.pop(key, None))
            self._causes[key] = (ref, causes)

    # ------------------------------------------------------------------------------------ backward

    def pull(self, rec: Any, cotangents: Sequence[Any], values: Any) -> Sequence[Any]:
        """Run a backward function, and raise PyTorch's error if it returns a NaN."""
        if self.quiet:  # a part of what is judged as a whole
            return rec.way.pull(cotangents, values)
        with self._judging(rec):
            pulled = rec.way.pull(cotangents, values)
        for number, g in zip(rec.way.numbers, pulled, strict=True):
            if isinstance(g, Tensor) and _holds("nan", g._array):
                raise AnomalyError(self._returned(rec, number, g._array))
        return pulled

    def _returned(self, rec: Any, number: int, g: Array) -> str:
        finding = self._known(g, "its incoming gradient").nan
        headline = f"Function '{rec.name()}' returned nan values in its {number}th output."
        if isinstance(finding, Finding):
            # A compiled function, or a loop, knows whose gradient inside it is bad.
            inside = finding.origin.record and (rec.way.own_lines or finding.path)
            return finding.message("" if inside else headline)
        label = finding.label if finding is not None else "an input"
        return f"{headline}\n  {label} already holds nan\n  derived from: {rec.origin.quote()}"

    def add(self, rec: Any, x: Any, y: Any) -> Any:
        """The sum of two gradients: the one step of backward that is no function's."""
        if self.quiet:
            return lang.add(x, y)
        with self._judging(rec):
            total = lang.add(x, y)
        finding = self._known(total._array, "a gradient").nan
        if isinstance(finding, Finding):
            summed = replace(finding, origin=finding.origin.of_output(SUM))
            raise AnomalyError(summed.message())
        return total

    # ------------------------------------------------------------------------------------ programs

    def run(
        self,
        executable: Executable,
        graph: Graph,
        arrays: Sequence[Array],
        labels: Sequence[str],
        outputs: int | None = None,
    ) -> list[Array]:
        """``executable(arrays)``; on a NaN in its outputs, the error, with replaced inputs intact.

        ``graph`` is what was compiled, with the user's lines; ``outputs`` says how many of its
        outputs the user gets to see.
        """
        replaced = {*executable.aliases.values(), *executable.donated}
        kept = {i: arrays[i].copy() for i in replaced}
        results = executable(arrays)
        if any(_holds("nan", y) for y in results[:outputs]):
            before = [kept.get(i, x) for i, x in enumerate(arrays)]
            known = [self._known(x, label) for x, label in zip(before, labels, strict=True)]
            finding = earliest(c.nan for c in _search("nan", graph, before, known, outputs))
            if finding is not None:
                for i, x in kept.items():
                    arrays[i][...] = x
                if finding.origin.code is None:  # an optimizer's own graph
                    finding = replace(finding, origin=self._here())
                raise AnomalyError(finding.message())
        return results


def _holds(kind: str, x: Array) -> bool:
    return holds(kind, to_host(x))


def _noted(cause: Any, known: Sequence[Causes], here: Origin | None) -> Any:
    """A cause as later operations see it: before all of theirs, and at the line of the call.

    Control flow has lines of its own, and so has a finding from before.
    """
    if not isinstance(cause, Finding) or any(cause is c for pair in known for c in pair):
        return cause
    moves = here is not None and not cause.path
    return replace(cause, order=EARLIER, origin=here if moves else cause.origin)


def _search(
    kind: str,
    graph: Graph,
    arrays: Sequence[Array],
    known: Sequence[Causes],
    outputs: int | None,
) -> list[Causes]:
    """The causes of the outputs; an error if the kernels returned a NaN that NumPy does not."""
    for candidate in (lambda: graph, lambda: optimise(graph)):  # perhaps a rewrite made it
        causes = search(candidate(), [to_host(x) for x in arrays], known)[:outputs]
        # What overflows by a rounding error may be finite here: that is no anomaly.
        if kind == "inf" or any(pair.nan is not None for pair in causes):
            return causes
    raise AnomalyError(
        f"anomaly in the kernels of {graph.name or 'a program'}: they returned nan values where "
        "NumPy, which ran the same operations one by one, finds none.\n"
        '  hint: graphgrad.config.tier = "verify" names the first kernel that differs'
    )
