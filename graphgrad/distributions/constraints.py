"""Regions that parameters and values lie in: ``constraints.positive.check(x)``.

``check`` returns one boolean an event: the last ``event_dim`` dimensions of the value are reduced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import graphgrad as gg

__all__ = [
    "Constraint",
    "boolean",
    "cat",
    "corr_cholesky",
    "dependent",
    "dependent_property",
    "greater_than",
    "greater_than_eq",
    "half_open_interval",
    "independent",
    "integer_interval",
    "interval",
    "is_dependent",
    "less_than",
    "lower_cholesky",
    "lower_triangular",
    "mixture_same_family",
    "multinomial",
    "nonnegative",
    "nonnegative_integer",
    "one_hot",
    "positive",
    "positive_definite",
    "positive_integer",
    "positive_semidefinite",
    "real",
    "real_vector",
    "simplex",
    "square",
    "stack",
    "symmetric",
    "unit_interval",
]


class Constraint:
    """A region; ``is_discrete`` says of what kind, a point has ``event_dim`` dimensions."""

    is_discrete = False
    event_dim = 0

    def check(self, value: gg.Tensor) -> gg.Tensor:
        """Which events lie inside."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.__class__.__name__.lstrip("_") + "()"


class _Test(Constraint):
    """A region that one test of the value decides."""

    def __init__(
        self,
        name: str,
        test: Callable[[gg.Tensor], gg.Tensor],
        event_dim: int = 0,
        is_discrete: bool = False,
    ) -> None:
        self.name, self.check = name, test
        self.event_dim, self.is_discrete = event_dim, is_discrete

    def __repr__(self) -> str:
        return f"{self.name}()"


class _Dependent(Constraint):
    """Placeholder for a region that depends on other parameters."""

    def __init__(self, *, is_discrete: Any = NotImplemented, event_dim: Any = NotImplemented):
        self._is_discrete, self._event_dim = is_discrete, event_dim

    def _known(self, value: Any, name: str) -> Any:
        if value is NotImplemented:
            raise NotImplementedError(f".{name} cannot be determined statically")
        return value

    @property
    def is_discrete(self) -> bool:
        return self._known(self._is_discrete, "is_discrete")

    @property
    def event_dim(self) -> int:
        return self._known(self._event_dim, "event_dim")

    def __call__(
        self, *, is_discrete: Any = NotImplemented, event_dim: Any = NotImplemented
    ) -> _Dependent:
        """The placeholder with static attributes filled in."""
        return _Dependent(
            is_discrete=self._is_discrete if is_discrete is NotImplemented else is_discrete,
            event_dim=self._event_dim if event_dim is NotImplemented else event_dim,
        )

    def check(self, value: gg.Tensor) -> gg.Tensor:
        raise ValueError("Cannot determine validity of dependent constraint")


class _DependentProperty(property, _Dependent):
    """A ``support`` that is computed from the instance: used as ``property`` is."""

    def __init__(
        self,
        fn: Callable[[Any], Constraint] | None = None,
        *,
        is_discrete: Any = NotImplemented,
        event_dim: Any = NotImplemented,
    ) -> None:
        super().__init__(fn)
        self._is_discrete, self._event_dim = is_discrete, event_dim

    def __call__(self, fn: Callable[[Any], Constraint]) -> _DependentProperty:
        return _DependentProperty(fn, is_discrete=self._is_discrete, event_dim=self._event_dim)


class _Independent(Constraint):
    """``base_constraint`` with some of its batch dimensions counted as event dimensions."""

    def __init__(self, base_constraint: Constraint, reinterpreted_batch_ndims: int) -> None:
        self.base_constraint = base_constraint
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims

    @property
    def is_discrete(self) -> bool:
        return self.base_constraint.is_discrete

    @property
    def event_dim(self) -> int:
        return self.base_constraint.event_dim + self.reinterpreted_batch_ndims

    def check(self, value: gg.Tensor) -> gg.Tensor:
        result = self.base_constraint.check(value)
        dims = self.reinterpreted_batch_ndims
        if result.ndim < dims:
            raise ValueError(
                f"Expected value.dim() >= {self.base_constraint.event_dim + dims} but got "
                f"{value.ndim}"
            )
        return result.reshape((*result.shape[: result.ndim - dims], -1)).all(-1)

    def __repr__(self) -> str:
        return f"Independent({self.base_constraint!r}, {self.reinterpreted_batch_ndims})"


