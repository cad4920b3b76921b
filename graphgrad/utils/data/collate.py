"""From samples to a batch: tensors are stacked, numbers become tensors, containers are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import graphgrad as gg
from graphgrad.tensor import Tensor


def default_convert(data: Any) -> Any:
    """NumPy arrays and numbers of a sample as tensors, in the same containers."""
    if isinstance(data, np.ndarray) and data.dtype.kind in "biufc":
        return gg.as_tensor(data)
    if isinstance(data, np.generic) and data.dtype.kind in "biufc":
        return gg.as_tensor(np.asarray(data))
    if isinstance(data, Mapping):
        return _rebuilt(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(default_convert(x) for x in data))
    if isinstance(data, tuple):
        # A list, as in PyTorch.
        return [default_convert(x) for x in data]
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _rebuilt(data, [default_convert(x) for x in data])
    return data


def default_collate(batch: Sequence[Any]) -> Any:
    """One batch of samples that are alike: a new leading dimension of their number."""
    return collate(batch, default_collate_fn_map)


def collate(batch: Sequence[Any], collate_fn_map: dict[Any, Callable[..., Any]]) -> Any:
    """As ``default_collate``, with a table of functions by type of sample."""
    first = batch[0]
    for kind, function in collate_fn_map.items():
        if isinstance(first, kind):
            return function(batch, collate_fn_map=collate_fn_map)
    if isinstance(first, Mapping):
        parts = {key: collate([sample[key] for sample in batch], collate_fn_map) for key in first}
        return _rebuilt(first, parts)
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        columns = zip(*batch, strict=True)
        return type(first)(*(collate(column, collate_fn_map) for column in columns))
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        columns = [collate(column, collate_fn_map) for column in zip(*batch, strict=True)]
        # A tuple becomes a list, as in PyTorch.
        return columns if isinstance(first, tuple) else _rebuilt(first, columns)
    raise TypeError(
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
        f"found {type(first)}"
    )


def pinned(batch: Any) -> Any:
    """A batch whose tensors are in page-locked memory, in containers of the same types.

    What has a ``pin_memory`` method of its own is asked.
    """
    if isinstance(batch, Tensor):
        return batch.pin_memory() if batch.device.type == "cpu" else batch
    if isinstance(batch, Mapping):
        return _rebuilt(batch, {key: pinned(value) for key, value in batch.items()})
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*map(pinned, batch))
    if isinstance(batch, Sequence) and not isinstance(batch, (str, bytes)):
        return _rebuilt(batch, [pinned(value) for value in batch])
    return batch.pin_memory() if hasattr(batch, "pin_memory") else batch


def _rebuilt(example: Any, parts: Any) -> Any:
    """``parts`` in a container of the example's type, where that can be made from them."""
    try:
        return type(example)(parts)
    except TypeError:
        return parts


def _tensors(batch: Sequence[Any], *, collate_fn_map: Any) -> Tensor:
    return gg.stack(list(batch))


def _arrays(batch: Sequence[Any], *, collate_fn_map: Any) -> Tensor:
    if batch[0].dtype.kind not in "biufc":
        raise TypeError(
            "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
            f"found {batch[0].dtype}"
        )
    return gg.as_tensor(np.stack(batch))


def _numbers(batch: Sequence[Any], *, collate_fn_map: Any) -> Tensor:
    return gg.tensor(list(batch))


def _floats(batch: Sequence[Any], *, collate_fn_map: Any) -> Tensor:
    return gg.tensor(list(batch), dtype=gg.float64)


def _unchanged(batch: Sequence[Any], *, collate_fn_map: Any) -> Any:
    return batch


# float64 scalars of NumPy are Python floats, too: arrays and NumPy's numbers come first.
default_collate_fn_map: dict[Any, Callable[..., Any]] = {
    Tensor: _tensors,
    np.ndarray: _arrays,
    (np.bool_, np.number): _arrays,
    float: _floats,
    int: _numbers,
    (str, bytes): _unchanged,
}
