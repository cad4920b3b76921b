"""Activations: elementwise curves, softmax and its relatives.

    F.relu(x)          F.gelu(x, approximate="tanh")          F.softmax(logits, dim=-1)

Every curve is a composite: one fused kernel and one grad_fn record. At a kink the gradient is
PyTorch's (0 at relu's corner), and a branch that is not taken can send back no NaN: its argument is
masked too.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import graphgrad as gg
from graphgrad import lang
from graphgrad.dtypes import DType
from graphgrad.functional._arguments import checked_dim
from graphgrad.tensor import Tensor
from graphgrad.tensor.composite import composite
from graphgrad.tensor.inplace import assign


def _finish(input: Tensor, output: Tensor, inplace: bool) -> Tensor:
    """The output, or ``input`` overwritten by it."""
    return assign(input, output) if inplace else output


# ------------------------------------------------------------------------------------ rectifiers


@composite("ReluBackward0", moves=True)
def _relu(x: Tensor) -> Tensor:
    return lang.where(x <= 0, 0.0, x)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0); the gradient at 0 is 0."""
    return _finish(input, _relu(input), inplace)


@composite("ThresholdBackward0")
def _threshold(x: Tensor, threshold: float, value: float) -> Tensor:
    return lang.where(x <= threshold, value, x)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, else ``value``."""
    return _finish(input, _threshold(input, threshold, value), inplace)


@composite("HardtanhBackward0")
def _hardtanh(x: Tensor, low: float, high: float) -> Tensor:
    return lang.where(x <= low, low, lang.where(x >= high, high, x))


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """x clipped to [min_val, max_val]; no gradient at or beyond the bounds."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    return _finish(input, _hardtanh(input, min_val, max_val), inplace)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6)."""
    return hardtanh(input, 0.0, 6.0, inplace)


@composite("LeakyReluBackward0")
def _leaky_relu(x: Tensor, slope: float) -> Tensor:
    return lang.where(x > 0, x, x * slope)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else negative_slope·x."""
    return _finish(input, _leaky_relu(input, negative_slope), inplace)


@composite("RreluWithNoiseBackward0")
def _rrelu(x: Tensor, noise: Tensor) -> Tensor:
    return lang.where(x > 0, x, x * noise)


def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """Leaky relu whose slope is drawn from [lower, upper) in training, else is their mean."""
    if lower > upper:
        raise RuntimeError(
            f"Lower bound should be less than or equal to the upper bound, got {lower} > {upper}"
        )
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    noise = gg.rand_like(input.detach()) * (upper - lower) + lower
    return _finish(input, _rrelu(input, noise), inplace)


@composite("PreluKernelBackward0")
def _prelu(x: Tensor, weight: Tensor) -> Tensor:
    return lang.where(x > 0, x, x * weight)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else weight·x; one weight, or one for each channel (dimension 1)."""
    if weight.dim() > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.dim()}"
        )
    if weight.numel() != 1:
        if input.dim() == 0:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = input.size(1) if input.dim() > 1 else 1
        if channels != weight.numel():
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{weight.numel()} and channel size = {channels}."
            )
    axes = [1] * input.dim()
    if input.dim() > 1:
        axes[1] = weight.numel()
    return _prelu(input, weight.reshape(axes))


# ------------------------------------------------------------------------------------ exponential


@composite("EluBackward0")
def _elu(x: Tensor, alpha: float, scale: float) -> Tensor:
    below = lang.expm1(lang.where(x > 0, 0.0, x))
    return lang.where(x > 0, x * scale, below * (alpha * scale))


