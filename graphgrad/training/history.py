"""What a run measured, epoch by epoch, and a picture of it."""

from __future__ import annotations

import math

from graphgrad.training.curves import curves


class History(dict[str, list[float]]):
    """One list a measure, one number an epoch: ``history["val_loss"][-1]``.

    In a notebook it shows itself as curves; ``svg()`` is the picture's text.
    """

    def add(self, measured: dict[str, float]) -> None:
        """Append an epoch's numbers; a measure that is new was NaN before."""
        before = len(self)
        for name, value in measured.items():
            self.setdefault(name, [math.nan] * (before and self.epochs)).append(value)

    @property
    def epochs(self) -> int:
        """How many epochs were measured."""
        return max(map(len, self.values()), default=0)

    def svg(self, part: str = "loss") -> str:
        """The curves of all measures whose name has ``part`` in it."""
        epochs = range(1, self.epochs + 1)
        series = {name: (epochs, values) for name, values in self.items() if part in name}
        return curves(series, xlabel="epoch")

    def _repr_svg_(self) -> str:
        return self.svg()
