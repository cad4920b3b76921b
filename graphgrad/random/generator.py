"""Generators of random numbers, and the default one: ``manual_seed(0)``, ``fork_rng()``.

A generator is a seed and a counter of draws, held in an int64[2] tensor; inside a trace the counter
is a tensor that the program reads and writes like any other. Each device has a default generator,
whose state is in its memory; the same seed draws the same numbers on every device.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from graphgrad import lang
from graphgrad.device import CPU, device, located
from graphgrad.ir import Node
from graphgrad.tensor.core import Tensor, function, wrap
from graphgrad.tensor.place import on_device, to_device
from graphgrad.tensor.state import state
from graphgrad.trace import suspended

_MASK = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9
_STEP = np.array([0, 1], np.int64)


class Generator:
    """A stream of random numbers: ``Generator().manual_seed(0)``."""

    def __init__(self, device: Any = "cpu") -> None:
        self.device = located(device)
        self.state = wrap(to_device(np.zeros(2, np.int64), self.device))
        # What is in a device's memory, while only this object writes it: (version, values).
        self._known: tuple[int, np.ndarray] = (-1, np.zeros(2, np.int64))
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
        """Where in which stream this generator is; on the CPU."""
        apart = state.trace is None and on_device(self.state._array)
        return self.state.cpu() if apart else self.state.clone()

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
            self._write(values)

    def _write(self, values: np.ndarray) -> None:
        array, storage = self.state._array, self.state._storage
        storage.version += 1
        if on_device(array):
            array.copy_(values)
            self._known = (storage.version, values)
        else:
            array[:] = values

    def advance(self) -> Node | np.ndarray:
        """The state of the next draw (a node inside a trace); the counter moves on by one."""
        trace = state.trace
        if trace is not None:
            now = trace.node(self.state)
            trace.write(self.state, lang.add(now, lang.constant(_STEP)))
            return now
        now = self._values()
        self._write(now + _STEP)
        return now

    def _values(self) -> np.ndarray:
        """The state as NumPy memory; a device is asked only after a program has written it."""
        array = self.state._array
        if not on_device(array):
            return array.copy()
        version, values = self._known
        return values if version == self.state._storage.version else array.host()


default_generator = Generator()
default_generator.seed()


# The default generators of devices that were drawn on: GPUs, and the emulator's, by their driver.
_elsewhere: dict[tuple[Any, device], Generator] = {}


def _others() -> list[Generator]:
    """Those of the devices that can be used now."""
    if not _elsewhere:
        return []
    from graphgrad.kernels.cuda.driver import available, driver

    if not available():
        return []
    return [g for (owner, _), g in _elsewhere.items() if owner is driver()]


def generator_of(place: device) -> Generator:
    """The default generator of a device; a new one gets the seed that the CPU's had last."""
    if place is CPU:
        return default_generator
    from graphgrad.kernels.cuda.driver import driver

    key = (driver(), place)
    found = _elsewhere.get(key)
    if found is None:
        with suspended():
            found = _elsewhere[key] = Generator(place)
            found.manual_seed(default_generator.initial_seed())
    return found


@function
def manual_seed(seed: int) -> Generator:
    """Seed the default generators of every device, so that runs repeat."""
    for generator in _others():
        generator.manual_seed(seed)
    return default_generator.manual_seed(seed)


@function
def seed() -> int:
    """Seed the default generators arbitrarily; returns the seed."""
    value = default_generator.seed()
    for generator in _others():
        generator.manual_seed(value)
    return value


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


Snapshot = list[tuple[Generator, Tensor]]


def snapshot(*places: device) -> Snapshot:
    """Where the default generators are: the CPU's, those drawn on before, those of ``places``."""
    for place in places:
        generator_of(place)
    return [(g, g.get_state()) for g in (default_generator, *_others())]


def restore(kept: Snapshot) -> None:
    """Let the default generators continue where ``snapshot`` was taken."""
    for generator, where in kept:
        generator.set_state(where)


@contextlib.contextmanager
def fork_rng(devices: Any = (), enabled: bool = True, **_: Any) -> Iterator[None]:
    """Leave the default generators, after the block, as they were before."""
    before = snapshot()
    try:
        yield
    finally:
        if enabled:
            restore(before)
