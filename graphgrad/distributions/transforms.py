"""Invertible (or not) maps of random values, with the logarithm of their volume change.

t = ComposeTransform([AffineTransform(0.0, 2.0), ExpTransform()])
y = t(x);  x = t.inv(y);  t.log_abs_det_jacobian(x, y)
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.utils import broadcast_all, sum_rightmost
from graphgrad.functional import pad, softmax, softplus

__all__ = [
    "AbsTransform",
    "AffineTransform",
    "CatTransform",
    "ComposeTransform",
    "CorrCholeskyTransform",
    "CumulativeDistributionTransform",
    "ExpTransform",
    "IndependentTransform",
    "LowerCholeskyTransform",
    "PositiveDefiniteTransform",
    "PowerTransform",
    "ReshapeTransform",
    "SigmoidTransform",
    "SoftmaxTransform",
    "SoftplusTransform",
    "StackTransform",
    "StickBreakingTransform",
    "TanhTransform",
    "Transform",
    "identity_transform",
]


class Transform:
    """A map from ``domain`` to ``codomain``; ``cache_size=1`` remembers the last pair of values.

    Subclasses define ``_call``, and if they are bijective ``_inverse`` and
    ``log_abs_det_jacobian``; ``sign`` says whether an increasing or decreasing map it is.
    """

    bijective = False
    domain: Any
    codomain: Any

    def __init__(self, cache_size: int = 0) -> None:
        if cache_size not in (0, 1):
            raise ValueError("cache_size must be 0 or 1")
        self._cache_size = cache_size
        self._inv: Any = None
        self._cached: tuple[Any, Any] = (None, None)

    @property
    def event_dim(self) -> int:
        """How many dimensions one value has, if as many before as after."""
        if self.domain.event_dim != self.codomain.event_dim:
            raise ValueError("Please use either .domain.event_dim or .codomain.event_dim")
        return self.domain.event_dim

    @property
    def sign(self) -> Any:
        """1 for an increasing map, -1 for a decreasing one."""
        raise NotImplementedError(f"{type(self).__name__} is not monotonic")

    @property
    def inv(self) -> Transform:
        """The inverse map; the inverse's inverse is this object."""
        inverse = None if self._inv is None else self._inv()
        if inverse is None:
            inverse = _InverseTransform(self)
            self._inv = weakref.ref(inverse)
        return inverse

    def with_cache(self, cache_size: int = 1) -> Transform:
        """The same map with another cache."""
        if self._cache_size == cache_size:
            return self
        if type(self).__init__ is Transform.__init__:
            return type(self)(cache_size=cache_size)
        raise NotImplementedError(f"{type(self)}.with_cache is not implemented")

    def __call__(self, x: gg.Tensor) -> gg.Tensor:
        if self._cache_size == 0:
            return self._call(x)
        old_x, old_y = self._cached
        if x is old_x:
            return old_y
        y = self._call(x)
        self._cached = x, y
        return y

    def _inv_call(self, y: gg.Tensor) -> gg.Tensor:
        if self._cache_size == 0:
            return self._inverse(y)
        old_x, old_y = self._cached
        if y is old_y:
            return old_x
        x = self._inverse(y)
        self._cached = x, y
        return x

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        raise NotImplementedError(f"{type(self).__name__} defines no map")

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        raise NotImplementedError(f"{type(self).__name__} defines no inverse")

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        """log |det dy/dx|, one number an event."""
        raise NotImplementedError(f"{type(self).__name__} defines no log_abs_det_jacobian")

    def forward_shape(self, shape: Sequence[int]) -> gg.Size:
        """The shape of results, from the shape of values."""
        return gg.Size(shape)

    def inverse_shape(self, shape: Sequence[int]) -> gg.Size:
        """The shape of values, from the shape of results."""
        return gg.Size(shape)

    def _key(self) -> Any:
        """What two transforms of a class must share to be equal; by default, identity."""
        return id(self)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._key() == other._key()  # type: ignore[attr-defined]

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _Elementary(Transform):
    """A bijective map of single numbers that has no parameters: all of a class are equal."""

    bijective = True
    domain = constraints.real
    codomain = constraints.real
    sign = 1

    def _key(self) -> Any:
        return ()


