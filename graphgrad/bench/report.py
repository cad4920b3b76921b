"""What was measured, as a table for people and as JSON for machines."""

from __future__ import annotations

import functools
import json
import math
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from graphgrad.profiler.tables import duration, markdown

WAYS = ("written", "compiled")


@dataclass(frozen=True)
class Row:
    """One workload: seconds of each contestant's step, medians and best.

    ``peak_flops``: what the multiply-add units of the cores that ran it were measured to do, or 0.
    """

    name: str
    seconds: dict[str, float]
    best: dict[str, float] = field(default_factory=dict)
    flops: float = 0.0
    peak_flops: float = 0.0

    def ratio(self, way: str, peer: str) -> float | None:
        """Our time over the peer's: below 1 we are faster. None where one of them did not run."""
        if way not in self.seconds or peer not in self.seconds:
            return None
        return self.seconds[way] / self.seconds[peer]

    def best_peer(self) -> str:
        """The fastest of the others, or nothing."""
        peers = [label for label in self.seconds if label not in WAYS]
        return min(peers, key=self.seconds.__getitem__, default="")

    def over_best(self) -> float | None:
        """Our compiled step's time over the fastest peer's."""
        return self.ratio("compiled", self.best_peer())

    def share(self) -> float | None:
        """How much of the measured peak our best step reached."""
        ours = [self.best[way] for way in WAYS if way in self.best]
        return self.flops / min(ours) / self.peak_flops if ours and self.peak_flops else None


@dataclass(frozen=True)
class Table:
    """All rows of a run; ``print`` it as Markdown, or write ``json()`` to a file."""

    threads: int
    rows: list[Row]
    absent: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join([*markdown(self._cells()), "", *self._summary(), *self._legend()])

    def _cells(self) -> list[list[str]]:
        ran = dict.fromkeys(label for row in self.rows for label in row.seconds)
        ways, peers = [w for w in WAYS if w in ran], [p for p in ran if p not in WAYS]
        columns: dict[str, Callable[[Row], str]] = {
            label: functools.partial(_time, label) for label in (*ways, *peers)
        }
        if peers and "compiled" in ran:
            columns["compiled/best"] = lambda row: shown(row.over_best(), ".2f")
        if "torch" in ran and "written" in ran:
            columns["written/torch"] = lambda row: shown(row.ratio("written", "torch"), ".2f")
        if any(row.share() for row in self.rows):
            columns["FMA peak"] = lambda row: shown(row.share(), ".0%")
        rows = [[row.name, *(show(row) for show in columns.values())] for row in self.rows]
        return [["", *columns], *rows]

    def geometric_mean(self) -> float | None:
        """Of compiled ÷ best peer, over the rows that have both."""
        ratios = [r for row in self.rows if (r := row.over_best()) is not None]
        return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None

    def _summary(self) -> list[str]:
        ratios = {row.name: r for row in self.rows if (r := row.over_best()) is not None}
        if not ratios:
            return []
        worst = max(ratios, key=ratios.__getitem__)
        return [
            f"compiled ÷ best peer: geometric mean {self.geometric_mean():.2f} over {len(ratios)} "
            f"rows, highest {ratios[worst]:.2f} ({worst})."
        ]

    def _legend(self) -> list[str]:
        cores = f"{self.threads} thread{'s' if self.threads != 1 else ''}"
        lines = [f"Median time of one step, {cores} ({platform.machine()})."]
        if any(row.best_peer() for row in self.rows):
            lines.append("Ratios are our time ÷ the other's: below 1 graphgrad is faster.")
        if any(row.share() for row in self.rows):
            lines.append("FMA peak: our best step's share of what the multiply-add units do.")
        return lines + [f"{name} is not installed: its column is left out." for name in self.absent]

    def json(self) -> str:
        """Every number of the run."""
        record: dict[str, Any] = asdict(self) | {
            "geometric_mean": self.geometric_mean(),
            "python": platform.python_version(),
            "machine": platform.machine(),
        }
        return json.dumps(record, indent=1)


def _time(label: str, row: Row) -> str:
    return duration(row.seconds.get(label))


def shown(number: float | None, form: str) -> str:
    return "–" if number is None else format(number, form)
