"""The functions that are also names of ``graphgrad`` itself, and methods of Tensor.

    graphgrad.relu(x)        x.relu()        x.relu_()        graphgrad.conv2d(x, weight)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphgrad import functional as F
from graphgrad.tensor import FUNCTIONS, Tensor
from graphgrad.tensor.inplace import assign, check_writable

_FUNCTIONS = """
relu selu celu prelu rrelu threshold hardshrink softmax log_softmax
conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d
max_pool1d max_pool2d max_pool3d avg_pool1d adaptive_avg_pool1d adaptive_max_pool1d
layer_norm group_norm instance_norm rms_norm batch_norm
dropout alpha_dropout feature_alpha_dropout bilinear
cosine_similarity pairwise_distance cosine_embedding_loss hinge_embedding_loss margin_ranking_loss
""".split()
_METHODS = ("relu", "prelu", "hardshrink", "softmax", "log_softmax")
_IN_PLACE = ("relu", "elu", "selu", "celu", "leaky_relu", "hardtanh", "threshold", "rrelu")


def _in_place(name: str) -> Callable[..., Tensor]:
    function = getattr(F, name)

    def operation(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_writable(input)
        return assign(input, function(input, *args, **kwargs))

    operation.__name__ = f"{name}_"
    operation.__doc__ = f"In-place version of ``{name}``."
    return operation


IN_PLACE = {f"{name}_": _in_place(name) for name in _IN_PLACE}

for _name in _FUNCTIONS:
    FUNCTIONS.setdefault(_name, getattr(F, _name))
for _name in _METHODS:
    if not hasattr(Tensor, _name):
        setattr(Tensor, _name, getattr(F, _name))
for _name in ("relu_", "selu_", "celu_", "rrelu_", "threshold_"):
    FUNCTIONS.setdefault(_name, IN_PLACE[_name])
Tensor.relu_ = IN_PLACE["relu_"]  # type: ignore[attr-defined]
