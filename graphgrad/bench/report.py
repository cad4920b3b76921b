"""What was measured, as a table for people and as JSON for machines."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field
from typing import Any

WAYS = ("written", "compiled")
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


@dataclass(frozen=True)
class Row:
    """One workload: the median seconds of each contestant's step."""

    name: str
    seconds: dict[str, float]
    flops: float = 0.0

    def ratio(self, way: str, peer: str) -> float | None:
        """How many times as fast as the peer; None where one of them did not run."""
        if way not in self.seconds or peer not in self.seconds:
            return None
        return self.seconds[peer] / self.seconds[way]


@dataclass(frozen=True)
class Table:
    """All rows of a run; ``print`` it, or write ``json()`` to a file.

    ``peak_flops``: what the multiply-add units of ``threads`` cores were measured to do, or 0.
    """

    threads: int
    rows: list[Row]
    absent: list[str] = field(default_factory=list)
    peak_flops: float = 0.0

    def __str__(self) -> str:
        ran = list(dict.fromkeys(label for row in self.rows for label in row.seconds))
        ways, peers = [w for w in WAYS if w in ran], [p for p in ran if p not in WAYS]
        pairs = [(way, peer) for peer in peers for way in ways]
        width = max(len(row.name) for row in self.rows) + 1
        heads = [*ways, *peers, *(f"{way}/{peer}" for way, peer in pairs)]
        lines = [" " * width + "".join(f"{head:>16}" for head in heads)]
        for row in self.rows:
            cells = [duration(row.seconds.get(label)) for label in (*ways, *peers)]
            cells += [_times(row.ratio(way, peer)) for way, peer in pairs]
            cells += [self._rate(row)] if row.flops else []
            lines.append(f"{row.name:{width}}" + "".join(f"{cell:>16}" for cell in cells))
        lines += ["", f"Median time of a step on {self.threads} threads ({platform.machine()}); "]
        lines[-1] += "a ratio above 1 means that graphgrad is faster."
        lines += (f"{name} is not installed: its column is left out." for name in self.absent)
        return "\n".join(lines)

    def _rate(self, row: Row) -> str:
        rate = row.flops / min(row.seconds[way] for way in WAYS if way in row.seconds)
        share = f", {rate / self.peak_flops:.0%} of FMA peak" if self.peak_flops else ""
        return f"   {rate / 1e9:,.0f} GFLOP/s{share}"

    def json(self) -> str:
        """Every number of the run."""
        record: dict[str, Any] = asdict(self) | {
            "python": platform.python_version(),
            "machine": platform.machine(),
        }
        return json.dumps(record, indent=1)


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}×"


def duration(seconds: float | None) -> str:
    """Three digits and a unit: ``42.0 µs``; a dash for what was not run."""
    if seconds is None:
        return "–"
    scale, unit = next((u for u in _UNITS if seconds >= u[0]), _UNITS[-1])
    return f"{seconds / scale:.3g} {unit}"
