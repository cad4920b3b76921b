"""The generators of the GPUs: each has one of its own, whose draws equal the CPU's of that seed."""

from __future__ import annotations

import importlib
from typing import Any

from graphgrad.cuda.devices import device_count, index_of, is_available
from graphgrad.device import device as Device


def _generator(device: Any = None) -> Any:
    random = importlib.import_module("graphgrad.random.generator")
    return random.generator_of(Device("cuda", index_of(device)))


def manual_seed(seed: int) -> None:
    """Seed the current device's generator; without a GPU there is nothing to do."""
    if is_available():
        _generator().manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Seed every device's generator; without a GPU there is nothing to do."""
    for index in range(device_count()):
        _generator(index).manual_seed(seed)


def seed() -> None:
    """Seed the current device's generator arbitrarily."""
    if is_available():
        _generator().seed()


def seed_all() -> None:
    """Seed every device's generator with one arbitrary number."""
    if is_available():
        manual_seed_all(_generator().seed())


def initial_seed() -> int:
    """The seed of the current device's generator."""
    return _generator().initial_seed()


def get_rng_state(device: Any = "cuda") -> Any:
    """Where in which stream of numbers a device's generator is."""
    return _generator(device).get_state()


def set_rng_state(new_state: Any, device: Any = "cuda") -> None:
    """Continue where ``get_rng_state`` was taken."""
    _generator(device).set_state(new_state)