class _MixtureSameFamily(Constraint):
    """The support of the components, checked against each of them at once."""

    def __init__(self, base_constraint: Constraint) -> None:
        self.base_constraint = base_constraint

    @property
    def is_discrete(self) -> bool:
        return self.base_constraint.is_discrete

    @property
    def event_dim(self) -> int:
        return self.base_constraint.event_dim

    def check(self, value: gg.Tensor) -> gg.Tensor:
        at = value.ndim - self.event_dim
        if at < 0:
            raise ValueError(f"Expected value.dim() >= {self.event_dim} but got {value.ndim}")
        return self.base_constraint.check(value.unsqueeze(at)).all(-1)

    def __repr__(self) -> str:
        return f"MixtureSameFamilyConstraint({self.base_constraint!r})"


# ----------------------------------------------------------------------------------------- bounds


class _Bounded(Constraint):
    """Numbers between bounds, each of which may be a tensor, be missing, be attained or not."""

    def _describe(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def __repr__(self) -> str:
        bounds = ", ".join(f"{name}={value}" for name, value in self._describe().items())
        return f"{type(self).__name__.lstrip('_')}({bounds})"


class _IntegerInterval(_Bounded):
    is_discrete = True

    def __init__(self, lower_bound: Any, upper_bound: Any) -> None:
        self.lower_bound, self.upper_bound = lower_bound, upper_bound

    def check(self, value: gg.Tensor) -> gg.Tensor:
        return (value % 1 == 0) & (self.lower_bound <= value) & (value <= self.upper_bound)


class _IntegerLessThan(_Bounded):
    is_discrete = True

    def __init__(self, upper_bound: Any) -> None:
        self.upper_bound = upper_bound

    def check(self, value: gg.Tensor) -> gg.Tensor:
        return (value % 1 == 0) & (value <= self.upper_bound)


class _IntegerGreaterThan(_Bounded):
    is_discrete = True

    def __init__(self, lower_bound: Any) -> None:
        self.lower_bound = lower_bound

    def check(self, value: gg.Tensor) -> gg.Tensor:
        return (value % 1 == 0) & (value >= self.lower_bound)


class _GreaterThan(_Bounded):
    def __init__(self, lower_bound: Any) -> None:
        self.lower_bound = lower_bound

    def check(self, value: gg.Tensor) -> gg.Tensor:
        return self.lower_bound < value


class _GreaterThanEq(_GreaterThan):
    def check(self, value: gg.Tensor) -> gg.Tensor:
        return self.lower_bound <= value


class _LessThan(_Bounded):
    def __init__(self, upper_bound: Any) -> None:
        self.upper_bound = upper_bound

    def check(self, value: gg.Tensor) -> gg.Tensor:
        return value < self.upper_bound


class _Interval(_Bounded):
    def __init__(self, lower_bound: Any, upper_bound: Any) -> None:
        self.lower_bound, self.upper_bound = lower_bound, upper_bound

    def check(self, value: gg.Tensor) -> gg.Tensor:
        return (self.lower_bound <= value) & (value <= self.upper_bound)


class _HalfOpenInterval(_Interval):
    def check(self, value: gg.Tensor) -> gg.Tensor:
        return (self.lower_bound <= value) & (value < self.upper_bound)


class _Multinomial(Constraint):
    """Counts that are not negative and add up to at most ``upper_bound``."""

    is_discrete, event_dim = True, 1

    def __init__(self, upper_bound: Any) -> None:
        self.upper_bound = upper_bound

    def check(self, value: gg.Tensor) -> gg.Tensor:
        return (value >= 0).all(-1) & (value.sum(-1) <= self.upper_bound)


# -------------------------------------------------------------------------------- vectors, matrices


def _is_boolean(value: gg.Tensor) -> gg.Tensor:
    return (value == 0) | (value == 1)


def _is_one_hot(value: gg.Tensor) -> gg.Tensor:
    return _is_boolean(value).all(-1) & (value.sum(-1) == 1)


def _is_simplex(value: gg.Tensor) -> gg.Tensor:
    return (value >= 0).all(-1) & ((value.sum(-1) - 1).abs() < 1e-6)


def _all(flags: gg.Tensor) -> gg.Tensor:
    """All of the last two dimensions."""
    return flags.all(-1).all(-1)


def _is_lower_triangular(value: gg.Tensor) -> gg.Tensor:
    return _all(value.tril() == value)


def _is_lower_cholesky(value: gg.Tensor) -> gg.Tensor:
    return _is_lower_triangular(value) & (value.diagonal(0, -2, -1) > 0).all(-1)


def _is_corr_cholesky(value: gg.Tensor) -> gg.Tensor:
    tolerance = gg.finfo(value.dtype).eps * value.shape[-1] * 10
    unit_rows = ((value * value).sum(-1) - 1).abs() <= tolerance
    return _is_lower_cholesky(value) & unit_rows.all(-1)


def _is_square(value: gg.Tensor) -> gg.Tensor:
    square = value.shape[-2] == value.shape[-1]
    return value.new_full(tuple(value.shape[:-2]), square, dtype=gg.bool)


def _is_symmetric(value: gg.Tensor) -> gg.Tensor:
    if value.shape[-2] != value.shape[-1]:
        return _is_square(value)
    return _all(gg.isclose(value, value.mT, atol=1e-6))


def _least_eigenvalue(value: gg.Tensor) -> gg.Tensor:
    return gg.linalg.eigvalsh(value.detach()).amin(-1)


def _is_semidefinite(value: gg.Tensor) -> gg.Tensor:
    symmetric = _is_symmetric(value)
    return symmetric & (_least_eigenvalue(value) >= 0) if bool(symmetric.all()) else symmetric


def _is_definite(value: gg.Tensor) -> gg.Tensor:
    symmetric = _is_symmetric(value)
    return symmetric & (_least_eigenvalue(value) > 0) if bool(symmetric.all()) else symmetric


# ----------------------------------------------------------------------------------------- joined


class _Joined(Constraint):
    """Constraints, each for its part of a dimension."""

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0) -> None:
        self.cseq, self.dim = list(cseq), dim

    @property
    def is_discrete(self) -> bool:
        return any(c.is_discrete for c in self.cseq)


