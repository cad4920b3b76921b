"""Divergences, transforms, distributions made of others, constraints, and bad arguments."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from distribution_cases import (
    CASES,
    IDS,
    build,
    positive,
    real,
    same,
    same_if_defined,
    spd,
    values_of,
)

import graphgrad as gg

pytestmark = pytest.mark.devices

D = gg.distributions


# -------------------------------------------------------------------------------------- divergences


def pairs() -> list[tuple[Any, Any]]:
    alone = [label for label in IDS if not label.startswith(("StudentT", "Chi2", "Wishart"))]
    line = [c for c in alone if c.split("-")[0] in ("Normal", "Uniform", "Laplace")]
    line += [c for c in alone if c.split("-")[0] in ("Exponential", "Gamma", "Beta")]
    line += ["Gumbel-loc-scale", "Pareto-scale-alpha", "ContinuousBernoulli-logits"]
    same_class = [(c, c) for c in alone if not c.startswith("Multinomial")]
    return same_class + list(itertools.permutations(line, 2))


@pytest.mark.torch
@pytest.mark.parametrize("p, q", pairs(), ids=[f"{p} and {q}" for p, q in pairs()])
def test_kl_divergence(p: str, q: str) -> None:
    torch = pytest.importorskip("torch")
    cases = dict(zip(IDS, CASES, strict=True))
    ones = []
    for library in (gg, torch):
        name, given = cases[q]
        moved = {k: _moved(k, v) for k, v in given.items()}
        ones += [build(library, *cases[p])[0], build(library, name, moved)[0]]
    a, b, c, d = ones
    try:
        wanted = torch.distributions.kl_divergence(c, d)
    except NotImplementedError:
        with pytest.raises(NotImplementedError):
            D.kl_divergence(a, b)
        return
    got = D.kl_divergence(a, b)
    assert got.shape == gg.broadcast_shapes(a.batch_shape, b.batch_shape)
    same(got, wanted.expand(got.shape))


def _moved(name: str, value: Any) -> Any:
    """Another parameter of the same kind."""
    if not isinstance(value, np.ndarray):
        return value
    if name in ("covariance_matrix", "precision_matrix", "scale_tril"):
        return 1.5 * value
    return value * 0.9 + 0.05


def test_divergence_of_wisharts_is_the_mean_difference() -> None:
    """PyTorch's is another number in more than one dimension; this is what samples say."""
    gg.manual_seed(9)
    scale = gg.tensor(spd(3, 3))
    p, q = D.Wishart(5.0, scale), D.Wishart(4.0, 1.5 * gg.eye(3, dtype=gg.float64))
    x = p.sample((20000,))
    difference = (p.log_prob(x) - q.log_prob(x)).numpy()
    error = difference.std() / math.sqrt(20000)
    assert abs(D.kl_divergence(p, q).item() - difference.mean()) < 4 * error
    one = D.Wishart(3.0, gg.tensor([[2.0]])), D.Wishart(4.0, gg.tensor([[1.5]]))
    gammas = D.Gamma(1.5, 0.25), D.Gamma(2.0, 1 / 3)
    same(D.kl_divergence(*one), D.kl_divergence(*gammas), 1e-5)


def test_rules_for_new_classes() -> None:
    class Own(D.Normal):
        pass

    p, q = Own(0.0, 1.0), D.Normal(1.0, 1.0)
    same(D.kl_divergence(p, q), gg.tensor(0.5))

    @D.register_kl(Own, D.Normal)
    def rule(p: Any, q: Any) -> Any:
        return gg.tensor(7.0)

    assert D.kl_divergence(p, q).item() == 7 and D.kl_divergence(q, q).item() == 0
    with pytest.raises(NotImplementedError, match="No KL"):
        D.kl_divergence(D.Uniform(0.0, 1.0), D.Wishart(3.0, gg.eye(2)))
    with pytest.raises(TypeError):
        D.register_kl(int, D.Normal)


# --------------------------------------------------------------------------- transforms, structures

TRANSFORMS: list[tuple[str, dict[str, Any], np.ndarray]] = [
    ("ExpTransform", {}, real(3, 2)),
    ("SoftplusTransform", {}, real(3, 2)),
    ("SigmoidTransform", {}, real(3, 2)),
    ("TanhTransform", {}, real(3, 2)),
    ("AbsTransform", {}, real(3, 2)),
    ("PowerTransform", {"exponent": np.array(2.5)}, positive(3, 2)),
    ("AffineTransform", {"loc": 1.0, "scale": np.array([2.0, -3.0])}, real(3, 2)),
    ("AffineTransform", {"loc": 1.0, "scale": -2.0, "event_dim": 1}, real(3, 2)),
    ("SoftmaxTransform", {}, real(3, 2)),
    ("StickBreakingTransform", {}, real(3, 4)),
    ("LowerCholeskyTransform", {}, real(2, 3, 3)),
    ("PositiveDefiniteTransform", {}, real(2, 3, 3)),
    ("CorrCholeskyTransform", {}, real(2, 6)),
    ("ReshapeTransform", {"in_shape": (2, 3), "out_shape": (6,)}, real(4, 2, 3)),
]


