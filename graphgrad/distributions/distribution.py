"""``Distribution``: what every distribution offers, and what it can derive from its parameters."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.utils import lazy_property, tracing


class Distribution:
    """Probability distributions over a batch of parameters.

    Samples have the shape ``sample_shape + batch_shape + event_shape``. Parameters are named in
    ``arg_constraints``; they and the values given to ``log_prob`` are checked where
    ``validate_args`` says so (by default), except inside ``compile``, where values are not known.
    """

    has_rsample = False
    has_enumerate_support = False
    _validate_args = __debug__
    # Tensors beside the parameters that expand with them: name → number of event dimensions.
    _derived: dict[str, int] = {}

    def __init__(
        self,
        batch_shape: Iterable[int] = (),
        event_shape: Iterable[int] = (),
        validate_args: bool | None = None,
    ) -> None:
        self._batch_shape, self._event_shape = gg.Size(batch_shape), gg.Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args and not tracing():
            self._check_parameters()

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions made from now on check their arguments."""
        if value not in (True, False):
            raise ValueError(f"validate_args is True or False, not {value!r}")
        Distribution._validate_args = value

    # ----------------------------------------------------------------------------------- checks

    def _check_parameters(self) -> None:
        for name, constraint in self._known_constraints().items():
            if constraints.is_dependent(constraint):
                continue
            value = getattr(self, name)
            if not isinstance(value, gg.Tensor):
                value = gg.tensor(value, device="cpu")
            if not bool(constraint.check(value.detach()).all()):
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape "
                    f"{tuple(value.shape)}) of distribution {self!r} to satisfy the constraint "
                    f"{constraint!r}, but found invalid values:\n{value}"
                )

    def _known_constraints(self) -> dict[str, Any]:
        """The constraints of the parameters that were given, not of those derived from them."""
        try:
            known = self.arg_constraints
        except NotImplementedError:
            warnings.warn(
                f"{type(self)} does not define `arg_constraints`: set it to a dict, or "
                "validate_args=False",
                stacklevel=4,
            )
            return {}
        return {
            name: constraint
            for name, constraint in known.items()
            if name in self.__dict__
            or not isinstance(getattr(type(self), name, None), lazy_property)
        }

    def _validate_sample(self, value: Any) -> None:
        """ValueError if ``value`` has the wrong shape or lies outside the support."""
        if not isinstance(value, gg.Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        start = value.ndim - len(self.event_shape)
        if tuple(value.shape[max(start, 0) :]) != tuple(self.event_shape):
            raise ValueError(
                "The right-most size of value must match event_shape: "
                f"{value.shape} vs {self.event_shape}."
            )
        whole = self.batch_shape + self.event_shape
        for i, j in zip(reversed(value.shape), reversed(whole), strict=False):
            if i != 1 and j != 1 and i != j:
                raise ValueError(
                    "Value is not broadcastable with batch_shape+event_shape: "
                    f"{value.shape} vs {whole}."
                )
        if not tracing():
            self._check_support(value)

    def _check_support(self, value: gg.Tensor) -> None:
        try:
            support = self.support
        except NotImplementedError:
            warnings.warn(
                f"{type(self)} does not define `support`, so values are not checked", stacklevel=4
            )
            return
        if not bool(support.check(value.detach()).all()):
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) "
                f"to be within the support ({support!r}) of the distribution {self!r}, but found "
                f"invalid values:\n{value}"
            )

    # ----------------------------------------------------------------------------------- shapes

    @property
    def batch_shape(self) -> gg.Size:
        """The shape over which parameters are batched."""
        return self._batch_shape

    @property
    def event_shape(self) -> gg.Size:
        """The shape of one sample of one distribution."""
        return self._event_shape

    def _extended_shape(self, sample_shape: Iterable[int] = ()) -> gg.Size:
        """The shape of ``sample(sample_shape)``."""
        return gg.Size(tuple(sample_shape)) + self._batch_shape + self._event_shape

    def expand(self, batch_shape: Iterable[int], _instance: Any = None) -> Any:
        """The same distributions, repeated (without copying) to a larger batch shape."""
        return self._spread(gg.Size(batch_shape), {}, _instance)

    def _spread(self, batch: gg.Size, parts: dict[str, Any], _instance: Any) -> Any:
        """The same with parameters expanded to ``batch``, and ``parts`` for attributes."""
        new = self._get_checked_instance(type(self), _instance)
        new.__dict__.update(parts, _batch_shape=batch)
        for name, events in self._tensors().items():
            value = self.__dict__[name]
            own = value.shape[value.ndim - events :]
            new.__dict__.setdefault(name, value.expand(batch + own))
        for name, value in self.__dict__.items():
            new.__dict__.setdefault(name, value)
        return new

    def _tensors(self) -> dict[str, int]:
        """Names of the tensors this instance holds, with how many event dimensions each has."""
        rows = {name: c.event_dim for name, c in self.arg_constraints.items()} | self._derived
        return {n: d for n, d in rows.items() if isinstance(self.__dict__.get(n), gg.Tensor)}

    def _get_checked_instance(self, cls: type, _instance: Any = None) -> Any:
        """A blank instance to fill; a subclass with its own ``__init__`` has to bring its own."""
        if _instance is None and type(self).__init__ != cls.__init__:
            raise NotImplementedError(
                f"Subclass {type(self).__name__} of {cls.__name__} that defines a custom __init__ "
                "method must also define a custom .expand() method."
            )
        return type(self).__new__(type(self)) if _instance is None else _instance

    # --------------------------------------------------------------------- what subclasses define

    @property
    def arg_constraints(self) -> dict[str, Any]:
        """Which constraint each parameter must satisfy."""
        raise NotImplementedError

    @property
    def support(self) -> Any:
        """The constraint that values satisfy."""
        raise NotImplementedError

    @property
    def mean(self) -> gg.Tensor:
        """The expected value."""
        raise NotImplementedError

    @property
    def mode(self) -> gg.Tensor:
        """The most probable value."""
        raise NotImplementedError(f"{type(self)} does not implement mode")

    @property
    def variance(self) -> gg.Tensor:
        """The variance."""
        raise NotImplementedError

    @property
    def stddev(self) -> gg.Tensor:
        """The standard deviation."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        """Values drawn from the distributions, without gradient."""
        with gg.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        """Values drawn such that gradients flow from them to the parameters."""
        raise NotImplementedError(
            f"{type(self).__name__} has no reparameterised samples: use sample()"
        )

    def sample_n(self, n: int) -> gg.Tensor:
        """``n`` samples (the old name of ``sample((n,))``)."""
        warnings.warn("sample_n will be deprecated. Use .sample((n,)) instead", stacklevel=2)
        return self.sample((n,))

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        """The logarithm of the density (or mass) at ``value``."""
        raise NotImplementedError

    def cdf(self, value: gg.Tensor) -> gg.Tensor:
        """The probability of values up to ``value``."""
        raise NotImplementedError(f"{type(self).__name__} has no closed form of cdf")

    def icdf(self, value: gg.Tensor) -> gg.Tensor:
        """The value up to which ``value`` of the probability lies."""
        raise NotImplementedError(f"{type(self).__name__} has no closed form of icdf")

    def enumerate_support(self, expand: bool = True) -> gg.Tensor:
        """Every value of a finite support, along a new first dimension."""
        raise NotImplementedError(f"{type(self).__name__} does not enumerate its support")

    def entropy(self) -> gg.Tensor:
        """The entropy, in nats."""
        raise NotImplementedError(f"{type(self).__name__} has no closed form of entropy")

    def perplexity(self) -> gg.Tensor:
        """exp(entropy)."""
        return self.entropy().exp()

    def _listed(self, values: gg.Tensor, expand: bool) -> gg.Tensor:
        """``values``, one an element, as ``enumerate_support`` returns them."""
        values = values.reshape((-1, *(1 for _ in self._batch_shape)))
        return values.expand((-1, *self._batch_shape)) if expand else values

    def __repr__(self) -> str:
        return self._show({n: self.__dict__[n] for n in self.arg_constraints if n in self.__dict__})

    def _show(self, parameters: dict[str, Any]) -> str:
        shown = ", ".join(f"{name}: {_short(value)}" for name, value in parameters.items())
        return f"{type(self).__name__}({shown})"


def _short(value: Any) -> Any:
    """A number, or the size of a tensor of several."""
    if not isinstance(value, gg.Tensor):
        return value
    return value.item() if value.numel() == 1 and not tracing() else value.shape
