"""Writing into tensors: ``add_`` and its kin, and what a write means for history and views.

Every in-place operation is its out-of-place twin followed by ``assign``: the value goes into the
memory (or, in a trace, into the graph), the history of the result becomes the tensor's, and the
storage's version is counted up, so that a record that saved the old value notices. A write through
a view becomes an update of its base, and every living view of that base follows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphgrad.errors import TraceError, is_ours, message
from graphgrad.ops import broadcast_shapes
from graphgrad.tensor import plan as plans
from graphgrad.tensor.core import FUNCTIONS, Tensor, both, method, publish, wrap
from graphgrad.tensor.place import common_device, device_of, on_device, to_device
from graphgrad.tensor.plan import Plan, Type, attach
from graphgrad.tensor.state import no_grad, state

_frame = sys._getframe
ndarray = np.ndarray


def assign(t: Tensor, new: Tensor) -> Tensor:
    """Make ``new`` the value and history of ``t``; returns ``t``.

    Raises RuntimeError for leaves that require grad, results that do not fit, and memory where
    several elements share a place.
    """
    check_writable(t)
    new = _fitting(t, new)
    if t._array is None or state.trace is not None:
        _check_traced(t)
        state.trace.write(t, state.trace.node(new))
    else:
        _store(t, new)
    if state.grad and (t._needs or new._needs):
        _rebase(t, new)
    return t


def check_writable(t: Tensor) -> None:
    """The error for writing to a leaf (or a view of one) that is waiting for gradients."""
    if not (state.grad and t._needs):
        return
    if t._edge is None:
        raise RuntimeError(
            "a leaf Variable that requires grad is being used in an in-place operation."
        )
    if t._base is not None and t._base._needs and t._base._edge is None:
        raise RuntimeError(
            "a view of a leaf Variable that requires grad is being used in an in-place operation."
        )


def _fitting(t: Tensor, new: Tensor) -> Tensor:
    if new.dtype is not t.dtype:
        if new.dtype.category > t.dtype.category:
            raise RuntimeError(
                f"result type {_spelled(new)} can't be cast to the desired output type "
                f"{_spelled(t)}"
            )
        new = new.to(t.dtype)
    if tuple(new.shape) != tuple(t.shape):
        shape = broadcast_shapes("copy_", (t, new))
        if shape != tuple(t.shape):
            raise RuntimeError(
                f"output with shape {list(t.shape)} doesn't match the broadcast shape {list(shape)}"
            )
        new = new.expand(t.shape)
    return new


def _spelled(t: Tensor) -> str:
    return {"float32": "Float", "float64": "Double", "int64": "Long", "int32": "Int"}.get(
        t.dtype.name, t.dtype.name.capitalize()
    )


def _store(t: Tensor, new: Tensor) -> None:
    """Overwrite the memory; a record that read its own target keeps the old values."""
    storage = t._storage
    rec = new._edge[0] if new._edge is not None else None
    if t._array.__class__ is not ndarray or new._array.__class__ is not ndarray:
        common_device("an in-place operation", (t._array, new._array), (t, new))
    if rec is not None and any(s is storage for s in rec.stamps):
        if not storage.shared and not new._storage.shared and _owns(new._array):
            # Nobody else can see the old memory, so it need not be copied.
            wrote(t)
            t._array = new._array
            rec.moved(storage, new._array)
            return
        rec.keep_own(storage)
    wrote(t)
    target = writable(t)
    if target.__class__ is ndarray or not on_device(target):
        np.copyto(target, new._array)
    else:
        target.copy_(new._array)


def _owns(array: Any) -> bool:
    return array.base is None if on_device(array) else array.flags.owndata


def writable(t: Tensor) -> Any:
    """The memory of ``t``, or PyTorch's error where several elements share one place."""
    array = t._array
    if array.__class__ is ndarray or not on_device(array):
        repeated = not array.flags.writeable
    else:
        repeated = _overlaps(array.shape, array.strides)
    if repeated:
        raise RuntimeError(_OVERLAP)
    return array


