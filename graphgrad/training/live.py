"""A plot that grows while a program trains: in a notebook under its cell, elsewhere in a file.

plot = LivePlot("loss.svg")                     # in a notebook: LivePlot()
for t in range(epochs):
    ...
    plot.add(t, loss=loss.item())
plot.close()

gg.fit(..., callbacks=[LivePlot()])             # a point an epoch
"""

from __future__ import annotations

import os
import pathlib
import time
from typing import Any

from graphgrad.errors import GraphError
from graphgrad.training.callbacks import Callback
from graphgrad.training.curves import curves


class LivePlot(Callback):
    """Curves by name, drawn again at most every ``every`` seconds.

    ``path``: an SVG file to keep up to date; None where a notebook shows the plot. ``log``: a
    logarithmic y axis, None for one where the numbers ask for it.

    Raises GraphError where there is neither a path nor a notebook, or the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        title: str = "",
        xlabel: str = "",
        log: bool | None = None,
        every: float = 0.5,
    ) -> None:
        self.path = None if path is None else pathlib.Path(path)
        self.title, self.xlabel, self.log, self.every = title, xlabel, log, every
        self.series: dict[str, tuple[list[float], list[float]]] = {}
        self._handle: Any = None
        self._drawn = 0.0
        if self.path is None and not in_notebook():
            raise GraphError(
                "LivePlot() shows itself in a notebook, and this is none\n"
                '  hint: give a file to draw into, LivePlot("loss.svg")'
            )

    def add(self, step: float | None = None, /, **values: float) -> None:
        """One point of each named curve, at ``step`` or right after the curve's last one."""
        for name, value in values.items():
            xs, ys = self.series.setdefault(name, ([], []))
            xs.append((xs[-1] + 1 if xs else 0) if step is None else float(step))
            ys.append(float(value))
        if time.monotonic() - self._drawn >= self.every:
            self.draw()

    def draw(self) -> None:
        """Show all points now."""
        self._drawn = time.monotonic()
        if self.path is not None:
            try:
                self.path.write_text(self.svg(), encoding="utf-8")
            except OSError as error:
                raise GraphError(f"cannot write {str(self.path)!r}: {error.strerror}") from error
        elif self._handle is None:
            from IPython.display import display

            self._handle = display(self, display_id=True)
        else:
            self._handle.update(self)

    def close(self) -> None:
        """Show the points that came since the last time."""
        self.draw()

    def svg(self) -> str:
        """The picture's text."""
        return curves(self.series, title=self.title, xlabel=self.xlabel, log=self.log)

    def _repr_svg_(self) -> str:
        return self.svg()

    # ---- as a callback of fit

    def on_epoch_end(self, run: Any, measured: dict[str, float]) -> None:
        self.xlabel = self.xlabel or "epoch"
        self.add(run.epoch, **measured)

    def on_train_end(self, run: Any) -> None:
        self.close()


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")
