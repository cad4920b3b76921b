"""Spans of time as a Chrome trace: JSON that Perfetto (ui.perfetto.dev) and chrome://tracing open.

The format is Google's "Trace Event Format": an object with ``traceEvents``, here metadata events
(``"ph": "M"``) that name process and threads, and complete events (``"ph": "X"``) with a start
``ts`` and a length ``dur`` in microseconds.
"""

from __future__ import annotations

import json
import os
import pathlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphgrad.errors import GraphError


@dataclass(frozen=True)
class Span:
    """What took from ``begin`` to ``end``, seconds of one clock; ``args`` are details."""

    name: str
    begin: float
    end: float
    category: str = "kernel"
    args: Mapping[str, Any] = field(default_factory=dict)
    thread: int = field(default_factory=threading.get_native_id)

    @property
    def seconds(self) -> float:
        return self.end - self.begin


def chrome_trace(spans: Sequence[Span], name: str, about: Mapping[str, Any] | None = None) -> str:
    """The JSON text; times count from the first span."""
    start = min((span.begin for span in spans), default=0.0)
    process = os.getpid()
    threads = dict.fromkeys(span.thread for span in spans)
    events: list[dict[str, Any]] = [_named("process_name", f"graphgrad: {name}", process)]
    events += [_named("thread_name", f"thread {t}", process, t) for t in threads]
    events += (_complete(span, start, process) for span in spans)
    return json.dumps(
        {"traceEvents": events, "displayTimeUnit": "ns", "otherData": dict(about or {})},
        ensure_ascii=False,
    )


def _named(what: str, name: str, process: int, thread: int = 0) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": process, "tid": thread, "args": {"name": name}}


def _complete(span: Span, start: float, process: int) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": span.name,
        "cat": span.category,
        "ts": round((span.begin - start) * 1e6, 3),
        "dur": round(max(span.seconds, 0.0) * 1e6, 3),
        "pid": process,
        "tid": span.thread,
        "args": dict(span.args),
    }


def total(spans: Iterable[Span]) -> float:
    """The seconds of some spans together."""
    return sum(span.seconds for span in spans)


def write(path: str | os.PathLike[str], text: str) -> None:
    """Save text, or say why it cannot be saved."""
    try:
        pathlib.Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise GraphError(f"cannot write {os.fspath(path)!r}: {error.strerror}") from error
