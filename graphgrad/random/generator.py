"""Generators of random numbers, and the default one: ``manual_seed(0)``, ``fork_rng()``.

A generator is a seed and a counter of draws, held in an int64[2] tensor; inside a trace the counter
is a tensor that the program reads and writes like any other.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from graphgrad import device as devices
from graphgrad import lang
from graphgrad.ir import Node
from graphgrad.tensor.core import Tensor, function, wrap
from graphgrad.tensor.state import state

_MASK = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9
_STEP = np.array([0, 1], np.int64)


class Generator:
    """A stream of random numbers: ``Generator().manual_seed(0)``."""

    def __init__(self, device: Any = "cpu") -> None:
        self.device = devices.device(device)
        devices.only_cpu(self.device)
        self.state = wrap(np.zeros(2, np.int64))
        self.manual_seed(67280421310721)

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream that belongs to ``seed``, any 64-bit integer."""
        whole = int(seed) & 0xFFFFFFFFFFFFFFFF
        # Draws are keyed by the seed's low word; the high word chooses where the counter starts.
        start = (whole >> 32) * _GOLDEN & _MASK
        self._set(np.array([whole, start], np.uint64).view(np.int64))
        return self

    def seed(self) -> int:
        """Start an arbitrary stream; returns its seed."""
        value = int.from_bytes(os.urandom(8), "little")
        self.manual_seed(value)
        return value

    def initial_seed(self) -> int:
        """The seed of the stream."""
        return int(self.state.concrete("initial_seed()")[0]) & 0xFFFFFFFFFFFFFFFF

    def get_state(self) -> Tensor:
        """Where in which stream this generator is."""
        return self.state.clone()

    def set_state(self, new_state: Tensor) -> None:
        """Continue where ``get_state`` was taken."""
        if state.trace is not None:
            state.trace.write(self.state, state.trace.node(new_state))
        else:
            self._set(new_state.concrete("set_state()"))

    def _set(self, values: np.ndarray) -> None:
        if state.trace is not None:
            state.trace.write(self.state, lang.constant(values))
        else:
            self.state._array[:] = values
            self.state._storage.version += 1

    def advance(self) -> Node | np.ndarray:
        """The state of the next draw (a node inside a trace); the counter moves on by one."""
        trace = state.trace
        if trace is not None:
            now = trace.node(self.state)
            trace.write(self.state, lang.add(now, lang.constant(_STEP)))
            return now
        now = self.state._array.copy()
        self.state._array[1] += 1
        self.state._storage.version += 1
        return now


default_generator = Generator()
default_generator.seed()


@function
def manual_seed(seed: int) -> Generator:
    """Seed the default generator, so that runs repeat."""
    return default_generator.manual_seed(seed)


@function
def seed() -> int:
    """Seed the default generator arbitrarily; returns the seed."""
    return default_generator.seed()


@function
def initial_seed() -> int:
    """The default generator's seed."""
    return default_generator.initial_seed()


@function
def get_rng_state() -> Tensor:
    """The default generator's state."""
    return default_generator.get_state()


@function
def set_rng_state(new_state: Tensor) -> None:
    """Set the default generator's state."""
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(devices: Any = (), enabled: bool = True, **_: Any) -> Iterator[None]:
    """Leave the default generator, after the block, as it was before."""
    before = get_rng_state()
    try:
        yield
    finally:
        if enabled:
            set_rng_state(before)
