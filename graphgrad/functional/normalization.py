"""Normalisation: batch, layer, group, instance, RMS, local response; and vectors of unit length.

    F.layer_norm(x, (width,), weight, bias)
    F.batch_norm(x, running_mean, running_var, weight, bias, training=True, momentum=0.1)

Variances are two-pass (mean first, then squared distances): exact where E[x²] - E[x]² cancels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import graphgrad as gg
from graphgrad import lang
from graphgrad.functional.padding import pad
from graphgrad.functional.pooling import avg_pool2d, avg_pool3d
from graphgrad.tensor import Tensor
from graphgrad.tensor.composite import composite

Ints = tuple[int, ...]


def _moments(x: Tensor, axes: Ints) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance (biased), both with the reduced axes kept as 1, and x - mean."""
    n = math.prod(x.shape[a] for a in axes)
    mean = lang.keep(lang.sum_(x, axes), axes, x.shape) / n
    centred = x - mean
    variance = lang.keep(lang.sum_(centred * centred, axes), axes, x.shape) / n
    return mean, variance, centred


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: Ints) -> Tensor:
    if weight is not None:
        x = x * lang.reshape(weight, shape)
    return x if bias is None else x + lang.reshape(bias, shape)


# ------------------------------------------------------------------------------------ batch norm


@composite("NativeBatchNormBackward0")
def _batch_norm_train(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    axes = (0, *range(2, x.dim()))
    mean, variance, centred = _moments(x, axes)
    shape = (x.shape[1], *(1,) * (x.dim() - 2))
    out = _affine(centred * lang.rsqrt(variance + eps), weight, bias, shape)
    flat = (x.shape[1],)
    return out, lang.reshape(mean, flat).detach(), lang.reshape(variance, flat).detach()


@composite("NativeBatchNormBackward0")
def _batch_norm_eval(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    shape = (x.shape[1], *(1,) * (x.dim() - 2))
    scale = lang.reshape(lang.rsqrt(variance + eps), shape)
    return _affine((x - lang.reshape(mean, shape)) * scale, weight, bias, shape)


def _check_batch_norm(
    x: Tensor, named: dict[str, Tensor | None], training: bool, channels: int
) -> None:
    if training and x.numel() == channels:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {x.size()}"
        )
    for name, tensor in named.items():
        if tensor is not None and tensor.numel() != channels:
            raise RuntimeError(f"{name} should contain {channels} elements not {tensor.numel()}")
    if not training:
        for name in ("running_mean", "running_var"):
            if named[name] is None:
                raise RuntimeError(f"{name} must be defined in evaluation mode")


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel (dimension 1) over batch and space (Ioffe & Szegedy 2015).

    In training the batch's own moments are used, and the running ones move towards them by
    ``momentum`` (the variance unbiased); otherwise the running moments are used.
    """
    if input.numel() == 0:
        return input.clone()
    channels = input.shape[1]
    named = {"running_mean": running_mean, "running_var": running_var}
    named |= {"weight": weight, "bias": bias}
    _check_batch_norm(input, named, training, channels)
    if not training:
        assert running_mean is not None and running_var is not None
        return _batch_norm_eval(input, running_mean, running_var, weight, bias, eps)
    out, mean, variance = _batch_norm_train(input, weight, bias, eps)
    n = input.numel() // channels
    with gg.no_grad():
        if running_mean is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        if running_var is not None:
            unbiased = variance * (n / (n - 1))
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    return out


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of each sample over space; running moments average over the batch."""
    n, c, *space = input.shape
    if use_input_stats and math.prod(space) <= 1:
        raise ValueError(
            f"Expected more than 1 spatial element when training, got input size {input.size()}"
        )
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    moments = [None if m is None else m.repeat(n).clone() for m in (running_mean, running_var)]
    scales = [None if w is None else w.repeat(n) for w in (weight, bias)]
    flat = input.reshape(1, n * c, *space)
    out = batch_norm(flat, *moments, *scales, True, momentum, eps)  # type: ignore[misc]
    with gg.no_grad():
        for running, moved in zip((running_mean, running_var), moments, strict=True):
            if running is not None and moved is not None:
                running.copy_(moved.view(n, c).mean(0))
    return out.view(*input.shape)


# ------------------------------------------------------------------------------------ layer, group


@composite("NativeLayerNormBackward0")
def _layer_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, dims: int, eps: float
) -> Tensor:
    axes = tuple(range(x.dim() - dims, x.dim()))
    _, variance, centred = _moments(x, axes)
    return _affine(centred * lang.rsqrt(variance + eps), weight, bias, tuple(x.shape[-dims:]))


