"""Convolutions among products: what cuDNN would be asked to compute, from strides alone.

    found = convolution_of(product)     # None: no windows, or none that cuDNN knows
    found.key                           # the Convolution, which names the plan
    found.image, found.filter, found.output     # the values, each at a byte offset

The three directions, all over one image, filter and output:

    fprop   output[n, o, p] = sum over c, k of image[n, c, p·stride + k·dilation] filter[o, c, k]
    wgrad   filter[o, c, k] = sum over n, p of image[n, c, p·stride + k·dilation] output[n, o, p]
    dgrad   image[n, c, q] = sum over o, k of output[n, o, q + padding - k·dilation] filter[o, c, k]

A gradient of data arrives here as windows over the gradient, borders and all, times the flipped
filter: dgrad, with a padding of all that a filter reaches (that of a convolution with strides is a
plain product whose windows are summed: see `scattered`). Borders are zeros in memory already, so
the other two pad nothing. A position and a tap that move by a and b numbers are an axis of elements
gcd(a, b) apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from graphgrad.ir import Node

from ...contract.layout import Dim, merged, overlaps
from ...contract_build import Product

DTYPES = ("float32", "float16", "bfloat16")
ALIGNMENT = 16  # of every operand's memory
FPROP, WGRAD, DGRAD = "fprop", "wgrad", "dgrad"
MOST_AXES = 3  # that slide

Slot = tuple[Node, int]  # a value, and bytes into it


@dataclass(frozen=True)
class Tensor:
    """How cuDNN sees an operand: extents and strides, in elements."""

    dims: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class Convolution:
    """image (N, G·C, *space), filter (G·O, C, *taps), output (N, G·O, *positions); G groups."""

    direction: str
    dtype: str
    image: Tensor
    filter: Tensor
    output: Tensor
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]
    tf32: bool = False

    @property
    def parameters(self) -> tuple[str, ...]:
        """How image, filter, output and the workspace are passed."""
        return ("ptr",) * 4

    @property
    def name(self) -> str:
        """For listings: ``cudnn_fprop_float32_3x3``."""
        taps = "x".join(map(str, self.filter.dims[2:]))
        return f"cudnn_{self.direction}_{self.dtype}_{taps}"

    def launcher(self) -> Any:
        """What is called with a stream and the parameters; needs a current CUDA context."""
        from .cudnn_plan import planned

        return planned(self)


@dataclass(frozen=True, eq=False)
class Found:
    """A convolution and the memory of its operands."""

    key: Convolution
    image: Slot
    filter: Slot
    output: Slot


def convolution_of(product: Product, tf32: bool = False) -> Found | None:
    """The product as a convolution that cuDNN knows; None for others."""
    dot, views = product.dot, (product.a, product.b)
    slides = [_slides(x, view.base) for x, view in zip(dot.inputs, views, strict=True)]
    if dot.dtype.name not in DTYPES or sum(map(bool, slides)) != 1:
        return None
    side = 0 if slides[0] else 1
    spots, taps = slides[side] or ((), ())
    parts = _parts(product, side, spots, taps)
    key = parts and key_of(parts, dot.dtype.name, tf32 and dot.dtype.name == "float32")
    if not parts or not key:
        return None
    slid, other = views[side], views[1 - side]
    back = sum((n - 1) * f for n, _, f in parts.taps) if key.direction == DGRAD else 0
    item = dot.dtype.itemsize
    read = (slid.base, slid.offset * item), (other.base, (other.offset + back) * item)
    if any(offset % ALIGNMENT for _, offset in read):
        return None
    first, second, written = *read, (product.target, 0)
    if key.direction == DGRAD:
        return Found(key, written, second, first)
    ends = (second, written) if key.direction == FPROP else (written, second)
    return Found(key, first, *ends)


def _slides(x: Node, memory: Node) -> tuple[list[int], list[int]] | None:
    """The axes of ``x`` that count positions of windows, and those of their taps, in order."""
    axes = list(range(len(x.shape)))  # of x, as those of the value below
    while x.op.name == "permute" and x is not memory:
        axes = [x.attrs["axes"][i] for i in axes]
        (x,) = x.inputs
    if x.op.name != "window" or x is memory:
        return None
    rank, slid = len(x.inputs[0].shape), x.attrs["axes"]
    return [axes.index(a) for a in slid], [axes.index(rank + i) for i in range(len(slid))]


# ---- dimensions by what they mean ----------------------------------------------------------------


@dataclass(frozen=True)
class Parts:
    """Dimensions with their strides, in elements, in image, filter and output that have them."""

    direction: str
    spots: list[Dim]  # image, output
    taps: list[Dim]  # image, filter
    samples: list[Dim]  # image, output
    channels: list[Dim]  # image, filter
    filters: list[Dim]  # filter, output
    groups: list[Dim]  # image, filter, output


def _parts(product: Product, side: int, spots: Sequence[int], taps: Sequence[int]) -> Parts | None:
    """What each dimension of the product is to a convolution of the operand on a side."""
    dot = product.dot
    view, other = (product.a, product.b) if side == 0 else (product.b, product.a)
    first, second, result = product.operands
    steps = dict(zip(dot.attrs["contract"][side], dot.attrs["contract"][1 - side], strict=True))
    batch = dot.attrs["batch"][side]
    free = [i for i in range(len(view.shape)) if i not in steps and i not in batch]
    mine, theirs = (result.rows, result.columns) if side == 0 else (result.columns, result.rows)
    written = {axis: stride for axis, (_, stride) in zip(free, mine, strict=True)}
    read = {axis: other.strides[partner] for axis, partner in steps.items()}
    forward = all(axis in read for axis in taps) and all(axis in written for axis in spots)
    backward = all(axis in written for axis in taps) and all(axis in read for axis in spots)
    if not forward and not backward:
        return None
    of_output, of_filter = (written, read) if forward else (read, written)

    def dims(axes: Iterable[int], strides: dict[int, int]) -> list[Dim]:
        return [(view.shape[i], view.strides[i], strides[i]) for i in axes]

    own = second.columns if side == 0 else first.rows  # of the other operand alone
    filters = [(n, s, t) if forward else (n, t, s)
               for (n, s), (_, t) in zip(own, theirs, strict=True)]  # fmt: skip
    partners = dot.attrs["batch"][1 - side]
    ends = [(other.strides[j], t) for j, (_, t) in zip(partners, result.batch, strict=True)]
    groups = [(view.shape[i], view.strides[i], *(end if forward else end[::-1]))
              for i, end in zip(batch, ends, strict=True)]  # fmt: skip
    return Parts(
        FPROP if forward else WGRAD,
        dims(spots, of_output),
        dims(taps, of_filter),
        merged(dims((i for i in of_output if i not in spots), of_output)),
        merged(dims((i for i in of_filter if i not in taps), of_filter)),
        merged(filters),
        merged(groups),
    )


# ---- tensors -------------------------------------------------------------------------------------


def key_of(parts: Parts, dtype: str, tf32: bool, known: Sequence[Axis] = ()) -> Convolution | None:
    """The plan's name; None where cuDNN has no such. ``known``: the image's axes under windows,
    if the windows alone do not say how long they are."""
    pairs = zip(parts.spots, parts.taps, strict=True)
    axes = known or [_axis(spot, tap) for spot, tap in pairs]
    space = [axis for axis in axes if axis]
    backwards = {f < 0 for n, _, f in parts.taps if n > 1}
    if len(space) < len(axes) or len(backwards) > 1 or len(axes) > MOST_AXES:
        return None
    turned = backwards == {True}  # the filter: then the windows are over a gradient of an output
    if turned and (parts.direction != FPROP or any(axis.stride != 1 for axis in space)):
        return None
    samples, groups = parts.samples, parts.groups
    channels, filters = parts.channels, parts.filters
    slid = _tensor(_of(samples, 0), [*_of(groups, 0), *_of(channels, 0)],
                   [(axis.extent, axis.unit) for axis in space])  # fmt: skip
    other = _tensor(_of(samples, 1), [*_of(groups, 2), *_of(filters, 1)],
                    [(n, y) for n, _, y in parts.spots])  # fmt: skip
    ends = _of(filters, 0), _of(channels, 1)
    many, few = ends[::-1] if turned else ends
    weight = _tensor([*_of(groups, 1), *many], few, [(n, abs(f)) for n, _, f in parts.taps])
    if slid is None or weight is None or other is None:
        return None
    one = (1,) * (len(slid.dims) - 2 - len(space))  # cuDNN slides along two axes at least
    stride = (*one, *(axis.stride for axis in space))
    dilation = (*one, *(axis.dilation for axis in space))
    reach = tuple((n - 1) * d for n, d in zip(weight.dims[2:], dilation, strict=True))
    lies = stride, dilation, reach if turned else (0,) * len(stride)
    if turned:
        return Convolution(DGRAD, dtype, other, weight, slid, *lies, tf32)
    return Convolution(parts.direction, dtype, slid, weight, other, *lies, tf32)


class Axis(NamedTuple):
    """An axis under windows: its extent, the numbers between its elements, how windows lie."""

    extent: int
    unit: int
    stride: int
    dilation: int


def _axis(spot: Dim, tap: Dim) -> Axis | None:
    (positions, across, _), (taps, along, _) = spot, tap
    if across <= 0 or along <= 0:
        return None
    unit = math.gcd(across, along)
    stride = across // unit if positions > 1 else 1
    dilation = along // unit if taps > 1 else 1
    return Axis((positions - 1) * stride + (taps - 1) * dilation + 1, unit, stride, dilation)


def _of(dims: Iterable[Dim], operand: int) -> list[Dim]:
    return [(dim[0], dim[1 + operand]) for dim in dims]


def _tensor(outer: list[Dim], inner: list[Dim], space: list[Dim]) -> Tensor | None:
    """Both outer dimensions and those of space, if each is one even walk and none repeats."""
    groups = [merged(outer), merged(inner)]
    if any(len(group) > 1 for group in groups):
        return None
    dims = [group[0] if group else (1, 0) for group in groups]
    dims += [(1, 0)] * (2 - len(space)) + space
    if overlaps(dims, 1) or any(n == 0 or (n > 1 and stride <= 0) for n, stride in dims):
        return None
    for i, (n, _) in enumerate(dims):
        if n == 1:  # as if packed
            dims[i] = (1, max((m * stride for m, stride in dims[i + 1 :] if m > 1), default=1))
    return Tensor(tuple(dim[0] for dim in dims), tuple(dim[1] for dim in dims))
