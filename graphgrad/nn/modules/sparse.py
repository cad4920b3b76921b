"""Tables of vectors, looked up by number: ``Embedding(count, features)``."""

from __future__ import annotations

from typing import Any

import graphgrad as gg
from graphgrad import functional as F
from graphgrad.nn import init
from graphgrad.nn.modules._channels import Widths
from graphgrad.nn.modules._checks import check_counts
from graphgrad.nn.modules.module import Module
from graphgrad.nn.parameter import Parameter
from graphgrad.tensor import Tensor


class Embedding(Module):
    """Row ``i`` of weight (num_embeddings, embedding_dim) for every number i of the input."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        check_counts(self, num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = _checked_padding(padding_idx, num_embeddings)
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        shape = (num_embeddings, embedding_dim)
        if _weight is None:
            table = gg.empty(shape, device=device, dtype=dtype)
            self.weight = Parameter(table, requires_grad=not _freeze)
            self.reset_parameters()
        else:
            table = _checked_table(_weight, num_embeddings, embedding_dim)
            self.weight = Parameter(table, requires_grad=not _freeze)

    def reset_parameters(self) -> None:
        """Draw from N(0, 1); the padding row is 0."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with gg.no_grad():
                self.weight[self.padding_idx].fill_(0)

    def _widths(self) -> Widths:
        arguments = {"num_embeddings": self.num_embeddings, "embedding_dim": self.embedding_dim}
        return Widths(None, self.embedding_dim, "features", {}, arguments)

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        plain = {"padding_idx": None, "max_norm": None, "norm_type": 2.0}
        plain |= {"scale_grad_by_freq": False, "sparse": False}
        changed = (
            (k, getattr(self, k)) for k, default in plain.items() if getattr(self, k) != default
        )
        return text + "".join(f", {k}={v}" for k, v in changed)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """A layer over an existing table (rows, width), frozen unless said otherwise."""
        if embeddings.dim() != 2:
            raise AssertionError("Embeddings parameter is expected to be 2-dimensional")
        rows, width = embeddings.shape
        return cls(
            rows,
            width,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            embeddings,
            freeze,
        )


class EmbeddingBag(Module):
    """The sum, mean or maximum of each bag of rows of weight (num_embeddings, embedding_dim)."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        check_counts(self, num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.mode, self.sparse = scale_grad_by_freq, mode, sparse
        self.include_last_offset = include_last_offset
        self.padding_idx = _checked_padding(padding_idx, num_embeddings)
        if _weight is None:
            self.weight = Parameter(
                gg.empty((num_embeddings, embedding_dim), device=device, dtype=dtype)
            )
            self.reset_parameters()
        else:
            self.weight = Parameter(_checked_table(_weight, num_embeddings, embedding_dim))

    reset_parameters = Embedding.reset_parameters

    def forward(
        self,
        input: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )

    def extra_repr(self) -> str:
        plain = {"max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False, "mode": None}
        plain |= {"padding_idx": None}
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        changed = (
            (k, getattr(self, k)) for k, default in plain.items() if getattr(self, k) != default
        )
        return text + "".join(f", {k}={v!r}" for k, v in changed)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> EmbeddingBag:
        """A layer over an existing table (rows, width), frozen unless said otherwise."""
        if embeddings.dim() != 2:
            raise AssertionError("Embeddings parameter is expected to be 2-dimensional")
        layer = cls(
            *embeddings.shape,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            mode,
            sparse,
            embeddings,
            include_last_offset,
            padding_idx,
        )
        layer.weight.requires_grad_(not freeze)
        return layer


def _checked_padding(padding_idx: int | None, rows: int) -> int | None:
    """The padding row counted from the front."""
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise AssertionError("Padding_idx must be within num_embeddings")
    return padding_idx % rows


def _checked_table(weight: Tensor, rows: int, width: int) -> Tensor:
    if tuple(weight.shape) != (rows, width):
        raise AssertionError("Shape of weight does not match num_embeddings and embedding_dim")
    return weight
