"""What a Program does with one set of addresses: stretches of launches, each a CUDA graph.

    tape = Tape(walk, bases, index, seen)
    stretch = tape.at(START)
    stretch.graph.launch(stream)        # None: nothing to launch
    stretch.stop, stretch.after         # the host's part behind it, and where it goes on

The first time a program comes by a place its launches are put into the stream one by one: that
loads modules and plans calls of libraries, which may not happen while a graph is captured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .driver import driver
from .flatten import Launch, State, Stop, Walk

MOST_STRETCHES = 64  # of a tape; a loop with a part of the host's in it has some for every trip


@dataclass(frozen=True, slots=True)
class Stretch:
    """Launches up to the next part of the host's."""

    graph: Any
    stop: Stop | None
    after: State | None


@dataclass(frozen=True, slots=True)
class _Launches:
    """The same without a graph."""

    launches: list[Launch]
    index: int

    def launch(self, stream: Any) -> None:
        """Put every launch into a queue."""
        self.record(driver().queue(self.index))

    def record(self, queue: Any) -> None:
        """The same into a queue of the driver's, or a graph that is being captured."""
        gpu = driver()
        for x in self.launches:
            x.kernel.put(gpu, queue, self.index, x.grid, x.arguments)


class Tape:
    """The stretches of a program for one set of addresses."""

    def __init__(
        self,
        walk: Walk,
        bases: Sequence[int],
        index: int,
        seen: set[State],
        old: Tape | None = None,
    ) -> None:
        """``seen``: where all tapes of the program have been. Graphs are made of those of ``old``,
        which is not used any more."""
        self.walk, self.bases, self.index, self.seen = walk, bases, index, seen
        self._stretches: dict[State, Stretch] = {}
        self._old = {} if old is None else old._stretches

    def at(self, state: State) -> Stretch:
        """What runs from there on."""
        return self._stretches.get(state) or self._made(state)

    def _made(self, state: State) -> Stretch:
        launches, stop, after = self.walk.cursor(self.bases, state).stretch()
        work = _Launches(launches, self.index)
        if not launches:
            found = Stretch(None, stop, after)
        elif state not in self.seen or len(self._stretches) >= MOST_STRETCHES:
            self.seen.add(state)
            return Stretch(work, stop, after)
        else:
            found = Stretch(self._graph(state, work), stop, after)
        self._stretches[state] = found
        return found

    def _graph(self, state: State, work: _Launches) -> Any:
        old = self._old.pop(state, None)
        if old is None:
            return driver().capture(work.record, self.index)
        driver().recapture(old.graph, work.record, self.index)
        return old.graph
