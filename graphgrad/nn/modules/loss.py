"""Losses as layers; each is a function of ``graphgrad.nn.functional`` with its settings.

loss = nn.CrossEntropyLoss(label_smoothing=0.1)
loss(logits, labels).backward()
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from graphgrad import functional as F
from graphgrad.functional._arguments import legacy_reduction
from graphgrad.functional.projected import LinearCrossEntropyOptions
from graphgrad.nn.modules._configured import Configured
from graphgrad.nn.modules.linear import Linear
from graphgrad.nn.modules.module import Module
from graphgrad.tensor import Tensor

_FLAGS = {"size_average": None, "reduce": None}
_REDUCTION = {**_FLAGS, "reduction": "mean"}
_TENSORS = ("weight", "pos_weight")


class _Loss(Configured):
    """Resolves PyTorch's old flags; weights are buffers, so that they move with the module."""

    shown = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        names = cls.__dict__.get("arguments", {})
        cls.passed = tuple(name for name in names if name not in _FLAGS)
        cls.shown = ()
        super().__init_subclass__(**kwargs)

    def prepare(self, values: dict[str, Any]) -> dict[str, Any]:
        flags = [values.pop(name, None) for name in _FLAGS]
        if any(flag is not None for flag in flags):
            values["reduction"] = legacy_reduction(*flags)
        for name in _TENSORS:
            if name in values:
                self.register_buffer(name, values.pop(name))
        return values


class L1Loss(_Loss):
    """|x - y|."""

    function, arguments = F.l1_loss, _REDUCTION


class MSELoss(_Loss):
    """(x - y)²."""

    function, arguments = F.mse_loss, _REDUCTION


class SmoothL1Loss(_Loss):
    """Quadratic near 0, linear beyond ``beta``."""

    function, arguments = F.smooth_l1_loss, {**_REDUCTION, "beta": 1.0}


class HuberLoss(_Loss):
    """Quadratic near 0, linear with slope ``delta`` beyond."""

    function, arguments = F.huber_loss, {"reduction": "mean", "delta": 1.0}


class PoissonNLLLoss(_Loss):
    """Negative log-likelihood of a Poisson distribution."""

    function = F.poisson_nll_loss
    arguments = {
        "log_input": True,
        "full": False,
        "size_average": None,
        "eps": 1e-8,
        "reduce": None,
        "reduction": "mean",
    }


class GaussianNLLLoss(_Loss):
    """Negative log-likelihood of a normal distribution whose variance is given too."""

    function, arguments = F.gaussian_nll_loss, {"full": False, "eps": 1e-6, "reduction": "mean"}


class KLDivLoss(_Loss):
    """y·(log y - x) for log-probabilities x."""

    function, arguments = F.kl_div, {**_REDUCTION, "log_target": False}


class NLLLoss(_Loss):
    """-x_y for log-probabilities x and labels y."""

    function = F.nll_loss
    arguments = {
        "weight": None,
        "size_average": None,
        "ignore_index": -100,
        "reduce": None,
        "reduction": "mean",
    }


class CrossEntropyLoss(_Loss):
    """Log-softmax and negative log-likelihood; targets are labels or probabilities."""

    function = F.cross_entropy
    arguments = {
        "weight": None,
        "size_average": None,
        "ignore_index": -100,
        "reduce": None,
        "reduction": "mean",
        "label_smoothing": 0.0,
    }


class NLLLoss2d(NLLLoss):
    """The old name of ``NLLLoss``."""

    def prepare(self, values: dict[str, Any]) -> dict[str, Any]:
        warnings.warn(
            "NLLLoss2d has been deprecated. Please use NLLLoss instead.",
            FutureWarning,
            stacklevel=3,
        )
        return super().prepare(values)


