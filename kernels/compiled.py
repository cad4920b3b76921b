"""A Program with the calling convention of an Executable, whether just built or found in a file.

    outputs = compiled(arrays)          # output 0 was written into array 2
    print(compiled.program)             # its rows
    compiled.explain()                  # regions, kernels, launches, bytes

How it came about (`Making`) is asked for by reports and errors only; of a program from a file it
is worked out then.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .executor import KernelError, Runner
from .memory import empty
from .program import Program

if TYPE_CHECKING:
    from graphgrad.ir import Node
    from graphgrad.regions import Plan, Region

    from .draft import Draft
    from .usage import Usage

SMALL = 1 << 14
Type = tuple[tuple[int, ...], np.dtype]


@dataclass(frozen=True)
class Making:
    """From what a program was built: its draft, and the regions that each row computes."""

    draft: Draft
    row_regions: dict[int, tuple[Region, ...]]
    interpreted: tuple[tuple[str, str], ...]  # regions that run in Python, and why
    planned_bytes: int  # of the arena, without scratch

    @property
    def plan(self) -> Plan:
        """The regions in their order."""
        return self.draft.plan

    def drafts(self) -> list[Draft]:
        """The program's draft, then those of the graphs inside control flow."""
        found = [self.draft]
        for draft in found:  # grows while we walk it
            found.extend(inner for step in draft.steps for inner in step.inner)
        return found

    def nodes(self) -> list[Node]:
        """The nodes of the graphs that kernels compute, and copies."""
        graphs = (draft.plan.graph for draft in self.drafts())
        copies = (x for region in self._copied() for x in region.nodes)
        return [*(x for graph in graphs for x in graph.nodes), *copies]

    def regions(self) -> list[Region]:
        """All regions: of the plan, of the graphs inside it, and of copies."""
        return [*(r for draft in self.drafts() for r in draft.plan), *self._copied()]

    def homes(self) -> dict[Node, list[Region]]:
        """The regions that compute each node; of literals, constants and views those that read it.

        Literals and constants are arguments of kernels, views are part of how one reads.
        """
        found: dict[Node, list[Region]] = {}
        for region in self.regions():
            for x in region.nodes:
                found.setdefault(x, []).append(region)
        for draft in self.drafts():
            users = draft.plan.graph.users()
            for x in reversed(draft.plan.graph.nodes):
                if x not in found and x.op.name != "input":
                    readers = [r for r in draft.plan if x in r.inputs]
                    found[x] = readers or [r for y in users[x] for r in found.get(y, ())]
        return {x: list(dict.fromkeys(regions)) for x, regions in found.items()}

    def _copied(self) -> list[Region]:
        """Copies of values: into a loop's carry, or to an output."""
        drafts = self.drafts()
        starts = [start for draft in drafts for step in draft.steps for start in step.starts]
        return [x.region for x in (*starts, *(copy.step for d in drafts for copy in d.copies))]


@dataclass(frozen=True)
class Report:
    """What a compiled graph is made of, and what it runs on."""

    regions: int
    kernels: tuple[tuple[str, str], ...]
    launches: int
    interpreted: tuple[tuple[str, str], ...]
    memory: Usage
    device: str = "cpu"

    def __str__(self) -> str:
        where = "" if self.device == "cpu" else f" on {self.device}"
        wide = max((len(name) for name, _ in (*self.kernels, *self.interpreted)), default=0)
        lines = [
            f"{self.regions} regions, {self.launches} launches of {len(self.kernels)} kernels"
            f"{where}, {len(self.interpreted)} regions interpreted",
            *str(self.memory).splitlines(),
        ]
        folders: dict[str, list[str]] = {}
        for name, path in self.kernels:
            folder, _, file = path.rpartition("/")
            folders.setdefault(folder, []).append(f"  {name:<{wide}}  {file}")
        for folder, rows in folders.items():
            lines += [f"kernels in {folder}:" if folder else "kernels:", *rows]
        if self.interpreted:
            lines.append("interpreted:")
            lines += (f"  {name:<{wide}}  {why}" for name, why in self.interpreted)
        return "\n".join(lines)


class Compiled:
    """A program, how its results are made, and how it came about."""

    def __init__(
        self,
        program: Program,
        aliases: Mapping[int, int],
        types: Sequence[Type],
        making: Callable[[], Making],
    ) -> None:
        """``types`` are those of the outputs that replace no input, in their order."""
        self.program, self.types = program, tuple(types)
        self.aliases = tuple(sorted(aliases.items()))
        self.runner: Any = self._runner()
        self._making = making
        # The allocator is faster than the free list while memory need not come from the system.
        self._new = [(_maker(shape, dtype), shape, dtype) for shape, dtype in self.types]

    def _runner(self) -> Any:
        """What runs the program over its inputs and outputs."""
        return Runner(self.program, self._explain_failure)

    @functools.cached_property
    def making(self) -> Making:
        """How the program came about."""
        return self._making()

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run on C-contiguous arrays of the inputs' types."""
        outputs = [new(shape, dtype) for new, shape, dtype in self._new]
        self.runner(*arrays, *outputs)
        for position, source in self.aliases:
            outputs.insert(position, arrays[source])
        return outputs

    @property
    def results(self) -> list[Any]:
        """Of each output the input it is written into, or (how to make it, its shape, dtype)."""
        into, own = dict(self.aliases), iter(self._new)
        count = len(self.aliases) + len(self._new)
        return [into[p] if p in into else next(own) for p in range(count)]

    def _explain_failure(self, error: KernelError, buffers: Sequence[np.ndarray]) -> None:
        """Raise what the interpreter raises: inputs are unchanged, so it finds the same error."""
        from graphgrad.errors import GraphError

        from .host import raise_as_interpreted

        graph = self.making.plan.graph
        raise_as_interpreted(graph, buffers[: len(graph.inputs)])
        # A row that can fail is never grouped with others.
        (region,) = self.making.row_regions[error.row]
        where = ", ".join(str(x.origin) for x in region.nodes if x.origin.code)
        raise GraphError(f"{error} ({where or region.name})") from error

    def explain(self) -> Report:
        """Counts, sizes and files of the program."""
        from .usage import usage_of

        program, making = self.program, self.making
        planned = making.planned_bytes
        results = sum(dtype.itemsize * int(np.prod(shape)) for shape, dtype in self.types)
        return Report(
            regions=len(making.plan.regions),
            kernels=tuple((k.name, k.path) for k in program.kernels),
            launches=program.launches,
            interpreted=making.interpreted,
            memory=usage_of(
                making.draft,
                results,
                planned,
                program.arena_bytes - planned,
                program.table_bytes,
            ),
        )


def _maker(shape: tuple[int, ...], dtype: np.dtype) -> Callable[..., np.ndarray]:
    return np.empty if dtype.itemsize * int(np.prod(shape)) <= SMALL else empty