@composite("NativeGroupNormBackward0")
def _group_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, groups: int, eps: float
) -> Tensor:
    n, c, *space = x.shape
    split = lang.reshape(x, (n, groups, c // groups, *space))
    _, variance, centred = _moments(split, tuple(range(2, split.dim())))
    out = lang.reshape(centred * lang.rsqrt(variance + eps), tuple(x.shape))
    return _affine(out, weight, bias, (c, *(1,) * len(space)))


@composite("RmsNormBackward0")
def _rms_norm(x: Tensor, weight: Tensor | None, dims: int, eps: float) -> Tensor:
    axes = tuple(range(x.dim() - dims, x.dim()))
    n = math.prod(x.shape[-dims:])
    square = lang.keep(lang.sum_(x * x, axes), axes, x.shape) / n
    return _affine(x * lang.rsqrt(square + eps), weight, None, tuple(x.shape[-dims:]))


def _check_normalized(x: Tensor, shape: Sequence[int], named: dict[str, Tensor | None]) -> Ints:
    wanted = list(shape)
    if not wanted:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one "
            f"element, but got normalized_shape = {wanted}"
        )
    for name, tensor in named.items():
        if tensor is not None and list(tensor.shape) != wanted:
            raise RuntimeError(
                f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
                f"{list(tensor.shape)} and normalized_shape = {wanted}"
            )
    if list(x.shape[-len(wanted) :]) != wanted:
        expected = ", ".join(["*", *map(str, wanted)])
        raise RuntimeError(
            f"Given normalized_shape={wanted}, expected input with shape [{expected}], "
            f"but got input of size{list(x.shape)}"
        )
    return tuple(wanted)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise over the last dimensions, those of ``normalized_shape`` (Ba et al. 2016)."""
    shape = _check_normalized(input, normalized_shape, {"weight": weight, "bias": bias})
    return _layer_norm(input, weight, bias, len(shape), eps)


def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """x/√(mean x² + eps) over the last dimensions; eps: the type's machine epsilon unless given."""
    shape = _check_normalized(input, normalized_shape, {"weight": weight})
    eps = gg.finfo(input.dtype).eps if eps is None else eps
    return _rms_norm(input, weight, len(shape), eps)


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each sample over space and each of ``num_groups`` groups of channels."""
    if input.dim() < 2:
        raise RuntimeError(
            f"Expected at least 2 dimensions for input tensor but received {input.dim()}"
        )
    channels = input.shape[1]
    if num_groups <= 0:
        raise RuntimeError(f"Expected num groups to be greater than 0, got {num_groups}")
    if channels % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of "
            f"shape {list(input.shape)} and num_groups={num_groups}"
        )
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and tuple(tensor.shape) != (channels,):
            raise RuntimeError(
                f"Expected {name} to be a vector of size equal to the number of channels in input, "
                f"but got {name} of shape {list(tensor.shape)} and input of shape "
                f"{list(input.shape)}"
            )
    return _group_norm(input, weight, bias, num_groups, eps)


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """x/(k + alpha·mean of x² over ``size`` channels around)^beta (Krizhevsky et al. 2012)."""
    if input.dim() < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality input (got {input.dim()} dimensions)"
        )
    if input.numel() == 0:
        return input
    n, c, *space = input.shape
    square = (input * input).reshape(n, 1, c, space[0], -1)
    if len(space) == 1:
        wide = pad(square.reshape(n, 1, c, -1), (0, 0, size // 2, (size - 1) // 2))
        mean = avg_pool2d(wide, (size, 1), 1)
    else:
        widths = (0, 0, 0, 0, size // 2, (size - 1) // 2)
        mean = avg_pool3d(pad(square, widths), (size, 1, 1), 1)
    return input / (mean.reshape(input.shape) * alpha + k).pow(beta)


# ------------------------------------------------------------------------------------ vectors


def normalize(
    input: Tensor,
    p: float = 2.0,
    dim: int = 1,
    eps: float = 1e-12,
    out: Tensor | None = None,
) -> Tensor:
    """x divided by its p-norm along ``dim`` (at least eps)."""
    if out is not None:
        return out.copy_(normalize(input, p, dim, eps))
    length = input.norm(p, dim, keepdim=True).clamp_min(eps)
    return input / length.expand_as(input)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Σ x·y/(‖x‖·‖y‖) along ``dim``, each norm at least eps."""
    x, y = gg.broadcast_tensors(x1, x2)
    nx, ny = (z.norm(2, dim, keepdim=True).clamp_min(eps) for z in (x, y))
    return ((x / nx) * (y / ny)).sum(dim)


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of x - y + eps along the last dimension."""
    return (x1 - x2 + eps).norm(p, -1, keepdim=keepdim)
