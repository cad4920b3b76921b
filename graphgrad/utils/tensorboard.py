"""TensorBoard's event files, through its own writers: ``pip install tensorboardX``, or tensorboard.

    writer = SummaryWriter("runs/first")
    writer.add_scalar("loss/train", loss, step)
    writer.close()                                  # tensorboard --logdir runs

Tensors are taken as they are. With tensorboardX installed every method of its writer is there; with
the tensorboard package alone scalars, histograms and text.
"""

from __future__ import annotations

import datetime
import functools
import importlib
import importlib.util
import os
import pathlib
import platform
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["SummaryWriter"]


class SummaryWriter:
    """Writes what a training run measures into the folder ``log_dir``.

    Without ``log_dir``: ``runs/DATE_HOST`` and ``comment``. ImportError where neither package is
    installed.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: int = 120,
        filename_suffix: str = "",
    ) -> None:
        if log_dir is None:
            now = datetime.datetime.now().strftime("%b%d_%H-%M-%S")
            log_dir = pathlib.Path("runs") / f"{now}_{platform.node()}{comment}"
        self.log_dir = os.fspath(log_dir)
        options = {
            "purge_step": purge_step,
            "max_queue": max_queue,
            "flush_secs": flush_secs,
            "filename_suffix": filename_suffix,
        }
        self._writer = backend()(self.log_dir, **options)

    def get_logdir(self) -> str:
        """The folder that is written to."""
        return self.log_dir

    def add_graph(self, model: Any, input_to_model: Any = None, *_: Any, **__: Any) -> None:
        """Not there: TensorBoard draws TensorFlow's graphs. ``graphgrad.explore`` draws ours."""
        raise NotImplementedError(
            "add_graph writes TensorFlow's graphs; graphgrad.explore(model, 'model.html', input) "
            "makes a page of the compiled one"
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self._writer, name)

        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            return method(*map(plain, args), **{k: plain(v) for k, v in kwargs.items()})

        return call if callable(method) else method

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *_: Any) -> None:
        self._writer.close()


def plain(x: Any) -> Any:
    """Tensors, also inside lists and dictionaries, as NumPy arrays."""
    if hasattr(x, "detach") and hasattr(x, "numpy"):
        return x.detach().cpu().numpy()
    if isinstance(x, Mapping):
        return {key: plain(value) for key, value in x.items()}
    return type(x)(map(plain, x)) if type(x) in (list, tuple) else x


def backend() -> Any:
    """What makes writers: of tensorboardX, or of tensorboard. ImportError where neither is."""
    for name, make in (("tensorboardX", _tensorboardx), ("tensorboard", _EventFiles)):
        if importlib.util.find_spec(name):
            return make
    raise ImportError(
        "TensorBoard's files need its writer: pip install tensorboardX (or tensorboard). "
        "graphgrad.training.LivePlot draws curves without"
    )


def _tensorboardx(folder: str, **options: Any) -> Any:
    return importlib.import_module("tensorboardX").SummaryWriter(folder, **options)


class _EventFiles:
    """The few summaries that the tensorboard package can make without TensorFlow."""

    def __init__(
        self, folder: str, purge_step: int | None, max_queue: int, flush_secs: int, **suffix: str
    ) -> None:
        files = importlib.import_module("tensorboard.summary.writer.event_file_writer")
        self._event = importlib.import_module("tensorboard.compat.proto.event_pb2").Event
        self._files = files.EventFileWriter(folder, max_queue, flush_secs, **suffix)
        if purge_step is not None:
            self._add(None, purge_step, None, session_log={"status": "START"})

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        **_: Any,
    ) -> None:
        """One number of the curve ``tag``."""
        self._add(_summary("scalar")(tag, np.float32(scalar_value)), global_step, walltime)

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: Mapping[str, Any],
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """A number of each of several curves."""
        for tag, value in tag_scalar_dict.items():
            self.add_scalar(f"{main_tag}/{tag}", value, global_step, walltime)

    def add_histogram(
        self,
        tag: str,
        values: Any,
        global_step: int | None = None,
        bins: Any = None,
        walltime: float | None = None,
        **_: Any,
    ) -> None:
        """How some numbers are distributed."""
        self._add(_summary("histogram")(tag, np.asarray(values).ravel()), global_step, walltime)

    def add_text(
        self, tag: str, text: str, global_step: int | None = None, walltime: float | None = None
    ) -> None:
        """A text, in Markdown."""
        self._add(_summary("text")(tag, text), global_step, walltime)

    def _add(self, summary: Any, step: int | None, walltime: float | None, **more: Any) -> None:
        event = self._event(summary=summary, wall_time=walltime or time.time(), **more)
        if step is not None:
            event.step = int(step)
        self._files.add_event(event)

    def flush(self) -> None:
        """See that everything is in the file."""
        self._files.flush()

    def close(self) -> None:
        """Nothing more comes."""
        self._files.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("add_"):
            raise NotImplementedError(f"{name} needs tensorboardX: pip install tensorboardX")
        raise AttributeError(name)


def _summary(kind: str) -> Any:
    module = importlib.import_module(f"tensorboard.plugins.{kind}.summary_v2")
    return getattr(module, f"{kind}_pb")
