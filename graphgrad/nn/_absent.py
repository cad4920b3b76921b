"""Names of ``torch.nn`` that are not here: each fails by saying what to use."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

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


def absent(where: str, name: str, known: Iterable[str]) -> AttributeError:
    """The error for ``where.name``: the reason, or the nearest name that exists."""
    if name in _REASONS:
        return AttributeError(f"{where} has no {name!r}: {_REASONS[name]}")
    near = difflib.get_close_matches(name, list(known), 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return AttributeError(f"{where} has no {name!r}{hint}")
