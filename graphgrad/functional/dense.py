"""Dense layers and table look-ups: linear, bilinear, embedding, one_hot.

F.linear(x, weight, bias)      # x (*, in), weight (out, in), bias (out,) → (*, out)
F.embedding(tokens, table)     # tokens (*), table (rows, width) → (*, width)
"""

from __future__ import annotations

import math

import graphgrad as gg
from graphgrad import lang
from graphgrad.dtypes import int32, int64
from graphgrad.functional._arguments import spelled
from graphgrad.functional.sparse import sparse_embedding
from graphgrad.tensor import Tensor
from graphgrad.tensor.casting import lowered
from graphgrad.tensor.composite import composite
from graphgrad.tensor.place import at_hand
from graphgrad.tensor.state import is_grad_enabled, state


# The weight is transposed inside: a transposed view would be copied to be read by a program.
@composite("AddmmBackward0")
def _addmm(bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    return lang.dot_general(x, weight, ((1,), (1,))) + bias


@composite("MmBackward0")
def _mm(x: Tensor, weight: Tensor) -> Tensor:
    return lang.dot_general(x, weight, ((1,), (1,)))


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x·weightᵀ + bias over the last dimension; RuntimeError where the inner sizes differ."""
    if state.casting is not None:
        input, weight, bias = lowered(input, weight, bias)
    _check_linear(input, weight, bias)
    if weight.dim() == 1:
        out = input @ weight
        return out if bias is None else out + bias
    x = input if input.dim() == 2 else input.reshape(-1, input.shape[-1])
    out = _mm(x, weight) if bias is None else _addmm(bias, x, weight)
    return out if input.dim() == 2 else out.view(*input.shape[:-1], weight.shape[0])


def _check_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    if x.dim() == 0 or weight.dim() not in (1, 2):
        raise RuntimeError(
            "linear() needs an input of at least one dimension and a weight of one or two, "
            f"got {list(x.shape)} and {list(weight.shape)}"
        )
    if x.dtype is not weight.dtype:
        raise RuntimeError(
            "expected m1 and m2 to have the same dtype, but got: "
            f"{spelled(x).lower()} != {spelled(weight).lower()}"
        )
    *rows, inner = x.shape
    if inner != weight.shape[-1]:
        other = "x".join(map(str, reversed(weight.shape)))
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({math.prod(rows)}x{inner} and {other})"
        )
    if bias is not None and weight.dim() == 2 and bias.numel() not in (1, weight.shape[0]):
        raise RuntimeError(
            f"The expanded size of the tensor ({weight.shape[0]}) must match the existing size "
            f"({bias.numel()}) at non-singleton dimension 1.  Target sizes: "
            f"{[math.prod(rows), weight.shape[0]]}.  Tensor sizes: {list(bias.shape)}"
        )


@composite("BilinearBackward0")
def _bilinear(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    # (n, i), (o, i, j) → (n, o, j); then the rows of y contract j.
    left = lang.dot_general(x, weight, ((1,), (1,)))
    return lang.dot_general(left, y, ((2,), (1,)), ((0,), (0,)))


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Σ_ij x_i·weight_oij·y_j + bias over the last dimensions; batch shapes must be equal."""
    lead = input1.shape[:-1]
    if tuple(lead) != tuple(input2.shape[:-1]):
        raise RuntimeError(
            f"bilinear(): input batch dimensions do not match: got {list(lead)} "
            f"and {list(input2.shape[:-1])}"
        )
    if input1.shape[-1] != weight.shape[1]:
        raise RuntimeError(
            f"bilinear(): input1 size does not match weight size: got {input1.shape[-1]} "
            f"but expected {weight.shape[1]}"
        )
    if input2.shape[-1] != weight.shape[2]:
        raise RuntimeError(
            f"bilinear(): input2 size does not match weight size: got {input2.shape[-1]} "
            f"but expected {weight.shape[2]}"
        )
    x, y = (z.reshape(-1, z.shape[-1]) for z in (input1, input2))
    out = _bilinear(x, y, weight).view(*lead, weight.shape[0])
    return out if bias is None else out + bias


# ------------------------------------------------------------------------------------ look-ups


@composite("EmbeddingBackward0", moves=True)
def _embedding(weight: Tensor, index: Tensor, padding_idx: int, by_frequency: bool) -> Tensor:
    rows = lang.reshape(index, (index.numel(), 1))
    picked = lang.expand(rows, (index.numel(), weight.shape[1]))
    out = lang.apply("gather", weight, picked, axis=0)
    if by_frequency:
        out = scaled_by_frequency(out, lang.reshape(index, (index.numel(),)), weight.shape[0])
    if padding_idx >= 0:
        # The padding row is read like any other but takes no gradient.
        out = lang.where(lang.eq(rows, padding_idx), out.detach(), out)
    return lang.reshape(out, (*index.shape, weight.shape[1]))


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of ``weight`` that ``input`` (int64 or int32, any shape) names.

    ``padding_idx`` takes no gradient; ``max_norm`` first scales the rows that are read down to that
    norm, in place. Raises IndexError for a row the table has not.
    """
    if weight.dim() != 2:
        raise RuntimeError("'weight' must be 2-D")
    if input.dtype not in (int64, int32):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got {input.type()} instead (while checking arguments for embedding)"
        )
    rows = weight.shape[0]
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise AssertionError("Padding_idx must be within num_embeddings")
    if max_norm is not None:
        renormalise(weight, input, max_norm, norm_type)
    if input.numel() == 0:
        return weight.new_empty((*input.shape, weight.shape[1]))
    padding = -1 if padding_idx is None else padding_idx % rows
    if sparse and weight.requires_grad and is_grad_enabled():
        return sparse_embedding(weight, input, padding, scale_grad_by_freq)
    return _embedding(weight, input, padding, scale_grad_by_freq)


def check_rows(index: Tensor, rows: int) -> None:
    """RuntimeError for a row the table has not; a traced index is checked when it is used."""
    values = at_hand(index)
    if values is not None and values.size and (values.min() < 0 or values.max() >= rows):
        at = int(((values < 0) | (values >= rows)).argmax())
        raise RuntimeError(
            f"Index {at} of input takes value {values[at]} which is not in the valid range "
            f"[0, {rows})"
        )


def scaled_by_frequency(rows: Tensor, index: Tensor, count: int) -> Tensor:
    """The same rows (n, width), whose gradient counts each row of the table once, however often
    ``index`` (n,) names it."""
    ones = lang.full((index.numel(),), 1, rows.dtype)
    often = lang.apply("scatter_add", rows.new_zeros((count,)), index, ones, axis=0)
    share = lang.reciprocal(lang.apply("gather", often, index, axis=0)).unsqueeze(1)
    return rows.detach() + (rows - rows.detach()) * share


def renormalise(weight: Tensor, index: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows that ``index`` names down to ``max_norm``, in place."""
    with gg.no_grad():
        rows = index.reshape(-1).unique()
        picked = weight[rows]
        norm = picked.abs().pow(norm_type).sum(1, keepdim=True).pow(1.0 / norm_type)
        scale = gg.where(norm > max_norm, max_norm / (norm + 1e-7), gg.ones_like(norm))
        weight[rows] = picked * scale


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """int64 indicators of class numbers, in a new last dimension; -1: as many classes as occur."""
    if tensor.dtype is not int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if tensor.numel() and int(tensor.min()) < 0:
        raise RuntimeError("Class values must be non-negative.")
    if num_classes == -1:
        if tensor.numel() == 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        num_classes = int(tensor.max()) + 1
    elif tensor.numel() and int(tensor.max()) >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    return (tensor.unsqueeze(-1) == gg.arange(num_classes, device=tensor.device)).to(int64)
