"""A module run with other tensors as its parameters and buffers.

out = functional_call(model, {"fc.weight": weight}, (x,))
"""

from __future__ import annotations

from typing import Any

from graphgrad.tensor import Tensor


def functional_call(
    module: Any,
    parameters_and_buffers: dict[str, Tensor],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """``module(*args, **kwargs)`` with the named tensors in place of its own, for this call.

    With ``tie_weights`` a tensor that the module knows by several names is replaced under all of
    them; ``strict`` raises RuntimeError unless every name is given, and no other.
    """
    slots = _slots(module)
    if strict:
        _check_names(set(slots), set(parameters_and_buffers))
    wanted: list[tuple[dict[str, Any], str, Any]] = []
    for name, value in parameters_and_buffers.items():
        if name not in slots:
            raise KeyError(f"{type(module).__name__} has no parameter or buffer named {name!r}")
        table, key = slots[name]
        own = table[key]
        tied = [s for s in slots.values() if tie_weights and s[0][s[1]] is own] or [slots[name]]
        wanted += [(*slot, value) for slot in tied]
    before = [(table, key, table[key]) for table, key, _ in wanted]
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    try:
        for table, key, value in wanted:
            table[key] = value
        return module(*arguments, **(kwargs or {}))
    finally:
        for table, key, value in before:
            table[key] = value


def _slots(module: Any) -> dict[str, tuple[dict[str, Any], str]]:
    """Where each tensor is kept, by its dotted name."""
    found = {}
    for path, child in module.named_modules(remove_duplicate=False):
        for table in (child._parameters, child._buffers):
            for key, value in table.items():
                if value is not None:
                    found[f"{path}.{key}" if path else key] = (table, key)
    return found


def _check_names(own: set[str], given: set[str]) -> None:
    if own != given:
        raise RuntimeError(
            "Error(s) in loading state_dict: "
            f"Unexpected key(s): {sorted(given - own)}. Missing key(s): {sorted(own - given)}."
        )
