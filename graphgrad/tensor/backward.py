"""``loss.backward()`` and ``autograd.grad``: what users call, its checks and its accumulation."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from graphgrad.errors import TraceError, message
from graphgrad.tensor import engine
from graphgrad.tensor.core import Tensor, method, wrap
from graphgrad.tensor.place import same_device, to_device
from graphgrad.tensor.plan import edge_of
from graphgrad.tensor.record import Hooks, RemovableHandle
from graphgrad.tensor.sparse import SparseTensor, accumulated, gathered
from graphgrad.tensor.state import no_grad, state


@method
def backward(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of this tensor to ``.grad`` of the leaves it was computed from.

    gradient: the cotangent, of this tensor's shape (ones for a single element). ``inputs`` limits
    which leaves are filled. Raises RuntimeError where nothing requires a gradient, for a second
    pass over a freed graph, and where a saved value was overwritten in place.
    """
    run_backward([self], [gradient], retain_graph, create_graph, inputs)


def run_backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Sum of gradients of ``tensors``, added to the leaves' ``.grad``."""
    roots = _roots(_listed(tensors), grad_tensors)
    wanted = None if inputs is None else _listed(inputs)
    if wanted is not None and not wanted:
        raise RuntimeError("'inputs' argument to backward() cannot be empty.")
    targets = None if wanted is None else [edge_of(t) for t in wanted]
    retain = create_graph if retain_graph is None else retain_graph
    found = engine.run(roots, targets, retain, create_graph)
    if wanted is None:
        for (leaf, _), g in found.items():
            _accumulate(leaf, g, create_graph)
        return
    for t, edge in zip(wanted, targets or (), strict=True):
        if edge in found:
            _accumulate(t, found[edge], create_graph)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of the sum of ``outputs`` with respect to ``inputs``, as new tensors.

    An input that was not used is an error unless ``allow_unused`` (then None) or
    ``materialize_grads`` (then zeros).
    """
    if is_grads_batched:
        raise NotImplementedError("is_grads_batched: use graphgrad.func.vmap over autograd.grad")
    wanted = _listed(inputs)
    for t in wanted:
        if not t._needs:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    retain = create_graph if retain_graph is None else retain_graph
    targets = [edge_of(t) for t in wanted]
    found = engine.run(_roots(_listed(outputs), grad_outputs), targets, retain, create_graph)
    lenient = materialize_grads if allow_unused is None else allow_unused
    results: list[Tensor | None] = []
    for t, edge in zip(wanted, targets, strict=True):
        g = found.get(edge)
        if g is None and not lenient:
            raise RuntimeError(
                "One of the differentiated Tensors appears to not have been used in the graph. Set "
                "allow_unused=True if this is the desired behavior."
            )
        if g is None:
            results.append(t.detach().new_zeros(t.shape) if materialize_grads else None)
        else:
            g = g if isinstance(g, Tensor) else wrap(g)
            results.append(_leaf_hooks(t, g) if t._edge is None and t._hooks else g)
    return tuple(results)


def _listed(tensors: Any) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _roots(tensors: Sequence[Tensor], gradients: Any) -> list[tuple[engine.Edge, Any]]:
    if gradients is None or isinstance(gradients, Tensor):
        gradients = [gradients] * len(tensors)
    gradients = list(gradients)
    if len(gradients) != len(tensors):
        raise RuntimeError(f"got {len(tensors)} tensors and {len(gradients)} gradients")
    return [
        (edge_of(t), _cotangent(i, t, g))
        for i, (t, g) in enumerate(zip(tensors, gradients, strict=True))
    ]


def _cotangent(i: int, t: Tensor, gradient: Any) -> Tensor | None:
    if not t._needs:
        raise RuntimeError(
            f"element {i} of tensors does not require grad and does not have a grad_fn"
        )
    if gradient is None:
        if t.numel() != 1:
            raise RuntimeError("grad can be implicitly created only for scalar outputs")
        if t.dtype.is_complex:
            raise RuntimeError(
                "grad can be implicitly created only for real scalar outputs but got "
                f"{t.dtype.name}"
            )
        return None
    if not isinstance(gradient, Tensor):
        raise TypeError(
            f"gradients can be either Tensors or None, but got {type(gradient).__name__}"
        )
    if tuple(gradient.shape) != tuple(t.shape):
        raise RuntimeError(
            f"Mismatch in shape: grad_output[{i}] has a shape of {gradient.shape} and output[{i}] "
            f"has a shape of {t.shape}."
        )
    if not isinstance(gradient, SparseTensor):
        same_device("backward", t, gradient)
    return gradient


# ------------------------------------------------------------------------------------- accumulation


def _accumulate(leaf: Tensor, g: Any, create_graph: bool) -> None:
    """Add to ``.grad``: in place, unless the sum itself is to be differentiated."""
    if not isinstance(g, Tensor):
        if g.__class__ is not leaf._array.__class__:
            # A leaf of no dimension on the CPU that was used with tensors on a device.
            g = to_device(g, leaf.device)
        if leaf._hooks is None and leaf._grad is None:
            leaf._grad = wrap(g)
            return
        g = wrap(g)
    else:
        g = g if g.device == leaf.device else g.to(leaf.device)
        g = g if create_graph else _private(g)
    if leaf._hooks is not None and leaf._edge is None:
        g = _leaf_hooks(leaf, g)
    before = leaf.grad
    if before is None:
        leaf.grad = g
    elif isinstance(g, SparseTensor) or isinstance(before, SparseTensor):
        leaf.grad = gathered(before, g) if create_graph else accumulated(before, g)
    elif create_graph:
        leaf.grad = before + g
    else:
        with no_grad():
            before += g
    if leaf._hooks is not None:
        for hook in list(leaf._hooks.after.values()):
            hook(leaf)


def _private(g: Tensor) -> Tensor:
    """A gradient that no other leaf holds (cotangents may be passed on to several)."""
    if isinstance(g, SparseTensor):
        return g.detach()
    return g.detach().clone() if g._array is not None else g.detach()


def _leaf_hooks(leaf: Tensor, g: Tensor) -> Tensor:
    for hook in list(leaf._hooks.outputs.get(0, {}).values()):
        replaced = hook(g)
        g = g if replaced is None else replaced
    return g


@method
def register_hook(self: Tensor, hook: Any) -> RemovableHandle:
    """Call ``hook(grad)`` when this tensor's gradient is known; what it returns replaces it."""
    if not self._needs:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    if state.trace is not None and self._edge is None:
        raise TraceError(
            message(
                "a hook on a leaf, registered while tracing, would be registered only once",
                hint="register it before calling the compiled function",
            )
        )
    hooks, number = _hooks_of(self)
    return hooks.add(hooks.outputs.setdefault(number, {}), hook)


@method
def register_post_accumulate_grad_hook(self: Tensor, hook: Any) -> RemovableHandle:
    """Call ``hook(leaf)`` after its ``.grad`` was updated."""
    if not self._needs:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    if self._edge is not None:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    hooks, _ = _hooks_of(self)
    return hooks.add(hooks.after, hook)


def _hooks_of(t: Tensor) -> tuple[Hooks, int]:
    if t._edge is not None:
        return t._edge[0].hooks(), t._edge[1]
    if t._hooks is None:
        t._hooks = Hooks()
    return t._hooks, 0


@method
def retain_grad(self: Tensor) -> None:
    """Keep ``.grad`` of this intermediate result in backward passes to come."""
    if not self._needs:
        raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
    if self._edge is not None:
        rec, number = self._edge
        rec.hooks().retained[number] = weakref.ref(self)
        self._retains = True


Tensor.retains_grad = property(lambda self: self._retains)  # type: ignore[attr-defined]
