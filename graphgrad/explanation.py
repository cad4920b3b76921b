"""``gg.explain(f)``: what was traced, what is guarded, which kernels run, where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphgrad.config import config
from graphgrad.jit import Compiled, compile


@dataclass(frozen=True)
class Traced:
    """One trace: how often it ran, its graph before and after the passes, guards, kernels."""

    calls: int
    inputs: int
    mutated: int
    nodes: int
    optimised_nodes: int
    guards: tuple[str, ...]
    # Regions, kernels with their files, launches, interpreted regions, bytes; None under the
    # "interpret" tier, where there are none.
    program: Any

    def __str__(self) -> str:
        head = (
            f"trace: {_count(self.calls, 'call')}, "
            f"{self.inputs} inputs ({self.mutated} written in place), "
            f"{self.nodes} nodes traced, {self.optimised_nodes} after the passes, "
            f"{_count(len(self.guards), 'guard')}"
        )
        body = "interpreted: no kernels" if self.program is None else str(self.program)
        return "\n".join([head, *(f"  {line}" for line in body.splitlines())])


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


@dataclass(frozen=True)
class Explanation:
    """All traces of a compiled function; ``retraces`` says what changed each time."""

    name: str
    programs: tuple[Traced, ...]
    retraces: tuple[str, ...]

    @property
    def traces(self) -> int:
        """How many times Python ran."""
        return len(self.programs)

    def __str__(self) -> str:
        lines = [f"{self.name}: {_count(self.traces, 'trace')}"]
        lines += [f"  retraced because this changed: {reason}" for reason in self.retraces]
        for program in self.programs:
            lines += [f"  {line}" for line in str(program).splitlines()]
        return "\n".join(lines)

    __repr__ = __str__


def explain(function: Any, *args: Any, **kwargs: Any) -> Explanation:
    """What compiling ``function`` made.

    A function that was not compiled, or never called, is called with the arguments given here.
    """
    compiled = function if isinstance(function, Compiled) else compile(function)
    if args or kwargs or not compiled.entries:
        compiled(*args, **kwargs)
    entries = [entry for group in compiled.entries.values() for entry in group]
    return Explanation(compiled.name, tuple(map(_traced, entries)), tuple(compiled.retraces))


def _traced(entry: Any) -> Traced:
    exe = entry.executable
    return Traced(
        calls=entry.calls,
        inputs=len(entry.sources),
        mutated=len(entry.mutated),
        nodes=len(entry.graph),
        optimised_nodes=len(exe.optimised),
        guards=tuple(entry.guard.texts),
        program=None if config.tier == "interpret" else exe.explain(),
    )
