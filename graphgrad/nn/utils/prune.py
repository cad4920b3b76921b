"""Parameters with some elements kept at 0 by a mask.

prune.l1_unstructured(layer, "weight", amount=0.3)     # trained: weight_orig; kept: weight_mask
prune.remove(layer, "weight")                          # a plain parameter, zeros included
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.nn.parameter import Parameter
from graphgrad.nn.utils import _computed
from graphgrad.tensor import Tensor
from graphgrad.tensor.state import no_grad


def _count(amount: Any, total: int) -> int:
    """How many of ``total`` an amount (a number, or a fraction) asks for."""
    if isinstance(amount, bool) or not isinstance(amount, (int, float)):
        raise TypeError(f"Invalid type for amount: {type(amount)}. Must be int or float.")
    if amount < 0 or (isinstance(amount, float) and amount > 1):
        raise ValueError(
            f"amount={amount} should either be a float in the range [0.0, 1.0] or a "
            "non-negative integer"
        )
    number = amount if isinstance(amount, int) else round(amount * total)
    if number > total:
        raise ValueError(
            f"amount={number} should be smaller than the number of parameters to prune={total}"
        )
    return number


class BasePruningMethod:
    """Computes a mask; ``PRUNING_TYPE`` says of what: "unstructured", "structured" or "global"."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """1 where an element of ``t`` stays, 0 where it is pruned (or was, in ``default_mask``)."""
        raise NotImplementedError

    def prune(
        self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None
    ) -> Tensor:
        """``t`` with its pruned elements at 0."""
        scores = t if importance_scores is None else importance_scores
        mask = gg.ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(scores, mask)

    @classmethod
    def apply(
        cls, module: Any, name: str, *args: Any, importance_scores: Any = None, **kwargs: Any
    ) -> BasePruningMethod:
        """Prune ``module.name`` (again, if it is pruned already); returns the method."""
        method = cls(*args, **kwargs)
        with no_grad():
            _prune(module, name, method, importance_scores)
        return method


def _prune(module: Any, name: str, method: BasePruningMethod, scores: Any) -> None:
    pruned = _has_mask(module, name)
    current = getattr(module, name).detach()
    importance = current if scores is None else scores
    if tuple(importance.shape) != tuple(current.shape):
        raise AssertionError("importance_scores should have the same shape as parameter")
    before = getattr(module, f"{name}_mask") if pruned else gg.ones_like(current)
    mask = method.compute_mask(importance, before.clone()).to(current.dtype)
    if pruned:
        module._buffers[f"{name}_mask"] = mask
        return
    parameter = module._parameters.pop(name)
    module.register_parameter(f"{name}_orig", parameter)
    module.register_buffer(f"{name}_mask", mask)
    _computed.compute(
        module, name, lambda own: getattr(own, f"{name}_orig") * getattr(own, f"{name}_mask")
    )


def _has_mask(module: Any, name: str) -> bool:
    return _computed.is_computed(module, name) and f"{name}_mask" in module._buffers


class Identity(BasePruningMethod):
    """Prunes nothing, but makes the mask."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask


class _Fraction(BasePruningMethod):
    def __init__(self, amount: Any) -> None:
        _count(amount, 2**62)
        self.amount = amount

    def scores(self, t: Tensor) -> Tensor:
        """What is pruned first is lowest here."""
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        # Of what stands already: an amount is a share of the elements left.
        alive = int(default_mask.sum())
        number = _count(self.amount, alive)
        mask = default_mask.clone().reshape(-1)
        ranked = self.scores(t).reshape(-1).masked_fill(mask == 0, float("inf"))
        mask[ranked.argsort()[:number]] = 0
        return mask.reshape(t.shape)


class RandomUnstructured(_Fraction):
    """Prunes elements drawn at random."""

    def scores(self, t: Tensor) -> Tensor:
        return gg.rand(*t.shape, device=t.device)


class L1Unstructured(_Fraction):
    """Prunes the elements of least magnitude."""

    def scores(self, t: Tensor) -> Tensor:
        return t.abs()


