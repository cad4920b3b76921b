"""What ``bench --device cuda`` found: for people, and as JSON."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field

import graphgrad
from graphgrad.bench.cuda_card import Card
from graphgrad.bench.report import WAYS, duration, markdown, shown


@dataclass(frozen=True)
class Check:
    """One workload on the device beside the CPU: the largest difference over its first steps."""

    name: str
    steps: int
    difference: float
    agrees: bool
    error: str = ""

    def __str__(self) -> str:
        what = self.error or f"{self.difference:.1e} apart over {self.steps} steps"
        return f"{'agrees' if self.agrees else 'DIFFERS'}  {self.name:<24} {what}"


@dataclass(frozen=True)
class DeviceRow:
    """One workload: seconds of each contestant's step, medians and best.

    ``apart``: how far each one's results were from the compiled step's.
    """

    name: str
    seconds: dict[str, float]
    best: dict[str, float]
    flops: float = 0.0
    nbytes: int = 0
    apart: dict[str, float] = field(default_factory=dict)

    def over_best(self) -> float | None:
        """Our compiled step's time over the fastest peer's."""
        peers = [s for label, s in self.seconds.items() if label not in WAYS]
        return self.seconds["compiled"] / min(peers) if peers else None

    def bandwidth(self) -> float | None:
        """Bytes a second of the compiled step, counting what has to be moved."""
        return self.nbytes / self.seconds["compiled"] if self.nbytes else None

    def rate(self) -> float | None:
        """Operations a second of the compiled step."""
        return self.flops / self.seconds["compiled"] if self.flops else None


@dataclass(frozen=True)
class Run:
    """All of a run; ``print`` it, or write ``json()`` to a file."""

    card: Card
    checks: list[Check]
    rows: list[DeviceRow]
    absent: list[str]

    @property
    def agrees(self) -> bool:
        """Whether every check did."""
        return all(check.agrees for check in self.checks)

    def __str__(self) -> str:
        parts = [str(self.card)]
        if self.checks:
            count = sum(check.agrees for check in self.checks)
            parts.append(f"{count} of {len(self.checks)} workloads agree with the CPU")
            parts += map(str, self.checks)
        if self.rows:
            parts += ["", *markdown(self._cells()), "", "Median time of one step, by events."]
        if self.card.emulated:
            parts.append("On the emulator nothing is timed: it says what is right, not how fast.")
        parts += [f"{name} is not installed for CUDA: it is left out." for name in self.absent]
        return "\n".join(parts)

    def _cells(self) -> list[list[str]]:
        labels = list(dict.fromkeys(label for row in self.rows for label in row.seconds))
        head = ["", *labels, "compiled/best", "GB/s", "of copy", "TFLOP/s", "of matmul"]
        return [head, *(self._row(row, labels) for row in self.rows)]

    def _row(self, row: DeviceRow, labels: list[str]) -> list[str]:
        bandwidth, rate = row.bandwidth(), row.rate()
        return [
            row.name,
            *(duration(row.seconds.get(label)) for label in labels),
            shown(row.over_best(), ".2f"),
            shown(bandwidth and bandwidth / 1e9, ",.0f"),
            shown(bandwidth and bandwidth / self.card.copy_bandwidth, ".0%"),
            shown(rate and rate / 1e12, ".1f"),
            shown(rate and rate / self.card.matmul_rate, ".0%"),
        ]

    def json(self) -> str:
        """Every number of the run; ``timings`` says whether they mean anything."""
        record = {
            "card": self.card.json(),
            "timings": "the emulator's, meaningless" if self.card.emulated else "the card's",
            "agrees": self.agrees,
            "checks": [asdict(check) for check in self.checks],
            "rows": [asdict(row) for row in self.rows],
            "absent": self.absent,
            "graphgrad": graphgrad.__version__,
            "python": platform.python_version(),
        }
        return json.dumps(record, indent=1)
