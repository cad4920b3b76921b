"""Softmax over very many classes: frequent ones in front, rarer ones in clusters (Grave 2017).

loss = nn.AdaptiveLogSoftmaxWithLoss(512, 100_000, cutoffs=[2_000, 20_000])
output, mean = loss(features, labels)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import graphgrad as gg
from graphgrad import functional as F
from graphgrad.nn.modules.container import ModuleList, Sequential
from graphgrad.nn.modules.linear import Linear
from graphgrad.nn.modules.module import Module
from graphgrad.tensor import Tensor
from graphgrad.tensor.place import at_hand


class _Result(NamedTuple):
    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """``cutoffs`` part the classes, frequent ones first; cluster i works at in/div_value^(i+1)."""

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        rising = cutoffs == sorted(cutoffs) and len(set(cutoffs)) == len(cutoffs)
        whole = all(int(c) == c for c in cutoffs)
        if not rising or min(cutoffs) <= 0 or max(cutoffs) > n_classes - 1 or not whole:
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing "
                f"order, where each value is between 1 and n_classes-1, got {cutoffs}"
            )
        self.in_features, self.n_classes = in_features, n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value, self.head_bias = div_value, head_bias
        self.shortlist_size, self.n_clusters = self.cutoffs[0], len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        options = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **options)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            hidden = int(in_features // div_value ** (i + 1))
            size = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(
                    Linear(in_features, hidden, bias=False, **options),
                    Linear(hidden, size, bias=False, **options),
                )
            )

    def reset_parameters(self) -> None:
        """Draw every weight anew."""
        self.head.reset_parameters()
        for projection, cluster in self.tail:
            projection.reset_parameters()
            cluster.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _Result:
        """The target's log-probability of each row, and the mean loss."""
        batched = target_.dim() > 0
        if batched and input_.shape[0] != target_.shape[0]:
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        if target_.dim() > 1 or input_.dim() != target_.dim() + 1:
            raise RuntimeError(
                "0D or 1D target tensor expected, and an input of one dimension more; got "
                f"{list(target_.shape)} and {list(input_.shape)}"
            )
        x, target = (input_, target_) if batched else (input_.unsqueeze(0), target_.unsqueeze(0))
        self._check_target(target)
        first = self.shortlist_size
        head = F.log_softmax(self.head(x), 1)
        row = gg.where(target < first, target, 0)
        output = head.gather(1, row.unsqueeze(1)).squeeze(1)
        for i, cluster in enumerate(self.tail):
            low, high = self.cutoffs[i], self.cutoffs[i + 1]
            inside = (target >= low) & (target < high)
            place = gg.where(inside, target - low, 0)
            within = F.log_softmax(cluster(x), 1).gather(1, place.unsqueeze(1)).squeeze(1)
            output = gg.where(inside, head[:, first + i] + within, output)
        loss = (-output).mean()
        return _Result(output if batched else output.squeeze(0), loss)

    def _check_target(self, target: Tensor) -> None:
        labels = at_hand(target)
        if labels is None or not labels.size:
            return
        if labels.min() < 0 or labels.max() >= self.n_classes:
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{labels.min()}, {labels.max()}] were found. "
            )

    def log_prob(self, input: Tensor) -> Tensor:
        """Log-probabilities of all classes: (N, in_features) → (N, n_classes)."""
        head = F.log_softmax(self.head(input), 1)
        parts = [head[:, : self.shortlist_size]]
        for i, cluster in enumerate(self.tail):
            own = head[:, self.shortlist_size + i].unsqueeze(1)
            parts.append(F.log_softmax(cluster(input), 1) + own)
        return gg.cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each row."""
        return self.log_prob(input).argmax(1)