def _overlaps(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether a dimension's step does not reach past what the smaller steps walk over."""
    reach = 0
    for step, n in sorted((s, n) for n, s in zip(shape, strides, strict=True) if n > 1):
        if step <= reach:
            return True
        reach += step * (n - 1)
    return False


_OVERLAP = (
    "unsupported operation: more than one element of the written-to tensor refers to a "
    "single memory location. Please clone() the tensor before performing the operation."
)


def _check_traced(t: Tensor) -> None:
    """The same error for a traced view that would repeat elements."""
    if t._array is None:
        view = plans.layout(t)
        if view is not None and any(
            n > 1 and s == 0 for n, s in zip(view.shape, view.strides, strict=True)
        ):
            raise RuntimeError(_OVERLAP)


def wrote(t: Tensor) -> None:
    """Count the write, and note the line for the error of whoever still needs the old value."""
    storage = t._storage
    storage.version += 1
    frame = _frame(2)
    while frame is not None and is_ours(frame.f_code.co_filename):
        frame = frame.f_back  # type: ignore[assignment]
    if frame is not None:
        storage.written = (frame.f_code, frame.f_lasti)


# ------------------------------------------------------------------------------------------ history


def _rebase(t: Tensor, new: Tensor) -> None:
    """Give ``t`` the history of ``new``; through a view, give it to the base and all its views."""
    base = t._base
    root = t if base is None else base
    if state.trace is not None and (root._array is not None or t._storage.outside):
        raise TraceError(
            message(
                "a compiled function gives a tensor from outside a history by writing to it",
                hint="return the new value instead, or write under no_grad()",
            )
        )
    if not new._needs:
        new = _overwriting(t, new)
    if base is None:
        t._needs, t._edge = new._needs, new._edge
        _follow(t)
        return
    links = t._chain[len(base._chain) :]
    updated = _updated(_shadow(base), links, new)
    base._needs, base._edge = True, updated._edge
    _follow(base)


def _overwriting(t: Tensor, new: Tensor) -> Tensor:
    """``new`` as a result of ``t`` that does not depend on it: ``t`` still requires a gradient."""
    whole = Type(tuple(t.shape), t.dtype)
    attrs = {"start": (0,) * t.ndim, "step": (1,) * t.ndim}
    plan = plans.find("slice_update", attrs, (whole, whole), device_of(t._array))
    return _linked("slice_update", attrs, [_shadow(t), new], plan)


def _shadow(t: Tensor) -> Tensor:
    """A tensor of the same value and history that no write will reach."""
    out = wrap(t._array)
    out._node = t._node
    if t._array is None:
        out._trace = t._trace
    out._needs, out._edge = t._needs, t._edge
    return out


def _follow(base: Tensor) -> None:
    """Every living view of ``base`` gets the history that viewing it now would give."""
    for view in base._storage.living():
        if view._base is base:
            current = _shadow(base)
            for link in view._chain[len(base._chain) :]:
                current = _linked(link.name, link.attrs, [current], link)
            view._needs, view._edge = current._needs, current._edge


def _linked(name: str, attrs: dict[str, Any], inputs: list[Tensor], plan: Plan) -> Tensor:
    """The record of an operation whose value is in memory already: its gradient reads none."""
    out = wrap(np.empty(plan.shape, plan.dtype.numpy) if _is_small(plan) else _hollow(plan))
    attach(plan, inputs, [None] * len(inputs), out)
    return out


def _is_small(plan: Plan) -> bool:
    return plan.shape == ()


def _hollow(plan: Plan) -> np.ndarray:
    """An array of the right type and shape that occupies one element."""
    return np.broadcast_to(np.empty((), plan.dtype.numpy), plan.shape)


def _updated(base: Tensor, links: tuple[Plan, ...], new: Tensor) -> Tensor:
    """``base`` with the part that ``links`` select replaced by ``new``, as records."""
    parents = [base]
    for link in links[:-1]:
        parents.append(_linked(link.name, link.attrs, [parents[-1]], link))
    for parent, link in zip(reversed(parents), reversed(links), strict=True):
        new = _linked_update(parent, link, new)
    return new


def _linked_update(parent: Tensor, link: Plan, new: Tensor) -> Tensor:
    name, attrs, reads_parent = undo(link)
    operands = [parent, new] if reads_parent else [new]
    types = tuple(Type(tuple(x.shape), x.dtype) for x in operands)
    return _linked(name, attrs, operands, plans.find(name, attrs, types, link.device))


def undo(link: Plan) -> tuple[str, dict[str, Any], bool]:
    """The operation that puts a view's new value back into what it views.

    Returns (primitive, attributes, whether it also reads the old value of what is viewed).
    """
    shape = link.inputs[0].shape
    if link.name == "reshape":
        return "reshape", {"shape": shape}, False
    if link.name == "permute":
        axes = link.attrs["axes"]
        return "permute", {"axes": tuple(axes.index(a) for a in range(len(axes)))}, False
    if link.name == "slice":
        return "slice_update", {"start": link.attrs["start"], "step": link.attrs["step"]}, True
    if link.name == "view_as_real":
        return "view_as_complex", {}, False
    if link.name == "view_as_complex":
        return "view_as_real", {}, False
    raise RuntimeError(
        "unsupported operation: more than one element of the written-to tensor refers to a single "
        "memory location. Please clone() the tensor before performing the operation."
    )


# ------------------------------------------------------------------------------------------ methods


def _arithmetic(name: str, ufunc: Any) -> Callable[..., Tensor]:
    """``add_`` and its kin; without gradients NumPy writes straight into the memory."""

    def operation(self: Tensor, other: Any, **options: Any) -> Tensor:
        x = self._array
        if x.__class__ is not ndarray or not state.plain or options:
            return assign(self, FUNCTIONS[name](self, other, **options))
        if isinstance(other, Tensor):
            y = other._array
            records = (self._needs or other._needs) and state.grad
            fits = y.dtype is x.dtype
        else:
            y, records = other, self._needs and state.grad
            fits = other.__class__ is float or other.__class__ is int
            fits = fits and x.dtype.kind == "f"
        if records or not fits or not x.flags.writeable:
            return assign(self, FUNCTIONS[name](self, other))
        try:
            ufunc(x, y, x)
        except ValueError:
            return assign(self, FUNCTIONS[name](self, other))
        wrote(self)
        return self

    operation.__name__ = f"{name}_"
    return operation


def _twin(name: str) -> Callable[..., Tensor]:
    """The in-place form of a function of the namespace."""

    def operation(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_writable(self)
        return assign(self, FUNCTIONS[name](self, *args, **kwargs))

    operation.__name__ = f"{name}_"
    operation.__doc__ = f"In-place version of ``{name}``."
    return operation


_ARITHMETIC = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.true_divide}
_TWINS = """
abs absolute neg negative sign exp exp2 expm1 log log1p log2 log10 sin cos tan tanh sinh cosh asin
acos atan asinh acosh atanh erf erfc sqrt rsqrt reciprocal sigmoid square floor ceil round trunc
frac pow float_power floor_divide remainder fmod atan2 eq ne lt le gt ge logical_not logical_and
logical_or logical_xor bitwise_not bitwise_and bitwise_or bitwise_xor clamp clip clamp_min clamp_max
lerp addcmul addcdiv masked_fill masked_scatter scatter scatter_add index_add index_copy index_fill
index_put cumsum cumprod tril triu nan_to_num deg2rad rad2deg hypot copysign logit addmm addmv addr
baddbmm xlogy
""".split()
_TWINS += (
    "greater greater_equal less less_equal not_equal arccos arccosh arcsin arcsinh arctan".split()
)
_TWINS += "arctan2 arctanh fix sgn sinc heaviside addbmm renorm erfinv lgamma digamma".split()
_TWINS += ["bitwise_left_shift", "bitwise_right_shift"]
_ALIASES = {"subtract_": "sub_", "multiply_": "mul_", "divide_": "div_", "true_divide_": "div_"}
_OPERATORS = {
    "iadd": "add_",
    "isub": "sub_",
    "imul": "mul_",
    "itruediv": "div_",
    "ifloordiv": "floor_divide_",
    "imod": "remainder_",
    "ipow": "pow_",
    "iand": "bitwise_and_",
    "ior": "bitwise_or_",
    "ixor": "bitwise_xor_",
    "ilshift": "bitwise_left_shift_",
    "irshift": "bitwise_right_shift_",
}

for _name, _ufunc in _ARITHMETIC.items():
    publish((f"{_name}_",), _arithmetic(_name, _ufunc))
for _name in _TWINS:
    publish((f"{_name}_",), _twin(_name))
for _alias, _name in _ALIASES.items():
    publish((_alias,), getattr(Tensor, _name))
for _name, _target in _OPERATORS.items():
    setattr(Tensor, f"__{_name}__", getattr(Tensor, _target))


@method
def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Overwrite with the elements of ``src``, converted and broadcast."""
    check_writable(self)
    if not isinstance(src, Tensor):
        src = FUNCTIONS["as_tensor"](src, device=self.device)
    if src._array.__class__ is not self._array.__class__:
        src = src.to(self.device)
    return assign(self, _arriving(src.to(self.dtype)))


def _arriving(source: Tensor) -> Tensor:
    """``source`` with a record of its own, so that it does not share hooks with the target."""
    return source.clone() if source._needs and state.grad else source


@both
def fill_(self: Tensor, value: Any) -> Tensor:
    """Set every element to ``value``."""
    check_writable(self)
    value = value if isinstance(value, Tensor) else self.new_full((), value)
    if value._array.__class__ is not self._array.__class__:
        value = value.to(self.device)
    return assign(self, _arriving(value.to(self.dtype)))


@both
def zero_(self: Tensor) -> Tensor:
    """Set every element to 0."""
    return fill_(self, 0)


@method
def fill_diagonal_(self: Tensor, fill_value: Any) -> Tensor:
    """Set the main diagonal to ``fill_value``."""
    self.diagonal().fill_(fill_value)
    return self


@both
def detach_(self: Tensor) -> Tensor:
    """Forget the history of this tensor."""
    self._edge, self._needs = None, False
    return self


@method
def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replace every element by what a Python function makes of it (eagerly only; slow)."""
    values = self.concrete("apply_()")
    flat = [callable(v) for v in values.ravel().tolist()]
    new = np.array(flat, values.dtype).reshape(values.shape)
    return assign(self, wrap(to_device(new, self.device)))


@method
def transpose_(self: Tensor, dim0: int, dim1: int) -> Tensor:
    """``transpose`` that changes this tensor's own strides."""
    return become(self, self.transpose(dim0, dim1))


Tensor.swapaxes_ = Tensor.swapdims_ = Tensor.transpose_  # type: ignore[attr-defined]


@method
def t_(self: Tensor) -> Tensor:
    """``t`` that changes this tensor's own strides."""
    return become(self, self.t())


@method
def squeeze_(self: Tensor, dim: Any = None) -> Tensor:
    """``squeeze`` that changes this tensor's own shape."""
    return become(self, self.squeeze(dim))


@method
def unsqueeze_(self: Tensor, dim: int) -> Tensor:
    """``unsqueeze`` that changes this tensor's own shape."""
    return become(self, self.unsqueeze(dim))


@method
def resize_as_(self: Tensor, other: Tensor) -> Tensor:
    """``resize_`` to the shape of ``other``."""
    return resize_(self, *other.shape)


@method
def resize_(self: Tensor, *sizes: Any) -> Tensor:
    """Change the shape in place; new elements are uninitialised."""
    from graphgrad.tensor.shapes import sizes_of

    shape = sizes_of(sizes)
    with no_grad():
        old = self.concrete("resize_()")
        grown = np.zeros(shape, old.dtype)
        n = min(grown.size, old.size)
        grown.reshape(-1)[:n] = old.reshape(-1)[:n]
    return become(self, wrap(to_device(grown, self.device)))


def become(self: Tensor, other: Tensor) -> Tensor:
    """Make ``self`` be what ``other`` is."""
    for slot in ("_array", "_node", "_storage", "_chain", "_base", "_needs", "_edge"):
        setattr(self, slot, getattr(other, slot))
    return self


@method
def set_(self: Tensor, source: Tensor) -> Tensor:
    """Share the memory of ``source``."""
    return become(self, source.detach())
