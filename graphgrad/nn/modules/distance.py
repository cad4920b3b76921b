"""Distances between vectors, as layers: ``CosineSimilarity``, ``PairwiseDistance``."""

from __future__ import annotations

from graphgrad import functional as F
from graphgrad.nn.modules._configured import Configured


class CosineSimilarity(Configured):
    """Σ x·y/(‖x‖·‖y‖) along ``dim``."""

    function, arguments, shown = F.cosine_similarity, {"dim": 1, "eps": 1e-8}, ()


class PairwiseDistance(Configured):
    """The p-norm of x - y along the last dimension."""

    function, arguments, shown = F.pairwise_distance, {"p": 2.0, "eps": 1e-6, "keepdim": False}, ()
