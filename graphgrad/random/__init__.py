"""Random numbers: generators, seeds, and tensors drawn from them.

    gg.manual_seed(0); gg.rand(2, 3); gg.randn(5); x.uniform_(-1, 1); gg.randperm(10)

A generator is a seed and a counter of draws; what it draws is a pure function of both, so a run
repeats, and draws the same numbers as written and compiled.
"""

from graphgrad.random import creation, inplace
from graphgrad.random.generator import (
    Generator,
    default_generator,
    fork_rng,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)
from graphgrad.random.laws import LAWS, draw
