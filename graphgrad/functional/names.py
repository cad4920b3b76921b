"""The functions that are also names of ``graphgrad`` itself, and methods of Tensor.

graphgrad.relu(x)        x.relu()        x.relu_()        graphgrad.conv2d(x, weight)
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from graphgrad.functional import (
    activation,
    adaptive,
    conv,
    dense,
    distances,
    dropping,
    loss,
    native,
    normalization,
    pooling,
    resampling,
)
from graphgrad.tensor import FUNCTIONS, Tensor
from graphgrad.tensor.inplace import assign, check_writable

_TOP_LEVEL: dict[ModuleType, str] = {
    activation: "relu selu celu prelu rrelu threshold hardshrink softmax log_softmax",
    adaptive: "adaptive_avg_pool1d adaptive_max_pool1d",
    conv: "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d",
    dropping: "dropout alpha_dropout feature_alpha_dropout",
    dense: "bilinear",
    distances: "cdist pdist",
    native: "native_layer_norm native_group_norm native_batch_norm _native_batch_norm_legit "
    "native_dropout constant_pad_nd affine_grid_generator grid_sampler grid_sampler_2d "
    "grid_sampler_3d",
    loss: "cosine_embedding_loss hinge_embedding_loss margin_ranking_loss",
    normalization: "layer_norm group_norm instance_norm rms_norm batch_norm "
    "cosine_similarity pairwise_distance",
    pooling: "max_pool1d max_pool2d max_pool3d avg_pool1d",
    resampling: "pixel_shuffle pixel_unshuffle channel_shuffle",
}
_METHODS = ("relu", "prelu", "hardshrink", "softmax", "log_softmax")


def _in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def operation(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_writable(input)
        return assign(input, function(input, *args, **kwargs))

    operation.__name__ = f"{function.__name__}_"
    operation.__doc__ = f"In-place version of ``{function.__name__}``."
    return operation


relu_, elu_ = _in_place(activation.relu), _in_place(activation.elu)
selu_, celu_ = _in_place(activation.selu), _in_place(activation.celu)
leaky_relu_, rrelu_ = _in_place(activation.leaky_relu), _in_place(activation.rrelu)
hardtanh_, threshold_ = _in_place(activation.hardtanh), _in_place(activation.threshold)

for _module, _names in _TOP_LEVEL.items():
    for _name in _names.split():
        FUNCTIONS.setdefault(_name, getattr(_module, _name))
for _function in (relu_, selu_, celu_, rrelu_, threshold_):
    FUNCTIONS.setdefault(_function.__name__, _function)
for _name in _METHODS:
    setattr(Tensor, _name, getattr(activation, _name))
Tensor.relu_ = relu_  # type: ignore[attr-defined]