class _Cat(_Joined):
    """Parts of the given ``lengths`` (1 each by default) along ``dim``."""

    def __init__(
        self, cseq: Sequence[Constraint], dim: int = 0, lengths: Sequence[int] | None = None
    ) -> None:
        super().__init__(cseq, dim)
        self.lengths = [1] * len(self.cseq) if lengths is None else list(lengths)

    @property
    def event_dim(self) -> int:
        return max(c.event_dim for c in self.cseq)

    def check(self, value: gg.Tensor) -> gg.Tensor:
        parts = value.split(self.lengths, self.dim)
        checks = [c.check(part) for c, part in zip(self.cseq, parts, strict=True)]
        return gg.cat(checks, self.dim)


class _Stack(_Joined):
    """One slice of ``dim`` each."""

    @property
    def event_dim(self) -> int:
        inner = max(c.event_dim for c in self.cseq)
        return inner + 1 if self.dim + inner < 0 else inner

    def check(self, value: gg.Tensor) -> gg.Tensor:
        slices = value.unbind(self.dim)
        return gg.stack([c.check(v) for c, v in zip(self.cseq, slices, strict=True)], self.dim)


def is_dependent(constraint: Any) -> bool:
    """Whether a constraint is a placeholder that cannot check anything itself."""
    return isinstance(constraint, _Dependent)


dependent = _Dependent()
dependent_property = _DependentProperty
independent = _Independent
mixture_same_family = _MixtureSameFamily
boolean = _Test("Boolean", _is_boolean, is_discrete=True)
one_hot = _Test("OneHot", _is_one_hot, 1, is_discrete=True)
nonnegative_integer = _IntegerGreaterThan(0)
positive_integer = _IntegerGreaterThan(1)
integer_interval = _IntegerInterval
real = _Test("Real", lambda value: value == value)
real_vector = independent(real, 1)
positive = _GreaterThan(0.0)
nonnegative = _GreaterThanEq(0.0)
greater_than = _GreaterThan
greater_than_eq = _GreaterThanEq
less_than = _LessThan
multinomial = _Multinomial
unit_interval = _Interval(0.0, 1.0)
interval = _Interval
half_open_interval = _HalfOpenInterval
simplex = _Test("Simplex", _is_simplex, 1)
lower_triangular = _Test("LowerTriangular", _is_lower_triangular, 2)
lower_cholesky = _Test("LowerCholesky", _is_lower_cholesky, 2)
corr_cholesky = _Test("CorrCholesky", _is_corr_cholesky, 2)
square = _Test("Square", _is_square, 2)
symmetric = _Test("Symmetric", _is_symmetric, 2)
positive_semidefinite = _Test("PositiveSemidefinite", _is_semidefinite, 2)
positive_definite = _Test("PositiveDefinite", _is_definite, 2)
cat = _Cat
stack = _Stack