def transform_of(library: Any, name: str, given: dict[str, Any]) -> Any:
    arrays = {k: library.tensor(v) for k, v in given.items() if isinstance(v, np.ndarray)}
    return getattr(library.distributions, name)(**(given | arrays))


@pytest.mark.torch
@pytest.mark.parametrize("name, given, array", TRANSFORMS, ids=[t[0] for t in TRANSFORMS])
def test_transforms(name: str, given: dict[str, Any], array: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = transform_of(gg, name, given), transform_of(torch, name, given)
    x, z = gg.tensor(array), torch.tensor(array)
    y, w = ours(x), theirs(z)
    same(y, w)
    same(ours.inv(y), theirs.inv(w))
    assert (ours.bijective, ours.domain.event_dim) == (theirs.bijective, theirs.domain.event_dim)
    assert ours.codomain.event_dim == theirs.codomain.event_dim
    assert tuple(ours.forward_shape(x.shape)) == tuple(y.shape)
    assert tuple(ours.inverse_shape(y.shape)) == tuple(x.shape)
    if ours.bijective:
        same_if_defined(
            lambda: ours.log_abs_det_jacobian(x, y), lambda: theirs.log_abs_det_jacobian(z, w)
        )
    if name != "AffineTransform":
        assert bool(ours.codomain.check(y).all())
    assert ours == ours and ours.inv.inv is ours
    assert ours == transform_of(gg, name, given) and ours != D.CatTransform([])


def structures(d: Any, t: Any) -> dict[str, Any]:
    """Distributions made of others, from either library."""
    loc, scale = t.tensor(real(2, 3)), t.tensor(positive(2, 3))
    normal = d.Normal(loc, scale)
    affine = d.AffineTransform(1.0, t.tensor(2.0, dtype=t.float64))
    pieces = [d.ExpTransform(), affine]
    return {
        "independent": d.Independent(normal, 1),
        "all independent": d.Independent(normal, 2),
        "tanh": d.TransformedDistribution(normal, [d.TanhTransform(cache_size=1)]),
        "two": d.TransformedDistribution(normal, [affine, d.ExpTransform()]),
        "of one": d.TransformedDistribution(d.Independent(normal, 1), d.ExpTransform()),
        "simplex": d.TransformedDistribution(normal, d.StickBreakingTransform()),
        "composed": d.TransformedDistribution(normal, d.ComposeTransform(pieces)),
        "cat": d.TransformedDistribution(
            d.Independent(normal, 1), d.CatTransform(pieces, -1, [1, 2])
        ),
        "reshaped": d.TransformedDistribution(
            d.Independent(normal, 2), d.ReshapeTransform((2, 3), (6,))
        ),
        "mixture": d.MixtureSameFamily(d.Categorical(logits=loc), normal),
        "mixture of vectors": d.MixtureSameFamily(
            d.Categorical(logits=loc[0, :2]), d.Independent(normal, 1)
        ),
    }


STRUCTURES = "independent,all independent,tanh,two,of one,simplex,composed,cat,reshaped"
STRUCTURES = [*STRUCTURES.split(","), "mixture", "mixture of vectors"]


@pytest.mark.torch
@pytest.mark.parametrize("name", STRUCTURES)
def test_structures(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = structures(D, gg)[name], structures(torch.distributions, torch)[name]
    assert (ours.batch_shape, ours.event_shape) == (theirs.batch_shape, theirs.event_shape)
    assert ours.has_rsample == theirs.has_rsample
    assert ours.support.event_dim == theirs.support.event_dim
    array = values_of(theirs)
    same(ours.log_prob(gg.tensor(array)), theirs.log_prob(torch.tensor(array)), 1e-6)
    same_if_defined(lambda: ours.cdf(gg.tensor(array)), lambda: theirs.cdf(torch.tensor(array)))
    for attribute in ("mean", "variance"):
        same_if_defined(*(lambda d=d, a=attribute: getattr(d, a) for d in (ours, theirs)))
    wide = ours.expand((4, *ours.batch_shape))
    assert wide.sample((2,)).shape == (2, *wide.batch_shape, *wide.event_shape)
    same(
        wide.log_prob(gg.tensor(array[0])),
        ours.log_prob(gg.tensor(array[0])).expand(wide.batch_shape),
    )


def test_stacked_transforms_add_up_within_an_event() -> None:
    pieces = [D.ExpTransform(), D.AffineTransform(1.0, 2.0)]
    base = D.Normal(gg.tensor(real(3, 2)), gg.tensor(positive(3, 2)))
    made = D.TransformedDistribution(base, D.StackTransform(pieces, -1))
    value = made.sample()
    alone = [
        D.TransformedDistribution(D.Normal(base.loc[:, i], base.scale[:, i]), piece)
        for i, piece in enumerate(pieces)
    ]
    assert made.event_shape == (2,)
    same(made.log_prob(value), sum(one.log_prob(value[:, i]) for i, one in enumerate(alone)))


def test_cached_values_survive_an_inverse_that_rounding_loses() -> None:
    base = D.Normal(gg.zeros(3), 20.0)
    y = D.TransformedDistribution(base, D.TanhTransform(cache_size=1))
    drawn = y.rsample()
    assert y.log_prob(drawn).isfinite().all()


REGIONS = {
    "real": (), "positive": (), "nonnegative": (), "unit_interval": (), "simplex": (),
    "lower_cholesky": (), "positive_definite": (), "corr_cholesky": (), "real_vector": (),
    "greater_than": (2.0,), "less_than": (2.0,), "interval": (-1.0, 3.0),
}  # fmt: skip


# What lies above the diagonal does not count.
NOT_INJECTIVE = ("lower_cholesky", "positive_definite")


@pytest.mark.parametrize("name", REGIONS)
def test_transforms_to_constraints(name: str) -> None:
    constraint = getattr(D.constraints, name)
    constraint = constraint(*REGIONS[name]) if REGIONS[name] else constraint
    for registry in (D.transform_to, D.biject_to):
        transform = registry(constraint)
        x = gg.tensor(real(5, 3, 3)).double()
        x = x if transform.domain.event_dim != 1 else x[..., 0]
        y = transform(x)
        assert bool(constraint.check(y).all())
        same(transform(transform.inv(y)), y)
        assert transform.bijective or registry is D.transform_to or name in NOT_INJECTIVE
    with pytest.raises(NotImplementedError, match="Cannot transform"):
        D.biject_to(D.constraints.boolean)


# --------------------------------------------------------------------------------------- arguments


def test_bad_arguments() -> None:
    for make in (
        lambda: D.Normal(0.0, -1.0),
        lambda: D.Normal(gg.tensor([0.0, float("nan")]), 1.0),
        lambda: D.Categorical(gg.tensor([0.5, -0.5, 1.0])),
        lambda: D.MultivariateNormal(gg.zeros(2), gg.tensor([[1.0, 2.0], [2.0, 1.0]])),
        lambda: D.Bernoulli(1.5),
    ):
        with pytest.raises(ValueError, match="to satisfy the constraint"):
            make()
    with pytest.raises(ValueError, match="but not both"):
        D.Bernoulli(probs=0.5, logits=0.0)
    with pytest.raises(ValueError, match="low>= high"):
        D.Uniform(1.0, 1.0)
    with pytest.raises(ValueError, match="within the support"):
        D.Bernoulli(0.5).log_prob(gg.tensor(2.0))
    with pytest.raises(ValueError, match="not broadcastable"):
        D.Normal(gg.zeros(3), 1.0).log_prob(gg.zeros(2))
    with pytest.raises(ValueError, match="right-most size"):
        D.Dirichlet(gg.ones(3)).log_prob(gg.ones(2) / 2)
    with pytest.raises(ValueError, match="must be a Tensor"):
        D.Normal(0.0, 1.0).log_prob(0.0)
    assert D.Normal(0.0, -1.0, validate_args=False).log_prob(gg.tensor(0.0)).isnan()
    with pytest.raises(NotImplementedError, match="use sample"):
        D.Poisson(1.0).rsample()


def test_what_is_shown() -> None:
    assert repr(D.Normal(0.0, 1.0)) == "Normal(loc: 0.0, scale: 1.0)"
    assert repr(D.Beta(gg.ones(3), 1.0)) == (
        "Beta(concentration1: torch.Size([3]), concentration0: torch.Size([3]))"
    )
    assert repr(D.Independent(D.Bernoulli(gg.ones(3) / 2), 1)) == (
        "Independent(Bernoulli(probs: torch.Size([3])), 1)"
    )


def test_a_compiled_policy_gradient_step() -> None:
    """Distributions made and used inside ``compile``, with parameters that were made outside."""
    weights = gg.zeros(4, 3, requires_grad=True)
    state, reward = gg.tensor(real(5, 4)).float(), gg.tensor(positive(5)).float()

    def loss(action: Any) -> Any:
        policy = D.Categorical(logits=state @ weights)
        value = -(policy.log_prob(action) * reward).mean() - 0.1 * policy.entropy().mean()
        return gg.autograd.grad(value, weights)[0]

    action = gg.tensor([0, 2, 1, 1, 0])
    same(gg.compile(loss)(action), loss(action), 1e-6)
    made = D.Categorical(logits=gg.zeros(3))
    assert gg.compile(lambda: made.probs.sum())().item() == pytest.approx(1)
    assert made.probs.sum().item() == pytest.approx(1)
