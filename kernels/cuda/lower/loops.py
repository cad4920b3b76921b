"""Grid calls for some stores: points, tiles of a transpose, or groups of threads that reduce."""

from __future__ import annotations

from collections.abc import Sequence

from graphgrad.axes import Axis
from graphgrad.regions import Region

from ...lower.schedule import Schedule, Store
from ...lower.values import Trace
from ..call import GridCall
from .groups import lower_groups
from .points import lower_points
from .tiles import lower_tiles


def lower_stores(
    name: str,
    about: str,
    stores: Sequence[Store],
    trace: Trace,
    serial: Sequence[Axis] = (),
    atomic: str = "",
    scratch: int = 0,
) -> list[GridCall]:
    """Grid calls that write all stores; ``serial`` axes are walked in order, by one thread.

    ``atomic`` is what stores do that add, ``scratch`` the bytes that the region's calls share.
    """
    schedule = Schedule.of(stores, serial)
    if schedule.inner:
        return lower_groups(name, about, schedule, trace)
    if schedule.crossed and not atomic and not scratch:
        return [lower_tiles(name, about, schedule)]
    return [lower_points(name, about, schedule, atomic, scratch)]


def summary(region: Region) -> str:
    """What a region computes, for the reader of its kernels: operations alone, no shapes."""
    names = [x.op.name for x in region.nodes if x.op.kind != "source"]
    lines, line = [], ""
    for name in names:
        if len(line) + len(name) > 90:
            lines.append(line.rstrip())
            line = ""
        line += f"{name}, "
    return "\n".join([*lines, line]).rstrip(", ")