@composite("CeluBackward0")
def _celu(x: Tensor, alpha: float) -> Tensor:
    below = lang.expm1(lang.where(x > 0, 0.0, x) / alpha)
    return lang.where(x > 0, x, below * alpha)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha·(exp(x) - 1)."""
    return _finish(input, _elu(input, alpha, 1.0), inplace)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Self-normalising elu (Klambauer et al. 2017)."""
    return _finish(input, _elu(input, 1.6732632423543772, 1.0507009873554805), inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha·(exp(x/alpha) - 1)."""
    return _finish(input, _celu(input, alpha), inplace)


@composite("SoftplusBackward0")
def _softplus(x: Tensor, beta: float, threshold: float) -> Tensor:
    z = x * beta
    soft = lang.log1p(lang.exp(lang.where(z > threshold, 0.0, z)))
    return lang.where(z > threshold, x, soft / beta)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta·x))/beta, and x itself where beta·x > threshold."""
    return _softplus(input, beta, threshold)


@composite("LogSigmoidBackward0")
def logsigmoid(input: Tensor) -> Tensor:
    """log(1/(1 + exp(-x))), without overflow."""
    return lang.minimum(input, 0.0) - lang.log1p(lang.exp(-lang.abs_(input)))


@composite("MishBackward0")
def _mish(x: Tensor) -> Tensor:
    # softplus without overflow: max(x, 0) + log1p(exp(-|x|)).
    soft = lang.maximum(x, 0.0) + lang.log1p(lang.exp(-lang.abs_(x)))
    return x * lang.tanh(soft)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x·tanh(softplus(x))."""
    return _finish(input, _mish(input), inplace)


@composite("SiluBackward0")
def _silu(x: Tensor) -> Tensor:
    return x * lang.sigmoid(x)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x·sigmoid(x), also called swish."""
    return _finish(input, _silu(input), inplace)


@composite("GeluBackward0")
def _gelu(x: Tensor, tanh: bool) -> Tensor:
    if tanh:
        inner = (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)
        return x * 0.5 * (lang.tanh(inner) + 1.0)
    return x * 0.5 * (lang.erf(x * math.sqrt(0.5)) + 1.0)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x·Φ(x) with the normal distribution's Φ, exact ("none") or by a tanh ("tanh")."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError("approximate argument must be either none or tanh.")
    return _gelu(input, approximate == "tanh")


def sigmoid(input: Tensor) -> Tensor:
    """1/(1 + exp(-x))."""
    return input.sigmoid()


def tanh(input: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return input.tanh()


# ------------------------------------------------------------------------------------ piecewise


@composite("HardsigmoidBackward0")
def _hardsigmoid(x: Tensor) -> Tensor:
    return lang.where(x <= -3, 0.0, lang.where(x >= 3, 1.0, (x + 3) / 6))


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """(x + 3)/6 clipped to [0, 1]."""
    return _finish(input, _hardsigmoid(input), inplace)


@composite("HardswishBackward0")
def _hardswish(x: Tensor) -> Tensor:
    return lang.where(x <= -3, 0.0, lang.where(x >= 3, x, x * (x + 3) / 6))


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x·hardsigmoid(x)."""
    return _finish(input, _hardswish(input), inplace)


@composite("HardshrinkBackward0")
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x outside [-lambd, lambd], else 0."""
    return lang.where(lang.abs_(input) <= lambd, 0.0, input)


@composite("SoftshrinkBackward0")
def _softshrink(x: Tensor, lambd: float) -> Tensor:
    outside = lang.where(x > lambd, x - lambd, x + lambd)
    return lang.where(lang.abs_(x) <= lambd, 0.0, outside)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd, and 0 within [-lambd, lambd]."""
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd:g}.")
    return _softshrink(input, lambd)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return input - input.tanh()


def softsign(input: Tensor) -> Tensor:
    """x/(1 + |x|)."""
    return input / (input.abs() + 1)


@composite("GluBackward0")
def _glu(x: Tensor, dim: int) -> Tensor:
    half = x.shape[dim] // 2
    return x.narrow(dim, 0, half) * lang.sigmoid(x.narrow(dim, half, half))


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a·sigmoid(b), where a and b are the two halves of ``dim``."""
    if input.dim() == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    dim = checked_dim(dim, input.dim())
    if input.size(dim) % 2:
        raise RuntimeError(
            f"Halving dimension must be even, but dimension {dim} is size {input.size(dim)}"
        )
    return _glu(input, dim)


# ------------------------------------------------------------------------------------ softmax


@composite("SoftmaxBackward0")
def _softmax(x: Tensor, dim: int) -> Tensor:
    e = lang.exp(x - x.detach().amax(dim, keepdim=True))
    return e / e.sum(dim, keepdim=True)


@composite("LogSoftmaxBackward0")
def _log_softmax(x: Tensor, dim: int) -> Tensor:
    z = x - x.detach().amax(dim, keepdim=True)
    return z - lang.log(lang.exp(z).sum(dim, keepdim=True))


def _softmax_dim(name: str, ndim: int) -> int:
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. "
        "Change the call to include dim=X as an argument.",
        stacklevel=4,
    )
    return 0 if ndim in (0, 1, 3) else 1


def _along(kernel: Any, name: str, x: Tensor, dim: int | None, dtype: DType | None) -> Tensor:
    if dim is None:
        dim = _softmax_dim(name, x.dim())
    x = x if dtype is None else x.to(dtype)
    if not x.is_floating_point():
        raise NotImplementedError(f'"{name}" not implemented for {x.dtype.name} elements')
    dim = checked_dim(dim, x.dim())
    if x.dim() == 0:
        return kernel(x.reshape(1), 0).reshape(())
    # Without elements any smooth function of them will do.
    return x.exp() if x.numel() == 0 else kernel(x, dim)


def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Tensor:
    """exp(x)/Σ exp(x) along ``dim``; ``dtype`` converts the input first."""
    return _along(_softmax, "softmax", input, dim, dtype)


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Tensor:
    """x - log Σ exp(x) along ``dim``, without overflow."""
    return _along(_log_softmax, "log_softmax", input, dim, dtype)


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Tensor:
    """softmax(-x)."""
    return _along(_softmax, "softmin", -input, dim, dtype)


def gumbel_softmax(
    logits: Tensor, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """A differentiable draw of one class (Jang et al. 2017); ``hard``: one-hot, soft gradient."""
    gumbels = -gg.empty_like(logits.detach()).exponential_().log()
    soft = softmax((logits + gumbels) / tau, dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    one_hot = gg.zeros_like(logits.detach()).scatter_(dim, index, 1.0)
    return one_hot - soft.detach() + soft
