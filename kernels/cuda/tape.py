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

import numpy as np

from .driver import driver
from .flatten import Launch, State, Stop, Walk

WORD = 8
MOST_STRETCHES = 64  # of a tape; a loop with a part of the host's in it has some for every trip


@dataclass(frozen=True, slots=True)
class Stretch:
    """Launches up to the next part of the host's."""

    graph: Any
    stop: Stop | None
    after: State | None
    room: Any = None  # memory that holds tables


class _Launches:
    """The same without a graph."""

    def __init__(self, launches: list[Launch], index: int, room: Any = None) -> None:
        """``room``: memory for just such tables."""
        self.launches, self.index, self.room = launches, index, room
        words = np.array([word for x in launches for word in x.table], np.int64)
        if words.size:
            self.room = room or driver().allocate(words.nbytes, index)
            driver().copy_in(self.room.pointer, words, index, wait=False)

    def launch(self, stream: Any) -> None:
        """Put every launch into a queue."""
        self.record(driver().queue(self.index))

    def record(self, queue: Any) -> None:
        """The same into a queue of the driver's, or a graph that is being captured."""
        gpu, table = driver(), 0 if self.room is None else self.room.pointer
        for x in self.launches:
            arguments = (table, *x.arguments) if x.table else x.arguments
            x.kernel.put(gpu, queue, self.index, x.grid, arguments)
            table += WORD * len(x.table)


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
        if launches and (state not in self.seen or len(self._stretches) >= MOST_STRETCHES):
            self.seen.add(state)
            return Stretch(_Launches(launches, self.index), stop, after)
        graph, room = self._graph(state, launches) if launches else (None, None)
        found = self._stretches[state] = Stretch(graph, stop, after, room)
        return found

    def _graph(self, state: State, launches: list[Launch]) -> tuple[Any, Any]:
        """A graph, and the memory of its tables; both of an old one where there is one."""
        old = self._old.pop(state, None)
        work = _Launches(launches, self.index, old and old.room)
        if old is None:
            return driver().capture(work.record, self.index), work.room
        driver().recapture(old.graph, work.record, self.index)
        return old.graph, work.room
