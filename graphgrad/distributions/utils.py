"""What the distributions share: common shapes of parameters, probabilities and their logits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from numbers import Number
from typing import Any

import graphgrad as gg
from graphgrad.functional import softmax
from graphgrad.tensor.state import state

EULER = 0.57721566490153286060


def tracing() -> bool:
    """Whether values cannot be looked at: inside ``compile``."""
    return state.trace is not None


def broadcast_all(*values: Any) -> tuple[gg.Tensor, ...]:
    """Tensors and numbers as tensors of one shape; numbers take the tensors' dtype and place."""
    for value in values:
        if not isinstance(value, (gg.Tensor, Number)):
            raise ValueError(
                "Input arguments must all be instances of Number, torch.Tensor or objects "
                f"implementing __torch_function__, got {type(value).__name__}."
            )
    first = next((v for v in values if isinstance(v, gg.Tensor)), None)
    kind = gg.get_default_dtype() if first is None else first.dtype
    place = None if first is None else first.device
    return tuple(
        gg.broadcast_tensors(
            *(
                v if isinstance(v, gg.Tensor) else gg.tensor(v, dtype=kind, device=place)
                for v in values
            )
        )
    )


def beside(value: Any, like: gg.Tensor) -> gg.Tensor:
    """A number as a tensor of the type and device of another; a tensor in that type."""
    return value.to(like.dtype) if isinstance(value, gg.Tensor) else like.new_tensor(value)


def as_float(x: gg.Tensor) -> gg.Tensor:
    """``x``, or ``x`` in the default float type if it holds integers or booleans."""
    return x if x.dtype.is_floating_point else x.to(gg.get_default_dtype())


def sum_rightmost(value: gg.Tensor, dims: int) -> gg.Tensor:
    """The sum over the last ``dims`` dimensions."""
    return value if dims == 0 else value.sum(tuple(range(-dims, 0)))


def clamp_probs(probs: gg.Tensor) -> gg.Tensor:
    """Probabilities kept away from 0 and 1, so that their logits are finite."""
    eps = gg.finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def logits_to_probs(logits: gg.Tensor, is_binary: bool = False) -> gg.Tensor:
    """The probabilities of log odds, or of unnormalised log probabilities in the last dimension."""
    return logits.sigmoid() if is_binary else softmax(logits, -1)


def probs_to_logits(probs: gg.Tensor, is_binary: bool = False) -> gg.Tensor:
    """Log odds (``is_binary``), or log probabilities."""
    safe = clamp_probs(probs)
    return safe.log() - (-safe).log1p() if is_binary else safe.log()


class lazy_property:
    """A method whose result, computed at the first access, replaces it on the instance.

    Inside ``compile`` nothing is kept: the instance may live on after the trace.
    """

    def __init__(self, compute: Callable[[Any], Any]) -> None:
        self.compute = compute
        functools.update_wrapper(self, compute)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        with gg.enable_grad():
            value = self.compute(instance)
        if not tracing():
            instance.__dict__[self.compute.__name__] = value
        return value


class ProbsOrLogits:
    """A distribution whose parameter is given as ``probs`` or as ``logits``, the other derived."""

    is_binary = True

    def _choose(self, probs: Any, logits: Any) -> tuple[str, Any]:
        """(name, value) of the one that was given."""
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        return ("probs", probs) if logits is None else ("logits", logits)

    def _odds(self, probs: Any, logits: Any) -> gg.Tensor:
        """Store a binary parameter; returns it."""
        name, value = self._choose(probs, logits)
        self.__dict__[name] = value = as_float(*broadcast_all(value))
        return value

    @lazy_property
    def logits(self) -> gg.Tensor:
        """Log odds, or log probabilities."""
        return probs_to_logits(self.probs, self.is_binary)

    @lazy_property
    def probs(self) -> gg.Tensor:
        """Probabilities."""
        return logits_to_probs(self.logits, self.is_binary)

    @property
    def _param(self) -> gg.Tensor:
        return self.__dict__["probs" if "probs" in self.__dict__ else "logits"]

    @property
    def param_shape(self) -> gg.Size:
        """The shape of the parameter."""
        return self._param.shape
