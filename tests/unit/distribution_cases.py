"""One distribution of every class with arbitrary parameters, for comparisons with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphgrad as gg

D = gg.distributions


def positive(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape) + 7).uniform(0.3, 4.0, shape)


def real(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape) + 11).normal(size=shape)


def chance(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape) + 13).uniform(0.05, 0.95, shape)


def spd(*shape: int) -> np.ndarray:
    a = real(*shape)
    return a @ np.swapaxes(a, -1, -2) + np.eye(shape[-1])


# Name → keyword arguments: arrays become float64 tensors that require gradients.
CASES: list[tuple[str, dict[str, Any]]] = [
    ("Normal", {"loc": real(3), "scale": positive(2, 1)}),
    ("Uniform", {"low": real(3), "high": real(3) + positive(2, 1)}),
    ("Laplace", {"loc": real(2, 3), "scale": positive(3)}),
    ("Exponential", {"rate": positive(3)}),
    ("Gamma", {"concentration": positive(3), "rate": positive(2, 1)}),
    ("Beta", {"concentration1": positive(3), "concentration0": positive(2, 1)}),
    ("Chi2", {"df": positive(3)}),
    ("StudentT", {"df": positive(5), "loc": real(5), "scale": positive(5)}),
    ("LogNormal", {"loc": real(3), "scale": positive(2, 1)}),
    ("Dirichlet", {"concentration": positive(2, 4)}),
    ("Bernoulli", {"probs": chance(3)}),
    ("Bernoulli", {"logits": real(2, 3)}),
    ("Geometric", {"probs": chance(3)}),
    ("Geometric", {"logits": real(3)}),
    ("Poisson", {"rate": positive(2, 3)}),
    ("Binomial", {"total_count": 6, "probs": chance(3)}),
    ("Binomial", {"total_count": 6, "logits": real(2, 3)}),
    ("Categorical", {"probs": chance(3, 4)}),
    ("Categorical", {"logits": real(4)}),
    ("OneHotCategorical", {"probs": chance(3, 4)}),
    ("OneHotCategorical", {"logits": real(2, 1, 4)}),
    ("Multinomial", {"total_count": 5, "probs": chance(3, 4)}),
    ("Multinomial", {"total_count": 5, "logits": real(4)}),
    ("MultivariateNormal", {"loc": real(2, 3), "covariance_matrix": spd(3, 3)}),
    ("MultivariateNormal", {"loc": real(3), "precision_matrix": spd(2, 3, 3)}),
    ("MultivariateNormal", {"loc": real(3), "scale_tril": np.linalg.cholesky(spd(2, 3, 3))}),
    ("Cauchy", {"loc": real(3), "scale": positive(2, 1)}),
    ("HalfCauchy", {"scale": positive(3)}),
    ("HalfNormal", {"scale": positive(3)}),
    ("Gumbel", {"loc": real(3), "scale": positive(2, 1)}),
    ("Kumaraswamy", {"concentration1": positive(3), "concentration0": positive(2, 1)}),
    ("Pareto", {"scale": positive(3), "alpha": positive(2, 1)}),
    ("Weibull", {"scale": positive(3), "concentration": 1 + positive(2, 1)}),
    ("InverseGamma", {"concentration": positive(3), "rate": positive(2, 1)}),
    ("LogisticNormal", {"loc": real(2, 3), "scale": positive(3)}),
    ("RelaxedBernoulli", {"temperature": np.array(0.7), "probs": chance(3)}),
    ("RelaxedBernoulli", {"temperature": np.array(0.7), "logits": real(2, 3)}),
    ("RelaxedOneHotCategorical", {"temperature": np.array(0.7), "probs": chance(2, 3)}),
    ("RelaxedOneHotCategorical", {"temperature": np.array(0.7), "logits": real(3)}),
    ("FisherSnedecor", {"df1": positive(3) + 1, "df2": positive(2, 1) + 1}),
    ("NegativeBinomial", {"total_count": 5, "probs": chance(3)}),
    ("NegativeBinomial", {"total_count": positive(3), "logits": real(2, 3)}),
    ("ContinuousBernoulli", {"probs": np.array([0.1, 0.5, 0.4995, 0.9])}),
    ("ContinuousBernoulli", {"logits": real(2, 3)}),
    ("VonMises", {"loc": real(3), "concentration": positive(2, 1)}),
    ("Wishart", {"df": 3 + positive(2), "covariance_matrix": spd(3, 3)}),
    ("Wishart", {"df": 3 + positive(2), "precision_matrix": spd(3, 3)}),
    ("LKJCholesky", {"dim": 3, "concentration": positive(2)}),
    (
        "LowRankMultivariateNormal",
        {"loc": real(4), "cov_factor": real(2, 4, 2), "cov_diag": positive(4)},
    ),
]
IDS = [f"{name}-{'-'.join(given)}" for name, given in CASES]
# PyTorch's is NaN wherever there is one; it is tested below.
NOT_TORCHS = {("Kumaraswamy", "mode")}
ATTRIBUTES = ("mean", "mode", "variance", "stddev")


def build(library: Any, name: str, given: dict[str, Any]) -> tuple[Any, list[Any]]:
    """The distribution, and its parameters as leaves."""
    leaves = {
        key: library.tensor(value, dtype=library.float64, requires_grad=True)
        for key, value in given.items()
        if isinstance(value, np.ndarray)
    }
    return getattr(library.distributions, name)(**(given | leaves)), list(leaves.values())


def same(ours: Any, theirs: Any, tolerance: float = 1e-7) -> None:
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(
        ours.detach().numpy(), theirs.detach().numpy(), rtol=tolerance, atol=tolerance
    )


def same_if_defined(ours: Any, theirs: Any) -> None:
    """Equal results of two calls, where PyTorch has the method."""
    try:
        wanted = theirs()
    except NotImplementedError:
        return
    same(ours(), wanted)


def values_of(theirs: Any) -> np.ndarray:
    import torch

    torch.manual_seed(3)
    return theirs.sample((5,)).numpy()
