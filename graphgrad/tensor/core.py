"""The Tensor: an array, where it came from, and what its gradient is.

``wrap(array)`` makes a tensor around NumPy memory; methods are attached by the topic modules of
this package with ``method``, ``function`` and ``both``, which also fill the namespace of
``graphgrad``.

A tensor is *eager* (``_array`` is NumPy memory) or, inside a trace, a *tracer* (``_node`` is a
Node).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from graphgrad import dtypes
from graphgrad.device import CPU
from graphgrad.device import device as Device
from graphgrad.dtypes import DType
from graphgrad.errors import TraceError, message
from graphgrad.tensor.place import device_of, to_host
from graphgrad.tensor.state import state

F = TypeVar("F", bound=Callable[..., Any])
Array = np.ndarray

# Names that `graphgrad` (torch's top level) offers; filled by the decorators below.
FUNCTIONS: dict[str, Any] = {}


if TYPE_CHECKING:

    def _operator(self: Any, other: Any) -> Tensor: ...
    def _own_operator(self: Any) -> Tensor: ...


class Storage:
    """What tensors that share memory share: how often it was written, and who the others are.

    ``shared``: memory that somebody outside may see (NumPy, another tensor), so it must stay put.
    """

    # Class attributes: a storage nobody wrote or viewed costs one empty object.
    version: int = 0
    shared: bool = False
    # In a trace: memory of an argument, which outlives the trace.
    outside: bool = False
    written: Any = None
    aliases: list[weakref.ref[Tensor]] | None = None
    generation: int = 0

    def add_alias(self, tensor: Tensor) -> None:
        """Remember ``tensor``, so that a functional write can refresh it."""
        if self.aliases is None:
            self.aliases = []
        elif len(self.aliases) >= 2 * self.generation + 8:
            self.aliases = [r for r in self.aliases if r() is not None]
            self.generation = len(self.aliases)
        self.aliases.append(weakref.ref(tensor))
        self.shared = True

    def living(self) -> list[Tensor]:
        """Every tensor over this memory that was announced and still exists."""
        return [t for r in self.aliases or () if (t := r()) is not None]


class Size(tuple):
    """A shape: a tuple that prints as ``torch.Size([2, 3])``."""

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements."""
        n = 1
        for extent in self:
            n *= extent
        return n

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"

    def __getitem__(self, index: Any) -> Any:
        item = tuple.__getitem__(self, index)
        return Size(item) if isinstance(index, slice) else item

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, tuple(other)))


class Tensor:
    """A multi-dimensional array with PyTorch's programming model.

    ``Tensor(2, 3)`` is uninitialised, ``Tensor([1, 2])`` holds the default float type; see
    ``graphgrad.tensor`` for the usual way to make one.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_array",
        "_base",
        "_chain",
        "_edge",
        "_grad",
        "_hooks",
        "_needs",
        "_node",
        "_retains",
        "_storage",
        "_trace",
    )

    _array: Any
    _node: Any
    # Whether gradients flow here, and for results, (record, output number) they come from.
    _needs: bool
    _edge: tuple[Any, int] | None
    _grad: Tensor | None
    _storage: Storage
    # A view knows the tensor whose history it follows, and the operations from the storage's root.
    _base: Tensor | None
    _chain: tuple[Any, ...]
    _hooks: Any
    _retains: bool
    _trace: Any

    __array_priority__ = 1000

    if TYPE_CHECKING:
        # What the topic modules attach, for type checkers.
        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __iter__(self) -> Iterator[Tensor]: ...
        def __len__(self) -> int: ...
        def __int__(self) -> int: ...
        def __float__(self) -> float: ...
        def __index__(self) -> int: ...

        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _operator
        __truediv__ = __rtruediv__ = __floordiv__ = __mod__ = __pow__ = __rpow__ = _operator
        __matmul__ = __and__ = __or__ = __xor__ = __lt__ = __le__ = __gt__ = __ge__ = _operator
        __lshift__ = __rshift__ = __eq__ = __ne__ = _operator  # type: ignore[assignment]
        __neg__ = __invert__ = __abs__ = _own_operator
    # A tracer that stands for a Python float does not take part in promotion as a tensor.
    is_python_number = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is not Tensor:
            # Subclasses receive the tensor (or data) they stand for, as torch's do.
            return _init(object.__new__(cls), _legacy_array(args[:1]), False)
        return wrap(_legacy_array(args))

    # ------------------------------------------------------------------------------- what it is

    @property
    def shape(self) -> Size:
        return Size((self._array if self._array is not None else self._node).shape)

    @property
    def dtype(self) -> DType:
        array = self._array
        return dtypes._BY_NUMPY[array.dtype] if array is not None else self._node.dtype

    @property
    def ndim(self) -> int:
        return len((self._array if self._array is not None else self._node).shape)

    @property
    def device(self) -> Device:
        """Where the memory is; of a value that is being traced, where the program will run."""
        array = self._array
        if array.__class__ is Array:
            return CPU
        return self._trace.device if array is None else device_of(array)

    @property
    def is_leaf(self) -> bool:
        """Whether gradients accumulate here: not the result of a recorded operation."""
        return self._edge is None

    @property
    def grad_fn(self) -> Any:
        """The record of the operation that made this tensor; None for leaves."""
        return None if self._edge is None else self._edge[0]

    @property
    def output_nr(self) -> int:
        return 0 if self._edge is None else self._edge[1]

    @property
    def _version(self) -> int:
        return self._storage.version

    @property
    def requires_grad(self) -> bool:
        return self._needs

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        self.requires_grad_(flag)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Start (or stop) gathering gradients in ``.grad``; only leaves can be changed."""
        if self._edge is not None:
            if not requires_grad:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to use "
                    "a computed variable in a subgraph that doesn't require differentiation use "
                    "var_no_grad = var.detach()."
                )
        elif requires_grad and not self.dtype.is_differentiable:
            raise RuntimeError(
                "only Tensors of floating point and complex dtype can require gradients"
            )
        self._needs = bool(requires_grad) or self._edge is not None
        return self

    @property
    def grad(self) -> Tensor | None:
        """What ``backward`` gathered here; None before the first time."""
        trace = state.trace
        if trace is not None and self._array is not None:
            trace.read_grad(self)
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            _check_grad(self, value)
        trace = state.trace
        if trace is not None and self._array is not None:
            trace.assign_grad(self)
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self.grad = None

    # Tables of tensors go by identity, though == compares elements.
    __hash__ = object.__hash__

    def concrete(self, asked: str) -> Array:
        """The elements as NumPy memory: the tensor's own, or a copy of a device's.

        Inside a trace there is neither, and the error says what to do.
        """
        return to_host(self.memory(asked))

    def memory(self, asked: str) -> Any:
        """The array that holds the elements, on the host or a device; none inside a trace."""
        if state.trace is not None:
            raise TraceError(
                message(
                    f"{asked} needs the value of a tensor that is being traced",
                    hint="a compiled function cannot depend on values: use graphgrad.where for "
                    "elements, graphgrad.cond or graphgrad.while_loop for control flow, or move "
                    "this line out of the compiled function",
                )
            )
        if self._array is None:
            raise TraceError(
                message(
                    "a tensor made while tracing is used after its trace has ended",
                    hint="return it from the compiled function instead of keeping it elsewhere",
                )
            )
        return self._array


