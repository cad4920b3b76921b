"""Where a program's memory goes: planned bytes, and what is live at the step that needs most.

usage = usage_of(plan, draft, ...)
usage.planned                      # bytes a call needs beside its inputs
print(usage)                       # the step at the peak, its live values, biggest first
"""

from __future__ import annotations

from dataclasses import dataclass

from graphgrad.ir import Node, type_text
from graphgrad.regions import ARENA, Region

from .draft import Draft, kernel_key

SHOWN = 12


@dataclass(frozen=True)
class Live:
    """A value in memory while some step runs, and where in the user's program it was written."""

    nbytes: int
    value: str
    where: str

    def __str__(self) -> str:
        return f"{size(self.nbytes):>10}  {self.value:<44} {self.where}".rstrip()


@dataclass(frozen=True)
class Usage:
    """Bytes of a program: inputs, new results, the arena, scratch, and its own tables.

    ``live`` are the values in the arena at the peak.
    """

    inputs: int
    results: int
    arena: int
    scratch: int
    tables: int
    step: int
    steps: int
    kernel: str
    where: str
    live: tuple[Live, ...]

    @property
    def planned(self) -> int:
        """What a call takes beside its inputs."""
        return self.results + self.arena + self.scratch + self.tables

    @property
    def peak(self) -> int:
        """Bytes of intermediate values at the peak: no arrangement of them takes less."""
        return sum(x.nbytes for x in self.live)

    def __str__(self) -> str:
        lines = [
            f"memory {size(self.planned)} beside {size(self.inputs)} of inputs: results "
            f"{size(self.results)}, arena {size(self.arena)}, scratch {size(self.scratch)}, "
            f"tables {size(self.tables)}"
        ]
        if self.live:
            lines.append(
                f"peak {size(self.peak)} in step {self.step + 1} of {self.steps}, "
                f"{' '.join(filter(None, (self.kernel, self.where)))}:"
            )
            lines += map(str, self.live[:SHOWN])
        if rest := self.live[SHOWN:]:
            lines.append(f"{size(sum(x.nbytes for x in rest)):>10}  in {len(rest)} smaller values")
        return "\n".join(lines)


def size(nbytes: int) -> str:
    """A number of bytes for people."""
    for unit, factor in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if nbytes >= factor:
            return f"{nbytes / factor:.1f} {unit}"
    return f"{nbytes} B"


def usage_of(draft: Draft, results: int, arena: int, scratch: int, tables: int) -> Usage:
    """The usage of a whole program; ``results`` are the bytes of its new arrays."""
    step = _peak_step(draft)
    region = draft.plan.regions[step] if step < len(draft.steps) else None
    return Usage(
        inputs=sum(x.nbytes for x in draft.plan.graph.inputs),
        results=results,
        arena=arena,
        scratch=scratch,
        tables=tables,
        step=step,
        steps=len(draft.steps),
        kernel="" if region is None else _kernel(draft, step, region),
        where="" if region is None else _where(region.outputs[-1]),
        live=_live(draft, step),
    )


def _peak_step(draft: Draft) -> int:
    """The step with most live bytes; 0 for a program without intermediate values."""
    change = [0] * (len(draft.steps) + 2)
    for life in draft.assignment.lifetimes:
        change[life.start] += life.nbytes
        change[life.stop + 1] -= life.nbytes
    live, most, found = 0, 0, 0
    for step, more in enumerate(change):
        live += more
        if live > most:
            most, found = live, step
    return found


def _kernel(draft: Draft, step: int, region: Region) -> str:
    calls = draft.steps[step].calls
    if not calls:
        return region.name
    key = kernel_key(calls[-1])
    name = getattr(key, "name", None)
    return key[0] if isinstance(key, tuple) else name or str(key)


def _where(x: Node) -> str:
    """The user's line of a node; the first known one of several."""
    return next((str(origin) for origin in x.origins if origin.code), "")


def _live(draft: Draft, step: int) -> tuple[Live, ...]:
    """What is in the arena while a step runs, biggest first, under the name it has by then."""
    born = {y: i for i, region in enumerate(draft.plan) for y in region.outputs}
    occupant: dict[int, Node] = {}
    for x, place in draft.assignment.places.items():
        if place.kind == ARENA and born.get(x, 0) <= step:
            occupant[place.index] = x
    rows = []
    for index, life in enumerate(draft.assignment.lifetimes):
        if life.start <= step <= life.stop:
            x = occupant.get(index)
            value = "working memory of control flow" if x is None else f"{x.op.name} {type_text(x)}"
            rows.append(Live(life.nbytes, value, "" if x is None else _where(x)))
    return tuple(sorted(rows, key=lambda row: -row.nbytes))
