"""Where time goes: ``gg.profile(step)`` by kernel, ``profiler.profile()`` around any code.

The names are torch.profiler's; ``graphgrad.profile`` is the function in ``profiler.step``.
"""

from __future__ import annotations

from graphgrad.profiler.session import (
    ProfilerAction,
    ProfilerActivity,
    profile,
    record_function,
    schedule,
    tensorboard_trace_handler,
)

__all__ = [
    "ProfilerAction",
    "ProfilerActivity",
    "profile",
    "record_function",
    "schedule",
    "tensorboard_trace_handler",
]