class LinearCrossEntropyLoss(Module):
    """A linear layer and its cross-entropy: ``linear`` maps to num_classes (·space) logits."""

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: Any = None,
        dtype: Any = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: LinearCrossEntropyOptions | None = None,
    ) -> None:
        super().__init__()
        if weight is not None and tuple(weight.shape) != (num_classes,):
            raise RuntimeError(
                f"expected weight shape to be {(num_classes,)}, got {tuple(weight.shape)}"
            )
        if not 0 <= label_smoothing <= 1:
            raise RuntimeError(
                f"expected label_smoothing to be in range [0, 1], got {label_smoothing}"
            )
        self.in_features, self.num_classes = in_features, num_classes
        self.out_features, self.bias = tuple(out_features), bias
        self.reduction, self.ignore_index = reduction, ignore_index
        self.label_smoothing, self.options = label_smoothing, options
        self.register_buffer("weight", weight)
        logits = num_classes * math.prod(self.out_features)
        self.linear = Linear(in_features, logits, bias=bias, device=device, dtype=dtype)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        space, bias = (self.num_classes, *self.out_features), self.linear.bias
        return F.linear_cross_entropy(
            input,
            self.linear.weight.reshape(*space, self.in_features),
            target,
            linear_bias=None if bias is None else bias.reshape(space),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )

    def extra_repr(self) -> str:
        shown = "in_features num_classes out_features bias reduction ignore_index label_smoothing"
        return ", ".join(f"{name}={getattr(self, name)}" for name in [*shown.split(), "options"])


class CTCLoss(_Loss):
    """-log of the probability of a labelling over all its alignments with the input."""

    function = F.ctc_loss
    arguments = {"blank": 0, "reduction": "mean", "zero_infinity": False}


class BCELoss(_Loss):
    """Binary cross-entropy of probabilities."""

    function, arguments = F.binary_cross_entropy, {"weight": None, **_REDUCTION}


class BCEWithLogitsLoss(_Loss):
    """Binary cross-entropy of logits."""

    function = F.binary_cross_entropy_with_logits
    arguments = {"weight": None, **_REDUCTION, "pos_weight": None}


class SoftMarginLoss(_Loss):
    """log(1 + exp(-y·x))."""

    function, arguments = F.soft_margin_loss, _REDUCTION


class MultiLabelSoftMarginLoss(_Loss):
    """Mean binary cross-entropy over the classes."""

    function, arguments = F.multilabel_soft_margin_loss, {"weight": None, **_REDUCTION}


class MultiMarginLoss(_Loss):
    """Hinge loss of classification."""

    function = F.multi_margin_loss
    arguments = {"p": 1, "margin": 1.0, "weight": None, **_REDUCTION}

    def prepare(self, values: dict[str, Any]) -> dict[str, Any]:
        if values["p"] not in (1, 2):
            raise ValueError("only p == 1 and p == 2 supported")
        if values["weight"] is not None and values["weight"].dim() != 1:
            raise ValueError(
                f"weight must be None or 1-dimensional, got {values['weight'].dim()}-dimensional"
            )
        return super().prepare(values)


class MultiLabelMarginLoss(_Loss):
    """Hinge loss between every label and every other class."""

    function, arguments = F.multilabel_margin_loss, _REDUCTION


class HingeEmbeddingLoss(_Loss):
    """Pulls distances of similar pairs to 0, pushes others beyond ``margin``."""

    function, arguments = F.hinge_embedding_loss, {"margin": 1.0, **_REDUCTION}


class MarginRankingLoss(_Loss):
    """max(0, -y·(x1 - x2) + margin)."""

    function, arguments = F.margin_ranking_loss, {"margin": 0.0, **_REDUCTION}


class CosineEmbeddingLoss(_Loss):
    """1 - cos for similar pairs, max(0, cos - margin) for others."""

    function, arguments = F.cosine_embedding_loss, {"margin": 0.0, **_REDUCTION}


class TripletMarginLoss(_Loss):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin)."""

    function = F.triplet_margin_loss
    arguments = {"margin": 1.0, "p": 2.0, "eps": 1e-6, "swap": False, **_REDUCTION}

    def prepare(self, values: dict[str, Any]) -> dict[str, Any]:
        if values["margin"] <= 0:
            raise ValueError(
                f"TripletMarginLoss: expected margin to be greater than 0, got {values['margin']} "
                "instead"
            )
        return super().prepare(values)


class TripletMarginWithDistanceLoss(_Loss):
    """``TripletMarginLoss`` under any distance."""

    function = F.triplet_margin_with_distance_loss
    arguments = {"distance_function": None, "margin": 1.0, "swap": False, "reduction": "mean"}

    def prepare(self, values: dict[str, Any]) -> dict[str, Any]:
        if values["margin"] <= 0:
            raise ValueError(
                "TripletMarginWithDistanceLoss: expected margin to be greater than 0, "
                f"got {values['margin']} instead"
            )
        if values["distance_function"] is None:
            values["distance_function"] = F.pairwise_distance
        return super().prepare(values)
