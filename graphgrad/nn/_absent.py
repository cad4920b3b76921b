"""Names of ``torch.nn`` that are not here: each fails by saying what to use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphgrad import nearest

_QUANTISED = "numbers are not quantised here: use float32"
_REASONS = {
    "SyncBatchNorm": "a model runs in one process: use BatchNorm1d, BatchNorm2d or BatchNorm3d",
    "intrinsic": _QUANTISED,
    "qat": _QUANTISED,
    "quantizable": _QUANTISED,
    "quantized": _QUANTISED,
    "grouped_mm": "use torch.bmm, or a loop over the groups",
    "scaled_mm": "8-bit numbers are not there: use torch.mm on float32",
    "scaled_grouped_mm": "8-bit numbers are not there: use torch.bmm on float32",
    "DistributedDataParallel": "a model runs in one process: use the module itself",
}


def names_of(module: str, names: dict[str, Any]) -> Callable[[str], Any]:
    """A module's ``__getattr__``: the reason why it lacks a name, or the nearest it has."""
    look = nearest.names_of(module, names)

    def explain(name: str) -> Any:
        if name in _REASONS:
            raise AttributeError(f"{module} has no {name!r}: {_REASONS[name]}")
        return look(name)

    return explain
