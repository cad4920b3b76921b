"""Index expressions are written in the same order in every process."""

from __future__ import annotations

import random

from graphgrad.kernels.lower.affine import Affine
from graphgrad.kernels.lower.values import Value

from graphgrad import dtypes
from graphgrad.axes import Axis


def test_terms_are_in_the_order_they_were_made_in():
    """Not by address, which nothing decides: a kernel would be another text in the next process."""
    values = [Value("nowhere", dtypes.int64, (), None) for _ in range(40)]
    axes = [Axis(3) for _ in range(40)]
    made = [*axes, *values]
    mixed = random.Random(0).sample(made, len(made))
    total = Affine()
    for k, term in enumerate(mixed):
        total = total + Affine.of(term) * (k + 1)
    assert [term for term, _ in total.terms] == made
    kept = dict(total.terms)
    assert all(kept[term] == k + 1 for k, term in enumerate(mixed))
