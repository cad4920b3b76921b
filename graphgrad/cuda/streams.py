"""Queues of work on a device, and moments in them.

s = gg.cuda.Stream()
with gg.cuda.stream(s):
    y = f(x)                     # queued on s
gg.cuda.current_stream().wait_stream(s)
"""

from __future__ import annotations

from typing import Any

from graphgrad.cuda.devices import index_of, the_driver
from graphgrad.device import device as Device


class Stream:
    """A queue of its own: its work and that of other streams may overlap.

    ``priority``: -1 goes first where both could run.
    """

    def __init__(self, device: Any = None, priority: int = 0, **known: Any) -> None:
        index = index_of(device)
        self._stream = known.get("_stream") or the_driver().new_stream(index, priority)
        self.device, self.priority = Device("cuda", index), priority

    @property
    def cuda_stream(self) -> int:
        """The address, for other libraries."""
        return self._stream.handle

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._stream.handle

    def synchronize(self) -> None:
        """Wait until everything in the queue is done."""
        self._stream.synchronize()

    def query(self) -> bool:
        """Whether everything in the queue is done."""
        return self._stream.query()

    def wait_event(self, event: Event) -> None:
        """What is queued from now on comes after the event."""
        if event._event is not None:
            self._stream.wait(event._event)

    def wait_stream(self, stream: Stream) -> None:
        """What is queued from now on comes after all that is in ``stream`` now."""
        self._stream.wait(stream._stream)

    def record_event(self, event: Event | None = None) -> Event:
        """An event at the end of the queue as it is now."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self._stream is other._stream

    def __hash__(self) -> int:
        return hash(id(self._stream))

    def __repr__(self) -> str:
        return f"<graphgrad.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"


class Event:
    """A moment in a queue; two of them made with ``enable_timing`` measure what lies between."""

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None:
        if interprocess:
            raise NotImplementedError("events of several processes do not exist here")
        self._timing, self._blocking = enable_timing, blocking
        self._event: Any = None  # made at the first record, on the stream's device

    def record(self, stream: Stream | None = None) -> None:
        """The moment when all that is queued now is done."""
        stream = current_stream() if stream is None else stream
        if self._event is None:
            index = stream.device.index or 0
            self._event = the_driver().new_event(index, self._timing, self._blocking)
        self._event.record(stream._stream)

    def wait(self, stream: Stream | None = None) -> None:
        """What is queued on ``stream`` from now on comes after this."""
        (current_stream() if stream is None else stream).wait_event(self)

    def query(self) -> bool:
        """Whether the moment is past; one never recorded is."""
        return self._event is None or self._event.query()

    def synchronize(self) -> None:
        """Wait for the moment."""
        if self._event is not None:
            self._event.synchronize()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to ``end_event``, both recorded and past."""
        if not (self._timing and end_event._timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if self._event is None or end_event._event is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        return self._event.milliseconds_until(end_event._event)


def current_stream(device: Any = None) -> Stream:
    """Where a device's work of this thread goes."""
    index = index_of(device)
    return Stream(index, _stream=the_driver().current_stream(index))


def default_stream(device: Any = None) -> Stream:
    """Where it goes unless told otherwise: the legacy default stream."""
    index = index_of(device)
    return Stream(index, _stream=the_driver().default_stream(index))


def set_stream(stream: Stream | None) -> None:
    """Queue this thread's work on ``stream`` from now on."""
    if stream is not None:
        the_driver().set_stream(stream._stream, stream.device.index or 0)


class StreamContext:
    """``with cuda.stream(s):`` — work goes to ``s`` inside the block; None changes nothing."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream
        self._before: Stream | None = None

    def __enter__(self) -> None:
        if self.stream is not None:
            self._before = current_stream(self.stream.device)
            set_stream(self.stream)

    def __exit__(self, *_: Any) -> None:
        set_stream(self._before)


stream = StreamContext
