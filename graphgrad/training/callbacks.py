"""What happens between epochs: checkpoints, early stopping, a live plot, schedules.

class Print(Callback):
    def on_epoch_end(self, run, measured):
        print(run.epoch, measured["loss"])
"""

from __future__ import annotations

import math
import os
import pathlib
from copy import deepcopy
from typing import Any

import graphgrad as gg


class Callback:
    """Subclass with the moments you want; each receives the run (model, optimizer, epoch, …)."""

    def on_train_begin(self, run: Any) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, run: Any) -> None:
        """Before each epoch, which are counted from 1."""

    def on_batch_end(self, run: Any, loss: float) -> None:
        """After each training step, with its loss."""

    def on_epoch_end(self, run: Any, measured: dict[str, float]) -> None:
        """After each epoch, with its means of loss and metrics, ``val_…`` for validation."""

    def on_train_end(self, run: Any) -> None:
        """After the last epoch."""


class _Watching(Callback):
    """Follows one measure; ``monitor`` is val_loss where there is validation, else loss."""

    def __init__(self, monitor: str | None, mode: str | None, min_delta: float = 0.0) -> None:
        if mode not in (None, "min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', not {mode!r}")
        self.monitor, self.mode, self.min_delta = monitor, mode, min_delta
        self.best = math.nan

    def _improves(self, measured: dict[str, float]) -> bool:
        """Whether this epoch is the best so far, which is then remembered."""
        name = self.monitor or ("val_loss" if "val_loss" in measured else "loss")
        if name not in measured:
            raise ValueError(f"{name!r} was not measured; there are {', '.join(measured)}")
        # Losses are small when they are good; every other measure is large.
        falls = self.mode == "min" or (self.mode is None and "loss" in name)
        gain = (self.best - measured[name]) * (1 if falls else -1)
        if math.isnan(self.best) or gain > self.min_delta:
            self.best = measured[name]
            return True
        return False


class Checkpoint(_Watching):
    """Saves model, optimizer and history: after each epoch, or only after the best ones.

    ``{epoch}`` and names of measures in the path are filled in: "run-{epoch}-{loss:.3f}.pt".
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str | None = None,
        mode: str | None = None,
        best_only: bool = True,
    ) -> None:
        super().__init__(monitor, mode)
        self.path, self.best_only = os.fspath(path), best_only

    def on_epoch_end(self, run: Any, measured: dict[str, float]) -> None:
        if self._improves(measured) or not self.best_only:
            gg.save(run.state_dict(), self.path.format(epoch=run.epoch, **measured))


class EarlyStopping(_Watching):
    """Stops when a measure has not improved by ``min_delta`` for ``patience`` epochs."""

    def __init__(
        self,
        monitor: str | None = None,
        patience: int = 3,
        min_delta: float = 0.0,
        mode: str | None = None,
        restore_best: bool = False,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience, self.restore_best = patience, restore_best
        self.waited = 0
        self.kept: Any = None

    def on_epoch_end(self, run: Any, measured: dict[str, float]) -> None:
        if self._improves(measured):
            self.waited = 0
            if self.restore_best:
                self.kept = deepcopy(run.model.state_dict())
            return
        self.waited += 1
        run.stopped = run.stopped or self.waited >= self.patience

    def on_train_end(self, run: Any) -> None:
        if self.kept is not None:
            run.model.load_state_dict(self.kept)


class LossPlot(Callback):
    """Draws the curves so far into an SVG file after each epoch; open it in a browser."""

    def __init__(self, path: str | os.PathLike[str], part: str = "loss") -> None:
        self.path, self.part = pathlib.Path(path), part

    def on_epoch_end(self, run: Any, measured: dict[str, float]) -> None:
        self.path.write_text(run.history.svg(self.part), "utf-8")


class Schedule(Callback):
    """Steps a learning-rate schedule after each epoch, or after each batch."""

    def __init__(self, scheduler: Any, every: str = "epoch") -> None:
        if every not in ("epoch", "batch"):
            raise ValueError(f"every must be 'epoch' or 'batch', not {every!r}")
        self.scheduler, self.every = scheduler, every

    def on_batch_end(self, run: Any, loss: float) -> None:
        if self.every == "batch":
            self.scheduler.step()

    def on_epoch_end(self, run: Any, measured: dict[str, float]) -> None:
        if self.every == "batch":
            return
        if isinstance(self.scheduler, gg.optim.lr_scheduler.ReduceLROnPlateau):
            self.scheduler.step(measured.get("val_loss", measured["loss"]))
        else:
            self.scheduler.step()


class TensorBoard(Callback):
    """Writes every epoch's measures, and the loss of every batch, for TensorBoard.

    Needs tensorboardX or tensorboard; see ``graphgrad.utils.tensorboard``.
    """

    def __init__(self, log_dir: str | os.PathLike[str] | None = None, batches: bool = True) -> None:
        from graphgrad.utils.tensorboard import backend

        backend()  # says now what is missing, not after the first epoch
        self.log_dir, self.batches, self.step = log_dir, batches, 0
        self.writer: Any = None

    def on_train_begin(self, run: Any) -> None:
        from graphgrad.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(self.log_dir)

    def on_batch_end(self, run: Any, loss: float) -> None:
        self.step += 1
        if self.batches:
            self.writer.add_scalar("loss/batch", loss, self.step)

    def on_epoch_end(self, run: Any, measured: dict[str, float]) -> None:
        for name, value in measured.items():
            self.writer.add_scalar(f"epoch/{name}", value, run.epoch)

    def on_train_end(self, run: Any) -> None:
        self.writer.close()
