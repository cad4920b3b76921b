"""Looking at and steering records: edges, hooks on several tensors, hooks on what is saved.

with saved_tensors_hooks(pack, unpack): ...     # keep pack(t) instead of t for backward
register_multi_grad_hook([a, b], hook)          # once both gradients are known
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphgrad.tensor.core import Tensor, wrap
from graphgrad.tensor.record import Record as Node
from graphgrad.tensor.record import RemovableHandle, shown
from graphgrad.tensor.state import state

__all__ = [
    "GradientEdge",
    "Node",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
]


class GradientEdge(tuple[Any, int]):
    """(record, output number): where a tensor's gradient arrives."""

    @property
    def node(self) -> Any:
        """The record of the operation; for a leaf, of its gradient's accumulation."""
        return self[0]

    @property
    def output_nr(self) -> int:
        """Which of the operation's outputs the tensor is."""
        return self[1]


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The edge of a tensor that requires grad."""
    if not tensor._needs:
        raise RuntimeError(
            "It is not possible to get the gradient edge of a Tensor that does not require "
            "gradients."
        )
    target, number = tensor._edge or (tensor, 0)
    return GradientEdge((shown(target), number))


def increment_version(tensor: Tensor) -> None:
    """Tell autograd that the memory of ``tensor`` was written behind its back."""
    tensor._storage.version += 1


class saved_tensors_hooks:
    """Records keep ``pack_hook(t)`` for every saved t; backward reads ``unpack_hook`` of it."""

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]):
        self.pack, self.unpack = pack_hook, unpack_hook

    def __enter__(self) -> None:
        if state.trace is not None:
            raise NotImplementedError(
                "saved_tensors_hooks: inside gg.compile the compiler decides what is kept for "
                "backward; use the hooks around code that runs as written"
            )
        state.saved_hooks = (*state.saved_hooks, self._packed)

    def __exit__(self, *_: Any) -> None:
        state.saved_hooks = state.saved_hooks[:-1]

    def _packed(self, saved: Sequence[Any]) -> tuple[tuple[Any, ...], Callable[..., Any]]:
        """What the record keeps, and how backward gets the values back (numbers are left alone)."""
        arrays = [hasattr(v, "dtype") and hasattr(v, "shape") for v in saved]
        kept = tuple(
            self.pack(wrap(v)) if is_array else v for v, is_array in zip(saved, arrays, strict=True)
        )

        def unpacked(values: Sequence[Any]) -> tuple[Any, ...]:
            pairs = zip(values, arrays, strict=True)
            return tuple(self.unpack(v)._array if is_array else v for v, is_array in pairs)

        return kept, unpacked


class save_on_cpu(saved_tensors_hooks):
    """Keep saved tensors in the host's memory until backward reads them; those on it stay."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(lambda t: (t.device, t.cpu()), lambda kept: kept[1].to(kept[0]))

    def __enter__(self) -> None:
        if state.trace is None:
            super().__enter__()

    def __exit__(self, *_: Any) -> None:
        if state.trace is None:
            super().__exit__()


def register_multi_grad_hook(
    tensors: Sequence[Tensor], fn: Callable[..., Any], *, mode: str = "all"
) -> RemovableHandle:
    """Call ``fn`` once per backward: with all gradients ("all"), or with the first ("any")."""
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    got: dict[int, Any] = {}

    def arrived(i: int, g: Tensor) -> None:
        got[i] = g
        if mode == "any" and len(got) == 1:
            fn(g)
        elif mode == "all" and len(got) == len(tensors):
            fn([got[k] for k in range(len(tensors))])
        if len(got) == len(tensors):
            got.clear()

    handles = {
        i: t.register_hook(lambda g, i=i: arrived(i, g))  # type: ignore[misc]
        for i, t in enumerate(tensors)
    }
    return _Several(handles)


class _Several(RemovableHandle):
    """One handle for hooks on several tensors."""

    def remove(self) -> None:
        for handle in self._hooks.values():
            handle.remove()
