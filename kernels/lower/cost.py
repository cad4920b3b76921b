"""How long things take, roughly, on one core: enough to cut work into chunks.

Everything here depends on sizes alone, so results do not depend on the machine or its threads.
"""

from __future__ import annotations

import math

from .schedule import Schedule

CHUNK_NS = 16_000  # a launch costs about 1.3 µs, and 5 where a thread of the team fell asleep
MAX_CHUNKS = 256

# Nanoseconds per element in a vectorised loop.
_NS = {
    **dict.fromkeys(["add", "sub", "mul", "neg", "abs", "where", "maximum", "minimum"], 0.03),
    **dict.fromkeys(["div", "sqrt", "rsqrt", "reciprocal"], 0.15),
    **dict.fromkeys(["exp", "log", "sigmoid", "sin", "cos", "tanh", "erf", "pow"], 0.25),
    **dict.fromkeys(["load", "cast", "reduce"], 0.08),
    **dict.fromkeys(["checked", "running"], 1.0),
    **dict.fromkeys(["literal", "scalar"], 0.0),
    "philox": 1.0,
}
# What is rather read again, if it was stored, than computed again.
EXPENSIVE = frozenset(
    "exp expm1 log log1p log2 sin cos tan tanh sinh cosh asin acos atan asinh acosh atanh erf erfc "
    "sigmoid pow atan2 floor_div remainder fmod word checked".split()
)
_OTHER, _STORE = 0.1, 0.15


def nanoseconds(schedule: Schedule) -> float:
    """Estimated time of all iterations on one core."""
    total = 20.0
    for v in schedule.values:
        axes = v.axes if v.op != "reduce" else v.args[0].axes
        total += math.prod(axis.size for axis in axes) * _NS.get(v.op, _OTHER)
    for s in schedule.stores:
        total += math.prod(axis.size for axis in s.axes) * _STORE
    return total


def is_shared(ns: float) -> bool:
    """Whether work of about ``ns`` is worth the attention of a second thread."""
    return ns >= 2 * CHUNK_NS


def grain(iterations: int, ns: float, most: int = MAX_CHUNKS) -> int:
    """Iterations per chunk: chunks of at least CHUNK_NS, ``most`` of them; 0 for a single one."""
    chunks = max(1, min(MAX_CHUNKS, most, iterations, int(ns / CHUNK_NS)))
    return 0 if chunks == 1 else -(-iterations // chunks)