class _InverseTransform(Transform):
    """``transform`` backwards."""

    def __init__(self, transform: Transform) -> None:
        super().__init__(cache_size=transform._cache_size)
        self._forward = transform

    @constraints.dependent_property(is_discrete=False)
    def domain(self) -> Any:  # type: ignore[override]
        return self._forward.codomain

    @constraints.dependent_property(is_discrete=False)
    def codomain(self) -> Any:  # type: ignore[override]
        return self._forward.domain

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        return self._forward.bijective

    @property
    def sign(self) -> Any:
        return self._forward.sign

    @property
    def inv(self) -> Transform:
        return self._forward

    def with_cache(self, cache_size: int = 1) -> Transform:
        return self._forward.with_cache(cache_size).inv

    def _key(self) -> Any:
        return _Equal(self._forward)

    def __call__(self, x: gg.Tensor) -> gg.Tensor:
        return self._forward._inv_call(x)

    def _inv_call(self, y: gg.Tensor) -> gg.Tensor:
        return self._forward(y)

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        return -self._forward.log_abs_det_jacobian(y, x)

    def forward_shape(self, shape: Sequence[int]) -> gg.Size:
        return self._forward.inverse_shape(shape)

    def inverse_shape(self, shape: Sequence[int]) -> gg.Size:
        return self._forward.forward_shape(shape)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._forward!r})"