class _Slices(BasePruningMethod):
    PRUNING_TYPE = "structured"

    def __init__(self, amount: Any, dim: int = -1) -> None:
        _count(amount, 2**62)
        self.amount, self.dim = amount, dim

    def scores(self, rows: Tensor) -> Tensor:
        """One number a slice (row): the lowest are pruned."""
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if t.dim() <= 1:
            raise ValueError(
                "Structured pruning can only be applied to multidimensional tensors. "
                f"Found tensor of shape {tuple(t.shape)} with {t.dim()} dims"
            )
        if not -t.dim() <= self.dim < t.dim():
            raise IndexError(f"Invalid index {self.dim} for tensor of size {tuple(t.shape)}")
        axis = self.dim % t.dim()
        rows, stands = (x.movedim(axis, 0).reshape(x.shape[axis], -1) for x in (t, default_mask))
        left = stands.any(1)
        number = _count(self.amount, int(left.sum()))
        ranked = self.scores(rows).masked_fill(~left, float("inf"))
        keep = gg.ones(rows.shape[0], dtype=default_mask.dtype, device=default_mask.device)
        keep[ranked.argsort()[:number]] = 0
        shape = [1] * t.dim()
        shape[axis] = -1
        return default_mask * keep.reshape(shape)


class RandomStructured(_Slices):
    """Prunes whole slices along ``dim``, drawn at random."""

    def scores(self, rows: Tensor) -> Tensor:
        return gg.rand(rows.shape[0], device=rows.device)


class LnStructured(_Slices):
    """Prunes the slices along ``dim`` of least ``n``-norm."""

    def __init__(self, amount: Any, n: Any, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n

    def scores(self, rows: Tensor) -> Tensor:
        return rows.norm(self.n, 1)


class CustomFromMask(BasePruningMethod):
    """Prunes where ``mask`` is 0."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask * self.mask.to(default_mask.dtype)


def identity(module: Any, name: str) -> Any:
    """Make the mask of ``module.name``, all ones."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Any, name: str, amount: Any) -> Any:
    """Prune a number, or a fraction, of elements drawn at random."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: Any, name: str, amount: Any, importance_scores: Any = None) -> Any:
    """Prune the elements of least magnitude."""
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module: Any, name: str, amount: Any, dim: int) -> Any:
    """Prune whole slices along ``dim``, drawn at random."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Any, name: str, amount: Any, n: Any, dim: int, importance_scores: Any = None
) -> Any:
    """Prune the slices along ``dim`` of least ``n``-norm."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Any, name: str, mask: Tensor) -> Any:
    """Prune where ``mask`` is 0."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Any, str]],
    pruning_method: type[BasePruningMethod],
    importance_scores: dict[tuple[Any, str], Tensor] | None = None,
    **kwargs: Any,
) -> None:
    """Prune the elements of several modules' parameters together, as if they were one tensor."""
    rows = list(parameters)
    if pruning_method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE is supported for the `pruning_method`. '
            f"Found method {pruning_method.__name__} of type {pruning_method.PRUNING_TYPE}"
        )
    given = importance_scores or {}
    values = [getattr(module, name).detach() for module, name in rows]
    scores = [given.get(row, value) for row, value in zip(rows, values, strict=True)]
    before = [
        getattr(module, f"{name}_mask") if _has_mask(module, name) else gg.ones_like(value)
        for (module, name), value in zip(rows, values, strict=True)
    ]
    joined, masks = (gg.cat([x.reshape(-1) for x in xs]) for xs in (scores, before))
    mask = pruning_method(**kwargs).compute_mask(joined, masks)
    start = 0
    for (module, name), value in zip(rows, values, strict=True):
        custom_from_mask(module, name, mask[start : start + value.numel()].reshape(value.shape))
        start += value.numel()


def remove(module: Any, name: str) -> Any:
    """A plain parameter again, its pruned elements 0."""
    if not _has_mask(module, name):
        raise ValueError(
            f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed"
        )
    original = getattr(module, f"{name}_orig")
    with no_grad():
        original.data = getattr(module, name)
    _computed.forget(module, name)
    del module._parameters[f"{name}_orig"], module._buffers[f"{name}_mask"]
    assert isinstance(original, Parameter)
    module.register_parameter(name, original)
    return module


def is_pruned(module: Any) -> bool:
    """Whether any parameter of the module, or of one below it, is pruned."""
    return any(
        f"{key.removesuffix('_mask')}_orig" in child._parameters
        for child in module.modules()
        for key in child._buffers
        if key.endswith("_mask")
    )
