"""Batch norm in evaluation mode folded into the layer before it.

fused = nn.utils.fuse_conv_bn_eval(model.conv.eval(), model.bn.eval())
"""

from __future__ import annotations

import copy
from typing import Any

import graphgrad as gg
from graphgrad.nn.parameter import Parameter
from graphgrad.tensor import Tensor

Pair = tuple[Parameter, Parameter]


def _folded(
    weight: Tensor,
    bias: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    eps: float,
    bn_weight: Tensor | None,
    bn_bias: Tensor | None,
    shape: list[int],
) -> Pair:
    bias = gg.zeros_like(mean) if bias is None else bias
    bn_weight = gg.ones_like(mean) if bn_weight is None else bn_weight
    bn_bias = gg.zeros_like(mean) if bn_bias is None else bn_bias
    scale = bn_weight * (variance + eps).rsqrt()
    w = (weight * scale.reshape(shape)).to(weight.dtype)
    b = ((bias - mean) * scale + bn_bias).to(bias.dtype)
    return Parameter(w.detach(), weight.requires_grad), Parameter(b.detach(), bias.requires_grad)


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> Pair:
    """Weight and bias of one convolution that does what it and the batch norm did."""
    shape = [1] * conv_w.dim()
    shape[1 if transpose else 0] = -1
    return _folded(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, shape)


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> Pair:
    """Weight and bias of one linear layer that does what it and the batch norm did."""
    return _folded(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, [-1, 1])


def _fused(layer: Any, bn: Any, fold: Any, *more: Any) -> Any:
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    fused = copy.deepcopy(layer)
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("the batch norm must have running statistics")
    statistics = (bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias)
    fused.weight, fused.bias = fold(fused.weight, fused.bias, *statistics, *more)
    return fused


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of ``conv`` that also does what ``bn`` does; both in evaluation mode."""
    return _fused(conv, bn, fuse_conv_bn_weights, transpose)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of ``linear`` that also does what ``bn`` does; both in evaluation mode."""
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1"
        )
    return _fused(linear, bn, fuse_linear_bn_weights)