class _Equal:
    """Compares what it holds as transforms and tensors are compared: to one answer."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        a, b = self.value, other.value  # type: ignore[attr-defined]
        if isinstance(a, gg.Tensor) or isinstance(b, gg.Tensor):
            return a is b or bool(gg.as_tensor(a == b).all())
        return a == b

    __hash__ = None  # type: ignore[assignment]


# --------------------------------------------------------------------------------- combinations


class ComposeTransform(Transform):
    """The maps of ``parts``, the first applied first."""

    def __init__(self, parts: Sequence[Transform], cache_size: int = 0) -> None:
        if cache_size:
            parts = [part.with_cache(cache_size) for part in parts]
        super().__init__(cache_size=cache_size)
        self.parts = list(parts)

    def _key(self) -> Any:
        return [_Equal(part) for part in self.parts]

    def _event_dim(self, parts: Iterable[Transform], first: str, last: str) -> int:
        """Event dimensions at one end, enough for every part on the way."""
        parts = list(parts)
        dims = getattr(parts[0], first).event_dim
        for part in parts:
            own, out = getattr(part, first).event_dim, getattr(part, last).event_dim
            dims = max(dims + out - own, out)
        return dims

    @constraints.dependent_property(is_discrete=False)
    def domain(self) -> Any:  # type: ignore[override]
        if not self.parts:
            return constraints.real
        domain = self.parts[0].domain
        # Adjust for the parts that need more dimensions than the first shows.
        dims = self._event_dim(reversed(self.parts), "codomain", "domain")
        missing = dims - domain.event_dim
        return constraints.independent(domain, missing) if missing > 0 else domain

    @constraints.dependent_property(is_discrete=False)
    def codomain(self) -> Any:  # type: ignore[override]
        if not self.parts:
            return constraints.real
        codomain = self.parts[-1].codomain
        missing = self._event_dim(self.parts, "domain", "codomain") - codomain.event_dim
        return constraints.independent(codomain, missing) if missing > 0 else codomain

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        return all(part.bijective for part in self.parts)

    @property
    def sign(self) -> Any:
        sign: Any = 1
        for part in self.parts:
            sign = sign * part.sign
        return sign

    @property
    def inv(self) -> Transform:
        inverse = None if self._inv is None else self._inv()
        if inverse is None:
            inverse = ComposeTransform([part.inv for part in reversed(self.parts)])
            self._inv, inverse._inv = weakref.ref(inverse), weakref.ref(self)
        return inverse

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return ComposeTransform(self.parts, cache_size=cache_size)

    def __call__(self, x: gg.Tensor) -> gg.Tensor:
        for part in self.parts:
            x = part(x)
        return x

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        if not self.parts:
            return gg.zeros_like(x)
        values = [x]
        for part in self.parts[:-1]:
            values.append(part(values[-1]))
        values.append(y)
        total: Any = 0.0
        dims = self.domain.event_dim
        for part, before, after in zip(self.parts, values, values[1:], strict=False):
            term = part.log_abs_det_jacobian(before, after)
            total = total + sum_rightmost(term, dims - part.domain.event_dim)
            dims += part.codomain.event_dim - part.domain.event_dim
        return total

    def forward_shape(self, shape: Sequence[int]) -> gg.Size:
        for part in self.parts:
            shape = part.forward_shape(shape)
        return gg.Size(shape)

    def inverse_shape(self, shape: Sequence[int]) -> gg.Size:
        for part in reversed(self.parts):
            shape = part.inverse_shape(shape)
        return gg.Size(shape)

    def __repr__(self) -> str:
        parts = ",\n    ".join(map(repr, self.parts))
        return f"{type(self).__name__}(\n    {parts}\n)"


identity_transform = ComposeTransform([])


class IndependentTransform(Transform):
    """``base_transform`` with some batch dimensions counted as event dimensions."""

    def __init__(
        self, base_transform: Transform, reinterpreted_batch_ndims: int, cache_size: int = 0
    ) -> None:
        super().__init__(cache_size=cache_size)
        self.base_transform = base_transform.with_cache(cache_size)
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return IndependentTransform(
            self.base_transform, self.reinterpreted_batch_ndims, cache_size=cache_size
        )

    @constraints.dependent_property(is_discrete=False)
    def domain(self) -> Any:  # type: ignore[override]
        return constraints.independent(self.base_transform.domain, self.reinterpreted_batch_ndims)

    @constraints.dependent_property(is_discrete=False)
    def codomain(self) -> Any:  # type: ignore[override]
        return constraints.independent(self.base_transform.codomain, self.reinterpreted_batch_ndims)

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        return self.base_transform.bijective

    @property
    def sign(self) -> Any:
        return self.base_transform.sign

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        if x.ndim < self.domain.event_dim:
            raise ValueError("Too few dimensions on input")
        return self.base_transform(x)

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        if y.ndim < self.codomain.event_dim:
            raise ValueError("Too few dimensions on input")
        return self.base_transform.inv(y)

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        inner = self.base_transform.log_abs_det_jacobian(x, y)
        return sum_rightmost(inner, self.reinterpreted_batch_ndims)

    def forward_shape(self, shape: Sequence[int]) -> gg.Size:
        return self.base_transform.forward_shape(shape)

    def inverse_shape(self, shape: Sequence[int]) -> gg.Size:
        return self.base_transform.inverse_shape(shape)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_transform!r}, {self.reinterpreted_batch_ndims})"


class ReshapeTransform(Transform):
    """Events of ``in_shape`` as events of ``out_shape``."""

    bijective = True

    def __init__(
        self, in_shape: Sequence[int], out_shape: Sequence[int], cache_size: int = 0
    ) -> None:
        self.in_shape, self.out_shape = gg.Size(in_shape), gg.Size(out_shape)
        if self.in_shape.numel() != self.out_shape.numel():
            raise ValueError("in_shape, out_shape have different numbers of elements")
        super().__init__(cache_size=cache_size)

    @constraints.dependent_property
    def domain(self) -> Any:  # type: ignore[override]
        return constraints.independent(constraints.real, len(self.in_shape))

    @constraints.dependent_property
    def codomain(self) -> Any:  # type: ignore[override]
        return constraints.independent(constraints.real, len(self.out_shape))

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return ReshapeTransform(self.in_shape, self.out_shape, cache_size=cache_size)

    def _key(self) -> Any:
        return self.in_shape, self.out_shape

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return x.reshape(self.forward_shape(x.shape))

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return y.reshape(self.inverse_shape(y.shape))

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        return x.new_zeros(x.shape[: x.ndim - len(self.in_shape)])

    def forward_shape(self, shape: Sequence[int]) -> gg.Size:
        return _swapped(shape, self.in_shape, self.out_shape)

    def inverse_shape(self, shape: Sequence[int]) -> gg.Size:
        return _swapped(shape, self.out_shape, self.in_shape)


def _swapped(shape: Sequence[int], old: gg.Size, new: gg.Size) -> gg.Size:
    """``shape`` with its end, which must be ``old``, replaced by ``new``."""
    cut = len(shape) - len(old)
    if cut < 0:
        raise ValueError("Too few dimensions on input")
    if tuple(shape[cut:]) != tuple(old):
        raise ValueError(f"Shape mismatch: expected {tuple(shape[cut:])} but got {tuple(old)}")
    return gg.Size(shape[:cut]) + new


class _PartsTransform(Transform):
    """Several maps, each for its part of a dimension."""

    def __init__(self, tseq: Sequence[Transform], dim: int, cache_size: int) -> None:
        if cache_size:
            tseq = [t.with_cache(cache_size) for t in tseq]
        super().__init__(cache_size=cache_size)
        self.transforms, self.dim = list(tseq), dim

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        return all(t.bijective for t in self.transforms)

    def _split(self, value: gg.Tensor) -> Sequence[gg.Tensor]:
        raise NotImplementedError

    def _join(self, values: Sequence[gg.Tensor]) -> gg.Tensor:
        raise NotImplementedError

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        parts = self._split(x)
        return self._join([t(part) for t, part in zip(self.transforms, parts, strict=True)])

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        parts = self._split(y)
        return self._join([t.inv(part) for t, part in zip(self.transforms, parts, strict=True)])


class CatTransform(_PartsTransform):
    """Maps for parts of the given ``lengths`` (1 each by default) along ``dim``."""

    def __init__(
        self,
        tseq: Sequence[Transform],
        dim: int = 0,
        lengths: Sequence[int] | None = None,
        cache_size: int = 0,
    ) -> None:
        super().__init__(tseq, dim, cache_size)
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)

    @property
    def event_dim(self) -> int:
        return max(t.event_dim for t in self.transforms)

    @property
    def length(self) -> int:
        """The size of ``dim``."""
        return sum(self.lengths)

    @constraints.dependent_property
    def domain(self) -> Any:  # type: ignore[override]
        return constraints.cat([t.domain for t in self.transforms], self.dim, self.lengths)

    @constraints.dependent_property
    def codomain(self) -> Any:  # type: ignore[override]
        return constraints.cat([t.codomain for t in self.transforms], self.dim, self.lengths)

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return CatTransform(self.transforms, self.dim, self.lengths, cache_size)

    def _split(self, value: gg.Tensor) -> Sequence[gg.Tensor]:
        if value.shape[self.dim] != self.length:
            raise ValueError(
                f"dimension {self.dim} has {value.shape[self.dim]} elements, the transforms "
                f"{self.length}"
            )
        return value.split(self.lengths, self.dim)

    def _join(self, values: Sequence[gg.Tensor]) -> gg.Tensor:
        return gg.cat(list(values), self.dim)

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        parts = zip(self.transforms, self._split(x), self._split(y), strict=True)
        terms = [
            sum_rightmost(t.log_abs_det_jacobian(a, b), self.event_dim - t.event_dim)
            for t, a, b in parts
        ]
        at = self.dim - x.ndim if self.dim >= 0 else self.dim
        at += self.event_dim
        # Where the dimension belongs to the event, the parts add up.
        return gg.cat(terms, at) if at < 0 else sum(terms)  # type: ignore[return-value]


class StackTransform(_PartsTransform):
    """Maps for one slice of ``dim`` each."""

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(tseq, dim, cache_size)

    @constraints.dependent_property
    def domain(self) -> Any:  # type: ignore[override]
        return constraints.stack([t.domain for t in self.transforms], self.dim)

    @constraints.dependent_property
    def codomain(self) -> Any:  # type: ignore[override]
        return constraints.stack([t.codomain for t in self.transforms], self.dim)

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return StackTransform(self.transforms, self.dim, cache_size)

    def _split(self, value: gg.Tensor) -> Sequence[gg.Tensor]:
        if value.shape[self.dim] != len(self.transforms):
            raise ValueError(
                f"dimension {self.dim} has {value.shape[self.dim]} slices, there are "
                f"{len(self.transforms)} transforms"
            )
        return value.unbind(self.dim)

    def _join(self, values: Sequence[gg.Tensor]) -> gg.Tensor:
        return gg.stack(list(values), self.dim)

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        parts = zip(self.transforms, self._split(x), self._split(y), strict=True)
        return gg.stack([t.log_abs_det_jacobian(a, b) for t, a, b in parts], self.dim)


# ------------------------------------------------------------------------------- single numbers


class ExpTransform(_Elementary):
    """y = exp(x)."""

    codomain = constraints.positive

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return x.exp()

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return y.log()

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        return x


class SoftplusTransform(_Elementary):
    """y = log(1 + exp(x))."""

    codomain = constraints.positive

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return softplus(x)

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return (-y).expm1().neg().log() + y

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        return -softplus(-x)


class SigmoidTransform(_Elementary):
    """y = 1 / (1 + exp(−x))."""

    codomain = constraints.unit_interval

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return _inside(x.sigmoid())

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        y = _inside(y)
        return y.log() - (-y).log1p()

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        return -softplus(-x) - softplus(x)


def _inside(probs: gg.Tensor) -> gg.Tensor:
    """Probabilities kept away from 0 and 1 by the least that the type can tell."""
    info = gg.finfo(probs.dtype)
    return probs.clamp(min=info.tiny, max=1.0 - info.eps)


class TanhTransform(_Elementary):
    """y = tanh(x); use ``cache_size=1`` for values near ±1, whose inverse is lost to rounding."""

    codomain = constraints.interval(-1.0, 1.0)

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return x.tanh()

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return y.atanh()

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        return 2.0 * (math.log(2.0) - x - softplus(-2.0 * x))


class AbsTransform(_Elementary):
    """y = |x|; the inverse takes the positive x."""

    bijective = False
    codomain = constraints.positive

    @property
    def sign(self) -> Any:  # type: ignore[override]
        raise NotImplementedError("AbsTransform is not monotonic")

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return x.abs()

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return y


class PowerTransform(Transform):
    """y = x ** exponent, of positive numbers."""

    domain = constraints.positive
    codomain = constraints.positive
    bijective = True

    def __init__(self, exponent: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        (self.exponent,) = broadcast_all(exponent)

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return PowerTransform(self.exponent, cache_size=cache_size)

    @property
    def sign(self) -> Any:
        return self.exponent.sign()

    def _key(self) -> Any:
        return _Equal(self.exponent)

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return x.pow(self.exponent)

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return y.pow(1 / self.exponent)

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        return (self.exponent * y / x).abs().log()

    def forward_shape(self, shape: Sequence[int]) -> gg.Size:
        return gg.Size(gg.broadcast_shapes(shape, self.exponent.shape))

    inverse_shape = forward_shape


class AffineTransform(Transform):
    """y = loc + scale · x, whose last ``event_dim`` dimensions are one value."""

    bijective = True

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        self.loc, self.scale, self._event_dim = loc, scale, event_dim

    @property
    def event_dim(self) -> int:
        return self._event_dim

    @constraints.dependent_property(is_discrete=False)
    def domain(self) -> Any:  # type: ignore[override]
        return (
            constraints.independent(constraints.real, self._event_dim)
            if self._event_dim
            else (constraints.real)
        )

    @constraints.dependent_property(is_discrete=False)
    def codomain(self) -> Any:  # type: ignore[override]
        return self.domain

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return AffineTransform(self.loc, self.scale, self._event_dim, cache_size=cache_size)

    def _key(self) -> Any:
        return _Equal(self.loc), _Equal(self.scale)

    @property
    def sign(self) -> Any:
        if isinstance(self.scale, gg.Tensor):
            return self.scale.sign()
        return (self.scale > 0) - (self.scale < 0)

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return self.loc + self.scale * x

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        if isinstance(self.scale, gg.Tensor):
            volume = self.scale.abs().log().expand(gg.broadcast_shapes(x.shape, self.scale.shape))
        else:
            volume = gg.full_like(x, math.log(abs(self.scale)))
        return sum_rightmost(volume, self._event_dim)

    def forward_shape(self, shape: Sequence[int]) -> gg.Size:
        own = (getattr(v, "shape", ()) for v in (self.loc, self.scale))
        return gg.Size(gg.broadcast_shapes(shape, *own))

    inverse_shape = forward_shape


class CumulativeDistributionTransform(Transform):
    """y = the probability of values up to x, of a distribution with ``cdf`` and ``icdf``."""

    bijective = True
    codomain = constraints.unit_interval
    sign = 1

    def __init__(self, distribution: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        self.distribution = distribution

    @property
    def domain(self) -> Any:  # type: ignore[override]
        return self.distribution.support

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return CumulativeDistributionTransform(self.distribution, cache_size=cache_size)

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return self.distribution.cdf(x)

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return self.distribution.icdf(y)

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        return self.distribution.log_prob(x)


# ---------------------------------------------------------------------------- vectors, matrices


class SoftmaxTransform(Transform):
    """y = softmax(x); not bijective, since it has one direction less. The inverse is the log."""

    domain = constraints.real_vector
    codomain = constraints.simplex

    def _key(self) -> Any:
        return ()

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return softmax(x, -1)

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return y.log()

    def forward_shape(self, shape: Sequence[int]) -> gg.Size:
        return _checked(shape, 1)

    inverse_shape = forward_shape


def _checked(shape: Sequence[int], least: int) -> gg.Size:
    if len(shape) < least:
        raise ValueError("Too few dimensions on input")
    return gg.Size(shape)


class StickBreakingTransform(Transform):
    """n numbers as n + 1 probabilities: each takes its share of what the ones before it left."""

    domain = constraints.real_vector
    codomain = constraints.simplex
    bijective = True

    def _key(self) -> Any:
        return ()

    def _offset(self, x: gg.Tensor) -> gg.Tensor:
        """log of how many parts are still to come, so that 0 means equal parts."""
        n = x.shape[-1]
        return gg.arange(n, 0, -1, dtype=x.dtype).log()

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        share = _inside((x - self._offset(x)).sigmoid())
        left = (1 - share).cumprod(-1)
        return pad(share, [0, 1], value=1.0) * pad(left, [1, 0], value=1.0)

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        part = y[..., :-1]
        left = (1 - part.cumsum(-1)).clamp(min=gg.finfo(y.dtype).tiny)
        return part.log() - left.log() + self._offset(part)

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        x = x - self._offset(x)
        return (-x - softplus(-x) + y[..., :-1].log()).sum(-1)

    def forward_shape(self, shape: Sequence[int]) -> gg.Size:
        shape = _checked(shape, 1)
        return gg.Size((*shape[:-1], shape[-1] + 1))

    def inverse_shape(self, shape: Sequence[int]) -> gg.Size:
        shape = _checked(shape, 1)
        return gg.Size((*shape[:-1], shape[-1] - 1))


class LowerCholeskyTransform(Transform):
    """The lower triangle of a matrix, its diagonal exponentiated."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.lower_cholesky
    bijective = True

    def _key(self) -> Any:
        return ()

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return x.tril(-1) + gg.diag_embed(x.diagonal(0, -2, -1).exp())

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return y.tril(-1) + gg.diag_embed(y.diagonal(0, -2, -1).log())