def _check_grad(tensor: Tensor, value: Any) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"assigned grad expected to be a Tensor or None but got {type(value)}")
    if tuple(value.shape) != tuple(tensor.shape):
        raise RuntimeError(
            f"assigned grad has data of a different size: {list(value.shape)} for "
            f"{list(tensor.shape)}"
        )
    if value.dtype is not tensor.dtype:
        raise RuntimeError(
            f"assigned grad has data of a different type: {value.dtype} for {tensor.dtype}"
        )
    if state.trace is None and value.device != tensor.device:
        raise RuntimeError(
            f"assigned grad has data located on a different device: {value.device} for "
            f"{tensor.device}"
        )


def _legacy_array(args: tuple[Any, ...]) -> Array:
    """What ``Tensor(...)`` means: sizes, or data converted to the default type."""
    kind = dtypes.get_default_dtype().numpy
    if len(args) == 1 and isinstance(args[0], Tensor):
        return args[0]._array
    if len(args) == 1 and not isinstance(args[0], (int, np.integer, Size)):
        return np.array(args[0], kind)
    sizes = args[0] if len(args) == 1 and isinstance(args[0], Size) else args
    return np.zeros(sizes if sizes else (0,), kind)


def _init(t: Any, array: Any, needs: bool) -> Any:
    t._array = array
    t._node = None
    t._needs = needs
    t._edge = None
    t._grad = None
    t._storage = Storage()
    t._base = None
    t._chain = ()
    t._hooks = None
    t._retains = False
    return t


_new = object.__new__


def wrap(array: Array) -> Tensor:
    """A fresh tensor that owns ``array``."""
    t = _new(Tensor)
    t._array = array
    t._node = None
    t._needs = False
    t._edge = None
    t._grad = None
    t._storage = Storage()
    t._base = None
    t._chain = ()
    t._hooks = None
    t._retains = False
    return t


def tracer(node: Any, trace: Any) -> Tensor:
    """A tensor that stands for ``node`` while ``trace`` runs."""
    t = wrap(None)  # type: ignore[arg-type]
    t._node, t._trace = node, trace
    return t


def alias(t: Tensor, array: Any, node: Any = None) -> Tensor:
    """A tensor over the same memory: same storage and chain, no history."""
    out = wrap(array)
    if t._array is None:
        out._node, out._trace = node, t._trace
    out._storage, out._chain = t._storage, t._chain
    if t._storage.aliases is None:
        t._storage.add_alias(t)
    t._storage.add_alias(out)
    return out


# ----------------------------------------------------------------------------- how methods get here


def method(f: F) -> F:
    """Make ``f(tensor, …)`` a method of Tensor."""
    setattr(Tensor, f.__name__, f)
    return f


def function(f: F) -> F:
    """Make ``f`` a name of ``graphgrad``."""
    FUNCTIONS[f.__name__.rstrip("_") if f.__name__ in _SHADOWS else f.__name__] = f
    return f


def both(f: F) -> F:
    """A method of Tensor and a function of ``graphgrad``."""
    name = f.__name__.rstrip("_") if f.__name__ in _SHADOWS else f.__name__
    setattr(Tensor, name, f)
    FUNCTIONS[name] = f
    return f


def publish(names: tuple[str, ...], operation: Any) -> None:
    """Make ``operation`` a method and a function under each name."""
    for name in names:
        setattr(Tensor, name, operation)
        FUNCTIONS[name] = operation


# Functions that would hide a Python built-in in their module are written with an underscore.
_SHADOWS = frozenset({"sum_", "all_", "any_", "max_", "min_", "abs_", "round_", "pow_", "range_"})
