"""Operators by their names in ``torch.ops.aten``, each with its one overload ``default``.

aten.max_pool2d_with_indices_backward.default(grad, x, (2, 2), (2, 2), (0, 0), (1, 1), False, i)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from graphgrad.dtypes import uint8
from graphgrad.functional import interpolate
from graphgrad.functional._steps import step_of
from graphgrad.functional.native import native_batch_norm, safe_softmax
from graphgrad.functional.resampling import antialiased
from graphgrad.tensor import FUNCTIONS, Tensor
from graphgrad.tensor.copying import part


class Operator:
    """A function that is its own overload, as ``aten.relu.default``."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"aten.{self.function.__name__}"

    @property
    def default(self) -> Operator:
        """The overload without a name."""
        return self

    @property
    def Tensor(self) -> Operator:
        """The overload that takes a tensor."""
        return self


@Operator
def _softmax_backward_data(
    grad_output: Tensor, output: Tensor, dim: int, input_dtype: Any
) -> Tensor:
    """The cotangent of softmax's input, from its output."""
    product = grad_output * output
    return (product - output * product.sum(dim, keepdim=True)).to(input_dtype)


@Operator
def _log_softmax_backward_data(
    grad_output: Tensor, output: Tensor, dim: int, input_dtype: Any
) -> Tensor:
    """The cotangent of log_softmax's input, from its output."""
    return (grad_output - output.exp() * grad_output.sum(dim, keepdim=True)).to(input_dtype)


_safe_softmax = Operator(safe_softmax)
slice = Operator(part)


@Operator
def native_dropout_backward(grad_output: Tensor, mask: Tensor, scale: float) -> Tensor:
    """The cotangent of dropout's input."""
    return grad_output * mask * scale


@Operator
def _batch_norm_with_update(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
) -> tuple[Tensor, ...]:
    """Training-mode batch norm: (out, means, 1/√variances, nothing reserved)."""
    triple = native_batch_norm(input, weight, bias, running_mean, running_var, True, momentum, eps)
    return *triple, input.detach().new_zeros((0,), dtype=uint8)


@Operator
def _upsample_bilinear2d_aa(
    input: Tensor,
    output_size: Sequence[int] | None,
    align_corners: bool,
    scale_factors: Sequence[float] | None = None,
    scales_w: float | None = None,
    *,
    scales_h: float | None = None,
) -> Tensor:
    """Antialiased bilinear interpolation, to a size (with its scales given) or by factors."""
    if output_size is None:
        return interpolate(
            input,
            scale_factor=scale_factors,
            mode="bilinear",
            align_corners=align_corners,
            antialias=True,
        )
    given = None if scales_h is None or scales_w is None else (scales_h, scales_w)
    return antialiased(input, "bilinear", output_size, given, align_corners)


@Operator
def max_pool2d_with_indices_backward(
    grad_output: Tensor,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    indices: Tensor,
) -> Tensor:
    """The cotangent of max_pool2d's input: each element goes to the place of its maximum."""
    flat = (*input.shape[:-2], -1)
    zero = grad_output.new_zeros(tuple(input.shape)).reshape(flat)
    added = zero.scatter_add(-1, indices.reshape(flat), grad_output.reshape(flat))
    return step_of(input, added.reshape(input.shape))


def __getattr__(name: str) -> Any:
    """Functions that PyTorch offers under both names: ``aten.relu`` is ``graphgrad.relu``."""
    if name in FUNCTIONS:
        return Operator(FUNCTIONS[name])
    raise AttributeError(f"graphgrad has no operator {name!r}")