class PositiveDefiniteTransform(Transform):
    """L Lᵀ for the L of ``LowerCholeskyTransform``."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.positive_definite
    bijective = True

    def _key(self) -> Any:
        return ()

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        lower = LowerCholeskyTransform()(x)
        return lower @ lower.mT

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return LowerCholeskyTransform().inv(gg.linalg.cholesky(y))


class CorrCholeskyTransform(Transform):
    """n(n − 1)/2 numbers as the Cholesky factor of an n × n correlation matrix.

    Row by row, tanh of each number is the cosine that its column takes of what is left of the
    row's unit length (signed stick breaking).
    """

    domain = constraints.real_vector
    codomain = constraints.corr_cholesky
    bijective = True

    def _key(self) -> Any:
        return ()

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        eps = gg.finfo(x.dtype).eps
        cosines = _to_tril(x.tanh().clamp(min=eps - 1, max=1 - eps))
        left = (1 - cosines**2).sqrt().cumprod(-1)
        rows = cosines + gg.eye(cosines.shape[-1], dtype=x.dtype)
        return rows * pad(left[..., :-1], [1, 0], value=1.0)

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        # What is left of each row's unit length before column j.
        left = 1 - (y * y).cumsum(-1)
        before = _from_tril(pad(left[..., :-1], [1, 0], value=1.0))
        cosines = _from_tril(y) / before.clamp(min=gg.finfo(y.dtype).tiny).sqrt()
        return (cosines.log1p() - (-cosines).log1p()) / 2

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        left = (1 - (y * y).cumsum(-1))[..., :-1]
        # Entry (i, j) is scaled by the square root of what columns before j left.
        inner = _from_tril(pad(left, [1, 0], value=1.0))
        scaled = 0.5 * inner.log().sum(-1)
        return scaled - 2 * (x + softplus(-2 * x) - math.log(2.0)).sum(-1)

    def forward_shape(self, shape: Sequence[int]) -> gg.Size:
        shape = _checked(shape, 1)
        n = round((0.25 + 2 * shape[-1]) ** 0.5 + 0.5)
        if n * (n - 1) // 2 != shape[-1]:
            raise ValueError("Input is not a flattened lower-diagonal number")
        return gg.Size((*shape[:-1], n, n))

    def inverse_shape(self, shape: Sequence[int]) -> gg.Size:
        shape = _checked(shape, 2)
        if shape[-2] != shape[-1]:
            raise ValueError("Input is not square")
        n = shape[-1]
        return gg.Size((*shape[:-2], n * (n - 1) // 2))


def _from_tril(matrix: gg.Tensor) -> gg.Tensor:
    """The entries below the diagonal, row by row, as a vector."""
    rows, columns = gg.tril_indices(matrix.shape[-2], matrix.shape[-1], -1)
    return matrix[..., rows, columns]


def _to_tril(vector: gg.Tensor) -> gg.Tensor:
    """The matrix with the given entries below the diagonal, and zeros."""
    n = CorrCholeskyTransform().forward_shape(vector.shape)[-1]
    rows, columns = gg.tril_indices(n, n, -1)
    flat = gg.zeros((*vector.shape[:-1], n * n), dtype=vector.dtype)
    at = (rows * n + columns).expand(vector.shape)
    return flat.scatter(-1, at, vector).reshape((*vector.shape[:-1], n, n))
