"""Sequences of different lengths: padded into one tensor, or packed without padding.

    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    out, h = lstm(packed)
    out, lengths = pad_packed_sequence(out, batch_first=True)

A packed sequence holds the first steps of all sequences (the longest first), then the second ones,
and so on; ``batch_sizes[t]`` sequences have a step ``t``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import graphgrad as gg
from graphgrad.tensor import Tensor


class _Fields(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Fields):
    """What recurrent layers accept besides tensors; ``pack_padded_sequence`` makes it.

    ``sizes`` are the batch sizes in memory: they belong to the structure of a traced program.
    """

    sizes: np.ndarray

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if batch_sizes is None:
            raise ValueError("PackedSequence needs batch_sizes: use pack_padded_sequence")
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if not batch_sizes.is_cpu and batch_sizes._array is not None:
            raise ValueError(
                "batch_sizes should always be on CPU: a PackedSequence is made by pack_sequence "
                f"and pack_padded_sequence, but these are on {batch_sizes.device}"
            )
        made = super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)
        if batch_sizes._array is not None:
            made.sizes = batch_sizes._array
        return made

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """With the data moved or converted, as ``Tensor.to``; the order goes along."""
        data = self.data.to(*args, **kwargs)
        order, back = (x if x is None else x.to(data.device) for x in self[2:])
        return _sized(PackedSequence(data, self.batch_sizes, order, back), self.sizes)

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """On a CUDA device, the current one unless told."""
        return self.to(self.data.new_empty(0).cuda(*args, **kwargs).device)

    def pin_memory(self) -> PackedSequence:
        """In page-locked memory."""
        return self.with_data(self.data.pin_memory())

    def with_data(self, data: Tensor) -> PackedSequence:
        """The same lengths and order over other data."""
        return _sized(PackedSequence(data, *self[1:]), self.sizes)

    def double(self) -> PackedSequence:
        """In float64."""
        return self.with_data(self.data.double())

    def float(self) -> PackedSequence:
        """In float32."""
        return self.with_data(self.data.float())

    def cpu(self) -> PackedSequence:
        """On the CPU."""
        return self.to("cpu")

    @property
    def is_cuda(self) -> bool:
        """Whether the data is on a CUDA device."""
        return bool(self.data.is_cuda)


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """Where each position went."""
    return None if permutation is None else permutation.argsort()


def _sized(packed: PackedSequence, sizes: np.ndarray) -> PackedSequence:
    packed.sizes = sizes
    return packed


def _host(lengths: Any) -> np.ndarray:
    if isinstance(lengths, Tensor):
        if not lengths.is_cpu:
            raise RuntimeError(
                "'lengths' argument should be a 1D CPU int64 tensor, but got "
                f"{lengths.dim()}D {lengths.device} {lengths.dtype} tensor"
            )
        lengths = lengths.concrete("pack_padded_sequence with lengths in a tensor")
    return np.asarray(lengths, np.int64).reshape(-1)


def padded_places(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T, N): where each step stands in the packed data, and whether there is one."""
    start = np.cumsum(sizes) - sizes
    column = np.arange(int(sizes[0]))
    alive = column < sizes[:, None]
    return np.where(alive, start[:, None] + column, 0), alive


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack padded sequences (T, N, *), or (N, T, *) with ``batch_first``.

    ``enforce_sorted`` expects the longest first and raises RuntimeError otherwise; without it they
    are sorted here, and the recurrent layers put their results back in order.
    """
    sizes = _host(lengths)
    x = input.transpose(0, 1) if batch_first else input
    if len(sizes) != x.shape[1]:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)} "
            f"(batch_size={x.shape[1]})"
        )
    if (sizes <= 0).any():
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' "
            "that is <= 0"
        )
    if sizes.max() > x.shape[0]:
        raise RuntimeError(
            f"Expected every length to be at most {x.shape[0]}, the padded one, "
            f"but got {sizes.max()}"
        )
    order = None
    if enforce_sorted:
        if (np.diff(sizes) > 0).any():
            raise RuntimeError(
                "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. "
                "You can pass `enforce_sorted=False` to pack_padded_sequence to sidestep this "
                "requirement."
            )
    else:
        places = np.argsort(-sizes, kind="stable")
        sizes, order = sizes[places], gg.tensor(places, device=x.device)
        x = x.index_select(1, order)
    steps, n = int(sizes[0]), len(sizes)
    counts = (sizes > np.arange(steps)[:, None]).sum(1)
    rows = np.nonzero((sizes > np.arange(steps)[:, None]).reshape(-1))[0]
    data = (
        x[:steps].reshape(steps * n, *x.shape[2:]).index_select(0, gg.tensor(rows, device=x.device))
    )
    return _sized(PackedSequence(data, gg.tensor(counts, device="cpu"), order), counts)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The padded sequences (T, N, *) in their original order, and their lengths.

    ``total_length`` pads further than the longest.
    """
    places, alive = padded_places(sequence.sizes)
    steps, n = places.shape
    data = sequence.data
    rows = data.index_select(0, gg.tensor(places.reshape(-1), device=data.device))
    rest = tuple(data.shape[1:])
    there = gg.tensor(alive.reshape(-1, *(1,) * len(rest)), device=data.device)
    x = rows.masked_fill(~there, padding_value).reshape(steps, n, *rest)
    if total_length is not None:
        if total_length < steps:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in "
                f"input, but got total_length={total_length} and max sequence length being {steps}"
            )
        border = (0, 0) * (x.dim() - 1) + (0, total_length - steps)
        x = gg.nn.functional.pad(x, border, value=padding_value)
    lengths = gg.tensor(alive.sum(0), device="cpu")
    if sequence.unsorted_indices is not None:
        x = x.index_select(1, sequence.unsorted_indices)
        lengths = lengths[sequence.unsorted_indices.cpu()]
    return (x.transpose(0, 1) if batch_first else x), lengths


def pad_sequence(
    sequences: Sequence[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Stack sequences (length, *) into (longest, N, *), shorter ones padded at one side."""
    if padding_side not in ("left", "right"):
        raise RuntimeError(
            f"Expected padding_side to be one of left or right, but got {padding_side}."
        )
    rows = list(sequences.unbind(0)) if isinstance(sequences, Tensor) else list(sequences)
    if not rows:
        raise RuntimeError("received an empty list of sequences")
    longest = max(x.shape[0] for x in rows)
    padded = []
    for x in rows:
        widths = (0, longest - x.shape[0])
        widths = widths[::-1] if padding_side == "left" else widths
        border = (0, 0) * (x.dim() - 1) + widths
        padded.append(gg.nn.functional.pad(x, border, value=padding_value))
    return gg.stack(padded, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False
) -> list[Tensor]:
    """The sequences without their padding."""
    x = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [row[: int(n)] for row, n in zip(x.unbind(0), lengths.tolist(), strict=True)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (length, *)."""
    lengths = [x.shape[0] for x in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences that were packed."""
    x, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(x, lengths, batch_first=True)
