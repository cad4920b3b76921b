"""``fit``: train a model in one call; the loop that it runs is written in public names only.

history = gg.fit(model, (x, y), loss="cross_entropy", optimizer="Adam", epochs=5,
                 metrics=["accuracy"], validation=0.1, callbacks=[EarlyStopping(patience=2)])
"""

from graphgrad.training.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    LossPlot,
    Schedule,
    TensorBoard,
)
from graphgrad.training.curves import curves
from graphgrad.training.fit import Run, fit
from graphgrad.training.history import History
from graphgrad.training.live import LivePlot

__all__ = [
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "LivePlot",
    "LossPlot",
    "Run",
    "Schedule",
    "TensorBoard",
    "curves",
    "fit",
]
