"""Where the program of a compiled function runs, and what of it stays on the host.

device = program_device(leaves, watch)          # of the tensors it is given, or reaches
bring(trace, inputs, table, fixed)              # which inputs are copied there before a call
check_devices(trace, inputs, table, leaves)     # DeviceError: which tensor lies elsewhere
writes, host = by_place(trace, writes, table, leaves)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from graphgrad.device import CPU, device
from graphgrad.entry import Source
from graphgrad.errors import message
from graphgrad.guards import Watch
from graphgrad.ir import Node, topological
from graphgrad.tensor.core import Tensor
from graphgrad.tensor.place import DeviceError, device_of, on_device
from graphgrad.trace import Trace

Write = tuple[Node, Node]  # an input, and what is written over it


def program_device(leaves: Sequence[Any], watch: Watch) -> device | None:
    """The device of the arguments, or else of tensors and modules that the function reaches.

    None where there are none of these.
    """
    given = [x for x in leaves if isinstance(x, (Tensor, np.ndarray))]
    found = [*given, *watch.tensors.values(), *_members(watch)]
    arrays = [x._array if isinstance(x, Tensor) else x for x in found]
    return next((device_of(x) for x in arrays if on_device(x)), CPU if arrays else None)


def _members(watch: Watch) -> Iterator[Tensor]:
    """Parameters and buffers of the modules."""
    for module in watch.modules:
        for x in (*module._parameters.values(), *module._buffers.values()):
            if isinstance(x, Tensor):
                yield x


def bring(trace: Trace, inputs: Sequence[Node], table: Mapping[Node, Source], fixed: Any) -> None:
    """Have inputs that the function moves to the program's device copied there before each call.

    Those in ``fixed``, which are written or differentiated, have to be there.
    """
    for x in trace.brought:
        if x in inputs and x not in fixed:
            table[x].place = trace.device


def check_devices(
    trace: Trace, inputs: Sequence[Node], table: Mapping[Node, Source], leaves: Sequence[Any]
) -> None:
    """Raise DeviceError where an input is on another device than the program.

    Numbers, and CPU tensors of no dimension, go anywhere.
    """
    for x in inputs:
        array = _array(table[x], leaves)
        here = device_of(array)
        if here != trace.device and (here is not CPU or array.ndim):
            label = table[x].label(x.attrs["name"], x.attrs["role"])
            raise DeviceError(
                message(
                    "Expected all tensors to be on the same device, but found at least two "
                    f"devices, {trace.device} and {here}! {label} is on {here}",
                    trace.name,
                    hint="a compiled function runs on one device: move it there before the call",
                ),
                here,
            )


def by_place(
    trace: Trace, writes: Sequence[Write], table: Mapping[Node, Source], leaves: Sequence[Any]
) -> tuple[list[Write], list[Write]]:
    """What is written by the program, and what by the host beside a program on a device.

    Raises DeviceError where a CPU tensor takes what a device computes.
    """
    if trace.device is CPU:
        return list(writes), []
    there, here = [], []
    for old, new in writes:
        (there if on_device(_array(table[old], leaves)) else here).append((old, new))
    for x in topological([new for _, new in here]):
        if x in table and on_device(_array(table[x], leaves)):
            raise DeviceError(
                message(
                    f"a CPU tensor is written with what is computed on {trace.device}",
                    trace.name,
                    hint="keep it on the device, or write it outside of the compiled function",
                )
            )
    return there, here


def _array(source: Source, leaves: Sequence[Any]) -> Any:
    return source.fetch(leaves) if source.number is None else source.cell
