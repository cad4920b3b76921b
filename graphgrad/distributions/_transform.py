"""``Transform``, its inverse, and how transforms are composed."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.utils import sum_rightmost


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
        return type(self) is type(other) and self._key() == other._key()

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Elementary(Transform):
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
    def domain(self) -> Any:
        return self._forward.codomain

    @constraints.dependent_property(is_discrete=False)
    def codomain(self) -> Any:
        return self._forward.domain

    @property
    def bijective(self) -> bool:
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
        return Equal(self._forward)

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


class Equal:
    """Compares what it holds as transforms and tensors are compared: to one answer."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        a, b = self.value, other.value
        if isinstance(a, gg.Tensor) or isinstance(b, gg.Tensor):
            return a is b or bool(gg.as_tensor(a == b, device="cpu").all())
        return a == b

    __hash__ = None


class ComposeTransform(Transform):
    """The maps of ``parts``, the first applied first."""

    def __init__(self, parts: Sequence[Transform], cache_size: int = 0) -> None:
        if cache_size:
            parts = [part.with_cache(cache_size) for part in parts]
        super().__init__(cache_size=cache_size)
        self.parts = list(parts)

    def _key(self) -> Any:
        return [Equal(part) for part in self.parts]

    def _event_dim(self, parts: Iterable[Transform], first: str, last: str) -> int:
        """Event dimensions at one end, enough for every part on the way."""
        parts = list(parts)
        dims = getattr(parts[0], first).event_dim
        for part in parts:
            own, out = getattr(part, first).event_dim, getattr(part, last).event_dim
            dims = max(dims + out - own, out)
        return dims

    @constraints.dependent_property(is_discrete=False)
    def domain(self) -> Any:
        if not self.parts:
            return constraints.real
        domain = self.parts[0].domain
        # Adjust for the parts that need more dimensions than the first shows.
        dims = self._event_dim(reversed(self.parts), "codomain", "domain")
        missing = dims - domain.event_dim
        return constraints.independent(domain, missing) if missing > 0 else domain

    @constraints.dependent_property(is_discrete=False)
    def codomain(self) -> Any:
        if not self.parts:
            return constraints.real
        codomain = self.parts[-1].codomain
        missing = self._event_dim(self.parts, "domain", "codomain") - codomain.event_dim
        return constraints.independent(codomain, missing) if missing > 0 else codomain

    @property
    def bijective(self) -> bool:
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
    def domain(self) -> Any:
        return constraints.independent(self.base_transform.domain, self.reinterpreted_batch_ndims)

    @constraints.dependent_property(is_discrete=False)
    def codomain(self) -> Any:
        return constraints.independent(self.base_transform.codomain, self.reinterpreted_batch_ndims)

    @property
    def bijective(self) -> bool:
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
