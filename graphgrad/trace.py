"""Tracing: run Python once with tracers in place of values, and keep the graph of what it did.

    with Trace("step") as trace:
        x = trace.input((2, 3), float32, "x")      # a tracer to call functions with
        y = f(x)
    Graph([trace.node_of(x)], [trace.node_of(y)])

Tensors that exist already are lifted when they are met: each storage becomes one graph input
(``trace.captured``), whose views are derived from it. Writes are made functional: a storage has a
current node, a write through a view updates it, and views made earlier follow. ``trace.mutated``
and ``trace.grads`` list what a replay has to write back; nothing outside changes while tracing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from graphgrad import dtypes, ir
from graphgrad.device import CPU, device
from graphgrad.dtypes import DType
from graphgrad.errors import Origin, TraceError, here, message
from graphgrad.ir import Node
from graphgrad.tensor.core import Storage, Tensor, tracer
from graphgrad.tensor.inplace import undo
from graphgrad.tensor.place import DeviceError, device_of
from graphgrad.tensor.state import state


class Trace:
    """The graph being traced by this thread; use as a context manager."""

    def __init__(self, name: str = "", writes: bool = True) -> None:
        self.name = name
        # Whether tensors from outside may be written (a loop's body may not).
        self.writes = writes
        self.composite = ""
        # Where the program will run.
        self.device = CPU
        # Arguments on the CPU beside a program on a device, and those inputs on the CPU that are
        # asked for there: they are copied before each call.
        self.away: set[Storage] = set()
        self.brought: dict[Node, None] = {}
        # Copies that were asked for on the CPU: those that are returned are copied after the call.
        self.leaving: set[Storage] = set()
        self.parent: Trace | None = None
        # Tensors that became graph inputs, in the order they were met.
        self.captured: list[tuple[Tensor, Node]] = []
        # Run-time numbers: (function that reads one, its node).
        self.scalars: list[tuple[Callable[[], Any], Node]] = []
        # What ``.grad`` held when it was first read, and what it held before it was assigned.
        self.grad_reads: dict[Tensor, Tensor | None] = {}
        self.grads: dict[Tensor, Tensor | None] = {}
        # What else the trace depends on, by who says so: (about, Python text, *objects in it).
        self.conditions: dict[Any, tuple[Any, ...]] = {}
        self._grads_before: dict[Tensor, Tensor | None] = {}
        self._labels: dict[int, tuple[str, str]] = {}
        self._roots: dict[Storage, Node] = {}
        self._foreign: dict[Tensor, Node] = {}
        self._owners: dict[Storage, Tensor] = {}
        self._written: dict[Storage, None] = {}

    def __enter__(self) -> Trace:
        self.parent = state.trace
        if self.parent is not None:
            self.device = self.parent.device
        state.set_trace(self)
        self._origin = ir.set_origin(self._here)
        return self

    def __exit__(self, *_: Any) -> None:
        state.set_trace(self.parent)
        ir.set_origin(self._origin)
        for leaf, before in self._grads_before.items():
            self.grads[leaf] = leaf._grad
            leaf._grad = before

    def _here(self) -> Origin:
        return here(state.module, self.composite)

    # ------------------------------------------------------------------------------------- devices

    def settle(self, place: device) -> None:
        """Raise DeviceError where something is made on a device that the program does not run on.

        What is asked for on the CPU is made where the program runs.
        """
        if place is not CPU and place != self.device:
            raise DeviceError(
                message(
                    "Expected all tensors to be on the same device, but found at least two "
                    f"devices, {self.device} and {place}!",
                    self.name,
                    hint="a compiled function runs on one device: move it there before the call",
                ),
                place,
            )

    def bring(self, tensor: Tensor, place: device) -> bool:
        """Whether a value has to be copied to a device before the program runs, which is noted."""
        self.settle(place)
        array = tensor._array
        away = tensor._storage in self.away if array is None else device_of(array) is CPU
        if place is CPU or not away:
            return False
        self.brought[self.node(tensor)] = None
        return True

    # ------------------------------------------------------------------------------------- inputs

    def input(self, shape: Any, dtype: DType, name: str = "", role: str = "input") -> Tensor:
        """A fresh input of the graph, as a tracer."""
        return tracer(ir.input(tuple(shape), dtype, name, role), self)

    def scalar(
        self, getter: Callable[[], Any], dtype: DType | None = None, name: str = ""
    ) -> Tensor:
        """A 0-d tracer whose value ``getter()`` is read at each call of the program."""
        node = ir.input((), dtype or dtypes.get_default_dtype(), name, "scalar")
        self.scalars.append((getter, node))
        return tracer(node, self)

    def label(self, tensor: Tensor, name: str, role: str) -> None:
        """How the input that ``tensor`` may become is called, and what it is."""
        self._labels[id(tensor._storage)] = (name, role)

    def lift(self, tensor: Tensor) -> Node:
        """The current node of an existing tensor; its storage becomes an input when first met."""
        storage = tensor._storage
        root = self._roots.get(storage)
        if root is None:
            owner = _owner(tensor)
            if owner is None:
                # A view whose base is gone stands for itself.
                return self._adopt(tensor)
            root = self._capture(owner)
        return derived(root, tensor._chain)

    def _capture(self, owner: Tensor) -> Node:
        storage = owner._storage
        default = ("", "parameter" if owner._needs else "input")
        name, role = self._labels.get(id(storage), default)
        node = ir.like(owner, name, role)
        self._roots[storage], self._owners[storage] = node, owner
        self.captured.append((owner, node))
        return node

    def _adopt(self, tensor: Tensor) -> Node:
        """An input for a tensor of an enclosing trace, or for a view without a base."""
        node = self._foreign.get(tensor)
        if node is None:
            node = self._foreign[tensor] = ir.like(tensor)
            self.captured.append((tensor, node))
        return node

    # ------------------------------------------------------------------------------- values, writes

    def node(self, tensor: Tensor) -> Node:
        """What ``tensor`` stands for now."""
        if tensor._array is not None:
            return self.lift(tensor)
        if tensor._trace is self:
            return tensor._node
        if self._encloses(tensor._trace):
            return self._adopt(tensor)
        raise TraceError(
            message(
                "a tensor made while tracing is used after its trace has ended",
                hint="return it from the compiled function instead of keeping it elsewhere",
            )
        )

    def _encloses(self, other: Any) -> bool:
        outer = self.parent
        while outer is not None and outer is not other:
            outer = outer.parent
        return outer is not None

    def root(self, tensor: Tensor) -> None:
        """Follow the storage of ``tensor`` from now on: another tensor is going to share it."""
        if tensor._storage not in self._roots and tensor._array is None:
            self._roots[tensor._storage] = self.node(tensor)

    def write(self, tensor: Tensor, node: Node) -> None:
        """Make ``node`` the value of ``tensor``: of the part of its storage that it views."""
        self._check_outer(tensor)
        storage = tensor._storage
        storage.version += 1
        origin = self._here()
        storage.written = (origin.code, origin.offset)
        current = self.node(tensor)
        if storage not in self._roots:
            if tensor in self._foreign:
                raise TraceError(message("cannot write to a view whose base no longer exists"))
            tensor._node = node
            return
        root = self._roots[storage]
        assert current.shape == node.shape
        self._roots[storage] = updated(root, tensor._chain, node)
        if storage in self._owners:
            self._written[storage] = None
        for other in (tensor, *storage.living()):
            if other._array is None:
                other._node = derived(self._roots[storage], other._chain)

    def _check_outer(self, tensor: Tensor) -> None:
        inside = tensor._trace is self if tensor._array is None else self.writes
        if not inside:
            raise TraceError(
                message(
                    "the body of scan, cond or while_loop writes in place to a tensor from outside",
                    hint="return the new value from the body and assign it after the loop",
                )
            )

    @property
    def mutated(self) -> list[tuple[Tensor, Node]]:
        """Captured tensors that were written, each with its final node."""
        return [(self._owners[s], self._roots[s]) for s in self._written]

    # ------------------------------------------------------------------------------------ gradients

    def read_grad(self, leaf: Tensor) -> None:
        """Note what ``.grad`` was, if this trace has not set it: the answer depends on it."""
        if leaf not in self._grads_before and leaf not in self.grad_reads:
            self.grad_reads[leaf] = leaf._grad

    def assign_grad(self, leaf: Tensor) -> None:
        """Remember the ``.grad`` that the end of the trace restores."""
        self._grads_before.setdefault(leaf, leaf._grad)


def _owner(tensor: Tensor) -> Tensor | None:
    """A tensor over the whole storage."""
    if not tensor._chain:
        return tensor
    if tensor._base is not None and not tensor._base._chain:
        return tensor._base
    return next((t for t in tensor._storage.living() if not t._chain), None)


def derived(root: Node, chain: tuple[Any, ...]) -> Node:
    """The node of a view: its links applied to the storage's node."""
    for link in chain:
        root = ir.node(link.name, root, **link.attrs)
    return root


def updated(root: Node, chain: tuple[Any, ...], node: Node) -> Node:
    """``root`` with the part that ``chain`` views replaced by ``node``."""
    parents = [root]
    for link in chain[:-1]:
        parents.append(ir.node(link.name, parents[-1], **link.attrs))
    for parent, link in zip(reversed(parents), reversed(chain), strict=False):
        name, attrs, reads_parent = undo(link)
        node = ir.node(name, *((parent, node) if reads_parent else (node,)), **attrs)
    return node


def current() -> Trace | None:
    """The trace this thread is in."""
    return state.trace


@contextlib.contextmanager
def suspended() -> Iterator[None]:
    """Run eager code for real inside a trace (an optimizer that makes its state, say)."""
    trace, origin = state.trace, ir.set_origin(None)
    state.set_trace(None)
    try:
        yield
    finally:
        state.set_trace(trace)
        ir.set_origin(origin)
