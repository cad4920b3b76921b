"""Transforms from all real numbers to a constraint's region.

``biject_to(constraint)`` is bijective, ``transform_to(constraint)`` need not be (it suits
optimisation): ``transform_to(constraints.positive)(torch.randn(3))``. Both are registries:
``@biject_to.register(MyConstraint)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphgrad.distributions import constraints, transforms
from graphgrad.distributions.constraints import Constraint
from graphgrad.distributions.transforms import ComposeTransform, Transform

__all__ = ["ConstraintRegistry", "biject_to", "transform_to"]

Factory = Callable[[Any], Transform]


class ConstraintRegistry:
    """Which transform leads to which constraint, by its class or by the constraint itself."""

    def __init__(self) -> None:
        self._by_class: dict[type, Factory] = {}
        self._by_name: dict[str, Factory] = {}

    def register(self, constraint: Any, factory: Factory | None = None) -> Any:
        """Enter a factory, of transforms from constraints; without one, a decorator."""
        if factory is None:
            return lambda decorated: self.register(constraint, decorated)
        if isinstance(constraint, constraints._Test):
            self._by_name[constraint.name] = factory
            return factory
        kind = type(constraint) if isinstance(constraint, Constraint) else constraint
        if not isinstance(kind, type) or not issubclass(kind, Constraint):
            raise TypeError(
                "Expected constraint to be either a Constraint subclass or instance, but got "
                f"{constraint}"
            )
        self._by_class[kind] = factory
        return factory

    def __call__(self, constraint: Constraint) -> Transform:
        """The transform whose codomain is ``constraint``."""
        by_name = self._by_name.get(getattr(constraint, "name", ""))
        factory = by_name or self._by_class.get(type(constraint))
        if factory is None:
            raise NotImplementedError(
                f"Cannot transform {type(constraint).__name__} constraints: register a transform "
                "for them"
            )
        return factory(constraint)


biject_to = ConstraintRegistry()
transform_to = ConstraintRegistry()


def _both(*kinds: Any) -> Callable[[Factory], Factory]:
    def enter(factory: Factory) -> Factory:
        for kind in kinds:
            biject_to.register(kind, factory)
            transform_to.register(kind, factory)
        return factory

    return enter


@_both(constraints.real)
def _real(constraint: Any) -> Transform:
    return transforms.identity_transform


@_both(constraints.greater_than, constraints.greater_than_eq)
def _above(constraint: Any) -> Transform:
    if isinstance(constraint.lower_bound, (int, float)) and constraint.lower_bound == 0:
        return transforms.ExpTransform()
    shift = transforms.AffineTransform(constraint.lower_bound, 1)
    return ComposeTransform([transforms.ExpTransform(), shift])


@_both(constraints.less_than)
def _below(constraint: Any) -> Transform:
    mirrored = transforms.AffineTransform(constraint.upper_bound, -1)
    return ComposeTransform([transforms.ExpTransform(), mirrored])


@_both(constraints.interval, constraints.half_open_interval)
def _between(constraint: Any) -> Transform:
    low, high = constraint.lower_bound, constraint.upper_bound
    plain = isinstance(low, (int, float)) and isinstance(high, (int, float))
    if plain and (low, high) == (0, 1):
        return transforms.SigmoidTransform()
    return ComposeTransform(
        [transforms.SigmoidTransform(), transforms.AffineTransform(low, high - low)]
    )


def _independent(registry: ConstraintRegistry) -> None:
    def factory(constraint: Any) -> Transform:
        base = registry(constraint.base_constraint)
        dims = constraint.reinterpreted_batch_ndims
        return transforms.IndependentTransform(base, dims)

    registry.register(constraints.independent, factory)


def _joined(registry: ConstraintRegistry) -> None:
    def cat(constraint: Any) -> Transform:
        parts = [registry(c) for c in constraint.cseq]
        return transforms.CatTransform(parts, constraint.dim, constraint.lengths)

    def stack(constraint: Any) -> Transform:
        return transforms.StackTransform([registry(c) for c in constraint.cseq], constraint.dim)

    registry.register(constraints.cat, cat)
    registry.register(constraints.stack, stack)


for _registry in (biject_to, transform_to):
    _independent(_registry)
    _joined(_registry)


@biject_to.register(constraints.simplex)
def _simplex_bijection(constraint: Any) -> Transform:
    return transforms.StickBreakingTransform()


@transform_to.register(constraints.simplex)
def _simplex(constraint: Any) -> Transform:
    return transforms.SoftmaxTransform()


@_both(constraints.lower_cholesky)
def _lower_cholesky(constraint: Any) -> Transform:
    return transforms.LowerCholeskyTransform()


@_both(constraints.positive_definite, constraints.positive_semidefinite)
def _positive_definite(constraint: Any) -> Transform:
    return transforms.PositiveDefiniteTransform()


@_both(constraints.corr_cholesky)
def _corr_cholesky(constraint: Any) -> Transform:
    return transforms.CorrCholeskyTransform()
